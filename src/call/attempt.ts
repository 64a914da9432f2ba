import type { Attempt, Call, Target } from '../core/call.ts'
import type { Random } from '../core/draw.ts'
import { GatewayError } from '../core/errors.ts'
import type { Candidate, TryFailure } from '../core/routing.ts'
import type { Platform } from '../ports.ts'
import type { Vendor, VendorFailure } from '../vendors/vendor.ts'
import { abandonedCost, failedCost } from './lost-cost.ts'
import { CallerGone, NoAnswer } from './no-answer.ts'
import { mayPass, pauseBefore } from './retry.ts'
import { failureOf, startTry, type Try, type TryEnd } from './try.ts'
import type { VendorAnswer } from './vendor-answer.ts'
import { watched } from './watched.ts'

/** Tries of one call at most, over all its targets and rounds. */
const attemptLimit = 6
/** Tries of one call that run at once. */
const abreast = 2

/** Why an attempt ended that was not the vendor's fault. */
const callerLeft = 'caller_left'
const outrun = 'outrun'

/** A target that answered, and every try until then. */
export interface Answered {
  readonly answer: VendorAnswer
  readonly target: Target
  /** The public model that the target was asked as: another one than the caller's where that did not answer. */
  readonly model: string
  readonly vendor: Vendor
  /** What was asked of the vendor, which may differ from what the caller wants. */
  readonly streamed: boolean
  /** The vendor speaks the caller's dialect: its bytes go by. Otherwise they are translated. */
  readonly passes: boolean
  /** Parameters of the caller that this vendor was not sent. */
  readonly dropped: readonly string[]
  /** Failed tries, then the one that answered; its end is not known yet. */
  readonly attempts: readonly Attempt[]
  /** When it was kept, ms since 1970: it is past its time, and given because no target answers. Absent: it is not. */
  readonly staleSinceMs?: number
}

export interface AttemptRules {
  /** Rounds over the candidates after the first one. */
  readonly retries: number
  /** Without content for so long, the next candidate is asked too. */
  readonly hedgeMs?: number | undefined
  /** Takes one further try from what all calls together may have; false where nothing is left. */
  readonly spend: () => boolean
  readonly random: Random
}

export interface AttemptOptions {
  readonly call: Call
  /** Best first. */
  readonly candidates: readonly Candidate[]
  /** Ask the vendor for a stream. */
  readonly stream: boolean
  /** Ends the search: with a GatewayError as its reason for that one, with any other because the caller hung up. */
  readonly signal: AbortSignal
  readonly rules: AttemptRules
}

/** Where a search stands. */
interface Search {
  readonly platform: Platform
  readonly options: AttemptOptions
  /** As it is sent: at first as it was asked. */
  call: Call
  readonly attempts: Attempt[]
  readonly running: Set<Try>
  /** By candidate, in this round: the keys that have failed it, and its last failure. */
  readonly failedKeys: Map<Candidate, Set<string>>
  readonly failures: Map<Candidate, TryFailure>
  /** Still to be tried in this round. */
  queue: Candidate[]
  /** Those that took no call: they are asked again where nothing else is left, and then even the unready may answer. */
  passedOver: Candidate[]
  isLastResort: boolean
  round: number
  tries: number
  /** A vendor has begun to answer. */
  begun: boolean
  last: GatewayError | undefined
  /** The second try beside the first was made; there is one of them at most. */
  isHedged: boolean
  /** All calls together have been tried again often enough for now. */
  isSpent: boolean
}

/**
 * Calls the candidates in order until one answers with content. A fault of the caller's own request ends the search,
 * because no other target would take it; a vendor that cannot do what is asked is passed over. Throws NoAnswer or
 * CallerGone.
 */
export async function attemptTargets(platform: Platform, options: AttemptOptions): Promise<Answered> {
  const search: Search = {
    platform,
    options,
    call: options.call,
    attempts: [],
    running: new Set(),
    failedKeys: new Map(),
    failures: new Map(),
    queue: [...options.candidates],
    passedOver: [],
    isLastResort: false,
    round: 1,
    tries: 0,
    begun: false,
    last: undefined,
    isHedged: false,
    isSpent: false,
  }
  const abort = (): void => search.running.forEach((tried) => tried.abort())
  options.signal.addEventListener('abort', abort)
  try {
    return await seek(search)
  } finally {
    options.signal.removeEventListener('abort', abort)
    // Only after a fault of our own is anything left.
    abort()
  }
}

async function seek(search: Search): Promise<Answered> {
  const { running, options } = search
  for (;;) {
    if (running.size === 0) {
      // The caller may have left while the call was admitted: then nobody would end the try.
      if (options.signal.aborted) throw givenUp(search)
      if (!startNext(search) && !(await startRound(search))) throw nothingLeft(search)
      if (running.size === 0) continue
    }
    const end = await nextEnd(search)
    if (end === undefined) startNext(search)
    else if (end.kind === 'answered') return await won(search, end)
    else await lost(search, end)
  }
}

/** Starts the next try, if there is one and one more is allowed; says whether it did. */
function startNext(search: Search): boolean {
  const { options, platform, running } = search
  const { rules } = options
  while (search.tries < attemptLimit && running.size < abreast) {
    const candidate = search.queue.shift()
    if (!candidate) {
      if (search.isLastResort || running.size > 0) return false
      search.queue = search.passedOver
      search.isLastResort = true
      continue
    }
    const without = search.failedKeys.get(candidate) ?? new Set<string>()
    const mayStart = (): boolean => search.tries === 0 || rules.spend()
    const tried = startTry(
      platform,
      { call: search.call, stream: options.stream },
      { candidate, without, isLastResort: search.isLastResort, mayStart },
    )
    if (tried === 'not_now') {
      search.isSpent = true
      return false
    }
    if (tried === 'takes_none') {
      if (!search.isLastResort) search.passedOver.push(candidate)
    } else if (tried instanceof GatewayError) {
      // What one vendor could not do is told only where no other was asked.
      search.last ??= tried
    } else {
      running.add(tried)
      search.tries++
      return true
    }
  }
  return false
}

/** Puts what may go well by now into another round, after a pause. */
async function startRound(search: Search): Promise<boolean> {
  const { options, failures, platform } = search
  const { rules, signal, candidates } = options
  if (search.round > rules.retries || search.isSpent || search.tries >= attemptLimit) return false
  const pauseMs = pauseBefore({ round: search.round, failures: [...failures.values()], draw: rules.random() })
  if (pauseMs === undefined) return false
  await wait(platform, { ms: pauseMs, signal })
  if (signal.aborted) throw givenUp(search)
  search.round++
  search.queue = candidates.filter((candidate) => {
    const failure = failures.get(candidate)
    return failure !== undefined && mayPass(failure)
  })
  search.passedOver = []
  search.isLastResort = false
  search.failedKeys.clear()
  failures.clear()
  return startNext(search)
}

function wait({ clock }: Pick<Platform, 'clock'>, { ms, signal }: { ms: number; signal: AbortSignal }): Promise<void> {
  return new Promise((resolve) => {
    const stop = clock.after(ms, done)
    signal.addEventListener('abort', done)
    function done(): void {
      stop()
      signal.removeEventListener('abort', done)
      resolve()
    }
  })
}

/** The first try to end; undefined where it is time for a second one beside the first. */
async function nextEnd(search: Search): Promise<TryEnd | undefined> {
  const { running, options, platform, queue } = search
  const { hedgeMs } = options.rules
  const ends = [...running].map(({ end }) => end)
  const [only] = ends
  if (hedgeMs === undefined || search.isHedged || queue.length === 0)
    return ends.length === 1 && only ? only : Promise.race(ends)
  const late = Promise.withResolvers<undefined>()
  const stop = platform.clock.after(hedgeMs, () => {
    search.isHedged = true
    late.resolve(undefined)
  })
  try {
    return await Promise.race([...ends, late.promise])
  } finally {
    stop()
  }
}

async function won(search: Search, { tried, answer }: TryEnd & { kind: 'answered' }): Promise<Answered> {
  const { attempts, running } = search
  running.delete(tried)
  const { candidate, prepared, startedAtMs, place } = tried
  const { target, model } = candidate
  await abandon(search)
  const answering = { ...triedAt(tried), endedAtMs: startedAtMs, status: answer.head.status }
  const { vendor, reading, streamed, request } = prepared
  const { dropped = [] } = request
  const shown = { target, model, vendor, streamed, passes: !reading.translates, dropped }
  return { ...shown, answer: watched(answer, place), attempts: [...attempts, answering] }
}

/** Breaks off what is still running; the books say what it may cost. */
async function abandon({ running, platform, attempts, options }: Search): Promise<void> {
  const left = [...running]
  running.clear()
  for (const tried of left) {
    const status = tried.trying.head()?.status ?? 0
    tried.place.left()
    tried.abort()
    // It has been decided without it: how it ends says nothing any more.
    tried.end.catch(() => {})
    const cost = await abandonedCost(platform, {
      call: options.call,
      target: tried.candidate.target,
      counts: undefined,
    })
    attempts.push({ ...triedAt(tried), endedAtMs: platform.clock.now(), status, error: outrun, ...cost })
  }
}

async function lost(search: Search, { tried, failed }: TryEnd & { kind: 'failed' }): Promise<void> {
  const { attempts, options, platform, failures } = search
  const { error, fault } = failed.failure
  const { candidate, place } = tried
  search.running.delete(tried)
  search.begun ||= tried.trying.head() !== undefined
  const isGivenUp = options.signal.aborted
  if (isGivenUp) place.left()
  else place.failed(failureOf(failed))
  const { vendor } = candidate.target
  const cost = failedCost({ call: options.call, target: candidate.target, counts: failed.usage?.counts })
  const reason = isGivenUp ? codeOf(options.signal) : error.code
  attempts.push({ ...triedAt(tried), endedAtMs: platform.clock.now(), status: failed.status, error: reason, ...cost })
  if (isGivenUp) return
  if (fault === 'account') platform.log('vendor_account_refused', { vendor, key: place.keyId, status: failed.status })
  if (fault === 'caller') return refused(search, tried, failed.failure)
  search.last = error
  failures.set(candidate, failureOf(failed))
  if (fault === 'down') return
  // Another of our keys may be taken where this one was not.
  search.failedKeys.set(candidate, (search.failedKeys.get(candidate) ?? new Set<string>()).add(place.keyId))
  search.queue.unshift(candidate)
}

/**
 * No other target would take the request either, unless it is only too long for this one, or can be sent without what
 * this one cannot read.
 */
async function refused(search: Search, { candidate }: Try, { error, about }: VendorFailure): Promise<void> {
  if (about === 'sealed' && !search.call.withoutSealed) {
    search.call = { ...search.call, withoutSealed: true }
    search.last = error
    search.queue.unshift(candidate)
    return
  }
  const { contextTokens } = candidate.target
  const isRoomier = ({ target }: Candidate): boolean =>
    contextTokens !== undefined && target.contextTokens !== undefined && target.contextTokens > contextTokens
  search.queue = error.code === 'context_length_exceeded' ? search.queue.filter(isRoomier) : []
  search.passedOver = search.queue.length > 0 ? search.passedOver.filter(isRoomier) : []
  search.last = error
  if (search.queue.length > 0) return
  await abandon(search)
  throw new NoAnswer(error, search.attempts)
}

function triedAt({ candidate, startedAtMs }: Try): Pick<Attempt, 'vendor' | 'model' | 'startedAtMs'> {
  return { vendor: candidate.target.vendor, model: candidate.target.model, startedAtMs }
}

function nothingLeft({ last, options, attempts }: Search): NoAnswer {
  return new NoAnswer(last ?? fullest(options.candidates) ?? noTarget(options.call), attempts)
}

/** Where limits alone stand in the way, the one that is over first. */
function fullest(candidates: readonly Candidate[]): GatewayError | undefined {
  const refusals = candidates.flatMap((candidate) => candidate.refusal?.() ?? [])
  return refusals.toSorted((a, b) => (a.retryAfterMs ?? 0) - (b.retryAfterMs ?? 0))[0]
}

function noTarget({ model }: Call): GatewayError {
  return new GatewayError('no_target_available', `Model "${model}" has no vendor that is ready. Try again later.`)
}

function givenUp({ options, attempts, begun }: Search): NoAnswer | CallerGone {
  const { reason } = options.signal
  return reason instanceof GatewayError ? new NoAnswer(reason, attempts) : new CallerGone(attempts, begun)
}

function codeOf({ reason }: AbortSignal): string {
  return reason instanceof GatewayError ? reason.code : callerLeft
}
