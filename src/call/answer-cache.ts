import type { Cache, Clock, Log } from '../ports.ts'
import { type CachedAnswer, packAnswer, unpackAnswer } from './cached-answer.ts'

/** Caches beyond this process, all together, are waited for this long at most. */
const lookUpMs = 50
/** Nobody waits for an answer to be kept, but a cache that takes so long is in trouble. */
const writeMs = 1_000
/** One that has failed, or was slower, is left alone for so long: a cache must not slow down call after call. */
const restMs = 1_000
/** Answers on their way to caches; while there are more, the next are kept in this process alone. */
const maxWrites = 64
/** A call waits this long for an identical one before it. */
const flightMs = 60_000

/** Answers that identical calls get. Whatever fails in it, the call goes on without it. */
export interface AnswerCache {
  /** What is kept under a name and is no older than `maxAgeMs`. Never rejects. */
  find(name: string, maxAgeMs: number): Promise<CachedAnswer | undefined>
  /** Keeps an answer. Never rejects, and is slow where a cache is: do not wait for it with a caller. */
  keep(name: string, answer: CachedAnswer, ttlMs: number): Promise<void>
  /**
   * Takes the lead among identical calls, or gives the one that has it: its answer, once that is kept, or undefined
   * where there will be none. Whoever leads must call `land`.
   */
  board(name: string): Flight
}

export type Flight =
  | { readonly leads: true; land(answer: CachedAnswer | undefined): void }
  | { readonly leads: false; readonly answer: Promise<CachedAnswer | undefined> }

export interface AnswerCacheOptions {
  readonly clock: Clock
  readonly log: Log
  /** In this process. */
  readonly near: Cache
  /** Shared with others, nearest first. */
  readonly far: readonly Cache[]
}

interface State extends AnswerCacheOptions {
  /** Until when a cache is left alone. */
  readonly resting: Map<Cache, number>
  writes: number
}

export function openAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const state: State = { ...options, resting: new Map(), writes: 0 }
  const flights = new Map<string, Promise<CachedAnswer | undefined>>()
  return {
    find: (name, maxAgeMs) => find(state, name, maxAgeMs),
    keep: (name, answer, ttlMs) => keep(state, name, { bytes: packAnswer(answer), ttlMs }),
    board(name) {
      const flying = flights.get(name)
      if (flying) return { leads: false, answer: within(state.clock, flying, flightMs) }
      const { promise, resolve } = Promise.withResolvers<CachedAnswer | undefined>()
      flights.set(name, promise)
      return {
        leads: true,
        land(answer) {
          if (flights.get(name) === promise) flights.delete(name)
          resolve(answer)
        },
      }
    },
  }
}

async function find(state: State, name: string, maxAgeMs: number): Promise<CachedAnswer | undefined> {
  const { clock, near } = state
  const own = fresh(state, await near.get(name).catch(() => undefined), maxAgeMs)
  if (own || state.far.length === 0) return own
  const found = await within(clock, findFar(state, name, maxAgeMs), lookUpMs)
  if (!found) return undefined
  const leftMs = found.answer.keptAtMs + maxAgeMs - clock.now()
  await near.set(name, found.bytes, leftMs).catch(() => {}) // the next call looks further again
  return found.answer
}

interface Found {
  readonly answer: CachedAnswer
  readonly bytes: Uint8Array
}

async function findFar(state: State, name: string, maxAgeMs: number): Promise<Found | undefined> {
  for (const cache of state.far) {
    const bytes = await asked(state, cache, { ask: () => cache.get(name), slowMs: lookUpMs })
    const answer = fresh(state, bytes, maxAgeMs)
    if (bytes && answer) return { bytes, answer }
  }
  return undefined
}

function fresh({ clock }: State, bytes: Uint8Array | undefined, maxAgeMs: number): CachedAnswer | undefined {
  const answer = bytes && unpackAnswer(bytes)
  return answer && clock.now() - answer.keptAtMs < maxAgeMs ? answer : undefined
}

async function keep(state: State, name: string, { bytes, ttlMs }: { bytes: Uint8Array; ttlMs: number }): Promise<void> {
  await state.near.set(name, bytes, ttlMs).catch(() => {}) // it is too large, and then the others may have it
  if (state.writes >= maxWrites) return
  state.writes += 1
  await Promise.all(
    state.far.map((cache) => asked(state, cache, { ask: () => cache.set(name, bytes, ttlMs), slowMs: writeMs })),
  )
  state.writes -= 1
}

interface Question<T> {
  ask(): Promise<T>
  readonly slowMs: number
}

/** Asks a cache, unless it rests; one that fails or is slow rests from then on. */
async function asked<T>(state: State, cache: Cache, { ask, slowMs }: Question<T>): Promise<T | undefined> {
  const { clock, log, resting } = state
  if ((resting.get(cache) ?? 0) > clock.elapsed()) return undefined
  let isSlow = false
  const rest = (error: string): void => {
    if (!resting.has(cache)) log('cache_away', { cache: cache.kind, error })
    resting.set(cache, clock.elapsed() + restMs)
  }
  const stopWatch = clock.after(slowMs, () => {
    isSlow = true
    rest(`no answer in ${slowMs} ms`)
  })
  try {
    const answer = await ask()
    if (!isSlow && resting.delete(cache)) log('cache_back', { cache: cache.kind })
    return answer
  } catch (error) {
    rest(String(error))
    return undefined
  } finally {
    stopWatch()
  }
}

/** Undefined where it takes longer than that. */
async function within<T>(clock: Clock, answer: Promise<T | undefined>, ms: number): Promise<T | undefined> {
  let stop = (): void => {}
  const late = new Promise<undefined>((resolve) => {
    stop = clock.after(ms, () => resolve(undefined))
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    stop()
  }
}
