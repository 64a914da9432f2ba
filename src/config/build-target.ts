import type { Target } from '../core/call.ts'
import type { TimeLimits } from '../core/catalog.ts'
import { listPrices } from './list-prices.ts'
import type { GivenTarget } from './routing-schema.ts'

/** What is said of a target beside its name. */
export function buildTarget(given: GivenTarget): Omit<Target, 'vendor' | 'model' | 'region'> {
  const { costs, weight, quality, context_tokens: contextTokens, max_output_tokens: maxOutputTokens, timeouts } = given
  return {
    ...(costs !== undefined && { costs: listPrices(costs) }),
    ...(weight !== undefined && { weight }),
    ...(quality !== undefined && { quality }),
    ...(contextTokens !== undefined && { contextTokens }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    ...(timeouts !== undefined && { limits: buildLimits(timeouts) }),
  }
}

function buildLimits(given: NonNullable<GivenTarget['timeouts']>): Partial<TimeLimits> {
  const { connect_ms: connectMs, first_byte_ms: firstByteMs, idle_ms: idleMs, total_ms: totalMs } = given
  return {
    ...(connectMs !== undefined && { connectMs }),
    ...(firstByteMs !== undefined && { firstByteMs }),
    ...(idleMs !== undefined && { idleMs }),
    ...(totalMs !== undefined && { totalMs }),
  }
}
