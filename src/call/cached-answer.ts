import type { Call, JsonObject, Target } from '../core/call.ts'
import type { Catalog } from '../core/catalog.ts'
import { concat } from '../core/concat.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { createGatherer } from '../fronts/chat-gather.ts'
import { chunksOf } from '../meter/voice.ts'
import { vendors } from '../vendors/index.ts'
import type { Vendor } from '../vendors/vendor.ts'
import type { Answered } from './attempt.ts'
import type { Listener, Step, VendorAnswer } from './vendor-answer.ts'

/*
 * A vendor's answer as it came, kept so that it can be read again: by the same reader, for a caller of the same
 * dialect, with a stream or without one. What each caller is told of names, usage and cost is made anew.
 */

/** Raised when the form of what is kept changes. */
const formVersion = 1
/** Longer answers are not kept; one of a million characters fits, in the frames of a stream too. */
const maxAnswerBytes = 4 * 1024 * 1024
/** Events of a kept stream. */
const maxEvents = 100_000
const maxHeadBytes = 8 * 1024 * 1024
const encoder = new TextEncoder()
const lineFeed = 0x0a

export interface CachedAnswer {
  readonly kind: 'stream' | 'body'
  readonly target: Target
  /** The public model that the target was asked as. */
  readonly model: string
  readonly dropped: readonly string[]
  readonly keptAtMs: number
  /** The events of a stream; a body is one without a name. */
  readonly events: readonly ServerEvent[]
}

/** A kept answer as bytes: a line that says what it is, then its events one after the other. */
export function packAnswer({ events, target, ...head }: CachedAnswer): Uint8Array {
  const { vendor, model, region } = target
  const sizes = events.map(({ name, data }) => [name, data.length])
  const line = JSON.stringify({ ...head, version: formVersion, target: { vendor, model, region }, sizes })
  return concat([encoder.encode(`${line}\n`), ...events.map(({ data }) => data)])
}

/** Undefined for bytes that are no kept answer of this version. */
export function unpackAnswer(bytes: Uint8Array): CachedAnswer | undefined {
  const end = bytes.indexOf(lineFeed)
  const head = end > 0 && end <= maxHeadBytes ? parseJson(bytes.subarray(0, end)) : undefined
  if (!isObject(head) || head['version'] !== formVersion || !isObject(head['target'])) return undefined
  const { kind, target, model, keptAtMs, dropped, sizes } = head
  if ((kind !== 'stream' && kind !== 'body') || typeof keptAtMs !== 'number') return undefined
  const events = isList(sizes) ? eventsOf(bytes.subarray(end + 1), sizes) : undefined
  const region = stringOf(target['region'])
  return (
    events && {
      kind,
      keptAtMs,
      events,
      model: stringOf(model),
      dropped: isList(dropped) ? dropped.map(stringOf) : [],
      target: {
        vendor: stringOf(target['vendor']),
        model: stringOf(target['model']),
        ...(region !== '' && { region }),
      },
    }
  )
}

function eventsOf(bytes: Uint8Array, sizes: readonly unknown[]): readonly ServerEvent[] | undefined {
  const events: ServerEvent[] = []
  let at = 0
  for (const size of sizes) {
    const [name, length]: readonly unknown[] = Array.isArray(size) ? size : []
    if (typeof name !== 'string' || typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0)
      return undefined
    events.push({ name, data: bytes.subarray(at, at + length) })
    at += length
  }
  return at === bytes.length ? events : undefined
}

/** What a kept answer is read as for a call; undefined where it cannot be told to this caller exactly. */
export function answeredFrom(kept: CachedAnswer, call: Call, catalog: Catalog): Answered | undefined {
  const { target, dropped, events, model } = kept
  const vendor = vendorOf(catalog, target)
  if (!vendor) return undefined
  const passes = vendor.speaks.includes(call.dialect)
  // A body becomes a stream in the inner language, which does not say all that a vendor of another dialect can.
  if (kept.kind === 'body' && call.stream && passes && call.inner !== call.body) return undefined
  const answer = kept.kind === 'stream' ? streamOf(vendor, call, events) : bodyOf(vendor, call, events)
  return answer && { answer, target, model, vendor, streamed: kept.kind === 'stream', passes, dropped, attempts: [] }
}

function vendorOf(catalog: Catalog, { vendor }: Target): Vendor | undefined {
  return vendors.get(catalog.vendors.get(vendor)?.adapter ?? '')
}

const head = { status: 200, headers: {} } as const

function streamOf(vendor: Vendor, call: Call, events: readonly ServerEvent[]): VendorAnswer {
  const read = vendor.reader({ call, translates: !vendor.speaks.includes(call.dialect) })
  return {
    kind: 'stream',
    head,
    attach(listener) {
      listener.steps(events.map((event) => ({ event, piece: read(event) })))
      listener.end()
    },
    pause() {},
    resume() {},
    abort() {},
  }
}

function bodyOf(vendor: Vendor, call: Call, [event]: readonly ServerEvent[]): VendorAnswer | undefined {
  const body = event && parseJson(event.data)
  if (!event || !isObject(body)) return undefined
  const reply = vendor.reply(body, { call, translates: !vendor.speaks.includes(call.dialect) })
  return reply.error ? undefined : { kind: 'body', head, bytes: event.data, body, reply }
}

/** An answer on its way to its caller, and a copy of it. */
export interface Recorded {
  readonly answered: Answered
  /** What has come, if it is whole; undefined where it is not, or too long. */
  taken(keptAtMs: number): CachedAnswer | undefined
}

/** Writes an answer down while it goes by. */
export function recorded(answered: Answered): Recorded {
  const { answer, target, model, dropped } = answered
  const base = { target, model, dropped, kind: answer.kind }
  if (answer.kind === 'body') {
    const event = { name: '', data: answer.bytes }
    const isShort = answer.bytes.length <= maxAnswerBytes && !answer.reply.raw
    return { answered, taken: (keptAtMs) => (isShort ? { ...base, keptAtMs, events: [event] } : undefined) }
  }
  const tape = openTape()
  const attach = (listener: Listener): void => answer.attach(tape.beside(listener))
  return {
    answered: { ...answered, answer: { ...answer, attach } },
    taken(keptAtMs) {
      const events = tape.events()
      return events && { ...base, keptAtMs, events }
    },
  }
}

/** The events of a stream, as long as they are not too many. */
function openTape() {
  let events: ServerEvent[] | undefined = []
  let size = 0
  let isEnded = false
  const add = ({ event, piece }: Step): void => {
    size += event.data.length
    if (piece.error || size > maxAnswerBytes || (events?.length ?? 0) === maxEvents) events = undefined
    // Copied, because the event may be a view of a much larger chunk.
    events?.push({ name: event.name, data: event.data.slice() })
    if (piece.last) isEnded = true
  }
  return {
    /** Notes what a listener hears, before he does. */
    beside: (listener: Listener): Listener => ({
      steps(steps) {
        for (const step of steps) add(step)
        listener.steps(steps)
      },
      end() {
        isEnded = true
        listener.end()
      },
      fail(error) {
        events = undefined
        listener.fail(error)
      },
    }),
    events: (): readonly ServerEvent[] | undefined => (isEnded ? events : undefined),
  }
}

/**
 * How answers end that came as they were meant to. Anything else (a filter, a tool call that could not be written, a
 * word nobody has heard of) may go better next time.
 */
const soundFinishes: ReadonlySet<string> = new Set(['stop', 'length', 'tool_calls', 'function_call'])

/** Whether an answer is fit to be given again: it ended as it should, and its tool calls can be read. */
export function isSound(kept: CachedAnswer, call: Call, catalog: Catalog): boolean {
  const vendor = vendorOf(catalog, kept.target)
  if (!vendor) return false
  const body = kept.kind === 'stream' ? gathered(vendor, call, kept.events) : replied(vendor, call, kept.events)
  const choices = objectsOf(body?.['choices'])
  return choices.length > 0 && choices.every(isSoundChoice)
}

/** The whole answer in the inner language, whatever the caller speaks. */
function gathered(vendor: Vendor, call: Call, events: readonly ServerEvent[]): JsonObject {
  const read = vendor.reader({ call, translates: true })
  const gatherer = createGatherer()
  for (const event of events) for (const chunk of chunksOf({ event, piece: read(event) })) gatherer.addChunk(chunk)
  return gatherer.body()
}

function replied(vendor: Vendor, call: Call, [event]: readonly ServerEvent[]): JsonObject | undefined {
  const body = event && parseJson(event.data)
  if (!isObject(body)) return undefined
  const reply = vendor.reply(body, { call, translates: true })
  return reply.inner ?? reply.repaired ?? body
}

function isSoundChoice({ finish_reason: finish, message }: JsonObject): boolean {
  if (!soundFinishes.has(stringOf(finish))) return false
  const calls = isObject(message) ? objectsOf(message['tool_calls']) : []
  return calls.every(({ function: called }) => {
    if (!isObject(called)) return true
    const text = stringOf(called['arguments'])
    return text === '' || isObject(parseJson(encoder.encode(text)))
  })
}
