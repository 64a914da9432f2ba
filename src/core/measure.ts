import type { Operation } from './call.ts'
import { type Counts, priceOf, type Unit, type UnitPrices } from './price.ts'
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

/**
 * By what each operation may be priced: every unit of one of these lists needs a price, or the model is not served. So
 * no operation is free by mistake, whatever else of it has no price.
 */
const pricedBy: Readonly<Record<Operation, readonly (readonly Unit[])[]>> = {
  chat: [['input', 'output']],
  embeddings: [['input'], ['request']],
  moderations: [['input'], ['request']],
  rerank: [['search'], ['input'], ['request']],
  images: [['image'], ['image_output'], ['request']],
  speech: [['character'], ['audio_output'], ['request']],
  transcription: [['second'], ['audio_input'], ['request']],
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
  return Object.hasOwn(pricedBy, word)
}

/** Whether these prices can charge for an operation. A unit whose stand-in has a price has one. */
export function canCharge(operation: Operation, nanos: UnitPrices): boolean {
  return pricedBy[operation].some((units) => units.every((unit) => priceOf({ nanos }, unit) !== undefined))
}

/** What has no price of all that an operation needs, by its first way of being priced; none where it can be charged. */
export function missingPrices(operation: Operation, nanos: UnitPrices): readonly Unit[] {
  if (canCharge(operation, nanos)) return []
  return (pricedBy[operation][0] ?? []).filter((unit) => priceOf({ nanos }, unit) === undefined)
}

/** Of what has a price only: the rest is no matter of this price set. */
export function pricedOnly(counts: Counts, nanos: UnitPrices): Counts {
  const priced = Object.entries(counts) as [Unit, number][]
  return Object.fromEntries(priced.filter(([unit]) => priceOf({ nanos }, unit) !== undefined))
}

/** Of what costs something; where nothing does, of what has a price at all, so that a free call has its counts too. */
export function paidOnly(counts: Counts, nanos: UnitPrices): Counts {
  const priced = pricedOnly(counts, nanos)
  const dear = (Object.entries(priced) as [Unit, number][]).filter(([unit]) => (priceOf({ nanos }, unit) ?? 0n) > 0n)
  return dear.length > 0 ? Object.fromEntries(dear) : priced
}
