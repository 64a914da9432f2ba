import type { Json, JsonObject } from '../core/call.ts'
import { readPrompt } from '../core/prompt.ts'
import { frame } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { Clock, Send, VendorRequest } from '../ports.ts'
import { openaiCompatible } from './openai.ts'
import { play, type Script } from './sandbox-player.ts'
import type { Vendor } from './vendor.ts'

/*
 * A vendor that lives in this process: same words, same times, same numbers for the same request, so that callers can
 * test their streaming, their error handling and their billing. The model's name says what it does; the request's
 * `sandbox` object changes it.
 */

/** The adapter. Calls are recorded and priced, and never charged. */
export const sandbox: Vendor = openaiCompatible({ id: 'sandbox', free: true, keeps: ['sandbox'] })

export interface SandboxParts {
  readonly clock: Clock
  countTokens(text: string): Promise<number>
}

const maxWords = 100_000
const maxChoices = 128
const maxMs = 10 * 60_000
const defaultWords = 50
const defaultCut = 3
/** A word longer than this is sent in several events. */
const wordPattern = /\s{0,512}\S{1,512}|\s{1,512}/gu
const lorem =
  'lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua'.split(
    ' ',
  )
const encoder = new TextEncoder()
const done = encoder.encode('[DONE]')

/** Answers requests for `sandbox:/chat/completions` behind the same port as real vendors. */
export function sandboxSend(parts: SandboxParts): Send {
  return (request, receiver) => play(parts.clock, receiver, () => write(parts, request))
}

/** What a request asks of the sandbox, checked. */
interface Wish {
  readonly model: string
  readonly body: JsonObject
  readonly stream: boolean
  readonly latencyMs: number
  readonly eventMs: number
  readonly words: number | undefined
  readonly cutAfter: number | undefined
  readonly usage: JsonObject | undefined
  readonly maxTokens: number
  readonly choices: number
}

/** A refusal of the sandbox, in OpenAI's form. */
class Refusal extends Error {
  readonly status: number
  readonly body: JsonObject

  constructor(status: number, error: { message: string; type: string; code: string; param?: string }) {
    super(error.message)
    this.status = status
    this.body = { error: { ...error, param: error.param ?? null } }
  }
}

const failures: ReadonlyMap<string, Refusal> = new Map([
  [
    'error-400',
    new Refusal(400, {
      message: 'The sandbox refuses this request.',
      type: 'invalid_request_error',
      code: 'invalid_value',
      param: 'messages',
    }),
  ],
  [
    'error-401',
    new Refusal(401, {
      message: 'The sandbox refuses this key.',
      type: 'invalid_request_error',
      code: 'invalid_api_key',
    }),
  ],
  ['error-429', new Refusal(429, { message: 'The sandbox is busy.', type: 'requests', code: 'rate_limit_exceeded' })],
  ['error-500', new Refusal(500, { message: 'The sandbox failed.', type: 'server_error', code: 'server_error' })],
  ['error-503', new Refusal(503, { message: 'The sandbox is overloaded.', type: 'server_error', code: 'overloaded' })],
])

/** Times of their own, for models that are about time. */
const paces: ReadonlyMap<string, { latencyMs: number; eventMs: number }> = new Map([
  ['slow', { latencyMs: 2000, eventMs: 200 }],
])
const models: ReadonlySet<string> = new Set(['echo', 'lorem', 'slow', 'cut', 'no-usage', 'hang', ...failures.keys()])
const options: ReadonlySet<string> = new Set(['latency_ms', 'event_ms', 'words', 'cut_after', 'usage'])

async function write(parts: SandboxParts, request: VendorRequest): Promise<Script> {
  try {
    const wish = readWish(request)
    const failure = failures.get(wish.model)
    if (failure) return refused(failure, wish.latencyMs)
    if (wish.model === 'hang') return { ...heads(wish), frames: [], ending: 'silence' }
    return await answer(parts, wish)
  } catch (caught) {
    if (caught instanceof Refusal) return refused(caught, 0)
    throw caught
  }
}

function refused({ status, body }: Refusal, latencyMs: number): Script {
  const headers = { 'content-type': 'application/json', ...(status === 429 ? { 'retry-after': '1' } : {}) }
  return {
    head: { status, headers },
    latencyMs,
    eventMs: 0,
    frames: [encoder.encode(JSON.stringify(body))],
    ending: 'end',
  }
}

function heads({ stream, latencyMs, eventMs }: Wish): Pick<Script, 'head' | 'latencyMs' | 'eventMs'> {
  const type = stream ? 'text/event-stream' : 'application/json'
  return { head: { status: 200, headers: { 'content-type': type } }, latencyMs, eventMs }
}

function invalid(param: string, message: string): Refusal {
  return new Refusal(400, { message, type: 'invalid_request_error', code: 'invalid_value', param })
}

function readWish({ url, body: bytes }: VendorRequest): Wish {
  if (!url.endsWith('/chat/completions')) {
    throw new Refusal(404, {
      message: 'The sandbox has only /chat/completions.',
      type: 'invalid_request_error',
      code: 'unknown_url',
    })
  }
  const body = parseJson(bytes)
  if (!isObject(body)) throw invalid('body', 'The body must be a JSON object.')
  const model = stringOf(body['model'])
  if (!models.has(model)) {
    throw new Refusal(404, {
      message: 'The sandbox has no such model.',
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: 'model',
    })
  }
  const wishes = readOptions(body['sandbox'])
  const pace = paces.get(model) ?? { latencyMs: 0, eventMs: 0 }
  const limits = [whole(body['max_tokens']), whole(body['max_completion_tokens'])]
  return {
    model,
    body,
    stream: body['stream'] === true,
    latencyMs: bounded(wishes, 'latency_ms', maxMs) ?? pace.latencyMs,
    eventMs: bounded(wishes, 'event_ms', maxMs) ?? pace.eventMs,
    words: bounded(wishes, 'words', maxWords),
    cutAfter: bounded(wishes, 'cut_after', maxWords) ?? (model === 'cut' ? defaultCut : undefined),
    usage: readUsage(wishes['usage']),
    maxTokens: Math.min(...limits.map((limit) => limit ?? Number.POSITIVE_INFINITY)),
    choices: Math.min(whole(body['n']) ?? 1, maxChoices),
  }
}

/** A whole number as the vendors take it; what is none was refused before or is none of our business. */
function whole(value: Json | undefined): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 ? value : undefined
}

function readOptions(value: Json | undefined): JsonObject {
  if (value === undefined || value === null) return {}
  if (!isObject(value)) throw invalid('sandbox', '"sandbox" must be an object.')
  const unknown = Object.keys(value).find((name) => !options.has(name))
  if (unknown === undefined) return value
  throw invalid(`sandbox.${unknown.slice(0, 64)}`, `"sandbox" takes ${[...options].join(', ')}.`)
}

function bounded(wishes: JsonObject, name: string, most: number): number | undefined {
  const value = wishes[name]
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value
  throw invalid(`sandbox.${name}`, `"sandbox.${name}" must be a whole number from 0 to ${most}.`)
}

function readUsage(value: Json | undefined): JsonObject | undefined {
  if (value === undefined || value === null) return undefined
  if (isObject(value)) return value
  throw invalid('sandbox.usage', '"sandbox.usage" must be an object.')
}

/** What the models say, word by word; each word begins with the space before it. */
function wordsOf({ model, body, words }: Wish): readonly string[] {
  if (model !== 'echo' && model !== 'no-usage') {
    const wanted = Array.from({ length: words ?? defaultWords }, (_, index) => lorem[index % lorem.length] ?? '')
    return wanted.map((word, index) => (index === 0 ? word : ` ${word}`))
  }
  const last = objectsOf(body['messages']).findLast(({ role }) => role === 'user')
  const said: string[] = []
  for (const [word] of userText(last?.['content']).matchAll(wordPattern)) {
    if (said.length === (words ?? maxWords)) break
    said.push(word)
  }
  return said
}

function userText(content: Json | undefined): string {
  if (!isList(content)) return stringOf(content)
  return objectsOf(content)
    .map(({ text }) => stringOf(text))
    .filter((text) => text !== '')
    .join(' ')
}

/** As many words as `limit` tokens allow, found by halving: a longer text never has fewer tokens by more than a few. */
async function within(parts: SandboxParts, words: readonly string[], limit: number): Promise<number> {
  if (words.length === 0 || (await parts.countTokens(words.join(''))) <= limit) return words.length
  let fits = 0
  let tooMany = words.length
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1
    if ((await parts.countTokens(words.slice(0, middle).join(''))) <= limit) fits = middle
    else tooMany = middle
  }
  return fits
}

async function answer(parts: SandboxParts, wish: Wish): Promise<Script> {
  const wanted = wordsOf(wish)
  const said = wanted.slice(0, await within(parts, wanted, wish.maxTokens))
  const finish = said.length < wanted.length ? 'length' : 'stop'
  const usage = wish.model === 'no-usage' ? undefined : (wish.usage ?? (await countUsage(parts, wish, said.join(''))))
  const created = Math.floor(parts.clock.now() / 1000)
  const told: Told = { wish, said, finish, usage, created }
  return wish.stream ? streamed(told) : unstreamed(told)
}

async function countUsage(parts: SandboxParts, { body, choices }: Wish, said: string): Promise<JsonObject> {
  const { texts, fixedTokens } = readPrompt(body)
  let prompt = fixedTokens
  for (const text of texts) {
    const tokens = await tokensOf(parts, text)
    prompt += tokens
  }
  const spoken = await tokensOf(parts, said)
  const completion = choices * spoken
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

async function tokensOf({ countTokens }: SandboxParts, text: string): Promise<number> {
  return text === '' ? 0 : await countTokens(text)
}

interface Told {
  readonly wish: Wish
  readonly said: readonly string[]
  readonly finish: string
  readonly usage: JsonObject | undefined
  readonly created: number
}

function streamed(told: Told): Script {
  const { cutAfter } = told.wish
  const ending = cutAfter === undefined ? 'end' : 'break'
  return { ...heads(told.wish), frames: frames(told, cutAfter ?? Number.POSITIVE_INFINITY), ending }
}

/** The events of a stream; a broken one stops after `cutAfter` of them that have content. */
function* frames({ wish, said, finish, usage, created }: Told, cutAfter: number): Generator<Uint8Array> {
  const base = { id: 'chatcmpl-sandbox', object: 'chat.completion.chunk', created, model: wish.model }
  const indexes = Array.from({ length: wish.choices }, (_, index) => index)
  const event = (more: JsonObject): Uint8Array => frame(encoder.encode(JSON.stringify({ ...base, ...more })))
  const each = (delta: JsonObject, reason: string | null): Uint8Array =>
    event({ choices: indexes.map((index) => ({ index, delta, finish_reason: reason })) })
  yield each({ role: 'assistant', content: '' }, null)
  let sent = 0
  for (const word of said) {
    if (sent++ === cutAfter) return
    yield each({ content: word }, null)
  }
  if (cutAfter !== Number.POSITIVE_INFINITY) return
  yield each({}, finish)
  const options = wish.body['stream_options']
  if (usage && isObject(options) && options['include_usage'] === true) yield event({ choices: [], usage })
  yield frame(done)
}

function unstreamed({ wish, said, finish, usage, created }: Told): Script {
  const message = { role: 'assistant', content: said.join('') }
  const body = {
    id: 'chatcmpl-sandbox',
    object: 'chat.completion',
    created,
    model: wish.model,
    choices: Array.from({ length: wish.choices }, (_, index) => ({ index, message, finish_reason: finish })),
    ...(usage ? { usage } : {}),
  }
  const bytes = encoder.encode(JSON.stringify(body))
  // The whole body comes when the last word of a stream would have come, or breaks in its middle.
  const latencyMs = Math.min(maxMs, wish.latencyMs + wish.eventMs * said.length)
  if (wish.cutAfter === undefined) return { ...heads(wish), latencyMs, frames: [bytes], ending: 'end' }
  return { ...heads(wish), latencyMs, frames: [bytes.subarray(0, bytes.length >> 1)], ending: 'break' }
}
