import type { Call } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import type { GatewayError } from '../core/errors.ts'
import type { KeepAliveRules } from '../core/keep-alive.ts'
import type { Front } from '../fronts/front.ts'
import type { Client, Clock } from '../ports.ts'
import { streamHeaders } from './outlet.ts'

/** What a refusal says must leave before the connection breaks. */
const breakAfterMs = 100
/** Of HTTP's statuses. */
const firstError = 400
const encoder = new TextEncoder()
/** Between the elements of an array, and before a body, JSON allows white space, and every reader skips it. */
const blankLine = encoder.encode('\n')
/** A comment: it says nothing, and no reader of events takes it for one. */
const comment = encoder.encode(': keep-alive\n\n')
const [opening, closing] = [encoder.encode('['), encoder.encode(']')] as const

export interface KeepAliveOptions {
  readonly front: Front
  readonly call: Call
  readonly rules: KeepAliveRules
  readonly clock: Clock
}

/** A caller whose connection is kept from falling silent. */
export interface KeptAlive {
  readonly client: Client
  /** Tells an error to a caller whose status went out early; false where it did not: then a status can still tell. */
  fail(error: GatewayError): boolean
  /** Nothing more comes of the call. */
  over(): void
}

interface State extends KeepAliveOptions {
  readonly caller: Client
  /** `early`: the status went out before there was anything to say. */
  mode: 'waiting' | 'early' | 'open' | 'over'
  /** What is sent in a silence; undefined where the answer has no place for it. */
  ping: Uint8Array | undefined
  lastAt: number
  /** The caller does not keep up: he has enough to read. */
  isFull: boolean
  /** An early answer has become one that a status would have refused. */
  isRefusal: boolean
  stopTimer: () => void
}

/**
 * Stands between a call and its caller. In a silence it sends what his client skips, so that nobody on the way takes
 * the connection for dead. Where the rules say so it also sends the status before the vendor has said anything, for
 * those who wait for a first byte no longer than so; what goes wrong from there on is told in the answer itself.
 */
export function keptAlive(caller: Client, options: KeepAliveOptions): KeptAlive {
  const state: State = {
    ...options,
    caller,
    mode: 'waiting',
    ping: undefined,
    lastAt: 0,
    isFull: false,
    isRefusal: false,
    stopTimer: () => {},
  }
  caller.onDrain(() => {
    state.isFull = false
  })
  const commitMs = commitAfter(options)
  if (commitMs !== undefined) state.stopTimer = options.clock.after(commitMs, () => commit(state))
  return {
    client: new KeptClient(state),
    fail: (error) => fail(state, error),
    over: () => over(state),
  }
}

/** Only a conversation can be begun before its vendor answers: what else there is may turn out to be bytes, or a body. */
function commitAfter({ call, rules }: KeepAliveOptions): number | undefined {
  if (call.measure) return undefined
  return call.stream ? rules.commitStreamMs : rules.commitBodyMs
}

/** What the call takes for its caller. A class, so that all of them have one hidden class, with one pair of getters. */
class KeptClient implements Client {
  readonly header: Client['header']
  readonly body: Client['body']
  readonly onGone: Client['onGone']
  readonly onDrain: Client['onDrain']
  readonly #state: State

  constructor(state: State) {
    const { header, body, onGone, onDrain } = state.caller
    this.header = header
    this.body = body
    this.onGone = onGone
    this.onDrain = onDrain
    this.#state = state
  }

  get gone(): boolean {
    return this.#state.caller.gone
  }

  isEarly(): boolean {
    return this.#state.mode === 'early'
  }

  open(status: number, headers: Readonly<Record<string, string>>): void {
    const state = this.#state
    if (state.mode === 'early') state.isRefusal = status >= firstError
    if (state.mode === 'waiting') open(state, status, headers)
  }

  write(bytes: Uint8Array): boolean {
    const state = this.#state
    state.lastAt = state.clock.elapsed()
    const keepsUp = state.caller.write(bytes)
    state.isFull = !keepsUp
    return keepsUp
  }

  end(bytes?: Uint8Array): void {
    const state = this.#state
    over(state)
    if (state.isRefusal) refuse(state, bytes)
    else state.caller.end(bytes)
  }

  destroy(): void {
    over(this.#state)
    this.#state.caller.destroy()
  }
}

function over(state: State): void {
  state.mode = 'over'
  state.stopTimer()
}

/** The answer begins in its own time. */
function open(state: State, status: number, headers: Readonly<Record<string, string>>): void {
  const { caller, call, front } = state
  state.stopTimer()
  state.mode = 'open'
  const isStream = call.stream && status < firstError
  if (isStream && headers['content-type']?.startsWith('text/event-stream')) state.ping = front.ping ?? comment
  else if (isStream && call.form === 'array') state.ping = blankLine
  caller.open(status, headers)
  watch(state)
}

/** The caller is told that he is heard, whatever comes of it. */
function commit(state: State): void {
  const { caller, call, front } = state
  if (state.mode !== 'waiting' || caller.gone) return
  state.mode = 'early'
  const isEvents = call.stream && call.form !== 'array'
  state.ping = isEvents ? (front.ping ?? comment) : blankLine
  const kind = call.stream ? streamHeaders(call) : { 'content-type': 'application/json', 'cache-control': 'no-cache' }
  const id = { 'x-request-id': call.id, ...(front.idHeader !== undefined && { [front.idHeader]: call.id }) }
  caller.open(200, { ...kind, ...id })
  // Most servers send the status with the first bytes after it.
  tell(state)
  watch(state)
}

function tell(state: State): void {
  state.lastAt = state.clock.elapsed()
  if (state.ping) state.isFull = !state.caller.write(state.ping)
}

/** One timer for each answer: it looks how long the silence has been, and again when it may have been too long. */
function watch(state: State): void {
  const { clock, rules } = state
  const { silenceMs } = rules
  if (silenceMs === undefined || state.ping === undefined) return
  state.lastAt = clock.elapsed()
  const look = (): void => {
    if (state.mode === 'over' || state.caller.gone) return
    if (clock.elapsed() - state.lastAt >= silenceMs && !state.isFull) tell(state)
    const leftMs = state.lastAt + silenceMs - clock.elapsed()
    state.stopTimer = clock.after(leftMs > 0 ? leftMs : silenceMs, look)
  }
  state.stopTimer = clock.after(silenceMs, look)
}

function fail(state: State, error: GatewayError): boolean {
  const { caller, call, front, mode } = state
  if (mode !== 'early') return false
  over(state)
  if (caller.gone) return true
  if (!call.stream) refuse(state, encoder.encode(JSON.stringify(front.failure(error, call.id).body)))
  else {
    const event = front.failureEvent(error, call)
    caller.end(call.form === 'array' ? concat([opening, event, closing]) : event)
  }
  return true
}

/**
 * A body that is an error, under a status that says otherwise: a client would take it for the answer. So it is sent for
 * whoever looks at the bytes, and the connection breaks before its proper end, which every client notices.
 */
function refuse({ caller, clock }: State, bytes: Uint8Array | undefined): void {
  if (caller.gone) return
  if (bytes) caller.write(bytes)
  clock.after(breakAfterMs, () => caller.destroy())
}
