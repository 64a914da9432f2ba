import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'

/*
 * What the gateway itself reads of a messages request. Wrong types there are refused, because a hold, a charge or a
 * translation depends on them. Everything else is the vendor's to judge: unknown fields are kept and sent on.
 */

const maxModelLength = 256
const maxMessages = 100_000
const maxBlocks = 100_000
const maxTokens = 2 ** 31
const maxStops = 8_191
const roles: ReadonlySet<Json | undefined> = new Set(['user', 'assistant', 'system'])

const readFields: readonly string[] = [
  'model',
  'messages',
  'system',
  'max_tokens',
  'stream',
  'tools',
  'tool_choice',
  'thinking',
  'temperature',
  'top_p',
  'top_k',
  'stop_sequences',
  'service_tier',
  'output_config',
  'output_format',
]

/** Fields of a block that are read, by its type, and what each must be. */
const blockFields: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  text: { text: 'string' },
  image: { source: 'object' },
  document: { source: 'object' },
  tool_use: { id: 'string', name: 'string', input: 'object' },
  tool_result: { tool_use_id: 'string' },
  thinking: { thinking: 'string' },
  redacted_thinking: { data: 'string' },
}

type Kind = 'string' | 'object'

/** What was read of a request, checked. */
export interface MessagesRequest {
  readonly body: JsonObject
  /** The caller's bytes, without a byte order mark. */
  readonly raw: Uint8Array
  readonly model: string
  readonly stream: boolean
  /** Absent where the request only counts a prompt. */
  readonly maxOutput: number | undefined
}

/** Reads and checks the bytes of a request. Throws `invalid_json`, or `invalid_value` naming the parameter. */
export function readMessagesRequest(bytes: Uint8Array): MessagesRequest {
  const read = readPromptRequest(bytes)
  const { max_tokens: given } = read.body
  if (given === undefined || given === null)
    throw wrong('max_tokens', 'Say in "max_tokens" how long the answer may be, in tokens.')
  return { ...read, maxOutput: whole(given, 'max_tokens', { from: 1, to: maxTokens }) }
}

/** The same for counting, which needs no bound. */
export function readPromptRequest(bytes: Uint8Array): MessagesRequest {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, readFields)
  const model = readModel(body['model'])
  checkSystem(body['system'])
  checkMessages(body['messages'])
  checkTools(body)
  checkSampling(body)
  for (const name of ['thinking', 'output_config', 'output_format', 'metadata']) optional(body[name], name, 'object')
  const { stream } = body
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean')
    throw wrong('stream', '"stream" must be true or false.')
  return { raw, body, model, stream: stream === true, maxOutput: undefined }
}

function readModel(model: Json | undefined): string {
  if (model === undefined || model === null) throw wrong('model', 'Name a model in "model". GET /v1/models lists them.')
  if (typeof model !== 'string' || model === '') throw wrong('model', '"model" must be a string that is not empty.')
  if (model.length > maxModelLength) throw wrong('model', `"model" is longer than ${maxModelLength} characters.`)
  return model
}

function isKind(value: Json | undefined, kind: Kind): boolean {
  return kind === 'string' ? typeof value === 'string' : isObject(value)
}

/** Null is as good as absent. */
function optional(value: Json | undefined, at: string, kind: Kind): void {
  if (value === undefined || value === null || isKind(value, kind)) return
  throw wrong(at, `"${at}" must be ${kind === 'object' ? 'an object' : 'a string'}.`)
}

function whole(value: Json, at: string, { from, to }: { from: number; to: number }): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value
  throw wrong(at, `"${at}" must be a whole number from ${from} to ${to}.`)
}

function checkSystem(system: Json | undefined): void {
  if (system !== undefined && system !== null) checkContent(system, 'system')
}

function checkMessages(messages: Json | undefined): void {
  if (!isList(messages) || messages.length === 0)
    throw wrong('messages', '"messages" must be a list with at least one message.')
  if (messages.length > maxMessages) throw wrong('messages', `"messages" has more than ${maxMessages} messages.`)
  for (const [index, message] of messages.entries()) {
    const at = `messages.${index}`
    if (!isObject(message)) throw wrong(at, `"${at}" must be an object with "role" and "content".`)
    if (!roles.has(message['role'])) throw wrong(`${at}.role`, `"${at}.role" must be "user", "assistant" or "system".`)
    checkContent(message['content'], `${at}.content`)
  }
}

/** A string or a list of blocks. What a tool has given holds blocks again, which hold none. */
function checkContent(content: Json | undefined, at: string): void {
  if (typeof content === 'string') return
  if (!isList(content)) throw wrong(at, `"${at}" must be a string or a list of blocks.`)
  if (content.length > maxBlocks) throw wrong(at, `"${at}" has more than ${maxBlocks} blocks.`)
  for (const [index, block] of content.entries()) checkBlock(block, `${at}.${index}`)
}

function checkBlock(block: Json, at: string): void {
  if (!isObject(block)) throw wrong(at, `"${at}" must be an object with a "type".`)
  const { type } = block
  if (typeof type !== 'string') throw wrong(`${at}.type`, `"${at}.type" must name the kind of the block.`)
  const fields = Object.hasOwn(blockFields, type) ? (blockFields[type] ?? {}) : {}
  for (const [name, kind] of Object.entries(fields)) {
    if (isKind(block[name], kind)) continue
    throw wrong(`${at}.${name}`, `"${at}.${name}" must be ${kind === 'object' ? 'an object' : 'a string'}.`)
  }
  const given = block['content']
  if (type === 'tool_result' && given !== undefined && given !== null) checkContent(given, `${at}.content`)
}

/** They are part of the prompt, so they are counted, so they must be what they are counted as. */
function checkTools(body: JsonObject): void {
  const { tools, tool_choice: choice } = body
  optional(choice, 'tool_choice', 'object')
  if (tools === undefined || tools === null) return
  if (!isList(tools)) throw wrong('tools', '"tools" must be a list.')
  const odd = tools.findIndex((tool) => !isObject(tool))
  if (odd >= 0) throw wrong(`tools.${odd}`, `"tools.${odd}" must be an object.`)
}

function checkSampling(body: JsonObject): void {
  for (const name of ['temperature', 'top_p']) {
    const value = body[name]
    if (value === undefined || value === null || (typeof value === 'number' && value >= 0 && value <= 1)) continue
    throw wrong(name, `"${name}" must be a number from 0 to 1.`)
  }
  const { top_k: topK, stop_sequences: stops } = body
  if (topK !== undefined && topK !== null) whole(topK, 'top_k', { from: 0, to: maxTokens })
  if (stops === undefined || stops === null) return
  if (!isList(stops) || stops.length > maxStops || stops.some((stop) => typeof stop !== 'string'))
    throw wrong('stop_sequences', `"stop_sequences" must be a list of at most ${maxStops} strings.`)
}
