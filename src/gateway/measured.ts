import type { Usage } from '../core/call.ts'
import { isCharged, type Measure, ownUnits, pricedOnly } from '../core/measure.ts'
import type { Counts, Unit } from '../core/price.ts'
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
  if (isCharged(told, nanos)) return { counts: told, source: 'vendor', ...more }
  const own = await ownCounts({ served, measure }, ending)
  const isCounted = countedUnits.some((unit) => (own[unit] ?? 0) > 0)
  return isCounted ? { counts: own, source: 'counted', tokenizer, ...more } : { counts: own, source: 'fixed', ...more }
}

/** What asking alone has used, of an answer of which nothing came. */
export async function measuredPrompt(measuring: Measuring): Promise<Usage> {
  const { served, measure, tokenizer } = measuring
  const own = await ownCounts({ served, measure }, undefined)
  const asked = Object.fromEntries(askedUnits.flatMap((unit) => (own[unit] === undefined ? [] : [[unit, own[unit]]])))
  return (own.input ?? 0) > 0 ? { counts: asked, source: 'counted', tokenizer } : { counts: asked, source: 'fixed' }
}

/** Counting takes time, so only what is charged is counted. */
async function ownCounts(
  { served, measure }: Omit<Measuring, 'tokenizer'>,
  ending: RelayEnding | undefined,
): Promise<Counts> {
  const { nanos } = served.admission.prices
  const units = ownUnits(served.call.operation, nanos)
  const [input, output] = await Promise.all([
    units.includes('input') ? served.admission.promptTokens() : 0,
    units.includes('output') && ending ? ending.counted() : 0,
  ])
  const own: Counts = { ...measure.own, input, output, ...(nanos.request !== undefined && { request: 1 }) }
  return Object.fromEntries(
    [...new Set([...units, 'request' as const])].flatMap((unit) => (own[unit] ? [[unit, own[unit]]] : [])),
  )
}
