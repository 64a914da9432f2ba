import type { Call, Json, JsonObject } from '../core/call.ts'
import { isObject, stringOf } from '../core/wire.ts'
import { annotationsOf, answerTool, finishOf, inputText, ownFormat, refusalOf, thoughtOf } from './anthropic-blocks.ts'
import { innerChunk, innerToolCall } from './inner-answer.ts'

/** Blocks that are open at once: the vendor opens one after the other. */
const maxOpen = 64
/** Citations of one block. */
const maxCitations = 1_000

/** A block that has begun and not ended. */
interface Open {
  readonly kind: 'text' | 'thinking' | 'tool' | 'answer'
  /** Of a tool its place among the calls, of thinking its place among the details. */
  readonly at: number
  /** Of a text: where it begins in the whole text. */
  readonly start: number
  /** Of a tool: its input so far was empty, and this is what the block began with. */
  pending?: string
  readonly citations: Json[]
}

interface State {
  readonly call: Call
  readonly open: Map<number, Open>
  length: number
  tools: number
  thoughts: number
}

/** The events of one stream as inner chunks. */
export function createChunks(call: Call): (event: JsonObject) => readonly JsonObject[] {
  const state: State = { call, open: new Map(), length: 0, tools: 0, thoughts: 0 }
  return (event) => {
    const deltas = deltasOf(state, event).map((delta) => innerChunk(call, delta))
    const ended = event['type'] === 'message_delta' && isObject(event['delta']) ? event['delta'] : {}
    const reason = stringOf(ended['stop_reason'])
    return reason === '' ? deltas : [...deltas, ending(state, ended, reason)]
  }
}

function ending({ call, tools }: State, ended: JsonObject, reason: string): JsonObject {
  const refusal = refusalOf(ended)
  return innerChunk(call, refusal === '' ? {} : { refusal }, finishOf(reason, tools > 0))
}

function deltasOf(state: State, event: JsonObject): readonly JsonObject[] {
  const { type, index, content_block: block, delta } = event
  if (type === 'message_start') return [{ role: 'assistant', content: '' }]
  const at = typeof index === 'number' ? index : 0
  if (type === 'content_block_start' && isObject(block)) return begun(state, at, block)
  const open = state.open.get(at)
  if (!open) return []
  if (type === 'content_block_delta' && isObject(delta)) return continued(state, open, delta)
  if (type !== 'content_block_stop') return []
  state.open.delete(at)
  return closed(state, open)
}

/** A block of a kind that the inner language has no words for is not opened, so that its deltas are passed over. */
function begun(state: State, index: number, block: JsonObject): readonly JsonObject[] {
  if (state.open.size >= maxOpen) return []
  const open = (kind: Open['kind'], at: number, pending?: string) => {
    const opened = { kind, at, start: state.length, citations: [], ...(pending !== undefined && { pending }) }
    state.open.set(index, opened)
    return opened
  }
  const { type, name, id, input } = block
  if (type === 'text') return continued(state, open('text', 0), { type: 'text_delta', text: block['text'] ?? '' })
  if (type === 'thinking' || type === 'redacted_thinking') return beginThought(state, block, open)
  if (type !== 'tool_use') return []
  if (name === answerTool) {
    open('answer', 0, inputText(input) || '{}')
    return []
  }
  const { at } = open('tool', state.tools, inputText(input) || '{}')
  state.tools++
  return [{ tool_calls: [innerToolCall({ id: stringOf(id), name: stringOf(name), arguments: '' }, at)] }]
}

function beginThought(
  state: State,
  block: JsonObject,
  open: (kind: Open['kind'], at: number) => Open,
): readonly JsonObject[] {
  const { at } = open('thinking', state.thoughts)
  state.thoughts++
  const detail = thoughtOf(block, at)
  const text = stringOf(block['thinking'])
  const isEmpty = block['type'] === 'thinking' && text === '' && stringOf(block['signature']) === ''
  return isEmpty || !detail ? [] : [{ ...(text !== '' && { reasoning_content: text }), reasoning_details: [detail] }]
}

function continued(state: State, open: Open, delta: JsonObject): readonly JsonObject[] {
  const { type, text, thinking, signature, partial_json: json, citation } = delta
  if (type === 'text_delta' && open.kind === 'text') return spoken(state, stringOf(text))
  if (type === 'thinking_delta' && open.kind === 'thinking') return thought(open, stringOf(thinking))
  if (type === 'signature_delta' && open.kind === 'thinking') {
    const detail = {
      type: 'reasoning.text',
      text: '',
      signature: stringOf(signature),
      format: ownFormat,
      index: open.at,
    }
    return [{ reasoning_details: [detail] }]
  }
  if (type === 'input_json_delta') return given(state, open, stringOf(json))
  if (type === 'citations_delta' && isObject(citation) && open.citations.length < maxCitations)
    open.citations.push(citation)
  return []
}

function spoken(state: State, text: string): readonly JsonObject[] {
  state.length += text.length
  return text === '' ? [] : [{ content: text }]
}

function thought(open: Open, text: string): readonly JsonObject[] {
  if (text === '') return []
  const detail = { type: 'reasoning.text', text, format: ownFormat, index: open.at }
  return [{ reasoning_content: text, reasoning_details: [detail] }]
}

function given(state: State, open: Open, json: string): readonly JsonObject[] {
  if (json === '') return []
  delete open.pending
  if (open.kind === 'answer') return spoken(state, json)
  return open.kind === 'tool' ? [{ tool_calls: [{ index: open.at, function: { arguments: json } }] }] : []
}

/** Sources are known when their text is over; a tool without input has said nothing of it until now. */
function closed(state: State, open: Open): readonly JsonObject[] {
  const annotations = annotationsOf(open.citations, { start: open.start, end: state.length })
  return [...given(state, open, open.pending ?? ''), ...(annotations.length > 0 ? [{ annotations }] : [])]
}
