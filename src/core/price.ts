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
  image_input: { per: 'mtok', label: 'image input tokens', else: 'input' },
  image_output: { per: 'mtok', label: 'image output tokens', else: 'output' },
  // Of another model that the answering one has asked, and that its vendor bills at a price of its own.
  advisor_input: { per: 'mtok', label: "an advisor's input tokens", else: 'input' },
  advisor_cached_input: { per: 'mtok', label: "an advisor's cached input tokens", else: 'advisor_input' },
  advisor_output: { per: 'mtok', label: "an advisor's output tokens", else: 'output' },
  image: { per: 'unit', label: 'images' },
  search: { per: 'unit', label: 'searches' },
  file_search: { per: 'unit', label: 'file searches' },
  code_session: { per: 'unit', label: 'code sessions' },
  second: { per: 'unit', label: 'seconds' },
  character: { per: 'unit', label: 'characters' },
  word: { per: 'unit', label: 'words' },
  request: { per: 'unit', label: 'requests' },
} as const satisfies Record<string, { per: 'mtok' | 'unit'; label: string; else?: string }>

export type Unit = keyof typeof units
export const unitNames = Object.keys(units) as Unit[]

/** The units that are counted: a call has two or three of some two dozen. What is no unit of ours is passed over. */
export function unitsIn(counts: Counts): readonly Unit[] {
  return Object.keys(counts).filter(isUnit)
}

function isUnit(name: string): name is Unit {
  return Object.hasOwn(units, name)
}

/** How many of each unit. Disjoint: no token is in two units, so that the charge is a plain sum. */
export type Counts = Readonly<Partial<Record<Unit, number>>>

/** Prices by unit, in nano-units per million tokens or per single piece. */
export type UnitPrices = Readonly<Partial<Record<Unit, bigint>>>

/** The prices pinned for one call. What it pays depends on how it went: rateFor (core/rates.ts) says which rate holds. */
export interface PriceSet {
  /** Content hash; the same prices always have the same id. */
  readonly id: string
  /** What the account pays in. The prices are in it too, but for a set with a conversion. */
  readonly currency: string
  readonly nanos: UnitPrices
  /** Alternatives to the plain prices, the one that comes first by rank first: see core/rates.ts. */
  readonly rates?: readonly Rate[]
  readonly conversion?: Conversion
  /** The account's discount: 1_000_000 pays the full price, 900_000 pays 90 %. */
  readonly discountPpm: number
}

/** Prices that stand in for the plain ones, unit by unit, while a condition holds. */
export interface Rate {
  readonly when: Condition
  readonly nanos: UnitPrices
  /** Multiplies every price per token, in parts per million. */
  readonly tokensPpm?: number
}

/** When a rate holds: all that is given must be so. */
export interface Condition {
  /**
   * A length tier: the least whole prompt, in tokens, with its cached and written parts. It prices the whole request,
   * the answer too. Tokens are whole, so "more than 200,000" is 200,001 and "200,000 or more" is 200,000.
   */
  readonly fromTokens?: number
  /** The service tier that the answer says it was served with. */
  readonly service?: string
  /** By the moment at which the call began. */
  readonly hours?: Hours
  /** Where it was served, and how fast. */
  readonly region?: string
  readonly speed?: string
}

/** A daily window in UTC, in minutes since midnight: from `fromMinute` up to but not at `toMinute`, past midnight if need be. */
export interface Hours {
  readonly fromMinute: number
  readonly toMinute: number
  /** Days on which the window begins, ascending, 0 for Sunday; absent: all. */
  readonly days?: readonly number[]
}

/** From the currency of the prices to that of the account, as the exact fraction that was agreed under this version. */
export interface Conversion {
  readonly from: string
  readonly num: bigint
  readonly den: bigint
  readonly version: string
}

/** A conversion and the currency that it leads to, as an operator offers it. */
export interface ExchangeRate extends Conversion {
  readonly to: string
}

/** What a call pays by: one rate of a price set, chosen. A price set itself is none, so that no condition is forgotten. */
export interface EffectivePrices {
  readonly nanos: UnitPrices
  readonly tokensPpm: readonly number[]
  /** `fromTokens` of the length tier that was reached. */
  readonly lengthTier: number | undefined
  readonly conversion: Conversion | undefined
  readonly discountPpm: number
}

/** What a token or a piece costs by these prices; undefined where neither it nor its stand-in has a price. */
export function priceOf({ nanos }: { readonly nanos: UnitPrices }, unit: Unit): bigint | undefined {
  for (let at: Unit | undefined = unit; at; at = (units[at] as { else?: Unit }).else) {
    const price = nanos[at]
    if (price !== undefined) return price
  }
  return undefined
}

const million = 1_000_000n

/**
 * What the account pays for these counts, in nano-units of its currency, rounded up once.
 * Throws RangeError for a count that is not a whole number ≥ 0 or a unit without a price: admission refuses
 * such models, so here either one is a bug.
 */
export function charge(counts: Counts, prices: EffectivePrices): Nanos {
  const { numerator, denominator } = exactCharge(counts, prices)
  return divideUp(numerator, denominator)
}

/** The charge before its rounding, as a fraction. */
export function exactCharge(counts: Counts, prices: EffectivePrices): { numerator: bigint; denominator: bigint } {
  // Both in nanos × 10^6.
  let tokens = 0n
  let pieces = 0n
  for (const unit of unitsIn(counts)) {
    const count = counts[unit]
    if (count === undefined || count === 0) continue
    if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`${unit} must be a whole number, got ${count}`)
    const price = priceOf(prices, unit)
    if (price === undefined) throw new RangeError(`no price for ${unit}`)
    if (units[unit].per === 'mtok') tokens += BigInt(count) * price
    else pieces += BigInt(count) * price * million
  }
  let scale = million * million
  for (const ppm of prices.tokensPpm) {
    tokens *= BigInt(ppm)
    pieces *= million
    scale *= million
  }
  const { num, den } = prices.conversion ?? { num: 1n, den: 1n }
  return { numerator: (tokens + pieces) * BigInt(prices.discountPpm) * num, denominator: scale * den }
}
