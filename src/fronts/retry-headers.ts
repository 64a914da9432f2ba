import type { GatewayError } from '../core/errors.ts'
import { limitHeaders } from '../core/rate-limit.ts'

/** What SDKs obey of `retry-after`; after a longer one they fall back to a second or less, and hammer. */
const longestObeyedMs = 60_000
/** For a refusal that a retry can cure but that names no time: clients without one never try again. */
const defaultRetryAfterMs = 1000

/** SDKs retry by status alone, so a refusal that will stand says so, and one that may pass says when. */
export function retryHeaders({ status, retryable, retryAfterMs, left }: GatewayError): Record<string, string> {
  const headers: Record<string, string> = { ...(left && limitHeaders(left)) }
  const waitMs = retryAfterMs ?? (status === 429 || status === 503 ? defaultRetryAfterMs : undefined)
  if (retryable && waitMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(waitMs / 1000)))
  }
  const wouldRetry = status === 408 || status === 409 || status === 429 || status >= 500
  if (wouldRetry && (!retryable || (waitMs ?? 0) > longestObeyedMs)) headers['x-should-retry'] = 'false'
  return headers
}
