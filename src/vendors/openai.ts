import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { GatewayError } from '../core/errors.ts'
import { members, setMember, type Member } from '../core/json-bytes.ts'
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
import type { VendorRequest } from '../ports.ts'
import { errorInside, failureOf, type TroubleRule } from './failure.ts'
import { reportedCost } from './reported-cost.ts'
import type { Piece, Vendor, VendorAccess, VendorReply, VendorUsage } from './vendor.ts'

/** What sets one OpenAI-compatible vendor apart from the others. */
export interface Quirks {
  readonly id: string
  /** Calls are recorded and priced but never charged. */
  readonly free?: true
  /** It answers 400 to `stream_options`, so usage comes unasked or not at all. */
  readonly refusesStreamOptions?: true
  /** Fields of ours that this vendor understands itself. */
  readonly keeps?: readonly string[]
  /** Its own codes and words for what is wrong. */
  readonly troubles?: readonly TroubleRule[]
  /** Finish reasons that mean that the vendor failed in the middle of the answer. */
  readonly failedFinishes?: readonly string[]
  /** Calls that it refuses unless they stream. */
  streamOnly?(body: JsonObject, model: string): boolean
}

/** Request options that are the gateway's own; vendors never see them. */
const ownFields: readonly string[] = ['models', 'provider', 'routing', 'session_id', 'cache', 'tags', 'sandbox']

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const yes = encoder.encode('true')
const no = encoder.encode('false')
const usageAsked = encoder.encode('{"include_usage":true}')
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
    ...(streamOnly ? { streamOnly: (call: Call, target: Target) => streamOnly(call.body, target.model) } : {}),
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request: (call, target, access, stream) => request(quirks, call, { model: target.model, access, stream }),
    reader: () => reader(quirks),
    reply: (body) => reply(quirks, body),
    failure: (head, body) => failureOf(head, body, quirks.troubles ?? []),
  }
}

interface Asked {
  readonly model: string
  readonly access: VendorAccess
  readonly stream: boolean
}

function request(quirks: Quirks, call: Call, { model, access, stream }: Asked): VendorRequest {
  return {
    method: 'POST',
    url: `${access.baseUrl}/chat/completions`,
    headers: {
      'content-type': 'application/json',
      accept: stream ? 'text/event-stream' : 'application/json',
      // A compressed stream comes in bursts, and its bytes could not be passed on as they are.
      'accept-encoding': 'identity',
      ...(access.apiKey === '' ? {} : { authorization: `Bearer ${access.apiKey}` }),
    },
    body: requestBody(quirks, call.raw, { model, stream }),
    connectMs: access.connectMs,
  }
}

/** The caller's bytes with other values for a few members; `undefined` takes a member out. One scan, one copy. */
function requestBody(
  quirks: Quirks,
  raw: Uint8Array,
  { model, stream }: { model: string; stream: boolean },
): Uint8Array {
  const all = members(raw)
  const last = new Map(all.map((member) => [member.name, member]))
  const changes = new Map<string, Uint8Array | undefined>()
  for (const name of ownFields) if (!quirks.keeps?.includes(name)) changes.set(name, undefined)
  changes.set('model', encoder.encode(JSON.stringify(model)))
  if (stream || last.has('stream')) changes.set('stream', stream ? yes : no)
  changes.set(
    'stream_options',
    stream && !quirks.refusesStreamOptions ? askUsage(raw, last.get('stream_options')) : undefined,
  )
  return rebuild(raw, all, changes)
}

/** The caller's stream options, with usage asked for: without it most vendors send none, and we would have to count. */
function askUsage(raw: Uint8Array, options: Member | undefined): Uint8Array {
  if (!options || raw[options.valueStart] !== 0x7b) return usageAsked
  return setMember(raw.subarray(options.valueStart, options.valueEnd), 'include_usage', yes)
}

/** Writes the object anew from its own bytes. Of a changed member given twice, the last one stays. */
function rebuild(
  raw: Uint8Array,
  all: readonly Member[],
  changes: ReadonlyMap<string, Uint8Array | undefined>,
): Uint8Array {
  const lastIndex = new Map(all.map((member, index) => [member.name, index]))
  const kept = all.filter((member, index) => {
    return !changes.has(member.name) || (changes.get(member.name) && lastIndex.get(member.name) === index)
  })
  const parts: Uint8Array[] = [raw.subarray(0, all[0]?.start ?? raw.lastIndexOf(0x7d))]
  const comma = encoder.encode(',')
  for (const [index, member] of kept.entries()) {
    if (index > 0) parts.push(comma)
    parts.push(raw.subarray(member.start, member.valueStart))
    parts.push(changes.get(member.name) ?? raw.subarray(member.valueStart, member.valueEnd))
    parts.push(raw.subarray(member.valueEnd, member.end))
  }
  let separator = kept.length > 0 ? ',' : ''
  for (const [name, value] of changes) {
    if (!value || lastIndex.has(name)) continue
    parts.push(encoder.encode(`${separator}${JSON.stringify(name)}:`), value)
    separator = ','
  }
  parts.push(raw.subarray(all.at(-1)?.end ?? raw.lastIndexOf(0x7d)))
  return concat(parts)
}

/** What a reader has seen of one stream. */
interface Seen {
  usage: RawUsage | undefined
  cost?: Nanos
  /** Choices that have begun, and whether they have ended. */
  readonly choices: Map<number, boolean>
}

function reader(quirks: Quirks): (event: ServerEvent) => Piece {
  const seen: Seen = { usage: undefined, choices: new Map() }
  return (event) => {
    if (isDone(event.data)) return { whole: true, last: true }
    const chunk = parseJson(event.data)
    if (chunk === undefined) return { error: broken('bytes that are not JSON') }
    if (event.name === 'error' || isError(chunk)) {
      // Some vendors put the error beside the usage of what they have done.
      const usage = isObject(chunk) ? readUsage(seen, chunk) : undefined
      return { error: errorInside(chunk, quirks.troubles ?? []), ...(usage && { usage }) }
    }
    if (!isObject(chunk)) return { error: broken('JSON that is no chunk of a chat completion') }
    return readChunk(quirks, seen, chunk)
  }
}

/** "[DONE]" with or without white space around it. */
function isDone(data: Uint8Array): boolean {
  return data.length < 16 && decoder.decode(data).trim() === '[DONE]'
}

/** Errors inside a good stream or body come in several shapes. `"error": null` is none. */
function isError(body: Json): boolean {
  if (isList(body)) return isObject(body[0]) && isError(body[0])
  if (!isObject(body)) return false
  if (body['error'] || body['object'] === 'error') return true
  return body['choices'] === undefined && body['code'] !== undefined && typeof body['message'] === 'string'
}

function broken(what: string): GatewayError {
  return new GatewayError('vendor_error', `The vendor sent ${what}.`)
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
  if (isError(body)) return { text: '', error: errorInside(body, quirks.troubles ?? []) }
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
