import type { UsageRecord } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { FleetingMap } from '../core/fleeting.ts'
import type { Platform } from '../ports.ts'
import type { Homes } from './homes.ts'

/** A batch is sent when it has this many rows or its first row is this old. */
const batchRows = 500
const batchMs = 100
/** Batches under way at once: each is one connection busy. */
const flights = 4
/** Records kept in memory while Postgres is away; beyond it no new call is admitted. */
const queueLimit = 200_000
const firstBackOffMs = 50
const longestBackOffMs = 5_000

export interface Batcher {
  /**
   * Keeps the record until Postgres has it. Adding one again, or one that is under way, changes nothing. A settle and
   * a reap of one call are two records: Postgres decides between them.
   */
  add(record: UsageRecord): void
  /** The record of a call that is not in Postgres yet. */
  pending(id: string): UsageRecord | undefined
  /** The records that are not known to be in Postgres: of one account, or of all. */
  unflushed(accountId?: number): readonly UsageRecord[]
  /** Records that are not in Postgres yet. */
  readonly waiting: number
  /** False when so much is waiting that no further call may be admitted. */
  readonly accepting: boolean
  /** True while Postgres refuses batches. */
  readonly failing: boolean
  /** Resolves when all that was added before is in Postgres, or after `timeoutMs`; says whether it is. */
  drained(timeoutMs: number): Promise<boolean>
}

interface State {
  readonly parts: BatcherParts
  readonly waiting: FleetingMap<string, UsageRecord>
  readonly underWay: FleetingMap<string, UsageRecord>
  readonly watchers: Set<() => void>
  inFlight: number
  stopTimer: (() => void) | undefined
  backOffMs: number
  /**
   * Rows of the next batch. It halves with every failure and doubles with every success, so that one record which
   * Postgres refuses for good ends up alone and keeps no other out of the books.
   */
  rows: number
}

export type BatcherParts = Pick<Platform, 'books' | 'clock' | 'log'> & { readonly homes: Pick<Homes, 'all'> }

/**
 * Brings settled records to Postgres in batches and then finalises their holds. It never gives up: a record leaves
 * the queue only when Postgres has it, and sending one twice is harmless.
 */
export function openBatcher(parts: BatcherParts): Batcher {
  const state: State = {
    parts,
    waiting: new FleetingMap(),
    underWay: new FleetingMap(),
    watchers: new Set(),
    inFlight: 0,
    stopTimer: undefined,
    backOffMs: 0,
    rows: batchRows,
  }
  const { waiting, underWay } = state
  return {
    add(record) {
      const name = nameOf(record)
      if (waiting.has(name) || underWay.has(name)) return
      waiting.set(name, record)
      schedule(state)
    },
    pending(id) {
      for (const kind of ['settle', 'reap', 'void'] as const) {
        const record = waiting.get(nameOf({ id, kind })) ?? underWay.get(nameOf({ id, kind }))
        if (record) return record
      }
      return undefined
    },
    unflushed(accountId) {
      const all = [...waiting.values(), ...underWay.values()]
      return accountId === undefined ? all : all.filter((record) => record.accountId === accountId)
    },
    // allowed -- one object for the process
    get waiting() {
      return waiting.size + underWay.size
    },
    // allowed -- one object for the process
    get accepting() {
      return waiting.size < queueLimit
    },
    // allowed -- one object for the process
    get failing() {
      return state.backOffMs > 0
    },
    drained: (timeoutMs) => drained(state, timeoutMs),
  }
}

function nameOf({ id, kind }: Pick<UsageRecord, 'id' | 'kind'>): string {
  return `${id}/${kind}`
}

function schedule(state: State): void {
  const { waiting, backOffMs, parts, rows } = state
  if (state.inFlight >= flights || waiting.size === 0) return
  if (waiting.size >= rows && backOffMs === 0) return send(state)
  state.stopTimer ??= parts.clock.after(Math.max(batchMs, backOffMs), () => {
    state.stopTimer = undefined
    send(state)
  })
}

function send(state: State): void {
  const batch = takeBatch(state)
  if (batch.length === 0) return
  state.inFlight++
  void store(state, batch).finally(() => {
    state.inFlight--
    for (const watcher of state.watchers) watcher()
    schedule(state)
  })
  schedule(state)
}

/** The oldest records, one of each call, in the order in which every flusher takes its locks. */
function takeBatch({ waiting, underWay, inFlight, rows }: State): readonly UsageRecord[] {
  const batch = new Map<string, UsageRecord>()
  if (inFlight >= flights) return []
  for (const [name, record] of waiting) {
    if (batch.has(record.id)) continue
    batch.set(record.id, record)
    waiting.delete(name)
    underWay.set(name, record)
    if (batch.size === rows) break
  }
  return [...batch.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}

async function store(state: State, batch: readonly UsageRecord[]): Promise<void> {
  const { books, homes, log } = state.parts
  try {
    const flushed = await books.flush(batch)
    const accounts = new Map(batch.map(({ id, accountId }) => [id, accountId]))
    for (const record of batch) state.underWay.delete(nameOf(record))
    if (state.backOffMs > 0) log('books_reachable')
    state.backOffMs = 0
    state.rows = Math.min(batchRows, state.rows * 2)
    // A hold that is not finalised comes due again and is then sent once more, so a failure here loses nothing.
    await Promise.allSettled(
      flushed.flatMap(({ id, total }) => {
        const accountId = accounts.get(id) ?? 0
        const reached = homes.all.filter(({ shared }) => shared.reaches(accountId))
        return reached.map(({ shared }) => shared.run({ type: 'finalise', id, accountId, total }))
      }),
    )
  } catch (error) {
    for (const record of batch) {
      state.underWay.delete(nameOf(record))
      state.waiting.set(nameOf(record), record)
    }
    if (state.backOffMs === 0) log('books_unreachable', { error: String(error), waiting: state.waiting.size })
    state.rows = Math.max(1, Math.floor(batch.length / 2))
    state.backOffMs = Math.min(longestBackOffMs, Math.max(firstBackOffMs, state.backOffMs * 2))
  }
}

function drained(state: State, timeoutMs: number): Promise<boolean> {
  const { waiting, underWay, watchers, parts } = state
  const wanted = [...waiting.keys(), ...underWay.keys()]
  const isDone = () => wanted.every((name) => !waiting.has(name) && !underWay.has(name))
  if (isDone()) return Promise.resolve(true)
  state.stopTimer?.()
  state.stopTimer = undefined
  send(state)
  return new Promise((resolve) => {
    const finish = (done: boolean) => {
      stop()
      watchers.delete(look)
      resolve(done)
    }
    const look = () => isDone() && finish(true)
    const stop = parts.clock.after(timeoutMs, () => finish(isDone()))
    watchers.add(look)
  })
}

/** Thrown by admission when a store of money is away. */
export function billingUnavailable(cause?: unknown): GatewayError {
  return new GatewayError('billing_unavailable', 'Calls cannot be billed at the moment. Try again shortly.', {
    retryAfterMs: 2_000,
    cause,
  })
}
