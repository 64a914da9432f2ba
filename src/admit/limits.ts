import { accountKeyId, type Caller, type KeyFacts } from '../core/call.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import type { LimitScope, SharedLimit, TierLimits } from '../core/shared-limit.ts'
import type { Bound } from './shares.ts'

/** Which limits bind a caller, beside those of the keys themselves. */

/** The tier of an account that names none. */
const plainTier = 'normal'

export type Tiers = ReadonlyMap<string, TierLimits>

export function tierOf({ account }: Pick<Caller, 'account'>, tiers: Tiers): TierLimits | undefined {
  return tiers.get(account?.tier ?? plainTier)
}

/**
 * The caller with the counters of the account above the chain of its keys, where the account is limited: by its own
 * limits, and by those of its tier for which it has none of its own.
 */
export function withAccount(caller: Caller, tiers: Tiers): Caller {
  const { limits: own = [], concurrency: ownConcurrency, budgets: ownBudgets = [], version = 1 } = caller.account ?? {}
  const tier = tierOf(caller, tiers)
  const limits = [...own, ...(tier?.limits ?? []).filter((limit) => !own.some((mine) => isSameKind(mine, limit)))]
  const concurrency = ownConcurrency ?? tier?.concurrency
  const isOwn = (window: string) => ownBudgets.some((mine) => mine.window === window)
  const budgets = [...ownBudgets, ...(tier?.budgets ?? []).filter(({ window }) => !isOwn(window))]
  if (limits.length === 0 && concurrency === undefined && budgets.length === 0) return caller
  const link: KeyFacts = {
    id: accountKeyId(caller.accountId),
    version,
    budgets,
    ...(limits.length > 0 && { limits }),
    ...(concurrency !== undefined && { concurrency }),
  }
  return { ...caller, chain: [...caller.chain, link] }
}

/** One account has one limit of requests per minute, however its tier would count it. */
function isSameKind(a: RateLimit, b: RateLimit): boolean {
  return a.of === b.of && a.window === b.window
}

/** What a call is, as limits over accounts name it: the value of each scope that is known; absent ones bind nothing. */
export type Named = Partial<Record<Exclude<LimitScope, 'global'>, string>>

/** The limits over accounts that bind a call. One that names what it limits stands in for one that names nothing. */
export function boundsOf(limits: readonly SharedLimit[], named: Named): readonly Bound[] {
  return limits.flatMap((limit) => {
    const { scope, name } = limit
    const value = scope === 'global' ? '' : named[scope]
    if (value === undefined || (name !== undefined && name !== value)) return []
    const isOverruled =
      name === undefined &&
      limits.some((other) => other.name === value && other.scope === scope && isSameMeasure(other, limit))
    if (isOverruled) return []
    return [{ id: `${scope}/${value}/${measureOf(limit)}`, whose: whoseOf(scope, value), limit }]
  })
}

function whoseOf(scope: LimitScope, value: string): string {
  if (scope === 'global') return 'this gateway'
  return scope === 'ip' ? 'your address' : `${scope} "${value}"`
}

function isSameMeasure(a: SharedLimit, b: SharedLimit): boolean {
  return measureOf(a) === measureOf(b)
}

/** What is counted, and over which time: one limit of each. */
function measureOf(limit: SharedLimit): string {
  return limit.of === 'concurrency' ? limit.of : `${limit.of}/${limit.window}`
}

/** Whether anything limits the tokens of a caller: then a prompt has to be counted, and no bound of it will do. */
export function countsTokens({ chain }: Pick<Caller, 'chain'>, bounds: readonly Bound[]): boolean {
  return (
    bounds.some(({ limit }) => limit.of === 'tokens') ||
    chain.some(({ limits }) => limits?.some(({ of }) => of === 'tokens'))
  )
}
