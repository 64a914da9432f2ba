import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { parseMoney } from '../core/money.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { createUsageReader, innerChunk, innerCompletion } from './inner-answer.ts'
import { dataUrl, imageUrlOf, partsOf, textOf } from './inner-prompt.ts'
import { jsonPost } from './json-post.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'
import type { Piece, ReaderOptions, Vendor, VendorReply, VendorUsage } from './vendor.ts'

/*
 * Apps that were built with Dify: https://docs.dify.ai/en/use-dify/publish/developing-with-apis. The key names the app,
 * and the target's model its kind. Model, instructions and parameters are the app's own; of a call it takes the words
 * and the `inputs` that its author has named. Every call begins a new conversation, because callers send theirs whole.
 */

export const parameters: ParameterTable = {
  max_tokens: 'drop',
  max_completion_tokens: 'drop',
  temperature: 'drop',
  top_p: 'drop',
  top_k: 'drop',
  stop: 'drop',
  n: 'refuse',
  seed: 'drop',
  frequency_penalty: 'drop',
  presence_penalty: 'drop',
  logit_bias: 'drop',
  logprobs: 'drop',
  top_logprobs: 'drop',
  tools: 'refuse',
  tool_choice: 'drop',
  functions: 'refuse',
  function_call: 'refuse',
  parallel_tool_calls: 'drop',
  response_format: 'refuse',
  reasoning_effort: 'drop',
  reasoning: 'drop',
  service_tier: 'drop',
  prediction: 'drop',
  modalities: 'drop',
  audio: 'refuse',
  web_search_options: 'refuse',
  verbosity: 'drop',
  store: 'drop',
  metadata: 'drop',
  user: 'pass',
  inputs: 'pass',
}

/** Paths by what the target's model begins with; what follows a `/` is only there to tell several apps apart. */
const paths: ReadonlyMap<string, string> = new Map([
  ['chat-messages', '/chat-messages'],
  ['completion-messages', '/completion-messages'],
  ['workflows-run', '/workflows/run'],
])
/** It demands a name for whoever asks. */
const anybody = 'caller'

const troubles: readonly TroubleRule[] = [
  { code: /^provider_(quota_exceeded|not_initialize)/, trouble: 'account' },
  { code: /^(model_currently_not_support|not_\w+_app|agent_not_published|app_unavailable)/, trouble: 'model' },
  { code: /^completion_request_error/, trouble: 'down' },
]

export const dify: Vendor = {
  id: 'dify',
  speaks: [],
  // Agents answer in no other way, and its proxies cut what takes long.
  streamOnly: () => true,
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request({ inner }, target, access, stream) {
    const dropped = checkParameters(inner, parameters)
    const kind = kindOf(target)
    const url = `${access.baseUrl}${paths.get(kind) ?? ''}`
    const body: JsonObject = {
      ...wordsFor(kind, inner),
      response_mode: stream ? 'streaming' : 'blocking',
      user: stringOf(inner['user']) || anybody,
    }
    return jsonPost({ url, access, stream, body, dropped })
  },
  reader,
  reply,
  failure: (head, body) => failureOf(head, body, troubles),
}

/** A name of another form is that of a chat. */
function kindOf({ model }: Target): string {
  const [kind = ''] = model.split('/')
  return paths.has(kind) ? kind : 'chat-messages'
}

/** A chat is asked; the other apps have inputs alone, of which `query` is the usual one. */
function wordsFor(kind: string, inner: JsonObject): JsonObject {
  const messages = objectsOf(inner['messages'])
  const query = queryOf(messages)
  const files = messages.flatMap(({ content }) => partsOf(content).flatMap(fileOf))
  const given = isObject(inner['inputs']) ? inner['inputs'] : {}
  return {
    ...(kind === 'chat-messages' ? { query, inputs: given } : { inputs: { query, ...given } }),
    ...(files.length > 0 && { files }),
  }
}

/** One message is the question itself; of several each has its speaker's name before it. */
function queryOf(messages: readonly JsonObject[]): string {
  const [first, ...more] = messages
  if (first && more.length === 0) return textOf(first['content'])
  return messages.map(({ role, content }) => `${stringOf(role)}: ${textOf(content)}`).join('\n\n')
}

function fileOf(part: JsonObject): readonly JsonObject[] {
  if (part['type'] === 'text' || part['type'] === 'refusal') return []
  const url = imageUrlOf(part)
  if (url === '' || dataUrl(url)) throw cannot('messages', 'anything but text and images at an address of their own')
  return [{ type: 'image', transfer_method: 'remote_url', url }]
}

type ReadUsage = (usage: JsonObject) => VendorUsage | undefined

/** A total alone is not split into what has two prices. */
function usageIn(read: ReadUsage, body: JsonObject): VendorUsage | undefined {
  const { metadata } = body
  const usage = isObject(metadata) ? metadata['usage'] : undefined
  if (!isObject(usage)) return undefined
  const { prompt_tokens: prompt, completion_tokens: completion, total_price: price, currency } = usage
  const normal = read({ prompt_tokens: prompt, completion_tokens: completion })
  const cost = currency === 'USD' ? parseMoney(stringOf(price)) : undefined
  return normal && cost !== undefined && cost >= 0n ? { ...normal, reportedCost: cost } : normal
}

function reader({ call }: ReaderOptions): (event: ServerEvent) => Piece {
  const { read } = createUsageReader()
  let hasText = false
  return ({ data }) => {
    const body = parseJson(data)
    if (!isObject(body)) return { error: broken('an event that is no JSON object') }
    const { event, data: inside } = body
    const details = isObject(inside) ? inside : {}
    switch (event) {
      case 'message':
      case 'agent_message':
      case 'text_chunk': {
        const text = stringOf(event === 'text_chunk' ? details['text'] : body['answer'])
        const piece = said(call, text, hasText)
        hasText ||= text !== ''
        return piece
      }
      case 'message_end': {
        const usage = usageIn(read, body)
        return { ...ended(call, []), ...(usage && { usage }) }
      }
      case 'workflow_finished':
        return finished(call, body, hasText)
      case 'workflow_paused':
        return { error: broken('a workflow that waits for a person') }
      case 'error':
        return { error: errorInside(body, troubles) }
      default:
        return { chunks: [] }
    }
  }
}

function said(call: Call, text: string, hasBegun: boolean): Piece {
  if (text === '') return { chunks: [] }
  const delta = { ...(!hasBegun && { role: 'assistant' }), content: text }
  return { text, content: true, chunks: [innerChunk(call, delta)] }
}

function ended(call: Call, chunks: readonly JsonObject[]): Piece {
  return { content: true, finish: 'stop', whole: true, last: true, chunks: [...chunks, innerChunk(call, {}, 'stop')] }
}

/** The end of a workflow, unless it runs behind a chat: then the message's own end comes beside it. */
function finished(call: Call, body: JsonObject, hasText: boolean): Piece {
  const run = isObject(body['data']) ? body['data'] : {}
  const fault = faultOf(run)
  if (fault) return { error: fault }
  if (body['message_id'] !== undefined || body['conversation_id'] !== undefined) return { chunks: [] }
  const text = hasText ? '' : outputText(run['outputs'])
  const { chunks = [], ...piece } = said(call, text, hasText)
  return { ...piece, ...ended(call, chunks) }
}

function faultOf({ status, error }: JsonObject) {
  if (status === 'failed') return errorInside({ message: stringOf(error), code: 'server_error' }, troubles)
  if (status === 'stopped') return broken('a workflow that was stopped')
  return status === 'paused' ? broken('a workflow that waits for a person') : undefined
}

/** One output is the answer; several are told with their names. */
function outputText(outputs: Json | undefined): string {
  if (!isObject(outputs)) return ''
  const values = Object.values(outputs)
  return values.length === 1 && typeof values[0] === 'string' ? values[0] : JSON.stringify(outputs)
}

function reply(body: JsonObject, { call }: ReaderOptions): VendorReply {
  const { answer, data: run } = body
  if (isObject(run)) {
    const fault = faultOf(run)
    const text = outputText(run['outputs'])
    return fault ? { text: '', error: fault } : { text, finish: 'stop', inner: completion(call, text) }
  }
  if (typeof answer !== 'string') {
    const isError = typeof body['message'] === 'string'
    return { text: '', error: isError ? errorInside(body, troubles) : broken('a body that is no answer') }
  }
  const usage = usageIn(createUsageReader().read, body)
  return { text: answer, ...(usage && { usage }), finish: 'stop', inner: completion(call, answer) }
}

function completion(call: Call, content: string): JsonObject {
  return innerCompletion(call, { content }, 'stop')
}
