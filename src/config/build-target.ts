import type { Target } from '../core/call.ts'
import { listPrices } from './list-prices.ts'
import type { GivenTarget } from './routing-schema.ts'

/** What is said of a target beside its name. */
export function buildTarget(given: GivenTarget): Omit<Target, 'vendor' | 'model' | 'region'> {
  const { costs, weight, quality, context_tokens: contextTokens, max_output_tokens: maxOutputTokens } = given
  return {
    ...(costs !== undefined && { costs: listPrices(costs) }),
    ...(weight !== undefined && { weight }),
    ...(quality !== undefined && { quality }),
    ...(contextTokens !== undefined && { contextTokens }),
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
  }
}
