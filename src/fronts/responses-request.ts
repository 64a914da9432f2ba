import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'

/*
 * What the gateway itself reads of a request for a response. Wrong types there are refused, because a hold, a charge or
 * a translation depends on them. Everything else is the vendor's to judge: unknown fields are kept and sent on.
 */

const maxModelLength = 256
const maxItems = 100_000
const maxTokens = 2 ** 31
const maxLogprobs = 20
const roles: ReadonlySet<Json | undefined> = new Set(['user', 'assistant', 'system', 'developer'])

const readFields: readonly string[] = [
  'model',
  'input',
  'instructions',
  'prompt',
  'conversation',
  'previous_response_id',
  'background',
  'stream',
  'stream_options',
  'max_output_tokens',
  'service_tier',
  'temperature',
  'top_p',
  'tools',
  'tool_choice',
  'text',
  'reasoning',
]

type Kind = 'string' | 'object' | 'boolean'
const kinds: Readonly<Record<Kind, string>> = { string: 'a string', object: 'an object', boolean: 'true or false' }

/** Fields of an item that are read, by its type, and what each must be. */
const itemFields: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  function_call: { call_id: 'string', name: 'string', arguments: 'string' },
  function_call_output: { call_id: 'string' },
  custom_tool_call: { call_id: 'string', name: 'string', input: 'string' },
  custom_tool_call_output: { call_id: 'string' },
  item_reference: { id: 'string' },
}

/** Instead of an input of its own, a request may go on with what the vendor keeps. */
const kept = ['previous_response_id', 'conversation', 'prompt'] as const

/** What was read of a request, checked. */
export interface ResponsesRequest {
  readonly body: JsonObject
  /** The caller's bytes, without a byte order mark. */
  readonly raw: Uint8Array
  readonly model: string
  readonly stream: boolean
  readonly maxOutput: number | undefined
}

/** Reads and checks the bytes of a request. Throws `invalid_json`, or `invalid_value` naming the parameter. */
export function readResponsesRequest(bytes: Uint8Array): ResponsesRequest {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, readFields)
  const model = readModel(body['model'])
  checkInput(body)
  checkTools(body)
  for (const name of ['text', 'reasoning', 'metadata', 'stream_options']) optional(body[name], name, 'object')
  for (const name of ['stream', 'parallel_tool_calls', 'background', 'store']) optional(body[name], name, 'boolean')
  // It would be answered at once with nothing, and go on where nobody counts it.
  if (body['background'] === true)
    throw wrong('background', 'The gateway does not run responses in the background. Leave "background" out.')
  for (const [name, max] of Object.entries({ temperature: 2, top_p: 1 })) checkNumber(body[name], name, max)
  wholeNumber(body, 'top_logprobs', { from: 0, to: maxLogprobs })
  const maxOutput = wholeNumber(body, 'max_output_tokens', { from: 1, to: maxTokens })
  return { raw, body, model, stream: body['stream'] === true, maxOutput }
}

function readModel(model: Json | undefined): string {
  if (model === undefined || model === null) throw wrong('model', 'Name a model in "model". GET /v1/models lists them.')
  if (typeof model !== 'string' || model === '') throw wrong('model', '"model" must be a string that is not empty.')
  if (model.length > maxModelLength) throw wrong('model', `"model" is longer than ${maxModelLength} characters.`)
  return model
}

function isKind(value: Json | undefined, kind: Kind): boolean {
  return kind === 'object' ? isObject(value) : typeof value === kind
}

/** Null is as good as absent. */
function optional(value: Json | undefined, at: string, kind: Kind): void {
  if (value === undefined || value === null || isKind(value, kind)) return
  throw wrong(at, `"${at}" must be ${kinds[kind]}.`)
}

function checkNumber(value: Json | undefined, at: string, max: number): void {
  if (value === undefined || value === null || (typeof value === 'number' && value >= 0 && value <= max)) return
  throw wrong(at, `"${at}" must be a number from 0 to ${max}.`)
}

function wholeNumber(body: JsonObject, at: string, { from, to }: { from: number; to: number }): number | undefined {
  const value = body[at]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value
  throw wrong(at, `"${at}" must be a whole number from ${from} to ${to}.`)
}

function checkInput(body: JsonObject): void {
  const { input, instructions, previous_response_id: previous } = body
  optional(instructions, 'instructions', 'string')
  optional(previous, 'previous_response_id', 'string')
  if (typeof input === 'string') return
  const goesOn = kept.some((name) => body[name] !== undefined && body[name] !== null)
  if ((input === undefined || input === null) && goesOn) return
  if (!isList(input)) throw wrong('input', '"input" must be a string or a list of items.')
  if (input.length > maxItems) throw wrong('input', `"input" has more than ${maxItems} items.`)
  for (const [index, item] of input.entries()) checkItem(item, `input[${index}]`)
}

function checkItem(item: Json, at: string): void {
  if (!isObject(item)) throw wrong(at, `"${at}" must be an object.`)
  const { type, role, content } = item
  if (type === undefined || type === null || type === 'message') {
    if (!roles.has(role)) throw wrong(`${at}.role`, `"${at}.role" must be user, assistant, system or developer.`)
    return checkContent(content, `${at}.content`)
  }
  if (typeof type !== 'string') throw wrong(`${at}.type`, `"${at}.type" must be a string.`)
  const fields = Object.hasOwn(itemFields, type) ? (itemFields[type] ?? {}) : {}
  for (const [name, kind] of Object.entries(fields)) {
    if (!isKind(item[name], kind)) throw wrong(`${at}.${name}`, `"${at}.${name}" must be ${kinds[kind]}.`)
  }
  if (type === 'function_call_output' || type === 'custom_tool_call_output')
    checkContent(item['output'], `${at}.output`)
}

function checkContent(content: Json | undefined, at: string): void {
  if (typeof content === 'string') return
  if (!isList(content)) throw wrong(at, `"${at}" must be a string or a list of parts.`)
  const odd = content.findIndex((part) => !isObject(part))
  if (odd >= 0) throw wrong(`${at}[${odd}]`, `"${at}[${odd}]" must be an object.`)
}

/** They are part of the prompt, so they are counted, so they must be what they are counted as. */
function checkTools({ tools, tool_choice: choice }: JsonObject): void {
  if (choice !== undefined && choice !== null && typeof choice !== 'string') optional(choice, 'tool_choice', 'object')
  if (tools === undefined || tools === null) return
  if (!isList(tools)) throw wrong('tools', '"tools" must be a list.')
  const odd = tools.findIndex((tool) => !isObject(tool))
  if (odd >= 0) throw wrong(`tools[${odd}]`, `"tools[${odd}]" must be an object.`)
}
