import type { Json, JsonObject } from '../core/call.ts'
import { isObject, stringOf } from '../core/wire.ts'

export const parkReasons = ['out_of_credit', 'refused'] as const
export type ParkReason = (typeof parkReasons)[number]

/** One of our keys at a vendor. `mark` tells one secret from another under the same name, and holds nothing of it. */
interface OfKey {
  readonly vendor: string
  readonly key: string
  readonly mark: string
}

/**
 * What one replica has seen of the vendors and tells the others. Times are durations from now: the clocks of two
 * machines differ.
 */
export type Sighting =
  /** `again`: it was parked already, and is so for longer. */
  | (OfKey & {
      readonly kind: 'key_parked'
      readonly reason: ParkReason
      readonly status: number
      readonly forMs: number
      readonly again: boolean
    })
  | (OfKey & { readonly kind: 'key_works' })
  /** At the vendor's limit, for one of its models. */
  | (OfKey & { readonly kind: 'key_busy'; readonly model: string; readonly forMs: number })
  | { readonly kind: 'circuit_open'; readonly target: string; readonly forMs: number }
  | { readonly kind: 'circuit_closed'; readonly target: string }
  /** What a user thinks of an answer, from 0 to 1. */
  | { readonly kind: 'rated'; readonly target: string; readonly score: number }

/** Longer names are none of ours. */
const nameLength = 512
/** Nothing is said for longer. */
const longestMs = 24 * 3_600_000

/** Undefined for what is no sighting, or one of another version. */
export function readSighting(body: Json | undefined): Sighting | undefined {
  if (!isObject(body)) return undefined
  const kind = stringOf(body['kind'])
  if (kind === 'circuit_open' || kind === 'circuit_closed' || kind === 'rated') return ofTarget(kind, body)
  if (kind === 'key_parked' || kind === 'key_works' || kind === 'key_busy') return ofKey(kind, body)
  return undefined
}

function ofTarget(kind: 'circuit_open' | 'circuit_closed' | 'rated', body: JsonObject): Sighting | undefined {
  const target = nameIn(body, 'target')
  if (target === undefined) return undefined
  if (kind === 'circuit_closed') return { kind, target }
  const [forMs, score] = [numberIn(body, 'forMs', longestMs), numberIn(body, 'score', 1)]
  if (kind === 'rated') return score === undefined ? undefined : { kind, target, score }
  return forMs === undefined ? undefined : { kind, target, forMs }
}

function ofKey(kind: 'key_parked' | 'key_works' | 'key_busy', body: JsonObject): Sighting | undefined {
  const [vendor, key, mark] = [nameIn(body, 'vendor'), nameIn(body, 'key'), nameIn(body, 'mark')]
  if (vendor === undefined || key === undefined || mark === undefined) return undefined
  const of = { vendor, key, mark }
  if (kind === 'key_works') return { kind, ...of }
  const forMs = numberIn(body, 'forMs', longestMs)
  if (forMs === undefined) return undefined
  const model = nameIn(body, 'model')
  if (kind === 'key_busy') return model === undefined ? undefined : { kind, ...of, model, forMs }
  const reason = parkReasons.find((one) => one === body['reason'])
  const status = numberIn(body, 'status', 999)
  if (reason === undefined || status === undefined) return undefined
  return { kind, ...of, reason, status, forMs, again: body['again'] === true }
}

function nameIn(body: JsonObject, field: string): string | undefined {
  const value = body[field]
  return typeof value === 'string' && value !== '' && value.length <= nameLength ? value : undefined
}

function numberIn(body: JsonObject, field: string, most: number): number | undefined {
  const value = body[field]
  return typeof value === 'number' && value >= 0 && value <= most ? value : undefined
}
