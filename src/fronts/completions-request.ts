import type { Beyond, Json, JsonObject } from '../core/call.ts'
import { isList } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'

/* What the gateway itself reads of a request for a completion; everything else is the vendor's to judge. */

const maxModelLength = 256
/** Of one request; OpenAI takes as many. */
const maxPrompts = 2_048
/** Answers of one request: prompts times `n`, or `best_of`. */
const maxChoices = 2_048
const maxTokens = 2 ** 31
const maxEach = 128

const readFields: readonly string[] = [
  'model',
  'prompt',
  'suffix',
  'echo',
  'stream',
  'stream_options',
  'max_tokens',
  'n',
  'best_of',
  'logprobs',
  'service_tier',
]

/** What was read of a request, checked. */
export interface CompletionsRequest {
  readonly body: JsonObject
  /** The caller's bytes, without a byte order mark. */
  readonly raw: Uint8Array
  readonly inner: JsonObject
  readonly beyond?: Beyond
  readonly model: string
  readonly stream: boolean
  readonly wantsUsage: boolean
  readonly maxOutput?: number
  readonly choices: number
}

/** Reads and checks the bytes of a request. Throws `invalid_json`, or `invalid_value` naming the parameter. */
export function readCompletionsRequest(bytes: Uint8Array): CompletionsRequest {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, readFields)
  const model = readModel(body['model'])
  const prompts = readPrompts(body['prompt'])
  const { stream, suffix } = body
  const isStream = boolean(stream, 'stream')
  boolean(body['echo'], 'echo')
  if (suffix !== undefined && suffix !== null && typeof suffix !== 'string')
    throw wrong('suffix', '"suffix" must be a string.')
  const limit = whole(body, 'max_tokens', { from: 0, to: maxTokens })
  const [n = 1, bestOf = 1] = ['n', 'best_of'].map((name) => whole(body, name, { from: 1, to: maxEach }))
  whole(body, 'logprobs', { from: 0, to: maxEach })
  const choices = prompts.length * Math.max(n, bestOf)
  if (choices > maxChoices) throw wrong('n', `More than ${maxChoices} answers are asked for.`)
  const beyond = beyondOf({ prompts, body, hidesAnswers: bestOf > n })
  return {
    raw,
    body,
    model,
    inner: innerOf(body, prompts),
    ...(beyond && { beyond }),
    stream: isStream,
    wantsUsage: readStreamOptions(body['stream_options'], isStream),
    ...(limit !== undefined && { maxOutput: Math.max(1, limit) }),
    choices,
  }
}

function readModel(model: Json | undefined): string {
  if (model === undefined || model === null) throw wrong('model', 'Name a model in "model". GET /v1/models lists them.')
  if (typeof model !== 'string' || model === '') throw wrong('model', '"model" must be a string that is not empty.')
  if (model.length > maxModelLength) throw wrong('model', `"model" is longer than ${maxModelLength} characters.`)
  return model
}

/** A prompt is a text or the tokens of one. */
type Prompt = string | readonly number[]

function readPrompts(prompt: Json | undefined): readonly Prompt[] {
  if (typeof prompt === 'string') return [prompt]
  if (!isList(prompt) || prompt.length === 0)
    throw wrong('prompt', '"prompt" must be a string, or a list of strings or tokens that is not empty.')
  if (isTokens(prompt)) return [prompt]
  if (prompt.length > maxPrompts) throw wrong('prompt', `"prompt" has more than ${maxPrompts} prompts.`)
  return prompt.map((item, index) => {
    if (typeof item === 'string' || (isList(item) && isTokens(item))) return item
    throw wrong(`prompt[${index}]`, `"prompt[${index}]" must be a string or a list of tokens.`)
  })
}

function isTokens(list: readonly Json[]): list is readonly number[] {
  return list.every((item) => typeof item === 'number')
}

function boolean(value: Json | undefined, name: string): boolean {
  if (value === undefined || value === null || typeof value === 'boolean') return value === true
  throw wrong(name, `"${name}" must be true or false.`)
}

/** Null is as good as absent. */
function whole(body: JsonObject, name: string, { from, to }: { from: number; to: number }): number | undefined {
  const value = body[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= from && value <= to) return value
  throw wrong(name, `"${name}" must be a whole number from ${from} to ${to}.`)
}

function readStreamOptions(options: Json | undefined, stream: boolean): boolean {
  if (options === undefined || options === null) return false
  if (typeof options !== 'object' || isList(options))
    throw wrong('stream_options', '"stream_options" must be an object.')
  if (!stream) throw wrong('stream_options', '"stream_options" is only allowed where "stream" is true.')
  return boolean((options as JsonObject)['include_usage'], 'stream_options.include_usage')
}

interface Asked {
  readonly prompts: readonly Prompt[]
  readonly body: JsonObject
  /** More answers are made than told. */
  readonly hidesAnswers: boolean
}

/** What no conversation can be asked for. */
function beyondOf({ prompts, body, hidesAnswers }: Asked): Beyond | undefined {
  const chats = 'The vendor that serves this model answers conversations, and completes no'
  const [prompt] = prompts
  if (prompts.length > 1) return { param: 'prompt', message: `${chats} lists of prompts: send them one by one.` }
  if (typeof prompt !== 'string') return { param: 'prompt', message: `${chats} prompts in tokens: send the text.` }
  const { suffix } = body
  if (typeof suffix === 'string' && suffix !== '')
    return { param: 'suffix', message: `${chats} text before a suffix. Leave it out, or ask for another model.` }
  return hidesAnswers ? { param: 'best_of', message: `${chats} best of several: ask for "n" answers.` } : undefined
}

const translated: ReadonlySet<string> = new Set(['prompt', 'suffix', 'echo', 'logprobs', 'best_of', 'max_tokens'])

/** The request as a body of OpenAI's chat completions: the prompt is what the user says. */
function innerOf(body: JsonObject, prompts: readonly Prompt[]): JsonObject {
  const { logprobs, max_tokens: limit } = body
  const kept = Object.entries(body).filter(([name, value]) => !translated.has(name) && value !== null)
  return {
    ...Object.fromEntries(kept),
    messages: prompts.map((prompt) => ({ role: 'user', content: textOf(prompt) })),
    ...(typeof limit === 'number' && { max_tokens: Math.max(1, limit) }),
    ...(typeof logprobs === 'number' && { logprobs: true, top_logprobs: logprobs }),
  }
}

/** Tokens are only counted here: each is a word that every tokenizer takes for one. */
function textOf(prompt: Prompt): string {
  return typeof prompt === 'string' ? prompt : ' a'.repeat(prompt.length)
}
