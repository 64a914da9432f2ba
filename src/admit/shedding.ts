import type { Caller } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { tierOf, type Tiers } from './limits.ts'

/** What a process carries now. */
export interface Load {
  /** Calls that wait for a vendor and streams under way. */
  readonly running: number
  /** By how much what the process does comes late. */
  readonly lagMs: number
}

/** From where on a process has more to do than it can. */
export interface SheddingRules {
  readonly eventLoopMs: number
  readonly calls: number
}

/** What priorities are out of: a call of the highest is refused at twice the load of one of the lowest. */
const mostPriority = 100
/** A burst is over within a second or two; who comes back at once would only lengthen it. */
const retryAfterMs = 2_000

/** Throws `overloaded` for a call that is not to be begun under this load. No running call is ever ended by it. */
export function shed(
  caller: Pick<Caller, 'account'>,
  load: Load,
  { rules, tiers }: { rules: SheddingRules; tiers: Tiers },
): void {
  const priority = tierOf(caller, tiers)?.priority ?? 0
  const share = Math.max(load.running / rules.calls, load.lagMs / rules.eventLoopMs)
  if (share < 1 + priority / mostPriority) return
  throw new GatewayError(
    'overloaded',
    'The gateway has more calls than it can serve just now. Send the call again shortly.',
    {
      retryAfterMs,
    },
  )
}
