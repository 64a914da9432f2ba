import { eq } from 'drizzle-orm'
import { Hono } from 'hono'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { printTokens, tokenAsset } from '../core/tokens.ts'
import type { Grant, GrantBooks } from '../db/grants.ts'
import { account } from '../db/schema.ts'
import { requireManagement, type AdminDeps } from './admin-keys.ts'
import { grantsQuery, newGrant, newQuota, quotaChange, type NewGrant } from './grant-input.ts'
import { readBody, readQuery, refuseOthers } from './input.ts'
import { changeQuota, makeQuota, quotaJson, quotasOf } from './quota-rows.ts'

export interface GrantDeps extends Pick<AdminDeps, 'database' | 'auth' | 'clock' | 'recharged'> {
  readonly books: Pick<GrantBooks, 'grant' | 'voidGrant' | 'grants'>
}

const accountPath = '/admin/v1/accounts/:id'
const grantsPath = `${accountPath}/grants` as const
const grantPath = `${grantsPath}/:grant` as const
const quotasPath = `${accountPath}/quotas` as const
const quotaPath = `${quotasPath}/:quota` as const

/** Credit, packages and quotas of accounts: for management keys alone. */
export function adminGrants(deps: GrantDeps): Hono {
  const app = new Hono()
  const allow = (request: Request) => requireManagement(deps, request, 'Grants are')
  addGrants(app, deps, allow)
  addQuotas(app, deps, allow)
  return app
}

type Allow = (request: Request) => Promise<void>

function addGrants(app: Hono, deps: GrantDeps, allow: Allow): void {
  const { books } = deps

  app.post(grantsPath, async (c) => {
    await allow(c.req.raw)
    const wanted = await readBody(c.req.raw, newGrant)
    const { id: accountId } = await openAccount(deps, c.req.param('id'))
    checkEnd(wanted, deps.clock.now())
    const { id, applied } = await books.grant({
      accountId,
      kind: wanted.kind,
      amount: wanted.tokens ?? wanted.amount ?? 0n,
      price: wanted.price ?? 0n,
      priority: wanted.priority,
      models: wanted.models,
      effectiveAtMs: wanted.effective_at,
      expiresAtMs: wanted.expires_at,
      source: wanted.source,
      ref: wanted.reference,
    })
    deps.recharged(accountId)
    return c.json({ ...(await oneGrant(deps, accountId, id)), applied }, applied ? 201 : 200)
  })

  app.get(grantsPath, async (c) => {
    await allow(c.req.raw)
    const { limit, cursor: before } = readQuery(c.req.raw, grantsQuery)
    const { id: accountId } = await oneAccount(deps, c.req.param('id'))
    const rows = await books.grants({ accountId, limit: limit + 1, before })
    const data = rows.slice(0, limit)
    return c.json({
      object: 'list',
      data: data.map((grant) => grantJson(grant, accountId)),
      next_cursor: rows.length > limit ? String(data.at(-1)?.id) : null,
    })
  })

  app.delete(grantPath, async (c) => {
    await allow(c.req.raw)
    const { id: accountId } = await oneAccount(deps, c.req.param('id'))
    const id = idOf(c.req.param('grant'), 'The account has no grant of this id.')
    await books.voidGrant(accountId, id)
    deps.recharged(accountId)
    return c.json(await oneGrant(deps, accountId, id))
  })

  refuseOthers(app, grantsPath, 'GET and POST')
  refuseOthers(app, grantPath, 'DELETE')
}

function addQuotas(app: Hono, deps: GrantDeps, allow: Allow): void {
  const { database, clock } = deps

  app.post(quotasPath, async (c) => {
    await allow(c.req.raw)
    const wanted = await readBody(c.req.raw, newQuota)
    const { id: accountId, currency } = await openAccount(deps, c.req.param('id'))
    const { row, applied } = await makeQuota(database, { accountId, currency, nowMs: clock.now() }, wanted)
    deps.recharged(accountId)
    return c.json({ ...quotaJson(row, clock.now()), applied }, applied ? 201 : 200)
  })

  app.get(quotasPath, async (c) => {
    await allow(c.req.raw)
    const { id } = await oneAccount(deps, c.req.param('id'))
    const rows = await quotasOf(database, id)
    return c.json({ object: 'list', data: rows.map((row) => quotaJson(row, clock.now())), next_cursor: null })
  })

  app.patch(quotaPath, async (c) => {
    await allow(c.req.raw)
    const wanted = await readBody(c.req.raw, quotaChange)
    const { id: accountId } = await oneAccount(deps, c.req.param('id'))
    const id = idOf(c.req.param('quota'), 'The account has no quota of this id.')
    const row = await changeQuota(database, { accountId, id }, wanted)
    deps.recharged(accountId)
    return c.json(quotaJson(row, clock.now()))
  })

  refuseOthers(app, quotasPath, 'GET and POST')
  refuseOthers(app, quotaPath, 'PATCH')
}

function checkEnd({ expires_at: expiresAtMs }: NewGrant, nowMs: number): void {
  if (expiresAtMs !== undefined && expiresAtMs <= nowMs)
    throw new GatewayError('invalid_value', 'expires_at must be in the future.', { param: 'expires_at' })
}

const noAccount = 'There is no account of this id.'

function idOf(text: string, unknown: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new GatewayError('not_found', unknown)
  return Number(text)
}

async function oneAccount({ database }: GrantDeps, text: string) {
  const [row] = await database.drizzle
    .select({ id: account.id, currency: account.currency, status: account.status })
    .from(account)
    .where(eq(account.id, idOf(text, noAccount)))
  if (!row) throw new GatewayError('not_found', noAccount)
  return row
}

async function openAccount(deps: GrantDeps, text: string) {
  const row = await oneAccount(deps, text)
  if (row.status === 'closed') throw new GatewayError('conflict', 'The account is closed.')
  return row
}

async function oneGrant({ books }: GrantDeps, accountId: number, id: number) {
  const [grant] = await books.grants({ accountId, limit: 1, id })
  if (!grant) throw new GatewayError('not_found', 'The account has no grant of this id.')
  return grantJson(grant, accountId)
}

/** `left` is what the books have not seen used; of an ended grant it is what is still lent to gateways. */
function grantJson(grant: Grant, accountId: number) {
  const { kind, asset, amount, left, price } = grant
  const sums =
    asset === tokenAsset
      ? { tokens: printTokens(amount), left: printTokens(left) }
      : { amount: printMoney(amount), left: printMoney(left), currency: asset }
  return {
    object: 'grant',
    id: grant.id,
    account: accountId,
    kind,
    ...sums,
    ...(kind === 'package' && { price: printMoney(price) }),
    priority: grant.priority,
    models: grant.models,
    effective_at: grant.effectiveAt.toISOString(),
    expires_at: grant.expiresAt?.toISOString() ?? null,
    voided_at: grant.voidedAt?.toISOString() ?? null,
    quota: grant.quotaId ?? null,
    source: grant.source,
    reference: grant.ref ?? null,
    created_at: grant.createdAt.toISOString(),
  }
}
