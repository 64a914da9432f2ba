import type { Call, Json } from '../core/call.ts'
import { members, replaceValue, setNested } from '../core/json-bytes.ts'
import { type Nanos, printMoney } from '../core/money.ts'
import { frame } from '../core/sse.ts'
import { isObject, parseJson } from '../core/wire.ts'
import type { Passing } from './front.ts'
import { responseOf } from './responses-answer.ts'
import { cutEvent, remember, type Telling, typeOf } from './responses-events.ts'
import { createResponseGatherer } from './responses-gather.ts'
import { unfoldResponse } from './responses-unfold.ts'

const encoder = new TextEncoder()
const nothing = new Uint8Array(0)
const openBrace = 0x7b

/** Events that hold the response, and with it the model's name, and at last usage. */
const lifecycle: ReadonlySet<string> = new Set([
  'response.created',
  'response.queued',
  'response.in_progress',
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.cancelled',
])

/** The bytes of a vendor that speaks this dialect: the model's name is ours, and the last event says what it cost. */
export function createPassing(call: Call): Passing {
  const model = encoder.encode(JSON.stringify(call.model))
  const seen: Seen = { last: nothing, response: nothing, ours: 0 }
  const telling = tellingOf(call, seen)
  remember(call, telling)
  return {
    event({ event, piece }, cost) {
      // "[DONE]", with which some vendors end what has ended.
      if (event.data[0] !== openBrace) return nothing
      const type = typeOf(event)
      const isWhole = lifecycle.has(type)
      const named = isWhole && piece.servedModel !== undefined ? model : undefined
      const payload = isWhole ? edited(event.data, named, piece.usage ? cost : undefined) : event.data
      seen.last = payload
      if (isWhole) seen.response = payload
      if (piece.last) telling.isEnded = true
      return frame(payload, type)
    },
    // Without its last event no answer of this dialect is whole.
    end: nothing,
    cut: () => cutEvent(telling),
    body: (bytes, isNamed) => (isNamed ? replaceValue(bytes, 'model', model) : bytes),
    unfold: unfoldResponse,
    gatherer: () => createResponseGatherer(call),
  }
}

/** What has gone by, unread until a break makes it matter. */
interface Seen {
  last: Uint8Array
  /** The last event that held the response. */
  response: Uint8Array
  /** Events of our own after the vendor's last one. */
  ours: number
}

function tellingOf(call: Call, seen: Seen): Telling {
  return {
    next: () => numberIn(seen.last) + 1 + seen.ours++,
    response() {
      const event = parseJson(seen.response)
      return isObject(event) && isObject(event['response']) ? event['response'] : responseOf(call)
    },
    isEnded: false,
  }
}

function numberIn(payload: Uint8Array): number {
  const event: Json | undefined = parseJson(payload)
  const sequence = isObject(event) ? event['sequence_number'] : undefined
  return typeof sequence === 'number' ? sequence : -1
}

/** The event with another name of the model, and with the cost, in its response. */
function edited(payload: Uint8Array, model: Uint8Array | undefined, cost: Nanos | undefined): Uint8Array {
  const member = members(payload).findLast(({ name }) => name === 'response')
  if (!member || payload[member.valueStart] !== openBrace || (!model && cost === undefined)) return payload
  let response = payload.subarray(member.valueStart, member.valueEnd)
  if (model) response = replaceValue(response, 'model', model)
  if (cost !== undefined) response = setNested(response, ['usage', 'cost'], encoder.encode(printMoney(cost)))
  return replaceValue(payload, 'response', response)
}
