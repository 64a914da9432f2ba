import type { Outcome } from '../core/call.ts'
import type { Policies } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import type { ServerEvent } from '../core/sse.ts'
import type { Clock, Tokenizer } from '../ports.ts'
import type { Piece, VendorUsage } from '../vendors/vendor.ts'
import { roughTokens } from '../core/pieces.ts'
import { openForwarded } from './forwarded.ts'
import { openPauses } from './pauses.ts'

/** After the finish reason the usage event is waited for this long. */
const usageWaitMs = 5_000
/** The same when the caller has left: the vendor is kept open only for its count. */
const goneUsageWaitMs = 2_000
/** Policy `drain`: a caller who left is read on for at most this long. */
const drainMs = 60_000
/** A vendor that sent its last event should close by then. */
const closeWaitMs = 2_000

export interface RelayStep {
  readonly event: ServerEvent
  readonly piece: Piece
}

/** The vendor's side of a stream. */
export interface Source {
  attach(listener: { steps(steps: readonly RelayStep[]): void; end(): void; fail(error: GatewayError): void }): void
  pause(): void
  resume(): void
  abort(): void
}

/** Events that wait for the charge, so that a caller who has seen the end can see what it cost. */
export interface Held {
  /** Tells the usage of a whole answer. */
  readonly usage: RelayStep | undefined
  /** The vendor's own end. */
  readonly last: RelayStep | undefined
}

/** The caller's side: where events go. */
export interface Outlet {
  /** False when the caller does not keep up; `resume` of the relay is called when he does. */
  write(steps: readonly RelayStep[]): boolean
  /** The answer is whole: what waited for the cost, and the end. */
  close(held: Held, cost: Nanos): void
  /** The answer broke off. */
  fail(error: GatewayError): void
  /** The money ran out. */
  cut(error: GatewayError, cost: Nanos): void
  /** Gives the caller up. */
  destroy(): void
  /** True where events reach the caller as they come; false where they are gathered for one body. */
  readonly live: boolean
}

/** What the relay asks of the hold. */
export interface Cover {
  covers(outputTokens: number): boolean
  grow(outputTokens: number): Promise<boolean>
  started: boolean
}

/** How a stream ended, for the one who charges it. */
export interface RelayEnding {
  readonly outcome: Outcome
  readonly usage: VendorUsage | undefined
  /** No text was forwarded after the vendor told its usage. */
  readonly isUsageFresh: boolean
  /** Tokens of what was forwarded, by our own count. */
  counted(): Promise<number>
  readonly delivered: boolean
  readonly finish: string | undefined
  readonly servedModel: string | undefined
  readonly serviceTier: string | undefined
  readonly firstByteAtMs: number | undefined
  readonly error: GatewayError | undefined
}

export interface RelayOptions {
  readonly source: Source
  readonly outlet: Outlet
  readonly cover: Cover
  readonly clock: Clock
  readonly tokenizer: Tokenizer
  readonly wantsUsage: boolean
  readonly stallMs: number
  readonly clientAbort: Policies['clientAbort']
  /** Charges the ending and says what it cost. Called exactly once; must not reject. */
  settle(ending: RelayEnding): Promise<Nanos>
}

export interface Relay {
  /** Settled and told to the caller. Never rejects. */
  readonly done: Promise<void>
  /** Takes what the source has and what comes. A caller who has left by then is told first, by `gone`. */
  start(): void
  /** The caller hung up. */
  gone(): void
  /** The caller reads again. */
  resume(): void
  /** Ends the stream from our side: the process stops. */
  interrupt(error: GatewayError): void
  /** Tokens forwarded so far, for checkpoints. */
  counted(): Promise<number>
  /** What the vendor has said of its service tier so far, likewise. */
  serviceTier(): string | undefined
}

/** Everything that a running relay remembers. */
interface State extends RelayOptions {
  readonly text: ReturnType<typeof openForwarded>
  readonly pauses: ReturnType<typeof openPauses>
  readonly ended: () => void
  queue: readonly RelayStep[]
  /** The hold grows: nothing is forwarded until it has. */
  isGrowing: boolean
  /** The ending is decided. */
  isOver: boolean
  /** A sign of a whole answer was seen. */
  isWhole: boolean
  /** The caller hung up. */
  isGone: boolean
  /** He did so before the answer was whole, or before any of it was sent. */
  leftEarly: boolean
  /** Content has reached the caller. */
  isDelivered: boolean
  /** The vendor's bytes are over. */
  isClosed: boolean
  /** The usage event, which waits for the cost. */
  waiting: RelayStep | undefined
  /** The vendor's own last event, which comes after it. */
  last: RelayStep | undefined
  usage: VendorUsage | undefined
  isUsageFresh: boolean
  finish: string | undefined
  servedModel: string | undefined
  serviceTier: string | undefined
  firstByteAtMs: number | undefined
  stopTimer: () => void
  stopStall: () => void
  stopClose: () => void
}

/**
 * Forwards a vendor's events to a caller and resolves how it ended, exactly once. It knows neither sockets nor money:
 * `source` and `outlet` are the two ends, `cover` says what is paid for, `settle` charges.
 */
export function relay(options: RelayOptions): Relay {
  const { promise: done, resolve } = Promise.withResolvers<void>()
  const state: State = {
    ...options,
    text: openForwarded(options.tokenizer),
    pauses: openPauses(options.source),
    ended: resolve,
    queue: [],
    isGrowing: false,
    isOver: false,
    isWhole: false,
    isGone: false,
    leftEarly: false,
    isDelivered: false,
    isClosed: false,
    waiting: undefined,
    last: undefined,
    usage: undefined,
    isUsageFresh: false,
    finish: undefined,
    servedModel: undefined,
    serviceTier: undefined,
    firstByteAtMs: undefined,
    stopTimer: () => {},
    stopStall: () => {},
    stopClose: () => {},
  }
  return {
    done,
    start: () => (state.isOver ? undefined : listen(state)),
    gone: () => gone(state),
    resume() {
      state.stopStall()
      state.pauses.delete('caller')
    },
    interrupt(error) {
      if (state.isOver) return
      state.source.abort()
      end(state, 'incomplete', error)
    },
    counted: state.text.counted,
    serviceTier: () => state.serviceTier,
  }
}

function listen(state: State): void {
  state.source.attach({
    steps(steps) {
      if (state.isOver) return
      state.queue = state.queue.length === 0 ? steps : [...state.queue, ...steps]
      pump(state)
    },
    end() {
      noteClosed(state)
      if (!state.isGrowing) closed(state)
    },
    fail(error) {
      noteClosed(state)
      end(state, state.isWhole ? 'complete' : 'incomplete', error)
    },
  })
}

/** The timer goes with what it waits for: it would keep all that the call has for as long as it runs. */
function noteClosed(state: State): void {
  state.isClosed = true
  state.stopClose()
}

/** Decides the ending. The first one wins; a later one changes nothing. */
function end(state: State, how: Outcome, error?: GatewayError): void {
  if (state.isOver) return
  const outcome = state.leftEarly ? 'client_abort' : how
  state.isOver = true
  state.stopTimer()
  state.stopStall()
  state.queue = []
  const { usage, isUsageFresh, finish, servedModel, serviceTier, isDelivered } = state
  // An answer of one event goes out once it is charged, which is now.
  const isHeld = outcome === 'complete' && !state.isGone
  const firstByteAtMs = state.firstByteAtMs ?? (isHeld ? state.clock.now() : undefined)
  const ending = {
    outcome,
    usage,
    isUsageFresh,
    finish,
    servedModel,
    serviceTier,
    firstByteAtMs,
    error,
    delivered: isDelivered,
    counted: state.text.counted,
  }
  void state.settle(ending).then((cost) => {
    if (!state.isGone) tellSafely(state, ending, cost)
    state.ended()
  })
}

/** An answer whose last event cannot be written breaks off, so that nobody takes it for whole. */
function tellSafely(state: State, ending: RelayEnding, cost: Nanos): void {
  try {
    tell(state, ending, cost)
  } catch {
    // What the vendor sent is at fault, and the charge is made: the caller sees a broken connection.
    state.outlet.destroy()
  }
}

function tell({ outlet, waiting: usage, last }: State, { outcome, error }: RelayEnding, cost: Nanos): void {
  if (outcome === 'complete') outlet.close({ usage, last }, cost)
  else if (outcome === 'cut') outlet.cut(error ?? outOfMoney(), cost)
  else if (error) outlet.fail(error)
  else outlet.destroy()
}

function endAfter(state: State, ms: number, outcome: Outcome): void {
  state.stopTimer()
  state.stopTimer = state.clock.after(ms, () => {
    state.source.abort()
    end(state, outcome)
  })
}

/** A vendor's event that cannot be passed on ends the call; nobody above would hear of it. */
function pump(state: State): void {
  try {
    forward(state)
  } catch (error) {
    state.source.abort()
    end(state, 'incomplete', unusable(error))
  }
}

function unusable(error: unknown): GatewayError {
  if (error instanceof GatewayError && error.code === 'vendor_error') return error
  return new GatewayError('vendor_error', 'The vendor sent an answer that cannot be passed on.', { cause: error })
}

/** Forwards what is queued, as far as it is paid for. */
function forward(state: State): void {
  if (state.isGrowing || state.isOver) return
  const steps = state.queue
  const ready: RelayStep[] = []
  state.queue = []
  for (const [at, step] of steps.entries()) {
    const { piece } = step
    if (piece.error) {
      // Some vendors put what they have used beside the error.
      noteUsage(state, piece)
      send(state, ready)
      state.source.abort()
      // After a sign of the end the answer is whole, whatever the vendor still says.
      return state.isWhole ? end(state, 'complete') : end(state, 'incomplete', piece.error)
    }
    const size = piece.text && !state.isGone ? state.text.estimateWith(piece.text) : 0
    if (size > 0 && !state.cover.covers(size)) {
      send(state, ready)
      state.queue = steps.slice(at)
      return grow(state, size)
    }
    note(state, step, ready)
    if (piece.last) {
      send(state, ready)
      if (!state.isClosed) state.stopClose = state.clock.after(closeWaitMs, () => state.source.abort())
      return end(state, state.isGone && !state.isWhole ? 'client_abort' : 'complete')
    }
  }
  send(state, ready)
}

/** The next step is not paid for yet: the vendor waits while the hold grows. */
function grow(state: State, size: number): void {
  state.isGrowing = true
  state.pauses.add('money')
  void pay(state, size).then((isPaid) => {
    state.isGrowing = false
    if (state.isOver) return
    if (!isPaid) {
      state.source.abort()
      return end(state, 'cut', outOfMoney())
    }
    pump(state)
    if (state.isGrowing) return
    // Last, because the source may at once give what it held back, its end too.
    state.pauses.delete('money')
    if (state.isClosed && !state.isGrowing) closed(state)
  })
}

/** Before a stream is cut for an estimate, what was forwarded is counted exactly. */
async function pay({ cover, text, queue }: State, size: number): Promise<boolean> {
  if (await cover.grow(size)) return true
  const next = queue[0]?.piece.text ?? ''
  return cover.covers((await text.counted()) + roughTokens(next))
}

/** Remembers what a step says and puts it in line, unless it is hidden or waits for the cost. */
function note(state: State, step: RelayStep, ready: RelayStep[]): void {
  const { piece } = step
  noteUsage(state, piece)
  state.finish = piece.finish ?? state.finish
  state.servedModel = piece.servedModel ?? state.servedModel
  state.serviceTier = piece.serviceTier ?? state.serviceTier
  if (piece.whole && !state.isWhole) {
    state.isWhole = true
    if (!state.usage) endAfter(state, state.isGone ? goneUsageWaitMs : usageWaitMs, 'complete')
  }
  if (state.isGone) return state.isWhole && state.usage ? endGone(state) : undefined
  if (piece.last) state.last = step
  if (piece.last || (piece.usageOnly && !state.wantsUsage)) return
  if (state.waiting) ready.push(state.waiting)
  state.waiting = undefined
  if (piece.usage && state.isWhole && state.wantsUsage) state.waiting = step
  else ready.push(step)
  if (piece.text) state.text.add(piece.text)
}

function noteUsage(state: State, { usage, text }: Piece): void {
  // A usage that comes with text counts it too.
  if (usage || (text && !state.isGone)) state.isUsageFresh = usage !== undefined
  state.usage = usage ?? state.usage
}

function send(state: State, steps: readonly RelayStep[]): void {
  if (steps.length === 0 || state.isGone) return
  state.firstByteAtMs ??= state.clock.now()
  const keepsUp = state.outlet.write(steps)
  if (steps.some(({ piece }) => piece.content)) {
    state.isDelivered = state.outlet.live
    state.cover.started = state.outlet.live
  }
  if (keepsUp) return
  state.pauses.add('caller')
  state.stopStall()
  state.stopStall = state.clock.after(state.stallMs, () => {
    state.outlet.destroy()
    gone(state)
  })
}

/** The caller hung up: the vendor goes on only where its count is needed. */
function gone(state: State): void {
  if (state.isOver || state.isGone) return
  state.isGone = true
  // Of an answer that is gathered nothing has reached him, however whole it is.
  const owesAll = state.isWhole && state.isDelivered
  state.leftEarly = !owesAll
  state.stopStall()
  state.pauses.clear()
  if (owesAll && state.usage) return endGone(state)
  if (owesAll) return endAfter(state, goneUsageWaitMs, 'complete')
  if (state.clientAbort === 'drain' && state.isDelivered) return endAfter(state, drainMs, 'client_abort')
  state.source.abort()
  end(state, 'client_abort')
}

function endGone(state: State): void {
  state.source.abort()
  end(state, 'complete')
}

/** The vendor's bytes are over. */
function closed(state: State): void {
  if (state.isWhole) return end(state, 'complete')
  if (state.isGone) return end(state, 'client_abort')
  end(state, 'incomplete', new GatewayError('vendor_error', 'The vendor closed the stream before finishing.'))
}

function outOfMoney(): GatewayError {
  return new GatewayError('insufficient_quota', 'The balance ran out during the answer. Top up and ask again.')
}
