import type { Call, Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, parseJson, stringOf } from '../core/wire.ts'
import type { Gatherer } from './front.ts'
import { emptyMessage, inputOf, stopReason } from './messages-answer.ts'

/** 32 MiB of events: a text answer of a million tokens has some 5 million characters. */
const defaultMaxBytes = 32 * 1024 * 1024
const maxBlocks = 4_096

/** A block as it grows: texts in pieces, because there may be thousands. */
interface Growing {
  readonly start: JsonObject
  readonly texts: Map<string, string[]>
  readonly input: string[]
  readonly citations: Json[]
  signature: string | undefined
}

interface State {
  message: JsonObject
  readonly blocks: Map<number, Growing>
  usage: JsonObject
  bytes: number
}

/** Fields of a delta that go on in the block's field of the same name. */
const growing = ['text', 'thinking', 'content'] as const

/** Makes the body of a message out of its events; every string in it is as it came. */
export function createMessageGatherer(call: Call, maxBytes: number = defaultMaxBytes): Gatherer {
  const state: State = { message: {}, blocks: new Map(), usage: {}, bytes: 0 }
  return {
    add({ data }: ServerEvent) {
      state.bytes += data.length
      if (state.bytes > maxBytes)
        throw new GatewayError('vendor_error', 'The vendor sent more than one answer can hold.')
      const said = parseJson(data)
      if (isObject(said)) take(state, said)
    },
    body: (finish) => bodyOf(state, call, finish),
  }
}

function take(state: State, said: JsonObject): void {
  const { type, message, index, content_block: block, delta } = said
  const at = typeof index === 'number' ? index : 0
  if (type === 'message_start' && isObject(message)) {
    state.message = { ...message, ...state.message }
    tell(state, message['usage'])
  } else if (type === 'content_block_start' && isObject(block)) begin(state, at, block)
  else if (type === 'content_block_delta' && isObject(delta)) grow(state.blocks.get(at), delta)
  else if (type === 'message_delta') {
    // Beside the usage it has what is known at the end only, some of it outside of the delta.
    const { type: _, delta: __, usage, ...rest } = said
    state.message = { ...state.message, ...rest, ...(isObject(delta) ? delta : {}) }
    tell(state, usage)
  }
}

/** Of each number the last one stands. */
function tell(state: State, usage: Json | undefined): void {
  if (!isObject(usage)) return
  const told = Object.entries(usage).filter(([, value]) => value !== null && value !== undefined)
  state.usage = { ...state.usage, ...Object.fromEntries(told) }
}

function begin({ blocks }: State, at: number, start: JsonObject): void {
  if (blocks.size >= maxBlocks && !blocks.has(at))
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxBlocks} blocks.`)
  blocks.set(at, { start, texts: new Map(), input: [], citations: [], signature: undefined })
}

function grow(block: Growing | undefined, delta: JsonObject): void {
  if (!block) return
  for (const field of growing) {
    const text = delta[field]
    if (typeof text === 'string') pieces(block, field).push(text)
  }
  const { partial_json: json, signature, citation } = delta
  if (typeof json === 'string') block.input.push(json)
  if (typeof signature === 'string') block.signature = signature
  if (isObject(citation)) block.citations.push(citation)
}

function pieces({ texts }: Growing, field: string): string[] {
  const known = texts.get(field) ?? []
  texts.set(field, known)
  return known
}

function blockOf({ start, texts, input, citations, signature }: Growing): JsonObject {
  const grown = [...texts].map(([field, parts]) => [field, stringOf(start[field]) + parts.join('')] as const)
  const json = input.join('')
  const before = isList(start['citations']) ? start['citations'] : []
  return {
    ...start,
    ...Object.fromEntries(grown),
    ...(json !== '' && { input: inputOf(json) }),
    ...(signature !== undefined && { signature }),
    ...(citations.length > 0 && { citations: [...before, ...citations] }),
  }
}

function bodyOf({ message, blocks, usage }: State, call: Call, finish: string | undefined): JsonObject {
  const content = [...blocks].toSorted(([a], [b]) => a - b).map(([, block]) => blockOf(block))
  const empty = emptyMessage(call)
  const reason = message['stop_reason'] ?? (finish === undefined ? null : stopReason(finish, false))
  return {
    ...empty,
    ...message,
    model: call.model,
    content,
    stop_reason: reason,
    usage: Object.keys(usage).length > 0 ? usage : (empty['usage'] ?? {}),
  }
}
