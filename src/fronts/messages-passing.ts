import type { Call } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { findMember, replaceValue, setNested } from '../core/json-bytes.ts'
import { printMoney } from '../core/money.ts'
import { frame, type ServerEvent } from '../core/sse.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'
import type { Passing } from './front.ts'
import { cutDelta, eventOf, messageStop } from './messages-events.ts'
import { createMessageGatherer } from './messages-gather.ts'
import { unfoldMessage } from './messages-unfold.ts'

const encoder = new TextEncoder()

/** The bytes of a vendor that speaks this dialect: the model's name is ours, and the last usage says what it cost. */
export function createPassing(call: Call): Passing {
  const model = encoder.encode(JSON.stringify(call.model))
  /** The event that began the block that is open. */
  let begun: Uint8Array | undefined
  return {
    isSteady: true,
    event({ event, piece }, cost) {
      const name = event.name === '' ? typeOf(event) : event.name
      if (name === 'content_block_start') begun = event.data
      if (name === 'content_block_stop') begun = undefined
      // The one event that names a model holds it in the message.
      const named = piece.servedModel === undefined ? event.data : setNested(event.data, ['message', 'model'], model)
      if (cost === undefined || !piece.usage || name !== 'message_delta') return frame(named, name)
      return frame(setNested(named, ['usage', 'cost'], encoder.encode(printMoney(cost))), name)
    },
    end: messageStop,
    cut: () => (begun ? concat([eventOf('content_block_stop', { index: indexOf(begun) }), cutDelta]) : cutDelta),
    body: (bytes, named) => (named ? replaceValue(bytes, 'model', model) : bytes),
    unfold: unfoldMessage,
    gatherer: () => createMessageGatherer(call),
  }
}

/** Clients drop an event without its name, which not every vendor of this dialect sends. */
function typeOf({ data }: ServerEvent): string {
  if (data[0] !== 0x7b) return ''
  const member = findMember(data, 'type')
  const name = member && parseJson(data.subarray(member.valueStart, member.valueEnd))
  return stringOf(name).replace(/[\r\n]/g, '')
}

function indexOf(data: Uint8Array): number {
  const event = parseJson(data)
  return isObject(event) && typeof event['index'] === 'number' ? event['index'] : 0
}
