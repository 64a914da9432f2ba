import { LedgerAssertion } from '../ledger/engine/assert.ts'
import type { ClaimReply, Command, Decision, ReplyTo } from '../ledger/engine/commands.ts'
import { decide } from '../ledger/engine/decide.ts'
import type { AccountRecord, HoldRecord, KeyRecord, Records } from '../ledger/engine/records.ts'
import { limitWindows } from '../core/rate-limit.ts'
import { openLender, type Share, type ShareAsk } from '../core/shared-limit.ts'
import { openSlotLender, type SlotAsk, type SlotShare } from '../core/shared-slots.ts'
import type { Clock } from '../ports.ts'
import { parseJson, printJson } from './bigint-json.ts'
import { heeding, idleMs, keysOf, onLoan, stopped } from './engine-records.ts'

/** What is used of a Durable Object's storage: SQLite in its own process, so that nothing in here ever waits. */
export interface CellStorage {
  readonly sql: { exec(query: string, ...values: (string | number)[]): Iterable<Row> }
  /** Undoes what was written where `run` throws. */
  transactionSync<T>(run: () => T): T
}

type Row = Readonly<Record<string, unknown>>

export interface Ask<C extends Command = Command> {
  readonly command: C
  /** The epoch that the command is meant for; absent: whichever stands. */
  readonly epoch?: number
  /** Periods and deadlines go by this and not by the object's own clock. For tests. */
  readonly nowMs?: number
}

export type Answer<C extends Command = Command> =
  | { readonly code: 'done'; readonly epoch: number; readonly reply: ReplyTo<C> }
  /** Another epoch stands, 0 for none, and nothing was changed. */
  | { readonly code: 'epoch'; readonly epoch: number }
  /** A rule of the ledger did not hold: the account is stopped. */
  | { readonly code: 'broken'; readonly epoch: number; readonly rule: string }

export interface Taking {
  readonly limit: number
  readonly hideMs: number
  readonly nowMs?: number
}

/** The records of one cell, and the engine over them. Every method is one transaction. */
export interface Cell {
  run<C extends Command>(ask: Ask<C>): Answer<C>
  /** Holds that are due, under whatever epoch stands; hidden from other sweepers for `hideMs`. */
  claim(taking: Taking): ClaimReply
  /** Starts an epoch, unless it or a later one stands. Returns the one that stands then; 0 for none. */
  begin(spender: string, epoch: number): number
  account(accountId: number): AccountRecord | undefined
  key(keyId: number): KeyRecord | undefined
  /** Lends a share of a limit over accounts. */
  lend(ask: ShareAsk, nowMs?: number): Share
  /** Lends slots of a limit of calls at once. */
  lendSlots(ask: SlotAsk, nowMs?: number): SlotShare
  /** Under which name the cell spends; undefined before its first epoch. */
  spender(): string | undefined
  /** When the next hold is due, in ms since 1970; undefined where none is held. */
  nextDue(): number | undefined
}

/** Far above any hold with its record; SQLite takes rows of 2 MB here. */
const maxHoldLength = 1_000_000
/** Of one claim: an isolate has 128 MB, and the answer travels. */
const claimLimit = 500
const claimLength = 8_000_000
const sweepEveryMs = 60_000
const sweepLimit = 100

const tables = [
  `CREATE TABLE IF NOT EXISTS cell (
    one INTEGER PRIMARY KEY CHECK (one = 1), spender TEXT NOT NULL, epoch INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE IF NOT EXISTS account (
    id INTEGER PRIMARY KEY, touched_ms INTEGER NOT NULL, broken INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT`,
  `CREATE TABLE IF NOT EXISTS key (
    id INTEGER PRIMARY KEY, account_id INTEGER NOT NULL, touched_ms INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT`,
  `CREATE TABLE IF NOT EXISTS hold (
    id TEXT PRIMARY KEY, account_id INTEGER NOT NULL, due_ms INTEGER NOT NULL, body TEXT NOT NULL
  ) STRICT, WITHOUT ROWID`,
  // Its entries carry the id, so that holds due at the same moment come in the order of their names.
  'CREATE INDEX IF NOT EXISTS hold_due ON hold (due_ms)',
]

/** What the functions below work on. */
interface State {
  readonly storage: CellStorage
  readonly rows: (query: string, ...values: (string | number)[]) => Row[]
  readonly clock: Pick<Clock, 'now'>
  readonly engine: typeof decide
  sweptMs: number
}

export interface CellOptions {
  readonly storage: CellStorage
  readonly clock: Pick<Clock, 'now'>
  /** The engine; another one only where a test breaks its rules on purpose. */
  readonly engine?: typeof decide
}

/** Opens the records that a storage holds; an empty one is a cell that has no epoch yet. */
export function openCell({ storage, clock, engine = decide }: CellOptions): Cell {
  const rows: State['rows'] = (query, ...values) => [...storage.sql.exec(query, ...values)]
  const state: State = { storage, rows, clock, engine, sweptMs: clock.now() }
  // In memory alone: an object that was put to sleep had nothing to lend for a while.
  const [lender, slots] = [openLender(), openSlotLender()]
  storage.transactionSync(() => tables.forEach((table) => rows(table)))
  return {
    run: (ask) => storage.transactionSync(() => run(state, ask)),
    claim: (taking) => storage.transactionSync(() => claim(state, taking)),
    begin: (spender, epoch) => storage.transactionSync(() => begin(state, spender, epoch)),
    account: (accountId) => accountOf(state, accountId)?.record,
    key: (keyId) => keyOf(state, keyId),
    lend: (ask, nowMs) => lender.lend(ask, nowMs ?? clock.now()),
    lendSlots: (ask, nowMs) => slots.lend(ask, nowMs ?? clock.now()),
    spender: () => standing(state).spender,
    nextDue: () => nextDue(state),
  }
}

function standing({ rows }: State): { readonly spender?: string; readonly epoch: number } {
  const [row] = rows('SELECT spender, epoch FROM cell')
  return row ? { spender: String(row['spender']), epoch: Number(row['epoch']) } : { epoch: 0 }
}

function nextDue({ rows }: State): number | undefined {
  const [row] = rows('SELECT due_ms FROM hold ORDER BY due_ms LIMIT 1')
  return row && Number(row['due_ms'])
}

function run<C extends Command>(state: State, ask: Ask<C>): Answer<C> {
  const { command, nowMs = state.clock.now() } = ask
  const { epoch } = standing(state)
  if (epoch === 0 || (ask.epoch ?? epoch) !== epoch) return { code: 'epoch', epoch }
  sweepSometimes(state, nowMs)
  const account = accountOf(state, command.accountId)
  try {
    const decision = state.engine(
      recordsOf(state, command, account?.record),
      heeding(command, { isBroken: account?.isBroken === true }),
      nowMs,
    )
    keep(state, command, { decision, nowMs })
    return { code: 'done', epoch, reply: decision.reply }
  } catch (caught) {
    if (!(caught instanceof LedgerAssertion)) throw caught
    const record = stopped(command.accountId, account?.record)
    keepAccount(state, record, { nowMs, isBroken: true })
    return { code: 'broken', epoch, rule: caught.message }
  }
}

/** Nobody but this file writes these rows, and each as the text of the record that is read here. */
function recordIn<T>(row: Row | undefined): T | undefined {
  return row && (parseJson(String(row['body'])) as T)
}

function accountOf({ rows }: State, id: number) {
  const [row] = rows('SELECT body, broken FROM account WHERE id = ?', id)
  const record = recordIn<AccountRecord>(row)
  return record && { record, isBroken: row?.['broken'] === 1 }
}

function keyOf({ rows }: State, id: number): KeyRecord | undefined {
  return recordIn(rows('SELECT body FROM key WHERE id = ?', id)[0])
}

function holdOf({ rows }: State, id: string): HoldRecord | undefined {
  return recordIn(rows('SELECT body FROM hold WHERE id = ?', id)[0])
}

function recordsOf(state: State, command: Command, account: AccountRecord | undefined): Records {
  const hold = 'id' in command ? holdOf(state, command.id) : undefined
  const keys = new Map<number, KeyRecord>()
  for (const id of keysOf(command, hold)) {
    const key = keyOf(state, id)
    if (key) keys.set(id, key)
  }
  return { ...(account && { account }), keys, ...(hold && { hold }) }
}

function keep(state: State, command: Command, { decision, nowMs }: { decision: Decision; nowMs: number }): void {
  const { account, keys = [], hold, dropHold } = decision
  if (account) keepAccount(state, account, { nowMs })
  for (const key of keys) keepKey(state, key, { accountId: command.accountId, nowMs })
  if (hold) keepHold(state, hold)
  if (dropHold && 'id' in command) state.rows('DELETE FROM hold WHERE id = ?', command.id)
}

/** Once broken it stays so until the next epoch. */
function keepAccount({ rows }: State, record: AccountRecord, at: { nowMs: number; isBroken?: true }): void {
  rows(
    `INSERT INTO account (id, touched_ms, broken, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
     SET touched_ms = excluded.touched_ms, broken = max(broken, excluded.broken), body = excluded.body`,
    record.id,
    at.nowMs,
    at.isBroken ? 1 : 0,
    printJson(record),
  )
}

function keepKey({ rows }: State, record: KeyRecord, at: { accountId: number; nowMs: number }): void {
  rows(
    `INSERT INTO key (id, account_id, touched_ms, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
     SET touched_ms = excluded.touched_ms, body = excluded.body`,
    record.id,
    at.accountId,
    at.nowMs,
    printJson(record),
  )
}

function keepHold({ rows }: State, hold: HoldRecord): void {
  const body = printJson(hold)
  if (body.length > maxHoldLength) throw new RangeError('A hold is too large to be kept')
  rows(
    `INSERT INTO hold (id, account_id, due_ms, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
     SET due_ms = excluded.due_ms, body = excluded.body`,
    hold.id,
    hold.facts.accountId,
    hold.dueMs,
    body,
  )
}

function claim({ rows, storage, clock }: State, { limit, hideMs, nowMs = clock.now() }: Taking): ClaimReply {
  const holds: HoldRecord[] = []
  let length = 0
  const atMost = Math.min(limit, claimLimit)
  const due = storage.sql.exec(
    'SELECT body FROM hold WHERE due_ms <= ? ORDER BY due_ms, id LIMIT ?',
    nowMs,
    Math.max(0, atMost),
  )
  for (const row of due) {
    const hold = recordIn<HoldRecord>(row)
    if (hold) holds.push(hold)
    length += String(row['body']).length
    if (length > claimLength) break
  }
  for (const { id } of holds) rows('UPDATE hold SET due_ms = ? WHERE id = ?', nowMs + hideMs, id)
  return { code: 'ok', holds }
}

/**
 * The books settle the loans of an older epoch alone, so what is known of its accounts and keys goes, to be loaded
 * anew. Its holds stay, because this storage forgets nothing: they end like those of any earlier process.
 */
function begin(state: State, spender: string, epoch: number): number {
  const { rows } = state
  const before = standing(state).epoch
  if (epoch <= before) return before
  rows(
    `INSERT INTO cell (one, spender, epoch) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE
     SET spender = excluded.spender, epoch = excluded.epoch`,
    spender,
    epoch,
  )
  rows('DELETE FROM account')
  rows('DELETE FROM key')
  rows(`UPDATE hold SET body = json_remove(json_set(body, '$.recovered', json('true')), '$.own')`)
  return epoch
}

function sweepSometimes(state: State, nowMs: number): void {
  if (nowMs - state.sweptMs < sweepEveryMs && nowMs >= state.sweptMs) return
  state.sweptMs = nowMs
  sweep(state, nowMs)
}

/** Drops records that nothing hangs on. A hold that is not final may still count at the keys of its account. */
function sweep({ rows }: State, nowMs: number): void {
  const idle = 'touched_ms < ? AND account_id NOT IN (SELECT account_id FROM hold) LIMIT ?'
  // A meter of a day counts for two.
  const keys = `(touched_ms < ? OR json_extract(body, '$.meters') IS NULL) AND ${idle}`
  const sure = nowMs - 2 * limitWindows.day
  rows(`DELETE FROM key WHERE id IN (SELECT id FROM key WHERE ${keys})`, sure, nowMs - idleMs, sweepLimit)
  const accounts = rows(
    `SELECT id, body FROM (SELECT id AS account_id, * FROM account WHERE broken = 0) WHERE ${idle}`,
    nowMs - idleMs,
    sweepLimit,
  )
  for (const row of accounts) {
    const record = recordIn<AccountRecord>(row)
    if (record && onLoan(record)) rows('UPDATE account SET touched_ms = ? WHERE id = ?', nowMs, record.id)
    else rows('DELETE FROM account WHERE id = ?', Number(row['id']))
  }
}
