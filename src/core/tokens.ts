import { type Counts, type Unit, units, unitsIn } from './price.ts'

/** What packages count in: micro-tokens, 10^-6 of a weighted token. It is another asset and never money. */
export const tokenAsset = 'TOK' as const
export type TokenAsset = typeof tokenAsset

/** Decimal digits of a micro-token. */
const scale = 6
const microTokens = 1_000_000n
const decimal = /^(\d{1,13})(?:\.(\d{1,6}))?$/

/** Reads a plain decimal number of tokens ("1000000", "0.5") into micro-tokens, exactly; undefined for anything else. */
export function parseTokens(text: string): bigint | undefined {
  const match = decimal.exec(text)
  if (!match) return undefined
  const [, whole, fraction = ''] = match
  return BigInt(whole + fraction.padEnd(scale, '0'))
}

const mostWeight = 1_000_000_000_000

/** A weight of up to a million with at most six decimals, in millionths; undefined for anything else. */
export function parseWeight(text: string): number | undefined {
  const micro = parseTokens(text)
  return micro === undefined || micro <= 0n || micro > BigInt(mostWeight) ? undefined : Number(micro)
}

/** Prints micro-tokens as the shortest exact decimal. */
export function printTokens(micro: bigint): string {
  const sign = micro < 0n ? '-' : ''
  const digits = (micro < 0n ? -micro : micro).toString().padStart(scale + 1, '0')
  const fraction = digits.slice(-scale).replace(/0+$/, '')
  return sign + digits.slice(0, -scale) + (fraction && `.${fraction}`)
}

/**
 * How many tokens of a package one of each unit takes, in millionths. Where nothing is said of a unit it takes what the
 * unit takes whose price stands in for its own, and a token of any kind takes one. More than zero: what a package pays
 * for is never free.
 */
export type TokenWeights = Readonly<Partial<Record<Unit, number>>>

/** Nothing is said of any unit. One object, so that what follows from it can be remembered. */
export const plainWeights: TokenWeights = Object.freeze({})

/** What a package is charged for one of a unit, in micro-tokens; undefined where a package cannot pay for it. */
export function weightOf(unit: Unit, weights: TokenWeights): bigint | undefined {
  for (let at: Unit | undefined = unit; at; at = (units[at] as { else?: Unit }).else) {
    const weight = weights[at]
    if (weight !== undefined) return BigInt(weight)
  }
  return units[unit].per === 'mtok' ? microTokens : undefined
}

/** What a package is charged for some counts, in micro-tokens. What it cannot pay for weighs nothing. */
export function weigh(counts: Counts, weights: TokenWeights): bigint {
  let sum = 0n
  for (const unit of unitsIn(counts)) sum += BigInt(counts[unit] ?? 0) * (weightOf(unit, weights) ?? 0n)
  return sum
}
