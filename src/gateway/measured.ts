import type { Usage } from '../core/call.ts'
import { type Measure, paidOnly, pricedOnly } from '../core/measure.ts'
import { type Counts, priceOf, type Unit, type UnitPrices } from '../core/price.ts'
import type { RelayEnding } from '../meter/relay.ts'
import type { Served } from './charging.ts'

/** What is used by asking alone: what comes of it is told, or it was not made. */
const askedUnits: readonly Unit[] = ['input', 'audio_input', 'image_input', 'second', 'character', 'search']
/** What our tokenizer stands for. */
const countedUnits: readonly Unit[] = ['input', 'output']

export interface Measuring {
  readonly served: Served
  readonly measure: Measure
  readonly tokenizer: string
}

/**
 * What a call that is no conversation has used: as its vendor says, if it says anything that has a price, else as we
 * have counted. The two are never mixed, because vendors tell one use in tokens or in pieces, and ours knows both.
 */
export async function measured({ served, measure, tokenizer }: Measuring, ending: RelayEnding): Promise<Usage> {
  const { nanos } = served.admission.prices
  const { counts = {}, anomalies = [] } = ending.usage ?? {}
  const more = anomalies.length > 0 && { anomalies }
  const told = pricedOnly(counts, nanos)
  if (Object.values(paidOnly(told, nanos)).some((count) => count > 0)) return { counts: told, source: 'vendor', ...more }
  const own = await ownCounts({ served, measure, nanos }, ending)
  const isCounted = countedUnits.some((unit) => (own[unit] ?? 0) > 0)
  return isCounted ? { counts: own, source: 'counted', tokenizer, ...more } : { counts: own, source: 'fixed', ...more }
}

/** What asking alone has used, of an answer of which nothing came. */
export async function measuredPrompt(measuring: Measuring): Promise<Usage> {
  const { served, measure, tokenizer } = measuring
  const { nanos } = served.admission.prices
  const own = await ownCounts({ served, measure, nanos }, undefined)
  const asked = Object.fromEntries(askedUnits.flatMap((unit) => (own[unit] === undefined ? [] : [[unit, own[unit]]])))
  return (own.input ?? 0) > 0 ? { counts: asked, source: 'counted', tokenizer } : { counts: asked, source: 'fixed' }
}

interface Own extends Omit<Measuring, 'tokenizer'> {
  readonly nanos: UnitPrices
}

/** Counting takes time, so only what costs something is counted. A recording is counted by its length. */
async function ownCounts({ served, measure, nanos }: Own, ending: RelayEnding | undefined): Promise<Counts> {
  const isFree = Object.values(nanos).every((price) => price === 0n)
  const needs = (unit: Unit): boolean => isFree || (priceOf({ nanos }, unit) ?? 0n) > 0n
  const isHeard = measure.own.audio_input !== undefined
  const [input, output] = await Promise.all([
    needs('input') && !isHeard ? served.admission.promptTokens() : undefined,
    needs('output') && ending ? ending.counted() : undefined,
  ])
  const own = { ...measure.own, ...(input !== undefined && { input }), ...(output ? { output } : {}) }
  return { ...paidOnly(own, nanos), ...(nanos.request !== undefined && { request: 1 }) }
}
