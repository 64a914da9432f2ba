import type { Attempt, Call, Target } from '../core/call.ts'
import type { Model, VendorEntry } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import type { Platform } from '../ports.ts'
import { vendors } from '../vendors/index.ts'
import type { Vendor } from '../vendors/vendor.ts'
import { hideKey } from './hide-key.ts'
import { AttemptFailed, callVendor, type Trying, type VendorAnswer, type VendorCall } from './vendor-answer.ts'

/** Tries of one call at most, over all its targets. */
const attemptLimit = 4

/** Why an attempt ended that was not the vendor's fault. */
const callerLeft = 'caller_left'

/** A target that answered, and every try until then. */
export interface Answered {
  readonly answer: VendorAnswer
  readonly target: Target
  readonly vendor: Vendor
  /** What was asked of the vendor, which may differ from what the caller wants. */
  readonly streamed: boolean
  /** The vendor speaks the caller's dialect: its bytes go by. Otherwise they are translated. */
  readonly passes: boolean
  /** Parameters of the caller that this vendor was not sent. */
  readonly dropped: readonly string[]
  /** Failed tries, then the one that answered; its end is not known yet. */
  readonly attempts: readonly Attempt[]
}

/** No target gave an answer. `attempts` tells what was tried. */
export class NoAnswer extends Error {
  readonly error: GatewayError
  readonly attempts: readonly Attempt[]
  constructor(error: GatewayError, attempts: readonly Attempt[]) {
    super(error.message, { cause: error })
    this.name = 'NoAnswer'
    this.error = error
    this.attempts = attempts
  }
}

/** The caller hung up while we waited. `begun` says whether a vendor had started to answer. */
export class CallerGone extends Error {
  readonly attempts: readonly Attempt[]
  readonly begun: boolean
  constructor(attempts: readonly Attempt[], begun: boolean) {
    super('The caller hung up.')
    this.name = 'CallerGone'
    this.attempts = attempts
    this.begun = begun
  }
}

export interface AttemptOptions {
  readonly call: Call
  readonly model: Model
  /** Best first. */
  readonly targets: readonly Target[]
  /** Ask the vendor for a stream. */
  readonly stream: boolean
  /** Ends the search: with a GatewayError as its reason for that one, with any other because the caller hung up. */
  readonly signal: AbortSignal
}

/**
 * Calls the targets in order until one answers with content. A fault of the caller's own request ends the search,
 * because no other target would take it; a vendor that cannot do what is asked is passed over. Throws NoAnswer or
 * CallerGone.
 */
export async function attemptTargets(platform: Platform, options: AttemptOptions): Promise<Answered> {
  const attempts: Attempt[] = []
  let last: GatewayError | undefined
  let trying: Trying | undefined
  const { signal, call } = options
  signal.addEventListener('abort', () => trying?.abort())

  for (const target of options.targets) {
    if (attempts.length === attemptLimit) break
    const reach = reachOf(platform, target)
    if (!reach) continue
    // The caller may have left while the call was admitted: then nobody would end the try.
    if (signal.aborted) throw givenUp(signal, attempts, false)
    const started = { vendor: target.vendor, model: target.model, startedAtMs: platform.clock.now() }
    const prepared = prepare(options, reach, target)
    if (prepared instanceof GatewayError) {
      // What one vendor could not do is told only where no other was asked.
      last ??= prepared
      continue
    }
    trying = callVendor(platform, prepared)
    try {
      const answer = await trying.answer
      // From here on the relay decides what a hang-up means.
      trying = undefined
      const { vendor, reading, streamed, request } = prepared
      const answering = { ...started, endedAtMs: started.startedAtMs, status: answer.head.status }
      const { dropped = [] } = request
      const tried = [...attempts, answering]
      return { answer, target, vendor, streamed, passes: !reading.translates, dropped, attempts: tried }
    } catch (caught) {
      if (!(caught instanceof AttemptFailed)) throw caught
      const { error, fault } = caught.failure
      const reason = signal.aborted ? codeOf(signal) : error.code
      attempts.push({ ...started, endedAtMs: platform.clock.now(), status: caught.status, error: reason })
      if (signal.aborted) throw givenUp(signal, attempts, trying?.begun === true)
      if (fault === 'account') platform.log('vendor_account_refused', { vendor: target.vendor, status: caught.status })
      if (fault === 'caller') throw new NoAnswer(error, attempts)
      last = error
    }
  }
  throw new NoAnswer(last ?? noTarget(call), attempts)
}

function noTarget({ model }: Call): GatewayError {
  return new GatewayError('no_target_available', `Model "${model}" has no vendor that is ready. Try again later.`)
}

interface Prepared extends VendorCall {
  readonly streamed: boolean
}

/** The request for a target, or why its vendor cannot do what is asked. */
function prepare({ call, stream }: AttemptOptions, reach: Reach, target: Target): Prepared | GatewayError {
  const { vendor, entry, apiKey } = reach
  const access = { baseUrl: entry.baseUrl, apiKey, connectMs: entry.limits.connectMs }
  const reading = { call, translates: !vendor.speaks.includes(call.dialect) }
  try {
    const streamed = stream || vendor.streamOnly?.(call, target) === true
    const request = vendor.request(call, target, access, streamed)
    return { vendor, request, limits: entry.limits, reading, streamed }
  } catch (caught) {
    if (caught instanceof GatewayError) return caught
    throw caught
  }
}

function givenUp({ reason }: AbortSignal, attempts: readonly Attempt[], begun: boolean): NoAnswer | CallerGone {
  return reason instanceof GatewayError ? new NoAnswer(reason, attempts) : new CallerGone(attempts, begun)
}

function codeOf({ reason }: AbortSignal): string {
  return reason instanceof GatewayError ? reason.code : callerLeft
}

export interface Reach {
  readonly vendor: Vendor
  readonly entry: VendorEntry
  readonly apiKey: string
}

/** How to reach a target; undefined where its vendor is not live. */
export function reachOf(platform: Platform, target: Target): Reach | undefined {
  const entry = platform.catalog().vendors.get(target.vendor)
  const vendor = entry && vendors.get(entry.adapter)
  const apiKey = entry?.apiKeys[0]
  return entry && vendor && apiKey !== undefined ? { entry, vendor: hideKey(vendor, apiKey), apiKey } : undefined
}
