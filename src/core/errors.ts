import type { TightestLimits } from './rate-limit.ts'

/** Every error that a caller can see: status, type in OpenAI's words, and whether sending the same again can help. */
const table = {
  invalid_api_key: [401, 'authentication_error', false],
  insufficient_quota: [402, 'insufficient_quota', false],
  permission_denied: [403, 'permission_error', false],
  price_not_configured: [403, 'permission_error', false],
  model_not_found: [404, 'invalid_request_error', false],
  not_found: [404, 'invalid_request_error', false],
  method_not_allowed: [405, 'invalid_request_error', false],
  request_timeout: [408, 'invalid_request_error', true],
  conflict: [409, 'invalid_request_error', false],
  /** A call with the same `Idempotency-Key` has not ended yet. */
  call_in_progress: [409, 'invalid_request_error', true],
  request_too_large: [413, 'invalid_request_error', false],
  unsupported_media_type: [415, 'invalid_request_error', false],
  idempotency_key_reused: [422, 'invalid_request_error', false],
  invalid_json: [400, 'invalid_request_error', false],
  invalid_value: [400, 'invalid_request_error', false],
  context_length_exceeded: [400, 'invalid_request_error', false],
  content_policy: [400, 'invalid_request_error', false],
  /** A vendor refused what the caller sent; its own status and code are kept (see GatewayError.vendor). */
  vendor_refused: [400, 'invalid_request_error', false],
  rate_limit_exceeded: [429, 'rate_limit_error', true],
  credit_held: [429, 'rate_limit_error', true],
  vendor_busy: [429, 'rate_limit_error', true],
  internal: [500, 'server_error', false],
  vendor_error: [502, 'server_error', true],
  no_target_available: [503, 'server_error', true],
  billing_unavailable: [503, 'server_error', true],
  overloaded: [503, 'server_error', true],
  shutting_down: [503, 'server_error', true],
  vendor_timeout: [504, 'server_error', true],
} as const satisfies Record<string, readonly [status: number, type: string, retry: boolean]>

export type ErrorCode = keyof typeof table

export interface ErrorDetails {
  /** The request parameter at fault, in the caller's words. */
  readonly param?: string
  /** Milliseconds after which the same request may succeed; sent as `retry-after` in whole seconds. */
  readonly retryAfterMs?: number
  /** Another status than the table's, where a vendor's own refusal of the caller's request is passed on. */
  readonly status?: number
  /** The vendor's own error code, shown to the caller in place of ours when it is about his request. */
  readonly vendorCode?: string
  /** What is left of the limits by time that bind the caller; sent as `x-ratelimit-*`. */
  readonly left?: TightestLimits
  readonly cause?: unknown
}

/**
 * The only error that callers see. Anything else that is thrown is a bug and is answered as `internal`.
 * The message says what was wrong and what to do; it never holds a secret, a prompt or SQL.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly retryAfterMs: number | undefined
  readonly vendorCode: string | undefined
  readonly left: TightestLimits | undefined
  readonly #status: number | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'GatewayError'
    this.code = code
    this.param = details.param
    this.retryAfterMs = details.retryAfterMs
    this.vendorCode = details.vendorCode
    this.left = details.left
    this.#status = details.status
  }

  /** The HTTP status of the answer. */
  get status(): number {
    return this.#status ?? table[this.code][0]
  }

  /** OpenAI's name for this kind of error. */
  get type(): string {
    return table[this.code][1]
  }

  /** Whether the same request, sent again, may succeed. SDKs are told so, because they retry by status alone. */
  get retryable(): boolean {
    return table[this.code][2]
  }

  /** The error itself if it is one of ours, else `internal` with the original as its cause. */
  static from(caught: unknown): GatewayError {
    if (caught instanceof GatewayError) return caught
    return new GatewayError('internal', 'The gateway failed. The request id names this failure in its log.', {
      cause: caught,
    })
  }
}

/** Missing, malformed, unknown, expired and revoked keys get the same answer to the byte, so that none can be told from another. */
export function invalidKey(): GatewayError {
  return new GatewayError(
    'invalid_api_key',
    'The API key is missing, unknown, expired or revoked. Send a valid one as "Authorization: Bearer <key>".',
  )
}
