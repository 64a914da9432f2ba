import { z } from 'zod'
import { region } from '../core/model-rules.ts'
import { units, unitNames, type Unit } from '../core/price.ts'
import { parseDays, parseMinute } from '../core/rates.ts'
import { amount, currency, decimal, named, oneOf, percent, section, text, whole } from './fields.ts'

/** Prices as people write them. */

export const serviceTiers = ['flex', 'priority', 'batch'] as const
const days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
const maxTiers = 16
const maxWindows = 16
const maxRegions = 32
const maxSpeeds = 8
/** Longer than any prompt. */
const maxBorder = 1_000_000_000
const million = 1_000_000
const maxFactor = 1_000n
const maxMarkup = 10_000

export const tokenPrice = 'a price per million tokens'

const unitPrices = Object.fromEntries(
  unitNames.map((unit) => {
    const price = amount(units[unit].per === 'mtok' ? tokenPrice : 'a price per piece')
    return [unit, price.optional().describe(`For ${units[unit].label}`)]
  }),
) as Record<Unit, z.ZodOptional<ReturnType<typeof amount>>>

const serviceRates = section(
  Object.fromEntries(serviceTiers.map((tier) => [tier, section(unitPrices).optional()])) as Record<
    (typeof serviceTiers)[number],
    z.ZodOptional<ReturnType<typeof section<typeof unitPrices>>>
  >,
)

const tier = section({
  above: whole(1, maxBorder).optional().describe('Holds for prompts of more tokens than this'),
  from: whole(1, maxBorder).optional().describe('Holds for prompts of this many tokens or more'),
  ...unitPrices,
  service_tiers: serviceRates.optional(),
})

const time = z
  .string({ error: 'must be a time of day in UTC such as "16:30"' })
  .refine((value) => parseMinute(value) !== undefined, { error: 'must be a time of day in UTC such as "16:30"' })
  .transform((value) => parseMinute(value) ?? 0)

const window = section({
  from: time,
  to: time,
  days: z
    .array(oneOf(days), { error: `must be a list of days: ${days.join(', ')}` })
    .min(1, { error: 'must hold at least one day' })
    .max(days.length, { error: 'must hold each day once' })
    .transform((names) => parseDays(names) ?? [])
    .optional()
    .describe('Days on which the window begins; without them, every day'),
  ...unitPrices,
})

const factorRule = `must be a multiplier above 0 and up to ${maxFactor} with at most six decimals, such as "1.1"`
const factor = z
  .union([z.string(), z.number()], { error: factorRule })
  .refine((value) => ppm(value) !== undefined, { error: factorRule })
  .transform((value) => ppm(value) ?? million)

/** A multiplier as parts per million; undefined where it is none. */
function ppm(value: string | number): number | undefined {
  const nanos = decimal(value)
  if (nanos === undefined || nanos <= 0n || nanos > maxFactor * 1_000_000_000n || nanos % 1_000n !== 0n)
    return undefined
  return Number(nanos / 1_000n)
}

export const prices = section({
  currency: currency.default('USD'),
  ...unitPrices,
  tiers: z
    .array(tier, { error: 'must be a list of tiers by the length of the prompt' })
    .max(maxTiers, { error: `must hold at most ${maxTiers} tiers` })
    .optional(),
  service_tiers: serviceRates.optional(),
  off_peak: z
    .array(window, { error: 'must be a list of windows' })
    .max(maxWindows, { error: `must hold at most ${maxWindows} windows` })
    .optional(),
  regions: named(
    { pattern: region.pattern, most: maxRegions, rule: 'letters, digits, "-" and "_", at most 64' },
    factor,
  ).optional(),
  speeds: named({ pattern: /^[\w-]{1,64}$/, most: maxSpeeds, rule: 'letters, digits, "-" and "_", at most 64' }, factor)
    .optional()
    .describe('Multipliers of every price per token by the speed that the answer names'),
  markup_percent: percent(maxMarkup).optional().describe('Put on every price of this map when it is published'),
})

export type GivenPrices = z.output<typeof prices>

const rateRule = 'must be how much of the second currency one of the first is worth: above 0, at most nine decimals'

export const exchangeRate = section({
  from: currency,
  to: currency,
  rate: z
    .union([z.string(), z.number()], { error: rateRule })
    .refine((value) => (decimal(value) ?? 0n) > 0n && (decimal(value) ?? 0n) <= 1_000_000_000_000_000n, {
      error: rateRule,
    })
    .transform((value) => decimal(value) ?? 0n),
  version: text(/^[A-Za-z0-9._-]{1,64}$/, 'must name this rate, such as its day: letters, digits, ".", "_" and "-"'),
})
