const decimal = /^(\d{1,20})(?:\.(\d{1,40}))?(?:[eE]([+-]?\d{1,3}))?$/

/**
 * A decimal as it was written ("2.9e-8"), times a power of ten, as a whole number; undefined where it is none, is
 * negative, or would need a fraction. No float is made of it on the way.
 */
export function scaled(text: string, power: number): bigint | undefined {
  const match = decimal.exec(text)
  if (!match) return undefined
  const [, whole = '', fraction = '', exponent = '0'] = match
  const digits = BigInt(whole + fraction)
  const shift = power + +exponent - fraction.length
  if (shift >= 0) return digits * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return digits % divisor === 0n ? digits / divisor : undefined
}

/** JSON whose numbers are the text that stood there. */
export type ListJson = string | boolean | null | readonly ListJson[] | ListObject
export interface ListObject {
  readonly [name: string]: ListJson
}

/** Node hands a reviver the text of each number; the types of the language do not know it yet. */
const parse = JSON.parse as (
  text: string,
  revive: (name: string, value: unknown, at: { source?: string }) => unknown,
) => ListJson

/** Reads JSON without making a float of any number. Throws SyntaxError where it is no JSON. */
export function parseList(text: string): ListJson {
  return parse(text, (_, value, { source }) => (typeof value === 'number' ? (source ?? String(value)) : value))
}

export function isListObject(value: ListJson | undefined): value is ListObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
