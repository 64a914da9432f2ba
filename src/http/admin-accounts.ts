import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm'
import { Hono } from 'hono'
import { z } from 'zod'
import { GatewayError } from '../core/errors.ts'
import { parseMoney, printMoney } from '../core/money.ts'
import { account, apiKey } from '../db/schema.ts'
import { requireManagement, type AdminDeps } from './admin-keys.ts'
import { currency, fields, idCursor, line, money, page, readBody, readQuery, refuseOthers } from './input.ts'
import { budgets } from './key-limits.ts'
import { rateLimits } from './rate-limit-input.ts'

const path = '/admin/v1/accounts'
const smallest = '0.000000001'
const largest = '1000000000'
const fullPpm = 1_000_000

const percentRule = 'must be a decimal string from 0 to 100 with at most four decimals, such as "12.5"'

/** A percentage as parts per million; undefined where it is none. */
function partsOf(text: string): number | undefined {
  const nanos = parseMoney(text)
  if (nanos === undefined || nanos < 0n || nanos > 100_000_000_000n || nanos % 100_000n !== 0n) return undefined
  return Number(nanos / 100_000n)
}

const newAccount = fields({
  name: line(1, 128),
  currency: currency.default('USD'),
  discount_percent: z
    .string({ error: percentRule })
    .refine((text) => partsOf(text) !== undefined, { error: percentRule })
    .transform((text) => partsOf(text) ?? 0)
    .default(0),
  credit_limit: money({ least: '0', most: largest }).default(0n),
})

const tierRule = 'must be the name of a tier: a-z, 0-9, "-" and "_", at most 32'
const concurrencyRule = 'must be a whole number from 1 to 1000000'

/** Limits over all keys of the account. Null takes a limit away, or the account back to the tier "normal". */
const accountChange = fields({
  tier: z
    .string({ error: tierRule })
    .regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, { error: tierRule })
    .nullish(),
  limits: rateLimits.optional(),
  budgets: budgets.optional(),
  concurrency: z
    .number({ error: concurrencyRule })
    .int({ error: concurrencyRule })
    .min(1, { error: concurrencyRule })
    .max(1_000_000, { error: concurrencyRule })
    .nullish(),
})

const payment = fields({
  amount: money({ least: smallest, most: largest }),
  reference: line(1, 200),
  memo: line(0, 1_000).optional(),
})

const listQuery = fields({ ...page, cursor: idCursor })

/** Accounts, their balances and recharges: for management keys alone. */
export function adminAccounts(deps: AdminDeps): Hono {
  const app = new Hono()
  const allow = (request: Request) => requireManagement(deps, request, 'Accounts are')

  app.post(path, async (c) => {
    await allow(c.req.raw)
    const { discount_percent: discount, credit_limit: creditLimit, ...wanted } = await readBody(c.req.raw, newAccount)
    const { id } = await deps.books.createAccount({ ...wanted, discountPpm: fullPpm - discount, creditLimit })
    return c.json(await accountWithBalance(deps, id), 201)
  })

  app.get(path, async (c) => {
    await allow(c.req.raw)
    return c.json(await listAccounts(deps, readQuery(c.req.raw, listQuery)))
  })

  app.get(`${path}/:id`, async (c) => {
    await allow(c.req.raw)
    return c.json(await accountWithBalance(deps, idOf(c.req.param('id'))))
  })

  app.patch(`${path}/:id`, async (c) => {
    await allow(c.req.raw)
    const id = idOf(c.req.param('id'))
    await changeAccount(deps, id, await readBody(c.req.raw, accountChange))
    return c.json(await accountWithBalance(deps, id))
  })

  app.post(`${path}/:id/recharges`, async (c) => {
    await allow(c.req.raw)
    const { amount, reference, memo } = await readBody(c.req.raw, payment)
    const accountId = idOf(c.req.param('id'))
    if ((await oneAccount(deps, accountId)).status === 'closed')
      throw new GatewayError('conflict', 'The account is closed.')
    const { applied } = await deps.books.recharge({
      accountId,
      amount,
      ref: reference,
      ...(memo !== undefined && { memo }),
    })
    deps.recharged(accountId)
    const { balance, currency } = await accountWithBalance(deps, accountId)
    const answer = {
      object: 'recharge',
      account: accountId,
      reference,
      amount: printMoney(amount),
      currency,
      applied,
      balance,
    }
    // Sent again, a recharge is answered as it was, but as nothing new.
    return c.json(answer, applied ? 201 : 200)
  })

  refuseOthers(app, path, 'GET and POST')
  refuseOthers(app, `${path}/:id`, 'GET and PATCH')
  refuseOthers(app, `${path}/:id/recharges`, 'POST')
  return app
}

type AccountRow = typeof account.$inferSelect

const unknownAccount = (): GatewayError => new GatewayError('not_found', 'There is no account of this id.')

function idOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw unknownAccount()
  return Number(text)
}

async function oneAccount({ database }: Pick<AdminDeps, 'database'>, id: number): Promise<AccountRow> {
  const [row] = await database.drizzle.select().from(account).where(eq(account.id, id)).limit(1)
  if (row === undefined) throw unknownAccount()
  return row
}

/** A change counts at once where the account is admitted next: its version is newer than what replicas remember. */
async function changeAccount(
  { database, changed }: AdminDeps,
  id: number,
  { tier, limits, concurrency, budgets: wanted }: z.output<typeof accountChange>,
): Promise<void> {
  const columns = {
    ...(tier !== undefined && { tier }),
    ...(limits !== undefined && { limits }),
    ...(concurrency !== undefined && { concurrency }),
    ...(wanted !== undefined && { budgets: wanted.map(({ limit, window }) => ({ limit: limit.toString(), window })) }),
  }
  await oneAccount({ database }, id)
  if (Object.keys(columns).length === 0) return
  await database.drizzle
    .update(account)
    .set({ ...columns, version: sql`${account.version} + 1` })
    .where(eq(account.id, id))
  const keys = await database.drizzle
    .select({ id: apiKey.id })
    .from(apiKey)
    .where(and(eq(apiKey.accountId, id), isNull(apiKey.parentId)))
  for (const key of keys) changed(key.id)
}

async function accountWithBalance(deps: AdminDeps, id: number) {
  const row = await oneAccount(deps, id)
  const found = await deps.books.balance(id)
  if (found === undefined) throw unknownAccount()
  const { posted, free, leased, creditLimit } = found
  return {
    ...accountJson(row),
    // `posted` is what the account owns; `leased` is the part of it that gateways hold ready for calls.
    balance: {
      posted: printMoney(posted),
      free: printMoney(free),
      leased: printMoney(leased),
      credit_limit: printMoney(creditLimit),
    },
  }
}

/** Newest first. The cursor is the id of the last account of the page before. */
async function listAccounts({ database }: AdminDeps, { limit, cursor }: z.output<typeof listQuery>) {
  const rows = await database.drizzle
    .select()
    .from(account)
    .where(and(cursor === undefined ? undefined : lt(account.id, cursor)))
    .orderBy(desc(account.id))
    .limit(limit + 1)
  const data = rows.slice(0, limit)
  return {
    object: 'list',
    data: data.map(accountJson),
    next_cursor: rows.length > limit ? String(data.at(-1)?.id) : null,
  }
}

function accountJson(row: AccountRow) {
  const { id, name, currency, status, discountPpm, provisioned, createdAt } = row
  return {
    object: 'account',
    id,
    name,
    currency,
    status,
    discount_percent: printMoney(BigInt(fullPpm - discountPpm) * 100_000n),
    tier: row.tier,
    limits: row.limits,
    concurrency: row.concurrency,
    budgets: row.budgets.map(({ limit, window }) => ({ limit: printMoney(BigInt(limit)), window })),
    provisioned,
    created_at: createdAt.toISOString(),
  }
}
