import type { Counts } from '../core/price.ts'
import type { JsonObject } from '../core/call.ts'
import { normalUsage, rawUsage } from '../core/usage.ts'
import { isObject, objectsOf } from '../core/wire.ts'
import { reportedCost } from './reported-cost.ts'
import type { VendorUsage } from './vendor.ts'

/** More searches than this in one answer is a broken number. */
const maxSearches = 10_000

/** What a response says was used: both of its counts hold their details. Undefined where it says nothing of it. */
export function usageOf(response: JsonObject): VendorUsage | undefined {
  const { usage } = response
  if (!isObject(usage)) return undefined
  const { input_tokens: input, output_tokens: output, total_tokens: total } = usage
  const raw = rawUsage({
    ...(input !== undefined && { prompt_tokens: input }),
    ...(output !== undefined && { completion_tokens: output }),
    ...(total !== undefined && { total_tokens: total }),
    prompt_tokens_details: usage['input_tokens_details'],
    completion_tokens_details: usage['output_tokens_details'],
  })
  if (!raw) return undefined
  const { counts, anomalies } = normalUsage(raw)
  const cost = reportedCost(usage)
  return { counts: withSearches(counts, response), anomalies, ...(cost !== undefined && { reportedCost: cost }) }
}

/** Searches are billed one by one; opening a page that was found is not. */
function withSearches(counts: Counts, { output }: JsonObject): Counts {
  const searches = objectsOf(output).filter(({ type, action }) => {
    if (type !== 'web_search_call') return false
    return !isObject(action) || action['type'] === undefined || action['type'] === 'search'
  }).length
  return searches > 0 && searches <= maxSearches ? { ...counts, search: searches } : counts
}
