import type { Json, JsonObject } from './call.ts'
import type { Counts, Unit } from './price.ts'
import { isObject } from './wire.ts'

/** Where OpenAI-like vendors put each number. The first place that holds more than zero is taken. */
const places = {
  prompt: ['prompt_tokens'],
  completion: ['completion_tokens'],
  total: ['total_tokens'],
  cached: ['prompt_tokens_details.cached_tokens', 'prompt_cache_hit_tokens', 'cached_tokens', 'num_cached_tokens'],
  written: [
    'prompt_tokens_details.cache_write_tokens',
    'prompt_tokens_details.cache_creation_input_tokens',
    'cache_write_tokens',
    'cache_creation_input_tokens',
  ],
  audioIn: ['prompt_tokens_details.audio_tokens', 'audio_tokens'],
  reasoning: ['completion_tokens_details.reasoning_tokens', 'reasoning_tokens'],
  audioOut: ['completion_tokens_details.audio_tokens'],
} as const satisfies Record<string, readonly string[]>

type Name = keyof typeof places
type Field = (typeof places)[Name][number]
const fields: readonly Field[] = Object.values(places).flat()

/** Where a field is: its own name, or the object that it is in and its name there. */
const paths = fields.map((field) => {
  const dot = field.indexOf('.')
  return dot < 0 ? { field, name: field } : { field, group: field.slice(0, dot), name: field.slice(dot + 1) }
})

/**
 * More tokens than this in one call is a broken number: the largest context we know has ten million, and 128 answers
 * of the longest models some sixteen. A number below it is charged as it is, so it also bounds what a fault can cost.
 */
const largestCount = 100_000_000

/** A vendor's usage object, reduced to the fields that we read. */
export interface RawUsage {
  readonly numbers: Readonly<Partial<Record<Field, number>>>
  /** Fields that held something else than a whole number ≥ 0 and never anything better. */
  readonly invalid: readonly Field[]
}

/** Usage in our normal form: disjoint whole counts. `input` or `output` is absent where the vendor did not say it. */
export interface NormalUsage {
  readonly counts: Counts
  readonly anomalies: readonly string[]
}

function fieldOf(usage: JsonObject, { group, name }: (typeof paths)[number]): Json | undefined {
  if (group === undefined) return usage[name]
  const details = usage[group]
  return isObject(details) ? details[name] : undefined
}

function isCount(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= largestCount
}

/** Reads a usage object; undefined where it has none of our fields. Anything may be in it. */
export function rawUsage(usage: JsonObject): RawUsage | undefined {
  const numbers: Partial<Record<Field, number>> = {}
  const invalid: Field[] = []
  let found = false
  for (const path of paths) {
    const value = fieldOf(usage, path)
    if (value === undefined || value === null) continue
    const { field } = path
    found = true
    if (isCount(value)) numbers[field] = value + 0 // -0 becomes 0
    else invalid.push(field)
  }
  return found ? { numbers, invalid } : undefined
}

/** Vendors repeat usage and let it grow: each field's largest value stands, nothing is ever added up. */
export function mergeUsage(seen: RawUsage | undefined, next: RawUsage): RawUsage {
  if (!seen) return next
  const numbers: Partial<Record<Field, number>> = { ...seen.numbers }
  for (const field of fields) {
    const value = next.numbers[field]
    if (value !== undefined) numbers[field] = Math.max(value, numbers[field] ?? 0)
  }
  const invalid = fields.filter(
    (field) => numbers[field] === undefined && (seen.invalid.includes(field) || next.invalid.includes(field)),
  )
  return { numbers, invalid }
}

function numberAt({ numbers }: RawUsage, name: Name): number | undefined {
  let zero: number | undefined
  for (const field of places[name]) {
    const value = (numbers as Readonly<Record<string, number | undefined>>)[field]
    if (value) return value
    zero ??= value
  }
  return zero
}

interface Totals {
  prompt: number | undefined
  completion: number | undefined
}

/**
 * What was read and generated in all. Vendors differ on what `prompt_tokens` and `completion_tokens` hold;
 * `total_tokens` tells, because reasoning or audio that lies outside of the two is exactly what is left over.
 * Each rule was seen in recorded traffic.
 */
function totals(raw: RawUsage, flag: (anomaly: string) => void): Totals {
  let prompt = numberAt(raw, 'prompt')
  let completion = numberAt(raw, 'completion')
  const total = numberAt(raw, 'total')
  const reasoning = numberAt(raw, 'reasoning') ?? 0
  if (total !== undefined && prompt !== undefined && completion !== undefined) {
    const rest = total - prompt - completion
    if (rest > 0 && rest === reasoning) {
      completion += rest
      flag('reasoning_outside_output')
    } else if (rest > 0 && rest === numberAt(raw, 'audioIn')) {
      prompt += rest
      flag('audio_outside_input')
    } else if (rest !== 0) {
      completion += Math.max(0, rest)
      flag('total_mismatch')
    }
  }
  if (completion !== undefined && reasoning > completion) {
    completion += reasoning
    flag('reasoning_above_output')
  }
  return { prompt, completion }
}

/** Divides a total into parts that do not overlap; a part takes at most what is left. */
function divide(total: number, parts: readonly (readonly [unit: Unit, count: number])[], rest: Unit): Counts {
  const counts: Partial<Record<Unit, number>> = {}
  let left = total
  for (const [unit, wanted] of parts) {
    const count = Math.min(wanted, left)
    left -= count
    if (count > 0) counts[unit] = count
  }
  counts[rest] = left
  return counts
}

/**
 * The vendor's numbers as counts that can be priced by a plain sum. A broken number is left out and flagged;
 * without the prompt's or the completion's own number nothing is said of that side, and a local count stands in.
 */
export function normalUsage(raw: RawUsage): NormalUsage {
  const anomalies: string[] = raw.invalid.map((field) => `invalid_${field.replace('.', '_')}`)
  const flag = (anomaly: string): void => void anomalies.push(anomaly)
  const { prompt, completion } = totals(raw, flag)
  const counts: Partial<Record<Unit, number>> = {}
  if (prompt !== undefined) {
    const cached = numberAt(raw, 'cached') ?? 0
    const written = numberAt(raw, 'written') ?? 0
    const audio = numberAt(raw, 'audioIn') ?? 0
    if (cached > prompt) flag('cached_above_input')
    else if (cached + written > prompt) flag('written_above_input')
    if (audio > prompt) flag('audio_above_input')
    const parts = [
      ['cached_input', cached],
      ['cache_write_5m', written],
      ['audio_input', audio],
    ] as const
    Object.assign(counts, divide(prompt, parts, 'input'))
  }
  if (completion !== undefined) {
    const reasoning = numberAt(raw, 'reasoning') ?? 0
    const audio = numberAt(raw, 'audioOut') ?? 0
    if (audio > completion) flag('audio_above_output')
    Object.assign(
      counts,
      divide(
        completion,
        [
          ['reasoning', reasoning],
          ['audio_output', audio],
        ],
        'output',
      ),
    )
  }
  return { counts, anomalies }
}

function sum(counts: Counts, units: readonly Unit[]): number {
  return units.reduce((total, unit) => total + (counts[unit] ?? 0), 0)
}

/** All tokens read: fresh, cached, written to a cache, audio, images. */
export function inputTotal(counts: Counts): number {
  return sum(counts, ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'audio_input', 'image_input'])
}

/** All tokens generated: answer, reasoning, audio, images. */
export function outputTotal(counts: Counts): number {
  return sum(counts, ['output', 'reasoning', 'audio_output', 'image_output'])
}

/**
 * Counts as the usage object of the inner language: `prompt_tokens` holds all that was read, `completion_tokens` all
 * that was generated, and the details say what of it was cached, written to a cache, thought or heard.
 */
export function usageBody(counts: Counts): JsonObject {
  const prompt = inputTotal(counts)
  const completion = outputTotal(counts)
  const written = sum(counts, ['cache_write_5m', 'cache_write_1h'])
  const { audio_input: audioIn = 0, audio_output: audioOut = 0 } = counts
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: {
      cached_tokens: counts.cached_input ?? 0,
      ...(written > 0 && { cache_write_tokens: written }),
      ...(audioIn > 0 && { audio_tokens: audioIn }),
    },
    completion_tokens_details: {
      reasoning_tokens: counts.reasoning ?? 0,
      ...(audioOut > 0 && { audio_tokens: audioOut }),
    },
  }
}
