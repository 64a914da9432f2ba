import { accountKeyId, type Caller, type KeyFacts } from '../core/call.ts'
import type { RateLimit } from '../core/rate-limit.ts'
import type { TierLimits } from '../core/shared-limit.ts'

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
  const { limits: own = [], concurrency: ownConcurrency, version = 1 } = caller.account ?? {}
  const tier = tierOf(caller, tiers)
  const limits = [...own, ...(tier?.limits ?? []).filter((limit) => !own.some((mine) => isSameKind(mine, limit)))]
  const concurrency = ownConcurrency ?? tier?.concurrency
  if (limits.length === 0 && concurrency === undefined) return caller
  const link: KeyFacts = {
    id: accountKeyId(caller.accountId),
    version,
    budgets: [],
    ...(limits.length > 0 && { limits }),
    ...(concurrency !== undefined && { concurrency }),
  }
  return { ...caller, chain: [...caller.chain, link] }
}

/** One account has one limit of requests per minute, however its tier would count it. */
function isSameKind(a: RateLimit, b: RateLimit): boolean {
  return a.of === b.of && a.window === b.window
}

/** Whether anything limits the tokens of a caller: then a prompt has to be counted, and no bound of it will do. */
export function countsTokens({ chain }: Pick<Caller, 'chain'>, others: readonly { readonly of: RateLimit['of'] }[]): boolean {
  return others.some(({ of }) => of === 'tokens') || chain.some(({ limits }) => limits?.some(({ of }) => of === 'tokens'))
}
