import type { Operation, Target } from './call.ts'
import type { CachePolicy } from './caching.ts'
import type { ExchangeRate, PriceSet } from './price.ts'
import type { RoutingPolicy, VendorKey } from './routing.ts'
import type { TokenWeights } from './tokens.ts'

/** What an operator may decide about how a model's calls are served and who pays for broken ones. */
export interface Policies {
  /**
   * How a call is served whose caller does not stream: `whole` asks the vendor for one body and holds the worst case,
   * `gathered` streams from the vendor with a small hold that grows, `auto` takes `whole` where the account can well
   * afford the worst case.
   */
  readonly unstreamed: 'auto' | 'whole' | 'gathered'
  /** The caller hung up after content: cancel the vendor and charge what was forwarded, read on within bounds and
   * charge the vendor's count, or charge nothing. */
  readonly clientAbort: 'cancel' | 'drain' | 'void'
  /** The caller hung up before any content, once the vendor had begun to answer. */
  readonly abortBeforeContent: 'free' | 'prompt'
}

/** A public model: its name, its targets in order of preference, its prices. */
export interface Model {
  readonly name: string
  readonly targets: readonly Target[]
  /** The only thing it does. Absent: whatever its targets can do, as far as it has a price. */
  readonly operation?: Operation
  /** Absent: the model is not priced, and every call is refused. A free model has prices of zero. */
  readonly prices?: PriceSet
  /** Most output tokens the model gives; bounds the hold of a call that names no bound. */
  readonly maxOutputTokens: number
  readonly policies: Policies
  /** Absent: `defaultRouting` of core/routing.ts. */
  readonly routing?: RoutingPolicy
  /** Absent: `defaultCaching` of core/caching.ts. */
  readonly caching?: CachePolicy
  /** What packages count for each of a unit, where it is not one for a token. */
  readonly tokenWeights?: TokenWeights
  readonly createdAtMs: number
  /** Declared in the configuration file: read-only in the API. */
  readonly provisioned: boolean
}

/** Time limits of a vendor call, each on its own, in ms. */
export interface TimeLimits {
  /** Name lookup, TCP and TLS. */
  readonly connectMs: number
  /** From the request to the first event or the whole unstreamed body's first byte; a vendor's comments count as life. */
  readonly firstByteMs: number
  /** Between two chunks. */
  readonly idleMs: number
  readonly totalMs: number
}

/** A vendor as configured. */
export interface VendorEntry {
  readonly id: string
  /** The adapter's id: `openai`, `deepseek`, … */
  readonly adapter: string
  readonly baseUrl: string
  /** Secrets; never logged, never in an answer. Empty: the vendor is not live. */
  readonly apiKeys: readonly string[]
  /** The same keys and what each is for; absent where all are for every call. See `keysOf` of core/routing.ts. */
  readonly keys?: readonly VendorKey[]
  readonly limits: TimeLimits
}

/** What is offered at this moment, frozen. A new one replaces it as a whole. */
export interface Catalog {
  readonly models: ReadonlyMap<string, Model>
  readonly vendors: ReadonlyMap<string, VendorEntry>
  /** For accounts in another currency than the prices. */
  readonly exchange?: readonly ExchangeRate[]
}
