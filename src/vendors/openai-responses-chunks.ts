import type { Call, JsonObject } from '../core/call.ts'
import { isObject, stringOf } from '../core/wire.ts'
import { innerChunk } from './inner-answer.ts'
import {
  callOf,
  citationOf,
  createTold,
  finishReason,
  itemDelta,
  ownFormat,
  type Told,
} from './openai-responses-items.ts'

/** Items and parts of one answer that are told apart; what comes beyond them is left out. */
const maxPlaces = 4_096

interface State extends Told {
  /** Of each call its place among the calls, by the index of its item. */
  readonly calls: Map<number, number>
  /** Of each part of reasoning its place among the pieces, by item and part. */
  readonly parts: Map<string, number>
  /** Where the part of text that is being told begins in the whole text. */
  partStart: number
}

/** The events of one stream as inner chunks. */
export interface Chunks {
  of(event: JsonObject): readonly JsonObject[]
  /** An item of which nothing was told in pieces, but that it begins; `place` is its index. */
  whole(item: JsonObject, place: number): readonly JsonObject[]
  end(response: JsonObject): readonly JsonObject[]
}

export function createChunks(call: Call): Chunks {
  const state: State = { ...createTold(), calls: new Map(), parts: new Map(), partStart: 0 }
  const chunked = (delta: JsonObject): readonly JsonObject[] =>
    Object.keys(delta).length === 0 ? [] : [innerChunk(call, delta)]
  return {
    of: (event) => chunked(deltaOf(state, event)),
    whole: (item, place) => chunked(wholeDelta(state, item, place)),
    end: (response) => [innerChunk(call, {}, finishReason(response, state.tools > 0))],
  }
}

function deltaOf(state: State, event: JsonObject): JsonObject {
  const { type, delta, item } = event
  const said = stringOf(delta)
  switch (type) {
    case 'response.created':
      return { role: 'assistant', content: '' }
    case 'response.output_item.added':
      return isObject(item) ? begun(state, item, placeOf(event)) : {}
    case 'response.output_item.done':
      return isObject(item) ? sealed(state, item) : {}
    case 'response.content_part.added':
      state.partStart = state.length
      return {}
    case 'response.output_text.delta':
      state.length += said.length
      return said === '' ? {} : { content: said }
    case 'response.refusal.delta':
      return said === '' ? {} : { refusal: said }
    case 'response.output_text.annotation.added':
      return cited(state, event)
    case 'response.reasoning_summary_text.delta':
      return thought(state, event, { type: 'reasoning.summary', summary: said })
    case 'response.reasoning_text.delta':
      return thought(state, event, { type: 'reasoning.text', text: said })
    case 'response.function_call_arguments.delta':
      return given(state, event, { function: { arguments: said } })
    case 'response.custom_tool_call_input.delta':
      return given(state, event, { custom: { input: said } })
    default:
      return {}
  }
}

/** The index of the item that an event speaks of. */
export function placeOf({ output_index: index }: JsonObject): number {
  return typeof index === 'number' ? index : 0
}

function isCall({ type }: JsonObject): boolean {
  return type === 'function_call' || type === 'custom_tool_call'
}

function begun(state: State, item: JsonObject, place: number): JsonObject {
  if (!isCall(item) || state.calls.size >= maxPlaces) return {}
  const index = state.tools++
  state.calls.set(place, index)
  return { tool_calls: [{ ...callOf(item), index }] }
}

function wholeDelta(state: State, item: JsonObject, place: number): JsonObject {
  const index = state.calls.get(place)
  if (index === undefined) return itemDelta(item, state)
  const { function: called, custom } = callOf(item)
  if (isObject(called)) return { tool_calls: [{ index, function: { arguments: called['arguments'] } }] }
  return { tool_calls: [{ index, custom: { input: isObject(custom) ? custom['input'] : '' } }] }
}

function given({ calls }: State, event: JsonObject, more: JsonObject): JsonObject {
  const index = calls.get(placeOf(event))
  return index === undefined || event['delta'] === '' ? {} : { tool_calls: [{ index, ...more }] }
}

function thought(state: State, event: JsonObject, piece: JsonObject): JsonObject {
  const said = stringOf(event['delta'])
  const key = `${placeOf(event)} ${String(event['summary_index'] ?? event['content_index'])} ${String(piece['type'])}`
  const known = state.parts.get(key)
  if (said === '' || (known === undefined && state.parts.size >= maxPlaces)) return {}
  const index = known ?? state.thoughts++
  state.parts.set(key, index)
  const detail = { ...piece, id: stringOf(event['item_id']), format: ownFormat, index }
  return { reasoning_content: said, reasoning_details: [detail] }
}

/** What only the vendor can read of its reasoning comes with the item's end. */
function sealed(state: State, { type, id, encrypted_content: data }: JsonObject): JsonObject {
  if (type !== 'reasoning' || stringOf(data) === '') return {}
  const detail = { type: 'reasoning.encrypted', data: stringOf(data), id: stringOf(id), format: ownFormat }
  return { reasoning_details: [{ ...detail, index: state.thoughts++ }] }
}

function cited({ partStart }: State, { annotation }: JsonObject): JsonObject {
  const annotations = isObject(annotation) ? citationOf(annotation, partStart) : []
  return annotations.length > 0 ? { annotations } : {}
}
