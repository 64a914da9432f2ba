import type { Call, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { callersId } from './callers-id.ts'
import type { Failure, Front, RequestParts } from './front.ts'
import { replyOf } from './messages-answer.ts'
import { eventOf } from './messages-events.ts'
import { innerRequest } from './messages-inner.ts'
import { models } from './messages-models.ts'
import { createPassing } from './messages-passing.ts'
import { type MessagesRequest, readMessagesRequest, readPromptRequest } from './messages-request.ts'
import { createWriter } from './messages-writer.ts'
import { retryHeaders } from './retry-headers.ts'

/** Anthropic's messages, with the counting of a prompt. */
export const messages: Front = {
  dialect: 'messages',
  operation: 'chat',
  paths: ['/v1/messages'],
  prefixes: ['/v1/messages'],
  idHeader: 'request-id',
  models,
  read: (raw, parts) => callOf(readMessagesRequest(raw), parts),
  failure,
  // The vendor's own, before the first event too.
  ping: eventOf('ping', {}),
  failureEvent: (error, call) => eventOf('error', failureFields(error, call.id)),
  reply: replyOf,
  writer: createWriter,
  passing: createPassing,
  counting: {
    paths: ['/v1/messages/count_tokens'],
    read: (raw, parts) => callOf(readPromptRequest(raw), parts),
    reply: (tokens) => ({ input_tokens: tokens }),
  },
}

function callOf({ maxOutput, ...request }: MessagesRequest, parts: RequestParts): Call {
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'messages',
    operation: 'chat',
    ...request,
    inner: innerRequest(request.body),
    headers: passedHeaders(parts),
    // In this dialect everybody is told.
    wantsUsage: true,
    ...(maxOutput === undefined ? {} : { maxOutput }),
    choices: 1,
    startedAtMs: parts.startedAtMs,
    ...(clientRequestId === undefined ? {} : { clientRequestId }),
  }
}

/** What a header of the caller's may look like to go on to a vendor; longer than all that is in trial at once. */
const passed: Readonly<Record<string, RegExp>> = {
  'anthropic-version': /^\d{4}-\d\d-\d\d$/,
  'anthropic-beta': /^[\w\-.,:= ]{1,2048}$/,
}

function passedHeaders({ header }: RequestParts): Readonly<Record<string, string>> {
  const given = Object.entries(passed).flatMap(([name, form]) => {
    const value = header(name)?.trim()
    return value !== undefined && form.test(value) ? [[name, value] as const] : []
  })
  return Object.fromEntries(given)
}

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/** The kind of an error in this dialect's words. */
function typeOf({ status, code }: GatewayError): string {
  // Nobody is there for the call now, which here is said of a vendor that has too much to do.
  if (code === 'no_target_available' || code === 'overloaded' || code === 'shutting_down') return 'overloaded_error'
  return types[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
}

function failureFields(error: GatewayError, id: string | undefined): JsonObject {
  const { message, code, param, vendorCode } = error
  const details = { error_code: vendorCode ?? code, ...(param !== undefined && { param }) }
  return { error: { type: typeOf(error), message, details }, request_id: id ?? null }
}

function failure(error: GatewayError, id?: string): Failure {
  return {
    status: error.status,
    headers: { ...retryHeaders(error), ...(id !== undefined && { 'request-id': id }) },
    body: { type: 'error', ...failureFields(error, id) },
  }
}
