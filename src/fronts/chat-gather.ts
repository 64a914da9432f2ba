import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { finishOf, isList, isObject, objectsOf, parseJson, stringOf, usageOf } from '../core/wire.ts'
import type { Gatherer } from './front.ts'
import { createReasoningDetails, type ReasoningDetails } from './reasoning-details.ts'
import { createToolCalls, type ToolCalls } from './tool-calls.ts'

/** Makes one body of a streamed answer in the inner language. */
export interface ChatGatherer extends Gatherer {
  /** Takes the next chunk. Throws `vendor_error` for one that is too deep, or once all of them are too much. */
  addChunk(chunk: JsonObject): void
}

/** 32 Mi characters: several audio answers in base64. A text answer of a million tokens has some 5 million. */
const defaultMaxGathered = 32 * 1024 * 1024
const maxChoices = 128
/** What is nested deeper cannot be written as JSON again without running out of stack. */
const maxDepth = 64

/** Fields of a chunk of which the first that says something stands: some vendors open with an empty chunk. */
const firstWins: ReadonlySet<string> = new Set(['id', 'created', 'model'])
/** Fields of a delta that name something rather than continue it. */
const namesOnce: ReadonlySet<string> = new Set([
  'role',
  'id',
  'type',
  'name',
  'index',
  'format',
  'channel',
  'signature_type',
])

interface Choice {
  readonly fields: Map<string, Json>
  readonly message: Map<string, Json>
  readonly tools: ToolCalls
  readonly details: ReasoningDetails
}

interface Answer {
  readonly top: Map<string, Json>
  readonly choices: Map<number, Choice>
  usage: JsonObject | undefined
}

/** Every string value of the stream ends up in the body as it was; white space and the order of fields may not. */
export function createGatherer(maxSize: number = defaultMaxGathered): ChatGatherer {
  const answer: Answer = { top: new Map(), choices: new Map(), usage: undefined }
  let size = 0
  function add(chunk: JsonObject): void {
    size += sizeOf(chunk, 0)
    if (size > maxSize) throw new GatewayError('vendor_error', 'The vendor sent more than one answer can hold.')
    addChunk(answer, chunk)
  }
  return {
    add(event) {
      const chunk = parseJson(event.data)
      if (isObject(chunk)) add(chunk)
    },
    addChunk: add,
    body: (finish) => bodyOf(answer, finish),
  }
}

/** About as many characters as the value has in JSON. */
function sizeOf(value: Json | undefined, depth: number): number {
  if (depth > maxDepth)
    throw new GatewayError('vendor_error', `The vendor sent a chunk nested deeper than ${maxDepth} levels.`)
  if (typeof value === 'string') return value.length + 2
  if (isList(value)) return value.reduce((size: number, item) => size + sizeOf(item, depth + 1), 2)
  if (!isObject(value)) return 4
  let size = 2
  for (const name in value) size += name.length + 4 + sizeOf(value[name], depth + 1)
  return size
}

function isBlank(value: Json | undefined): value is undefined | null | '' | 0 {
  return value === undefined || value === null || value === '' || value === 0
}

function addChunk(answer: Answer, chunk: JsonObject): void {
  for (const [name, value] of Object.entries(chunk)) {
    if (value === undefined || name === 'choices' || name === 'usage' || name === 'object') continue
    const old = answer.top.get(name)
    if (firstWins.has(name) ? isBlank(old) : value !== null || old === undefined) answer.top.set(name, value)
  }
  answer.usage = usageOf(chunk) ?? answer.usage
  for (const [position, choice] of objectsOf(chunk['choices']).entries()) addChoice(answer, choice, position)
}

function addChoice({ choices }: Answer, part: JsonObject, position: number): void {
  const index = typeof part['index'] === 'number' ? part['index'] : position
  const choice = choices.get(index) ?? {
    fields: new Map(),
    message: new Map(),
    tools: createToolCalls(),
    details: createReasoningDetails(),
  }
  if (!choices.has(index) && choices.size >= maxChoices) {
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxChoices} choices.`)
  }
  choices.set(index, choice)
  for (const [name, value] of Object.entries(part)) {
    if (value === undefined || name === 'delta' || name === 'index' || name === 'usage') continue
    if (name === 'finish_reason') setFinish(choice, part)
    else if (name === 'logprobs') choice.fields.set(name, joined(choice.fields.get(name), value))
    else if (value !== null || !choice.fields.has(name)) choice.fields.set(name, value)
  }
  if (isObject(part['delta'])) addDelta(choice, part['delta'])
}

/** Some vendors say the reason twice and some send '' before it: the last real one stands. */
function setFinish(choice: Choice, part: JsonObject): void {
  const finish = finishOf(part)
  if (finish !== undefined) choice.fields.set('finish_reason', finish)
}

function addDelta({ message, tools, details }: Choice, delta: JsonObject): void {
  for (const [name, value] of Object.entries(delta)) {
    if (value === undefined) continue
    if (name === 'tool_calls') {
      for (const call of objectsOf(value)) tools.add(call)
    } else if (name === 'reasoning_details' && isList(value)) {
      for (const item of objectsOf(value)) details.add(item)
    } else {
      message.set(name, continued(name, message.get(name), value))
    }
  }
}

/** What a field of a delta has become: texts and lists go on, names stay, of other values the last one stands. */
function continued(name: string, old: Json | undefined, next: Json): Json {
  if (namesOnce.has(name)) return isBlank(old) ? next : old
  return joined(old, next)
}

function joined(old: Json | undefined, next: Json): Json {
  if (old === undefined || old === null) return next
  if (next === null) return old
  if (typeof old === 'string' && typeof next === 'string') return old + next
  if (isList(old)) return extended(old, asParts(next))
  if (isList(next)) return extended([...asParts(old)], next)
  if (isObject(old) && isObject(next)) return mergedObject(old, next)
  return next
}

/** In place: the lists come from our own parse, and copying one for each token of its log probabilities is quadratic. */
function extended(list: readonly Json[], more: readonly Json[]): readonly Json[] {
  const own = list as Json[]
  for (const item of more) own.push(item)
  return own
}

/** A vendor that thinks in parts and answers in plain text uses both forms in one message. */
function asParts(content: Json): readonly Json[] {
  if (isList(content)) return content
  return content === '' ? [] : [typeof content === 'string' ? { type: 'text', text: content } : content]
}

function mergedObject(old: JsonObject, next: JsonObject): JsonObject {
  const merged = new Map(Object.entries(old))
  for (const [name, value] of Object.entries(next)) {
    if (value !== undefined) merged.set(name, continued(name, merged.get(name), value))
  }
  // Not by assignment: a member may be called "__proto__".
  return Object.fromEntries(merged)
}

function messageOf({ message, tools, details }: Choice): JsonObject {
  const calls = tools.list()
  const thoughts = details.list()
  return {
    role: 'assistant',
    content: null,
    ...Object.fromEntries(message),
    ...(stringOf(message.get('role')) === '' ? { role: 'assistant' } : {}),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
    ...(thoughts.length > 0 ? { reasoning_details: thoughts } : {}),
  }
}

function bodyOf({ top, choices, usage }: Answer, finish: string | undefined): JsonObject {
  const ordered = [...choices]
    .sort(([a], [b]) => a - b)
    .map(([index, choice]) => ({
      index,
      message: messageOf(choice),
      finish_reason: finish ?? null,
      ...Object.fromEntries(choice.fields),
    }))
  const nothing = { index: 0, message: { role: 'assistant', content: null }, finish_reason: finish ?? null }
  return {
    ...Object.fromEntries(top),
    object: 'chat.completion',
    choices: ordered.length === 0 && finish !== undefined ? [nothing] : ordered,
    ...(usage ? { usage } : {}),
  }
}
