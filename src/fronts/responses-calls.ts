import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { parseJson } from '../core/wire.ts'
import { calledOf, type CalledTool, callItem, itemId } from './responses-answer.ts'
import type { Output } from './responses-output.ts'

/** Tells the calls of an answer, whose pieces may be mixed with each other: each is an item of its own. */
export interface CallTellers {
  add(piece: JsonObject): void
  /** Nothing more comes of what has begun. */
  end(status: string): void
}

/** SDKs read up to 128. */
const maxCalls = 1_024
/** 32 Mi characters of arguments, over all calls of an answer. */
const maxArguments = 32 * 1024 * 1024
const encoder = new TextEncoder()

interface Growing {
  readonly theirIndex: Json | undefined
  readonly isCustom: boolean
  callId: string
  name: string
  /** There once the item has begun, for which its name must be known. */
  index: number | undefined
  /** What was not told yet. */
  unsent: string
  readonly pieces: string[]
}

interface State {
  readonly output: Output
  readonly open: Growing[]
  count: number
  size: number
}

export function createCallTellers(output: Output): CallTellers {
  const state: State = { output, open: [], count: 0, size: 0 }
  return {
    add(piece) {
      const called = calledOf(piece)
      const growing = find(state, piece, called) ?? begin(state, piece, called)
      if (!growing) return
      extend(state, growing, called)
      tell(state, growing)
    },
    end(status) {
      for (const growing of state.open.splice(0)) finish(state, growing, status)
    },
  }
}

/** The call that a piece continues: that of its id, that of its index unless it begins another, or the last one. */
function find({ open }: State, { index }: JsonObject, { callId, name }: CalledTool): Growing | undefined {
  const sameId = callId === '' ? undefined : open.findLast((growing) => growing.callId === callId)
  if (sameId) return sameId
  const isNew = callId !== '' && name !== ''
  if (typeof index === 'number')
    return open.findLast((growing) => growing.theirIndex === index && !(isNew && growing.callId !== ''))
  return isNew ? undefined : open.at(-1)
}

/** A piece of nothing that is known says nothing that could be called. */
function begin(state: State, { index }: JsonObject, { isCustom, callId, name }: CalledTool): Growing | undefined {
  if (callId === '' && name === '') return undefined
  if (state.count++ >= maxCalls)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxCalls} tool calls.`)
  // Clients run a call when its item ends: one that is whole need not wait for the others.
  for (const growing of state.open.filter(isWhole)) {
    state.open.splice(state.open.indexOf(growing), 1)
    finish(state, growing, 'completed')
  }
  const growing = { theirIndex: index, isCustom, callId: '', name: '', index: undefined, unsent: '', pieces: [] }
  state.open.push(growing)
  return growing
}

function isWhole({ isCustom, name, pieces }: Growing): boolean {
  return !isCustom && name !== '' && pieces.length > 0 && parseJson(encoder.encode(pieces.join(''))) !== undefined
}

function extend(state: State, growing: Growing, { callId, name, text }: CalledTool): void {
  growing.callId ||= callId
  growing.name ||= name
  state.size += text.length
  if (state.size > maxArguments)
    throw new GatewayError('vendor_error', 'The vendor sent more arguments of tool calls than one answer can hold.')
  if (text === '') return
  growing.unsent += text
  growing.pieces.push(text)
}

/** Tells what of a call was not told yet; `isLast`: even if its name is not known, for it never will be. */
function tell(state: State, growing: Growing, isLast = false): void {
  const { output } = state
  if (growing.index === undefined) {
    if (growing.name === '' && !isLast) return
    growing.index = output.place()
    growing.callId ||= `call_${output.call.id}_${growing.index}`
    output.send('response.output_item.added', {
      output_index: growing.index,
      item: itemOf(output, growing, { text: '', status: 'in_progress' }),
    })
  }
  if (growing.unsent === '') return
  const delta = growing.unsent
  growing.unsent = ''
  output.send(`${eventOf(growing)}.delta`, { ...placeOf(output, growing), delta })
}

function eventOf({ isCustom }: Growing): string {
  return isCustom ? 'response.custom_tool_call_input' : 'response.function_call_arguments'
}

function placeOf({ call }: Output, { isCustom, index = 0 }: Growing) {
  return { item_id: itemId(call, isCustom ? 'ctc' : 'fc', index), output_index: index }
}

function itemOf(output: Output, growing: Growing, { text, status }: { text: string; status: string }): JsonObject {
  const { isCustom, callId, name } = growing
  return callItem(placeOf(output, growing).item_id, { isCustom, callId, name, text }, status)
}

function finish(state: State, growing: Growing, status: string): void {
  tell(state, growing, true)
  const { output } = state
  const text = growing.pieces.join('')
  const { isCustom, name, index = 0 } = growing
  const whole = isCustom ? { input: text } : { name, arguments: text }
  output.send(`${eventOf(growing)}.done`, { ...placeOf(output, growing), ...whole })
  output.done(index, itemOf(output, growing, { text, status }))
}
