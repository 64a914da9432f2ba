import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { createUsageReader, innerChunk, innerCompletion, innerToolCall } from './inner-answer.ts'
import {
  calledIn,
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
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'
import { jsonPost } from './json-post.ts'
import { withCohereOperations } from './operations-cohere.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorReply, VendorUsage } from './vendor.ts'

/*
 * Cohere's own chat API, version 2: https://docs.cohere.com/reference/chat. POST /v2/chat, Bearer key. Its compatible
 * endpoint is another adapter; only this one tells cached tokens, citations and the plan before tool calls.
 */

export const parameters: ParameterTable = {
  max_tokens: 'pass',
  max_completion_tokens: 'translate',
  temperature: 'pass',
  top_p: 'translate',
  top_k: 'translate',
  stop: 'translate',
  n: 'refuse',
  seed: 'pass',
  frequency_penalty: 'pass',
  presence_penalty: 'pass',
  logit_bias: 'drop',
  logprobs: 'drop',
  top_logprobs: 'drop',
  tools: 'translate',
  tool_choice: 'translate',
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
}

const passed = ['temperature', 'seed', 'frequency_penalty', 'presence_penalty'] as const
const format = 'cohere'

const finishes: Readonly<Record<string, string>> = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
  ERROR_TOXIC: 'content_filter',
  ERROR_LIMIT: 'length',
}

/** https://docs.cohere.com/reference/errors: a message, and now and then a type. 429 also tells of trial keys. */
const troubles: readonly TroubleRule[] = [
  { code: /^TOO_MANY_TOKENS$/, trouble: 'context' },
  { status: 400, message: /^too many tokens/i, trouble: 'context' },
  { status: 404, message: /^model .{0,80}not found/i, trouble: 'model' },
  { status: 498, trouble: 'policy' },
  { status: 499, trouble: 'down' },
]

export const cohere: Vendor = withCohereOperations(
  {
    id: 'cohere',
    speaks: [],
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request: (call, target, access, stream) => request(call, target, { access, stream }),
    reader,
    reply,
    failure: (head, body) => failureOf(head, body, troubles),
  },
  troubles,
)

function request(
  { inner }: Call,
  { model }: Target,
  { access, stream }: { access: VendorAccess; stream: boolean },
): VendorRequest {
  const dropped = checkParameters(inner, parameters)
  const body: Record<string, Json> = { model, messages: objectsOf(inner['messages']).map(messageOf), stream }
  for (const name of passed) {
    const value = inner[name]
    if (value !== undefined && value !== null) body[name] = value
  }
  const { top_p: p, top_k: k } = inner
  const [maxTokens, stops] = [maxTokensOf(inner), stopsOf(inner)]
  if (typeof p === 'number') body['p'] = p
  if (typeof k === 'number') body['k'] = k
  if (maxTokens !== undefined) body['max_tokens'] = maxTokens
  if (stops && stops.length > 0) body['stop_sequences'] = stops
  const schema = schemaOf(inner)
  if (schema) body['response_format'] = formatOf(schema)
  Object.assign(body, toolsOf(inner), thinkingOf(inner))
  return jsonPost({ url: `${access.baseUrl}/v2/chat`, access, stream, body, dropped })
}

function formatOf(schema: JsonObject): JsonObject {
  return Object.keys(schema).length === 0 ? { type: 'json_object' } : { type: 'json_object', json_schema: schema }
}

/** There is no word for one certain function: it is offered alone, and one must be called. */
function toolsOf(inner: JsonObject): JsonObject {
  const functions = functionsIn(inner)
  if (functions.length === 0) return {}
  const wish = toolWish(inner)
  const offered = wish?.kind === 'named' ? functions.filter(({ name }) => name === wish.name) : functions
  if (offered.length === 0) throw cannot('tool_choice', 'a "tool_choice" that names none of the tools')
  const tools = offered.map((named) => ({ type: 'function', function: named }))
  if (wish === undefined || wish.kind === 'auto') return { tools }
  return { tools, tool_choice: wish.kind === 'none' ? 'NONE' : 'REQUIRED' }
}

function thinkingOf(inner: JsonObject): JsonObject {
  const wish = thoughtWish(inner)
  if (!wish) return {}
  if (wish.effort === 'none') return { thinking: { type: 'disabled' } }
  return { thinking: { type: 'enabled', ...(wish.budget !== undefined && { token_budget: wish.budget }) } }
}

function messageOf(message: JsonObject): JsonObject {
  const { role, content } = message
  if (role === 'tool' || role === 'function')
    return { role: 'tool', tool_call_id: stringOf(message['tool_call_id']), content: textOf(content) }
  if (role !== 'assistant')
    return { role: role === 'developer' ? 'system' : stringOf(role), content: contentOf(content) }
  const calls = calledIn(message).map((called) => innerToolCall(called))
  const plan = stringOf(message['tool_plan'])
  const parts = [...thoughtsOf(message), ...partsOf(content).map(textPart)]
  return {
    role: 'assistant',
    ...(parts.length > 0 && { content: parts }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(plan !== '' && { tool_plan: plan }),
  }
}

function textPart(part: JsonObject): JsonObject {
  return { type: 'text', text: textOf([part]) }
}

/** Only its own thoughts: those of other families are not for it to read. */
function thoughtsOf(message: JsonObject): readonly JsonObject[] {
  return objectsOf(message['reasoning_details'])
    .filter((detail) => detail['format'] === format)
    .map(({ text }) => ({ type: 'thinking', thinking: stringOf(text) }))
}

function contentOf(content: Json | undefined): Json {
  if (!isList(content)) return stringOf(content)
  return partsOf(content).map((part) => {
    if (part['type'] === 'text') return textPart(part)
    const url = imageUrlOf(part)
    if (url === '') throw cannot('messages', `content of type "${stringOf(part['type']).slice(0, 32)}"`)
    return { type: 'image_url', image_url: isObject(part['image_url']) ? part['image_url'] : { url } }
  })
}

/** `tokens` is what was processed; `billed_units` leaves out what Cohere itself puts around a prompt. */
function usageFor(read: (usage: JsonObject) => VendorUsage | undefined, usage: Json | undefined) {
  if (!isObject(usage) || !isObject(usage['tokens'])) return undefined
  const { tokens, cached_tokens: cached } = usage
  const { input_tokens: prompt, output_tokens: completion, reasoning_tokens: reasoning, image_tokens: images } = tokens
  const normal = read({
    prompt_tokens: prompt,
    completion_tokens: completion,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
  })
  // Images are counted beside the input here, and billed; no recorded price says at what rate.
  if (!normal || typeof images !== 'number' || images <= 0) return normal
  return { ...normal, anomalies: [...normal.anomalies, 'image_outside_input'] }
}

function reader({ call }: ReaderOptions): (event: ServerEvent) => Piece {
  const seen: Seen = { call, read: createUsageReader().read, bare: new Set() }
  let hasBegun = false
  return (event) => {
    const body = parseJson(event.data)
    if (body === undefined) return isDone(event.data) ? { whole: true, last: true } : { error: broken('no JSON') }
    if (!isObject(body)) return { error: broken('an event that is no object') }
    if (body['type'] === undefined && body['message'] !== undefined) return { error: errorInside(body, troubles) }
    const piece = pieceOf(seen, body)
    if (hasBegun || !piece.chunks?.length) return piece
    hasBegun = true
    return { ...piece, chunks: [innerChunk(call, { role: 'assistant', content: '' }), ...piece.chunks] }
  }
}

function isDone(data: Uint8Array): boolean {
  return data.length < 16 && new TextDecoder().decode(data).trim() === '[DONE]'
}

interface Seen {
  readonly call: Call
  readonly read: (usage: JsonObject) => VendorUsage | undefined
  /** Calls whose arguments have not begun. */
  readonly bare: Set<Json | undefined>
}

function pieceOf({ call, read, bare }: Seen, body: JsonObject): Piece {
  const { index, delta } = body
  const message = isObject(delta) && isObject(delta['message']) ? delta['message'] : {}
  switch (body['type']) {
    case 'content-start':
    case 'content-delta':
      return contentPiece(call, message['content'], index)
    case 'tool-plan-delta':
      return said(call, stringOf(message['tool_plan']), { tool_plan: stringOf(message['tool_plan']) })
    case 'tool-call-start':
      bare.add(index)
      return toolPiece(call, message['tool_calls'], index)
    case 'tool-call-delta':
      bare.delete(index)
      return toolPiece(call, message['tool_calls'], index)
    case 'tool-call-end':
      // Arguments are JSON even where there are none.
      return bare.delete(index) ? toolPiece(call, { function: { arguments: '{}' } }, index) : {}
    case 'citation-start': {
      const annotations = annotationsOf([message['citations']])
      return annotations.length > 0 ? { chunks: [innerChunk(call, { annotations })] } : {}
    }
    case 'message-end':
      return endPiece(call, isObject(delta) ? delta : {}, read)
    default:
      return {}
  }
}

function said(call: Call, text: string, delta: JsonObject): Piece {
  return text === '' ? {} : { text, content: true, chunks: [innerChunk(call, delta)] }
}

function contentPiece(call: Call, content: Json | undefined, index: Json | undefined): Piece {
  if (!isObject(content)) return {}
  const thought = stringOf(content['thinking'])
  if (thought !== '') return said(call, thought, thoughtDelta(thought, typeof index === 'number' ? index : 0))
  const text = stringOf(content['text'])
  return said(call, text, { content: text })
}

function thoughtDelta(text: string, index: number): JsonObject {
  return { reasoning_content: text, reasoning_details: [{ type: 'reasoning.text', text, format, index }] }
}

function toolPiece(call: Call, called: Json | undefined, index: Json | undefined): Piece {
  if (!isObject(called) || !isObject(called['function'])) return {}
  const at = typeof index === 'number' ? index : 0
  const { name, arguments: given } = called['function']
  const begins = stringOf(called['id']) !== '' || stringOf(name) !== ''
  const more = stringOf(given)
  const delta = begins
    ? innerToolCall({ id: stringOf(called['id']), name: stringOf(name), arguments: more }, at)
    : { index: at, function: { arguments: more } }
  return said(call, stringOf(name) + more, { tool_calls: [delta] })
}

function annotationsOf(citations: readonly (Json | undefined)[]): readonly JsonObject[] {
  return citations.filter(isObject).flatMap(({ start, end, sources }) =>
    objectsOf(sources).flatMap(({ document }) => {
      const url = isObject(document) ? stringOf(document['url']) : ''
      if (!isObject(document) || url === '' || typeof start !== 'number' || typeof end !== 'number') return []
      const citation = { url, title: stringOf(document['title']), start_index: start, end_index: end }
      return [{ type: 'url_citation', url_citation: citation }]
    }),
  )
}

function endPiece(call: Call, delta: JsonObject, read: (usage: JsonObject) => VendorUsage | undefined): Piece {
  const finish = stringOf(delta['finish_reason'])
  const usage = usageFor(read, delta['usage'])
  const counted = usage ? { usage } : {}
  if (failed(finish)) return { error: broken(`"${finish.slice(0, 64)}" as the end of its answer`), ...counted }
  return {
    ...counted,
    content: true,
    ...(finish !== '' && { finish }),
    whole: true,
    last: true,
    chunks: [innerChunk(call, {}, finishes[finish] ?? 'stop')],
  }
}

function failed(finish: string): boolean {
  return finish === 'ERROR' || finish === 'TIMEOUT'
}

function reply(body: JsonObject, { call }: ReaderOptions): VendorReply {
  const { message, finish_reason: reason } = body
  if (!isObject(message)) {
    const isError = typeof message === 'string'
    return { text: '', error: isError ? errorInside(body, troubles) : broken('a body that is no answer') }
  }
  const finish = stringOf(reason)
  const answer = answerOf(message)
  const usage = usageFor(createUsageReader().read, body['usage'])
  return {
    text: answer.text,
    ...(usage && { usage }),
    ...(finish !== '' && { finish }),
    ...(failed(finish) && { error: broken(`"${finish}" as the end of its answer`) }),
    inner: innerCompletion(call, answer.message, finishes[finish] ?? 'stop'),
  }
}

function answerOf(message: JsonObject): { readonly text: string; readonly message: JsonObject } {
  const parts = objectsOf(message['content'])
  const text = parts.map((part) => stringOf(part['text'])).join('')
  const thoughts = parts.map((part) => stringOf(part['thinking'])).filter((thought) => thought !== '')
  // A call without arguments says null.
  const calls = calledIn(message).map((called) =>
    called.arguments === 'null' ? { ...called, arguments: '{}' } : called,
  )
  const plan = stringOf(message['tool_plan'])
  const annotations = annotationsOf(isList(message['citations']) ? message['citations'] : [])
  const details = thoughts.map((thought, index) => ({ type: 'reasoning.text', text: thought, format, index }))
  return {
    text: thoughts.join('') + plan + text + calls.map(({ name, arguments: given }) => name + given).join(''),
    message: {
      content: text === '' && calls.length > 0 ? null : text,
      ...(thoughts.length > 0 && { reasoning_content: thoughts.join(''), reasoning_details: details }),
      ...(plan !== '' && { tool_plan: plan }),
      ...(annotations.length > 0 && { annotations }),
      ...(calls.length > 0 && { tool_calls: calls.map((called) => innerToolCall(called)) }),
    },
  }
}
