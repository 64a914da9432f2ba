/** Money is whole nano-units (10^-9) of one currency, as a bigint: 1 USD = 1_000_000_000n. */
export type Nanos = bigint

/** Decimal digits of a currency's nano-unit. */
const scale = 9
const decimal = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?$/

/**
 * Reads a plain decimal ("12.5", "-0.000000001") into nano-units, exactly.
 * Returns undefined for anything else: exponents, more than nine decimals, more than twelve whole digits, blanks.
 */
export function parseMoney(text: string): Nanos | undefined {
  const match = decimal.exec(text)
  if (!match) return undefined
  const [, sign, whole, fraction = ''] = match
  const nanos = BigInt(whole + fraction.padEnd(scale, '0'))
  return sign ? -nanos : nanos
}

/** Prints nano-units as the shortest exact decimal: 1_500_000_000n is "1.5", 0n is "0". */
export function printMoney(nanos: Nanos): string {
  const sign = nanos < 0n ? '-' : ''
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(scale + 1, '0')
  const fraction = digits.slice(-scale).replace(/0+$/, '')
  return sign + digits.slice(0, -scale) + (fraction && `.${fraction}`)
}

/** Integer division that rounds up; both arguments must not be negative. The one rounding of a charge. */
export function divideUp(numerator: bigint, denominator: bigint): bigint {
  return (numerator + denominator - 1n) / denominator
}
