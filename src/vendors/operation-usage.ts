import type { Json, JsonObject, Operation } from '../core/call.ts'
import type { Counts, Unit } from '../core/price.ts'
import { isObject, objectsOf } from '../core/wire.ts'
import { reportedCost } from './reported-cost.ts'
import type { VendorUsage } from './vendor.ts'

/*
 * What vendors say that an embedding, a picture, a recording or a search has used. They have three ways to say tokens
 * and four to say pieces; every one was seen in recorded answers or stands in a vendor's documentation.
 */

/** More of anything in one call is a broken number. */
const largestCount = 100_000_000

function count(value: Json | undefined): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= largestCount ? Math.ceil(value) : undefined
}

function first(...values: readonly (Json | undefined)[]): number | undefined {
  return values.map(count).find((value) => value !== undefined)
}

/** What is made of tokens that nothing more is said about. */
const madeBy: Readonly<Partial<Record<Operation, Unit>>> = { images: 'image_output', speech: 'audio_output' }

/** Usage of an answer; undefined where it says nothing. */
export function operationUsage(operation: Operation, body: JsonObject): VendorUsage | undefined {
  const usage = isObject(body['usage']) ? body['usage'] : {}
  const made = madeBy[operation] ?? 'output'
  const counts: Partial<Record<Unit, number>> = { ...tokensIn(usage, made), ...piecesIn(body, usage) }
  const cost = reportedCost(usage)
  if (Object.keys(counts).length === 0 && cost === undefined) return undefined
  return { counts, anomalies: [], ...(cost !== undefined && { reportedCost: cost }) }
}

/** Tokens by what they are: a total, and the parts of it that are dearer. */
function tokensIn(usage: JsonObject, unit: Unit): Counts {
  const read = first(usage['input_tokens'], usage['prompt_tokens'])
  const made = first(usage['output_tokens'], usage['completion_tokens'])
  const total = first(usage['total_tokens'])
  if (read === undefined && made === undefined && total === undefined) return {}
  const inside = detailsOf(
    usage['input_tokens_details'] ?? usage['input_token_details'] ?? usage['prompt_tokens_details'],
  )
  const details = usage['output_tokens_details'] ?? usage['output_token_details']
  const outside = isObject(details) ? divided(made ?? 0, outputUnits, detailsOf(details)) : { [unit]: made ?? 0 }
  // A rerank is told as a total alone, and some count audio outside of the two.
  const whole = read ?? Math.max(0, (total ?? 0) - (made ?? 0))
  const rest = (total ?? 0) - whole - (made ?? 0)
  const input = rest > 0 && rest === inside.audio ? whole + rest : whole
  return { ...divided(input, inputUnits, inside), ...(made ? outside : {}) }
}

interface Details {
  readonly audio: number
  readonly image: number
  readonly cached: number
}

function detailsOf(details: Json | undefined): Details {
  if (!isObject(details)) return { audio: 0, image: 0, cached: 0 }
  return {
    audio: count(details['audio_tokens']) ?? 0,
    image: count(details['image_tokens']) ?? 0,
    cached: count(details['cached_tokens']) ?? 0,
  }
}

type Kinds = Readonly<Record<keyof Details | 'rest', Unit>>
const inputUnits: Kinds = { audio: 'audio_input', image: 'image_input', cached: 'cached_input', rest: 'input' }
const outputUnits: Kinds = { audio: 'audio_output', image: 'image_output', cached: 'output', rest: 'output' }

/** Parts that do not overlap: each takes at most what is left. */
function divided(total: number, units: Kinds, { audio, image, cached }: Details): Counts {
  const heard = Math.min(audio, total)
  const seen = Math.min(image, total - heard)
  const known = units.cached === units.rest ? 0 : Math.min(cached, total - heard - seen)
  return {
    ...(heard > 0 && { [units.audio]: heard }),
    ...(seen > 0 && { [units.image]: seen }),
    ...(known > 0 && { [units.cached]: known }),
    [units.rest]: total - heard - seen - known,
  }
}

/** What is not told in tokens: pictures, seconds, searches. */
function piecesIn(body: JsonObject, usage: JsonObject): Counts {
  const meta = isObject(body['meta']) ? body['meta'] : {}
  const billed = isObject(meta['billed_units']) ? meta['billed_units'] : {}
  const image = first(usage['generated_images']) ?? picturesIn(body['data'])
  const second = first(usage['prompt_audio_seconds'], usage['seconds'], body['duration'])
  const search = first(billed['search_units'], usage['search_units'])
  const input = first(billed['input_tokens'])
  return {
    ...(image !== undefined && { image }),
    ...(second !== undefined && { second }),
    ...(search !== undefined && { search }),
    ...(input !== undefined && { input }),
  }
}

/** Pictures that were made: one that failed is an error in its place. */
function picturesIn(data: Json | undefined): number | undefined {
  const made = objectsOf(data).filter(
    ({ url, b64_json: inside }) => typeof url === 'string' || typeof inside === 'string',
  )
  return made.length > 0 ? made.length : undefined
}
