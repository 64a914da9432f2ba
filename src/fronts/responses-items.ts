import type { Beyond, Json, JsonObject } from '../core/call.ts'
import { carriedIn, isCarried } from '../core/carried-thought.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'

/** The reasoning that vendors of this dialect take back. */
export const ownFormat = 'openai-responses'

export interface Conversation {
  readonly messages: readonly JsonObject[]
  readonly beyond: Beyond | undefined
  /** Items that say nothing to another vendor, by their places. */
  readonly left: readonly string[]
}

/** The assistant's turn as it grows: its items come one by one. */
interface Turn {
  readonly parts: JsonObject[]
  readonly refusals: string[]
  readonly thoughts: string[]
  readonly details: JsonObject[]
  readonly calls: JsonObject[]
}

interface State {
  readonly messages: JsonObject[]
  readonly left: string[]
  turn: Turn | undefined
  beyond: Beyond | undefined
}

/** Items that tell of tools which the vendor of that turn ran itself; what came of them stands in its text. */
const ofItsOwn: ReadonlySet<string> = new Set([
  'web_search_call',
  'file_search_call',
  'code_interpreter_call',
  'image_generation_call',
  'mcp_list_tools',
  'mcp_call',
  'tool_search_call',
  'tool_search_output',
])

/** The items of a checked input as messages of the inner language. */
export function conversationOf(input: Json | undefined): Conversation {
  if (!isList(input)) {
    const said = typeof input === 'string' ? [{ role: 'user', content: input }] : []
    return { messages: said, beyond: undefined, left: [] }
  }
  const state: State = { messages: [], left: [], turn: undefined, beyond: undefined }
  for (const [index, item] of objectsOf(input).entries()) take(state, item, `input[${index}]`)
  endTurn(state)
  return state
}

function take(state: State, item: JsonObject, at: string): void {
  const { type, role, call_id: id } = item
  switch (type) {
    case 'message':
    case undefined:
    case null:
      if (role === 'assistant') return addSpoken(state, item)
      endTurn(state)
      state.messages.push({ role: stringOf(role), content: innerContent(item['content']) })
      return
    case 'function_call':
    case 'custom_tool_call':
      turnOf(state).calls.push(callOf(item))
      return
    case 'function_call_output':
    case 'custom_tool_call_output':
      endTurn(state)
      state.messages.push({ role: 'tool', tool_call_id: stringOf(id), content: innerContent(item['output']) })
      return
    case 'reasoning':
      return addThought(state, item)
    default:
      if (ofItsOwn.has(stringOf(type)) || isThoughtReference(item)) state.left.push(at)
      else state.beyond ??= beyondOf(stringOf(type), at)
  }
}

/** Nothing is asked of the model but for what was thought, and an answer can be given without it. */
function isThoughtReference({ type, id }: JsonObject): boolean {
  return type === 'item_reference' && stringOf(id).startsWith('rs_')
}

function beyondOf(type: string, at: string): Beyond {
  if (type === 'item_reference')
    return {
      param: at,
      message: `"${at}" refers to an item that is not kept: this model's vendor stores nothing. Send the item itself, which SDKs do where "store" is false.`,
    }
  return {
    param: `${at}.type`,
    message: `The vendor that serves this model does not take items of the type "${type.slice(0, 64)}".`,
  }
}

function turnOf(state: State): Turn {
  state.turn ??= { parts: [], refusals: [], thoughts: [], details: [], calls: [] }
  return state.turn
}

function endTurn(state: State): void {
  const { turn } = state
  if (!turn) return
  state.turn = undefined
  const { parts, refusals, thoughts, details, calls } = turn
  const [refusal, reasoning] = [refusals.join(''), thoughts.join('')]
  const isMarked = parts.some((part) => part['cache_control'] !== undefined)
  const text = parts.map((part) => stringOf(part['text'])).join('')
  state.messages.push({
    role: 'assistant',
    content: isMarked ? parts : text === '' && (calls.length > 0 || refusal !== '') ? null : text,
    ...(refusal !== '' && { refusal }),
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(details.length > 0 && { reasoning_details: details.map((detail, index) => ({ ...detail, index })) }),
    ...(calls.length > 0 && { tool_calls: calls }),
  })
}

/** What is said after calls belongs to their turn: between them and their results nothing may come. */
function addSpoken(state: State, { content }: JsonObject): void {
  const { turn } = state
  if (turn && turn.calls.length === 0 && (turn.parts.length > 0 || turn.refusals.length > 0)) endTurn(state)
  const { parts, refusals } = turnOf(state)
  if (typeof content === 'string') parts.push({ type: 'text', text: content })
  for (const part of objectsOf(content)) {
    if (part['type'] === 'refusal') refusals.push(stringOf(part['refusal']))
    else parts.push({ type: 'text', text: stringOf(part['text']), ...marked(part) })
  }
}

function callOf({ type, call_id: id, name, arguments: given, input }: JsonObject): JsonObject {
  if (type === 'custom_tool_call')
    return { id: stringOf(id), type: 'custom', custom: { name: stringOf(name), input: stringOf(input) } }
  return { id: stringOf(id), type: 'function', function: { name: stringOf(name), arguments: stringOf(given) } }
}

/** Thoughts come back in the vendor's own form, or in that which the writer has given to those of other vendors. */
function addThought(state: State, item: JsonObject): void {
  const { thoughts, details } = turnOf(state)
  const { id, summary, content, encrypted_content: data } = item
  const summaries = objectsOf(summary).map(({ text }) => stringOf(text))
  const texts = objectsOf(content).map(({ text }) => stringOf(text))
  const text = [...summaries, ...texts].join('')
  thoughts.push(text)
  const opaque = stringOf(data)
  if (isCarried(opaque)) {
    details.push(...carriedDetails(opaque, text))
    return
  }
  const own = { format: ownFormat, ...(typeof id === 'string' && { id }) }
  details.push(...summaries.map((said) => ({ type: 'reasoning.summary', summary: said, ...own })))
  details.push(...texts.map((said) => ({ type: 'reasoning.text', text: said, ...own })))
  if (opaque !== '') details.push({ type: 'reasoning.encrypted', data: opaque, ...own })
}

/** Without the name of a family that could read it, the thought was for reading only. */
function carriedDetails(opaque: string, text: string): readonly JsonObject[] {
  const carried = carriedIn(opaque)
  if (!carried || typeof carried['format'] !== 'string') return []
  if (carried['type'] === 'reasoning.text') return [{ ...carried, text }]
  return [carried['type'] === 'reasoning.summary' ? { ...carried, summary: text } : carried]
}

/** The mark of a part that the vendor shall keep in its cache up to there. */
function marked({ cache_control: mark }: JsonObject): JsonObject {
  return isObject(mark) ? { cache_control: mark } : {}
}

function innerContent(content: Json | undefined): Json {
  return isList(content) ? objectsOf(content).map(innerPart) : stringOf(content)
}

/** A part of what is shown. One that the inner language has no words for stays as it is. */
function innerPart(part: JsonObject): JsonObject {
  const { type, text, detail, image_url: url, file_id: id, input_audio: audio } = part
  switch (type) {
    case 'input_text':
    case 'output_text':
    case 'text':
      return { type: 'text', text: stringOf(text), ...marked(part) }
    case 'input_image': {
      if (typeof url !== 'string') return { type: 'file', file: { file_id: stringOf(id) } }
      const image = { url, ...(typeof detail === 'string' && { detail }) }
      return { type: 'image_url', image_url: image, ...marked(part) }
    }
    case 'input_file':
      return { type: 'file', file: fileOf(part), ...marked(part) }
    case 'input_audio':
      return isObject(audio) ? { type, input_audio: audio } : part
    default:
      return part
  }
}

function fileOf(part: JsonObject): JsonObject {
  const fields = ['filename', 'file_data', 'file_url', 'file_id'].filter((name) => typeof part[name] === 'string')
  return Object.fromEntries(fields.map((name) => [name, part[name]]))
}
