import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'

/*
 * What the gateway itself reads of a chat request. Wrong types there are refused, because a hold or a charge depends
 * on them. Everything else is the vendor's to judge: unknown fields are kept and sent on.
 */

const maxModelLength = 256
const maxMessages = 10_000
const maxTokens = 2 ** 31
const maxChoices = 128
const maxStops = 16
const roles: ReadonlySet<string> = new Set(['system', 'developer', 'user', 'assistant', 'tool', 'function'])
/** Messages that may come without content: what they say is in their tool calls, or it is nothing. */
const mayBeEmpty: ReadonlySet<string> = new Set(['assistant', 'function'])

/** The fields that decide what is called and what it may cost. Vendors must read the same of them as we do. */
const readFields: readonly string[] = [
  'model',
  'messages',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'n',
  'service_tier',
  'temperature',
  'top_p',
  'stop',
  'tools',
  'functions',
  'response_format',
]

/** What was read of a request, checked. */
export interface ChatRequest {
  readonly body: JsonObject
  /** The caller's bytes, without a byte order mark. */
  readonly raw: Uint8Array
  readonly model: string
  readonly stream: boolean
  readonly wantsUsage: boolean
  readonly maxOutput: number | undefined
  readonly choices: number
}

/** Reads and checks the bytes of a request. Throws `invalid_json` or `invalid_value`, the latter naming the parameter. */
export function readChatRequest(bytes: Uint8Array): ChatRequest {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, readFields)
  const model = readModel(body['model'])
  checkMessages(body['messages'])
  const stream = readBoolean(body, 'stream') ?? false
  const wantsUsage = readStreamOptions(body['stream_options'], stream)
  const limits = ['max_tokens', 'max_completion_tokens'].map((name) => readWhole(body, name, maxTokens))
  const given = limits.filter((limit) => limit !== undefined)
  const choices = readWhole(body, 'n', maxChoices) ?? 1
  checkNumber(body, 'temperature', 2)
  checkNumber(body, 'top_p', 1)
  checkStop(body['stop'])
  checkTools(body)
  return { body, raw, model, stream, wantsUsage, maxOutput: given.length > 0 ? Math.max(...given) : undefined, choices }
}

function readModel(model: Json | undefined): string {
  if (model === undefined || model === null) throw wrong('model', 'Name a model in "model". GET /v1/models lists them.')
  if (typeof model !== 'string' || model === '') throw wrong('model', '"model" must be a string that is not empty.')
  if (model.length > maxModelLength) throw wrong('model', `"model" is longer than ${maxModelLength} characters.`)
  return model
}

function checkMessages(messages: Json | undefined): void {
  if (!isList(messages) || messages.length === 0) {
    throw wrong('messages', '"messages" must be a list with at least one message.')
  }
  if (messages.length > maxMessages) throw wrong('messages', `"messages" has more than ${maxMessages} messages.`)
  for (const [index, message] of messages.entries()) checkMessage(`messages[${index}]`, message)
}

function checkMessage(at: string, message: Json): void {
  if (!isObject(message)) throw wrong(at, `"${at}" must be an object with "role" and "content".`)
  const { role, content } = message
  if (typeof role !== 'string' || !roles.has(role)) {
    throw wrong(`${at}.role`, `"${at}.role" must be one of ${[...roles].join(', ')}.`)
  }
  if (typeof content === 'string' || ((content === null || content === undefined) && mayBeEmpty.has(role))) return
  if (!isList(content)) throw wrong(`${at}.content`, `"${at}.content" must be a string or a list of parts.`)
  const part = content.findIndex((item) => !isObject(item))
  if (part >= 0) throw wrong(`${at}.content[${part}]`, `"${at}.content[${part}]" must be an object.`)
}

function readBoolean(body: JsonObject, name: string): boolean | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'boolean') throw wrong(name, `"${name}" must be true or false.`)
  return value
}

function readStreamOptions(options: Json | undefined, stream: boolean): boolean {
  if (options === undefined || options === null) return false
  if (!isObject(options)) throw wrong('stream_options', '"stream_options" must be an object.')
  if (!stream) throw wrong('stream_options', '"stream_options" is only allowed where "stream" is true.')
  const usage = options['include_usage']
  if (usage === undefined || usage === null) return false
  if (typeof usage === 'boolean') return usage
  throw wrong('stream_options.include_usage', '"stream_options.include_usage" must be true or false.')
}

/** A whole number from 1 to `max`; null is as good as absent. */
function readWhole(body: JsonObject, name: string, max: number): number | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
  throw wrong(name, `"${name}" must be a whole number from 1 to ${max}.`)
}

function checkNumber(body: JsonObject, name: string, max: number): void {
  const value = body[name]
  if (value === undefined || value === null || (typeof value === 'number' && value >= 0 && value <= max)) return
  throw wrong(name, `"${name}" must be a number from 0 to ${max}.`)
}

function checkStop(stop: Json | undefined): void {
  if (stop === undefined || stop === null || typeof stop === 'string') return
  if (isList(stop) && stop.length <= maxStops) return
  throw wrong('stop', `"stop" must be a string or a list of at most ${maxStops}.`)
}

/** They are part of the prompt, so they are counted, so they must be what they are counted as. */
function checkTools(body: JsonObject): void {
  for (const name of ['tools', 'functions']) {
    const value = body[name]
    if (value !== undefined && value !== null && !isList(value)) throw wrong(name, `"${name}" must be a list.`)
  }
  const format = body['response_format']
  if (format !== undefined && format !== null && !isObject(format)) {
    throw wrong('response_format', '"response_format" must be an object.')
  }
}
