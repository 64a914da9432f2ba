import type { Call, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { callersId } from './callers-id.ts'
import type { Failure, Front, RequestParts } from './front.ts'
import { replyOf } from './responses-answer.ts'
import { failureEvents } from './responses-events.ts'
import { innerRequest } from './responses-inner.ts'
import { createPassing } from './responses-passing.ts'
import { readResponsesRequest } from './responses-request.ts'
import { createWriter } from './responses-writer.ts'
import { retryHeaders } from './retry-headers.ts'

/** OpenAI's responses. What a vendor keeps of them is its own: the gateway keeps nothing. */
export const responses: Front = {
  dialect: 'responses',
  operation: 'chat',
  paths: ['/v1/responses'],
  prefixes: ['/v1/responses'],
  read,
  failure,
  failureEvent: failureEvents,
  reply: replyOf,
  writer: createWriter,
  passing: createPassing,
}

function read(raw: Uint8Array, parts: RequestParts): Call {
  const { maxOutput, ...request } = readResponsesRequest(raw)
  const { inner, beyond } = innerRequest(request.body)
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'responses',
    operation: 'chat',
    ...request,
    inner,
    ...(beyond && { beyond }),
    // In this dialect everybody is told.
    wantsUsage: true,
    ...(maxOutput === undefined ? {} : { maxOutput }),
    choices: 1,
    startedAtMs: parts.startedAtMs,
    ...(clientRequestId === undefined ? {} : { clientRequestId }),
  }
}

function failureBody(error: GatewayError): JsonObject {
  const { message, type, code, param, vendorCode } = error
  return { error: { message, type, param: param ?? null, code: vendorCode ?? code } }
}

function failure(error: GatewayError): Failure {
  return { status: error.status, headers: retryHeaders(error), body: failureBody(error) }
}
