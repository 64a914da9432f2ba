import type { Call, Dialect, JsonObject, Operation, Target } from '../core/call.ts'
import { fieldPart, type FormPart, writeForm } from '../core/form.ts'
import { removeMembers, setMember } from '../core/json-bytes.ts'
import { createSseParser, type EventParser, type ServerEvent } from '../core/sse.ts'
import { isObject, parseJson, stringOf } from '../core/wire.ts'
import type { VendorRequest } from '../ports.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { operationUsage } from './operation-usage.ts'
import { ownFields } from './own-fields.ts'
import type { Piece, ReaderOptions, Vendor, VendorAccess, VendorReply } from './vendor.ts'

/*
 * OpenAI's operations beside conversations, as the vendors have them that took the paths over: POST under the base URL,
 * the model in the body, a bearer token. What each does otherwise is in operations-compatible.ts.
 */

const encoder = new TextEncoder()
const maxModelLength = 256
/** One event can hold a picture: the largest that is sold, in base64. */
const maxEventBytes = 32 * 1024 * 1024

/** The paths of an operation, and what they are asked in. */
export const operationPaths = {
  embeddings: { embeddings: '/embeddings' },
  moderations: { moderations: '/moderations' },
  rerank: { rerank: '/rerank' },
  images: { images: '/images/generations', 'image-edits': '/images/edits' },
  speech: { speech: '/audio/speech' },
  transcription: { transcriptions: '/audio/transcriptions', translations: '/audio/translations' },
} as const satisfies Partial<Record<Operation, Partial<Record<Dialect, string>>>>

export type AskedOperation = keyof typeof operationPaths

/** What sets a vendor's way of an operation apart. */
export interface OperationWays {
  readonly id: string
  readonly troubles?: readonly TroubleRule[]
  /** Where a path is; under the base URL where absent. */
  url?(access: VendorAccess, model: string, path: string): string
  keyHeaders?(apiKey: string): Readonly<Record<string, string>>
  /** What a body means by what no other says so; its error, its repair or its bytes among them. */
  readReply?(body: JsonObject, call: Call): Partial<VendorReply>
}

/** One operation of a vendor that has it as OpenAI has. */
export function operationVendor(operation: AskedOperation, ways: OperationWays): Vendor {
  const paths: Partial<Record<Dialect, string>> = operationPaths[operation]
  return {
    id: ways.id,
    speaks: Object.keys(paths) as Dialect[],
    request(call, target, access) {
      // A dialect of another vendor's: the inner language is OpenAI's.
      const path = paths[call.dialect] ?? Object.values(paths)[0] ?? ''
      return request(call, target, { access, ways, path })
    },
    reader: (options) => reader(ways, operation, options),
    reply: (body, options) => reply(operation, ways, { body, options }),
    parser: (type) => parserFor(operation, type),
    failure: (head, body) => failureOf(head, body, ways.troubles ?? []),
  }
}

interface Way {
  readonly access: VendorAccess
  readonly ways: OperationWays
  readonly path: string
}

function request(call: Call, { model }: Target, { access, ways, path }: Way): VendorRequest {
  const { baseUrl, apiKey, connectMs } = access
  const key = ways.keyHeaders?.(apiKey) ?? { authorization: `Bearer ${apiKey}` }
  const { bytes, type } = call.parts ? formFor(call, call.parts, model) : jsonFor(call, model)
  return {
    method: 'POST',
    url: ways.url?.(access, model, path) ?? `${baseUrl}${path}`,
    headers: {
      'content-type': type,
      accept: acceptedBy(call),
      // A compressed answer could not be passed on as it is.
      'accept-encoding': 'identity',
      ...(apiKey === '' ? {} : key),
    },
    body: bytes,
    connectMs,
  }
}

function acceptedBy({ form, stream, parts }: Call): string {
  if (form === 'bytes' || parts) return '*/*'
  return stream ? 'text/event-stream' : 'application/json'
}

interface Body {
  readonly bytes: Uint8Array
  readonly type: string
}

/** The caller's bytes, but for the model and what is meant for the gateway alone. */
function jsonFor({ raw, inner, body }: Call, model: string): Body {
  const own = inner === body ? raw : encoder.encode(JSON.stringify(inner))
  const bytes = setMember(removeMembers(own, ownFields), 'model', encoder.encode(JSON.stringify(model)))
  return { bytes, type: 'application/json' }
}

/** The call's id is random, so no file has it in it as a boundary but by a plan of its owner, whom it would harm. */
function formFor({ id }: Call, parts: readonly FormPart[], model: string): Body {
  const sent = parts.filter(({ name }) => name !== 'model' && !ownFields.includes(name))
  return writeForm([fieldPart('model', model), ...sent], `tollgate-${id}`)
}

/** Bytes are an answer as they are: sounds, and texts that are no JSON. */
const plainTypes = /^(audio\/|video\/|text\/plain|text\/vtt|text\/srt|application\/(x-subrip|octet-stream|ogg)\b)/
const textTypes = /^(text\/|application\/x-subrip)/

/** Operations whose answers are no JSON, or need not be; others may have a vendor's JSON under any type. */
const plainOperations: ReadonlySet<AskedOperation> = new Set(['speech', 'transcription'])

function parserFor(operation: AskedOperation, contentType: string): EventParser | undefined {
  if (contentType.includes('text/event-stream')) return createSseParser(maxEventBytes)
  if (!plainOperations.has(operation)) return undefined
  return plainTypes.test(contentType) ? plainParser(textTypes.test(contentType)) : undefined
}

const bytesEvent = 'bytes'
const textEvent = 'text'
const endEvent = 'end'
const nothing = new Uint8Array(0)

/** Every chunk as it comes, and a sign of the end: a connection that breaks gives none. */
function plainParser(isText: boolean): EventParser {
  return {
    push: (data) => (data.length === 0 ? [] : [{ name: isText ? textEvent : bytesEvent, data }]),
    end: () => [{ name: endEvent, data: nothing }],
  }
}

function reader(
  ways: OperationWays,
  operation: AskedOperation,
  { call }: ReaderOptions,
): (event: ServerEvent) => Piece {
  const decoder = new TextDecoder()
  const isPlain = call.form === 'bytes' || (call.parts !== undefined && !call.stream)
  return ({ name, data }) => {
    if (isPlain && name === endEvent) return { whole: true, last: true }
    if (isPlain && name === bytesEvent) return { content: true }
    if (isPlain && name === textEvent) return { content: true, text: decoder.decode(data, { stream: true }) }
    return readEvent(ways, operation, data)
  }
}

const isEnd = /(^|\.)(done|completed)$/

/** One event of a stream of OpenAI's: its `type` says what it is, and the last one has the usage. */
function readEvent({ troubles = [] }: OperationWays, operation: AskedOperation, data: Uint8Array): Piece {
  if (data.length < 16 && new TextDecoder().decode(data).trim() === '[DONE]') return { whole: true, last: true }
  const body = parseJson(data)
  if (!isObject(body)) return { error: broken('an event that is no JSON object') }
  const type = stringOf(body['type'])
  if (body['error'] || type === 'error') return { error: errorInside(body, troubles) }
  const usage = isEnd.test(type) ? operationUsage(operation, countable(body)) : undefined
  const text = stringOf(body['delta'])
  return {
    content: true,
    ...(text !== '' && { text }),
    ...(usage && { usage }),
    ...(isEnd.test(type) && { whole: true }),
  }
}

/** A picture of an event is not in a list, as those of a body are. */
function countable(body: JsonObject): JsonObject {
  return typeof body['b64_json'] === 'string' ? { ...body, data: [{ b64_json: '' }] } : body
}

/** What a good body of each operation has, whatever else may be in it. */
const signs: Readonly<Record<AskedOperation, readonly string[]>> = {
  embeddings: ['data'],
  moderations: ['results'],
  rerank: ['results', 'data'],
  images: ['data'],
  speech: [],
  transcription: ['text', 'segments'],
}

interface Answer {
  readonly body: JsonObject
  readonly options: ReaderOptions
}

function reply(operation: AskedOperation, ways: OperationWays, { body, options }: Answer): VendorReply {
  const own = ways.readReply?.(body, options.call) ?? {}
  const isOdd = own.raw === undefined && !signs[operation].some((name) => body[name] !== undefined)
  if (body['error'] || body['object'] === 'error') return { text: '', error: errorInside(body, ways.troubles ?? []) }
  if (isOdd) return { text: '', error: broken('a body that is no answer to this operation') }
  const usage = operationUsage(operation, body)
  const model = stringOf(body['model']).slice(0, maxModelLength)
  return {
    text: operation === 'transcription' ? stringOf(body['text']) : '',
    ...(usage && { usage }),
    ...(model !== '' && { servedModel: model }),
    ...own,
  }
}
