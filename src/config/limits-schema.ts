import { z } from 'zod'
import { networkName, parseAddress, parseRange } from '../core/address.ts'
import { budgetWindows } from '../core/period.ts'
import {
  limitAlgorithms,
  limitedThings,
  type LimitWindow,
  limitWindows,
  mostLimit,
  type RateLimit,
} from '../core/rate-limit.ts'
import { limitScopes, type SharedLimit } from '../core/shared-limit.ts'
import { amount, named, oneOf, section, text, whole, wholeOr } from './fields.ts'

/** Limits of tiers and over accounts in the configuration file. */

const windows = Object.keys(limitWindows) as [LimitWindow, ...LimitWindow[]]
const mostOfTier = limitedThings.length * windows.length
const mostShared = 1_000
const tierNames = { pattern: /^[a-z0-9][a-z0-9_-]{0,31}$/, most: 100, rule: 'a-z, 0-9, "-" and "_", at most 32' }

/** An address, or a range of addresses. */
const rangeRule = 'must be an address, or a range such as "10.0.0.0/8"'
export const addressRange = z.string({ error: rangeRule }).transform((written, context) => {
  const range = parseRange(written)
  if (!range) context.addIssue({ code: 'custom', message: rangeRule })
  return range ?? { address: [], bits: 0 }
})

const limit = {
  of: oneOf(limitedThings),
  window: oneOf(windows),
  limit: whole(1, mostLimit),
  algorithm: oneOf(limitAlgorithms).default('token_bucket'),
}

const tier = section({
  limits: z
    .array(section(limit), { error: 'must be a list of limits' })
    .max(mostOfTier, { error: `must hold at most ${mostOfTier} limits` })
    .refine(isOncePerWindow, { error: 'must hold at most one limit of requests and one of tokens for each window' })
    .default([]),
  concurrency: whole(1, 1_000_000).optional(),
  budgets: z
    .array(section({ limit: amount('an amount of money'), window: oneOf(budgetWindows) }), {
      error: 'must be a list of budgets',
    })
    .max(budgetWindows.length, { error: `must hold at most ${budgetWindows.length} budgets` })
    .refine((list) => new Set(list.map(({ window }) => window)).size === list.length, {
      error: 'must hold at most one budget for each window',
    })
    .default([])
    .describe('What each account of the tier may be charged in a period, in its own currency'),
  priority: wholeOr(0, 0, 100),
})

function isOncePerWindow(limits: readonly RateLimit[]): boolean {
  return new Set(limits.map(({ of, window }) => `${of} ${window}`)).size === limits.length
}

const sharedThings = [...limitedThings, 'concurrency'] as const

/** In one shape, so that a fault names one field; what does not go together is said of the whole. */
const shared = section({
  scope: oneOf(limitScopes),
  name: text(/^[\x21-\x7e]{1,256}$/, 'must be the exact name of what is limited').optional(),
  of: oneOf(sharedThings),
  window: oneOf(windows).optional(),
  limit: whole(1, mostLimit),
  algorithm: oneOf(limitAlgorithms).optional(),
})
  .refine(({ of, window }) => (of === 'concurrency') === (window === undefined), {
    error: 'must have a window, unless it is of concurrency: calls at once have none',
  })
  .refine(({ of, algorithm }) => of !== 'concurrency' || algorithm === undefined, {
    error: 'must have no algorithm where it is of concurrency',
  })
  .refine(({ scope, name }) => scope !== 'ip' || name === undefined || parseAddress(name.split('/')[0] ?? ''), {
    error: 'must name an address where its scope is ip',
  })
  .transform(sharedLimit)

function sharedLimit({
  scope,
  name,
  of,
  window = 'minute',
  limit: most,
  algorithm = 'token_bucket',
}: Shared): SharedLimit {
  const about = { scope, ...(name !== undefined && { name: scope === 'ip' ? networkOf(name) : name }) }
  return of === 'concurrency' ? { ...about, of, limit: most } : { ...about, of, window, algorithm, limit: most }
}

interface Shared {
  readonly scope: SharedLimit['scope']
  readonly name?: string | undefined
  readonly of: (typeof sharedThings)[number]
  readonly window?: LimitWindow | undefined
  readonly limit: number
  readonly algorithm?: RateLimit['algorithm'] | undefined
}

/** As callers' addresses are named: of IPv6 the network. */
function networkOf(name: string): string {
  const address = parseAddress(name.split('/')[0] ?? '')
  return address ? networkName(address) : name
}

/** One limit of each thing in each window. */
function isOnceEach(limits: readonly SharedLimit[]): boolean {
  const names = limits.map((one) => [one.scope, one.name, one.of, one.of === 'concurrency' ? '' : one.window].join(' '))
  return new Set(names).size === names.length
}

export const limits = section({
  tiers: named(tierNames, tier).default({}),
  shared: z
    .array(shared, { error: 'must be a list of limits' })
    .max(mostShared, { error: `must hold at most ${mostShared} limits` })
    .refine(isOnceEach, { error: 'must hold at most one limit of the same thing for each window' })
    .default([]),
  shedding: section({
    event_loop_ms: wholeOr(200, 10, 60_000),
    calls: wholeOr(10_000, 1, 1_000_000),
  }).prefault({}),
})
