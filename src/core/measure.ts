import type { Operation } from './call.ts'
import { type Counts, priceOf, type Unit, type UnitPrices, unitsIn } from './price.ts'
import type { PromptText } from './prompt.ts'

/** What is held and counted of a call that is no conversation: it is known before any vendor is asked. */
export interface Measure {
  /** What is read as tokens. */
  readonly prompt: PromptText
  /** What the call may use at most beside tokens: it is held. */
  readonly most: Counts
  /**
   * What it uses where its vendor says nothing of it, but for the tokens of `prompt` and of a text that is answered:
   * these are counted. A price set without a price for one of them does not charge for it.
   */
  readonly own: Counts
  /** Tokens may turn out to be the dear ones of audio. */
  readonly audio?: boolean
}

/** One way of pricing an operation: the units that must have a price, and those that may have one beside them. */
interface Way {
  readonly by: readonly Unit[]
  readonly beside?: readonly Unit[]
}

const byRequest: Way = { by: ['request'] }

/**
 * By what each operation may be priced: one of these ways needs its prices, or the model is not served. So no operation
 * is free by mistake, whatever else of it has no price.
 */
const ways: Readonly<Record<Operation, readonly Way[]>> = {
  chat: [{ by: ['input', 'output'] }],
  embeddings: [{ by: ['input'] }, byRequest],
  moderations: [{ by: ['input'] }, byRequest],
  rerank: [{ by: ['search'] }, { by: ['input'] }, byRequest],
  images: [{ by: ['image'] }, { by: ['image_output'], beside: ['input', 'image_input'] }, byRequest],
  speech: [{ by: ['character'] }, { by: ['audio_output'], beside: ['input'] }, byRequest],
  transcription: [{ by: ['second'] }, { by: ['audio_input'], beside: ['output'] }, byRequest],
}
export const operations = [
  'chat',
  'embeddings',
  'moderations',
  'rerank',
  'images',
  'speech',
  'transcription',
] as const satisfies readonly Operation[]

export function isOperation(word: string): word is Operation {
  return Object.hasOwn(ways, word)
}

/** Whether these prices can charge for an operation. A unit whose stand-in has a price has one. */
export function canCharge(operation: Operation, nanos: UnitPrices): boolean {
  return ways[operation].some(({ by }) => by.every((unit) => priceOf({ nanos }, unit) !== undefined))
}

/** What has no price of all that an operation needs, by its first way of being priced; none where it can be charged. */
export function missingPrices(operation: Operation, nanos: UnitPrices): readonly Unit[] {
  if (canCharge(operation, nanos)) return []
  return (ways[operation][0]?.by ?? []).filter((unit) => priceOf({ nanos }, unit) === undefined)
}

/** Of what has a price only: the rest is no matter of this price set. */
export function pricedOnly(counts: Counts, nanos: UnitPrices): Counts {
  const priced: Partial<Record<Unit, number>> = {}
  for (const unit of unitsIn(counts)) {
    const count = counts[unit]
    if (count !== undefined && priceOf({ nanos }, unit) !== undefined) priced[unit] = count
  }
  return priced
}

/** Whether any of these counts costs something, or would if anything did. */
export function isCharged(counts: Counts, nanos: UnitPrices): boolean {
  const isFree = Object.values(nanos).every((price) => price === 0n)
  const told = Object.entries(counts) as [Unit, number][]
  return told.some(([unit, count]) => count > 0 && (isFree || (priceOf({ nanos }, unit) ?? 0n) > 0n))
}

/** What we count ourselves of an operation: the units of the first way that costs something, so that none is paid twice. */
export function ownUnits(operation: Operation, nanos: UnitPrices): readonly Unit[] {
  const priced = ways[operation].filter(({ by }) => by.every((unit) => priceOf({ nanos }, unit) !== undefined))
  const dear = priced.find(({ by }) => by.some((unit) => (priceOf({ nanos }, unit) ?? 0n) > 0n))
  const { by = [], beside = [] } = dear ?? priced[0] ?? {}
  return [...by, ...beside].filter((unit) => priceOf({ nanos }, unit) !== undefined)
}
