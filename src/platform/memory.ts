import { LedgerAssertion } from '../ledger/engine/assert.ts'
import type { ClaimReply, Command, Decision, ReplyTo } from '../ledger/engine/commands.ts'
import { decide } from '../ledger/engine/decide.ts'
import type { AccountRecord, HoldRecord, KeyRecord, Records } from '../ledger/engine/records.ts'
import type { Clock, Shared } from '../ports.ts'
import { FleetingMap } from '../core/fleeting.ts'
import { openLender } from '../core/shared-limit.ts'
import { openSlotLender } from '../core/shared-slots.ts'
import { createDeadlines, type Deadlines } from './deadlines.ts'
import { heeding, idleMs, isMetered, keysOf, notChargeable, onLoan, stopped } from './engine-records.ts'
import type { Journal } from './journal.ts'

export interface MemoryOptions {
  readonly clock: Clock
  readonly journal: Journal
  /** An account was stopped because a rule of the ledger did not hold for it. */
  readonly onAssertion: (assertion: LedgerAssertion, accountId: number) => void
  /** Who spends here, as the books name it. */
  readonly spender?: string
  /** The engine; another one only where a test breaks its rules on purpose. */
  readonly engine?: typeof decide
}

/** The name under which a process that serves its database alone borrows money. */
const localSpender = 'local'

/** The engine's records in this process. */
export interface Memory extends Shared {
  /** Brings back the holds that an earlier process left in the journal: they are due at once. Call it before `run`. */
  recover(holds: readonly HoldRecord[]): void
  /** Holds of earlier processes that are not final yet; at 0 the loans that they stand on may be closed. */
  recovering(): number
  /** How many records are kept. */
  size(): { readonly accounts: number; readonly keys: number; readonly holds: number }
}

const sweepEveryMs = 1_000
/** Records looked at in one sweep, so that a sweep never stops the stream of calls. */
const sweepLimit = 1_000
const claimLimit = 1_000

/** A record and when it was last used, to a second; a map of these is in the order of last use. */
interface Kept<T> {
  readonly record: T
  readonly touchedMs: number
  /** An assertion failed here: the account stays stopped whatever the books say, until the process starts anew. */
  readonly broken?: true
}

interface Store {
  readonly accounts: FleetingMap<number, Kept<AccountRecord>>
  readonly keys: FleetingMap<number, Kept<KeyRecord>>
  readonly holds: FleetingMap<string, HoldRecord>
  /** Holds that are not final, by account and by key: while there is one, the record must stay. */
  readonly ofAccount: Map<number, number>
  readonly ofKey: Map<number, number>
  readonly deadlines: Deadlines
}

/** Shared in this process: the engine over Maps, each hold journalled before its command is answered. */
export function openMemory(options: MemoryOptions): Memory {
  const { clock, journal, onAssertion, engine = decide, spender = localSpender } = options
  const store: Store = {
    accounts: new FleetingMap(),
    keys: new FleetingMap(),
    holds: new FleetingMap(),
    ofAccount: new Map(),
    ofKey: new Map(),
    deadlines: createDeadlines(),
  }
  let recovered = 0
  let standing = 0
  let sweptMs = clock.now()

  function decideOrStop<C extends Command>(command: C, nowMs: number): Decision<C> {
    try {
      return engine(recordsOf(store, command), heeding(command, { isBroken: isBroken(store, command) }), nowMs)
    } catch (caught) {
      if (!(caught instanceof LedgerAssertion)) throw caught
      stopAccount(store, command.accountId, nowMs)
      onAssertion(caught, command.accountId)
      throw notChargeable(caught)
    }
  }
  function sweepSometimes(nowMs: number): void {
    if (nowMs - sweptMs < sweepEveryMs && nowMs >= sweptMs) return
    sweptMs = nowMs
    sweep(store, nowMs)
  }
  async function run<C extends Command>(command: C): Promise<ReplyTo<C>> {
    const nowMs = clock.now()
    sweepSometimes(nowMs)
    const decision = decideOrStop(command, nowMs)
    write(journal, command, decision)
    if (decision.dropHold && 'id' in command && store.holds.get(command.id)?.recovered) recovered -= 1
    // An asserted hold is one of an earlier epoch, made by another store.
    if (decision.hold?.recovered && !store.holds.has(decision.hold.id)) recovered += 1
    keep(store, command, { decision, nowMs })
    return decision.reply
  }
  async function claim(limit: number, hideMs: number): Promise<ClaimReply> {
    const nowMs = clock.now()
    sweepSometimes(nowMs)
    const due = store.deadlines.take(Math.min(limit, claimLimit), nowMs, nowMs + hideMs)
    return { code: 'ok', holds: due.flatMap((id) => store.holds.get(id) ?? []) }
  }
  function recover(holds: readonly HoldRecord[]): void {
    const nowMs = clock.now()
    for (const hold of holds) {
      if (store.holds.has(hold.id)) continue
      // Whoever served these calls is gone, so there is no term to wait for, and of what it set aside nothing is here.
      const { own: _, ...left } = hold
      keepHold(store, { ...left, recovered: true, dueMs: Math.min(hold.dueMs, nowMs) })
      recovered += 1
    }
  }
  return {
    run,
    claim,
    account: (accountId) => Promise.resolve(store.accounts.get(accountId)?.record),
    key: (_, keyId) => Promise.resolve(store.keys.get(keyId)?.record),
    spenderOf: () => spender,
    begin(_, epoch) {
      standing = Math.max(standing, epoch)
      return Promise.resolve(standing)
    },
    ...lending(clock),
    reaches: () => true,
    recover,
    recovering: () => recovered,
    size: () => ({ accounts: store.accounts.size, keys: store.keys.size, holds: store.holds.size }),
  }
}

/** Lends out of this process alone. */
function lending(clock: Pick<Clock, 'now'>): Pick<Shared, 'shares' | 'slots'> {
  const [lender, slots] = [openLender(), openSlotLender()]
  return {
    shares: (asks) => Promise.resolve(asks.map((ask) => lender.lend(ask, clock.now()))),
    slots: (asks) => Promise.resolve(asks.map((ask) => slots.lend(ask, clock.now()))),
  }
}

function recordsOf(store: Store, command: Command): Records {
  const account = store.accounts.get(command.accountId)?.record
  const hold = 'id' in command ? store.holds.get(command.id) : undefined
  const keys = new Map<number, KeyRecord>()
  for (const id of keysOf(command, hold)) {
    const key = store.keys.get(id)?.record
    if (key) keys.set(id, key)
  }
  return { ...(account && { account }), keys, ...(hold && { hold }) }
}

function isBroken({ accounts }: Store, { accountId }: Command): boolean {
  return accounts.get(accountId)?.broken === true
}

function stopAccount({ accounts }: Store, id: number, nowMs: number): void {
  accounts.set(id, { record: stopped(id, accounts.get(id)?.record), touchedMs: nowMs, broken: true })
}

/**
 * Journals what a command made of its hold. While a call runs the journal is the only second home of its hold, so
 * without it the call must not go on. A hold that ends has one in the batcher; at worst the journal then shows it
 * alive, and the books, which know it, refuse the second charge.
 */
function write(journal: Journal, command: Command, { hold, dropHold }: Decision): void {
  try {
    if (hold) journal.append(hold)
    if (dropHold && 'id' in command) journal.drop(command.id)
  } catch (error) {
    const live = command.type === 'admit' || command.type === 'extend' || command.type === 'checkpoint'
    if (live) throw notChargeable(error)
  }
}

function keep(store: Store, command: Command, { decision, nowMs }: { decision: Decision; nowMs: number }): void {
  const account = decision.account ?? store.accounts.get(command.accountId)?.record
  if (account) touch(store.accounts, account, nowMs)
  for (const key of decision.keys ?? []) touch(store.keys, key, nowMs)
  if (decision.hold) keepHold(store, decision.hold)
  if (decision.dropHold && 'id' in command) dropHold(store, command.id)
}

function touch<T extends { readonly id: number }>(
  map: FleetingMap<number, Kept<T>>,
  record: T,
  touchedMs: number,
): void {
  const before = map.get(record.id)
  const isRecent = before !== undefined && Math.abs(touchedMs - before.touchedMs) < sweepEveryMs
  if (!isRecent) map.delete(record.id)
  const since = isRecent ? before.touchedMs : touchedMs
  map.set(record.id, { record, touchedMs: since, ...(before?.broken && { broken: true }) })
}

function keepHold(store: Store, hold: HoldRecord): void {
  if (!store.holds.has(hold.id)) count(store, hold, 1)
  store.holds.set(hold.id, hold)
  store.deadlines.set(hold.id, hold.dueMs)
}

function dropHold(store: Store, id: string): void {
  const hold = store.holds.get(id)
  if (!hold) return
  count(store, hold, -1)
  store.holds.delete(id)
  store.deadlines.delete(id)
}

function count(store: Store, { facts }: HoldRecord, step: 1 | -1): void {
  add(store.ofAccount, facts.accountId, step)
  for (const id of facts.keyIds) add(store.ofKey, id, step)
}

function add(counts: Map<number, number>, id: number, step: 1 | -1): void {
  const after = (counts.get(id) ?? 0) + step
  if (after === 0) counts.delete(id)
  else counts.set(id, after)
}

function sweep(store: Store, nowMs: number): void {
  sweepMap(
    store.accounts,
    nowMs,
    (kept) => !kept.broken && !store.ofAccount.has(kept.record.id) && !onLoan(kept.record),
  )
  sweepMap(
    store.keys,
    nowMs,
    ({ record }) => record.inFlight === 0 && !store.ofKey.has(record.id) && !isMetered(record, nowMs),
  )
}

function sweepMap<T extends { readonly id: number }>(
  map: FleetingMap<number, Kept<T>>,
  nowMs: number,
  idle: (kept: Kept<T>) => boolean,
): void {
  let left = sweepLimit
  for (const [id, kept] of map) {
    if (nowMs - kept.touchedMs < idleMs || left === 0) return
    left -= 1
    if (idle(kept)) map.delete(id)
    else touch(map, kept.record, nowMs)
  }
}
