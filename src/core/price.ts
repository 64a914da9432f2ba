import { divideUp, type Nanos } from './money.ts'

/**
 * Everything that a price can count. `per` says whether a price is for a million of them or for one.
 * `else` names the unit whose price holds where a price set has none of its own:
 * cached tokens without a cache price cost what other input costs, never nothing.
 */
export const units = {
  input: { per: 'mtok', label: 'input tokens' },
  cached_input: { per: 'mtok', label: 'cached input tokens', else: 'input' },
  cache_write_5m: { per: 'mtok', label: '5-minute cache writes', else: 'input' },
  cache_write_1h: { per: 'mtok', label: '1-hour cache writes', else: 'cache_write_5m' },
  output: { per: 'mtok', label: 'output tokens' },
  reasoning: { per: 'mtok', label: 'reasoning tokens', else: 'output' },
  audio_input: { per: 'mtok', label: 'audio input tokens', else: 'input' },
  audio_output: { per: 'mtok', label: 'audio output tokens', else: 'output' },
  image: { per: 'unit', label: 'images' },
  search: { per: 'unit', label: 'searches' },
  second: { per: 'unit', label: 'seconds' },
  character: { per: 'unit', label: 'characters' },
  word: { per: 'unit', label: 'words' },
  request: { per: 'unit', label: 'requests' },
} as const satisfies Record<string, { per: 'mtok' | 'unit'; label: string; else?: string }>

export type Unit = keyof typeof units
export const unitNames = Object.keys(units) as Unit[]

/** How many of each unit. Disjoint: no token is in two units, so that the charge is a plain sum. */
export type Counts = Readonly<Partial<Record<Unit, number>>>

/** The prices pinned for one call: nano-units of `currency` per million tokens, or per single unit. */
export interface PriceSet {
  /** Content hash; the same prices always have the same id. */
  readonly id: string
  readonly currency: string
  readonly nanos: Readonly<Partial<Record<Unit, bigint>>>
  /** The account's discount: 1_000_000 pays the full price, 900_000 pays 90 %. */
  readonly discountPpm: number
}

/** What a token or a piece costs by this price set; undefined where neither it nor its stand-in has a price. */
export function priceOf(prices: PriceSet, unit: Unit): bigint | undefined {
  for (let at: Unit | undefined = unit; at; at = (units[at] as { else?: Unit }).else) {
    const price = prices.nanos[at]
    if (price !== undefined) return price
  }
  return undefined
}

/**
 * What the account pays for these counts, in nano-units, rounded up once.
 * Throws RangeError for a count that is not a whole number ≥ 0 or a unit without a price: admission refuses
 * such models, so here either one is a bug.
 */
export function charge(counts: Counts, prices: PriceSet): Nanos {
  let sum = 0n // nanos × 10^6
  for (const unit of unitNames) {
    const count = counts[unit]
    if (count === undefined || count === 0) continue
    if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`${unit} must be a whole number, got ${count}`)
    const price = priceOf(prices, unit)
    if (price === undefined) throw new RangeError(`no price for ${unit}`)
    sum += BigInt(count) * price * (units[unit].per === 'unit' ? 1_000_000n : 1n)
  }
  return divideUp(sum * BigInt(prices.discountPpm), 1_000_000_000_000n)
}
