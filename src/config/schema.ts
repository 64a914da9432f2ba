import { z } from 'zod'
import type { TimeLimits } from '../core/catalog.ts'
import { parseMoney } from '../core/money.ts'
import { units, unitNames, type Unit } from '../core/price.ts'
import { addresses } from '../vendors/addresses.ts'

/** The configuration file as people write it. Every refusal is one sentence that says what is allowed. */

const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** Six digits before the point: with nine behind it, a number of YAML still holds every digit exactly. */
const maxAmount = '999999'
const maxAmountNanos = parseMoney(maxAmount) ?? 0n

/** How long a vendor may take, where nobody says otherwise. Thinking models are slow to begin. */
export const defaultLimits: TimeLimits = { connectMs: 5_000, firstByteMs: 300_000, idleMs: 300_000, totalMs: 1_800_000 }

const vendorNames: Names = {
  pattern: /^[a-z0-9][a-z0-9_-]{0,31}$/,
  most: 100,
  rule: 'a-z, 0-9, "-" and "_", at most 32',
}
const modelNames: Names = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$/,
  most: 10_000,
  rule: 'letters, digits and . _ : / @ + -, at most 128',
}
const accountNames: Names = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,127}$/,
  most: 10_000,
  rule: 'letters, digits, spaces and . _ @ -, at most 128',
}
/** Printable ASCII without a space: what an HTTP header can carry. */
const headerValue = /^[\x21-\x7e]*$/
const maxTargets = 32
const maxKeys = 100

/** A map with known fields; a field that is not known is a fault that names those that are. */
function section<Shape extends z.core.$ZodShape>(shape: Shape) {
  const known = Object.keys(shape).join(', ')
  return z.strictObject(shape, {
    error: ({ code }) =>
      code === 'unrecognized_keys' ? `is not known here; known are: ${known}` : `must be a map with: ${known}`,
  })
}

interface Names {
  readonly pattern: RegExp
  readonly most: number
  /** What the pattern allows, in words. */
  readonly rule: string
}

/** A map from names of the operator's choice. */
function named<Value extends z.core.$ZodType>({ pattern, most, rule }: Names, value: Value) {
  const name = z.string().regex(pattern, { error: `is not a usable name: ${rule}` })
  const error = `must be a map of at most ${most} names`
  return z.record(name, value, { error }).refine((map) => Object.keys(map).length <= most, { error })
}

/** Also takes digits in a string, which is what a reference to the environment gives. */
function whole(least: number, most: number, fallback: number) {
  const error = `must be a whole number from ${least} to ${most}`
  const digits = (value: unknown): unknown =>
    typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  const number = z.number({ error }).int({ error }).min(least, { error }).max(most, { error })
  return z.preprocess(digits, number).default(fallback).describe(`Default: ${fallback}`)
}

function oneOf<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, { error: `must be one of: ${words.join(', ')}` })
}

function text(pattern: RegExp, error: string) {
  return z.string({ error }).regex(pattern, { error })
}

/** The decimal that a person wrote, as nano-units; undefined where it is none. YAML reads 0.0000001 as 1e-7. */
function decimal(value: string | number): bigint | undefined {
  if (typeof value === 'string') return parseMoney(value)
  const plain = Math.abs(value) < 1e-6 ? value.toFixed(9) : String(value)
  return Number(plain) === value ? parseMoney(plain) : undefined
}

function amount(what: string) {
  const error = `must be ${what} from 0 to ${maxAmount} with at most nine decimals, such as "0.15"`
  const fits = (value: string | number): boolean => {
    const nanos = decimal(value)
    return nanos !== undefined && nanos >= 0n && nanos <= maxAmountNanos
  }
  return z
    .union([z.string(), z.number()], { error })
    .refine(fits, { error })
    .transform((value) => decimal(value) ?? 0n)
}

const percent = z
  .union([z.string(), z.number()], { error: 'must be a percentage from 0 to 100 with at most four decimals' })
  .refine((value) => parts(value) !== undefined, {
    error: 'must be a percentage from 0 to 100 with at most four decimals',
  })
  .transform((value) => parts(value) ?? 0)

/** A percentage as parts per million; undefined where it is none. */
function parts(value: string | number): number | undefined {
  const nanos = decimal(value)
  if (nanos === undefined || nanos < 0n || nanos > 100_000_000_000n || nanos % 100_000n !== 0n) return undefined
  return Number(nanos / 100_000n)
}

const currency = text(/^[A-Z]{3}$/, 'must be a currency of three capital letters, such as USD')

const policies = section({
  unstreamed: oneOf(['auto', 'whole', 'gathered']).optional(),
  client_abort: oneOf(['cancel', 'drain', 'void']).optional(),
  abort_before_content: oneOf(['free', 'prompt']).optional(),
})

const unitPrices = Object.fromEntries(
  unitNames.map((unit) => {
    const price = amount(units[unit].per === 'mtok' ? 'a price per million tokens' : 'a price per piece')
    return [unit, price.optional().describe(`For ${units[unit].label}`)]
  }),
) as Record<Unit, z.ZodOptional<ReturnType<typeof amount>>>

const prices = section({
  currency: currency.default('USD'),
  ...unitPrices,
  // Every call counts both, and a count without a price cannot be charged.
  input: amount('a price per million tokens').describe('For input tokens'),
  output: amount('a price per million tokens').describe('For output tokens'),
})

const vendor = section({
  adapter: oneOf(Object.keys(addresses) as [string, ...string[]]).optional(),
  base_url: text(/^.{1,2048}$/, 'must be the address of the vendor').optional(),
  api_keys: z
    .array(
      text(headerValue, 'must be printable ASCII without spaces').max(4096, {
        error: 'must have at most 4096 characters',
      }),
      {
        error: 'must be a list of keys; one that is empty is left out, and a vendor without any is off',
      },
    )
    .max(maxKeys, { error: `must hold at most ${maxKeys} keys` })
    .optional(),
  timeouts: section({
    connect_ms: whole(1, hourMs, defaultLimits.connectMs),
    first_byte_ms: whole(1, hourMs, defaultLimits.firstByteMs),
    idle_ms: whole(1, hourMs, defaultLimits.idleMs),
    total_ms: whole(1, dayMs, defaultLimits.totalMs),
  }).prefault({}),
})

const target = section({
  vendor: text(/^.{1,32}$/, 'must name a vendor of this file'),
  model: text(
    /^[\x21-\x7e]{1,256}$/,
    "must be the vendor's own name of the model: at most 256 characters without spaces",
  ),
  region: text(/^[A-Za-z0-9_-]{1,64}$/, 'must be letters, digits, "-" or "_", at most 64').optional(),
})

const model = section({
  targets: z
    .array(target, { error: 'must be a list of targets, best first' })
    .min(1, { error: 'must hold at least one target' })
    .max(maxTargets, { error: `must hold at most ${maxTargets} targets` }),
  prices: prices.optional(),
  free: z.literal(true, { error: 'must be true, or be left out' }).optional(),
  max_output_tokens: whole(1, 10_000_000, 16_384),
  policies: policies.prefault({}),
})

const account = section({
  currency: currency.default('USD'),
  starting_balance: amount('an amount of money').prefault('0'),
  discount_percent: percent.prefault(0),
})

export const fileSchema = section({
  server: section({
    host: text(/^[A-Za-z0-9.:_-]{1,255}$/, 'must be an address or a host name').default('0.0.0.0'),
    port: whole(0, 65_535, 8787),
    body_limit_bytes: whole(1_024, 1_073_741_824, 33_554_432),
    shutdown_grace_seconds: whole(0, 3_600, 25),
  }).prefault({}),
  vendors: named(vendorNames, vendor).default({}),
  models: named(modelNames, model).default({}),
  accounts: named(accountNames, account).default({}),
  defaults: section({ policies: policies.prefault({}) }).prefault({}),
  holds: section({
    first_output_tokens: whole(1, 1_000_000, 1_024),
    cap: amount('an amount of money').optional(),
    term_seconds: whole(5, 3_600, 30),
    checkpoint_seconds: whole(1, 60, 2),
  }).prefault({}),
})

export type File = z.output<typeof fileSchema>

const fromEnvironment = { type: 'string', pattern: '^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[0-9]+)?\\}$' }

/** The schema for editors. Whole numbers may also be written as a reference to the environment. */
export function jsonSchema(): unknown {
  const { $schema, ...schema } = z.toJSONSchema(fileSchema, { io: 'input' })
  return { $schema, title: 'Configuration of Tollgate', ...(allowReferences(schema) as object) }
}

function allowReferences(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(allowReferences)
  if (typeof part !== 'object' || part === null) return part
  const fields: Record<string, unknown> = Object.fromEntries(
    Object.entries(part).map(([name, value]) => [name, allowReferences(value)]),
  )
  if (fields['type'] !== 'integer') return fields
  const { description, ...number } = fields
  return { description, anyOf: [number, fromEnvironment] }
}
