import type { Counts } from '../core/price.ts'
import type { Json, JsonObject } from '../core/call.ts'
import { normalUsage, rawUsage } from '../core/usage.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import { reportedCost } from './reported-cost.ts'
import type { VendorUsage } from './vendor.ts'

/** More calls of a tool than this in one answer is a broken number. */
const maxCalls = 10_000

/**
 * What a response to a request (`asked`) says was used: both of its counts hold their details. Undefined where it says
 * nothing of it.
 */
export function usageOf(response: JsonObject, asked: JsonObject): VendorUsage | undefined {
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
  const tools = toldCalls(usage['server_side_tool_usage_details']) ?? callsIn(response, asked)
  const called = Object.entries(tools).filter(([, count]) => count > 0 && count <= maxCalls)
  const all: Counts = { ...counts, ...Object.fromEntries(called) }
  return { counts: all, anomalies, ...(cost !== undefined && { reportedCost: cost }) }
}

/** What the vendor's own tools did, which it bills beside the tokens. */
type ToolCounts = Readonly<Record<'search' | 'file_search' | 'code_session', number>>

/** Some vendors count the calls of their tools themselves. */
function toldCalls(details: Json | undefined): ToolCounts | undefined {
  if (!isObject(details)) return undefined
  const sum = (...names: readonly string[]): number =>
    names.map((name) => details[name]).reduce((all: number, count) => all + (isCount(count) ? count : 0), 0)
  return {
    search: sum('web_search_calls', 'x_search_calls'),
    file_search: sum('file_search_calls', 'document_search_calls'),
    code_session: sum('code_interpreter_calls'),
  }
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= maxCalls
}

/** Searches are billed one by one, and opening a page that was found is not; code by the container that it ran in. */
function callsIn({ output }: JsonObject, { input }: JsonObject): ToolCounts {
  const items = objectsOf(output)
  const searches = items.filter(({ type, action }) => {
    if (type !== 'web_search_call') return false
    return !isObject(action) || action['type'] === undefined || action['type'] === 'search'
  })
  // A container that an earlier answer began comes back in the request, and was billed with that answer.
  const begun = containersIn(objectsOf(input))
  const containers = [...containersIn(items)].filter((id) => !begun.has(id))
  return {
    search: searches.length,
    file_search: items.filter(({ type }) => type === 'file_search_call').length,
    code_session: containers.length,
  }
}

/** Those without a name count as one. */
function containersIn(items: readonly JsonObject[]): ReadonlySet<string> {
  const ran = items.filter(({ type }) => type === 'code_interpreter_call')
  return new Set(ran.map(({ container_id: id }) => stringOf(id)))
}
