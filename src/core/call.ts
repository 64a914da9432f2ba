import type { TimeLimits } from './catalog.ts'
import type { FormPart } from './form.ts'
import type { Measure } from './measure.ts'
import type { Nanos } from './money.ts'
import type { Counts, PriceSet } from './price.ts'
import type { RateLimit } from './rate-limit.ts'
import type { KeyRouting } from './routing.ts'
import type { TokenAsset } from './tokens.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

/** A dialect is what a caller or a vendor speaks; an operation is what is asked, in any dialect. */
export type Dialect =
  | 'chat'
  | 'completions'
  | 'responses'
  | 'messages'
  | 'generate'
  | 'embeddings'
  | 'embed'
  | 'moderations'
  | 'rerank'
  | 'images'
  | 'image-edits'
  | 'speech'
  | 'transcriptions'
  | 'translations'
export type Operation = 'chat' | 'embeddings' | 'moderations' | 'rerank' | 'images' | 'speech' | 'transcription'

/** The windows that a budget can have, aligned to the UTC calendar; `total` never starts anew. */
export type BudgetWindow = 'total' | 'hour' | 'day' | 'week' | 'month'

/** `limit` in nano-units of the account's currency. */
export interface Budget {
  readonly limit: Nanos
  readonly window: BudgetWindow
}

/** One key of the chain that a call counts at, with its own limits. */
export interface KeyFacts {
  readonly id: number
  /** Raised by every change of the key, so that a cached copy is known to be stale at admission. */
  readonly version: number
  readonly budgets: readonly Budget[]
  readonly requestsPerMinute?: number
  readonly concurrency?: number
  /** Further limits by time: at most one for each window of requests and of tokens. Absent: none. */
  readonly limits?: readonly RateLimit[]
}

/** The counters of an account itself stand above the keys of a chain, as one more key under this id. */
export function accountKeyId(accountId: number): number {
  return -accountId
}

/** Who calls: the account that pays, the key, and every key above it. */
export interface Caller {
  readonly accountId: number
  readonly currency: string
  readonly discountPpm: number
  readonly keyId: number
  /** The part of the key that may stand in logs. */
  readonly publicId: string
  readonly kind: 'master' | 'sub'
  /** Leaf first, master key last; at most 8. */
  readonly chain: readonly KeyFacts[]
  /** Allow-lists of the chain: a model must be in each of them. A key without a list adds none. */
  readonly models: readonly (readonly string[])[]
  /** What the account's row says of its limits over all keys; absent: nothing. */
  readonly account?: AccountLimits
  /** How targets are put in order, as the key says, or else the nearest above it that does; absent: none does. */
  readonly routing?: KeyRouting
}

export interface AccountLimits {
  /** Names limits of the configuration. */
  readonly tier?: string
  readonly limits?: readonly RateLimit[]
  readonly concurrency?: number
  /** What all its keys together may be charged in a period. */
  readonly budgets?: readonly Budget[]
  /** Raised by every change of these; absent: 1. */
  readonly version?: number
}

/** What of a request the inner language has no words for, although the answer depends on it. */
export interface Beyond {
  /** The parameter, in the caller's words. */
  readonly param: string
  /** Why no translation can serve it, and what to do. */
  readonly message: string
}

/** What is asked, in the caller's own words and in the inner language. */
export interface Call {
  /** UUIDv7. It names the call, its hold and its usage record, and is the reply's `x-request-id`. */
  readonly id: string
  readonly dialect: Dialect
  readonly operation: Operation
  /** The public name that the caller used. */
  readonly model: string
  /** The caller's bytes, without a byte order mark. A vendor of his dialect gets these, edited. */
  readonly raw: Uint8Array
  /** The same, parsed once. */
  readonly body: JsonObject
  /**
   * The same request as OpenAI's chat completions body, the inner language; for a caller who speaks it, `body` itself.
   * Whatever is counted, held or translated reads this one. Of another operation it is OpenAI's body for that one.
   */
  readonly inner: JsonObject
  /** The parts of a form, in their order, files among them: `body` has its texts alone. Absent: the body is JSON. */
  readonly parts?: readonly FormPart[]
  /** What is held and counted of a call that is no conversation. */
  readonly measure?: Measure
  /** What vendors have encrypted in earlier turns stays out: one has said that it cannot read it. */
  readonly withoutSealed?: true
  /** Only a vendor of the caller's own dialect can serve this; absent: a translation says all that matters. */
  readonly beyond?: Beyond
  readonly stream: boolean
  /** The caller's headers, by lower-case name, that a vendor of his dialect gets as they came. */
  readonly headers?: Readonly<Record<string, string>>
  /** How a stream is framed: server-sent events, the elements of one JSON array, or bytes as they are. Absent: events. */
  readonly form?: 'sse' | 'array' | 'bytes'
  /** The caller wants the usage event of a stream. */
  readonly wantsUsage: boolean
  /** The caller's own bound on output tokens. */
  readonly maxOutput?: number
  /** Answers wanted (`n`), ≥ 1. */
  readonly choices: number
  readonly startedAtMs: number
  /** The caller's own `x-request-id`, kept beside ours. */
  readonly clientRequestId?: string
}

/** A vendor + its model that can serve a public model. */
export interface Target {
  readonly vendor: string
  /** The vendor's own name of the model. */
  readonly model: string
  readonly region?: string
  /** What we pay; absent where nobody has told us. */
  readonly costs?: PriceSet
  /** The share of the traffic under `weighted`, and how much it can carry under `least-busy`; absent: 1. */
  readonly weight?: number
  /** The operator's mark for its answers, from 0 to 100; absent: 100. */
  readonly quality?: number
  /** Tokens of prompt and answer that it takes at most; absent: nobody has told us. */
  readonly contextTokens?: number
  /** The longest answer that may be asked of it. */
  readonly maxOutputTokens?: number
  /** Its own time limits, where it is slower or quicker than its vendor usually is. Those that are absent: the vendor's. */
  readonly limits?: Partial<TimeLimits>
}

/** Where a count came from. `counted` carries the tokenizer's name and version in `Usage.tokenizer`. */
export type UsageSource = 'vendor' | 'vendor_partial' | 'counted' | 'checkpoint' | 'fixed'

export interface Usage {
  readonly counts: Counts
  readonly source: UsageSource
  readonly tokenizer?: string
  /** What was odd about the vendor's numbers and how it was read: `cached_above_input`, `total_mismatch`, … */
  readonly anomalies?: readonly string[]
}

/** How a call ended. */
export type Outcome =
  | 'complete' // whole, any sign of the end was seen
  | 'incomplete' // the vendor broke off after content
  | 'cut' // the money ran out in mid-stream
  | 'client_abort' // the caller hung up
  | 'vendor_failed' // every target failed before the first content
  | 'refused' // before any vendor was called
  | 'reaped' // the gateway died

/** One try of a target. `cost` is what we owe the vendor for it, in `costCurrency`. */
export interface Attempt {
  readonly vendor: string
  readonly model: string
  readonly startedAtMs: number
  readonly endedAtMs: number
  /** The vendor's HTTP status; 0 where none was seen. */
  readonly status: number
  /** Our error code where the attempt failed. */
  readonly error?: string
  readonly cost?: Nanos
  readonly costCurrency?: string
  /** What the vendor itself says the call cost, in nano-USD. */
  readonly reportedCost?: Nanos
}

/** One purse's part of a hold or of a charge; `lease` is the loan it was drawn on, 0 for none. */
export interface Part {
  readonly purse: number
  readonly lease: number
  /** Nano-units of money; of a purse of tokens, micro-tokens. */
  readonly amount: Nanos
  /** There for a purse of tokens alone: its parts are no money, and no sum of money counts them. */
  readonly asset?: TokenAsset
}

/** The immutable row of one call. */
export interface UsageRecord {
  readonly id: string
  readonly kind: 'settle' | 'reap' | 'void'
  readonly accountId: number
  readonly keyId: number
  readonly outcome: Outcome
  /** Requested by the caller, routed to, and what the vendor said that it served. */
  readonly model: string
  readonly vendor: string
  readonly vendorModel: string
  readonly servedModel?: string
  /** The service tier that the vendor said it served with. */
  readonly serviceTier?: string
  readonly prices: PriceSet
  /** The length tier that priced the call: the least prompt of it, in tokens. Absent: the plain price. */
  readonly lengthTier?: number
  readonly usage: Usage
  /** What the counts cost by the pinned prices; equal to `charge` but for the sandbox and for caps. */
  readonly priced: Nanos
  /** What the account pays; always the sum of those parts that are money. What a package pays in tokens costs none. */
  readonly charge: Nanos
  readonly parts: readonly Part[]
  readonly attempts: readonly Attempt[]
  readonly stream: boolean
  readonly startedAtMs: number
  readonly endedAtMs: number
  /** From the call's start to the first byte sent to the caller. */
  readonly firstByteMs?: number
  readonly finish?: string
  readonly error?: string
  readonly clientRequestId?: string
}
