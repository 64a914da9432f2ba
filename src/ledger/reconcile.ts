import type { Part } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import { tokenAsset } from '../core/tokens.ts'
import type { DurableBooks, Violation } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { lentAccounts, lentTo } from '../db/drift.ts'
import { setting } from '../db/schema.ts'
import type { Clock, Log, Shared } from '../ports.ts'
import type { Batcher } from './batcher.ts'
import type { AccountRecord } from './engine/records.ts'

/** Accounts asked for at a time, and compared in one run; the next run goes on after them. */
const pageAccounts = 200
const runAccounts = 20_000
/** An account is read so often until two readings agree, with this pause between. */
const readings = 4
const pauseMs = 150
/** Records of one account that are looked for in the books; with more waiting the account is busy. */
const recordLimit = 2_000
/** Drifting purses and broken rules that are told by name. */
const named = 20

/** Under which the last result is kept, for `tollgate ledger check`, which runs beside the gateway. */
export const reconciliationSetting = 'reconciliation'

/** One purse of which the engine has another idea than the books. */
export interface Drift {
  readonly accountId: number
  readonly purse: number
  readonly asset: string
  /** What the engine has above what the books have lent; below zero where it has less. */
  readonly amount: bigint
}

export interface Reconciliation {
  readonly atMs: number
  readonly violations: readonly Violation[]
  readonly drifts: readonly Drift[]
  /** Accounts compared, and those that did not stand still long enough. */
  readonly compared: number
  readonly busy: number
  /** Over all drifts in money. */
  readonly over: Nanos
  readonly under: Nanos
}

export interface ReconcileParts {
  readonly database: Database
  readonly books: Pick<DurableBooks, 'check'>
  readonly shared: Pick<Shared, 'account'>
  readonly batcher: Pick<Batcher, 'unflushed'>
  readonly clock: Clock
  readonly log: Log
  /** True once the process stops: nothing further is compared. */
  isStopping(): boolean
}

/** Compares the engine with the books, again and again; each run begins where the one before ended. */
export interface Reconciler {
  run(): Promise<Reconciliation>
  /** What the last run has found; undefined before. */
  last(): Reconciliation | undefined
}

export function openReconciler(parts: ReconcileParts): Reconciler {
  let last: Reconciliation | undefined
  let cursor = 0
  let told = ''
  return {
    last: () => last,
    async run() {
      const violations = await parts.books.check()
      const compared = await compareAccounts(parts, cursor)
      cursor = compared.next
      const found = summary(parts.clock.now(), violations, compared)
      last = found
      const state = stateOf(found)
      if (state !== told) tell(parts.log, found)
      told = state
      await keep(parts.database, found)
      return found
    },
  }
}

interface Compared {
  readonly drifts: readonly Drift[]
  readonly compared: number
  readonly busy: number
  /** Where the next run begins: 0 is the first account. */
  readonly next: number
}

async function compareAccounts(parts: ReconcileParts, from: number): Promise<Compared> {
  const drifts: Drift[] = []
  let [compared, busy, next] = [0, 0, from]
  while (compared + busy < runAccounts) {
    const accounts = await lentAccounts(parts.database, next, pageAccounts)
    for (const accountId of accounts) {
      if (parts.isStopping()) return { drifts, compared, busy, next }
      const found = await compareAccount(parts, accountId)
      if (found) drifts.push(...found)
      if (found) compared += 1
      else busy += 1
      next = accountId
    }
    if (accounts.length < pageAccounts) return { drifts, compared, busy, next: 0 }
  }
  return { drifts, compared, busy, next }
}

/**
 * The purses of an account that drift; undefined where they did not stand still. Engine, batcher and books are three
 * places and are read one after another, so a difference counts when it is there twice in the same size.
 */
async function compareAccount(parts: ReconcileParts, accountId: number): Promise<readonly Drift[] | undefined> {
  let before: string | undefined
  for (let reading = 0; reading < readings; reading++) {
    if (reading > 0) await pause(parts.clock)
    const drifts = await readDrifts(parts, accountId)
    if (drifts?.length === 0) return drifts
    const now = drifts && drifts.map(({ purse, amount }) => `${purse}:${amount}`).join(' ')
    if (drifts && now === before) return drifts
    before = now
  }
  return undefined
}

/** One reading; undefined where a charge was settled meanwhile, or too much waits for the books. */
async function readDrifts(parts: ReconcileParts, accountId: number): Promise<readonly Drift[] | undefined> {
  const { database, shared, batcher } = parts
  const before = await shared.account(accountId)
  const records = batcher.unflushed(accountId)
  if (records.length > recordLimit) return undefined
  const { leases, unbooked } = await lentTo(database, accountId, records)
  const after = await shared.account(accountId)
  if (!before || !after) return []
  if (!isSame(before, after)) return undefined
  return leases.flatMap(({ id, purse, asset, rest }) => {
    const record = after.purses.find((one) => one.id === purse && one.lease === id)
    // Not loaded: the books are asked before anything is drawn on it.
    if (!record) return []
    const amount = record.available + record.held + chargedTo(unbooked, id) - rest
    return amount === 0n ? [] : [{ accountId, purse, asset, amount }]
  })
}

/** A settlement changes what is available and held together; a new hold or its end at nothing does not. */
function isSame(before: AccountRecord, after: AccountRecord): boolean {
  const sums = ({ purses }: AccountRecord): string =>
    purses.map(({ id, lease, available, held }) => `${id}/${lease}:${available + held}`).join(' ')
  return before.epoch === after.epoch && sums(before) === sums(after)
}

/**
 * A settled record has been taken off the engine's purse and is not in the books yet: they still count it as lent, so
 * it is added to what the engine has.
 */
function chargedTo(parts: readonly Part[], lease: number): bigint {
  return parts.reduce((sum, part) => (part.lease === lease ? sum + part.amount : sum), 0n)
}

function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => void clock.after(pauseMs, resolve))
}

function summary(atMs: number, violations: readonly Violation[], { drifts, compared, busy }: Compared): Reconciliation {
  const money = drifts.filter(({ asset }) => asset !== tokenAsset)
  const sumOf = (chosen: readonly Drift[]) => chosen.reduce((sum, { amount }) => sum + amount, 0n)
  const over = sumOf(money.filter(({ amount }) => amount > 0n))
  const under = -sumOf(money.filter(({ amount }) => amount < 0n))
  return { atMs, violations, drifts, compared, busy, over, under }
}

/** What must change for the log to say something again. */
function stateOf({ violations, drifts }: Reconciliation): string {
  const broken = violations.map(({ rule, subject }) => `${rule} ${subject}`)
  return [...broken, ...drifts.map(({ accountId, purse }) => `${accountId}/${purse}`)].join('\n')
}

function tell(log: Log, { violations, drifts, over, under }: Reconciliation): void {
  if (violations.length === 0 && drifts.length === 0) return log('books_right')
  log('books_drift', {
    violations: violations.length,
    rules: [...new Set(violations.map(({ rule }) => rule))].slice(0, named),
    drifts: drifts.length,
    over: over.toString(),
    under: under.toString(),
    purses: drifts
      .slice(0, named)
      .map(({ accountId, purse, asset, amount }) => ({ accountId, purse, asset, amount: `${amount}` })),
  })
}

async function keep({ drizzle }: Database, found: Reconciliation): Promise<void> {
  const { atMs, violations, drifts, compared, busy, over, under } = found
  const counts = { violations: violations.length, drifts: drifts.length, compared, busy }
  const value = { at: new Date(atMs).toISOString(), ...counts, over: `${over}`, under: `${under}` }
  await drizzle
    .insert(setting)
    .values({ name: reconciliationSetting, value })
    .onConflictDoUpdate({ target: setting.name, set: { value } })
}
