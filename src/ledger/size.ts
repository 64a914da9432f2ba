import type { Nanos } from '../core/money.ts'
import { onceForLasting } from '../core/once-for.ts'
import {
  charge,
  type Counts,
  type EffectivePrices,
  exactCharge,
  type PriceSet,
  type Rate,
  type Unit,
  type UnitPrices,
} from '../core/price.ts'
import { isWithin } from '../core/rates.ts'

/** What decides how dear a call can become, as far as it is known before it runs. */
export interface Reach {
  /** Whole tokens; the prompt is no longer than this. */
  readonly inputTokens: number
  readonly startedAtMs: number
  /** The service tier that is asked for. `auto` leaves the choice to the vendor, so it may be any. */
  readonly serviceTier?: string | undefined
  /** Audio is sent or asked for: tokens may turn out to be the dear ones of audio. */
  readonly audio?: boolean
  /** What is used beside tokens, at most. */
  readonly pieces?: Counts
}

/** What a call may use, for a quote: whole tokens. */
export interface Expected extends Reach {
  readonly outputTokens: number
}

const anyTier = 'auto'
/** By which share a vendor's count of a prompt may lie above ours. */
const countSlack = 0.1
const fullPpm = 1_000_000

/** Adds the unit `request` where there is a price for it: each call is one. */
export function withRequest(counts: Counts, { nanos }: { readonly nanos: UnitPrices }): Counts {
  return nanos.request === undefined ? counts : { ...counts, request: 1 }
}

/** The most that so many tokens cost, of whatever kind they turn out to be, in nano-units. */
export function quote(expected: Expected, prices: PriceSet): Nanos {
  const { inputTokens, outputTokens, pieces } = expected
  const dearest = dearestRate(expected, prices)
  return charge(withRequest({ ...pieces, input: inputTokens, output: outputTokens }, dearest), dearest)
}

/**
 * How many output tokens a reserved sum covers after the prompt; Infinity where output costs nothing.
 * The inverse of `quote`: quote({ ...reach, outputTokens: coveredOutput(reserved, reach, prices) }) ≤ reserved.
 */
export function coveredOutput(reserved: Nanos, reach: Reach, prices: PriceSet): number {
  const dearest = dearestRate(reach, prices)
  const { numerator: rate } = exactCharge({ output: 1 }, dearest)
  if (rate === 0n) return Number.POSITIVE_INFINITY
  const { numerator: before, denominator } = exactCharge(
    withRequest({ ...reach.pieces, input: reach.inputTokens }, dearest),
    dearest,
  )
  const room = (reserved * denominator - before) / rate
  if (room <= 0n) return 0
  // allowed -- a count of tokens, bounded above
  return room > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(room)
}

/**
 * Prices that no outcome of the call exceeds: for prompt and answer the highest price of any kind of token under any
 * rate that it can still reach. Which of them it will be, the answer says.
 */
function dearestRate(reach: Reach, prices: PriceSet): EffectivePrices {
  if (prices.rates !== undefined || reach.pieces !== undefined) return dearestOf(reach, prices)
  return (reach.audio ? dearestPlainOfAudio : dearestPlain)(prices)
}

// Of plain prices nothing of a call decides, and each call asks five times.
const sometime: Reach = { inputTokens: 0, startedAtMs: 0 }
const dearestPlain = onceForLasting((prices: PriceSet) => dearestOf(sometime, prices))
const dearestPlainOfAudio = onceForLasting((prices: PriceSet) => dearestOf({ ...sometime, audio: true }, prices))

function dearestOf(reach: Reach, prices: PriceSet): EffectivePrices {
  const reachable = (prices.rates ?? []).filter((rate) => mayHold(rate, reach))
  const sure = reachable.filter(({ when }) => Object.keys(when).every((part) => part === 'hours'))
  const plain: UnitPrices = Object.assign({}, prices.nanos, ...sure.map(({ nanos }) => nanos))
  const all = [plain, ...reachable.map(({ nanos }) => nanos)]
  const request = dearest(all, ['request'])
  const pieces = Object.keys(reach.pieces ?? {}) as Unit[]
  return {
    nanos: {
      ...Object.fromEntries(pieces.map((unit) => [unit, dearest(all, [unit]) ?? 0n])),
      input: dearest(all, reach.audio ? [...promptUnits, 'audio_input'] : promptUnits) ?? 0n,
      output: dearest(all, reach.audio ? [...answerUnits, 'audio_output'] : answerUnits) ?? 0n,
      ...(request !== undefined && { request }),
    },
    tokensPpm: largestFactor(reachable),
    lengthTier: undefined,
    conversion: prices.conversion,
    discountPpm: prices.discountPpm,
  }
}

const promptUnits: readonly Unit[] = ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'image_input']
const answerUnits: readonly Unit[] = ['output', 'reasoning', 'image_output']

function dearest(all: readonly UnitPrices[], kinds: readonly Unit[]): bigint | undefined {
  let most: bigint | undefined
  for (const nanos of all) {
    for (const unit of kinds) {
      const price = nanos[unit]
      if (price !== undefined && (most === undefined || price > most)) most = price
    }
  }
  return most
}

/**
 * Where and how fast a call is served is not known before; when it began and how long its prompt can be, is. A vendor
 * counts with a tokenizer of its own: a border that lies a little above our count may be passed by its.
 */
function mayHold({ when }: Rate, { inputTokens, startedAtMs, serviceTier }: Reach): boolean {
  return (
    (when.fromTokens === undefined || when.fromTokens <= inputTokens + inputTokens * countSlack) &&
    (when.service === undefined || serviceTier === when.service || serviceTier === anyTier) &&
    (when.hours === undefined || isWithin(when.hours, startedAtMs))
  )
}

/** The largest product of multipliers that one place and one speed can bring together. */
function largestFactor(reachable: readonly Rate[]): readonly number[] {
  const raising = reachable.filter(({ tokensPpm = fullPpm }) => tokensPpm > fullPpm)
  const values = (part: 'region' | 'speed') => [...new Set(raising.map(({ when }) => when[part]))]
  let most: readonly number[] = []
  for (const region of values('region')) {
    for (const speed of values('speed')) {
      const together = raising
        .filter(({ when }) => (when.region ?? region) === region && (when.speed ?? speed) === speed)
        .map(({ tokensPpm = fullPpm }) => tokensPpm)
      if (compareProducts(together, most) > 0n) most = together
    }
  }
  return most
}

function compareProducts(a: readonly number[], b: readonly number[]): bigint {
  const product = (factors: readonly number[], places: number): bigint =>
    factors.reduce((all, factor) => all * BigInt(factor), 1_000_000n ** BigInt(places - factors.length))
  const places = Math.max(a.length, b.length)
  return product(a, places) - product(b, places)
}

/** The next extension, in output tokens: it doubles up to this. */
const largestStep = 16_384
export function nextStep(step: number): number {
  return Math.min(largestStep, step * 2)
}
