import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  date,
  foreignKey,
  index,
  integer,
  jsonb,
  numeric,
  pgSequence,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { quotaPeriods } from '../core/calendar.ts'
import type { TokenWeights } from '../core/tokens.ts'
import type { Counts, Unit } from '../core/price.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import type { KeyRouting } from '../core/routing.ts'
import type { BudgetWindow, JsonObject, Outcome, UsageSource } from '../core/call.ts'

/*
 * The tables. What drizzle cannot say (partitions, the exclusion of overlapping prices, functions, triggers) stands in
 * drizzle/0000_first.sql beside what it generated. SQL is written for PostgreSQL 15; PGlite runs 18.
 */

const id = () => bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity()
const serial = (name: string) => bigint(name, { mode: 'number' })
/** Nano-units of one call: fits an int8 (9.2 bn of a currency). */
const nanos = (name: string) => bigint(name, { mode: 'bigint' })
/** Nano-units of a balance or a sum. */
const sum = (name: string) => numeric(name, { precision: 38, scale: 0, mode: 'bigint' })
/** Milliseconds: PGlite keeps no more, so PostgreSQL is held to the same. */
const moment = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })
/** drizzle-kit cannot write a bigint literal down. */
const zero = sql`0`
const createdAt = () => moment('created_at').notNull().defaultNow()
const provisioned = () => boolean('provisioned').notNull().default(false)

/** The chart of accounts. The first two are purses of an account; all others are the house's. */
const ledgerKinds = [
  'wallet',
  'grant',
  'revenue',
  'package_revenue',
  'deferred',
  'clearing',
  'promo_expense',
  'breakage',
  'writeoff',
  'units_issued',
  'units_consumed',
] as const
export const grantKinds = ['credit', 'package', 'quota'] as const

/** A budget as the key's row keeps it: `limit` is whole nano-units as a decimal string, because JSON has no int64. */
export interface StoredBudget {
  readonly limit: string
  readonly window: BudgetWindow
}

/** Who pays. A trigger opens the wallet and the house's ledger accounts of the currency with it. */
export const account = pgTable(
  'account',
  {
    id: id(),
    name: text('name').notNull(),
    currency: text('currency').notNull(),
    status: text('status', { enum: ['open', 'closed'] })
      .notNull()
      .default('open'),
    discountPpm: integer('discount_ppm').notNull().default(1_000_000),
    /** Names limits of the configuration; null: those of "normal", if there are any. */
    tier: text('tier'),
    limits: jsonb('limits').$type<readonly RateLimit[]>().notNull().default([]),
    concurrency: integer('concurrency'),
    /** What all its keys together may be charged in a period. */
    budgets: jsonb('budgets').$type<readonly StoredBudget[]>().notNull().default([]),
    /** Raised by every change of the tier or of the limits. */
    version: integer('version').notNull().default(1),
    provisioned: provisioned(),
    createdAt: createdAt(),
  },
  (table) => [
    check('account_concurrency', sql`${table.concurrency} > 0`),
    check('account_currency', sql`${table.currency} ~ '^[A-Z]{3}$'`),
    check('account_currency_is_money', sql`${table.currency} <> 'TOK'`),
    check('account_status', sql`${table.status} in ('open', 'closed')`),
    check('account_discount', sql`${table.discountPpm} between 0 and 1000000`),
    uniqueIndex('account_provisioned_name')
      .on(table.name)
      .where(sql`provisioned`),
  ],
)

/** Keys. The secret itself is nowhere: `hash` is its keyed hash. */
export const apiKey = pgTable(
  'api_key',
  {
    id: id(),
    publicId: text('public_id').notNull().unique(),
    kind: text('kind', { enum: ['master', 'sub', 'management'] }).notNull(),
    /** Null for a management key. */
    accountId: serial('account_id').references(() => account.id),
    parentId: serial('parent_id'),
    /** Keys above this one; 0 for a key without a parent. */
    depth: integer('depth').notNull().default(0),
    name: text('name').notNull().default(''),
    hash: text('hash').notNull().unique(),
    /** Null: every model. */
    models: text('models').array(),
    budgets: jsonb('budgets').$type<readonly StoredBudget[]>().notNull().default([]),
    requestsPerMinute: integer('requests_per_minute'),
    limits: jsonb('limits').$type<readonly RateLimit[]>().notNull().default([]),
    concurrency: integer('concurrency'),
    /** How targets are put in order for its calls. */
    routing: jsonb('routing').$type<KeyRouting>().notNull().default({}),
    expiresAt: moment('expires_at'),
    revokedAt: moment('revoked_at'),
    /** Raised by every change, so that a cached copy is known to be stale. */
    version: integer('version').notNull().default(1),
    provisioned: provisioned(),
    createdAt: createdAt(),
  },
  (table) => [
    foreignKey({ name: 'api_key_parent', columns: [table.parentId], foreignColumns: [table.id] }),
    check('api_key_kind', sql`${table.kind} in ('master', 'sub', 'management')`),
    check('api_key_account', sql`(${table.kind} = 'management') = (${table.accountId} is null)`),
    check('api_key_tree', sql`(${table.kind} = 'sub') = (${table.parentId} is not null)`),
    check(
      'api_key_depth',
      sql`${table.depth} between 0 and 7 and (${table.depth} > 0) = (${table.parentId} is not null)`,
    ),
    check('api_key_limits', sql`${table.requestsPerMinute} > 0 and ${table.concurrency} > 0`),
    index('api_key_children').on(table.parentId),
    index('api_key_of_account').on(table.accountId),
  ],
)

export const vendor = pgTable('vendor', {
  id: text('id').primaryKey(),
  adapter: text('adapter').notNull(),
  baseUrl: text('base_url').notNull(),
  provisioned: provisioned(),
})

/** Our keys at vendors, beside those of the configuration. `sealed` is the key, encrypted: see platform/seal.ts. */
export const vendorKey = pgTable(
  'vendor_key',
  {
    id: id(),
    vendor: text('vendor')
      .notNull()
      .references(() => vendor.id),
    name: text('name').notNull(),
    sealed: text('sealed').notNull(),
    /** Patterns of the vendor's models; none: all. */
    models: text('models').array().notNull().default([]),
    /** None: every call. */
    scenarios: text('scenarios').array().notNull().default([]),
    priority: text('priority', { enum: ['vip', 'normal', 'test'] })
      .notNull()
      .default('normal'),
    region: text('region'),
    disabled: boolean('disabled').notNull().default(false),
    createdAt: createdAt(),
  },
  (table) => [
    unique('vendor_key_name').on(table.vendor, table.name),
    check('vendor_key_priority', sql`${table.priority} in ('vip', 'normal', 'test')`),
  ],
)

/** A public model. `policies` is `Policies` of core/catalog.ts. */
export const model = pgTable('model', {
  name: text('name').primaryKey(),
  maxOutputTokens: integer('max_output_tokens').notNull(),
  /** `TokenWeights` of core/tokens.ts. */
  tokenWeights: jsonb('token_weights').$type<TokenWeights>().notNull().default({}),
  policies: jsonb('policies').$type<JsonObject>().notNull().default({}),
  /** What is said about its routing, in the words of the API. */
  routing: jsonb('routing').$type<JsonObject>().notNull().default({}),
  /** What is said of answers that identical calls get, likewise. */
  cache: jsonb('cache').$type<JsonObject>().notNull().default({}),
  disabled: boolean('disabled').notNull().default(false),
  provisioned: provisioned(),
  createdAt: createdAt(),
})

export const target = pgTable(
  'target',
  {
    id: id(),
    model: text('model')
      .notNull()
      .references(() => model.name, { onDelete: 'cascade' }),
    /** Order of preference, from 0. */
    position: integer('position').notNull().default(0),
    vendor: text('vendor')
      .notNull()
      .references(() => vendor.id),
    vendorModel: text('vendor_model').notNull(),
    region: text('region'),
    /** Its weight, mark and bounds, and what it costs, in the words of the API. */
    options: jsonb('options').$type<JsonObject>().notNull().default({}),
    provisioned: provisioned(),
  },
  (table) => [index('target_of_model').on(table.model, table.position)],
)

/**
 * Prices, never changed but for their end. A row holds from `valid_from` up to but not at `valid_to`; two rows of the
 * same book, model, unit, tier and currency never overlap (exclusion constraint `price_no_overlap`).
 */
export const price = pgTable(
  'price',
  {
    id: id(),
    book: text('book').notNull().default('list'),
    model: text('model').notNull(),
    /** A multiplier stands in a row of its own, in nano-units of one. */
    unit: text('unit').$type<Unit | 'token_multiplier'>().notNull(),
    /** The condition of its rate, as `printCondition` of core/rates.ts writes it: '' for the plain price. */
    tier: text('tier').notNull().default(''),
    currency: text('currency').notNull(),
    /** Per million tokens or per piece, as the unit says. */
    nanos: nanos('nanos').notNull(),
    validFrom: moment('valid_from').notNull(),
    validTo: moment('valid_to'),
    createdAt: createdAt(),
  },
  (table) => [
    check('price_not_negative', sql`${table.nanos} >= 0`),
    check('price_ends_after_start', sql`${table.validTo} >= ${table.validFrom}`),
  ],
)

/** Decimal strings by unit. */
export type StoredPrices = Readonly<Partial<Record<Unit, string>>>

export interface StoredRate {
  readonly when: string
  readonly nanos: StoredPrices
  readonly tokens_ppm?: number
}

export interface StoredConversion {
  readonly from: string
  readonly num: string
  readonly den: string
  readonly version: string
}

/** The prices that were pinned for calls, by content. */
export const priceSet = pgTable('price_set', {
  id: text('id').primaryKey(),
  currency: text('currency').notNull(),
  nanos: jsonb('nanos').$type<StoredPrices>().notNull(),
  /** The alternatives to these prices, each with its condition as text. */
  rates: jsonb('rates').$type<readonly StoredRate[]>().notNull().default([]),
  /** Where the account pays in another currency than the prices: from which, and the fraction. */
  conversion: jsonb('conversion').$type<StoredConversion>(),
  discountPpm: integer('discount_ppm').notNull(),
  createdAt: createdAt(),
})

/**
 * A line of the books. `free` is what a purse has and has not lent; `posted` follows the postings by the rollup.
 * For balances add what waits in `posting_delta`.
 */
export const ledgerAccount = pgTable(
  'ledger_account',
  {
    id: id(),
    /** Null for the house. */
    accountId: serial('account_id').references(() => account.id),
    kind: text('kind', { enum: ledgerKinds }).notNull(),
    asset: text('asset').notNull(),
    /** The grant that a `grant` or a `deferred` stands for; 0 for every other. */
    ref: serial('ref').notNull().default(0),
    free: sum('free').notNull().default(zero),
    creditLimit: sum('credit_limit').notNull().default(zero),
    posted: sum('posted').notNull().default(zero),
  },
  (table) => [
    unique('ledger_account_line').on(table.accountId, table.kind, table.asset, table.ref).nullsNotDistinct(),
    check('ledger_account_credit', sql`${table.creditLimit} >= 0`),
    // A grant's own lines, by its id: the unique constraint begins with the account.
    index('ledger_account_of_grant')
      .on(table.ref)
      .where(sql`kind in ('grant', 'deferred')`),
  ],
)

/** What renews: a grant of `amount` at the start of each period, made when its purses are first asked for. */
export const quota = pgTable(
  'quota',
  {
    id: id(),
    accountId: serial('account_id')
      .notNull()
      .references(() => account.id),
    /** The account's currency, or TOK. */
    asset: text('asset').notNull(),
    amount: nanos('amount').notNull(),
    period: text('period', { enum: quotaPeriods }).notNull(),
    /** The first period begins here; the others are reckoned from it in this zone. */
    anchor: moment('anchor').notNull(),
    timeZone: text('time_zone').notNull(),
    priority: smallint('priority').notNull(),
    models: text('models').array().notNull().default([]),
    active: boolean('active').notNull().default(true),
    ref: text('ref').notNull().unique(),
    createdAt: createdAt(),
  },
  (table) => [
    check('quota_amount', sql`${table.amount} > 0`),
    check('quota_period', sql`${table.period} in ('day', 'week', 'month')`),
    check('quota_priority', sql`${table.priority} between 0 and 100`),
    index('quota_of_account').on(table.accountId),
  ],
)

/**
 * Credit that was given or sold, with its own purse: the ledger account of kind `grant` whose `ref` is its id.
 * Never changed but for being voided and for being closed, each once.
 */
export const creditGrant = pgTable(
  'credit_grant',
  {
    id: id(),
    accountId: serial('account_id')
      .notNull()
      .references(() => account.id),
    kind: text('kind', { enum: grantKinds }).notNull(),
    /** The account's currency, or TOK. */
    asset: text('asset').notNull(),
    /** Nano-units or micro-tokens. */
    amount: nanos('amount').notNull(),
    /** 0 pays first. */
    priority: smallint('priority').notNull(),
    /** Patterns of public model names; none: all. */
    models: text('models').array().notNull().default([]),
    effectiveAt: moment('effective_at').notNull(),
    expiresAt: moment('expires_at'),
    voidedAt: moment('voided_at'),
    /** It has ended, and nothing of it is lent or left. */
    closedAt: moment('closed_at'),
    quotaId: serial('quota_id').references(() => quota.id),
    periodStart: moment('period_start'),
    /** What a package was sold for, in nano-units of the account's currency. */
    price: nanos('price').notNull().default(zero),
    /** Nano-units of revenue for a million of its tokens, rounded down: what is lost by that is released at its end. */
    unitValue: sum('unit_value').notNull().default(zero),
    /** Who or what made it. */
    source: text('source').notNull(),
    /** Of what was asked for from outside, so that it happens once; null for a quota's. */
    ref: text('ref').unique(),
    createdAt: createdAt(),
  },
  (table) => [
    unique('credit_grant_of_period').on(table.quotaId, table.periodStart),
    check('credit_grant_kind', sql`${table.kind} in ('credit', 'package', 'quota')`),
    check('credit_grant_amount', sql`${table.amount} > 0 and ${table.price} >= 0 and ${table.unitValue} >= 0`),
    check('credit_grant_priority', sql`${table.priority} between 0 and 100`),
    check('credit_grant_time', sql`${table.expiresAt} > ${table.effectiveAt}`),
    check('credit_grant_package', sql`${table.kind} <> 'package' or ${table.asset} = 'TOK'`),
    check('credit_grant_quota', sql`(${table.kind} = 'quota') = (${table.quotaId} is not null)`),
    check('credit_grant_once', sql`(${table.quotaId} is null) <> (${table.ref} is null)`),
    index('credit_grant_of_account').on(table.accountId, table.id),
    index('credit_grant_open')
      .on(table.accountId)
      .where(sql`closed_at is null`),
    // Of the two moments the earlier, and where there is but one, that one.
    index('credit_grant_end')
      .on(sql`least(${table.expiresAt}, ${table.voidedAt})`)
      .where(sql`closed_at is null`),
  ],
)

/** Money lent to a spender. What it used is `consumed` plus what waits in `lease_delta`. */
export const lease = pgTable(
  'lease',
  {
    id: id(),
    ledgerAccountId: serial('ledger_account_id')
      .notNull()
      .references(() => ledgerAccount.id),
    spender: text('spender').notNull(),
    epoch: integer('epoch').notNull(),
    amount: nanos('amount').notNull().default(zero),
    consumed: nanos('consumed').notNull().default(zero),
    state: text('state', { enum: ['open', 'frozen', 'closed'] })
      .notNull()
      .default('open'),
    /** Null for one from before this was kept. */
    openedAt: moment('opened_at').defaultNow(),
    frozenAt: moment('frozen_at'),
  },
  (table) => [
    unique('lease_of_spender').on(table.ledgerAccountId, table.spender, table.epoch),
    check('lease_state', sql`${table.state} in ('open', 'frozen', 'closed')`),
    index('lease_not_closed')
      .on(table.spender)
      .where(sql`state <> 'closed'`),
    index('lease_frozen')
      .on(table.id)
      .where(sql`state = 'frozen'`),
  ],
)

export const spenderEpoch = pgTable('spender_epoch', {
  spender: text('spender').primaryKey(),
  epoch: integer('epoch').notNull(),
})

/**
 * Processes that spend. `last_seen` says which of them live, by the database's clock, and is moved on by the time in
 * which nobody could be seen. Leases that were frozen before `vouched_at` one has looked through and named in `outstanding`
 * where it may still charge to them; null where it has not looked yet.
 */
export const replica = pgTable('replica', {
  id: text('id').primaryKey(),
  lastSeen: moment('last_seen').notNull(),
  vouchedAt: moment('vouched_at'),
  /** Decimal strings by lease. */
  outstanding: jsonb('outstanding').$type<Readonly<Record<string, string>>>().notNull().default({}),
})

/** Names the journal entry of a batch; gaps mean nothing. */
export const batchSeq = pgSequence('batch_seq')

/** `usage_record.kind`. */
export const recordKinds = { settle: 1, reap: 2, adjust: 3, refund: 4, void: 5 } as const

/**
 * One row for each way a call touched money: seq 0 is how it ended, seq 1 what a late settle changed after a reap,
 * seq ≥ 2 refunds. Partitioned by `day`, the UTC day inside the UUIDv7, so that an id always lies in one partition.
 * Immutable, and without foreign keys: the flush only inserts.
 */
export const usageRecord = pgTable(
  'usage_record',
  {
    day: date('day', { mode: 'string' }).notNull(),
    id: uuid('id').notNull(),
    seq: smallint('seq').notNull().default(0),
    batchId: serial('batch_id').notNull(),
    kind: smallint('kind').notNull(),
    accountId: serial('account_id').notNull(),
    keyId: serial('key_id').notNull(),
    outcome: text('outcome').$type<Outcome>().notNull(),
    /** As the caller named it; then where it was routed, and what the vendor says it served. */
    model: text('model').notNull(),
    vendor: text('vendor').notNull(),
    vendorModel: text('vendor_model').notNull(),
    servedModel: text('served_model'),
    /** The service tier that the vendor named, and the least prompt of the length tier that priced the call. */
    serviceTier: text('service_tier'),
    lengthTier: serial('length_tier'),
    priceSetId: text('price_set_id').notNull(),
    /** Every unit. On seq 1 the counts of the settle, on which the charge over all rows stands. */
    counts: jsonb('counts').$type<Counts>().notNull(),
    /** Tokens in and out over all their units; on seq 1 the difference to seq 0, so that sums over rows are right. */
    inputTokens: serial('input_tokens').notNull(),
    outputTokens: serial('output_tokens').notNull(),
    source: text('source').$type<UsageSource>().notNull(),
    tokenizer: text('tokenizer'),
    anomalies: text('anomalies').array().notNull().default([]),
    priced: nanos('priced').notNull(),
    charge: nanos('charge').notNull(),
    currency: text('currency').notNull(),
    /** Which purses paid, in burn order; lease 0 is charged to the purse directly. */
    lease: nanos('lease').array().notNull(),
    purse: nanos('purse').array().notNull(),
    amount: nanos('amount').array().notNull(),
    stream: boolean('stream').notNull(),
    startedAt: moment('started_at').notNull(),
    endedAt: moment('ended_at').notNull(),
    firstByteMs: integer('first_byte_ms'),
    finish: text('finish'),
    error: text('error'),
    clientRequestId: text('client_request_id'),
  },
  (table) => [
    primaryKey({ name: 'usage_record_pk', columns: [table.day, table.id, table.seq] }),
    check('usage_record_kind', sql`${table.kind} between 1 and 5`),
    check(
      'usage_record_parts',
      sql`cardinality(${table.purse}) = cardinality(${table.amount}) and cardinality(${table.lease}) = cardinality(${table.amount})`,
    ),
    // Ids grow with time: this serves "the latest calls of an account", page by page.
    index('usage_record_of_account').on(table.accountId, table.day, table.id),
  ],
)

/** Each try of a target, also of calls that cost nothing. Partitioned like `usage_record`. */
export const attempt = pgTable(
  'attempt',
  {
    day: date('day', { mode: 'string' }).notNull(),
    id: uuid('id').notNull(),
    /** From 0, in the order they were made. */
    n: smallint('n').notNull(),
    vendor: text('vendor').notNull(),
    model: text('model').notNull(),
    status: integer('status').notNull(),
    error: text('error'),
    startedAt: moment('started_at').notNull(),
    endedAt: moment('ended_at').notNull(),
    /** What we owe the vendor. */
    cost: nanos('cost'),
    costCurrency: text('cost_currency'),
    /** Nano-USD, as the vendor itself says. */
    reportedCost: nanos('reported_cost'),
  },
  (table) => [primaryKey({ name: 'attempt_pk', columns: [table.day, table.id, table.n] })],
)

/** One entry of the books. `ref` makes an entry from outside (a recharge) happen once. */
export const journal = pgTable(
  'journal',
  {
    batchId: serial('batch_id').primaryKey(),
    kind: text('kind', {
      enum: ['usage', 'late', 'recharge', 'grant', 'package', 'expire', 'void', 'refund', 'adjustment'],
    }).notNull(),
    memo: text('memo'),
    ref: text('ref').unique(),
    at: moment('at').notNull().defaultNow(),
  },
  (table) => [index('journal_at').on(table.at)],
)

/** The lines of an entry: they sum to zero for each asset. */
export const posting = pgTable(
  'posting',
  {
    batchId: serial('batch_id').notNull(),
    ledgerAccountId: serial('ledger_account_id').notNull(),
    asset: text('asset').notNull(),
    amount: sum('amount').notNull(),
    /** How many usage parts it stands for. */
    n: integer('n').notNull().default(1),
  },
  (table) => [
    primaryKey({ name: 'posting_pk', columns: [table.batchId, table.ledgerAccountId] }),
    index('posting_of_ledger_account').on(table.ledgerAccountId),
  ],
)

/** Postings that the rollup has not yet added to their ledger accounts. `free`: the part that no lease paid. */
export const postingDelta = pgTable(
  'posting_delta',
  {
    ledgerAccountId: serial('ledger_account_id').notNull(),
    amount: sum('amount').notNull(),
    free: sum('free').notNull().default(zero),
  },
  (table) => [
    index('posting_delta_free')
      .on(table.ledgerAccountId)
      .where(sql`free <> 0`),
  ],
)

/** Use of leases that the rollup has not yet added to them. */
export const leaseDelta = pgTable('lease_delta', {
  leaseId: serial('lease_id').notNull(),
  amount: sum('amount').notNull(),
})

const usageColumns = () => ({
  accountId: serial('account_id').notNull(),
  keyId: serial('key_id').notNull(),
  model: text('model').notNull(),
  vendor: text('vendor').notNull(),
  /** The UTC hour in which the call ended. */
  hour: moment('hour').notNull(),
  /** Of charge and cost. Where we owe in another currency than we charge, the cost stands in a row of its own. */
  currency: text('currency').notNull(),
  n: serial('n').notNull(),
  input: sum('input').notNull(),
  output: sum('output').notNull(),
  charge: sum('charge').notNull(),
  cost: sum('cost').notNull(),
})

/** Usage that the rollup has not yet added to `usage_hourly`. */
export const usageDelta = pgTable('usage_delta', usageColumns())

/** Usage by the hour, kept for ever. */
export const usageHourly = pgTable('usage_hourly', usageColumns(), (table) => [
  primaryKey({
    name: 'usage_hourly_pk',
    columns: [table.accountId, table.keyId, table.model, table.vendor, table.hour, table.currency],
  }),
  index('usage_hourly_of_key').on(table.keyId, table.hour),
  // Hours come in their order: this finds the latest ones in a table that is kept for ever.
  index('usage_hourly_latest').using('brin', table.hour),
])

/** Things decided at run time by an operator or by the gateway itself. */
export const setting = pgTable('setting', {
  name: text('name').primaryKey(),
  value: jsonb('value').notNull(),
})

/**
 * Calls that came with a name of the caller's own (`Idempotency-Key`), and what they were answered. `name` is a hash of
 * the account and that name, `digest` one of the request. Without an answer the call runs, and is taken for dead at `until`.
 */
export const repeat = pgTable(
  'repeat',
  {
    name: text('name').primaryKey(),
    owner: text('owner').notNull(),
    digest: text('digest').notNull(),
    /** Base64. */
    answer: text('answer'),
    until: moment('until').notNull(),
  },
  (table) => [index('repeat_until').on(table.until)],
)

/** Answers of vendors that identical calls get; all of them may go at any time. `name` is a hash. */
export const cachedAnswer = pgTable(
  'cached_answer',
  {
    name: text('name').primaryKey(),
    /** Base64. */
    answer: text('answer').notNull(),
    until: moment('until').notNull(),
  },
  (table) => [index('cached_answer_until').on(table.until)],
)
