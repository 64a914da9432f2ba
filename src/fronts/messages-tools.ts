import type { JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { argumentsText, isObject, parseJson, stringOf } from '../core/wire.ts'
import { toolId } from './messages-answer.ts'

/** A tool call on its way to a caller whose blocks come one after the other. */
interface Waiting {
  readonly index: number | undefined
  id: string
  name: string
  /** Arguments that were not sent yet. */
  unsent: string
  /** All of them, in pieces, to see whether they are whole. */
  readonly all: string[]
  /** Pieces at the last look. */
  seen: number
}

/** What is to be sent: a block begins, goes on, or ends. */
export type ToolStep =
  | { readonly kind: 'begin'; readonly id: string; readonly name: string }
  | { readonly kind: 'input'; readonly json: string }
  | { readonly kind: 'end' }

/** Brings the pieces of tool calls, which may be mixed with each other, into one order. */
export interface ToolQueue {
  add(piece: JsonObject): readonly ToolStep[]
  /** Nothing more comes of what has begun. */
  end(): readonly ToolStep[]
  /** Calls so far. */
  count(): number
}

/** SDKs read up to 128. */
const maxCalls = 1_024
/** 32 Mi characters of arguments, over all calls of an answer. */
const maxArguments = 32 * 1024 * 1024
const encoder = new TextEncoder()

interface State {
  /** The first is being sent; the others wait until it is whole. */
  readonly queue: Waiting[]
  isBegun: boolean
  count: number
  size: number
}

export function createToolQueue(): ToolQueue {
  const state: State = { queue: [], isBegun: false, count: 0, size: 0 }
  return {
    add(piece) {
      const called = find(state.queue, piece) ?? begin(state, piece)
      if (!called) return []
      extend(state, called, piece)
      const steps = send(state)
      // Another call has begun, so that the first one may be whole.
      while (state.queue.length > 1 && isWhole(state.queue[0])) steps.push(...finish(state))
      return steps
    },
    end() {
      const steps: ToolStep[] = []
      while (state.queue.length > 0) steps.push(...finish(state))
      return steps
    },
    count: () => state.count,
  }
}

/** The call that a piece continues: that of its id, that of its index unless it begins another, or the last one. */
function find(queue: readonly Waiting[], piece: JsonObject): Waiting | undefined {
  const id = stringOf(piece['id'])
  const { index } = piece
  const sameId = id === '' ? undefined : queue.findLast((called) => called.id === id)
  if (sameId) return sameId
  const isNew = id !== '' && nameOf(piece) !== ''
  if (typeof index === 'number')
    return queue.findLast((called) => called.index === index && !(isNew && called.id !== ''))
  return isNew ? undefined : queue.at(-1)
}

function nameOf({ function: called }: JsonObject): string {
  return isObject(called) ? stringOf(called['name']) : ''
}

/** A piece of nothing that is known says nothing that could be called. */
function begin(state: State, piece: JsonObject): Waiting | undefined {
  if (stringOf(piece['id']) === '' && nameOf(piece) === '') return undefined
  if (state.count >= maxCalls)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxCalls} tool calls.`)
  const { index } = piece
  const called = {
    index: typeof index === 'number' ? index : undefined,
    id: '',
    name: '',
    unsent: '',
    all: [],
    seen: 0,
  }
  state.queue.push(called)
  state.count++
  return called
}

function extend(state: State, called: Waiting, piece: JsonObject): void {
  const { function: named } = piece
  const text = isObject(named) ? argumentsText(named['arguments']) : ''
  called.id ||= stringOf(piece['id'])
  called.name ||= nameOf(piece)
  called.unsent += text
  if (text !== '') called.all.push(text)
  state.size += text.length
  if (state.size > maxArguments)
    throw new GatewayError('vendor_error', 'The vendor sent more arguments of tool calls than one answer can hold.')
}

/** One that has said nothing yet may still: then the others wait until the end. */
function isWhole(called: Waiting | undefined): boolean {
  if (!called || called.name === '' || called.seen === called.all.length) return false
  called.seen = called.all.length
  return parseJson(encoder.encode(called.all.join(''))) !== undefined
}

/** What the first call has to send now; a block cannot begin without its name. */
function send(state: State): ToolStep[] {
  const [first] = state.queue
  if (!first || (first.name === '' && !state.isBegun)) return []
  const steps: ToolStep[] = state.isBegun ? [] : [beginning(state, first)]
  if (first.unsent !== '') steps.push({ kind: 'input', json: first.unsent })
  first.unsent = ''
  return steps
}

function beginning(state: State, { id, name }: Waiting): ToolStep {
  state.isBegun = true
  return { kind: 'begin', id: toolId(id) || `call_${state.count - state.queue.length}`, name }
}

function finish(state: State): ToolStep[] {
  const [first] = state.queue
  if (!first) return []
  const begun: ToolStep[] = state.isBegun ? [] : [beginning(state, first)]
  const rest: ToolStep[] = [...begun, ...send(state), { kind: 'end' }]
  state.queue.shift()
  state.isBegun = false
  return [...rest, ...send(state)]
}
