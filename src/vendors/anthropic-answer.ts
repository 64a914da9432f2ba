import type { Call, Json, JsonObject } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, serviceTierOf, stringOf } from '../core/wire.ts'
import {
  annotationsOf,
  answerTool,
  blockText,
  deltaText,
  finishOf,
  inputText,
  refusalOf,
  thoughtOf,
} from './anthropic-blocks.ts'
import { createChunks } from './anthropic-chunks.ts'
import { createUsage, usageOf } from './anthropic-usage.ts'
import { broken, errorInside, type TroubleRule } from './failure.ts'
import { innerCompletion, innerToolCall } from './inner-answer.ts'
import type { Piece, ReaderOptions, VendorReply } from './vendor.ts'

/** What this vendor says of errors beyond what all say: https://platform.claude.com/docs/en/api/errors. */
export const troubles: readonly TroubleRule[] = [
  { code: /^(authentication|permission|billing)_error$/, trouble: 'account' },
  // Money is missing from our own account there, although the status blames the request.
  { message: /credit balance is too low/i, trouble: 'account' },
  { code: /^not_found_error$/, message: /^model\b/i, trouble: 'model' },
  { message: /content filtering policy/i, trouble: 'policy' },
  { code: /^invalid_request_error$/, message: /input length and .{0,20}max_tokens.{0,20} exceed/i, trouble: 'context' },
]

const maxModelLength = 256

/** A reader for one stream: what each event says of usage, text and end, and where it translates, in inner chunks. */
export function createReader({ call, translates }: ReaderOptions): (event: ServerEvent) => Piece {
  const usage = createUsage()
  const chunksOf = translates ? createChunks(call) : undefined
  return (event) => {
    const said = parseJson(event.data)
    if (!isObject(said)) return { error: broken('an event that is no JSON object') }
    if (event.name === 'error' || said['type'] === 'error') return { error: errorInside(said, troubles) }
    const piece = pieceOf(said, usage)
    return chunksOf ? { ...piece, chunks: chunksOf(said) } : piece
  }
}

function pieceOf(said: JsonObject, usage: ReturnType<typeof createUsage>): Piece {
  const { type, message, content_block: block, delta, usage: told } = said
  if (type === 'message_stop') return { whole: true, last: true }
  if (type === 'message_start' && isObject(message)) {
    const start = message['usage']
    return { ...(isObject(start) && { usage: usage(start, false), ...tierOf(start) }), ...servedOf(message) }
  }
  if (type === 'content_block_start' && isObject(block)) {
    // Other blocks than these are something generated before any delta has come.
    const isBare = block['type'] === 'text' || block['type'] === 'thinking'
    return { ...spoken(blockText(block)), ...(!isBare && { content: true }) }
  }
  if (type === 'content_block_delta' && isObject(delta)) return spoken(deltaText(delta))
  if (type !== 'message_delta') return {}
  const finish = isObject(delta) ? stringOf(delta['stop_reason']) : ''
  return {
    ...(isObject(told) && { usage: usage(told, true), ...tierOf(told) }),
    ...(finish !== '' && { finish, content: true, whole: true }),
  }
}

function spoken(text: string): Piece {
  return text === '' ? {} : { text, content: true }
}

function tierOf(usage: JsonObject): Pick<Piece, 'serviceTier'> {
  const serviceTier = serviceTierOf(usage)
  return serviceTier === undefined ? {} : { serviceTier }
}

function servedOf(message: JsonObject): Pick<Piece, 'servedModel'> {
  const servedModel = stringOf(message['model']).slice(0, maxModelLength)
  return servedModel === '' ? {} : { servedModel }
}

/** Reads an unstreamed body; whatever is no message is an error of the vendor, although its status was 200. */
export function readReply(body: JsonObject, { call, translates }: ReaderOptions): VendorReply {
  if (body['type'] === 'error' || body['error']) return { text: '', error: errorInside(body, troubles) }
  if (!isList(body['content'])) return { text: '', error: broken('a body that is not a message') }
  const blocks = objectsOf(body['content'])
  const usage = isObject(body['usage']) ? body['usage'] : undefined
  const finish = stringOf(body['stop_reason'])
  return {
    text: blocks.map(blockText).join(''),
    ...(usage && { usage: usageOf(usage), ...tierOf(usage) }),
    ...(finish !== '' && { finish }),
    ...servedOf(body),
    ...(translates && { inner: innerOf(call, body, blocks) }),
  }
}

function innerOf(call: Call, body: JsonObject, blocks: readonly JsonObject[]): JsonObject {
  const calls = toolCallsOf(blocks)
  const { content, annotations } = contentOf(blocks)
  const thoughts = blocks.filter(({ type }) => type === 'thinking' || type === 'redacted_thinking')
  const reasoning = thoughts.map(({ thinking }) => stringOf(thinking)).join('')
  const details = thoughts.map(thoughtOf).filter((detail) => detail !== undefined)
  const refusal = refusalOf(body)
  const message = {
    content: content === '' ? null : content,
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(details.length > 0 && { reasoning_details: details }),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(annotations.length > 0 && { annotations }),
    ...(refusal !== '' && { refusal }),
  }
  const reason = stringOf(body['stop_reason'])
  return innerCompletion(call, message, reason === '' ? undefined : finishOf(reason, calls.length > 0))
}

function toolCallsOf(blocks: readonly JsonObject[]): readonly JsonObject[] {
  return blocks
    .filter(({ type, name }) => type === 'tool_use' && name !== answerTool)
    .map(({ id, name, input }) =>
      innerToolCall({ id: stringOf(id), name: stringOf(name), arguments: inputText(input) || '{}' }),
    )
}

function contentOf(blocks: readonly JsonObject[]): { content: string; annotations: readonly JsonObject[] } {
  let content = ''
  const annotations: JsonObject[] = []
  for (const block of blocks) {
    const start = content.length
    content += spokenIn(block)
    annotations.push(...annotationsOf(block['citations'], { start, end: content.length }))
  }
  return { content, annotations }
}

function spokenIn({ type, name, text, input }: Readonly<Record<string, Json | undefined>>): string {
  if (type === 'text') return stringOf(text)
  return type === 'tool_use' && name === answerTool ? JSON.stringify(input ?? {}) : ''
}
