import type { JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import { CredentialRefused } from '../core/credential-refused.ts'
import { GatewayError } from '../core/errors.ts'
import { createSseParser, type EventParser, type ServerEvent } from '../core/sse.ts'
import type { TimeLimits } from '../core/catalog.ts'
import { isObject, parseJson } from '../core/wire.ts'
import type { Platform, Receiver, Sending, VendorHead, VendorRequest } from '../ports.ts'
import { accountRefused } from '../vendors/failure.ts'
import type { Piece, ReaderOptions, Vendor, VendorFailure, VendorReply, VendorUsage } from '../vendors/vendor.ts'
import { openWatch } from './answer-watch.ts'

/** An error body is read up to here; what lies beyond tells nothing more. */
const errorBodyLimit = 64 * 1024
/** One event of a stream. */
const eventLimit = 4 * 1024 * 1024
/** Events before the first content that are kept back so that another target may still be tried. */
const preambleLimit = 256
const preambleBytes = eventLimit
const encoder = new TextEncoder()

/** One event of a vendor's stream and what it says. */
export interface Step {
  readonly event: ServerEvent
  readonly piece: Piece
}

/** Hears the events of a stream, a call per chunk of bytes. After `end` or `fail` nothing more comes. */
export interface Listener {
  steps(steps: readonly Step[]): void
  end(): void
  fail(error: GatewayError): void
}

/** A vendor's answer whose status and first content are known. */
export type VendorAnswer =
  | {
      readonly kind: 'body'
      readonly head: VendorHead
      readonly bytes: Uint8Array
      readonly body: JsonObject
      readonly reply: VendorReply
    }
  | {
      readonly kind: 'stream'
      readonly head: VendorHead
      /** Hands over what has come so far, and then the rest as it comes. */
      attach(listener: Listener): void
      pause(): void
      resume(): void
      abort(): void
    }

/** A target failed before it gave any content. */
export class AttemptFailed extends Error {
  readonly failure: VendorFailure
  readonly status: number
  /** What the vendor said that it had counted until then, for which it may ask money. */
  readonly usage: VendorUsage | undefined
  constructor(failure: VendorFailure, status: number, usage?: VendorUsage) {
    super(failure.error.message, { cause: failure.error })
    this.name = 'AttemptFailed'
    this.failure = failure
    this.status = status
    this.usage = usage
  }
}

export interface VendorCall {
  readonly vendor: Vendor
  readonly request: VendorRequest
  readonly limits: TimeLimits
  /** For whom the answer is read. */
  readonly reading: ReaderOptions
}

/** A call under way: `answer` settles when the status and the first content are known, or the try has failed. */
export interface Trying {
  readonly answer: Promise<VendorAnswer>
  /** There once the vendor has sent its status line. */
  head(): VendorHead | undefined
  abort(): void
}

type Tools = Pick<Platform, 'clock' | 'send' | 'settings'>

/** Everything that a call under way remembers. */
interface State {
  readonly call: VendorCall
  readonly answerLimit: number
  /** There once an event has come. */
  read: ((event: ServerEvent) => Piece) | undefined
  /** There once the status is known and the answer is a stream. */
  parser: EventParser | undefined
  readonly body: ReturnType<typeof openBody>
  readonly watch: ReturnType<typeof openWatch>
  readonly resolve: (answer: VendorAnswer) => void
  readonly reject: (error: AttemptFailed) => void
  mode: 'head' | 'error' | 'body' | 'events' | 'over'
  sending: Sending | undefined
  head: VendorHead | undefined
  listener: Listener | undefined
  /** Steps and the last word that came before the listener. */
  early: Step[]
  lastWord: ((listener: Listener) => void) | undefined
  isCommitted: boolean
}

/** Sends one request to a vendor and waits for its status and first content, within its time limits. */
export function callVendor(tools: Tools, call: VendorCall): Trying {
  const { promise, resolve, reject } = Promise.withResolvers<VendorAnswer>()
  const state: State = {
    call,
    answerLimit: tools.settings.answerLimit,
    read: undefined,
    parser: undefined,
    body: openBody(),
    watch: openWatch(tools.clock, call.limits, (error) => stop(state, error)),
    resolve,
    reject,
    mode: 'head',
    sending: undefined,
    head: undefined,
    listener: undefined,
    early: [],
    lastWord: undefined,
    isCommitted: false,
  }
  try {
    state.sending = tools.send(call.request, receiverOf(state))
  } catch (cause) {
    // An address or a header that the transport does not take. Left alone, the watch would reject what nobody awaits.
    broken(state, new GatewayError('vendor_error', 'The request could not be sent to the vendor.', { cause }))
  }
  return {
    answer: promise,
    head: () => state.head,
    abort: () => stop(state, new GatewayError('vendor_error', 'The call was given up.')),
  }
}

function receiverOf(state: State): Receiver {
  const { call } = state
  return {
    head: (head) =>
      guarded(state, () => {
        if (state.mode === 'over') return
        state.head = head
        state.parser = parserFor(call.vendor, head)
        state.mode = isGood(head) ? (state.parser ? 'events' : 'body') : 'error'
      }),
    data: (chunk) =>
      guarded(state, () => {
        state.watch.alive()
        if (state.mode === 'events') readEvents(state, state.parser?.push(chunk))
        else if (state.mode !== 'over') collect(state, chunk)
      }),
    end: () => guarded(state, () => ended(state)),
    fail: (error) =>
      error instanceof CredentialRefused
        ? unproved(state, error)
        : broken(state, new GatewayError('vendor_error', 'The connection to the vendor failed.', { cause: error })),
  }
}

/** What throws here would be lost in the transport, and the call would wait for ever. */
function guarded(state: State, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (error instanceof GatewayError) return stop(state, error)
    stop(state, new GatewayError('vendor_error', 'The vendor sent an answer that cannot be read.', { cause: error }))
  }
}

/** Breaks the connection, and with it the call. */
function stop(state: State, error: GatewayError): void {
  if (state.mode === 'over') return
  state.sending?.abort()
  broken(state, error)
}

function over(state: State): void {
  state.mode = 'over'
  state.watch.stop()
}

/** Nothing was sent: the vendor itself is well, and our key is not. */
function unproved(state: State, refused: CredentialRefused): void {
  if (state.mode === 'over') return
  over(state)
  state.reject(new AttemptFailed({ error: accountRefused(refused), fault: 'account', about: 'key' }, 0))
}

/** Before the first content it fails the try, after it the stream. */
function broken(state: State, error: GatewayError): void {
  if (state.mode === 'over') return
  over(state)
  if (state.isCommitted) return tell(state, (listener) => listener.fail(error))
  const told = state.early.findLast(({ piece }) => piece.usage)?.piece.usage
  state.reject(new AttemptFailed({ error, fault: 'down' }, state.head?.status ?? 0, told))
}

/** The listener may not be there yet: the last word waits for it. */
function tell(state: State, word: (listener: Listener) => void): void {
  if (state.listener) word(state.listener)
  else state.lastWord = word
}

function collect(state: State, chunk: Uint8Array): void {
  const limit = state.mode === 'error' ? errorBodyLimit : state.answerLimit
  if (state.body.add(chunk, limit)) return
  if (state.mode !== 'error')
    return stop(state, new GatewayError('vendor_error', `The vendor's answer is larger than ${limit} bytes.`))
  state.sending?.abort()
  refused(state)
}

/** The vendor answered with an error status. */
function refused(state: State): void {
  const { head, call, body } = state
  if (!head || state.mode === 'over') return
  const failed = new AttemptFailed(call.vendor.failure(head, body.bytes()), head.status)
  over(state)
  state.reject(failed)
}

function ended(state: State): void {
  if (state.mode === 'error') return refused(state)
  if (state.mode === 'events') readEvents(state, state.parser?.end())
  const { mode, head } = state
  if (mode === 'over' || !head) return
  if (mode === 'events' && !state.isCommitted) return broken(state, closedEarly())
  over(state)
  if (mode === 'events') tell(state, (listener) => listener.end())
  else readReply(state, head)
}

/** A good status with no answer behind it is a failure like any other: another target may do better. */
function readReply({ body: collected, call, resolve, reject }: State, head: VendorHead): void {
  const bytes = collected.bytes()
  const body = parseJson(bytes)
  const reply = isObject(body) ? replyOf(call, body) : undefined
  if (isObject(body) && reply && !reply.error) return resolve({ kind: 'body', head, ...answerOf(bytes, body, reply) })
  const error =
    reply?.error ?? new GatewayError('vendor_error', 'The vendor answered with something that is no answer.')
  reject(new AttemptFailed({ error, fault: 'down' }, head.status, reply?.usage))
}

function answerOf(bytes: Uint8Array, body: JsonObject, reply: VendorReply) {
  const { repaired } = reply
  return repaired ? { bytes: encoder.encode(JSON.stringify(repaired)), body: repaired, reply } : { bytes, body, reply }
}

function replyOf({ vendor, reading }: VendorCall, body: JsonObject): VendorReply {
  try {
    return vendor.reply(body, reading)
  } catch (cause) {
    // A body that is nested beyond the stack, for one.
    return {
      text: '',
      error: new GatewayError('vendor_error', 'The vendor sent a body that cannot be read.', { cause }),
    }
  }
}

function readEvents(state: State, events: readonly ServerEvent[] = []): void {
  if (events.length === 0) return
  const { call } = state
  const read = (state.read ??= call.vendor.reader(call.reading))
  const steps: Step[] = []
  for (const event of events) steps.push({ event, piece: read(event) })
  if (state.listener) return state.listener.steps(steps)
  state.early.push(...steps)
  if (!state.isCommitted) decide(state)
}

/** The first content, or a sign of the end, makes the stream the answer; an error before it fails the try. */
function decide(state: State): void {
  for (const { piece } of state.early) {
    if (piece.error) return stop(state, piece.error)
    if (piece.last && !state.early.some((step) => step.piece.usage)) return stop(state, closedEarly())
    if (piece.content || piece.whole || piece.last) return commit(state)
  }
  const bytes = state.early.reduce((size, { event }) => size + event.data.length, 0)
  if (state.early.length >= preambleLimit || bytes >= preambleBytes) commit(state)
}

function closedEarly(): GatewayError {
  return new GatewayError('vendor_error', 'The vendor closed the stream before it answered.')
}

function commit(state: State): void {
  const { head, sending, watch } = state
  if (!head) return
  state.isCommitted = true
  state.resolve({
    kind: 'stream',
    head,
    pause() {
      watch.pause(true)
      sending?.pause()
    },
    resume() {
      watch.pause(false)
      sending?.resume()
    },
    abort() {
      if (state.mode === 'over') return
      over(state)
      sending?.abort()
    },
    attach(listener) {
      state.listener = listener
      const first = state.early
      state.early = []
      if (first.length > 0) listener.steps(first)
      state.lastWord?.(listener)
    },
  })
}

function isGood({ status }: VendorHead): boolean {
  return status >= 200 && status < 300
}

/** What cuts a good answer into events; undefined for one body. */
function parserFor(vendor: Vendor, head: VendorHead): EventParser | undefined {
  if (!isGood(head)) return undefined
  const type = (head.headers['content-type'] ?? '').toLowerCase()
  return vendor.parser?.(type) ?? (type.includes('text/event-stream') ? createSseParser(eventLimit) : undefined)
}

/** Collects chunks up to a limit; `add` says false for the chunk that goes beyond it, and drops it. */
function openBody(): { add(chunk: Uint8Array, limit: number): boolean; bytes(): Uint8Array } {
  const chunks: Uint8Array[] = []
  let size = 0
  return {
    add(chunk, limit) {
      if (size + chunk.length > limit) return false
      size += chunk.length
      chunks.push(chunk)
      return true
    },
    bytes: () => concat(chunks),
  }
}
