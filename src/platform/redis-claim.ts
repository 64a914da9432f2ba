import { cellCount, cellKeys, spenderOfCell } from '../core/cell.ts'
import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { ClaimReply } from '../ledger/engine/commands.ts'
import type { HoldRecord } from '../ledger/engine/records.ts'
import { textKey, unpackHold } from './redis-records.ts'
import { ask, learn, type RedisSession, runForRecords } from './redis-session.ts'

/** Holds returned by one claim. */
const claimLimit = 1_000
/** Cells looked at in one round trip of a claim; of those that this process has not served, so many in one claim. */
const sweptCells = 128
/** By so much the clock of a gateway may be behind that of Redis before holds are found late. */
const clockSlackMs = 1_000

/**
 * Sweeps cells until enough is found: those that this process has served each time, the others in turn, so that all of
 * them are seen within eight claims. What cannot be reached is passed over; only when nothing can, it throws.
 */
export async function claim(session: RedisSession, atMost: number, hideMs: number): Promise<ClaimReply> {
  const limit = Math.min(atMost, claimLimit)
  const holds: HoldRecord[] = []
  const ownerless: string[] = []
  let reached = false
  let failure: unknown
  const due = dueCells(session)
  for (let swept = 0; swept < due.length && holds.length < limit; swept += sweptCells) {
    const cells = due.slice(swept, swept + sweptCells)
    const looks = await Promise.allSettled(cells.map((cell) => dueIn(session, cell, limit - holds.length)))
    const wanted: { cell: number; ids: readonly string[] }[] = []
    let room = limit - holds.length
    looks.forEach((look, index) => {
      if (look.status === 'rejected') failure = look.reason
      else reached = true
      const ids = look.status === 'fulfilled' ? look.value.slice(0, room) : []
      room -= ids.length
      if (ids.length > 0) wanted.push({ cell: cells[index] ?? 0, ids })
    })
    // A cell that fails now has at worst hidden its holds: they come again.
    const taken = await Promise.allSettled(wanted.map(({ cell, ids }) => take(session, cell, { ids, hideMs })))
    taken.forEach((each, index) => {
      if (each.status === 'rejected') {
        if (!(each.reason instanceof SharedUnavailable)) throw each.reason
      } else if (each.value) holds.push(...each.value)
      else ownerless.push(spenderOfCell(wanted[index]?.cell ?? 0))
    })
  }
  if (!reached) throw failure
  return { code: 'ok', holds, ...(ownerless.length > 0 && { ownerless }) }
}

/** The cells of one claim, from the cursor on: it begins elsewhere each time, so that none waits behind a full one. */
function dueCells(session: RedisSession): readonly number[] {
  const first = session.cursor
  const inTurn = Array.from({ length: sweptCells }, (_, index) => (first + index) % cellCount)
  session.cursor = (first + sweptCells) % cellCount
  const distance = (cell: number): number => (cell - first + cellCount) % cellCount
  return [...new Set([...inTurn, ...session.epochs.keys()])].toSorted((a, b) => distance(a) - distance(b))
}

/** Names of holds whose deadline has passed, by the time of the gateway: whether it has is the script's to say. */
function dueIn(session: RedisSession, cell: number, limit: number): Promise<string[]> {
  const { testClock, clock } = session.options
  const beforeMs = testClock?.now() ?? clock.now() + clockSlackMs
  return ask(session, cell, ({ client }) =>
    client.zrangebyscore(cellKeys.deadlines(cell), '-inf', beforeMs, 'LIMIT', 0, limit),
  )
}

interface Taking {
  readonly ids: readonly string[]
  readonly hideMs: number
  /** Learnt by the first answer where it is not the right one. */
  readonly epoch?: number
}

/** Undefined where no epoch stands in the cell: its server was started anew, and nobody has called since. */
async function take(session: RedisSession, cell: number, taking: Taking): Promise<HoldRecord[] | undefined> {
  const { ids, hideMs, epoch = session.epochs.get(cell) ?? 0 } = taking
  const records = ids.flatMap((id) => [cellKeys.hold(cell, id), textKey(cellKeys.hold(cell, id))])
  const keys = [cellKeys.mark(cell), ...records, cellKeys.deadlines(cell)]
  const call = { script: 'claim', keys, numbers: [hideMs], texts: ids } as const
  const answer = await ask(session, cell, ({ client, runId }) =>
    runForRecords(client, call, { runId, epoch, nowMs: session.options.testClock?.now() }),
  )
  const [code, ...rest] = answer
  if (String(code) !== 'epoch') return threes(rest).map(([id, bytes, text]) => unpackHold(bytes, text, String(id)))
  // Whoever sweeps need not spend here: what is due is taken under whatever epoch stands. What spends must hear of a
  // new one by its own commands, so only a cell of which nothing was known is remembered.
  const standing = Number(String(rest[0]))
  if (standing === 0) return undefined
  if (taking.epoch !== undefined) return []
  if (!session.epochs.has(cell)) learn(session, cell, standing)
  return take(session, cell, { ...taking, epoch: standing })
}

function threes(values: readonly Buffer[]): [Buffer, Buffer, Buffer][] {
  const found: [Buffer, Buffer, Buffer][] = []
  for (let at = 0; at + 2 < values.length; at += 3) found.push([values[at]!, values[at + 1]!, values[at + 2]!])
  return found
}
