import { fromBase64, toBase64 } from '../core/base64.ts'
import type { Call, Json, Target } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { createFrameParser, exceptionMark } from '../core/frame-events.ts'
import { removeMembers, setMember } from '../core/json-bytes.ts'
import type { EventParser, ServerEvent } from '../core/sse.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { createReader, readReply } from './anthropic-answer.ts'
import { countedBody, passedBody } from './anthropic-passing.ts'
import { translate } from './anthropic-request.ts'
import { bedrockException, bedrockFailure, countAt, streamType, tokensCounted } from './bedrock.ts'
import { bedrockPost } from './bedrock-post.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess } from './vendor.ts'

/*
 * Anthropic's models at Amazon Bedrock, in Anthropic's own words (InvokeModel), so that what Converse has no field for
 * comes through: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html.
 * The model is in the path; a stream is binary frames, each with one of Anthropic's events in base64.
 */

const version = '"bedrock-2023-05-31"'
/** Counting takes a whole request, which has a bound. */
const countedMaxTokens = '1'
const encoder = new TextEncoder()

export const bedrockInvoke: Vendor = {
  id: 'bedrock-invoke',
  speaks: ['messages'],
  // oxlint-disable-next-line max-params -- the contract of Vendor
  request(call, target, access, stream) {
    const url = `${access.baseUrl}/model/${encodeURIComponent(target.model)}/invoke${stream ? '-with-response-stream' : ''}`
    const { body, dropped } = bodyFor(call, target)
    return { ...bedrockPost(target, { url, access, stream, body: {}, dropped, streamType }), body }
  },
  reader,
  reply: readReply,
  parser: (contentType) => (contentType.includes(streamType) ? createParser() : undefined),
  counting: { request: countRequest, tokens: tokensCounted },
  failure: bedrockFailure,
}

interface Written {
  readonly body: Uint8Array
  readonly dropped: readonly string[]
}

/** Whether it streams is said by the path alone. */
function bodyFor(call: Call, target: Target): Written {
  if (passes(call)) return { body: versioned(call, passedBody(call, target, false)), dropped: [] }
  const { body, dropped } = translate(call, target, false)
  return { body: versioned(call, json(body)), dropped }
}

function passes({ dialect }: Call): boolean {
  return bedrockInvoke.speaks.includes(dialect)
}

function json(value: Json): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

/** Version and trials are members here; for Anthropic they are headers. */
function versioned(call: Call, bytes: Uint8Array): Uint8Array {
  const bare = setMember(removeMembers(bytes, ['model', 'stream']), 'anthropic_version', encoder.encode(version))
  const trials = passes(call) ? (call.headers?.['anthropic-beta'] ?? '') : ''
  const names = trials.split(',').map((name) => name.trim())
  const said = names.filter((name) => name !== '')
  return said.length === 0 ? bare : setMember(bare, 'anthropic_beta', json(said))
}

function countRequest(call: Call, target: Target, access: VendorAccess): VendorRequest {
  const own = passes(call) ? versioned(call, countedBody(call, target)) : bodyFor(call, target).body
  const bound = call.maxOutput === undefined && passes(call)
  const whole = bound ? setMember(own, 'max_tokens', encoder.encode(countedMaxTokens)) : own
  return countAt(target, access, { invokeModel: { body: toBase64(whole) } })
}

/** Frames as the events that are in them; an exception stays one. */
function createParser(): EventParser {
  const frames = createFrameParser()
  return { push: (chunk) => frames.push(chunk).map(unpacked), end: () => frames.end().map(unpacked) }
}

function unpacked(event: ServerEvent): ServerEvent {
  if (event.name.startsWith(exceptionMark)) return event
  const frame = parseJson(event.data)
  try {
    return { name: '', data: fromBase64(isObject(frame) ? stringOf(frame['bytes']) : '') }
  } catch (error) {
    throw new GatewayError('vendor_error', 'The vendor sent a frame that is no base64.', { cause: error })
  }
}

function reader(options: ReaderOptions): (event: ServerEvent) => Piece {
  const read = createReader(options)
  return (event) => (event.name.startsWith(exceptionMark) ? { error: bedrockException(event) } : read(event))
}
