import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import type { ServerEvent } from '../core/sse.ts'
import { mergeUsage, normalUsage, rawUsage, type RawUsage } from '../core/usage.ts'
import {
  finishOf,
  generatedText,
  isList,
  isObject,
  objectsOf,
  parseJson,
  serviceTierOf,
  stringOf,
  usageOf,
} from '../core/wire.ts'
import { broken, errorInside, failureOf } from './failure.ts'
import { innerBody, innerChunk } from './openai-inner.ts'
import { createRepairer, repairBody } from './openai-repair.ts'
import { chatOf, compatibleRequest } from './openai-request.ts'
import { createThoughts, thoughtsApart } from './openai-thoughts.ts'
import type { Quirks } from './quirks.ts'
import { reportedCost } from './reported-cost.ts'
import { steadyReader } from './steady.ts'
import type { Piece, ReaderOptions, Vendor, VendorReply, VendorUsage } from './vendor.ts'

const encoder = new TextEncoder()
/** Strings of a chunk that differ from one to the next, or may, and that say nothing that we read. */
const unread = ['id', 'system_fingerprint', 'obfuscation'] as const
const decoder = new TextDecoder()
const maxModelLength = 256
/** `n` is at most 128; indexes beyond this are not told apart. */
const maxChoices = 1024

/** An adapter for a vendor that takes and gives OpenAI's chat completions. */
export function openaiCompatible(quirks: Quirks): Vendor {
  const { streamOnly } = quirks
  return {
    id: quirks.id,
    speaks: ['chat'],
    ...(quirks.free ? { free: true as const } : {}),
    ...(streamOnly
      ? { streamOnly: (call: Call, target: Target) => streamOnly(chatOf(quirks, call, target.model), target.model) }
      : {}),
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request: (call, target, access, stream) => compatibleRequest(quirks, call, { model: target.model, access, stream }),
    reader: (options) =>
      options.translates ? reader(quirks, options) : steadyReader(() => reader(quirks, options), unread),
    reply: (body, options) => {
      const answer = reply(quirks, body)
      return answer.error ? answer : { ...answer, ...passedOn(quirks, body, options) }
    },
    failure: (head, body) => failureOf(head, body, quirks.troubles ?? []),
  }
}

/** What a reader has seen of one stream. */
interface Seen {
  usage: RawUsage | undefined
  cost?: Nanos
  /** Choices that have begun, and whether they have ended. */
  readonly choices: Map<number, boolean>
}

function reader(quirks: Quirks, { call, translates }: ReaderOptions): (event: ServerEvent) => Piece {
  const seen: Seen = { usage: undefined, choices: new Map() }
  const repairer = createRepairer(callIdPrefix(call))
  // A caller of this dialect gets the text as the model wrote it, whether or not the vendor streamed.
  const thoughts = quirks.thinksInText && call.dialect !== 'chat' ? createThoughts() : undefined
  return (event) => {
    if (isDone(event.data)) return translates ? { whole: true, last: true, chunks: [] } : { whole: true, last: true }
    const chunk = parseJson(event.data)
    if (chunk === undefined) return { error: broken('bytes that are not JSON') }
    const error = event.name === 'error' ? chunk : errorIn(quirks, chunk)
    if (error !== undefined) {
      // Some vendors put the error beside the usage of what they have done.
      const usage = isObject(chunk) ? readUsage(seen, chunk) : undefined
      return { error: errorInside(error, quirks.troubles ?? []), ...(usage && { usage }) }
    }
    if (!isObject(chunk)) return { error: broken('JSON that is no chunk of a chat completion') }
    const piece = readChunk(quirks, seen, chunk)
    const repaired = repairer.chunk(chunk)
    if (!translates) return repaired ? { ...piece, repaired: encoder.encode(JSON.stringify(repaired)) } : piece
    const inner = innerChunk(repaired ?? chunk)
    return { ...piece, chunks: [thoughts ? thoughts.chunk(inner) : inner] }
  }
}

/** Ids of tool calls have at most 40 characters at OpenAI. */
function callIdPrefix({ id }: Call): string {
  return `call_${id.replaceAll('-', '').slice(-24)}_`
}

/** A whole answer for the caller: repaired where he speaks the vendor's dialect, else in the inner language. */
function passedOn(quirks: Quirks, body: JsonObject, { call, translates }: ReaderOptions): Partial<VendorReply> {
  const repaired = repairBody(body)
  if (!translates) return repaired ? { repaired } : {}
  const inner = innerBody(repaired ?? body)
  return { inner: quirks.thinksInText && call.dialect !== 'chat' ? thoughtsApart(inner) : inner }
}

/** "[DONE]" with or without white space around it. */
function isDone(data: Uint8Array): boolean {
  return data.length < 16 && decoder.decode(data).trim() === '[DONE]'
}

/** What of a good stream or body is an error, if it is one. */
function errorIn(quirks: Quirks, body: Json): Json | undefined {
  if (isError(body)) return body
  return isObject(body) ? quirks.errorIn?.(body) : undefined
}

/** Errors inside a good stream or body come in several shapes. `"error": null` is none. */
function isError(body: Json): boolean {
  if (isList(body)) return isObject(body[0]) && isError(body[0])
  if (!isObject(body)) return false
  if (body['error'] || body['object'] === 'error') return true
  return body['choices'] === undefined && body['code'] !== undefined && typeof body['message'] === 'string'
}

function readChunk(quirks: Quirks, seen: Seen, chunk: JsonObject): Piece {
  const { text, finish, audio, empty } = readChoices(seen, chunk)
  if (finish !== undefined && quirks.failedFinishes?.includes(finish))
    return { error: failedFinish(finish), ...said(text) }
  const usage = readUsage(seen, chunk)
  const content = text !== '' || finish !== undefined || audio
  // Some vendors put an empty choice beside the closing usage.
  const usageOnly = usage !== undefined && !content && (empty || isWhole(seen))
  const whole = (finish !== undefined || usage !== undefined) && isWhole(seen)
  return {
    ...(usage && { usage }),
    ...said(text),
    ...(content && { content }),
    ...(finish !== undefined && { finish }),
    ...(usageOnly && { usageOnly }),
    ...(whole && { whole }),
    ...served(chunk),
  }
}

function said(text: string): Pick<Piece, 'text' | 'content'> {
  return text === '' ? {} : { text, content: true }
}

function served(body: JsonObject): Pick<Piece, 'servedModel' | 'serviceTier'> {
  const model = stringOf(body['model']).slice(0, maxModelLength)
  const serviceTier = serviceTierOf(body)
  return { ...(model !== '' && { servedModel: model }), ...(serviceTier !== undefined && { serviceTier }) }
}

function failedFinish(finish: string): GatewayError {
  return broken(`"${finish}" as the end of its answer`)
}

interface Choices {
  readonly text: string
  readonly finish: string | undefined
  readonly audio: boolean
  readonly empty: boolean
}

function readChoices(seen: Seen, chunk: JsonObject): Choices {
  const choices = objectsOf(chunk['choices'])
  let text = ''
  let finish: string | undefined
  for (const [position, choice] of choices.entries()) {
    const delta = choice['delta']
    if (isObject(delta)) text += generatedText(delta)
    const ended = finishOf(choice)
    noteChoice(seen, choice['index'] ?? position, ended !== undefined)
    finish ??= ended
  }
  return { text, finish, audio: choices.some(hasAudio), empty: choices.length === 0 }
}

function noteChoice({ choices }: Seen, index: Json, ended: boolean): void {
  if (typeof index !== 'number' || (choices.size >= maxChoices && !choices.has(index))) return
  choices.set(index, ended || choices.get(index) === true)
}

/** True once every choice that has begun has ended. */
function isWhole({ choices }: Seen): boolean {
  return choices.size > 0 && [...choices.values()].every(Boolean)
}

function hasAudio({ delta }: JsonObject): boolean {
  return isObject(delta) && isObject(delta['audio']) && stringOf(delta['audio']['data']) !== ''
}

function readUsage(seen: Seen, body: JsonObject): VendorUsage | undefined {
  const reported = usageOf(body)
  const raw = reported && rawUsage(reported)
  if (!raw) return undefined
  seen.usage = mergeUsage(seen.usage, raw)
  const cost = reportedCost(reported) ?? seen.cost
  if (cost === undefined) return normalUsage(seen.usage)
  seen.cost = cost
  return { ...normalUsage(seen.usage), reportedCost: cost }
}

/** Reads an unstreamed body; whatever is no chat completion is an error of the vendor, although its status was 200. */
function reply(quirks: Quirks, body: Json): VendorReply {
  const error = errorIn(quirks, body)
  if (error !== undefined) return { text: '', error: errorInside(error, quirks.troubles ?? []) }
  const choices = isObject(body) ? objectsOf(body['choices']) : []
  // An answer that a filter has emptied may come without any message, yet with its end and its usage.
  if (!isObject(body) || !choices.some((choice) => isObject(choice['message']) || finishOf(choice) !== undefined)) {
    return { text: '', error: broken('a body that is not a chat completion') }
  }
  const usage = readUsage({ usage: undefined, choices: new Map() }, body)
  const finish = choices.map(finishOf).find((word) => word !== undefined)
  return {
    text: choices.map(({ message }) => (isObject(message) ? generatedText(message) : '')).join(''),
    ...(usage && { usage }),
    ...(finish !== undefined && { finish }),
    ...(finish !== undefined && quirks.failedFinishes?.includes(finish) && { error: failedFinish(finish) }),
    ...served(body),
  }
}
