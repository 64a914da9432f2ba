import { z } from 'zod'
import type { TimeLimits } from '../core/catalog.ts'
import { operations } from '../core/measure.ts'
import {
  maxModels,
  maxTargets,
  modelName,
  outputTokens,
  policyWords,
  region,
  vendorModelName,
} from '../core/model-rules.ts'
import { type Unit, unitNames, units } from '../core/price.ts'
import { parseWeight } from '../core/tokens.ts'
import { addresses } from '../vendors/addresses.ts'
import { alerts } from './alerts-schema.ts'
import { cacheStores, caching, idempotency } from './cache-schema.ts'
import { amount, currency, named, type Names, oneOf, percent, section, text, whole, wholeOr } from './fields.ts'
import { addressRange, limits } from './limits-schema.ts'
import { exchangeRate, prices } from './price-schema.ts'
import { vendorKeySealing } from './sealing-schema.ts'
import { routing, secret, targetFields, vendorKey } from './routing-schema.ts'

/** The configuration file as people write it. Every refusal is one sentence that says what is allowed. */

const hourMs = 3_600_000
const dayMs = 24 * hourMs

/** How long a vendor may take, where nobody says otherwise. Thinking models are slow to begin. */
export const defaultLimits: TimeLimits = { connectMs: 5_000, firstByteMs: 300_000, idleMs: 300_000, totalMs: 1_800_000 }

const vendorNames: Names = {
  pattern: /^[a-z0-9][a-z0-9_-]{0,31}$/,
  most: 100,
  rule: 'a-z, 0-9, "-" and "_", at most 32',
}
const modelNames: Names = { ...modelName, most: maxModels }
const accountNames: Names = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,127}$/,
  most: 10_000,
  rule: 'letters, digits, spaces and . _ @ -, at most 128',
}
const maxKeys = 100
const maxProxies = 1_000
const maxExchangeRates = 100

const policies = section({
  unstreamed: oneOf(policyWords.unstreamed).optional(),
  client_abort: oneOf(policyWords.clientAbort).optional(),
  abort_before_content: oneOf(policyWords.abortBeforeContent).optional(),
})

const vendor = section({
  adapter: oneOf(Object.keys(addresses) as [string, ...string[]]).optional(),
  base_url: text(/^.{1,2048}$/, 'must be the address of the vendor').optional(),
  api_keys: z
    .array(secret, {
      error: 'must be a list of keys; one that is empty is left out, and a vendor without any is off',
    })
    .max(maxKeys, { error: `must hold at most ${maxKeys} keys` })
    .optional(),
  keys: z
    .array(vendorKey, { error: 'must be a list of keys with their names' })
    .max(maxKeys, { error: `must hold at most ${maxKeys} keys` })
    .optional()
    .describe('Keys that are for some calls only, beside those of api_keys'),
  timeouts: section({
    connect_ms: wholeOr(defaultLimits.connectMs, 1, hourMs),
    first_byte_ms: wholeOr(defaultLimits.firstByteMs, 1, hourMs),
    idle_ms: wholeOr(defaultLimits.idleMs, 1, hourMs),
    total_ms: wholeOr(defaultLimits.totalMs, 1, dayMs),
  }).prefault({}),
})

const target = section({
  vendor: text(/^.{1,32}$/, 'must name a vendor of this file'),
  model: text(vendorModelName.pattern, vendorModelName.error),
  region: text(region.pattern, region.error).optional(),
  ...targetFields,
})

const weightRule = 'must be a number of tokens above 0, at most 1000000, with at most six decimals, such as "2.5"'
const weight = z
  .union([z.string(), z.number()], { error: weightRule })
  .refine((value) => parseWeight(String(value)) !== undefined, { error: weightRule })
  .transform((value) => parseWeight(String(value)) ?? 0)
const tokenWeights = Object.fromEntries(
  unitNames.map((unit) => [unit, weight.optional().describe(`Tokens of a package for one of ${units[unit].label}`)]),
) as Record<Unit, z.ZodOptional<typeof weight>>

const model = section({
  targets: z
    .array(target, { error: 'must be a list of targets, best first' })
    .min(1, { error: 'must hold at least one target' })
    .max(maxTargets, { error: `must hold at most ${maxTargets} targets` }),
  operation: oneOf(operations).optional().describe('The only thing it does; without it, whatever it has a price for'),
  prices: prices.optional(),
  free: z.literal(true, { error: 'must be true, or be left out' }).optional(),
  token_weights: section(tokenWeights).optional(),
  max_output_tokens: wholeOr(outputTokens.fallback, 1, outputTokens.most),
  policies: policies.prefault({}),
  routing: routing.optional(),
  cache: caching.optional(),
})

const account = section({
  currency: currency.default('USD'),
  starting_balance: amount('an amount of money').prefault('0'),
  discount_percent: percent(100).prefault(0),
})

export const fileSchema = section({
  server: section({
    host: text(/^[A-Za-z0-9.:_-]{1,255}$/, 'must be an address or a host name').default('0.0.0.0'),
    port: wholeOr(8787, 0, 65_535),
    body_limit_bytes: wholeOr(33_554_432, 1_024, 1_073_741_824),
    shutdown_grace_seconds: wholeOr(25, 0, 3_600),
    trusted_proxies: z
      .array(addressRange, { error: 'must be a list of addresses and ranges' })
      .max(maxProxies, { error: `must hold at most ${maxProxies} ranges` })
      .default([])
      .describe('Whose x-forwarded-for is believed: addresses, and ranges such as 10.0.0.0/8. Default: nobody'),
  }).prefault({}),
  vendors: named(vendorNames, vendor).default({}),
  models: named(modelNames, model).default({}),
  accounts: named(accountNames, account).default({}),
  exchange_rates: z
    .array(exchangeRate, { error: 'must be a list of rates of exchange' })
    .max(maxExchangeRates, { error: `must hold at most ${maxExchangeRates} rates` })
    .default([]),
  defaults: section({
    policies: policies.prefault({}),
    routing: routing.optional(),
    cache: caching.optional(),
  }).prefault({}),
  cache: cacheStores.prefault({}),
  idempotency: idempotency.prefault({}),
  limits: limits.prefault({}),
  keep_alive: section({
    silence_ms: wholeOr(15_000, 0, hourMs).describe(
      'A silence in a stream is broken after this long, with what clients skip; 0: never. Default: 15000',
    ),
    commit_stream_ms: whole(1, hourMs)
      .optional()
      .describe('The status of a stream goes out after this long, before any vendor has answered. Default: never'),
    commit_body_ms: whole(1, hourMs)
      .optional()
      .describe('The same for an answer in one body, with white space ahead of it. Default: never'),
  }).prefault({}),
  alerts: alerts.prefault({}),
  vendor_keys: vendorKeySealing.prefault({}),
  probes: section({
    every_seconds: whole(1, 3_600)
      .optional()
      .describe('How often targets in doubt are asked something. Default: never'),
  }).prefault({}),
  holds: section({
    first_output_tokens: wholeOr(1_024, 1, 1_000_000),
    cap: amount('an amount of money').optional(),
    term_seconds: wholeOr(30, 5, 3_600),
    checkpoint_seconds: wholeOr(2, 1, 60),
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
