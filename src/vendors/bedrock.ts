import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import { createFrameParser, exceptionMark } from '../core/frame-events.ts'
import type { Counts } from '../core/price.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import type { VendorHead, VendorRequest } from '../ports.ts'
import { bedrockPost } from './bedrock-post.ts'
import { converseRequest, signedFormat } from './bedrock-request.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { createUsageReader, innerChunk, innerCompletion, innerToolCall } from './inner-answer.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorFailure, VendorReply, VendorUsage } from './vendor.ts'

/*
 * Amazon Bedrock's Converse: https://bedrock-runtime.REGION.amazonaws.com/model/ID/converse and …/converse-stream. The
 * key is a Bedrock API key (https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html) or an access key.
 */

export const streamType = 'application/vnd.amazon.eventstream'

const finishes: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  guardrail_intervened: 'content_filter',
  content_filtered: 'content_filter',
}

const troubles: readonly TroubleRule[] = [
  {
    code: /^(AccessDenied|UnrecognizedClient|ExpiredToken|InvalidSignature|IncompleteSignature|SignatureDoesNotMatch|MissingAuth|RequestExpired)/,
    trouble: 'account',
  },
  { code: /^ServiceQuotaExceeded/, trouble: 'busy' },
  { code: /^throttling/i, trouble: 'busy' },
  { code: /^(ResourceNotFound|ModelNotReady)/, trouble: 'model' },
  { message: /model identifier is invalid|on-demand throughput isn.t supported/i, trouble: 'model' },
  { message: /Input Tokens Exceeded|input is too long|too many (input )?tokens/i, trouble: 'context' },
  { code: /^validation/i, trouble: 'request' },
  { code: /^(modelTimeout|modelError|modelStreamError|internalServer|serviceUnavailable)/i, trouble: 'down' },
]

export const bedrock: Vendor = {
  id: 'bedrock',
  speaks: [],
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request: ({ inner }, target, access, stream) => {
    const { body, dropped } = converseRequest(inner, target.model)
    const url = `${access.baseUrl}/model/${encodeURIComponent(target.model)}/converse${stream ? '-stream' : ''}`
    return bedrockPost(target, { url, access, stream, body, dropped, streamType })
  },
  reader,
  reply,
  parser: (contentType) => (contentType.includes(streamType) ? createFrameParser() : undefined),
  counting: {
    // The rest of a request is not counted, and is refused there.
    request({ inner }, target, access) {
      const { messages, system, toolConfig } = converseRequest(inner, target.model).body
      const converse = { ...(messages && { messages }), ...(system && { system }), ...(toolConfig && { toolConfig }) }
      return countAt(target, access, { converse })
    },
    tokens: tokensCounted,
  },
  failure: bedrockFailure,
}

/** https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html. */
export function countAt(target: Target, access: VendorAccess, input: JsonObject): VendorRequest {
  const url = `${access.baseUrl}/model/${encodeURIComponent(target.model)}/count-tokens`
  return bedrockPost(target, { url, access, stream: false, body: { input }, dropped: [] })
}

export function tokensCounted({ inputTokens: tokens }: JsonObject): number | undefined {
  return typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens >= 0 ? tokens : undefined
}

/** Whose fault a refusal of this vendor's is, whichever of its wires was spoken. */
export function bedrockFailure(head: VendorHead, body: Uint8Array): VendorFailure {
  return failureOf(head, withErrorType(head, body), troubles)
}

/** The error that a frame tells which is no event. */
export function bedrockException({ name, data }: ServerEvent): GatewayError {
  return exception(name.slice(exceptionMark.length), parseJson(data))
}

/** What is wrong is named in a header, before a colon; the body has words only. */
function withErrorType({ headers }: VendorHead, body: Uint8Array): Uint8Array {
  const [type = ''] = (headers['x-amzn-errortype'] ?? '').split(':')
  const said = type === '' ? undefined : parseJson(body)
  return isObject(said) ? new TextEncoder().encode(JSON.stringify({ ...said, code: type })) : body
}

type ReadUsage = (usage: JsonObject) => VendorUsage | undefined

/** Their input leaves out what was read from a cache and written to one; the inner language's holds both. */
function usageFor(read: ReadUsage, usage: Json | undefined): VendorUsage | undefined {
  if (!isObject(usage)) return undefined
  const { inputTokens, outputTokens, cacheReadInputTokens: cached, cacheWriteInputTokens: written } = usage
  const normal = read({
    prompt_tokens: sumOf(inputTokens, cached, written),
    completion_tokens: outputTokens,
    prompt_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
  })
  return normal && { ...normal, counts: withHours(normal.counts, usage['cacheDetails']) }
}

/** What is no number spoils the sum, so that the reader of usage flags it. */
function sumOf(first: Json | undefined, ...more: readonly (Json | undefined)[]): Json | undefined {
  if (typeof first !== 'number') return first
  return more.reduce((sum: number, value) => (typeof value === 'number' ? sum + value : sum), first)
}

/** Of what was written to a cache, the part that is kept for an hour has a price of its own. */
function withHours(counts: Counts, details: Json | undefined): Counts {
  const hourly = objectsOf(details).reduce((sum, { ttl, inputTokens: count }) => {
    return ttl === '1h' && typeof count === 'number' && Number.isSafeInteger(count) && count > 0 ? sum + count : sum
  }, 0)
  const { cache_write_5m: written = 0, ...rest } = counts
  const moved = Math.min(hourly, written)
  if (moved === 0) return counts
  return { ...rest, ...(written > moved && { cache_write_5m: written - moved }), cache_write_1h: moved }
}

/** What a reader remembers of a stream. */
interface Seen {
  readonly call: Call
  readonly read: ReadUsage
  /** Blocks by their index, for tool calls: the place among the calls. Of a tool that ran there nothing is passed on. */
  readonly blocks: Map<Json | undefined, number>
  /** Calls whose arguments have not begun. */
  readonly bare: Set<number>
  calls: number
}

function reader({ call }: ReaderOptions): (event: ServerEvent) => Piece {
  const seen: Seen = { call, read: createUsageReader().read, blocks: new Map(), bare: new Set(), calls: 0 }
  return ({ name, data }) => {
    const body = parseJson(data)
    if (name.startsWith(exceptionMark)) return { error: bedrockException({ name, data }) }
    if (!isObject(body)) return { error: broken('a frame without a JSON object') }
    switch (name) {
      case 'messageStart':
        return { chunks: [innerChunk(call, { role: 'assistant', content: '' })] }
      case 'contentBlockStart':
        return startPiece(seen, body)
      case 'contentBlockDelta':
        return deltaPiece(seen, body)
      case 'contentBlockStop':
        return endOfBlock(seen, body)
      case 'messageStop':
        return stopPiece(call, stringOf(body['stopReason']))
      case 'metadata': {
        const usage = usageFor(seen.read, body['usage'])
        return { ...(usage && { usage }), usageOnly: true, last: true, chunks: [] }
      }
      default:
        return { chunks: [] }
    }
  }
}

function exception(type: string, body: Json | undefined) {
  return errorInside({ ...(isObject(body) ? body : {}), code: type }, troubles)
}

const maxBlocks = 4096

function startPiece(seen: Seen, { contentBlockIndex: index, start }: JsonObject): Piece {
  const used = isObject(start) ? start['toolUse'] : undefined
  if (seen.blocks.size >= maxBlocks) return { error: broken('more blocks than one answer can hold') }
  if (!isObject(used) || used['type'] === 'server_tool_use') return { chunks: [] }
  const at = seen.calls++
  seen.blocks.set(index, at)
  seen.bare.add(at)
  const name = stringOf(used['name'])
  const delta = { tool_calls: [innerToolCall({ id: stringOf(used['toolUseId']), name, arguments: '' }, at)] }
  return { text: name, content: true, chunks: [innerChunk(seen.call, delta)] }
}

/** Arguments are JSON even where there are none. */
function endOfBlock({ call, blocks, bare }: Seen, { contentBlockIndex: index }: JsonObject): Piece {
  const block = blocks.get(index)
  if (block === undefined || !bare.delete(block)) return { chunks: [] }
  return { chunks: [innerChunk(call, { tool_calls: [{ index: block, function: { arguments: '{}' } }] })] }
}

function deltaPiece({ call, blocks, bare }: Seen, { contentBlockIndex: index, delta }: JsonObject): Piece {
  if (!isObject(delta)) return { chunks: [] }
  const block = blocks.get(index)
  const { text, toolUse: used, reasoningContent: thought, citation } = delta
  if (isObject(used)) {
    const input = stringOf(used['input'])
    if (block === undefined) return { ...counted(input), chunks: [] }
    if (input !== '') bare.delete(block)
    return said(call, input, { tool_calls: [{ index: block, function: { arguments: input } }] })
  }
  if (isObject(thought)) return thoughtPiece(call, thought, index)
  if (isObject(citation)) return { chunks: [] }
  return said(call, stringOf(text), { content: stringOf(text) })
}

/** Generated and paid for, though the caller has no use for it. */
function counted(text: string): Pick<Piece, 'text' | 'content'> {
  return text === '' ? {} : { text, content: true }
}

function said(call: Call, text: string, delta: JsonObject): Piece {
  return text === '' ? { chunks: [] } : { text, content: true, chunks: [innerChunk(call, delta)] }
}

function thoughtPiece(call: Call, thought: JsonObject, index: Json | undefined): Piece {
  const at = typeof index === 'number' ? index : 0
  const [text, signature, redacted] = [thought['text'], thought['signature'], thought['redactedContent']].map(stringOf)
  if (redacted) {
    const item = { type: 'reasoning.encrypted', data: redacted, format: signedFormat, index: at }
    return { content: true, chunks: [innerChunk(call, { reasoning_details: [item] })] }
  }
  if (!text && !signature) return { chunks: [] }
  const item = { type: 'reasoning.text', ...(text && { text }), ...(signature && { signature }) }
  const details = [{ ...item, format: signedFormat, index: at }]
  const delta = { ...(text && { reasoning_content: text }), reasoning_details: details }
  return { ...counted(text ?? ''), chunks: [innerChunk(call, delta)] }
}

function stopPiece(call: Call, reason: string): Piece {
  const chunks = [innerChunk(call, {}, finishes[reason] ?? 'stop')]
  return { content: true, ...(reason !== '' && { finish: reason }), whole: true, chunks }
}

function reply(body: JsonObject, { call }: ReaderOptions): VendorReply {
  const { output } = body
  const message = isObject(output) ? output['message'] : undefined
  if (!isObject(message)) {
    const isError = typeof body['message'] === 'string'
    return { text: '', error: isError ? errorInside(body, troubles) : broken('a body that is no answer') }
  }
  const reason = stringOf(body['stopReason'])
  const answer = answerOf(objectsOf(message['content']))
  const usage = usageFor(createUsageReader().read, body['usage'])
  return {
    text: answer.text,
    ...(usage && { usage }),
    ...(reason !== '' && { finish: reason }),
    inner: innerCompletion(call, answer.message, finishes[reason] ?? 'stop'),
  }
}

function answerOf(blocks: readonly JsonObject[]): { readonly text: string; readonly message: JsonObject } {
  let content = ''
  let thoughts = ''
  let called = ''
  const calls: JsonObject[] = []
  const details: JsonObject[] = []
  for (const [index, block] of blocks.entries()) {
    const { text, toolUse: used, reasoningContent: thought, citationsContent: cited } = block
    content += stringOf(text)
    if (isObject(cited))
      content += objectsOf(cited['content'])
        .map((part) => stringOf(part['text']))
        .join('')
    if (isObject(used)) {
      const call = { id: stringOf(used['toolUseId']), name: stringOf(used['name']), arguments: inputOf(used) }
      called += call.name + call.arguments
      // What ran there is not for the caller to run.
      if (used['type'] !== 'server_tool_use') calls.push(innerToolCall(call))
    }
    if (!isObject(thought)) continue
    thoughts += isObject(thought['reasoningText']) ? stringOf(thought['reasoningText']['text']) : ''
    details.push(...detailsOf(thought, index))
  }
  return {
    text: thoughts + content + called,
    message: {
      content: content === '' && calls.length > 0 ? null : content,
      ...(thoughts !== '' && { reasoning_content: thoughts }),
      ...(details.length > 0 && { reasoning_details: details }),
      ...(calls.length > 0 && { tool_calls: calls }),
    },
  }
}

function inputOf({ input }: JsonObject): string {
  return JSON.stringify(input ?? {})
}

function detailsOf(
  { reasoningText: told, redactedContent: redacted }: JsonObject,
  index: number,
): readonly JsonObject[] {
  const data = stringOf(redacted)
  if (data !== '') return [{ type: 'reasoning.encrypted', data, format: signedFormat, index }]
  if (!isObject(told)) return []
  const [text, signature] = [stringOf(told['text']), stringOf(told['signature'])]
  return [{ type: 'reasoning.text', text, ...(signature !== '' && { signature }), format: signedFormat, index }]
}
