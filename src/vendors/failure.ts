import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { isList, isObject, parseJson, stringOf } from '../core/wire.ts'
import type { VendorHead } from '../ports.ts'
import type { VendorFailure } from './vendor.ts'

/** What a vendor said about an error, taken out of whichever envelope it uses. All texts are bounded and scrubbed. */
export interface Complaint {
  readonly message: string
  readonly code: string
  readonly type: string
  readonly param: string
  /** A status given inside the body, as errors in mid-stream have it; 0 for none. */
  readonly status: number
}

/** What is wrong, from which follow whose fault it is and what the caller is told. */
export type Trouble =
  | 'account' // our key or our account at the vendor, money included
  | 'model' // the vendor does not know what our configuration names
  | 'busy'
  | 'down'
  | 'context' // the prompt is too long for the model
  | 'policy' // the vendor will not answer such a prompt
  | 'sealed' // encrypted reasoning of an earlier turn that is not the vendor's own
  | 'request' // anything else about the request

/** One line of a vendor's own habits. All conditions that are given must hold; the first rule that fits decides. */
export interface TroubleRule {
  readonly status?: number
  /** Matched against the vendor's code and its type: vendors use either one for the other. */
  readonly code?: RegExp
  readonly message?: RegExp
  readonly trouble: Trouble
}

/** An error body is read up to here; the largest one recorded is under 3 kB. */
const maxErrorBytes = 64 * 1024
const maxMessageLength = 1000
const maxCodeLength = 64
const maxParamLength = 256

/** The longest pause that a vendor may ask for; a longer one is cut to it, and one above a day is taken for a fault. */
const maxRetryAfterMs = 10 * 60_000
const absurdRetryAfterMs = 24 * 3_600_000
/** For a vendor that says it is busy but not for how long. */
const defaultRetryAfterMs = 1000

/** Codes and words that several vendors share; a vendor's own rules come before these. */
const sharedRules: readonly TroubleRule[] = [
  {
    code: /^(insufficient_quota|billing_|account_deactivated|invalid_api_key|invalid_authentication)/i,
    trouble: 'account',
  },
  { code: /^(insufficient|exceeded_current)_?(balance|quota)/i, trouble: 'account' },
  {
    status: 400,
    message: /(incorrect|invalid) api[ -]?key|api[ -]?key (is )?(not valid|invalid)/i,
    trouble: 'account',
  },
  { code: /^context_length_exceeded$/, trouble: 'context' },
  {
    status: 400,
    message: /maximum context length|context window|prompt is too long|input token count .{0,80}exceeds/i,
    trouble: 'context',
  },
  { code: /^content_(filter|policy)/i, trouble: 'policy' },
  { code: /^invalid_encrypted_content$/, trouble: 'sealed' },
  { code: /^(model_not_found|model_not_exist|deployment_?not_?found)$/i, trouble: 'model' },
  { status: 400, message: /^(the )?model\b.{0,120}\b(not exist|not found|not supported by)/i, trouble: 'model' },
  { code: /^(rate_limit|too_?many_?requests)/i, trouble: 'busy' },
  { code: /^(server_error|internal_?(server_)?error|service_?unavailable|overloaded)/i, trouble: 'down' },
]

/** Things that look like a credential or name an account of ours at the vendor. */
const secrets: readonly RegExp[] = [
  /\bBearer\s+[^\s"',]+/gi,
  /\b(?:sk|pk|rk|ak|org|proj)[-_][\w*.-]{3,}/gi,
  /\beyJ[\w-]+\.[\w.-]+/g,
  /\b[A-Za-z0-9_-]{40,}\b/g,
  /(?<=api[ _-]?key(?: provided)?["']?[:=]\s?["']?)[^\s"',]+/gi,
  // A key that the vendor has masked itself still shows its ends.
  /[^\s"',:]{0,80}\*{3,80}[^\s"',:]{0,80}/g,
]

/** A vendor's text made fit to be shown: no credentials, no account names, no control characters, bounded. */
function scrub(text: string, maxLength: number = maxMessageLength): string {
  let clean = text.slice(0, 4 * maxLength)
  for (const secret of secrets) clean = clean.replace(secret, '[redacted]')
  // oxlint-disable-next-line no-control-regex -- control characters are what is taken out
  clean = clean.replace(/[\u0000-\u001f\u007f]+/g, ' ').trim()
  return clean.length > maxLength ? `${clean.slice(0, maxLength - 1)}…` : clean
}

function scalarText(value: Json | undefined, maxLength: number): string {
  return scrub(typeof value === 'number' ? String(value) : stringOf(value), maxLength)
}

function statusIn(...values: readonly (Json | undefined)[]): number {
  const status = values.map((value) => (typeof value === 'string' ? Number(value) : value)).find(isErrorStatus)
  return status ?? 0
}

function isErrorStatus(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 400 && value <= 599
}

/** Reads an error body of any of the shapes that vendors use; what is not there is ''. Never throws. */
function readComplaint(body: Json | undefined): Complaint {
  const outer = isList(body) ? body[0] : body
  if (!isObject(outer)) return { message: '', code: '', type: '', param: '', status: 0 }
  const inner: JsonObject = isObject(outer['error']) ? outer['error'] : outer
  const message = stringOf(inner['message']) || stringOf(outer['error']) || stringOf(inner['detail'])
  return {
    message: scrub(message),
    code: scalarText(inner['code'] ?? outer['code'], maxCodeLength),
    type: scalarText(inner['type'] ?? inner['error_type'] ?? inner['__type'], maxCodeLength),
    param: scalarText(inner['param'], maxParamLength),
    status: statusIn(inner['status_code'], inner['status'], inner['code'], outer['status']),
  }
}

function fits(rule: TroubleRule, status: number, complaint: Complaint): boolean {
  if (rule.status !== undefined && rule.status !== status) return false
  if (rule.code && !rule.code.test(complaint.code) && !rule.code.test(complaint.type)) return false
  return !rule.message || rule.message.test(complaint.message)
}

/** What the status alone says. 404 is our configuration unless it names something else of the request. */
function troubleOfStatus(status: number, complaint: Complaint): Trouble {
  switch (status) {
    case 401:
    case 402:
    case 403:
      return 'account'
    case 404: {
      const names = complaint.param !== '' && complaint.param !== 'model'
      return names || /\b(file|image|item)\b/i.test(complaint.message) ? 'request' : 'model'
    }
    case 405:
    case 410:
      return 'model'
    case 408:
    case 409:
    case 425:
      return 'down'
    case 429:
      return 'busy'
    default:
      return status >= 400 && status < 500 ? 'request' : 'down'
  }
}

/** Classes an error of a vendor; `status` is 0 for one that came inside an answer. */
function troubleOf(status: number, complaint: Complaint, own: readonly TroubleRule[]): Trouble {
  const rule = [...own, ...sharedRules].find((candidate) => fits(candidate, status, complaint))
  // A failing server may name any code: that it failed is sure, unless the code says that the account is at fault.
  if (rule && (status < 500 || rule.trouble === 'account')) return rule.trouble
  return troubleOfStatus(status, complaint)
}

interface Trial {
  readonly status: number
  readonly complaint: Complaint
  readonly trouble: Trouble
  readonly retryAfterMs?: number | undefined
}

function refusal({ status, complaint, trouble }: Trial): GatewayError {
  const given = status >= 400 && status < 500 ? status : 400
  const message = complaint.message || `The vendor refused the request with status ${given} and gave no reason.`
  const param = complaint.param === '' ? {} : { param: complaint.param }
  const vendorCode = complaint.code === '' ? {} : { vendorCode: complaint.code }
  if (trouble === 'context')
    return new GatewayError('context_length_exceeded', message, { param: 'messages', ...param })
  if (trouble === 'policy') return new GatewayError('content_policy', message, { ...param, ...vendorCode })
  return new GatewayError('vendor_refused', message, { ...param, ...vendorCode, status: given })
}

/** What the caller is told of an account of ours that a vendor does not take. */
export function accountRefused(cause: unknown): GatewayError {
  return new GatewayError(
    'no_target_available',
    "The vendor refused the gateway's own account. Its operator has to act; a later try may reach another vendor.",
    { cause },
  )
}

/** The error that the caller gets. Nothing that a vendor says about us or about itself is in it. */
function errorOf(trial: Trial): GatewayError {
  const { status, complaint, trouble, retryAfterMs } = trial
  // For the log: enough to find the case, never the vendor's text, which may quote the prompt.
  const cause = { status, code: complaint.code, trouble }
  switch (trouble) {
    case 'account':
      return accountRefused(cause)
    case 'model':
      return new GatewayError(
        'no_target_available',
        'The vendor does not offer the model that the gateway is set up with. Its operator has to act.',
        { cause },
      )
    case 'busy':
      return new GatewayError(
        'vendor_busy',
        'The vendor takes no more requests from the gateway for the moment. Send the request again later.',
        { cause, retryAfterMs: retryAfterMs ?? defaultRetryAfterMs },
      )
    case 'down': {
      const said = status === 0 ? 'an error instead of an answer' : `status ${status}`
      return new GatewayError(
        'vendor_error',
        `The vendor failed: it sent ${said}.`,
        retryAfterMs === undefined ? { cause } : { cause, retryAfterMs },
      )
    }
    default:
      return refusal(trial)
  }
}

const faults = {
  account: 'account',
  model: 'account',
  busy: 'busy',
  down: 'down',
  context: 'caller',
  policy: 'caller',
  sealed: 'caller',
  request: 'caller',
} as const satisfies Record<Trouble, VendorFailure['fault']>

const abouts: Partial<Record<Trouble, VendorFailure['about']>> = { account: 'key', model: 'model', sealed: 'sealed' }

/** Milliseconds until `retry-after`'s date, by the vendor's own clock; we have no other here. */
function untilDate(text: string, head: VendorHead): number {
  return Date.parse(text) - Date.parse(head.headers['date'] ?? '')
}

/** How long the vendor asks to wait, at most ten minutes; undefined where it does not say or says nonsense. */
function retryAfter(head: VendorHead): number | undefined {
  const { 'retry-after-ms': exact = '', 'retry-after': rough = '' } = head.headers
  const decimal = /^\d{1,12}(\.\d{1,12})?$/
  const candidates = [
    decimal.test(exact) ? Number(exact) : Number.NaN,
    decimal.test(rough) ? Number(rough) * 1000 : /[a-z]{3}/i.test(rough) ? untilDate(rough, head) : Number.NaN,
  ]
  const ms = candidates.find((candidate) => candidate >= 0 && candidate <= absurdRetryAfterMs)
  return ms === undefined ? undefined : Math.min(Math.ceil(ms), maxRetryAfterMs)
}

/** Judges an answer that is an error by its status. */
export function failureOf(head: VendorHead, body: Uint8Array, own: readonly TroubleRule[]): VendorFailure {
  const complaint = readComplaint(body.length <= maxErrorBytes ? parseJson(body) : undefined)
  const trouble = troubleOf(head.status, complaint, own)
  // Some vendors send `retry-after` with every answer: it only means something where waiting can help.
  const retryAfterMs = trouble === 'busy' || trouble === 'down' ? retryAfter(head) : undefined
  const error = errorOf({ status: head.status, complaint, trouble, retryAfterMs })
  const about = abouts[trouble]
  return {
    error,
    fault: faults[trouble],
    ...(about && { about }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

/** The error for an answer of a vendor that cannot be an answer; `what` it sent is named without quoting it. */
export function broken(what: string): GatewayError {
  return new GatewayError('vendor_error', `The vendor sent ${what}.`)
}

/** Judges an error that came inside an answer whose status was good. */
export function errorInside(body: Json | undefined, own: readonly TroubleRule[]): GatewayError {
  const complaint = readComplaint(body)
  const { status } = complaint
  const trouble = troubleOf(status, complaint, own)
  return errorOf({ status, complaint, trouble })
}
