import type { Call, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { concat } from '../core/concat.ts'
import { removeMembers, replaceValue, setNested } from '../core/json-bytes.ts'
import { type Nanos, printMoney } from '../core/money.ts'
import { frame } from '../core/sse.ts'
import { isObject, objectsOf } from '../core/wire.ts'
import { createGatherer } from './chat-gather.ts'
import { callersId } from './callers-id.ts'
import { models } from './chat-models.ts'
import { readChatRequest } from './chat-request.ts'
import type { Failure, Front, Passing, RequestParts, Writer } from './front.ts'
import { retryHeaders } from './retry-headers.ts'

const encoder = new TextEncoder()
const done = frame(encoder.encode('[DONE]'))
const nothing = new Uint8Array(0)

/** OpenAI's chat completions: the inner language itself, so nothing is translated. */
export const chat: Front = {
  dialect: 'chat',
  operation: 'chat',
  paths: ['/v1/chat/completions'],
  prefixes: ['/'],
  models,
  read,
  failure,
  failureEvent: (error) => event(failureBody(error)),
  reply: (_, inner) => inner,
  writer,
  passing,
}

function event(body: JsonObject): Uint8Array {
  return frame(encoder.encode(JSON.stringify(body)))
}

function read(raw: Uint8Array, parts: RequestParts): Call {
  const { maxOutput, ...request } = readChatRequest(raw)
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'chat',
    operation: 'chat',
    ...request,
    inner: request.body,
    ...(maxOutput === undefined ? {} : { maxOutput }),
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

/** What a chunk of ours has in common with the vendor's, should it have none of these. */
function baseOf(call: Call): JsonObject {
  return {
    id: `chatcmpl-${call.id}`,
    object: 'chat.completion.chunk',
    created: Math.floor(call.startedAtMs / 1000),
    model: call.model,
  }
}

/** One chunk that ends every choice for its length, as a vendor would have done at its own bound. */
function cut(call: Call, base: JsonObject): Uint8Array {
  const choices = Array.from({ length: call.choices }, (_, index) => ({ index, delta: {}, finish_reason: 'length' }))
  return event({ ...base, choices })
}

/** A vendor's bytes, under the name that was asked for and without usage that nobody asked for. */
function passing(call: Call): Passing {
  const model = encoder.encode(JSON.stringify(call.model))
  const hidden = call.wantsUsage ? ['error'] : ['usage', 'error']
  return {
    isSteady: true,
    event({ event: { data: sent }, piece }, cost) {
      if (piece.last) return done
      const data = piece.repaired ?? sent
      const payload =
        data[0] === 0x7b ? edited(data, piece.servedModel === undefined ? undefined : model, hidden) : data
      return frame(cost === undefined || !piece.usage ? payload : setNested(payload, ['usage', 'cost'], costOf(cost)))
    },
    end: done,
    cut: () => cut(call, baseOf(call)),
    body: (bytes, named) => (named ? replaceValue(bytes, 'model', model) : bytes),
    gatherer() {
      const gatherer = createGatherer()
      return { add: gatherer.add, body: (finish) => ({ ...gatherer.body(finish), model: call.model }) }
    },
  }
}

function edited(payload: Uint8Array, model: Uint8Array | undefined, hidden: readonly string[]): Uint8Array {
  return removeMembers(model ? replaceValue(payload, 'model', model) : payload, hidden)
}

function costOf(cost: Nanos): Uint8Array {
  return encoder.encode(printMoney(cost))
}

/** Inner chunks of a vendor that speaks something else: they are what the caller speaks already. */
function writer(call: Call): Writer {
  let base = baseOf(call)
  let closing: JsonObject | undefined
  return {
    write(chunk) {
      const { choices, usage, ...top } = chunk
      base = { ...base, ...top, model: call.model }
      if (objectsOf(choices).length > 0) return event({ ...base, choices })
      if (isObject(usage)) closing = usage
      return nothing
    },
    close(usage) {
      if (!usage || !call.wantsUsage) return done
      // A closing usage in OpenAI's form is told as the vendor has it, with what we do not know of.
      const told = closing && usage['cost'] !== undefined ? { ...closing, cost: usage['cost'] } : (closing ?? usage)
      return concat([event({ ...base, choices: [], usage: told }), done])
    },
    cut: () => cut(call, base),
  }
}
