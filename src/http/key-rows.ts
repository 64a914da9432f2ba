import { and, desc, eq, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import { maxChain, type Manager } from '../auth/authenticate.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import type { Drizzle, Session } from '../db/database.ts'
import { keyAndAbove, keysBelow } from '../db/key-tree.ts'
import { apiKey } from '../db/schema.ts'
import { publicId, type KeyChange, type KeyLimits } from './key-limits.ts'

/** A key as the database has it. */
export type KeyRow = typeof apiKey.$inferSelect
/** A key as it is shown. */
export interface Shown {
  readonly key: KeyRow
  /** Public id of its parent. */
  readonly parent: string | null
}

const parentKey = alias(apiKey, 'parent')

/** Which keys a manager may see and change. */
export function visible(manager: Manager) {
  return manager.kind === 'management' ? sql`true` : keysBelow(manager.keyId)
}

/** Throws `not_found` also for a key that exists but is not the manager's business. */
export async function oneKey({ drizzle }: Session, manager: Manager, id: string): Promise<Shown> {
  if (!publicId.test(id)) throw notFound()
  const [found] = await select(drizzle)
    .where(and(eq(apiKey.publicId, id), visible(manager)))
    .limit(1)
  if (found === undefined) throw notFound()
  return found
}

export function select(drizzle: Drizzle) {
  return drizzle
    .select({ key: apiKey, parent: parentKey.publicId })
    .from(apiKey)
    .leftJoin(parentKey, eq(parentKey.id, apiKey.parentId))
}

function notFound(): GatewayError {
  return new GatewayError('not_found', 'There is no key of this id that the caller may manage.')
}

/** The same for a change: inside a transaction, and nobody else changes it until that ends. */
export async function lockedKey({ drizzle }: Session, manager: Manager, id: string): Promise<KeyRow> {
  if (!publicId.test(id)) throw notFound()
  const [found] = await drizzle
    .select()
    .from(apiKey)
    .where(and(eq(apiKey.publicId, id), visible(manager)))
    .limit(1)
    .for('update')
  if (found === undefined) throw notFound()
  return found
}

/** A key and all above it, leaf first. */
export async function chainOf({ drizzle }: Session, keyId: number): Promise<KeyRow[]> {
  return drizzle.select().from(apiKey).where(keyAndAbove(keyId)).orderBy(desc(apiKey.depth)).limit(maxChain)
}

/** The limits of a stored key. */
export function limitsOf(row: KeyRow): KeyLimits {
  return {
    publicId: row.publicId,
    models: row.models ?? undefined,
    budgets: row.budgets.map(({ limit, window }) => ({ limit: BigInt(limit), window })),
    requestsPerMinute: row.requestsPerMinute ?? undefined,
    limits: row.limits,
    concurrency: row.concurrency ?? undefined,
    expiresAtMs: row.expiresAt?.getTime(),
  }
}

/** The columns that a request names. Null takes a limit away; what is absent stays as it is. */
export function columnsOf(wanted: KeyChange): Partial<typeof apiKey.$inferInsert> {
  const { name, models, budgets, limits, concurrency, routing } = wanted
  const { expires_at: expiresAtMs, requests_per_minute: requestsPerMinute } = wanted
  return {
    ...(name !== undefined && { name }),
    ...(models !== undefined && { models: models === null ? null : [...new Set(models)] }),
    ...(budgets !== undefined && {
      budgets: budgets.map(({ limit, window }) => ({ limit: limit.toString(), window })),
    }),
    ...(expiresAtMs !== undefined && { expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs) }),
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
    ...(limits !== undefined && { limits }),
    ...(concurrency !== undefined && { concurrency }),
    ...(routing !== undefined && { routing: routing ?? {} }),
  }
}

/** A key as the API shows it. Its secret is not there to be shown. */
export function keyJson({ key, parent }: Shown) {
  return {
    object: 'key',
    id: key.publicId,
    kind: key.kind,
    account: key.accountId,
    parent,
    name: key.name,
    models: key.models,
    budgets: key.budgets.map(({ limit, window }) => ({ limit: printMoney(BigInt(limit)), window })),
    requests_per_minute: key.requestsPerMinute,
    limits: key.limits,
    concurrency: key.concurrency,
    routing: Object.keys(key.routing).length > 0 ? key.routing : null,
    expires_at: key.expiresAt?.toISOString() ?? null,
    revoked_at: key.revokedAt?.toISOString() ?? null,
    version: key.version,
    provisioned: key.provisioned,
    created_at: key.createdAt.toISOString(),
  }
}
