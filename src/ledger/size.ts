import type { Nanos } from '../core/money.ts'
import { charge, priceOf, type Counts, type PriceSet, units } from '../core/price.ts'

/** What a call may use, for a quote: whole tokens. */
export interface Expected {
  readonly inputTokens: number
  readonly outputTokens: number
}

/** The dearest unit that generated tokens may turn out to be: a reasoning price may be above the output price. */
function outputUnit(prices: PriceSet): 'output' | 'reasoning' {
  return (priceOf(prices, 'reasoning') ?? 0n) > (priceOf(prices, 'output') ?? 0n) ? 'reasoning' : 'output'
}

/** Adds the unit `request` where the price set has a price for it: each call is one. */
export function withRequest(counts: Counts, prices: PriceSet): Counts {
  return prices.nanos.request === undefined ? counts : { ...counts, request: 1 }
}

/** The most that so many tokens cost, in nano-units. */
export function quote({ inputTokens, outputTokens }: Expected, prices: PriceSet): Nanos {
  return charge(withRequest({ input: inputTokens, [outputUnit(prices)]: outputTokens }, prices), prices)
}

/**
 * How many output tokens a reserved sum covers after `inputTokens` of prompt; Infinity where output costs nothing.
 * The inverse of `quote`: quote({ inputTokens, outputTokens: coveredOutput(…) }) ≤ reserved.
 */
export function coveredOutput(reserved: Nanos, inputTokens: number, prices: PriceSet): number {
  const unit = outputUnit(prices)
  const price = priceOf(prices, unit) ?? 0n
  const rate = price * BigInt(prices.discountPpm) * (units[unit].per === 'mtok' ? 1n : 1_000_000n)
  const before = quote({ inputTokens, outputTokens: 0 }, prices)
  if (rate === 0n) return Number.POSITIVE_INFINITY
  if (reserved < before) return 0
  const exact = exactSum({ inputTokens, outputTokens: 0 }, prices)
  const room = (reserved * 1_000_000_000_000n - exact) / rate
  // allowed -- a count of tokens, bounded above
  return room > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(room)
}

/** The numerator of the charge, before the one rounding: nanos × 10^12. */
function exactSum({ inputTokens }: Expected, prices: PriceSet): bigint {
  const input = BigInt(inputTokens) * (priceOf(prices, 'input') ?? 0n)
  const request = (prices.nanos.request ?? 0n) * 1_000_000n
  return (input + request) * BigInt(prices.discountPpm)
}

/** The next extension, in output tokens: it doubles up to this. */
const largestStep = 16_384
export function nextStep(step: number): number {
  return Math.min(largestStep, step * 2)
}
