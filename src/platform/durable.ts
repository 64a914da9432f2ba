import { cellCount, cellOf, cellOfText } from '../core/cell.ts'
import type { Share, ShareAsk } from '../core/shared-limit.ts'
import type { SlotAsk, SlotShare } from '../core/shared-slots.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import { LedgerAssertion } from '../ledger/engine/assert.ts'
import type { ClaimReply, Command, OtherEpoch, ReplyTo } from '../ledger/engine/commands.ts'
import type { AccountRecord, HoldRecord, KeyRecord } from '../ledger/engine/records.ts'
import type { Clock, Log, Shared } from '../ports.ts'
import type { Answer, Ask, Taking } from './durable-cell.ts'
import { notChargeable } from './engine-records.ts'

/** The object of one cell, seen from a worker. */
export interface CellStub {
  run<C extends Command>(ask: Ask<C>): Promise<Answer<C>>
  claim(taking: Taking): Promise<ClaimReply>
  begin(spender: string, epoch: number): Promise<number>
  account(accountId: number): Promise<AccountRecord | undefined>
  key(keyId: number): Promise<KeyRecord | undefined>
  lend(ask: ShareAsk, nowMs?: number): Promise<Share>
  lendSlots(ask: SlotAsk, nowMs?: number): Promise<SlotShare>
}

export interface DurableOptions {
  /** The object of a cell by the name of its spender. Asked anew for every command: a stub that failed stays broken. */
  readonly stub: (spender: string) => CellStub
  readonly clock: Clock
  readonly log: Log
  /** An account was stopped because a rule of the ledger did not hold for it. */
  readonly onAssertion: (assertion: LedgerAssertion, accountId: number) => void
  /** Another epoch than the one known here stands for a spender: what it had in flight must be asserted. */
  readonly onEpoch?: (spender: string, epoch: number) => void
  /** A command that is not answered by then is given up; it may have run. 5,000 where it is not said. */
  readonly commandMs?: number
  /** Hears of every question, where the platform must be asked to let it live until it is answered. */
  readonly keep?: (work: Promise<unknown>) => void
  /** Periods and deadlines go by this clock and not by the objects' own. For tests. */
  readonly testClock?: Pick<Clock, 'now'>
}

/**
 * The engine's records in Durable Objects, one for each cell of accounts. Every method throws SharedUnavailable when an
 * object does not answer in time: what was asked may have been done, and may be asked again.
 */
export interface DurableShared extends Shared {
  /** `claim` for the cell of one spender, whether or not this process has spoken to it before. */
  claimOf(spender: string, limit: number, hideMs: number): Promise<ClaimReply>
}

/** An object may be on another continent, and takes a moment to start. */
const defaultCommandMs = 5_000
/** Objects asked at once by a claim. */
const askedAtOnce = 16
/** After a failure an object counts as away for so long, and is then asked again. */
const awayMs = 1_000

/** What this process knows of the objects. */
interface State {
  readonly options: DurableOptions
  /** The epoch of each cell, as it was begun or last told. */
  readonly epochs: Map<number, number>
  /** Cells that were spoken to, those longest ago not swept first. Nobody else here can have made a hold. */
  readonly met: Set<number>
  /** Cells that did not answer when they were last asked, and when that was, by the clock that never goes back. */
  readonly silent: Map<number, number>
}

/** Opens the shared records in Durable Objects. Nothing is asked yet. */
export function openDurable(options: DurableOptions): DurableShared {
  const state: State = { options, epochs: new Map(), met: new Set(), silent: new Map() }
  return {
    run: (command) => run(state, command),
    claim: (limit, hideMs) => claim(state, limit, hideMs),
    claimOf: (spender, limit, hideMs) => claimOf(state, cellNamed(spender), { limit, hideMs }),
    account: (accountId) => ask(state, cellOf(accountId), (stub) => stub.account(accountId)),
    key: (accountId, keyId) => ask(state, cellOf(accountId), (stub) => stub.key(keyId)),
    spenderOf: (accountId) => spenderOfCell(cellOf(accountId)),
    async begin(spender, epoch) {
      const cell = cellNamed(spender)
      const standing = await ask(state, cell, (stub) => stub.begin(spender, epoch))
      state.epochs.set(cell, standing)
      return standing
    },
    shares: (asks) =>
      Promise.all(
        asks.map((one) => ask(state, cellOfText(one.id), (stub) => stub.lend(one, options.testClock?.now()))),
      ),
    slots: (asks) =>
      Promise.all(
        asks.map((one) => ask(state, cellOfText(one.id), (stub) => stub.lendSlots(one, options.testClock?.now()))),
      ),
    reaches(accountId) {
      const silentAtMs = state.silent.get(cellOf(accountId))
      return silentAtMs === undefined || options.clock.elapsed() - silentAtMs >= awayMs
    },
  }
}

function spenderOfCell(cell: number): string {
  return `durable:v${cell}`
}

function cellNamed(spender: string): number {
  const digits = /^durable:v(\d{1,4})$/.exec(spender)?.[1]
  const cell = digits === undefined ? cellCount : Number(digits)
  if (cell >= cellCount) throw new RangeError(`${spender} does not spend in a Durable Object`)
  return cell
}

async function run<C extends Command>(state: State, command: C): Promise<ReplyTo<C> | OtherEpoch> {
  const cell = cellOf(command.accountId)
  const nowMs = state.options.testClock?.now()
  const epoch = command.type === 'admit' || command.type === 'credit' ? command.epoch : state.epochs.get(cell)
  state.met.add(cell)
  const answer = await ask(state, cell, (stub) =>
    stub.run({ command, ...(epoch !== undefined && { epoch }), ...(nowMs !== undefined && { nowMs }) }),
  )
  if (answer.code === 'epoch') {
    tell(state, cell, answer.epoch)
    return { code: 'epoch', epoch: answer.epoch }
  }
  // Epochs only grow: an answer that comes late does not bring an older one back.
  if (answer.epoch > (state.epochs.get(cell) ?? 0)) state.epochs.set(cell, answer.epoch)
  if (answer.code === 'done') return answer.reply
  const assertion = new LedgerAssertion(answer.rule)
  state.options.onAssertion(assertion, command.accountId)
  throw notChargeable(assertion)
}

/** Whoever hears of another epoch first may not be the one who has to act on it, so the owner is told apart. */
function tell({ epochs, options }: State, cell: number, standing: number): void {
  const isNews = epochs.get(cell) !== standing
  epochs.set(cell, standing)
  if (isNews) options.onEpoch?.(spenderOfCell(cell), standing)
}

/** Looks at each cell once, or until enough is found. What cannot be reached is passed over; if all are, it throws. */
async function claim(state: State, limit: number, hideMs: number): Promise<ClaimReply> {
  const { met } = state
  const holds: HoldRecord[] = []
  const turn = [...met]
  let failure: unknown
  let failures = 0
  for (let at = 0; at < turn.length && holds.length < limit; at += askedAtOnce) {
    const cells = turn.slice(at, at + askedAtOnce)
    for (const cell of cells) {
      met.delete(cell)
      met.add(cell)
    }
    // So that no more is taken than there is room for, whatever each has.
    const each = Math.ceil((limit - holds.length) / cells.length)
    const found = await Promise.allSettled(cells.map((cell) => claimOf(state, cell, { limit: each, hideMs })))
    for (const one of found) {
      if (one.status === 'fulfilled') holds.push(...one.value.holds)
      else {
        failure = one.reason
        failures += 1
      }
    }
  }
  if (failures > 0 && failures === turn.length) throw failure
  return { code: 'ok', holds }
}

function claimOf(state: State, cell: number, { limit, hideMs }: Taking): Promise<ClaimReply> {
  const nowMs = state.options.testClock?.now()
  return ask(state, cell, (stub) => stub.claim({ limit, hideMs, ...(nowMs !== undefined && { nowMs }) }))
}

/** Asks the object of a cell, within the time limit. Every failure is SharedUnavailable. */
async function ask<T>(state: State, cell: number, question: (stub: CellStub) => Promise<T>): Promise<T> {
  const { options, silent } = state
  const spender = spenderOfCell(cell)
  const answer = inTime(options, () => question(options.stub(spender)))
  options.keep?.(answer.catch(() => {}))
  try {
    const told = await answer
    if (silent.delete(cell)) options.log('object_reachable', { spender })
    return told
  } catch (error) {
    if (!silent.has(cell)) options.log('object_unreachable', { spender, error: String(error) })
    silent.set(cell, options.clock.elapsed())
    throw new SharedUnavailable(error)
  }
}

function inTime<T>({ clock, commandMs = defaultCommandMs }: DurableOptions, question: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(commandMs, () => reject(new Error(`no answer in ${commandMs} ms`)))
    // The platform may refuse to send at all.
    const asked = Promise.resolve().then(question)
    void asked.then(resolve, reject).finally(stop)
  })
}
