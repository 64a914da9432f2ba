import type { CachePolicy } from '../core/caching.ts'
import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { isObject } from '../core/wire.ts'

/** What a caller and an operator together make of the cache for one call. */
export interface CacheUse {
  /** The call may be answered from the cache, by what is not older than `ttlMs`. */
  readonly reads: boolean
  /** Its answer may be kept, for `keepMs`. */
  readonly writes: boolean
  readonly ttlMs: number
  /** Where no target answers it may be answered by what is older than `ttlMs` by so much. 0: it may not. */
  readonly staleMs: number
  readonly keepMs: number
}

/** What a caller says: the field `cache` of the body, or the header of this name, for dialects that refuse other fields. */
export const wishHeader = 'x-tollgate-cache'

interface Wish {
  /** Seconds. */
  readonly ttl?: number
  /** Seconds, likewise. */
  readonly stale?: number
  readonly 'no-cache'?: boolean
  readonly 'no-store'?: boolean
}

const maxTtlSeconds = 30 * 86_400
const unused: CacheUse = { reads: false, writes: false, ttlMs: 0, staleMs: 0, keepMs: 0 }
const rule = 'an object with "ttl" and "stale" (seconds), "no-cache" and "no-store"'

/** Throws `invalid_value` for a wish that cannot be read. */
export function cacheUse(policy: CachePolicy, body: JsonObject, header: string | undefined): CacheUse {
  const wish = fromBody(body['cache']) ?? fromHeader(header)
  if (policy.mode === 'off') return unused
  // Whoever does not ask has no answer from the cache while there is another one.
  if (policy.mode === 'ask' && !wish) return policy.staleMs === 0 ? unused : keptInReserve(policy)
  const { ttl, 'no-cache': noCache = false, 'no-store': noStore = false } = wish ?? {}
  const ttlMs = Math.min(policy.ttlMs, ttl === undefined ? policy.ttlMs : ttl * 1_000)
  const staleMs = ttlMs === 0 ? 0 : staleOf(policy, wish)
  return {
    reads: !noCache && ttlMs > 0,
    writes: !noStore && ttlMs > 0,
    ttlMs,
    staleMs: noCache ? 0 : staleMs,
    keepMs: ttlMs + staleMs,
  }
}

function keptInReserve({ ttlMs, staleMs }: CachePolicy): CacheUse {
  return { reads: false, writes: true, ttlMs, staleMs, keepMs: ttlMs + staleMs }
}

/** Who wants none older than some time wants none beyond it either, unless he says so. */
function staleOf(policy: CachePolicy, { ttl, stale }: Wish = {}): number {
  if (stale === undefined) return ttl === undefined ? policy.staleMs : 0
  return Math.min(policy.staleMs, stale * 1_000)
}

function fromBody(value: Json | undefined): Wish | undefined {
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) throw wrong(`"cache" must be ${rule}.`)
  const { ttl, stale, 'no-cache': noCache, 'no-store': noStore, ...rest } = value
  if (Object.keys(rest).length > 0) throw wrong(`"cache" must be ${rule}, and has another field.`)
  return {
    ...(isSaid(ttl) && { ttl: seconds(ttl, 'ttl') }),
    ...(isSaid(stale) && { stale: seconds(stale, 'stale') }),
    ...(isSaid(noCache) && { 'no-cache': flag(noCache) }),
    ...(isSaid(noStore) && { 'no-store': flag(noStore) }),
  }
}

function isSaid(value: Json | undefined): value is Json {
  return value !== undefined && value !== null
}

function seconds(value: Json, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= maxTtlSeconds) return value
  throw wrong(`"${name}" of "cache" must be a whole number of seconds from 0 to ${maxTtlSeconds}.`)
}

function flag(value: Json): boolean {
  if (typeof value === 'boolean') return value
  throw wrong('"no-cache" and "no-store" of "cache" must be true or false.')
}

/** Words with commas between them: `no-cache`, `no-store`, `ttl=60`, `stale=3600`; alone, `on` asks for the operator's own time. */
function fromHeader(header: string | undefined): Wish | undefined {
  if (header === undefined || header.trim() === '') return undefined
  const words = header.split(',').map((word) => word.trim().toLowerCase())
  const wish = words.map((word): Wish => {
    if (word === 'on') return {}
    if (word === 'no-cache' || word === 'no-store') return { [word]: true }
    const [, name, digits] = /^(ttl|stale)=(\d{1,7})$/.exec(word) ?? []
    if (name === undefined)
      throw wrong(`The header ${wishHeader} may say "on", "no-cache", "no-store", "ttl=SECONDS" and "stale=SECONDS".`)
    return { [name]: seconds(Number(digits), name) }
  })
  return Object.assign({}, ...wish) as Wish
}

function wrong(message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param: 'cache' })
}
