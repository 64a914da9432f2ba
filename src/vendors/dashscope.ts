import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { finishOf, isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { createUsageReader, innerChunk, innerCompletion } from './inner-answer.ts'
import { dataUrl, functionsIn, imageUrlOf, partsOf, stopsOf, textOf, thoughtWish } from './inner-prompt.ts'
import { jsonPost } from './json-post.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'
import { createToolDeltas, type ToolDeltas } from './tool-deltas.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorReply, VendorUsage } from './vendor.ts'

/*
 * DashScope's own API, for what its compatible endpoint has no words for:
 * https://help.aliyun.com/zh/model-studio/qwen-api-via-dashscope. Base https://dashscope.aliyuncs.com/api/v1, Bearer key;
 * `text-generation/generation` for texts, `multimodal-generation/generation` for models that see or hear.
 */

export const parameters: ParameterTable = {
  max_tokens: 'pass',
  max_completion_tokens: 'pass',
  temperature: 'pass',
  top_p: 'pass',
  top_k: 'pass',
  stop: 'pass',
  n: 'refuse',
  seed: 'pass',
  frequency_penalty: 'drop',
  presence_penalty: 'pass',
  logit_bias: 'pass',
  logprobs: 'drop',
  top_logprobs: 'drop',
  tools: 'pass',
  tool_choice: 'pass',
  functions: 'refuse',
  function_call: 'refuse',
  parallel_tool_calls: 'pass',
  response_format: 'pass',
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
  enable_thinking: 'pass',
  thinking_budget: 'pass',
  enable_search: 'pass',
  search_options: 'pass',
  repetition_penalty: 'pass',
}

const sentAsIs = Object.keys(parameters).filter((name) => parameters[name] === 'pass' && name !== 'stop')
const textPath = 'text-generation/generation'
const mediaPath = 'multimodal-generation/generation'
/** An app that was built there, by its id: `apps/ID`. Model and instructions are its own. */
const app = /^apps\/[\w-]{1,64}$/
/** Families that are served for media only there, whatever they are sent. */
const mediaModels = /(^|-)(vl|omni|audio|ocr|asr)(-|$)|^qvq|^qwen3\.[5-9]/

/** https://help.aliyun.com/zh/model-studio/error-code; the compatible endpoint has the same. */
export const dashscopeTroubles: readonly TroubleRule[] = [
  {
    code: /^(arrearage|invalidapikey|accessdenied|commoditynotpurchased|prepaidbilloverdue|postpaidbilloverdue)/i,
    trouble: 'account',
  },
  { code: /^data_?inspection_?failed/i, trouble: 'policy' },
  { code: /^model(\.|_?not_?(found|exist))/i, trouble: 'model' },
  { code: /^throttling/i, trouble: 'busy' },
  { status: 400, message: /range of input length should be/i, trouble: 'context' },
  { code: /^invalid_?parameter/i, trouble: 'request' },
]

export const dashscope: Vendor = {
  id: 'dashscope',
  speaks: [],
  // Thinking is refused unless streamed.
  streamOnly: ({ inner }) => inner['enable_thinking'] === true || wantsThought(inner),
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request: (call, target, access, stream) => request(call, target, { access, stream }),
  reader,
  reply,
  counting: { request: countRequest, tokens: tokensCounted },
  failure: (head, body) => failureOf(head, body, dashscopeTroubles),
}

/** Texts alone are counted there; for anything else the gateway's own count has to do. */
function countRequest({ inner }: Call, { model }: Target, access: VendorAccess): VendorRequest {
  const messages = objectsOf(inner['messages'])
  const hasMedia = messages.some(({ content }) => partsOf(content).some(isMediaPart))
  if (hasMedia || functionsIn(inner).length > 0 || app.test(model))
    throw cannot('messages', 'anything but texts where it counts')
  const body = { model, input: { messages: messages.map((message) => messageOf(message, false)) } }
  return jsonPost({ url: `${access.baseUrl}/tokenizer`, access, stream: false, body, dropped: [] })
}

function tokensCounted({ usage }: JsonObject): number | undefined {
  const tokens = isObject(usage) ? usage['input_tokens'] : undefined
  return typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens >= 0 ? tokens : undefined
}

function wantsThought(inner: JsonObject): boolean {
  const wish = thoughtWish(inner)
  return wish !== undefined && wish.effort !== 'none'
}

function request(
  { inner }: Call,
  { model }: Target,
  { access, stream }: { access: VendorAccess; stream: boolean },
): VendorRequest {
  const dropped = checkParameters(inner, parameters)
  functionsIn(inner)
  const messages = objectsOf(inner['messages'])
  const isMedia = mediaModels.test(model) || messages.some(({ content }) => partsOf(content).some(isMediaPart))
  const body: JsonObject = {
    model,
    input: { messages: messages.map((message) => messageOf(message, isMedia)) },
    parameters: { ...parametersFor(inner), result_format: 'message', incremental_output: stream },
  }
  const { model: _, ...appBody } = body
  const isApp = app.test(model)
  const path = isApp ? `${model}/completion` : `services/aigc/${isMedia ? mediaPath : textPath}`
  return jsonPost({
    url: `${access.baseUrl}/${path}`,
    access,
    stream,
    body: isApp ? appBody : body,
    dropped,
    ...(stream && { headers: { 'x-dashscope-sse': 'enable' } }),
  })
}

function parametersFor(inner: JsonObject): JsonObject {
  const given = sentAsIs.flatMap((name) => {
    const value = inner[name]
    return value === undefined || value === null ? [] : [[name, value] as const]
  })
  const stops = stopsOf(inner)
  const wish = thoughtWish(inner)
  return {
    ...Object.fromEntries(given),
    ...(stops && stops.length > 0 && { stop: stops }),
    ...(wish && { enable_thinking: wish.effort !== 'none' }),
    ...(wish?.budget !== undefined && { thinking_budget: wish.budget }),
  }
}

function isMediaPart({ type }: JsonObject): boolean {
  return type !== 'text' && type !== 'refusal'
}

function messageOf(message: JsonObject, isMedia: boolean): JsonObject {
  const { role, content, tool_calls: calls, tool_call_id: callId, reasoning_content: thought } = message
  return {
    role: role === 'developer' ? 'system' : stringOf(role),
    content: isMedia ? partsOf(content).map(partOf) : textOf(content),
    ...(isList(calls) && calls.length > 0 && { tool_calls: calls }),
    ...(stringOf(callId) !== '' && { tool_call_id: stringOf(callId) }),
    ...(role === 'assistant' && stringOf(thought) !== '' && { reasoning_content: stringOf(thought) }),
  }
}

/** A part is named by its kind. */
function partOf(part: JsonObject): JsonObject {
  if (!isMediaPart(part)) return { text: textOf([part]) }
  const image = imageUrlOf(part)
  if (image !== '') return { image }
  const { input_audio: audio, video_url: video } = part
  if (isObject(audio)) return { audio: audioUrl(audio) }
  const url = isObject(video) ? stringOf(video['url']) : ''
  if (url !== '') return { video: url }
  throw cannot('messages', `content of type "${stringOf(part['type']).slice(0, 32)}"`)
}

function audioUrl({ data, format }: JsonObject): string {
  const text = stringOf(data)
  return dataUrl(text) || /^https?:/.test(text) ? text : `data:audio/${stringOf(format) || 'wav'};base64,${text}`
}

/** Every event tells all that is known so far. Image, audio and video tokens are inside the input. */
function usageFor(read: (usage: JsonObject) => VendorUsage | undefined, usage: Json | undefined) {
  if (!isObject(usage)) return undefined
  if (isList(usage['models'])) return usageFor(read, sumOf(objectsOf(usage['models'])))
  const { input_tokens: prompt, output_tokens: completion, output_tokens_details: output } = usage
  const normal = read({
    prompt_tokens: prompt,
    completion_tokens: completion,
    prompt_tokens_details: usage['prompt_tokens_details'],
    completion_tokens_details: output,
  })
  const searches = searchesIn(usage['plugins'])
  return normal && searches > 0 ? { ...normal, counts: { ...normal.counts, search: searches } } : normal
}

const maxModels = 64

/** An app tells what each of its models has used. What is no number spoils the sum, so that the reader flags it. */
function sumOf(models: readonly JsonObject[]): JsonObject {
  const total = (name: string): Json => {
    const counts = models.slice(0, maxModels).map((each) => each[name] ?? 0)
    const odd = counts.find((count) => typeof count !== 'number')
    return odd ?? counts.reduce((sum: number, count) => sum + (typeof count === 'number' ? count : 0), 0)
  }
  return models.length === 0 ? {} : { input_tokens: total('input_tokens'), output_tokens: total('output_tokens') }
}

/** Searches are billed beside the tokens. */
function searchesIn(plugins: Json | undefined): number {
  const search = isObject(plugins) ? plugins['search'] : undefined
  const count = isObject(search) ? search['count'] : undefined
  return typeof count === 'number' && Number.isSafeInteger(count) && count > 0 && count <= 1000 ? count : 0
}

/** One answer: a message among choices, or a text alone, as older models and formats have it. */
function choiceIn(body: JsonObject): { readonly message: JsonObject; readonly finish: string | undefined } | undefined {
  const { output } = body
  if (!isObject(output)) return undefined
  const [choice] = objectsOf(output['choices'])
  if (choice) return { message: isObject(choice['message']) ? choice['message'] : {}, finish: finishOf(choice) }
  if (typeof output['text'] !== 'string') return undefined
  return { message: { content: output['text'] }, finish: finishOf(output) }
}

function finishFor(word: string, hasCalls: boolean): string {
  if (hasCalls && word === 'stop') return 'tool_calls'
  return word === 'length' || word === 'tool_calls' || word === 'content_filter' ? word : 'stop'
}

interface Seen {
  readonly call: Call
  readonly read: (usage: JsonObject) => VendorUsage | undefined
  readonly tools: ToolDeltas
  hasBegun: boolean
  hasCalls: boolean
}

function reader({ call }: ReaderOptions): (event: ServerEvent) => Piece {
  const tools = createToolDeltas(`call_${call.id.replaceAll('-', '').slice(0, 24)}_`)
  const seen: Seen = { call, read: createUsageReader().read, tools, hasBegun: false, hasCalls: false }
  return ({ name, data }) => {
    const body = parseJson(data)
    if (!isObject(body)) return { error: broken('an event that is no JSON object') }
    if (name === 'error' || (body['output'] === undefined && body['code'] !== undefined))
      return { error: errorInside(body, dashscopeTroubles) }
    return pieceOf(seen, body)
  }
}

function pieceOf(seen: Seen, body: JsonObject): Piece {
  const choice = choiceIn(body)
  const usage = usageFor(seen.read, body['usage'])
  if (!choice) return { ...(usage && { usage }), chunks: [] }
  const { delta, text } = deltaOf(choice.message, seen.tools)
  seen.hasCalls ||= delta['tool_calls'] !== undefined
  const chunks = text === '' ? [] : [innerChunk(seen.call, seen.hasBegun ? delta : { role: 'assistant', ...delta })]
  seen.hasBegun ||= chunks.length > 0
  if (choice.finish !== undefined) chunks.push(innerChunk(seen.call, {}, finishFor(choice.finish, seen.hasCalls)))
  return {
    ...(usage && { usage }),
    ...(text !== '' && { text }),
    ...((text !== '' || choice.finish !== undefined) && { content: true }),
    ...(choice.finish !== undefined && { finish: choice.finish, whole: true }),
    chunks,
  }
}

function deltaOf(message: JsonObject, tools: ToolDeltas): { readonly delta: JsonObject; readonly text: string } {
  const content = textOf(message['content'])
  const thought = stringOf(message['reasoning_content'])
  const pieces = objectsOf(message['tool_calls'])
  const calls = tools.repair(pieces) ?? pieces
  return {
    text: thought + content + calls.map(calledText).join(''),
    delta: {
      ...(content !== '' && { content }),
      ...(thought !== '' && { reasoning_content: thought }),
      ...(calls.length > 0 && { tool_calls: calls }),
    },
  }
}

function calledText({ function: called }: JsonObject): string {
  return isObject(called) ? stringOf(called['name']) + stringOf(called['arguments']) : ''
}

function reply(body: JsonObject, { call }: ReaderOptions): VendorReply {
  const choice = choiceIn(body)
  if (!choice) {
    const isError = body['code'] !== undefined && typeof body['message'] === 'string'
    return { text: '', error: isError ? errorInside(body, dashscopeTroubles) : broken('a body that is no answer') }
  }
  const { delta, text } = deltaOf(choice.message, createToolDeltas(`call_${call.id.slice(0, 8)}_`))
  const usage = usageFor(createUsageReader().read, body['usage'])
  const calls = objectsOf(delta['tool_calls']).map(({ index: _, ...called }) => called)
  const message = { content: calls.length > 0 ? null : '', ...delta, ...(calls.length > 0 && { tool_calls: calls }) }
  const finish = choice.finish ?? ''
  return {
    text,
    ...(usage && { usage }),
    ...(finish !== '' && { finish }),
    inner: innerCompletion(call, message, finishFor(finish, calls.length > 0)),
  }
}
