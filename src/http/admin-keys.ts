import { and, desc, eq, lt } from 'drizzle-orm'
import { Hono } from 'hono'
import { z } from 'zod'
import { maxChain, type Authenticator, type Manager } from '../auth/authenticate.ts'
import type { Header } from '../auth/credential.ts'
import { mintKey } from '../auth/mint.ts'
import { GatewayError } from '../core/errors.ts'
import type { DurableBooks } from '../db/books.ts'
import type { Database, Session } from '../db/database.ts'
import { account, apiKey } from '../db/schema.ts'
import type { Clock, Crypto } from '../ports.ts'
import { fields, page, readBody, readQuery, refuseOthers } from './input.ts'
import { checkLimits, checkManagementLimits, keyChange, newKey, type KeyChange, type NewKey } from './key-limits.ts'
import {
  chainOf,
  columnsOf,
  keyJson,
  limitsOf,
  lockedKey,
  oneKey,
  select,
  visible,
  type KeyRow,
  type Shown,
} from './key-rows.ts'

export interface AdminDeps {
  readonly database: Database
  readonly books: Pick<DurableBooks, 'createAccount' | 'recharge' | 'balance'>
  readonly crypto: Crypto
  readonly clock: Clock
  readonly auth: Pick<Authenticator, 'manager'>
  /** Hears of every change of a key once it is in the database. */
  changed(keyId: number): void
  /** Hears of every recharge once it is in the books. */
  recharged(accountId: number): void
}

const path = '/admin/v1/keys'
/** Keeps one account from filling the table. */
const maxKeysOfAccount = 100_000

/** Keys: made, listed, changed and revoked by management keys, and by every other key below itself. */
export function adminKeys(deps: AdminDeps): Hono {
  const app = new Hono()
  const managerOf = (request: Request): Promise<Manager> => deps.auth.manager(headerOf(request))

  app.post(path, async (c) => {
    const manager = await managerOf(c.req.raw)
    const wanted = await readBody(c.req.raw, newKey)
    const made = await deps.database.transaction((session) => createKey(deps, session, { manager, wanted }))
    deps.changed(made.id)
    c.header('cache-control', 'no-store')
    // The only time that the key is shown: the books hold its hash.
    return c.json({ ...keyJson(await oneKey(deps.database, manager, made.publicId)), key: made.key }, 201)
  })

  app.get(path, async (c) => {
    const manager = await managerOf(c.req.raw)
    return c.json(await listKeys(deps, manager, readQuery(c.req.raw, listQuery)))
  })

  app.get(`${path}/:id`, async (c) => {
    const manager = await managerOf(c.req.raw)
    return c.json(keyJson(await oneKey(deps.database, manager, c.req.param('id'))))
  })

  app.patch(`${path}/:id`, async (c) => {
    const manager = await managerOf(c.req.raw)
    const wanted = await readBody(c.req.raw, keyChange)
    const id = c.req.param('id')
    const changed = await deps.database.transaction((session) => changeKey(deps, session, { manager, wanted, id }))
    if (changed !== undefined) deps.changed(changed)
    return c.json(keyJson(await oneKey(deps.database, manager, id)))
  })

  app.delete(`${path}/:id`, async (c) => {
    const manager = await managerOf(c.req.raw)
    const id = c.req.param('id')
    deps.changed(await deps.database.transaction((session) => revokeKey(deps, session, { manager, id })))
    return c.json(keyJson(await oneKey(deps.database, manager, id)))
  })

  refuseOthers(app, path, 'GET and POST')
  refuseOthers(app, `${path}/:id`, 'GET, PATCH and DELETE')
  return app
}

function headerOf(request: Request): Header {
  return (name) => request.headers.get(name) ?? undefined
}

/** Throws `permission_denied` for every other key. `what` with its verb: "Accounts are". */
export async function requireManagement(
  { auth }: Pick<AdminDeps, 'auth'>,
  request: Request,
  what: string,
): Promise<void> {
  const { kind } = await auth.manager(headerOf(request))
  if (kind !== 'management') throw new GatewayError('permission_denied', `${what} managed with management keys only.`)
}

interface Creation {
  readonly manager: Manager
  readonly wanted: NewKey
}

interface Made {
  readonly id: number
  readonly publicId: string
  readonly key: string
}

async function createKey({ crypto, clock }: AdminDeps, session: Session, { manager, wanted }: Creation): Promise<Made> {
  const kind = kindOf(manager, wanted)
  const above = kind === 'sub' ? await parentChain(session, manager, wanted) : []
  const accountId = kind === 'master' ? await openAccount(session, wanted.account) : (above[0]?.accountId ?? null)
  if (kind === 'management') checkManagementLimits(wanted)
  if (above.length >= maxChain)
    throw new GatewayError('invalid_value', `parent has ${maxChain - 1} keys above it already, which is the most.`, {
      param: 'parent',
    })
  checkLimits(wanted, above.map(limitsOf), clock.now())
  if (accountId !== null) await checkRoom(session, accountId)
  const { key, publicId, hash } = mintKey(crypto)
  const [row] = await session.drizzle
    .insert(apiKey)
    .values({
      ...columnsOf(wanted),
      publicId,
      kind,
      accountId,
      parentId: above[0]?.id ?? null,
      depth: above.length,
      hash,
      createdAt: new Date(clock.now()),
    })
    .returning({ id: apiKey.id })
  if (row === undefined) throw new Error('the database gave no key')
  return { id: row.id, publicId, key }
}

/** What a new key is, from what was asked for and who asks. */
function kindOf(manager: Manager, { kind, account: accountId, parent }: NewKey): KeyRow['kind'] {
  if (manager.kind === 'owner') {
    if (kind !== undefined && kind !== 'sub')
      throw new GatewayError('permission_denied', `Only a management key makes ${kind} keys.`, { param: 'kind' })
    if (accountId !== undefined)
      throw new GatewayError('permission_denied', 'Only a management key chooses an account.', { param: 'account' })
    return 'sub'
  }
  const made = kind ?? (parent === undefined ? 'master' : 'sub')
  if (made === 'sub' && parent === undefined)
    throw new GatewayError('invalid_value', 'parent is needed for a sub-key.', { param: 'parent' })
  if (made !== 'sub' && parent !== undefined)
    throw new GatewayError('invalid_value', `parent must be left out: a ${made} key has none.`, { param: 'parent' })
  if (made === 'master' && accountId === undefined)
    throw new GatewayError('invalid_value', 'account is needed for a master key.', { param: 'account' })
  if (made !== 'master' && accountId !== undefined)
    throw new GatewayError('invalid_value', `account must be left out: a ${made} key does not choose one.`, {
      param: 'account',
    })
  return made
}

/** The parent of a new sub-key and all above it; throws where it cannot have children. */
async function parentChain(session: Session, manager: Manager, { parent }: NewKey): Promise<readonly KeyRow[]> {
  const isSelf = manager.kind === 'owner' && (parent === undefined || parent === manager.publicId)
  const keyId = isSelf ? manager.keyId : (await lockedKey(session, manager, parent ?? '')).id
  const chain = await chainOf(session, keyId)
  if (chain[0]?.kind === 'management')
    throw new GatewayError('invalid_value', 'parent must be a master key or a sub-key.', { param: 'parent' })
  if (chain.some(({ revokedAt }) => revokedAt !== null))
    throw new GatewayError('conflict', 'The parent is revoked.', { param: 'parent' })
  return chain
}

async function openAccount({ drizzle }: Session, accountId: number | undefined): Promise<number> {
  const [row] = await drizzle
    .select({ status: account.status })
    .from(account)
    .where(eq(account.id, accountId ?? 0))
    .limit(1)
  if (accountId === undefined || row === undefined)
    throw new GatewayError('invalid_value', 'account names no account.', { param: 'account' })
  if (row.status === 'closed') throw new GatewayError('conflict', 'The account is closed.', { param: 'account' })
  return accountId
}

async function checkRoom({ drizzle }: Session, accountId: number): Promise<void> {
  const count = await drizzle.$count(apiKey, eq(apiKey.accountId, accountId))
  if (count >= maxKeysOfAccount)
    throw new GatewayError('conflict', `The account has ${maxKeysOfAccount} keys, which is the most.`)
}

interface Change {
  readonly manager: Manager
  readonly id: string
  readonly wanted: KeyChange
}

/** Gives the id of the key, or undefined where nothing was asked for. */
async function changeKey(
  { clock }: AdminDeps,
  session: Session,
  { manager, id, wanted }: Change,
): Promise<number | undefined> {
  const row = await changeable(session, manager, id)
  if (row.revokedAt !== null) throw new GatewayError('conflict', 'The key is revoked: make a new one.')
  if (row.kind === 'management') checkManagementLimits(wanted)
  const [, ...above] = await chainOf(session, row.id)
  checkLimits(wanted, above.map(limitsOf), clock.now())
  const columns = columnsOf(wanted)
  if (Object.keys(columns).length === 0) return undefined
  await session.drizzle
    .update(apiKey)
    .set({ ...columns, version: row.version + 1 })
    .where(eq(apiKey.id, row.id))
  return row.id
}

/** Revokes a key, and by the check of the whole chain every key below it. Doing it again changes nothing. */
async function revokeKey(
  { clock }: AdminDeps,
  session: Session,
  { manager, id }: Omit<Change, 'wanted'>,
): Promise<number> {
  const row = await changeable(session, manager, id)
  if (row.id === manager.keyId)
    throw new GatewayError('conflict', 'A key cannot revoke itself: use another management key.')
  if (row.revokedAt !== null) return row.id
  const revoked = { revokedAt: new Date(clock.now()), version: row.version + 1 }
  await session.drizzle.update(apiKey).set(revoked).where(eq(apiKey.id, row.id))
  return row.id
}

async function changeable(session: Session, manager: Manager, id: string): Promise<KeyRow> {
  const row = await lockedKey(session, manager, id)
  if (row.provisioned) throw new GatewayError('conflict', 'The key comes from the configuration: change it there.')
  return row
}

const listQuery = fields({
  ...page,
  account: z
    .string()
    .regex(/^[1-9]\d{0,14}$/, { error: 'must be the id of an account' })
    .transform(Number)
    .optional(),
})

/** Newest first. The cursor is the id of the last key of the page before. */
async function listKeys(
  deps: AdminDeps,
  manager: Manager,
  { limit, cursor, account: accountId }: z.output<typeof listQuery>,
) {
  const after = cursor === undefined ? undefined : await cursorRow(deps, manager, cursor)
  const rows = await select(deps.database.drizzle)
    .where(
      and(
        visible(manager),
        after && lt(apiKey.id, after.key.id),
        accountId === undefined ? undefined : eq(apiKey.accountId, accountId),
      ),
    )
    .orderBy(desc(apiKey.id))
    .limit(limit + 1)
  const data = rows.slice(0, limit)
  return {
    object: 'list',
    data: data.map(keyJson),
    next_cursor: rows.length > limit ? (data.at(-1)?.key.publicId ?? null) : null,
  }
}

async function cursorRow(deps: AdminDeps, manager: Manager, cursor: string): Promise<Shown> {
  try {
    return await oneKey(deps.database, manager, cursor)
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'not_found') throw error
    throw new GatewayError('invalid_value', 'cursor must be the next_cursor of another page.', {
      param: 'cursor',
      cause: error,
    })
  }
}
