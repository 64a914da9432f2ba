import type { Call, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { setNested } from '../core/json-bytes.ts'
import { printMoney } from '../core/money.ts'
import { readPrompt, type PromptText } from '../core/prompt.ts'
import { frame } from '../core/sse.ts'
import { readChatRequest } from './chat-request.ts'
import type { Failure, Front, RequestParts } from './front.ts'

/** What SDKs obey of `retry-after`; after a longer one they fall back to a second or less, and hammer. */
const longestObeyedMs = 60_000
/** For a refusal that a retry can cure but that names no time: clients without one never try again. */
const defaultRetryAfterMs = 1000
const encoder = new TextEncoder()

/** OpenAI's chat completions: the inner language itself, so nothing is translated. */
export const chat: Front = {
  dialect: 'chat',
  operation: 'chat',
  read,
  failure,
  failureEvent: (error) => frame(encoder.encode(JSON.stringify(failureBody(error)))),
  cutEvent,
  withCost: (payload, cost) => setNested(payload, ['usage', 'cost'], encoder.encode(printMoney(cost))),
}

function read(raw: Uint8Array, parts: RequestParts): Call {
  const { maxOutput, ...request } = readChatRequest(raw)
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'chat',
    operation: 'chat',
    ...request,
    ...(maxOutput === undefined ? {} : { maxOutput }),
    startedAtMs: parts.startedAtMs,
    ...(clientRequestId === undefined ? {} : { clientRequestId }),
  }
}

/** The caller's own id for the call, where it is fit for a log line and a column. */
function callersId(id: string | undefined): string | undefined {
  return id !== undefined && /^[\x21-\x7e]{1,128}$/.test(id) ? id : undefined
}

/** What there is to count of a call's prompt. */
export function promptText(call: Call): PromptText {
  return readPrompt(call.body)
}

function failureBody(error: GatewayError): JsonObject {
  const { message, type, code, param, vendorCode } = error
  return { error: { message, type, param: param ?? null, code: vendorCode ?? code } }
}

function failure(error: GatewayError): Failure {
  return { status: error.status, headers: retryHeaders(error), body: failureBody(error) }
}

/** SDKs retry by status alone, so a refusal that will stand says so, and one that may pass says when. */
function retryHeaders({ status, retryable, retryAfterMs }: GatewayError): Record<string, string> {
  const headers: Record<string, string> = {}
  const waitMs = retryAfterMs ?? (status === 429 || status === 503 ? defaultRetryAfterMs : undefined)
  if (retryable && waitMs !== undefined) {
    headers['retry-after'] = String(Math.max(1, Math.ceil(waitMs / 1000)))
  }
  const wouldRetry = status === 408 || status === 409 || status === 429 || status >= 500
  if (wouldRetry && (!retryable || (waitMs ?? 0) > longestObeyedMs)) headers['x-should-retry'] = 'false'
  return headers
}

/** One chunk that ends every choice for its length, as a vendor would have done at its own bound. */
function cutEvent(call: Call): Uint8Array {
  const chunk = {
    id: `chatcmpl-${call.id}`,
    object: 'chat.completion.chunk',
    created: Math.floor(call.startedAtMs / 1000),
    model: call.model,
    choices: Array.from({ length: call.choices }, (_, index) => ({ index, delta: {}, finish_reason: 'length' })),
  }
  return frame(encoder.encode(JSON.stringify(chunk)))
}
