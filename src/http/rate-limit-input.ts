import { z } from 'zod'
import {
  limitAlgorithms,
  limitedThings,
  type LimitWindow,
  limitWindows,
  mostLimit,
  type RateLimit,
} from '../core/rate-limit.ts'
import { fields } from './input.ts'

/** Limits by time as the admin API takes them. */

const windows = Object.keys(limitWindows) as LimitWindow[]
const mostLimits = limitedThings.length * windows.length
const wholeRule = `must be a whole number from 1 to ${mostLimit}`

export const rateLimits = z
  .array(
    fields({
      of: z.enum(limitedThings, { error: `must be one of: ${limitedThings.join(', ')}` }),
      window: z.enum(windows, { error: `must be one of: ${windows.join(', ')}` }),
      limit: z
        .number({ error: wholeRule })
        .int({ error: wholeRule })
        .min(1, { error: wholeRule })
        .max(mostLimit, { error: wholeRule }),
      algorithm: z
        .enum(limitAlgorithms, { error: `must be one of: ${limitAlgorithms.join(', ')}` })
        .default('token_bucket'),
    }),
    { error: 'must be a list of limits' },
  )
  .max(mostLimits, { error: `must hold at most ${mostLimits} limits` })
  .refine(isOncePerWindow, { error: 'must hold at most one limit of requests and one of tokens for each window' })

function isOncePerWindow(limits: readonly RateLimit[]): boolean {
  return new Set(limits.map(({ of, window }) => `${of} ${window}`)).size === limits.length
}
