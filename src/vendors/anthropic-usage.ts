import type { Json, JsonObject } from '../core/call.ts'
import type { Counts, Unit } from '../core/price.ts'
import { normalUsage, rawUsage } from '../core/usage.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import type { VendorUsage } from './vendor.ts'

/** Fields of a usage object that we read. */
const fields = [
  'input_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens',
  'cache_creation',
  'output_tokens',
  'output_tokens_details',
  'server_tool_use',
  'iterations',
  'inference_geo',
  'speed',
] as const

/** Passes of the model over one request that are counted; a turn has a compaction and some dozens of server tools. */
const maxIterations = 1_000
/** More searches than this in one answer is a broken number. */
const maxSearches = 10_000

/** Usage over a stream: of each field the last value stands, because later events correct earlier ones. */
export function createUsage(): (usage: JsonObject, isFinal: boolean) => VendorUsage {
  let seen: JsonObject = {}
  return (usage, isFinal) => {
    const told = fields.filter((name) => usage[name] !== undefined && usage[name] !== null)
    seen = { ...seen, ...Object.fromEntries(told.map((name) => [name, usage[name]])) }
    return usageOf(seen, isFinal)
  }
}

/** Passes that are billed at the answer's own prices. */
const ownPasses: ReadonlySet<Json | undefined> = new Set(['message', 'compaction'])

/**
 * The vendor's usage in our normal form. `isFinal` is false for what a stream says at its start, where the count of
 * output means nothing: that side is left out then.
 */
export function usageOf(usage: JsonObject, isFinal = true): VendorUsage {
  const { iterations, ...top } = usage
  const passes = objectsOf(iterations).slice(0, maxIterations)
  const own = passes.filter(({ type }) => ownPasses.has(type))
  // Where another model took over, the passes are those that failed, and the top has what it used.
  const isFallback = passes.some(({ type }) => type === 'fallback_message')
  // The top leaves out what was spent on compacting the conversation, which the vendor bills all the same.
  const totals = own.length === 0 || isFallback ? totalsOf([top]) : totalsOf(own)
  const counted = normalOf(totals, { isFinal, reasoning: nested(top, 'output_tokens_details', 'thinking_tokens') })
  const counts: Partial<Record<Unit, number>> = { ...splitWrites(counted.counts, totals.hourly) }
  const searches = countOf(nested(top, 'server_tool_use', 'web_search_requests'), maxSearches)
  if (searches > 0) counts.search = searches
  const advising = passes.filter(({ type }) => type === 'advisor_message')
  const advised = advising.length > 0 ? advisorOf(totalsOf(advising)) : undefined
  Object.assign(counts, advised?.counts)
  const anomalies = [...counted.anomalies, ...(advised ? ['other_model_used', ...advised.anomalies] : [])]
  return { counts, anomalies, ...placeOf(top) }
}

/** A second opinion, of a dearer model: it has prices of its own. What it writes to a cache counts as what it reads. */
function advisorOf(totals: Totals): VendorUsage {
  const { counts, anomalies } = normalOf(totals, { isFinal: true, reasoning: undefined })
  const { input = 0, cache_write_5m: written = 0, cached_input: cached = 0, output = 0 } = counts
  const told = { advisor_input: input + written, advisor_cached_input: cached, advisor_output: output }
  return {
    counts: Object.fromEntries(Object.entries(told).filter(([, count]) => count > 0)),
    anomalies: anomalies.map((anomaly) => `advisor_${anomaly}`),
  }
}

const maxWordLength = 64
/** The words for what has no price of its own. */
const anywhere: ReadonlySet<string> = new Set(['', 'global', 'not_available'])
const plainSpeeds: ReadonlySet<string> = new Set(['', 'standard'])

function placeOf({ inference_geo: geo, speed: told }: JsonObject): Pick<VendorUsage, 'region' | 'speed'> {
  const [region, speed] = [geo, told].map((word) => stringOf(word).slice(0, maxWordLength))
  return {
    ...(region !== undefined && !anywhere.has(region) && { region }),
    ...(speed !== undefined && !plainSpeeds.has(speed) && { speed }),
  }
}

interface Totals {
  readonly input: Json | undefined
  readonly read: Json | undefined
  readonly written: Json | undefined
  readonly output: Json | undefined
  /** Of what was written, the part that is kept for an hour. */
  readonly hourly: number
}

function totalsOf(parts: readonly JsonObject[]): Totals {
  const hourly = parts.map((part) => countOf(nested(part, 'cache_creation', 'ephemeral_1h_input_tokens')))
  const short = parts.map((part) => countOf(nested(part, 'cache_creation', 'ephemeral_5m_input_tokens')))
  const details = [...hourly, ...short].reduce((sum, count) => sum + count, 0)
  return {
    input: summed(parts, 'input_tokens'),
    read: summed(parts, 'cache_read_input_tokens'),
    written: summed(parts, 'cache_creation_input_tokens') ?? (details > 0 ? details : undefined),
    output: summed(parts, 'output_tokens'),
    hourly: hourly.reduce((sum, count) => sum + count, 0),
  }
}

/** The sum over all parts; a value that is no count is given as it is, so that it is flagged by its field. */
function summed(parts: readonly JsonObject[], name: string): Json | undefined {
  const values = parts.map((part) => part[name]).filter((value) => value !== undefined && value !== null)
  const broken = values.find((value) => !isCount(value))
  if (values.length === 0 || broken !== undefined) return broken
  return values.reduce((sum: number, value) => sum + countOf(value), 0)
}

function nested(usage: JsonObject, outer: string, inner: string): Json | undefined {
  const details = usage[outer]
  return isObject(details) ? details[inner] : undefined
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function countOf(value: Json | undefined, max: number = Number.MAX_SAFE_INTEGER): number {
  return isCount(value) && value <= max ? value : 0
}

/** In the names of the inner language, so that what is broken is flagged and clamped as everywhere. */
function normalOf(totals: Totals, { isFinal, reasoning }: { isFinal: boolean; reasoning: Json | undefined }) {
  const { input, read, written, output } = totals
  // Here the prompt's own count leaves out what was read from a cache and written to one.
  const prompt = isCount(input) ? input + countOf(read) + countOf(written) : input
  const thought = isCount(reasoning) && isCount(output) ? Math.min(reasoning, output) : reasoning
  const raw = rawUsage({
    ...(prompt !== undefined && { prompt_tokens: prompt }),
    prompt_tokens_details: { cached_tokens: read, cache_write_tokens: written },
    ...(isFinal && output !== undefined && { completion_tokens: output }),
    ...(isFinal && { completion_tokens_details: { reasoning_tokens: thought } }),
  })
  return raw ? normalUsage(raw) : { counts: {}, anomalies: [] }
}

/** Writes that are kept for an hour cost more than those for five minutes; whatever is not said to be one is the other. */
function splitWrites(counts: Counts, hourly: number): Counts {
  const { cache_write_5m: written = 0, ...rest } = counts
  const long = Math.min(hourly, written)
  return {
    ...rest,
    ...(written > long && { cache_write_5m: written - long }),
    ...(long > 0 && { cache_write_1h: long }),
  }
}
