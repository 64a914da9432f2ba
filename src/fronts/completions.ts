import type { Call, JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import type { GatewayError } from '../core/errors.ts'
import { removeMembers, replaceValue, setNested } from '../core/json-bytes.ts'
import { printMoney } from '../core/money.ts'
import { frame } from '../core/sse.ts'
import { objectsOf } from '../core/wire.ts'
import { callersId } from './callers-id.ts'
import { baseOf, choiceOf, echoOf, replyOf } from './completions-answer.ts'
import { createCompletionGatherer } from './completions-gather.ts'
import { readCompletionsRequest } from './completions-request.ts'
import type { Failure, Front, Passing, RequestParts, Writer } from './front.ts'
import { retryHeaders } from './retry-headers.ts'

const encoder = new TextEncoder()
const done = frame(encoder.encode('[DONE]'))
const nothing = new Uint8Array(0)
const openBrace = 0x7b

/** OpenAI's completions of a prompt, which came before its conversations. */
export const completions: Front = {
  dialect: 'completions',
  operation: 'chat',
  paths: ['/v1/completions'],
  prefixes: ['/v1/completions'],
  read,
  failure,
  failureEvent: (error) => eventOf(failureBody(error)),
  reply: replyOf,
  writer,
  passing,
}

function eventOf(body: JsonObject): Uint8Array {
  return frame(encoder.encode(JSON.stringify(body)))
}

function read(raw: Uint8Array, parts: RequestParts): Call {
  const clientRequestId = callersId(parts.header('x-request-id'))
  return {
    id: parts.id,
    dialect: 'completions',
    operation: 'chat',
    ...readCompletionsRequest(raw),
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

/** One chunk that ends every choice for its length. */
function cut(call: Call): Uint8Array {
  const choices = Array.from({ length: call.choices }, (_, index) => ({
    text: '',
    index,
    logprobs: null,
    finish_reason: 'length',
  }))
  return eventOf({ ...baseOf(call), choices })
}

/** A vendor's bytes, under the name that was asked for and without usage that nobody asked for. */
function passing(call: Call): Passing {
  const model = encoder.encode(JSON.stringify(call.model))
  const hidden = call.wantsUsage ? ['error'] : ['usage', 'error']
  return {
    isSteady: true,
    event({ event: { data }, piece }, cost) {
      if (piece.last) return done
      if (data[0] !== openBrace) return nothing
      const named = piece.servedModel === undefined ? data : replaceValue(data, 'model', model)
      const payload = removeMembers(named, hidden)
      if (cost === undefined || !piece.usage) return frame(payload)
      return frame(setNested(payload, ['usage', 'cost'], encoder.encode(printMoney(cost))))
    },
    end: done,
    cut: () => cut(call),
    body: (bytes, named) => (named ? replaceValue(bytes, 'model', model) : bytes),
    gatherer: () => createCompletionGatherer(call),
  }
}

/** Inner chunks as chunks of a completion. */
function writer(call: Call): Writer {
  const base = baseOf(call)
  const prompt = echoOf(call)
  /** How much of each choice was told, the prompt that is repeated before it included. */
  const told = new Map<number, number>()
  return {
    write(chunk) {
      const choices = objectsOf(chunk['choices']).flatMap((choice, position) => {
        const index = typeof choice['index'] === 'number' ? choice['index'] : position
        const offset = told.get(index)
        const prefix = offset === undefined ? prompt : ''
        const place = { prefix, offset: offset ?? prompt.length }
        const said = choiceOf({ ...choice, index }, 'delta', place)
        const { text, finish_reason: finish } = said
        if (text === '' && finish === null) return []
        if (told.size < call.choices || told.has(index))
          told.set(index, (offset ?? 0) + (typeof text === 'string' ? text.length : 0))
        return [said]
      })
      return choices.length === 0 ? nothing : eventOf({ ...base, choices })
    },
    close: (usage) => (usage && call.wantsUsage ? concat([eventOf({ ...base, choices: [], usage }), done]) : done),
    cut: () => cut(call),
  }
}
