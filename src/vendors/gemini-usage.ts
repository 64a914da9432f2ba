import type { Json, JsonObject } from '../core/call.ts'
import { normalUsage, rawUsage } from '../core/usage.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import type { VendorUsage } from './vendor.ts'

/*
 * `usageMetadata` as recorded at Google: thoughts lie outside of candidatesTokenCount, what tools have read outside of
 * promptTokenCount, what was cached inside of it; the total is the sum of prompt, candidates, thoughts and tool use.
 * A field that is zero is left out, as everywhere in Google's JSON.
 */

const counts = [
  'promptTokenCount',
  'toolUsePromptTokenCount',
  'candidatesTokenCount',
  'thoughtsTokenCount',
  'cachedContentTokenCount',
  'totalTokenCount',
] as const

/** Where in an answer a usage object was seen. */
export interface UsageMoment {
  /** The answer has ended with this event or before it. */
  readonly isEnd: boolean
  /** Visible text or a call has come, in this event or before it. */
  readonly hasOutput: boolean
}

function hasCounts(metadata: JsonObject): boolean {
  return counts.some((name) => metadata[name] !== undefined)
}

/**
 * The usage known after one more event. Vertex repeats an object without numbers until the end. Within an answer that
 * calls tools the numbers may fall again, from one step to the next, and only the last event has the sums: until then
 * each field's largest value stands, from then on what was told last.
 */
export function mergeMetadata(seen: JsonObject | undefined, next: JsonObject, isEnd: boolean): JsonObject {
  if (!hasCounts(next)) return seen ?? next
  if (!seen || isEnd) return next
  const merged: Record<string, Json | undefined> = { ...seen, ...next }
  for (const name of counts) {
    const [old, now] = [seen[name], next[name]]
    if (typeof old === 'number' && typeof now === 'number') merged[name] = Math.max(old, now)
  }
  return merged
}

/** The sum of two fields, undefined where neither is there. What is no number comes back as it is, to be flagged. */
function sumOf(a: Json | undefined, b: Json | undefined): Json | undefined {
  if (a === undefined || a === null) return b ?? undefined
  if (b === undefined || b === null) return a
  if (typeof a !== 'number') return a
  return typeof b === 'number' ? a + b : b
}

/** Tokens of one modality in lists such as promptTokensDetails. */
function modality(name: string, ...lists: readonly (Json | undefined)[]): number {
  let sum = 0
  for (const detail of lists.flatMap(objectsOf)) {
    const { tokenCount } = detail
    if (stringOf(detail['modality']).toUpperCase() === name && typeof tokenCount === 'number') sum += tokenCount
  }
  return sum
}

interface Sides {
  readonly prompt: Json | undefined
  readonly completion: Json | undefined
}

/** What was read and generated. At the end a side that is left out is what the total leaves over, else zero. */
function sidesOf(metadata: JsonObject, { isEnd, hasOutput }: UsageMoment): Sides {
  const { candidatesTokenCount: candidates, thoughtsTokenCount: thoughts, totalTokenCount: total } = metadata
  const prompt = sumOf(metadata['promptTokenCount'], metadata['toolUsePromptTokenCount'])
  const completion = sumOf(candidates, thoughts)
  if (!isEnd) return { prompt, completion: candidates === undefined && hasOutput ? undefined : completion }
  const rest = (other: Json | undefined): number =>
    typeof total === 'number' && typeof other === 'number' ? Math.max(0, total - other) : 0
  return { prompt: prompt ?? rest(completion), completion: completion ?? rest(prompt) }
}

/** Usage in our normal form; undefined where the object says nothing of it. */
export function geminiUsage(metadata: JsonObject, moment: UsageMoment): VendorUsage | undefined {
  if (!hasCounts(metadata)) return undefined
  const { prompt, completion } = sidesOf(metadata, moment)
  const { cachedContentTokenCount: cached, thoughtsTokenCount: thoughts, totalTokenCount: total } = metadata
  const heard = modality('AUDIO', metadata['promptTokensDetails'], metadata['toolUsePromptTokensDetails'])
  // What was cached is priced as that, spoken or not.
  const audio = Math.max(0, heard - modality('AUDIO', metadata['cacheTokensDetails']))
  const raw = rawUsage({
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: moment.isEnd ? total : undefined,
    prompt_tokens_details: { cached_tokens: cached, audio_tokens: audio },
    completion_tokens_details: {
      reasoning_tokens: thoughts,
      audio_tokens: modality('AUDIO', metadata['candidatesTokensDetails']),
    },
  })
  if (!raw) return undefined
  const usage = normalUsage(raw)
  const isPromptMissing = moment.isEnd && metadata['promptTokenCount'] === undefined
  return isPromptMissing ? { ...usage, anomalies: [...usage.anomalies, 'prompt_missing'] } : usage
}

/** Traffic on Vertex that has prices of its own, in the words of the service tiers. */
const paidTraffic: Readonly<Record<string, string>> = { ON_DEMAND_PRIORITY: 'priority', ON_DEMAND_FLEX: 'flex' }
const maxTierLength = 64

/** The service tier that an answer was served with; undefined where it says none. */
export function geminiTier(metadata: Json | undefined): string | undefined {
  if (!isObject(metadata)) return undefined
  const tier = stringOf(metadata['serviceTier'])
    .toLowerCase()
    .replace(/^service_tier_/, '')
  return tier.slice(0, maxTierLength) || paidTraffic[stringOf(metadata['trafficType'])]
}
