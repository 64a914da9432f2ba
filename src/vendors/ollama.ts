import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { createLineParser } from '../core/line-events.ts'
import type { ServerEvent } from '../core/sse.ts'
import { argumentsText, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { createUsageReader, innerChunk, innerCompletion, innerToolCall } from './inner-answer.ts'
import {
  argumentsObject,
  calledIn,
  calledNames,
  dataUrl,
  functionsIn,
  imageUrlOf,
  maxTokensOf,
  partsOf,
  schemaOf,
  stopsOf,
  textOf,
  thoughtWish,
  toolWish,
} from './inner-prompt.ts'
import { jsonPost } from './json-post.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorReply, VendorUsage } from './vendor.ts'

/*
 * Ollama's own API: https://docs.ollama.com/api/chat. POST /api/chat, streams of newline-separated JSON; no key on a
 * machine of one's own, a bearer token at ollama.com. Its compatible endpoint is another adapter.
 */

export const parameters: ParameterTable = {
  max_tokens: 'translate',
  max_completion_tokens: 'translate',
  temperature: 'translate',
  top_p: 'translate',
  top_k: 'translate',
  stop: 'translate',
  n: 'refuse',
  seed: 'translate',
  frequency_penalty: 'translate',
  presence_penalty: 'translate',
  logit_bias: 'drop',
  logprobs: 'drop',
  top_logprobs: 'drop',
  tools: 'translate',
  tool_choice: 'refuse',
  functions: 'refuse',
  function_call: 'refuse',
  parallel_tool_calls: 'drop',
  response_format: 'translate',
  reasoning_effort: 'translate',
  reasoning: 'translate',
  modalities: 'drop',
  audio: 'refuse',
  web_search_options: 'refuse',
  metadata: 'drop',
  user: 'drop',
  store: 'drop',
  verbosity: 'drop',
  prediction: 'drop',
  service_tier: 'drop',
  keep_alive: 'pass',
  options: 'translate',
}

/** Of the inner language into `options`, where they have these names. */
const optionNames = ['temperature', 'top_p', 'top_k', 'seed', 'frequency_penalty', 'presence_penalty'] as const
/** Words of `think` that some models take; the others know only on and off. */
const thinkWords: ReadonlySet<string> = new Set(['low', 'medium', 'high'])
const streamType = 'application/x-ndjson'

const troubles: readonly TroubleRule[] = [
  { status: 404, message: /^model .{0,200}not found/i, trouble: 'model' },
  { status: 400, message: /exceed(s|ed)? .{0,40}context/i, trouble: 'context' },
]

export const ollama: Vendor = {
  id: 'ollama-native',
  speaks: [],
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request: (call, target, access, stream) => request(call, target, { access, stream }),
  reader,
  reply,
  parser: (contentType) => (contentType.includes(streamType) ? createLineParser() : undefined),
  failure: (head, body) => failureOf(head, body, troubles),
}

function request(
  { inner, dialect }: Call,
  { model }: Target,
  { access, stream }: { access: VendorAccess; stream: boolean },
): VendorRequest {
  const wish = toolWish(inner)
  // Only what it does anyway can be asked for: it offers the tools, and the model decides.
  const { tool_choice: choice, ...rest } = inner
  const dropped = checkParameters(
    wish?.kind === 'auto' || wish?.kind === 'none' ? rest : { ...rest, tool_choice: choice },
    parameters,
  )
  const messages = objectsOf(inner['messages'])
  const names = calledNames(messages)
  const functions = wish?.kind === 'none' ? [] : functionsIn(inner)
  const schema = schemaOf(inner)
  const keepAlive = inner['keep_alive']
  const options = optionsOf(inner)
  const body: JsonObject = {
    model,
    messages: messages.map((message) => messageOf(message, names)),
    // It streams unless told not to.
    stream,
    ...(functions.length > 0 && { tools: functions.map((named) => ({ type: 'function', function: named })) }),
    ...(schema && { format: Object.keys(schema).length === 0 ? 'json' : schema }),
    ...(Object.keys(options).length > 0 && { options }),
    ...thinkOf(inner),
    ...(keepAlive !== undefined && keepAlive !== null && { keep_alive: keepAlive }),
  }
  const post = { access, stream, dropped, streamType }
  if (dialect === 'completions')
    return jsonPost({ ...post, url: `${access.baseUrl}/api/generate`, body: promptBody(body, inner) })
  return jsonPost({ ...post, url: `${access.baseUrl}/api/chat`, body })
}

/** A prompt is completed, where a conversation would be answered. */
function promptBody({ messages: _, ...body }: JsonObject, inner: JsonObject): JsonObject {
  return {
    ...body,
    prompt: objectsOf(inner['messages'])
      .map(({ content }) => textOf(content))
      .join('\n\n'),
  }
}

function optionsOf(inner: JsonObject): JsonObject {
  const options = new Map<string, Json>(isObject(inner['options']) ? Object.entries(defined(inner['options'])) : [])
  for (const name of optionNames) {
    const value = inner[name]
    if (typeof value === 'number') options.set(name, value)
  }
  const [maxTokens, stops] = [maxTokensOf(inner), stopsOf(inner)]
  if (maxTokens !== undefined) options.set('num_predict', maxTokens)
  if (stops && stops.length > 0) options.set('stop', stops)
  return Object.fromEntries(options)
}

function defined(object: JsonObject): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(object).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

function thinkOf(inner: JsonObject): JsonObject {
  const wish = thoughtWish(inner)
  if (!wish) return {}
  if (wish.effort === 'none') return { think: false }
  return { think: wish.effort !== undefined && thinkWords.has(wish.effort) ? wish.effort : true }
}

/** Arguments are objects there, and a result names its function. */
function messageOf(message: JsonObject, names: ReadonlyMap<string, string>): JsonObject {
  const { role, content } = message
  const text = textOf(content)
  if (role === 'tool' || role === 'function') {
    const name = names.get(stringOf(message['tool_call_id'])) ?? stringOf(message['name'])
    return { role: 'tool', content: text, ...(name !== '' && { tool_name: name }) }
  }
  const images = partsOf(content)
    .filter((part) => part['type'] !== 'text' && part['type'] !== 'refusal')
    .map(imageOf)
  const calls = calledIn(message)
  return {
    role: role === 'developer' ? 'system' : stringOf(role),
    content: text,
    ...(images.length > 0 && { images }),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ name, arguments: given }) => ({
        function: { name, arguments: argumentsObject(given) },
      })),
    }),
  }
}

function imageOf(part: JsonObject): string {
  const media = dataUrl(imageUrlOf(part))
  if (media) return media.base64
  throw cannot('messages', 'anything but text and images as data URLs')
}

function usageFrom(read: (usage: JsonObject) => VendorUsage | undefined, body: JsonObject): VendorUsage | undefined {
  // The prompt's number is left out where the prompt was still in memory: then our own count stands in.
  return read({ prompt_tokens: body['prompt_eval_count'], completion_tokens: body['eval_count'] })
}

/** It says `stop` for tool calls too. */
function finishFor(reason: string, hasCalls: boolean): string {
  if (reason === 'length') return 'length'
  return hasCalls ? 'tool_calls' : 'stop'
}

/** What was said: in a message, or as what completes a prompt. */
function messageIn({ message, response, thinking }: JsonObject): JsonObject | undefined {
  if (isObject(message)) return message
  return typeof response === 'string' ? { content: response, ...(thinking !== undefined && { thinking }) } : undefined
}

function reader({ call }: ReaderOptions): (event: ServerEvent) => Piece {
  const usage = createUsageReader()
  let calls = 0
  let hasBegun = false
  return ({ data }) => {
    const body = parseJson(data)
    if (!isObject(body)) return { error: broken('a line that is no JSON object') }
    if (body['error'] !== undefined) return { error: errorInside(body, troubles) }
    const { text, delta, called } = read(messageIn(body) ?? {}, calls)
    calls += called
    const chunks =
      Object.keys(delta).length > 0 ? [innerChunk(call, hasBegun ? delta : { role: 'assistant', ...delta })] : []
    hasBegun ||= chunks.length > 0
    if (body['done'] !== true) return { ...(text !== '' && { text, content: true }), chunks, ...served(body) }
    const reason = stringOf(body['done_reason'])
    const counted = usageFrom(usage.read, body)
    return {
      ...(text !== '' && { text }),
      content: true,
      ...(counted && { usage: counted }),
      ...(reason !== '' && { finish: reason }),
      whole: true,
      last: true,
      chunks: [...chunks, innerChunk(call, {}, finishFor(reason, calls > 0))],
      ...served(body),
    }
  }
}

const maxModelLength = 256

function served(body: JsonObject): Pick<Piece, 'servedModel'> {
  const model = stringOf(body['model']).slice(0, maxModelLength)
  return model === '' ? {} : { servedModel: model }
}

interface Said {
  readonly text: string
  readonly delta: JsonObject
  readonly called: number
}

/** `from`: how many calls came before. Each one comes whole. */
function read(message: JsonObject, from: number): Said {
  const content = stringOf(message['content'])
  const thought = stringOf(message['thinking'])
  const calls = callsIn(message)
  return {
    text: thought + content + calls.map(({ name, arguments: given }) => name + given).join(''),
    delta: {
      ...(content !== '' && { content }),
      ...(thought !== '' && { reasoning_content: thought }),
      ...(calls.length > 0 && { tool_calls: calls.map((called, at) => innerToolCall(called, from + at)) }),
    },
    called: calls.length,
  }
}

/** Older servers give no ids; a caller needs one to answer a call. */
function callsIn(message: JsonObject) {
  return objectsOf(message['tool_calls']).flatMap(({ id, function: called }, at) => {
    if (!isObject(called)) return []
    const index = typeof called['index'] === 'number' ? called['index'] : at
    const name = stringOf(called['name'])
    return [{ id: stringOf(id) || `call_${index}_${name}`, name, arguments: argumentsText(called['arguments']) }]
  })
}

function reply(body: JsonObject, { call }: ReaderOptions): VendorReply {
  if (body['error'] !== undefined) return { text: '', error: errorInside(body, troubles) }
  const answer = messageIn(body)
  if (!answer) return { text: '', error: broken('a body that is no answer') }
  const { text, delta, called } = read(answer, 0)
  const reason = stringOf(body['done_reason'])
  const usage = usageFrom(createUsageReader().read, body)
  const message: JsonObject = {
    content: null,
    ...delta,
    ...(called > 0 && { tool_calls: callsIn(answer).map((each) => innerToolCall(each)) }),
    ...(called === 0 && delta['content'] === undefined && { content: '' }),
  }
  return {
    text,
    ...(usage && { usage }),
    ...(reason !== '' && { finish: reason }),
    ...served(body),
    inner: innerCompletion(call, message, finishFor(reason, called > 0)),
  }
}
