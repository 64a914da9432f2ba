import type { Call, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { removeMembers, replaceValue, setNested } from '../core/json-bytes.ts'
import { printMoney } from '../core/money.ts'
import { frame } from '../core/sse.ts'
import { callersId } from './callers-id.ts'
import type { Counting, Failure, Front, Passing, RequestParts, Writer } from './front.ts'
import { bare, createAnswer, wholeAnswer } from './generate-answer.ts'
import { createGatherer } from './generate-gather.ts'
import { modelIn, readCountRequest, readGenerateRequest } from './generate-request.ts'
import { models } from './generate-models.ts'
import { retryHeaders } from './retry-headers.ts'

const encoder = new TextEncoder()
const nothing = new Uint8Array(0)
const openBrace = 0x7b

/** Google's SDKs count prompts under the same paths. */
const counting: Counting = {
  paths: ['/v1beta/models/:call{.+:countTokens}', '/v1/models/:call{.+:countTokens}'],
  read(raw, parts) {
    const model = modelIn(parts.path)
    return { ...callOf(parts, model), ...readCountRequest(raw, model), stream: false, choices: 1 }
  },
  reply: (tokens) => ({ totalTokens: tokens }),
}

/** Google's generateContent: https://ai.google.dev/api/generate-content. Model and method are in the path. */
export const generate: Front = {
  dialect: 'generate',
  operation: 'chat',
  paths: [
    '/v1beta/models/:call{.+:generateContent}',
    '/v1beta/models/:call{.+:streamGenerateContent}',
    '/v1/models/:call{.+:generateContent}',
    '/v1/models/:call{.+:streamGenerateContent}',
  ],
  prefixes: ['/v1beta/'],
  keyInQuery: 'key',
  models,
  read,
  failure,
  failureEvent: (error, call) => sent(call, failureBody(error)),
  // Some of Google's clients take the bytes up to a blank line for JSON behind "data:", and a comment for a broken one.
  ping: encoder.encode('\n'),
  reply: wholeAnswer,
  writer,
  passing,
  counting,
}

/** The part of a call that no body is needed for. Usage comes with every stream of Google's. */
function callOf(parts: RequestParts, model: string) {
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'generate' as const,
    operation: 'chat' as const,
    model,
    wantsUsage: true,
    startedAtMs: parts.startedAtMs,
    ...(clientRequestId === undefined ? {} : { clientRequestId }),
  }
}

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const model = modelIn(parts.path)
  const { maxOutput, ...request } = readGenerateRequest(bytes, model)
  const stream = parts.path.endsWith(':streamGenerateContent')
  const { query } = parts
  return {
    ...callOf(parts, model),
    ...request,
    stream,
    // Without `alt=sse` Google streams the elements of one array.
    ...(stream && { form: query('alt') === 'sse' ? ('sse' as const) : ('array' as const) }),
    ...(maxOutput === undefined ? {} : { maxOutput }),
  }
}

/** Google's words for statuses: https://cloud.google.com/apis/design/errors. */
const words: Readonly<Record<number, string>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  402: 'RESOURCE_EXHAUSTED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  405: 'UNIMPLEMENTED',
  408: 'DEADLINE_EXCEEDED',
  409: 'ABORTED',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  504: 'DEADLINE_EXCEEDED',
}

function wordFor(status: number): string {
  return words[status] ?? (status >= 500 ? 'UNAVAILABLE' : 'INVALID_ARGUMENT')
}

function failure(error: GatewayError): Failure {
  return { status: error.status, headers: retryHeaders(error), body: failureBody(error) }
}

function failureBody(error: GatewayError): JsonObject {
  const { message, status, param, retryAfterMs, retryable } = error
  const violation = param === undefined ? [] : [{ field: param, description: message }]
  const details = [
    detail('ErrorInfo', { reason: (error.vendorCode ?? error.code).toUpperCase(), domain: 'tollgate' }),
    ...(violation.length > 0 ? [detail('BadRequest', { fieldViolations: violation })] : []),
    ...(retryable && retryAfterMs !== undefined
      ? [detail('RetryInfo', { retryDelay: `${Math.max(1, Math.ceil(retryAfterMs / 1000))}s` })]
      : []),
  ]
  return { error: { code: status, message, status: wordFor(status), details } }
}

function detail(type: string, said: JsonObject): JsonObject {
  return { '@type': `type.googleapis.com/google.rpc.${type}`, ...said }
}

/** An event in the form that the caller asked for: a frame, or an element of an array. */
function sent(call: Call, event: JsonObject): Uint8Array {
  return framed(call, encoder.encode(JSON.stringify(event)))
}

function framed({ form }: Call, payload: Uint8Array): Uint8Array {
  return form === 'array' ? payload : frame(payload)
}

function writer(call: Call): Writer {
  const answer = createAnswer(call)
  return {
    write(chunk) {
      const event = answer.add(chunk)
      return event ? sent(call, event) : nothing
    },
    close: (usage) => sent(call, answer.end(usage)),
    cut: () => sent(call, answer.cut()),
  }
}

/** A vendor's bytes, under the name that was asked for. */
function passing(call: Call): Passing {
  const model = encoder.encode(JSON.stringify(call.model))
  return {
    event({ event: { data }, piece }, cost) {
      // Keep-alives of relays are no events.
      if (data[0] !== openBrace) return nothing
      const named = piece.servedModel === undefined ? data : replaceValue(data, 'modelVersion', model)
      const payload = removeMembers(named, ['error'])
      if (cost === undefined || !piece.usage) return framed(call, payload)
      return framed(call, setNested(payload, ['usageMetadata', 'cost'], encoder.encode(printMoney(cost))))
    },
    end: nothing,
    cut() {
      const candidates = Array.from({ length: call.choices }, (_, index) => bare(index, 'MAX_TOKENS'))
      return sent(call, { candidates, modelVersion: call.model, responseId: call.id })
    },
    body: (bytes, named) => (named ? replaceValue(bytes, 'modelVersion', model) : bytes),
    // A body is an event as it stands.
    unfold: (body) => [{ name: '', data: encoder.encode(JSON.stringify(body)) }],
    gatherer: () => createGatherer(call),
  }
}
