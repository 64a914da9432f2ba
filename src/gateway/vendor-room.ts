import { boundsOf } from '../admit/limits.ts'
import { countedPrompt } from '../admit/prompt-count.ts'
import type { Bound, Shares, Taken } from '../admit/shares.ts'
import { GatewayError } from '../core/errors.ts'
import { mostLimit, tokensOf } from '../core/rate-limit.ts'
import { type Candidate, type Enter, keysOf, type Place } from '../core/routing.ts'
import type { SharedLimit } from '../core/shared-limit.ts'
import type { Asked } from './asking.ts'
import type { Gateway } from './gateway.ts'
import type { CallRoute } from './routing.ts'

/** Limits of vendors and of vendor keys: a target whose vendor or keys have no room for a call is passed over. */

interface Room {
  readonly shares: Shares
  readonly limits: readonly SharedLimit[]
  /** What a call is taken to have until its vendor tells. */
  readonly tokens: number
}

/** The bounds of one candidate, as far as they are known before it is tried. */
interface Bounds {
  readonly vendor: readonly Bound[]
  /** Those of each of its vendor's keys. */
  readonly keys: readonly (readonly Bound[])[]
}

/**
 * The same route, with the limits of vendors and their keys in front of its targets. An error where none of them has
 * room: then nothing is set aside for the call, and nothing counts it.
 */
export async function withRoom(gateway: Gateway, asked: Asked, route: CallRoute): Promise<CallRoute | GatewayError> {
  const { shares, platform } = gateway
  const limits = (platform.settings.limits?.shared ?? []).filter(isOfVendors)
  if (!shares || limits.length === 0) return route
  const room: Room = { shares, limits, tokens: await tokensFor(gateway, asked, limits) }
  const bounds = route.candidates.map((candidate) => boundsFor(gateway, room, candidate))
  const all = new Map(bounds.flatMap(({ vendor, keys }) => [...vendor, ...keys.flat()]).map((one) => [one.id, one]))
  await shares.prepare([...all.values()], room.tokens)
  const refusals = bounds.map((each) => refusalOf(room, each))
  if (refusals.every((refusal) => refusal !== undefined)) return allFull(asked, refusals)
  const wrap = (candidate: Candidate): Candidate => limited(room, candidate, asked)
  return { ...route, candidates: route.candidates.map(wrap), mirror: route.mirror && wrap(route.mirror) }
}

const isOfVendors = ({ scope }: SharedLimit): boolean => scope === 'vendor' || scope === 'vendor_key'

async function tokensFor({ platform }: Gateway, { call, model }: Asked, limits: readonly SharedLimit[]) {
  if (!limits.some(({ of }) => of === 'tokens')) return 0
  const most = call.choices * (call.maxOutput ?? model.maxOutputTokens)
  const prompt = await countedPrompt(platform, call).tokens()
  return Math.min(mostLimit, prompt + Math.min(most, platform.settings.firstOutputTokens))
}

function boundsFor({ platform }: Gateway, room: Room, { target }: Candidate): Bounds {
  const entry = platform.catalog().vendors.get(target.vendor)
  return {
    vendor: boundsOf(room.limits, { vendor: target.vendor }),
    keys: entry ? keysOf(entry).map(({ id }) => boundsOfKey(room, target.vendor, id)) : [],
  }
}

function boundsOfKey({ limits }: Room, vendor: string, keyId: string): readonly Bound[] {
  return boundsOf(limits, { vendor_key: `${vendor}/${keyId}` })
}

/** Why no call can be sent there now: the vendor is full, or every key of it is. */
function refusalOf({ shares, tokens }: Room, { vendor, keys }: Bounds): GatewayError | undefined {
  const refusals = keys.map((key) => shares.refusal(key, tokens))
  const [first] = refusals
  const ofKeys = refusals.some((refusal) => refusal === undefined) ? undefined : soonest(refusals, first)
  return shares.refusal(vendor, tokens) ?? ofKeys
}

function soonest(refusals: readonly (GatewayError | undefined)[], first: GatewayError | undefined) {
  return refusals.reduce((least, one) => (retryMsOf(one) < retryMsOf(least) ? one : least), first)
}

const retryMsOf = (error: GatewayError | undefined): number => error?.retryAfterMs ?? Number.POSITIVE_INFINITY

/** What a caller is told: which vendors we have, and how many calls we may make there, is not his business. */
function allFull({ model }: Pick<Asked, 'model'>, refusals: readonly (GatewayError | undefined)[]): GatewayError {
  const retryAfterMs = soonest(refusals, refusals[0])?.retryAfterMs ?? 1
  return new GatewayError(
    'rate_limit_exceeded',
    `The vendors of model "${model.name}" take no more calls just now. Send the call again shortly.`,
    { retryAfterMs },
  )
}

/** A candidate that takes a call only where its vendor has room for it, and one of its keys. */
function limited(room: Room, candidate: Candidate, asked: Pick<Asked, 'model'>): Candidate {
  const { shares, limits, tokens } = room
  const { vendor } = candidate.target
  let refusal: GatewayError | undefined
  return {
    ...candidate,
    enter(how) {
      const taken = shares.tryTake(boundsOf(limits, { vendor }), tokens)
      if (taken instanceof GatewayError) {
        refusal = allFull(asked, [taken])
        return undefined
      }
      const found = enterByKey(room, candidate, how)
      if (found && !(found instanceof GatewayError)) return counting(found.place, [taken, found.taken], tokens)
      taken.undo()
      refusal = found && allFull(asked, [found])
      return undefined
    },
    refusal: () => refusal,
  }
}

/** A place by a key that has room; else why the last one had none. Nothing where the candidate takes no call anyway. */
function enterByKey(
  room: Room,
  candidate: Candidate,
  how: Enter,
): { readonly place: Place; readonly taken: Taken } | GatewayError | undefined {
  const without = new Set(how.without)
  let refusal: GatewayError | undefined
  // Each round has one key fewer, so that it ends.
  for (;;) {
    const place = candidate.enter({ ...how, without })
    if (!place || without.has(place.keyId)) {
      place?.left()
      return refusal
    }
    const taken = room.shares.tryTake(boundsOfKey(room, candidate.target.vendor, place.keyId), room.tokens)
    if (!(taken instanceof GatewayError)) return { place, taken }
    refusal = taken
    without.add(place.keyId)
    place.left()
  }
}

/** A place whose end is the end of what was counted for it. */
function counting(place: Place, taken: readonly Taken[], tokens: number): Place {
  let state: 'waiting' | 'sent' | 'answered' | 'over' = 'waiting'
  /** What the vendor has not told stays as it was reserved. */
  const settle = (used: number): void => {
    if (state !== 'over') for (const each of taken) each.settle(used)
    state = 'over'
  }
  return {
    ...place,
    sent() {
      if (state === 'waiting') state = 'sent'
      place.sent?.()
    },
    answered() {
      if (state !== 'over') state = 'answered'
      place.answered()
    },
    failed(failure) {
      settle(state === 'answered' ? tokens : 0)
      place.failed(failure)
    },
    ended(said) {
      settle(said.counts ? tokensOf(said.counts) : tokens)
      place.ended(said)
    },
    left() {
      if (state === 'waiting') for (const each of taken) each.undo()
      else settle(tokens)
      state = 'over'
      place.left()
    },
  }
}
