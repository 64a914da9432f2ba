import type { Call, Json, JsonObject } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, serviceTierOf, stringOf } from '../core/wire.ts'
import { broken, errorInside, type TroubleRule } from './failure.ts'
import { innerCompletion } from './inner-answer.ts'
import { type Chunks, createChunks, placeOf } from './openai-responses-chunks.ts'
import { createTold, finishReason, finishWord, itemDelta, itemText } from './openai-responses-items.ts'
import { usageOf } from './openai-responses-usage.ts'
import type { Piece, ReaderOptions, VendorReply } from './vendor.ts'

const maxModelLength = 256
/** Items of one answer of which it is known whether they have been told in pieces. */
const maxItems = 4_096
const decoder = new TextDecoder()

interface State {
  readonly call: Call
  readonly troubles: readonly TroubleRule[]
  /** Only for a caller who speaks something else. */
  readonly chunks: Chunks | undefined
  /** Items of which something was told, by their indexes. */
  readonly told: Set<number>
}

/** A reader for one stream of the Responses API. It has no usage before its last event. */
export function createResponsesReader(
  troubles: readonly TroubleRule[],
  { call, translates }: ReaderOptions,
): (event: ServerEvent) => Piece {
  const state: State = { call, troubles, chunks: translates ? createChunks(call) : undefined, told: new Set() }
  return (event) => {
    const said = parseJson(event.data)
    // Some vendors end with it after the event that ends the answer; alone it says nothing.
    if (said === undefined && decoder.decode(event.data).trim() === '[DONE]') return withChunks(state, {}, [])
    if (!isObject(said)) return { error: broken('an event that is no JSON object') }
    const { type, response } = said
    if (event.name === 'error' || type === 'error' || (type === undefined && said['error']))
      return { error: errorInside(complaintIn(said), troubles) }
    if (typeof type === 'string' && isObject(response) && ends.has(type)) return endOf(state, response)
    return pieceOf(state, said)
  }
}

const ends: ReadonlySet<string> = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'response.cancelled',
])

/** The error stands in the event, or in a member of it; the event's own type says nothing. */
function complaintIn({ type: _, ...event }: JsonObject): JsonObject {
  return isObject(event['error']) ? { error: event['error'] } : event
}

function withChunks({ chunks }: State, piece: Piece, said: readonly JsonObject[]): Piece {
  return chunks ? { ...piece, chunks: said } : piece
}

function pieceOf(state: State, said: JsonObject): Piece {
  const { type, response, item } = said
  if (isObject(response)) return withChunks(state, servedOf(response), state.chunks?.of(said) ?? [])
  if (type === 'response.output_item.done' && isObject(item) && !state.told.has(placeOf(said)) && itemText(item) !== '')
    return doneAtOnce(state, said, item)
  const text = spokenIn(said)
  if (text !== '' && type !== 'response.output_item.added' && state.told.size < maxItems) state.told.add(placeOf(said))
  return withChunks(state, { ...spoken(text), ...(isContent(said) && { content: true }) }, state.chunks?.of(said) ?? [])
}

/** Some vendors tell an item by its end alone, or a call by its beginning without its arguments. */
function doneAtOnce(state: State, said: JsonObject, item: JsonObject): Piece {
  if (state.told.size < maxItems) state.told.add(placeOf(said))
  return withChunks(state, spoken(itemText(item)), state.chunks?.whole(item, placeOf(said)) ?? [])
}

function spoken(text: string): Piece {
  return text === '' ? {} : { text, content: true }
}

/** What an event says of the answer: a delta of any kind but sound, or the name of a tool. */
function spokenIn({ type, delta, item }: JsonObject): string {
  if (type === 'response.output_item.added') return isObject(item) ? stringOf(item['name']) : ''
  return stringOf(type).endsWith('.delta') && type !== 'response.audio.delta' ? stringOf(delta) : ''
}

/** Items of other kinds than these are something generated before any delta has come. */
const bare: ReadonlySet<Json | undefined> = new Set(['message', 'reasoning'])

function isContent({ type, item }: JsonObject): boolean {
  if (type === 'response.output_item.added') return isObject(item) && !bare.has(item['type'])
  return type === 'response.audio.delta' || type === 'response.image_generation_call.partial_image'
}

/** The last event: it repeats the whole answer and tells usage. */
function endOf(state: State, response: JsonObject): Piece {
  const usage = usageOf(response, state.call.body)
  const told = { ...(usage && { usage }), ...servedOf(response), ...tierOf(response) }
  const error = failureIn(state.troubles, response)
  if (error) return { error, ...told }
  // A vendor that has told nothing until now tells all of it here.
  const items = state.told.size === 0 ? objectsOf(response['output']) : []
  const text = items.map(itemText).join('')
  const said = items.flatMap((item, place) => (itemText(item) === '' ? [] : (state.chunks?.whole(item, place) ?? [])))
  const end = { content: true, finish: finishWord(response), whole: true, last: true } as const
  return withChunks(state, { ...told, ...spoken(text), ...end }, [...said, ...(state.chunks?.end(response) ?? [])])
}

function failureIn(troubles: readonly TroubleRule[], { status, error }: JsonObject): GatewayError | undefined {
  if (status !== 'failed' && status !== 'cancelled') return undefined
  return isObject(error) ? errorInside({ error }, troubles) : broken(`an answer that is ${status}`)
}

function servedOf(response: JsonObject): Pick<Piece, 'servedModel'> {
  const servedModel = stringOf(response['model']).slice(0, maxModelLength)
  return servedModel === '' ? {} : { servedModel }
}

/** "auto" is what was asked for, not what was served. */
function tierOf(response: JsonObject): Pick<Piece, 'serviceTier'> {
  const serviceTier = serviceTierOf(response)
  return serviceTier === undefined || serviceTier === 'auto' ? {} : { serviceTier }
}

/** Reads an unstreamed body; whatever is no response is an error of the vendor, although its status was 200. */
export function readResponse(
  troubles: readonly TroubleRule[],
  body: JsonObject,
  { call, translates }: ReaderOptions,
): VendorReply {
  const error = failureIn(troubles, body) ?? (body['output'] === undefined && body['error'] ? body : undefined)
  if (error !== undefined) return { text: '', error: error instanceof Error ? error : errorInside(error, troubles) }
  if (!isList(body['output'])) return { text: '', error: broken('a body that is not a response') }
  const items = objectsOf(body['output'])
  const usage = usageOf(body, call.body)
  const finish = finishWord(body)
  return {
    text: items.map((item) => (bare.has(item['type']) ? '' : stringOf(item['name'])) + itemText(item)).join(''),
    ...(usage && { usage }),
    ...(finish !== '' && { finish }),
    ...servedOf(body),
    ...tierOf(body),
    ...(translates && { inner: innerOf(call, body, items) }),
  }
}

function innerOf(call: Call, body: JsonObject, items: readonly JsonObject[]): JsonObject {
  const told = createTold()
  const deltas = items.map((item) => itemDelta(item, told))
  const text = (name: string): string => deltas.map((delta) => stringOf(delta[name])).join('')
  const all = (name: string): readonly JsonObject[] => deltas.flatMap((delta) => objectsOf(delta[name]))
  const [content, refusal, reasoning] = [text('content'), text('refusal'), text('reasoning_content')]
  const [calls, details, annotations] = [all('tool_calls'), all('reasoning_details'), all('annotations')]
  const message = {
    content: content === '' ? null : content,
    ...(refusal !== '' && { refusal }),
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(details.length > 0 && { reasoning_details: details }),
    ...(calls.length > 0 && { tool_calls: calls.map(({ index: _, ...called }) => called) }),
    ...(annotations.length > 0 && { annotations }),
  }
  return innerCompletion(call, message, finishReason(body, calls.length > 0))
}
