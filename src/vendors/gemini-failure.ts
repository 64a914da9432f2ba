import type { Json, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { VendorHead } from '../ports.ts'
import { errorInside, failureOf, type TroubleRule } from './failure.ts'
import type { VendorFailure } from './vendor.ts'

/*
 * Errors of Google's APIs: `{"error": {code, message, status, details}}`, on Vertex also as a list of one
 * (https://cloud.google.com/apis/design/errors). They are read as what all other vendors send: the status word as the
 * code, the reason in the details as the type, and the pause that they ask for as a header.
 */

/** The largest recorded one has 2 kB. */
const maxErrorBytes = 64 * 1024
const encoder = new TextEncoder()

const troubles: readonly TroubleRule[] = [
  {
    code: /^(API_KEY_|ACCESS_TOKEN_|ACCOUNT_STATE_|BILLING_DISABLED|CONSUMER_|SERVICE_DISABLED|USER_PROJECT_DENIED)/,
    trouble: 'account',
  },
  // Every answer about a quota speaks of "plan and billing details"; these are about money or will not pass today.
  { status: 429, code: /^(DAILY_QUOTA|NO_QUOTA)$/, trouble: 'account' },
  { status: 429, message: /prepay(ment)? credits|spend(ing)? cap|billing account/i, trouble: 'account' },
  { status: 400, message: /user location is not supported|billing (is|must be|account|has)/i, trouble: 'account' },
  {
    status: 403,
    message: /\b(access|use) the (file|cached ?content)\b|\bcached ?content not found/i,
    trouble: 'request',
  },
  { status: 404, message: /\bcached ?content\b/i, trouble: 'request' },
  { status: 400, message: /(input|prompt) token count .{0,80}exceeds|context (length|window)/i, trouble: 'context' },
]

/** Judges an answer that is an error by its status. */
export function geminiFailure(head: VendorHead, body: Uint8Array): VendorFailure {
  const error = errorIn(body.length <= maxErrorBytes ? parseJson(body) : undefined)
  if (!error) return failureOf(head, body, troubles)
  const retryAfterMs = retryDelayMs(error)
  const headers = retryAfterMs === undefined ? head.headers : { ...head.headers, 'retry-after-ms': retryAfterMs }
  return failureOf({ ...head, headers }, encoder.encode(JSON.stringify(plain(error))), troubles)
}

/** Judges an error that came inside an answer whose status was good. */
export function geminiErrorInside(body: Json): GatewayError {
  const error = errorIn(body)
  return errorInside(error ? plain(error) : body, troubles)
}

function errorIn(body: Json | undefined): JsonObject | undefined {
  const outer = isList(body) ? body[0] : body
  return isObject(outer) && isObject(outer['error']) ? outer['error'] : undefined
}

function plain(error: JsonObject): JsonObject {
  const { code, message, status } = error
  return {
    error: { message: stringOf(message), code: stringOf(status), type: reasonOf(error), status_code: code ?? null },
  }
}

/** One kind of `details`, by the last word of its type. */
function detailsOf({ details }: JsonObject, type: string): readonly JsonObject[] {
  return objectsOf(details).filter((detail) => stringOf(detail['@type']).endsWith(`.${type}`))
}

function reasonOf(error: JsonObject): string {
  const reason = detailsOf(error, 'ErrorInfo').map((detail) => stringOf(detail['reason']))[0] ?? ''
  if (reason !== '') return reason
  const violations = detailsOf(error, 'QuotaFailure').flatMap((detail) => objectsOf(detail['violations']))
  // A quota of a day does not clear while anybody waits, one of zero never does.
  if (violations.some(({ quotaValue }) => quotaValue === '0')) return 'NO_QUOTA'
  return violations.some(({ quotaId }) => stringOf(quotaId).includes('PerDay')) ? 'DAILY_QUOTA' : ''
}

/** `RetryInfo.retryDelay`, a duration such as "34.4s", in milliseconds as a header has it. */
function retryDelayMs(error: JsonObject): string | undefined {
  const delay = stringOf(detailsOf(error, 'RetryInfo')[0]?.['retryDelay'])
  const seconds = /^(\d{1,6}(?:\.\d{1,9})?)s$/.exec(delay)?.[1]
  return seconds === undefined ? undefined : String(Math.ceil(Number(seconds) * 1000))
}
