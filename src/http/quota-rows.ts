import { and, count, desc, eq } from 'drizzle-orm'
import { naturalAnchor, periodAt } from '../core/calendar.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { printTokens, tokenAsset } from '../core/tokens.ts'
import type { Session } from '../db/database.ts'
import { quota } from '../db/schema.ts'
import type { NewQuota, QuotaChange } from './grant-input.ts'

export type QuotaRow = typeof quota.$inferSelect

/** Quotas of one account: each is looked at when its purses are read. */
const maxQuotas = 100

export interface QuotaOf {
  readonly accountId: number
  readonly currency: string
  readonly nowMs: number
}

/** Makes a quota, once for each reference. Throws `conflict` where the reference stands for another. */
export async function makeQuota(
  { drizzle }: Session,
  { accountId, currency, nowMs }: QuotaOf,
  wanted: NewQuota,
): Promise<{ readonly row: QuotaRow; readonly applied: boolean }> {
  const { period, priority, models, reference, time_zone: timeZone } = wanted
  const values = {
    accountId,
    period,
    timeZone,
    priority,
    models: [...models],
    ref: reference,
    asset: wanted.tokens === undefined ? currency : tokenAsset,
    amount: wanted.tokens ?? wanted.amount ?? 0n,
    anchor: new Date(wanted.anchor ?? naturalAnchor(period, timeZone, nowMs)),
  }
  const [before] = await drizzle.select().from(quota).where(eq(quota.ref, reference))
  if (before) return { row: sameQuota(before, values, wanted.anchor === undefined), applied: false }
  const [held] = await drizzle.select({ quotas: count() }).from(quota).where(eq(quota.accountId, accountId))
  if ((held?.quotas ?? 0) >= maxQuotas)
    throw new GatewayError('conflict', `An account has at most ${maxQuotas} quotas.`)
  const [row] = await drizzle.insert(quota).values(values).onConflictDoNothing({ target: quota.ref }).returning()
  if (row) return { row, applied: true }
  const [other] = await drizzle.select().from(quota).where(eq(quota.ref, reference))
  if (!other) throw new Error('a quota that was refused as a duplicate is not there')
  return { row: sameQuota(other, values, wanted.anchor === undefined), applied: false }
}

/** A natural anchor depends on when it was asked for, so it is no difference. What was changed since is none either. */
function sameQuota(before: QuotaRow, wanted: typeof quota.$inferInsert, anyAnchor: boolean): QuotaRow {
  const same =
    before.accountId === wanted.accountId &&
    before.asset === wanted.asset &&
    before.period === wanted.period &&
    before.timeZone === wanted.timeZone &&
    (anyAnchor || before.anchor.getTime() === wanted.anchor.getTime())
  if (same) return before
  throw new GatewayError(
    'conflict',
    `The reference was already used for another quota, ${before.id} of account ${before.accountId}.`,
    { param: 'reference' },
  )
}

/** Changes what the next period is granted; the period that runs keeps its grant. Throws `not_found`. */
export async function changeQuota(
  { drizzle }: Session,
  { accountId, id }: { readonly accountId: number; readonly id: number },
  wanted: QuotaChange,
): Promise<QuotaRow> {
  const its = and(eq(quota.id, id), eq(quota.accountId, accountId))
  const [before] = await drizzle.select().from(quota).where(its)
  if (!before) throw new GatewayError('not_found', 'The account has no quota of this id.')
  const [fit, unfit] = before.asset === tokenAsset ? (['tokens', 'amount'] as const) : (['amount', 'tokens'] as const)
  if (wanted[unfit] !== undefined)
    throw new GatewayError('invalid_value', `${unfit} is not for this quota: it has ${fit}.`, { param: unfit })
  const { priority, models, active } = wanted
  const change = {
    ...(wanted[fit] !== undefined && { amount: wanted[fit] }),
    ...(priority !== undefined && { priority }),
    ...(models !== undefined && { models: [...models] }),
    ...(active !== undefined && { active }),
  }
  if (Object.keys(change).length === 0) return before
  const [row] = await drizzle.update(quota).set(change).where(its).returning()
  return row ?? before
}

/** All of them, newest first. */
export async function quotasOf({ drizzle }: Session, accountId: number): Promise<readonly QuotaRow[]> {
  return drizzle.select().from(quota).where(eq(quota.accountId, accountId)).orderBy(desc(quota.id)).limit(maxQuotas)
}

export function quotaJson(row: QuotaRow, nowMs: number) {
  const { period, timeZone } = row
  const now = periodAt({ period, timeZone, anchorMs: row.anchor.getTime() }, nowMs)
  const isTokens = row.asset === tokenAsset
  return {
    object: 'quota',
    id: row.id,
    account: row.accountId,
    ...(isTokens ? { tokens: printTokens(row.amount) } : { amount: printMoney(row.amount), currency: row.asset }),
    period,
    anchor: row.anchor.toISOString(),
    time_zone: timeZone,
    priority: row.priority,
    models: row.models,
    active: row.active,
    reference: row.ref,
    period_start: now ? new Date(now.startMs).toISOString() : null,
    period_end: now ? new Date(now.endMs).toISOString() : null,
    created_at: row.createdAt.toISOString(),
  }
}
