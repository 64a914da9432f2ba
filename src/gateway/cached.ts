import { type CachePolicy, type CacheState, defaultCaching } from '../core/caching.ts'
import type { Flight } from '../call/answer-cache.ts'
import type { Answered } from '../call/attempt.ts'
import { cacheUse, type CacheUse, wishHeader } from '../call/cache-wish.ts'
import { answeredFrom, type CachedAnswer, isSound, recorded, type Recorded } from '../call/cached-answer.ts'
import { requestText } from '../call/request-name.ts'
import type { RelayEnding } from '../meter/relay.ts'
import type { Client } from '../ports.ts'
import { routingHeaders } from './wishes.ts'
import type { Asked, Asking } from './asking.ts'
import type { Gateway } from './gateway.ts'

/** What the cache has to do with one call. `over` must be called when the call is. */
export interface CacheTurn {
  readonly state: CacheState
  readonly policy: CachePolicy
  /** The answer, where there is one. */
  readonly found: Answered | undefined
  /** The last good answer, also past its time: for a call that no target answers. Never rejects. */
  stale(): Promise<Answered | undefined>
  /** The same answer, of which a copy is made where it may be kept. */
  watch(answered: Answered): Answered
  /** Hears how the answer ended. */
  heard(ending: RelayEnding): void
  /** Nothing more comes of this call: what it has made is kept. */
  over(): void
}

/** Looks whether a call was answered before, for this account. A cache that fails or is slow has no answer. */
export async function openTurn(gateway: Gateway, asking: Asking, asked: Asked): Promise<CacheTurn> {
  const { platform, answers } = gateway
  const { call, model } = asked
  const policy = model.caching ?? defaultCaching
  const use = cacheUse(policy, call.body, asking.client.header(wishHeader))
  const isUsed = (use.reads || use.writes || use.staleMs > 0) && call.operation === 'chat'
  if (!answers || !isUsed) return { ...untaken, state: 'bypass', policy }
  const wishes = routingHeaders(asking.client.header)
  const name = platform.crypto.keyHash(requestText(asked, platform.catalog(), wishes))
  const kept = use.reads ? await answers.find(name, use.ttlMs) : undefined
  const found = kept && readBack(gateway, asked, kept)
  if (found) return { ...untaken, state: 'hit', policy, found }
  const flight = policy.singleFlight && use.reads && use.writes ? answers.board(name) : undefined
  if (flight?.leads === false) {
    const landed = await beforeLeaving(asking.client, flight.answer)
    const shared = landed && readBack(gateway, asked, landed)
    if (shared) return { ...untaken, state: 'hit', policy, found: shared }
  }
  return keepingTurn(gateway, asked, { name, use, policy, flight })
}

const untaken = {
  found: undefined,
  stale: () => Promise.resolve(undefined),
  watch: (answered: Answered): Answered => answered,
  heard() {},
  over() {},
} as const

/** What this version cannot read or tell exactly is as good as nothing. */
function readBack({ platform }: Gateway, { call }: Asked, kept: CachedAnswer): Answered | undefined {
  try {
    return answeredFrom(kept, call, platform.catalog())
  } catch (error) {
    platform.log('cache_unreadable', { error: error instanceof Error ? error.name : typeof error })
    return undefined
  }
}

async function beforeLeaving<T>(client: Client, answer: Promise<T | undefined>): Promise<T | undefined> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  client.onGone(() => resolve(undefined))
  return Promise.race([answer, promise])
}

interface Keeping {
  readonly name: string
  readonly use: CacheUse
  readonly policy: CachePolicy
  readonly flight: Flight | undefined
}

/** A call that goes to a vendor, and whose answer may be kept. */
function keepingTurn(gateway: Gateway, asked: Asked, { name, use, policy, flight }: Keeping): CacheTurn {
  let record: Recorded | undefined
  let isWhole = false
  return {
    state: use.reads ? 'miss' : 'bypass',
    policy,
    found: undefined,
    stale: () => reserve(gateway, asked, { name, use }),
    watch(answered) {
      // Another model has stood in, or nobody has: that is no answer of this one's.
      if (!use.writes || answered.model !== asked.model.name || answered.staleSinceMs !== undefined) return answered
      record = recorded(answered)
      return record.answered
    },
    heard({ outcome, error }) {
      isWhole = outcome === 'complete' && error === undefined
    },
    over() {
      const answer = isWhole && record ? soundAnswer(gateway, asked, record) : undefined
      if (answer && gateway.answers) gateway.platform.later(gateway.answers.keep(name, answer, use.keepMs))
      if (flight?.leads) flight.land(answer)
    },
  }
}

/** What was kept in reserve for a call that nobody answers. */
async function reserve(
  gateway: Gateway,
  asked: Asked,
  { name, use }: Pick<Keeping, 'name' | 'use'>,
): Promise<Answered | undefined> {
  const kept = use.staleMs > 0 ? await gateway.answers?.find(name, use.ttlMs + use.staleMs) : undefined
  const found = kept && readBack(gateway, asked, kept)
  return found && { ...found, staleSinceMs: kept.keptAtMs }
}

function soundAnswer({ platform }: Gateway, { call }: Asked, record: Recorded): CachedAnswer | undefined {
  try {
    const answer = record.taken(platform.clock.now())
    return answer && isSound(answer, call, platform.catalog()) ? answer : undefined
  } catch {
    // It cannot even be read twice: nobody else shall have it.
    return undefined
  }
}
