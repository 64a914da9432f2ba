import type { Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import type { ErrorCode, GatewayError } from '../core/errors.ts'
import type { Answered } from '../call/attempt.ts'
import { soldFromCache } from '../call/hit-prices.ts'
import { pinPrices } from '../ledger/prices.ts'
import type { CacheTurn } from './cached.ts'
import type { Served } from './charging.ts'
import type { Gateway } from './gateway.ts'

/*
 * The last step before an error: what an identical call of the account was answered before, although it is past its
 * time. It costs what an answer from the cache costs.
 */

/** Whatever else fails is the caller's own request, or a gateway that is stopping: an old answer would hide it. */
const vendorsFaults: ReadonlySet<ErrorCode> = new Set([
  'vendor_error',
  'vendor_timeout',
  'vendor_busy',
  'no_target_available',
])

/** What stands in where no target answers; undefined where nothing may, or nothing is there. Never rejects. */
export async function staleAnswer({ stale }: CacheTurn, { code }: GatewayError): Promise<Answered | undefined> {
  return vendorsFaults.has(code) ? stale() : undefined
}

/** What an answer's head says where it stands in; nothing of any other. */
export function staleNotes({ platform }: Gateway, { staleSinceMs }: Answered): Readonly<Record<string, string>> {
  if (staleSinceMs === undefined) return {}
  const ageSeconds = Math.max(0, Math.floor((platform.clock.now() - staleSinceMs) / 1_000))
  return { 'x-tollgate-cache': 'stale', 'x-tollgate-cache-age': String(ageSeconds) }
}

interface Sold {
  readonly caller: Caller
  readonly model: Model
  readonly turn: CacheTurn
}

/** By what a call pays for an answer that stands in: its hold was made for one of a vendor. */
export function staleTerms(
  { platform }: Gateway,
  { caller, model, turn }: Sold,
): Pick<Served, 'cheaper' | 'tokenWeights'> {
  const sold = soldFromCache(model, turn.policy.hitPpm)
  return {
    cheaper: pinPrices(sold, caller, platform.catalog().exchange),
    ...(sold.tokenWeights && { tokenWeights: sold.tokenWeights }),
  }
}
