import type { Call, Target } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { VendorEntry } from '../core/catalog.ts'
import { type Candidate, type Enter, keysOf, type Place, type TryFailure } from '../core/routing.ts'
import type { Platform } from '../ports.ts'
import { vendors } from '../vendors/index.ts'
import type { Vendor } from '../vendors/vendor.ts'
import { hideKey } from './hide-key.ts'
import { AttemptFailed, callVendor, type Trying, type VendorAnswer, type VendorCall } from './vendor-answer.ts'

export interface Reach {
  readonly vendor: Vendor
  readonly entry: VendorEntry
  readonly apiKey: string
}

/** How to reach a target, with its vendor's first key where none is named; undefined where its vendor is not live. */
export function reachOf(platform: Pick<Platform, 'catalog'>, target: Target, key?: string): Reach | undefined {
  const entry = platform.catalog().vendors.get(target.vendor)
  const vendor = entry && vendors.get(entry.adapter)
  const apiKey = key ?? (entry && keysOf(entry)[0]?.secret)
  return entry && vendor && apiKey !== undefined ? { entry, vendor: hideKey(vendor, apiKey), apiKey } : undefined
}

/** A request that is ready to be sent, and how its answer is read. */
export interface Prepared extends VendorCall {
  /** What is asked of the vendor. */
  readonly streamed: boolean
}

/** One try of a candidate. */
export interface Try {
  readonly candidate: Candidate
  readonly place: Place
  readonly prepared: Prepared
  readonly startedAtMs: number
  readonly trying: Trying
  /** Rejects only for a fault of our own. */
  readonly end: Promise<TryEnd>
  abort(): void
}

export type TryEnd =
  | { readonly kind: 'answered'; readonly tried: Try; readonly answer: VendorAnswer }
  | { readonly kind: 'failed'; readonly tried: Try; readonly failed: AttemptFailed }

export interface Asking {
  readonly call: Call
  readonly stream: boolean
}

export interface Start extends Enter {
  readonly candidate: Candidate
  /** Asked last of all. */
  mayStart(): boolean
}

/**
 * Sends a call to a candidate. `takes_none` where the candidate takes no call now, `not_now` where `mayStart` says no,
 * and an error where its vendor cannot do what is asked.
 */
export function startTry(
  platform: Platform,
  asking: Asking,
  { candidate, mayStart, ...how }: Start,
): Try | GatewayError | 'takes_none' | 'not_now' {
  const place = candidate.enter(how)
  const reach = place && reachOf(platform, candidate.target, place.apiKey)
  if (!place || !reach) {
    place?.left()
    return 'takes_none'
  }
  const prepared = prepare(asking, reach, candidate.target)
  if (prepared instanceof GatewayError) {
    place.left()
    return prepared
  }
  if (!mayStart()) {
    place.left()
    return 'not_now'
  }
  place.sent?.()
  const startedAtMs = platform.clock.now()
  const stopWatch = place.slowAfterMs === undefined ? undefined : platform.clock.after(place.slowAfterMs, place.slow)
  const trying = callVendor(platform, prepared)
  const ended = async (): Promise<TryEnd> => {
    try {
      const answer = await trying.answer
      place.heard(answer.head.headers)
      place.answered()
      return { kind: 'answered', tried, answer }
    } catch (caught) {
      place.heard(trying.head()?.headers ?? {})
      if (caught instanceof AttemptFailed) return { kind: 'failed', tried, failed: caught }
      place.left()
      throw caught
    } finally {
      stopWatch?.()
    }
  }
  const tried: Try = { candidate, place, prepared, startedAtMs, trying, abort: trying.abort, end: ended() }
  return tried
}

/** What the vendor does of what is asked; undefined where it does not do that. */
function adapterFor({ vendor, apiKey }: Reach, { operation }: Call): Vendor | undefined {
  if (operation === 'chat') return vendor
  const own = vendor.operations?.[operation]
  return own && hideKey(own, apiKey)
}

function notDone({ vendor, model }: Target): GatewayError {
  const message = `${vendor} does nothing of this kind with "${model}". Ask for a model that does.`
  return new GatewayError('invalid_value', message, { param: 'model' })
}

/** The request for a target, or why its vendor cannot do what is asked. */
function prepare({ call, stream }: Asking, reach: Reach, target: Target): Prepared | GatewayError {
  const { entry, apiKey } = reach
  const vendor = adapterFor(reach, call)
  if (!vendor) return notDone(target)
  const limits = target.limits ? { ...entry.limits, ...target.limits } : entry.limits
  const access = { baseUrl: entry.baseUrl, apiKey, connectMs: limits.connectMs }
  const reading = { call, translates: !vendor.speaks.includes(call.dialect) }
  if (reading.translates && call.beyond)
    return new GatewayError('invalid_value', call.beyond.message, { param: call.beyond.param })
  try {
    const streamed = stream || vendor.streamOnly?.(call, target) === true
    const request = vendor.request(call, target, access, streamed)
    return { vendor, request, limits, reading, streamed }
  } catch (caught) {
    if (caught instanceof GatewayError) return caught
    throw caught
  }
}

/** What the figures of a target are told of a try that failed. */
export function failureOf({ failure, status }: AttemptFailed): TryFailure {
  const { error, fault, about, retryAfterMs } = failure
  return {
    fault,
    code: error.code,
    status,
    ...(about !== undefined && { about }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  }
}
