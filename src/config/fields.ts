import { z } from 'zod'
import { maxAmount } from '../core/model-rules.ts'
import { parseMoney } from '../core/money.ts'

/** Kinds of fields of the configuration file. Every refusal is one sentence that says what is allowed. */

const maxAmountNanos = parseMoney(maxAmount) ?? 0n

/** A map with known fields; a field that is not known is a fault that names those that are. */
export function section<Shape extends z.core.$ZodShape>(shape: Shape) {
  const known = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === 'unrecognized_keys' ? `is not known here; known are: ${known}` : `must be a map with: ${known}`,
  })
}

export interface Names {
  readonly pattern: RegExp
  readonly most: number
  /** What the pattern allows, in words. */
  readonly rule: string
}

/** A map from names of the operator's choice. */
export function named<Value extends z.core.$ZodType>({ pattern, most, rule }: Names, value: Value) {
  const name = z.string().regex(pattern, { error: `is not a usable name: ${rule}` })
  const error = `must be a map of at most ${most} names`
  return z.record(name, value, { error }).refine((map) => Object.keys(map).length <= most, { error })
}

/** A whole number. Also takes digits in a string, which is what a reference to the environment gives. */
export function whole(least: number, most: number) {
  const error = `must be a whole number from ${least} to ${most}`
  const digits = (value: unknown): unknown =>
    typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  const number = z.number({ error }).int({ error }).min(least, { error }).max(most, { error })
  return z.preprocess(digits, number)
}

/** A whole number that may be left out. */
export function wholeOr(fallback: number, least: number, most: number) {
  return whole(least, most).default(fallback).describe(`Default: ${fallback}`)
}

export function oneOf<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, { error: `must be one of: ${words.join(', ')}` })
}

export function text(pattern: RegExp, error: string) {
  return z.string({ error }).regex(pattern, { error })
}

/** The decimal that a person wrote, as nano-units; undefined where it is none. YAML reads 0.0000001 as 1e-7. */
export function decimal(value: string | number): bigint | undefined {
  if (typeof value === 'string') return parseMoney(value)
  const plain = Math.abs(value) < 1e-6 ? value.toFixed(9) : String(value)
  return Number(plain) === value ? parseMoney(plain) : undefined
}

/** What an amount must be, in words. */
export function amountRule(what: string): string {
  return `must be ${what} from 0 to ${maxAmount} with at most nine decimals, such as "0.15"`
}

export function amount(what: string) {
  const error = amountRule(what)
  const fits = (value: string | number): boolean => {
    const nanos = decimal(value)
    return nanos !== undefined && nanos >= 0n && nanos <= maxAmountNanos
  }
  return z
    .union([z.string(), z.number()], { error })
    .refine(fits, { error })
    .transform((value) => decimal(value) ?? 0n)
}

/** A percentage with at most four decimals as parts per million; undefined where it is none from 0 to `most`. */
function parts(value: string | number, most: number): number | undefined {
  const nanos = decimal(value)
  if (nanos === undefined || nanos < 0n || nanos > BigInt(most) * 1_000_000_000n || nanos % 100_000n !== 0n)
    return undefined
  return Number(nanos / 100_000n)
}

export function percent(most: number) {
  const error = `must be a percentage from 0 to ${most} with at most four decimals`
  return z
    .union([z.string(), z.number()], { error })
    .refine((value) => parts(value, most) !== undefined, { error })
    .transform((value) => parts(value, most) ?? 0)
}

/** `TOK` is what packages count in, and no money. */
export const currency = text(/^(?!TOK)[A-Z]{3}$/, 'must be a currency of three capital letters, such as USD')
