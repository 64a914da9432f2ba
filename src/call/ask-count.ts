import type { Call, Target } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { Platform } from '../ports.ts'
import { reachOf, type Reach } from './try.ts'
import { AttemptFailed, callVendor, type VendorCall } from './vendor-answer.ts'

/** A count that takes longer is not waited for: ours is there at once. */
const countMs = 5_000

export interface CountRequest {
  readonly call: Call
  readonly target: Target
  readonly signal: AbortSignal
}

/** What a target's vendor says that a prompt counts; undefined where it has no way to say it, or did not. */
export async function askCount(platform: Platform, request: CountRequest): Promise<number | undefined> {
  const { signal } = request
  const reach = reachOf(platform, request.target)
  const counting = reach?.vendor.counting
  const asked = reach && countCall(reach, request)
  if (!counting || !asked || signal.aborted) return undefined
  const trying = callVendor(platform, asked)
  const abort = () => trying.abort()
  signal.addEventListener('abort', abort)
  try {
    const answer = await trying.answer
    if (answer.kind === 'body') return counting.tokens(answer.body)
    answer.abort()
    return undefined
  } catch (error) {
    if (error instanceof AttemptFailed) return undefined
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** The vendor with its way of counting in place of its way of answering; undefined where it cannot be asked. */
function countCall({ vendor, entry, apiKey }: Reach, { call, target }: CountRequest): VendorCall | undefined {
  if (!vendor.counting) return undefined
  const { connectMs, ...limits } = entry.limits
  const totalMs = Math.min(limits.totalMs, countMs)
  try {
    const access = { baseUrl: entry.baseUrl, apiKey, connectMs: Math.min(connectMs, countMs) }
    return {
      vendor: { ...vendor, parser: () => undefined, reply: () => ({ text: '' }) },
      request: vendor.counting.request(call, target, access),
      limits: { ...entry.limits, totalMs },
      reading: { call, translates: !vendor.speaks.includes(call.dialect) },
    }
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}
