import { and, eq } from 'drizzle-orm'
import type { AccountLimits, BudgetWindow, UsageRecord } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney, type Nanos } from '../core/money.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import type { KeyRouting } from '../core/routing.ts'
import type { AccountRow, Books, Flushed, KeyRow } from '../ports.ts'
import { openAdjustments, type AdjustmentBooks } from './adjustments.ts'
import { checkAll, checkRecent } from './checks.ts'
import type { Database, Row } from './database.ts'
import { attemptTypes, columnsOf, usageTypes } from './flush-rows.ts'
import { openGrants, type GrantBooks } from './grants.ts'
import { openLeases } from './leases.ts'
import { readReceipt } from './receipts.ts'
import { account, ledgerAccount, type StoredBudget } from './schema.ts'
import * as statements from './statements.ts'
import { attemptRows, dayOf, priceSetRow, usageRow } from './usage-row.ts'

/** Records per statement. */
const batchRows = 500
/** Rows of a delta table that one step of the rollup takes, and steps of one rollup. */
const rollupRows = 20_000
const rollupSteps = 50
/** The largest amount that an int8 of nano-units holds with room for a sum: 9 · 10^18, which is 9 bn of a currency. */
const largestAmount = 9_000_000_000_000_000_000n
const referenceLimit = 200
const memoLimit = 1_000

export interface BooksOptions {
  /** Milliseconds since 1970, for when grants begin and end; the database's own clock without it. */
  readonly now?: () => number
}

export interface NewAccount {
  readonly name: string
  /** ISO 4217, for good. */
  readonly currency: string
  readonly discountPpm?: number
  /** How far below zero the wallet may be lent, in nano-units. */
  readonly creditLimit?: Nanos
  readonly provisioned?: boolean
}

export interface Recharge {
  readonly accountId: number
  /** Nano-units, more than zero. */
  readonly amount: Nanos
  /** The payment's own id: one reference is credited once, over all accounts. */
  readonly ref: string
  readonly memo?: string
}

/** A wallet. `posted` is what the account owns: `free + leased`. Holds of running calls are not taken off. */
export interface WalletBalance {
  readonly currency: string
  readonly posted: Nanos
  readonly free: Nanos
  readonly leased: Nanos
  readonly creditLimit: Nanos
}

export interface Violation {
  /** I1 to I9 and what it says. */
  readonly rule: string
  /** The id of the row at fault. */
  readonly subject: string
  readonly detail: string
}

/** The books with what only the control plane and the jobs do. */
export interface DurableBooks extends Books, GrantBooks, AdjustmentBooks {
  createAccount(wanted: NewAccount): Promise<AccountRow>
  /** Credits a payment once; `applied` is false when it was there. GatewayError `not_found`, `conflict`, `invalid_value`. */
  recharge(payment: Recharge): Promise<{ readonly applied: boolean }>
  /** Undefined where there is no such account. */
  balance(accountId: number): Promise<WalletBalance | undefined>
  /** Moves what the flushes left in the delta tables to where it belongs; gives the rows it moved. One worker at a time. */
  rollup(): Promise<number>
  /**
   * What is wrong in the books: nothing, or a bug. Of records and entries the last 48 hours are read, by whole days, and
   * what is not rolled up; with `all` every one.
   */
  check(options?: { readonly all?: boolean }): Promise<readonly Violation[]>
}

/** The ledger on PostgreSQL or PGlite. */
export function openBooks(database: Database, { now }: BooksOptions = {}): DurableBooks {
  return {
    findKey: (hash) => findKey(database, hash),
    ...openGrants(database, now),
    ...openAdjustments(database),
    ...openLeases(database, now),
    async spent(keyId, _window: BudgetWindow, sinceMs) {
      const [statement, id] = keyId < 0 ? [statements.spentByAccount, -keyId] : [statements.spent, keyId]
      const [row] = await database.query<{ spent: bigint }>(statement, [id, new Date(sinceMs)])
      return row?.spent ?? 0n
    },
    flush: (records) => flush(database, records),
    booked: (ids) => booked(database, ids),
    createAccount: (wanted) => createAccount(database, wanted),
    recharge: (payment) => recharge(database, payment),
    balance: (accountId) => balance(database, accountId),
    receipt: (of) => readReceipt(database, of),
    rollup: () => rollup(database),
    check: ({ all = false } = {}) =>
      all ? database.transaction(checkAll) : checkRecent(database, now ? new Date(now()) : null),
  }
}

/** An id of the database as a number. They count up from 1. */
function small(id: bigint): number {
  const number = Number(id)
  if (!Number.isSafeInteger(number)) throw new RangeError('an id of the database is larger than 2^53')
  return number
}

interface ChainRow {
  readonly id: bigint
  readonly public_id: string
  readonly kind: KeyRow['kind']
  readonly account_id: bigint | null
  readonly parent_id: bigint | null
  readonly name: string
  readonly hash: string
  readonly version: number
  readonly models: readonly string[] | null
  readonly budgets: readonly StoredBudget[]
  readonly requests_per_minute: number | null
  readonly concurrency: number | null
  readonly limits: readonly RateLimit[]
  readonly routing: KeyRouting
  readonly expires_at: Date | null
  readonly revoked_at: Date | null
  readonly currency: string | null
  readonly discount_ppm: number | null
  readonly status: AccountRow['status'] | null
  readonly tier: string | null
  readonly account_limits: readonly RateLimit[] | null
  readonly account_concurrency: number | null
  readonly account_version: number | null
  readonly account_budgets: readonly StoredBudget[] | null
}

async function findKey(database: Database, hash: string): ReturnType<Books['findKey']> {
  const rows = await database.query<ChainRow>(statements.keyChain, [hash])
  const leaf = rows[0]
  if (!leaf) return undefined
  const { account_id: id, currency, discount_ppm: discountPpm, status } = leaf
  const payer =
    id === null || currency === null || discountPpm === null || status === null
      ? undefined
      : { id: small(id), currency, discountPpm, status, ...accountLimits(leaf) }
  return { chain: rows.map(keyRow), account: payer }
}

function accountLimits(row: ChainRow): AccountLimits {
  const { tier, account_limits: limits, account_concurrency: concurrency, account_version: version } = row
  const { account_budgets: budgets } = row
  return {
    ...(tier !== null && { tier }),
    ...(limits?.length && { limits }),
    ...(concurrency !== null && { concurrency }),
    ...(budgets?.length && { budgets: budgets.map(({ limit, window }) => ({ limit: BigInt(limit), window })) }),
    ...(version !== null && version > 1 && { version }),
  }
}

function keyRow(row: ChainRow): KeyRow {
  return {
    id: small(row.id),
    publicId: row.public_id,
    kind: row.kind,
    accountId: row.account_id === null ? undefined : small(row.account_id),
    parentId: row.parent_id === null ? undefined : small(row.parent_id),
    name: row.name,
    hash: row.hash,
    version: row.version,
    models: row.models ?? undefined,
    budgets: row.budgets.map(({ limit, window }) => ({ limit: BigInt(limit), window })),
    requestsPerMinute: row.requests_per_minute ?? undefined,
    concurrency: row.concurrency ?? undefined,
    ...(row.limits.length > 0 && { limits: row.limits }),
    ...(Object.keys(row.routing).length > 0 && { routing: row.routing }),
    expiresAtMs: row.expires_at?.getTime(),
    revokedAtMs: row.revoked_at?.getTime(),
  }
}

/** Stores records in statements of their own, none with the same id twice: of two, the first comes first. */
async function flush(database: Database, records: readonly UsageRecord[]): Promise<readonly Flushed[]> {
  const totals = new Map<string, Nanos>()
  let waiting = records
  while (waiting.length > 0) {
    const batch = new Map<string, UsageRecord>()
    const later: UsageRecord[] = []
    for (const record of waiting) {
      const id = record.id.toLowerCase()
      if (batch.size < batchRows && !batch.has(id)) batch.set(id, record)
      else later.push(record)
    }
    for (const [id, total] of await flushBatch(database, batch)) totals.set(id, total)
    waiting = later
  }
  return [...new Set(records.map(({ id }) => id))].map((id) => ({ id, total: totals.get(id.toLowerCase()) ?? 0n }))
}

async function booked(database: Database, ids: readonly string[]): Promise<readonly Flushed[]> {
  const wanted = new Map(ids.map((id) => [id.toLowerCase(), id]))
  const rows = JSON.stringify([...wanted.keys()].map((id) => ({ day: dayOf(id), id })))
  const known = await database.query<{ id: string; total: bigint }>(statements.totals, [rows])
  return known.map(({ id, total }) => ({ id: wanted.get(id) ?? id, total }))
}

/** What the books charge for each id of a batch. */
async function flushBatch(
  database: Database,
  batch: ReadonlyMap<string, UsageRecord>,
): Promise<ReadonlyMap<string, Nanos>> {
  const there = await database.query<{ id: string }>(statements.flush, parametersOf([...batch.values()]))
  const charged = new Map([...batch].map(([id, { charge }]) => [id, charge]))
  const known = there.flatMap(({ id }) => batch.get(id) ?? [])
  if (known.length === 0) return charged
  await database.query(statements.adjust, parametersOf(known))
  // Not from the statement before: it may have waited for another's adjustment, which it then cannot see.
  const ids = known.map(({ id }) => ({ day: dayOf(id), id }))
  const totals = await database.query<{ id: string; total: bigint }>(statements.totals, [JSON.stringify(ids)])
  for (const { id, total } of totals) charged.set(id, total)
  return charged
}

function parametersOf(records: readonly UsageRecord[]): readonly string[] {
  const sets = new Map(records.map((record) => [record.prices.id, record]))
  return [
    ...columnsOf(usageTypes, records.map(usageRow)),
    ...columnsOf(attemptTypes, records.flatMap(attemptRows)),
    JSON.stringify([...sets.values()].map(priceSetRow)),
  ]
}

function createAccount(database: Database, wanted: NewAccount): Promise<AccountRow> {
  const { name, currency, discountPpm, creditLimit = 0n, provisioned = false } = wanted
  return database.transaction(async ({ drizzle }) => {
    const [row] = await drizzle
      .insert(account)
      .values({ name, currency, provisioned, ...(discountPpm !== undefined && { discountPpm }) })
      .returning({
        id: account.id,
        currency: account.currency,
        discountPpm: account.discountPpm,
        status: account.status,
      })
    if (!row) throw new Error('the database gave no account')
    if (creditLimit !== 0n)
      await drizzle
        .update(ledgerAccount)
        .set({ creditLimit })
        .where(and(eq(ledgerAccount.accountId, row.id), eq(ledgerAccount.kind, 'wallet')))
    return row
  })
}

async function recharge(database: Database, { accountId, amount, ref, memo }: Recharge): Promise<{ applied: boolean }> {
  if (amount <= 0n || amount > largestAmount)
    throw new GatewayError(
      'invalid_value',
      'The amount of a recharge must be more than zero and at most 9,000,000,000.',
      { param: 'amount' },
    )
  if (ref === '' || ref.length > referenceLimit || !storable(ref))
    throw new GatewayError('invalid_value', `A recharge needs a reference of 1 to ${referenceLimit} characters.`, {
      param: 'reference',
    })
  if (memo !== undefined && (memo.length > memoLimit || !storable(memo)))
    throw new GatewayError('invalid_value', `A memo has at most ${memoLimit} characters.`, { param: 'memo' })
  const entry = `recharge:${ref}`
  const [row] = await database.query<{ applied: boolean }>(statements.recharge, [
    accountId,
    amount,
    entry,
    memo ?? null,
  ])
  if (!row) throw new GatewayError('not_found', `There is no account ${accountId}.`)
  if (row.applied) return { applied: true }
  const [before] = await database.query<{ account_id: bigint; amount: bigint }>(statements.recharged, [entry])
  if (before && small(before.account_id) === accountId && before.amount === amount) return { applied: false }
  const what = before ? `${printMoney(before.amount)} to account ${before.account_id}` : 'something else'
  throw new GatewayError('conflict', `The reference was already used to credit ${what}. A payment is credited once.`, {
    param: 'reference',
  })
}

/** What PostgreSQL takes as text. */
function storable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed()
}

interface BalanceRow extends Row {
  readonly currency: string
  readonly posted: bigint
  readonly free: bigint
  readonly leased: bigint
  readonly credit_limit: bigint
}

async function balance(database: Database, accountId: number): Promise<WalletBalance | undefined> {
  const [row] = await database.query<BalanceRow>(statements.balance, [accountId])
  if (!row) return undefined
  const { currency, posted, free, leased, credit_limit: creditLimit } = row
  return { currency, posted, free, leased, creditLimit }
}

async function rollup(database: Database): Promise<number> {
  let moved = 0n
  for (const statement of statements.rollups) {
    for (let step = 0; step < rollupSteps; step++) {
      const [row] = await database.query<{ taken: bigint }>(statement, [rollupRows])
      const taken = row?.taken ?? 0n
      moved += taken
      if (taken < BigInt(rollupRows)) break
    }
  }
  return small(moved)
}
