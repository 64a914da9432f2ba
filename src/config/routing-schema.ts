import { z } from 'zod'
import { globLimits } from '../core/glob.ts'
import { modelName, outputTokens, region } from '../core/model-rules.ts'
import { keyPriorities, strategies } from '../core/routing.ts'
import { oneLineKey, vendorKeyText } from '../core/vendor-key-text.ts'
import { decimal, oneOf, section, text, whole } from './fields.ts'
import { prices } from './price-schema.ts'

/** How targets are chosen, and which of our keys serve which calls, as people write it. */

const hourMs = 3_600_000
const dayMs = 24 * hourMs
const maxWeight = 1_000
const maxRetries = 3
const maxFallbacks = 8
const maxScenarios = 50

const percentRule = 'must be a percentage from 0 to 100 with at most four decimals'
/** A share of traffic is no money: here it may be a plain number. */
const share = z
  .union([z.string(), z.number()], { error: percentRule })
  .refine((value) => isShare(value), { error: percentRule })
  .transform((value) => Number(value))

function isShare(value: string | number): boolean {
  const nanos = decimal(value)
  return nanos !== undefined && nanos >= 0n && nanos <= 100_000_000_000n
}

const portion = section({
  target: text(/^[\x21-\x7e]{3,300}$/, 'must name a target as vendor/model'),
  percent: share,
})

const weight = whole(0, maxWeight).default(0)

export const routing = section({
  strategy: oneOf(strategies).optional().describe('How targets are put in order. Default: priority, that of the list'),
  weights: section({ cost: weight, performance: weight, quality: weight })
    .refine(({ cost, performance, quality }) => cost + performance + quality > 0, {
      error: 'must hold at least one weight above 0',
    })
    .optional()
    .describe('What counts how much under the strategy score. Default: cost 40, performance 30, quality 30'),
  canary: portion.optional().describe('This share of the calls is tried at this target first, and no other call'),
  mirror: portion.optional().describe('This share of the calls is sent to this target too; its answers are dropped'),
  explore_percent: share.optional().describe('Calls that look whether another target has become better. Default: 1'),
  retries: whole(0, maxRetries).optional().describe('Rounds over the targets after the first one. Default: 0'),
  hedge_ms: whole(1, hourMs).optional().describe('Without content for so long, a second target is asked too'),
  slow_ms: whole(1, hourMs).optional().describe('A first content that takes longer is slow'),
  fallbacks: z
    .array(text(modelName.pattern, `must be names of models: ${modelName.rule}`), { error: 'must be a list of models' })
    .max(maxFallbacks, { error: `must hold at most ${maxFallbacks} models` })
    .optional()
    .describe('Models that stand in, in this order, where no target of this one answers'),
})

export type GivenRouting = z.output<typeof routing>

/** What may be said of a target beside its name. */
export const targetFields = {
  costs: prices.optional().describe('What the vendor asks of you, in the form of prices'),
  weight: whole(0, maxWeight)
    .optional()
    .describe('Its share under weighted, and what it can carry under least-busy. Default: 1'),
  quality: whole(0, 100).optional().describe('Your mark for its answers. Default: 100'),
  context_tokens: whole(1, outputTokens.most).optional().describe('Tokens of prompt and answer that it takes at most'),
  max_output_tokens: whole(1, outputTokens.most).optional().describe('The longest answer that may be asked of it'),
  timeouts: section({
    connect_ms: whole(1, hourMs).optional(),
    first_byte_ms: whole(1, hourMs).optional(),
    idle_ms: whole(1, hourMs).optional(),
    total_ms: whole(1, dayMs).optional(),
  })
    .optional()
    .describe('Its own time limits. Default, each on its own: those of its vendor'),
}

export const targetOptions = section(targetFields)
export type GivenTarget = z.output<typeof targetOptions>

/** Empty: the key is left out. */
export const secret = text(vendorKeyText.pattern, vendorKeyText.rule).transform(oneLineKey)
const pattern = text(/^[\x21-\x7e]{1,200}$/, 'must be patterns of model names, in which * stands for anything')
const word = text(/^[A-Za-z0-9_.-]{1,64}$/, 'must be words of letters, digits, "_", "." and "-", at most 64')

export const vendorKey = section({
  name: word,
  key: secret,
  models: z
    .array(pattern, { error: 'must be a list of patterns' })
    .max(globLimits.patterns, { error: `must hold at most ${globLimits.patterns} patterns` })
    .optional()
    .describe("Patterns of the vendor's model names. Default: all"),
  scenarios: z
    .array(word, { error: 'must be a list of scenarios' })
    .max(maxScenarios, { error: `must hold at most ${maxScenarios} scenarios` })
    .optional()
    .describe('Only for calls of these scenarios. Default: for every call'),
  priority: oneOf(keyPriorities).optional().describe('Whose calls may use it. Default: normal'),
  region: text(region.pattern, region.error).optional(),
})

export type GivenVendorKey = z.output<typeof vendorKey>
