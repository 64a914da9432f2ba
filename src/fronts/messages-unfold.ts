import type { JsonObject } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'

const encoder = new TextEncoder()

function eventOf(type: string, fields: JsonObject = {}): ServerEvent {
  return { name: type, data: encoder.encode(JSON.stringify({ type, ...fields })) }
}

/** A whole message as the events of a stream: what has no event of its own comes with the first one. */
export function unfoldMessage(body: JsonObject): readonly ServerEvent[] {
  const { content, stop_reason: reason = null, stop_sequence: sequence = null, stop_details: details, ...top } = body
  const usage = isObject(top['usage']) ? top['usage'] : undefined
  // The count of output is told at the end: clients may add what they hear of it before.
  const begun = usage && { usage: { ...usage, output_tokens: 0 } }
  const message = { ...top, content: [], stop_reason: null, stop_sequence: null, ...begun }
  const delta = {
    stop_reason: reason,
    stop_sequence: sequence,
    ...(details !== undefined && { stop_details: details }),
  }
  return [
    eventOf('message_start', { message }),
    ...objectsOf(content).flatMap(unfoldBlock),
    eventOf('message_delta', { delta, ...(usage && { usage }) }),
    eventOf('message_stop'),
  ]
}

function unfoldBlock(block: JsonObject, index: number): readonly ServerEvent[] {
  const { start, deltas } = partsOf(block)
  return [
    eventOf('content_block_start', { index, content_block: start }),
    ...deltas.map((delta) => eventOf('content_block_delta', { index, delta })),
    eventOf('content_block_stop', { index }),
  ]
}

interface Parts {
  readonly start: JsonObject
  readonly deltas: readonly JsonObject[]
}

/** As clients expect it to grow; blocks that they know no growing of come at once. */
function partsOf(block: JsonObject): Parts {
  const { type, text, thinking, signature, input, citations } = block
  if (type === 'text') {
    const cited = objectsOf(citations).map((citation) => ({ type: 'citations_delta', citation }))
    const start = { ...block, text: '', ...(cited.length > 0 && { citations: [] }) }
    return { start, deltas: [{ type: 'text_delta', text: stringOf(text) }, ...cited] }
  }
  if (type === 'thinking') {
    const thought = { type: 'thinking_delta', thinking: stringOf(thinking) }
    const signed = { type: 'signature_delta', signature: stringOf(signature) }
    return { start: { ...block, thinking: '', signature: '' }, deltas: [thought, signed] }
  }
  // An empty input stands in the start already.
  if (!isObject(input) || Object.keys(input).length === 0) return { start: block, deltas: [] }
  const given = { type: 'input_json_delta', partial_json: JSON.stringify(input) }
  return { start: { ...block, input: {} }, deltas: [given] }
}
