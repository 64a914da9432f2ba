import { z } from 'zod'
import { isTimeZone, quotaPeriods } from '../core/calendar.ts'
import { globLimits } from '../core/glob.ts'
import { parseTokens } from '../core/tokens.ts'
import { fields, idCursor, line, moment, money, page } from './input.ts'

/** What the admin API takes for grants and quotas. */

const smallest = '0.000000001'
const largest = '1000000000'
/** 10^12 tokens in millionths fit an int8 many times over. */
const mostMicroTokens = parseTokens('1000000000000') ?? 0n

const tokensRule =
  'must be a decimal string of tokens from 0.000001 to 1000000000000 with at most six decimals, such as "1000000"'

function readTokens(text: string): bigint | undefined {
  const micro = parseTokens(text)
  return micro === undefined || micro <= 0n || micro > mostMicroTokens ? undefined : micro
}

const tokens = z
  .string({ error: tokensRule })
  .refine((text) => readTokens(text) !== undefined, { error: tokensRule })
  .transform((text) => readTokens(text) ?? 0n)

const priorityRule = 'must be a whole number from 0 to 100; 0 pays first'
const priority = z
  .number({ error: priorityRule })
  .int({ error: priorityRule })
  .min(0, { error: priorityRule })
  .max(100, { error: priorityRule })

const patternRule = `must be names of models, of which "*" stands for any part: up to ${globLimits.length} printable characters each`
const models = z
  .array(
    z
      .string({ error: patternRule })
      .regex(/^[\x21-\x7e]+$/, { error: patternRule })
      .max(globLimits.length, { error: patternRule }),
    { error: `must be a list of up to ${globLimits.patterns} names of models` },
  )
  .max(globLimits.patterns, { error: `must be a list of up to ${globLimits.patterns} names of models` })

const amount = money({ least: smallest, most: largest })
const defaultPriority = 50

/** Credit is an amount of money; a package is tokens for a price. */
export const newGrant = fields({
  kind: z.enum(['credit', 'package'], { error: 'must be one of: credit, package' }),
  amount: amount.optional(),
  tokens: tokens.optional(),
  price: money({ least: '0', most: largest }).optional(),
  priority: priority.default(defaultPriority),
  models: models.default([]),
  effective_at: moment.optional(),
  expires_at: moment.optional(),
  source: line(1, 200).default('admin'),
  reference: line(1, 200),
}).superRefine((grant, context) => {
  const isPackage = grant.kind === 'package'
  const needed = isPackage ? (['tokens', 'price'] as const) : (['amount'] as const)
  const unfit = isPackage ? (['amount'] as const) : (['tokens', 'price'] as const)
  for (const name of needed) if (grant[name] === undefined) fault(context, name, `must be given for a ${grant.kind}`)
  for (const name of unfit) if (grant[name] !== undefined) fault(context, name, `is not for a ${grant.kind}`)
  if (grant.expires_at !== undefined && grant.effective_at !== undefined && grant.expires_at <= grant.effective_at)
    fault(context, 'expires_at', 'must be after effective_at')
})
export type NewGrant = z.output<typeof newGrant>

const zoneRule = 'must be the IANA name of a time zone, such as "Europe/Berlin"'

/** A quota is of money or of tokens. */
export const newQuota = fields({
  amount: amount.optional(),
  tokens: tokens.optional(),
  period: z.enum(quotaPeriods, { error: `must be one of: ${quotaPeriods.join(', ')}` }),
  anchor: moment.optional(),
  time_zone: z
    .string({ error: zoneRule })
    .max(64, { error: zoneRule })
    .refine(isTimeZone, { error: zoneRule })
    .default('UTC'),
  priority: priority.default(defaultPriority),
  models: models.default([]),
  reference: line(1, 200),
}).superRefine((quota, context) => {
  if ((quota.amount === undefined) === (quota.tokens === undefined))
    fault(context, 'amount', 'or tokens must be given, and not both')
})
export type NewQuota = z.output<typeof newQuota>

export const quotaChange = fields({
  amount: amount.optional(),
  tokens: tokens.optional(),
  priority: priority.optional(),
  models: models.optional(),
  active: z.boolean({ error: 'must be true or false' }).optional(),
})
export type QuotaChange = z.output<typeof quotaChange>

export const grantsQuery = fields({ ...page, cursor: idCursor })

interface Faults {
  addIssue(issue: { readonly code: 'custom'; readonly path: PropertyKey[]; readonly message: string }): void
}

function fault(context: Faults, name: string, message: string): void {
  context.addIssue({ code: 'custom', path: [name], message })
}
