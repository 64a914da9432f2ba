import { z } from 'zod'
import type { Policies, Catalog } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import {
  maxAmount,
  maxTargets,
  modelName,
  outputTokens,
  policyWords,
  region,
  vendorModelName,
} from '../core/model-rules.ts'
import { freeNanos } from '../core/price-set.ts'
import { unitNames, type Unit } from '../core/price.ts'
import { parseWeight } from '../core/tokens.ts'
import { cacheWords, type Checked, routingWords, targetWords } from '../gateway/stored-routing.ts'
import { currency, fields, idCursor, money, page } from './input.ts'

/** What a model and its prices may be told to be. The bounds are those of the configuration file. */

const tokens = `must be a whole number from 1 to ${outputTokens.most}`

const json = z.json({ error: 'must be JSON' }).optional()

/** Adds the faults of what is written as in the configuration file; it is kept as it came. */
function checkWords(words: Checked, value: unknown, context: z.core.$RefinementCtx): void {
  const read = words.safeParse(value)
  if (read.success) return
  for (const { path, message, keys } of read.error.issues) {
    // A field that is not known is named itself, as everywhere.
    const at = keys ? keys.map((key) => [...path, key]) : [path]
    for (const each of at) context.addIssue({ code: 'custom', path: [...each], message })
  }
}

const routing = z
  .record(z.string(), json, { error: 'must be a JSON object' })
  .superRefine((value, context) => checkWords(routingWords, value, context))

const cache = z
  .record(z.string(), json, { error: 'must be a JSON object' })
  .superRefine((value, context) => checkWords(cacheWords, value, context))

const target = fields({
  vendor: z.string({ error: 'must be the id of a vendor' }),
  model: z.string({ error: vendorModelName.error }).regex(vendorModelName.pattern, { error: vendorModelName.error }),
  region: z.string({ error: region.error }).regex(region.pattern, { error: region.error }).nullish(),
  costs: json,
  weight: json,
  quality: json,
  context_tokens: json,
  timeouts: json,
  max_output_tokens: json,
}).superRefine(({ vendor: _, model: __, region: ___, ...more }, context) => checkWords(targetWords, more, context))

const targets = z
  .array(target, { error: 'must be a list of targets, best first' })
  .min(1, { error: 'must hold at least one target' })
  .max(maxTargets, { error: `must hold at most ${maxTargets} targets` })
  .superRefine((list, context) => {
    const seen = new Set<string>()
    for (const [index, { vendor, model, region: where }] of list.entries()) {
      const identity = JSON.stringify([vendor, model, where ?? null])
      if (seen.has(identity))
        context.addIssue({ code: 'custom', path: [index], message: 'is the same as a target above it' })
      seen.add(identity)
    }
  })

function oneOf<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, { error: `must be one of: ${words.join(', ')}` }).optional()
}

const policies = fields({
  unstreamed: oneOf(policyWords.unstreamed),
  client_abort: oneOf(policyWords.clientAbort),
  abort_before_content: oneOf(policyWords.abortBeforeContent),
}).transform(
  ({ unstreamed, client_abort: clientAbort, abort_before_content: abortBeforeContent }): Partial<Policies> => ({
    ...(unstreamed !== undefined && { unstreamed }),
    ...(clientAbort !== undefined && { clientAbort }),
    ...(abortBeforeContent !== undefined && { abortBeforeContent }),
  }),
)

const weightRule = 'must be a decimal string above "0", at most "1000000", with at most six decimals, such as "2.5"'
const weight = z
  .string({ error: weightRule })
  .refine((text) => parseWeight(text) !== undefined, { error: weightRule })
  .transform((text) => parseWeight(text) ?? 0)
const tokenWeights = fields(
  Object.fromEntries(unitNames.map((unit) => [unit, weight.optional()])) as Record<Unit, z.ZodOptional<typeof weight>>,
)

export const newModel = fields({
  targets,
  max_output_tokens: z
    .number({ error: tokens })
    .int({ error: tokens })
    .min(1, { error: tokens })
    .max(outputTokens.most, { error: tokens })
    .default(outputTokens.fallback),
  token_weights: tokenWeights.optional(),
  policies: policies.default({}),
  routing: routing.default({}),
  cache: cache.default({}),
  disabled: z.boolean({ error: 'must be true or false' }).default(false),
})

export type NewModel = z.output<typeof newModel>

const amount = money({ least: '0', most: maxAmount })
const optionalAmounts = Object.fromEntries(unitNames.map((unit) => [unit, amount.optional()])) as Record<
  Unit,
  z.ZodOptional<typeof amount>
>

const zeroRule = 'is zero: a price of nothing needs "free": true beside "prices"'

export const newPrices = fields({
  currency: currency.default('USD'),
  free: z.boolean({ error: 'must be true or false' }).default(false),
  // Every call counts both, and a count without a price cannot be charged.
  prices: fields({ ...optionalAmounts, input: amount, output: amount }).optional(),
})
  .superRefine(({ free, prices }, context) => {
    const fail = (path: readonly string[], message: string): void =>
      context.addIssue({ code: 'custom', path: [...path], message })
    const zeros = unitNames.filter((unit) => prices?.[unit] === 0n)
    if (prices === undefined && !free)
      fail(['prices'], 'is missing; without it a model costs nothing, which needs "free": true')
    if (!free) for (const unit of zeros) fail(['prices', unit], zeroRule)
    if (free && prices !== undefined && zeros.length === 0) fail(['free'], 'must be false: no price is zero')
  })
  .transform(({ currency: sold, prices = freeNanos }) => ({
    currency: sold,
    nanos: Object.fromEntries(Object.entries(prices).filter(([, price]) => price !== undefined)) as Readonly<
      Partial<Record<Unit, bigint>>
    >,
  }))

export type NewPrices = z.output<typeof newPrices>

export const modelsQuery = fields({
  ...page,
  cursor: z.string().regex(modelName.pattern, { error: 'must be the next_cursor of another page' }).optional(),
})
export const vendorsQuery = fields({
  ...page,
  cursor: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/, { error: 'must be the next_cursor of another page' })
    .optional(),
})
export const historyQuery = fields({ ...page, cursor: idCursor })

/** Throws `invalid_value` for a name that no model can have. */
export function checkName(name: string): void {
  if (!modelName.pattern.test(name))
    throw new GatewayError('invalid_value', `name is not a usable name of a model: ${modelName.rule}.`, {
      param: 'name',
    })
}

/** Vendors that a refusal lists. */
const maxTold = 20

/** Throws `invalid_value` for a target whose vendor this gateway does not know. */
export function checkVendors(wanted: Pick<NewModel, 'targets'>, { vendors }: Catalog): void {
  const index = wanted.targets.findIndex(({ vendor }) => !vendors.has(vendor))
  if (index === -1) return
  const known = [...vendors.keys()].slice(0, maxTold).join(', ') || 'none'
  const param = `targets[${index}].vendor`
  throw new GatewayError('invalid_value', `${param} names no vendor of this gateway; those are: ${known}.`, { param })
}
