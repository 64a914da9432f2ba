import { z } from 'zod'
import type { Budget } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { budgetWindows as windows } from '../core/period.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import { type KeyRouting, strategies } from '../core/routing.ts'
import { fields, line, money } from './input.ts'
import { rateLimits } from './rate-limit-input.ts'

/** What a key may be told to be, and that it never gets more than the keys above it. */

/** Models that one allow-list may name. */
const maxModels = 1_000
const maxLimit = 1_000_000

function whole() {
  const error = `must be a whole number from 1 to ${maxLimit}`
  return z.number({ error }).int({ error }).min(1, { error }).max(maxLimit, { error })
}

const models = z
  .array(z.string().regex(/^[\x21-\x7e]{1,256}$/, { error: 'must be the exact name of a model' }), {
    error: 'must be a list of model names',
  })
  .max(maxModels, { error: `must name at most ${maxModels} models` })

export const budgets = z
  .array(
    fields({
      limit: money({ least: '0', most: '1000000000' }),
      window: z.enum(windows, { error: `must be one of: ${windows.join(', ')}` }),
    }),
    { error: 'must be a list of budgets' },
  )
  .max(windows.length, { error: `must hold at most ${windows.length} budgets` })
  .refine((list) => new Set(list.map(({ window }) => window)).size === list.length, {
    error: 'must hold at most one budget for each window',
  })

const moment = 'must be a moment in ISO 8601 with its offset, such as "2030-01-31T00:00:00Z"'

const maxWeight = 1_000
const part = z
  .number({ error: `must be a whole number from 0 to ${maxWeight}` })
  .int({ error: `must be a whole number from 0 to ${maxWeight}` })
  .min(0, { error: `must be a whole number from 0 to ${maxWeight}` })
  .max(maxWeight, { error: `must be a whole number from 0 to ${maxWeight}` })
  .default(0)

/** How targets are put in order for the key's calls. */
const routing = fields({
  strategy: z.enum(strategies, { error: `must be one of: ${strategies.join(', ')}` }).optional(),
  weights: fields({ cost: part, performance: part, quality: part })
    .refine(({ cost, performance, quality }) => cost + performance + quality > 0, {
      error: 'must hold at least one weight above 0',
    })
    .optional(),
}).transform(({ strategy, weights }): KeyRouting => ({
  ...(strategy !== undefined && { strategy }),
  ...(weights !== undefined && { weights }),
}))

/** Null and absent mean the same in a new key: no limit of its own. In a change, null takes a limit away. */
const limits = {
  name: line(0, 128).optional(),
  models: models.nullish(),
  expires_at: z.iso
    .datetime({ offset: true, error: moment })
    .transform((text) => Date.parse(text))
    .nullish(),
  budgets: budgets.optional(),
  requests_per_minute: whole().nullish(),
  limits: rateLimits.optional(),
  concurrency: whole().nullish(),
  routing: routing.nullish(),
}

export const publicId = /^[A-Za-z0-9_-]{1,64}$/

export const newKey = fields({
  ...limits,
  kind: z.enum(['master', 'sub', 'management'], { error: 'must be one of: master, sub, management' }).optional(),
  account: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  parent: z.string().regex(publicId, { error: 'must be the id of a key' }).optional(),
})
export const keyChange = fields(limits)

export type NewKey = z.output<typeof newKey>
export type KeyChange = z.output<typeof keyChange>

/** The limits of a key as the checks need them. */
export interface KeyLimits {
  readonly publicId: string
  readonly models: readonly string[] | undefined
  readonly budgets: readonly Budget[]
  readonly requestsPerMinute: number | undefined
  readonly limits: readonly RateLimit[]
  readonly concurrency: number | undefined
  readonly expiresAtMs: number | undefined
}

/**
 * Throws `invalid_value` where what is asked for goes beyond any key above, or ends in the past. What is not asked
 * for is not looked at: a key whose parent was narrowed later may still be renamed, and is bound by its parent anyway.
 */
export function checkLimits(wanted: KeyChange, above: readonly KeyLimits[], nowMs: number): void {
  const { expires_at: expiresAtMs } = wanted
  if (typeof expiresAtMs === 'number' && expiresAtMs <= nowMs) refuse('expires_at', 'must be in the future')
  for (const key of above) checkAgainst(wanted, key)
}

function checkAgainst(wanted: KeyChange, key: KeyLimits): void {
  const beyond = wanted.models?.find((model) => key.models?.includes(model) === false)
  if (beyond !== undefined) refuse('models', `must not name "${beyond}", which key ${key.publicId} may not use`)
  if (key.expiresAtMs !== undefined && (wanted.expires_at ?? 0) > key.expiresAtMs) {
    refuse(
      'expires_at',
      `must not be after ${new Date(key.expiresAtMs).toISOString()}, when key ${key.publicId} expires`,
    )
  }
  wanted.budgets?.forEach(({ limit, window }, index) => {
    const most = key.budgets.find((budget) => budget.window === window)?.limit
    if (most === undefined || limit <= most) return
    refuse(`budgets[${index}].limit`, `must not be above ${printMoney(most)}, the budget of key ${key.publicId}`)
  })
  wanted.limits?.forEach(({ of, window, limit }, index) => {
    const most = key.limits.find((one) => one.of === of && one.window === window)?.limit
    if (most === undefined || limit <= most) return
    refuse(`limits[${index}].limit`, `must not be above ${most}, the limit of key ${key.publicId}`)
  })
  checkNumber('requests_per_minute', wanted.requests_per_minute, { most: key.requestsPerMinute, of: key.publicId })
  checkNumber('concurrency', wanted.concurrency, { most: key.concurrency, of: key.publicId })
}

function checkNumber(
  name: string,
  wanted: number | null | undefined,
  { most, of }: { most: number | undefined; of: string },
): void {
  if (most === undefined || (wanted ?? 0) <= most) return
  refuse(name, `must not be above ${most}, the limit of key ${of}`)
}

/** A management key calls no models, so nothing that bounds calls has a meaning for it. */
export function checkManagementLimits(wanted: KeyChange): void {
  for (const name of ['models', 'budgets', 'requests_per_minute', 'limits', 'concurrency', 'routing'] as const) {
    if (wanted[name] !== undefined && wanted[name] !== null)
      refuse(name, 'has no meaning for a management key, which calls no models')
  }
}

function refuse(param: string, why: string): never {
  throw new GatewayError('invalid_value', `${param} ${why}.`, { param })
}
