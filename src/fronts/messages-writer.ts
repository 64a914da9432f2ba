import type { Call, JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { finishOf, isObject, objectsOf, stringOf } from '../core/wire.ts'
import type { Writer } from './front.ts'
import {
  citationOf,
  emptyMessage,
  opaqueData,
  reasoningOf,
  signatureOf,
  spokenOf,
  stopReason,
  thoughtText,
  usageOf,
} from './messages-answer.ts'
import { cutDelta, eventOf, messageStop } from './messages-events.ts'
import { createToolQueue, type ToolQueue, type ToolStep } from './messages-tools.ts'

/** The block that is open, of which there is one at a time. */
type Block = { readonly kind: 'text' | 'tool' } | { readonly kind: 'thought'; detail: JsonObject | undefined }

interface State {
  readonly call: Call
  readonly out: Uint8Array[]
  readonly tools: ToolQueue
  /** The index of the block that is open, or of the next one. */
  index: number
  block: Block | undefined
  isBegun: boolean
  finish: string | undefined
}

/** Inner chunks as the events of a message: blocks one after the other, their indexes without a gap. */
export function createWriter(call: Call): Writer {
  const state: State = {
    call,
    out: [],
    tools: createToolQueue(),
    index: 0,
    block: undefined,
    isBegun: false,
    finish: undefined,
  }
  return {
    write(chunk) {
      begin(state)
      // A caller of this dialect can only ask for one answer.
      const [choice] = objectsOf(chunk['choices'])
      if (choice) take(state, choice)
      return taken(state)
    },
    close(usage) {
      begin(state)
      endAll(state)
      const reason = stopReason(state.finish, state.tools.count() > 0)
      send(state, 'message_delta', { delta: { stop_reason: reason, stop_sequence: null }, usage: usageOf(usage) })
      state.out.push(messageStop)
      return taken(state)
    },
    cut() {
      begin(state)
      endAll(state)
      state.out.push(cutDelta)
      return taken(state)
    },
  }
}

function taken({ out }: State): Uint8Array {
  return out.length === 0 ? new Uint8Array(0) : concat(out.splice(0))
}

function send({ out }: State, type: string, fields: JsonObject): void {
  out.push(eventOf(type, fields))
}

function begin(state: State): void {
  if (state.isBegun) return
  state.isBegun = true
  send(state, 'message_start', { message: emptyMessage(state.call) })
}

function take(state: State, choice: JsonObject): void {
  const delta = isObject(choice['delta']) ? choice['delta'] : {}
  think(state, delta)
  speak(state, spokenOf(delta))
  for (const annotation of objectsOf(delta['annotations'])) cite(state, annotation)
  const calls = objectsOf(delta['tool_calls'])
  for (const piece of calls) for (const step of state.tools.add(piece)) useTool(state, step)
  const finish = finishOf(choice)
  if (finish === undefined) return
  state.finish = finish
  endAll(state)
}

function open(state: State, block: Block, content: JsonObject): void {
  state.block = block
  send(state, 'content_block_start', { index: state.index, content_block: content })
}

function say(state: State, delta: JsonObject): void {
  send(state, 'content_block_delta', { index: state.index, delta })
}

/** Ends the block that is open. What signs a thought is known when all of it was said. */
function endBlock(state: State): void {
  const { block } = state
  if (!block) return
  const signature = block.kind === 'thought' && block.detail ? signatureOf(block.detail) : ''
  if (signature !== '') say(state, { type: 'signature_delta', signature })
  send(state, 'content_block_stop', { index: state.index })
  state.block = undefined
  state.index++
}

function endAll(state: State): void {
  for (const step of state.tools.end()) useTool(state, step)
  endBlock(state)
}

function think(state: State, delta: JsonObject): void {
  const details = objectsOf(delta['reasoning_details'])
  for (const detail of details) thinkItem(state, detail)
  const shown = reasoningOf(delta)
  if (shown === '' || details.some((detail) => thoughtText(detail) !== '')) return
  const { block } = state
  if (block?.kind !== 'thought' || block.detail) openThought(state, undefined)
  say(state, { type: 'thinking_delta', thinking: shown })
}

function openThought(state: State, detail: JsonObject | undefined): void {
  for (const step of state.tools.end()) useTool(state, step)
  endBlock(state)
  open(state, { kind: 'thought', detail }, { type: 'thinking', thinking: '', signature: '' })
}

function thinkItem(state: State, detail: JsonObject): void {
  if (detail['type'] === 'reasoning.encrypted') return thinkHidden(state, detail)
  const { block } = state
  if (block?.kind === 'thought' && isSame(block.detail, detail)) block.detail = { ...block.detail, ...said(detail) }
  else openThought(state, detail)
  const text = thoughtText(detail)
  if (text !== '') say(state, { type: 'thinking_delta', thinking: text })
}

/** A piece goes on with the item of its index. */
function isSame(begun: JsonObject | undefined, piece: JsonObject): boolean {
  return begun !== undefined && begun['index'] === piece['index'] && begun['type'] === piece['type']
}

/** The fields of a piece that say something. */
function said(detail: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(detail).filter(([, value]) => value !== null && value !== ''))
}

function thinkHidden(state: State, detail: JsonObject): void {
  for (const step of state.tools.end()) useTool(state, step)
  endBlock(state)
  open(state, { kind: 'text' }, { type: 'redacted_thinking', data: opaqueData(detail) })
  endBlock(state)
}

function speak(state: State, text: string): void {
  if (text === '') return
  if (state.block?.kind !== 'text') openText(state)
  say(state, { type: 'text_delta', text })
}

function openText(state: State): void {
  for (const step of state.tools.end()) useTool(state, step)
  endBlock(state)
  open(state, { kind: 'text' }, { type: 'text', text: '' })
}

/** Sources follow the text that they are for. */
function cite(state: State, annotation: JsonObject): void {
  const citation = citationOf(annotation)
  if (!citation) return
  if (state.block?.kind !== 'text') openText(state)
  say(state, { type: 'citations_delta', citation })
}

function useTool(state: State, step: ToolStep): void {
  if (step.kind === 'end') return endBlock(state)
  if (step.kind === 'input') return say(state, { type: 'input_json_delta', partial_json: step.json })
  endBlock(state)
  open(state, { kind: 'tool' }, { type: 'tool_use', id: stringOf(step.id), name: step.name, input: {} })
}
