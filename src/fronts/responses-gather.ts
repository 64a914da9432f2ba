import type { Call, Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { Gatherer } from './front.ts'
import { endOf, responseOf } from './responses-answer.ts'

/** 32 MiB of events: a text answer of a million tokens has some 5 million characters. */
const defaultMaxBytes = 32 * 1024 * 1024
const maxItems = 4_096

/** An item as it grows: its texts in pieces, because there may be thousands. */
interface Growing {
  item: JsonObject
  isDone: boolean
  readonly texts: Map<string, string[]>
}

interface State {
  response: JsonObject
  isEnded: boolean
  readonly items: Map<number, Growing>
  bytes: number
}

/** Makes a response out of its events: the last one repeats all of it, and where it is missing, what came until then. */
export function createResponseGatherer(call: Call, maxBytes: number = defaultMaxBytes): Gatherer {
  const state: State = { response: {}, isEnded: false, items: new Map(), bytes: 0 }
  return {
    add({ data }: ServerEvent) {
      state.bytes += data.length
      if (state.bytes > maxBytes)
        throw new GatewayError('vendor_error', 'The vendor sent more than one answer can hold.')
      const event = parseJson(data)
      if (isObject(event)) take(state, event)
    },
    body: (finish) => bodyOf(state, call, finish),
  }
}

const ends: ReadonlySet<Json | undefined> = new Set(['response.completed', 'response.incomplete', 'response.failed'])

function take(state: State, event: JsonObject): void {
  const { type, response, item, output_index: index } = event
  if (isObject(response)) {
    state.response = response
    state.isEnded = ends.has(type)
    return
  }
  const at = typeof index === 'number' ? index : 0
  if (isObject(item)) {
    const known = growingAt(state, at)
    known.item = item
    known.isDone = type === 'response.output_item.done'
  } else if (typeof event['delta'] === 'string') grow(state, at, event)
}

function growingAt({ items }: State, at: number): Growing {
  const known = items.get(at)
  if (known) return known
  if (items.size >= maxItems) throw new GatewayError('vendor_error', `The vendor sent more than ${maxItems} items.`)
  const growing = { item: {}, isDone: false, texts: new Map() }
  items.set(at, growing)
  return growing
}

/** Where the deltas of an event go in an item that was not finished. */
const places: Readonly<Record<string, string>> = {
  'response.output_text.delta': 'output_text',
  'response.refusal.delta': 'refusal',
  'response.reasoning_summary_text.delta': 'summary_text',
  'response.reasoning_text.delta': 'reasoning_text',
  'response.function_call_arguments.delta': 'arguments',
  'response.custom_tool_call_input.delta': 'input',
}

function grow(state: State, at: number, { type, delta }: JsonObject): void {
  const name = stringOf(type)
  const place = Object.hasOwn(places, name) ? places[name] : undefined
  if (place === undefined) return
  const { texts } = growingAt(state, at)
  const pieces = texts.get(place) ?? []
  texts.set(place, pieces)
  pieces.push(stringOf(delta))
}

/** What there is of an item whose end never came. */
function partial({ item, texts }: Growing): JsonObject {
  const text = (place: string): string | undefined => texts.get(place)?.join('')
  const parts = (place: string, name: string, more: JsonObject = {}): readonly JsonObject[] => {
    const said = text(place)
    return said === undefined ? [] : [{ type: place, [name]: said, ...more }]
  }
  const begun = { ...item, ...('status' in item && { status: 'incomplete' }) }
  switch (item['type']) {
    case 'message':
      return {
        ...begun,
        content: [...parts('output_text', 'text', { annotations: [] }), ...parts('refusal', 'refusal')],
      }
    case 'reasoning': {
      const content = parts('reasoning_text', 'text')
      return { ...begun, summary: parts('summary_text', 'text'), ...(content.length > 0 && { content }) }
    }
    case 'function_call':
      return { ...begun, arguments: text('arguments') ?? '' }
    case 'custom_tool_call':
      return { ...begun, input: text('input') ?? '' }
    default:
      return begun
  }
}

function bodyOf({ response, isEnded, items }: State, call: Call, finish: string | undefined): JsonObject {
  const gathered = [...items]
    .toSorted(([a], [b]) => a - b)
    .filter(([, { item }]) => item['type'] !== undefined)
    .map(([, growing]) => (growing.isDone ? growing.item : partial(growing)))
  const told = objectsOf(response['output'])
  const output = isEnded && told.length > 0 ? told : gathered
  const end = isEnded || finish === undefined ? {} : endOf(finish)
  return { ...responseOf(call), ...response, ...end, model: call.model, output }
}
