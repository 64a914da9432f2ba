import type { Call, Dialect, JsonObject, Operation, Target } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import type { Counts } from '../core/price.ts'
import type { Likeness } from '../core/shape.ts'
import type { EventParser, ServerEvent } from '../core/sse.ts'
import type { VendorHead, VendorRequest } from '../ports.ts'

/** What a vendor says was used, in our normal form: disjoint whole counts, clamped, with what was odd about them. */
export interface VendorUsage {
  readonly counts: Counts
  readonly anomalies: readonly string[]
  /** What the vendor itself says that the call cost, in nano-USD. */
  readonly reportedCost?: Nanos
  /** Counts of zero mean zero: the vendor bills nothing for what it has blocked. Else they mean that it did not count. */
  readonly isUnbilled?: true
  /** Where and how fast the vendor says that it was served, where that decides the price. */
  readonly region?: string
  readonly speed?: string
}

/** One step of a vendor's stream, as read on the side while its bytes go by. */
export interface Piece {
  /** All that is known of the usage so far: a later one replaces it, they are never added up. */
  readonly usage?: VendorUsage
  /** Generated text of any kind in this event (content, reasoning, refusal, tool names and arguments), for counting. */
  readonly text?: string
  /** True when the event carries something generated: from here on no other target may be tried. */
  readonly content?: boolean
  /** The vendor's word for why it stopped. */
  readonly finish?: string
  /** The event carries usage and nothing else: for a caller who did not ask for it, it is not sent. */
  readonly usageOnly?: boolean
  /** A sign that the answer is whole: a finish reason, usage after it, or the closing event. */
  readonly whole?: boolean
  /** Nothing comes after this event. */
  readonly last?: boolean
  /** The event is an error in disguise. */
  readonly error?: GatewayError
  /** The model that the vendor says it served. */
  readonly servedModel?: string
  /** The service tier that the vendor says it served with: it decides the price. */
  readonly serviceTier?: string
  /** The event's payload written anew, where its vendor has a bad habit that callers' clients break on. */
  readonly repaired?: Uint8Array
  /** The event is of a shape that was read before, and says nothing but text. */
  readonly like?: Likeness
  /**
   * What the event says in the inner language: `chat.completion.chunk` objects. Only of a reader that translates; a
   * vendor whose wire is the inner language may leave it out, and the event itself is the chunk. Usage in them is not
   * needed: what the caller is told is made of `usage` above.
   */
  readonly chunks?: readonly JsonObject[]
}

/** What an unstreamed answer says. */
export interface VendorReply {
  readonly usage?: VendorUsage
  readonly text: string
  readonly finish?: string
  readonly servedModel?: string
  readonly serviceTier?: string
  readonly error?: GatewayError
  /** The answer written anew, where its vendor has a bad habit that callers' clients break on. */
  readonly repaired?: JsonObject
  /** The answer as a `chat.completion`; only where it was asked to translate and the vendor's wire is another. */
  readonly inner?: JsonObject
  /** The answer for a caller who gets no JSON: a recording, say. */
  readonly raw?: { readonly type: string; readonly bytes: Uint8Array }
}

/** How to reach a vendor: from configuration only, never from a caller. */
export interface VendorAccess {
  /** Without a trailing slash. */
  readonly baseUrl: string
  readonly apiKey: string
  readonly connectMs: number
}

/** For whom an answer is read. */
export interface ReaderOptions {
  readonly call: Call
  /**
   * The caller does not speak what the vendor answers in: pieces carry `chunks`, replies `inner`. Otherwise they leave
   * them out, because the bytes go by as they are.
   */
  readonly translates: boolean
}

/** How a vendor counts the tokens of a prompt, where it has a way. */
export interface VendorCounting {
  request(call: Call, target: Target, access: VendorAccess): VendorRequest
  /** Undefined where the answer has no count. */
  tokens(body: JsonObject): number | undefined
}

/** One vendor's wire, as pure functions: no I/O, no clock. One file per vendor. */
export interface Vendor {
  readonly id: string
  /** Dialects it takes as they come. */
  readonly speaks: readonly Dialect[]
  /** True where calls are recorded and priced but never charged. */
  readonly free?: true
  /** It passes calls on to vendors of its own, which callers may name in `provider` where nobody here has the name. */
  readonly choosesVendors?: true
  /** Some models of some vendors answer only in stream mode; then an unstreamed call is gathered from a stream. */
  streamOnly?(call: Call, target: Target): boolean
  /**
   * `stream` is what the vendor is asked for, which may differ from what the caller wants. Where `speaks` has the
   * call's dialect it edits `call.raw`, else it translates `call.inner`. Throws GatewayError `invalid_value` that names
   * the parameter for what the vendor cannot do: another target may, and else the caller is told.
   */
  request(call: Call, target: Target, access: VendorAccess, stream: boolean): VendorRequest
  /** A fresh reader per stream: it keeps what it has seen. */
  reader(options: ReaderOptions): (event: ServerEvent) => Piece
  reply(body: JsonObject, options: ReaderOptions): VendorReply
  /** Reads streams of this content type (lower case); undefined: they are server-sent events, or no stream. */
  parser?(contentType: string): EventParser | undefined
  readonly counting?: VendorCounting
  /** What it does beside conversations, each as an adapter of its own. */
  readonly operations?: Readonly<Partial<Record<Operation, Vendor>>>
  /** Whose fault a refusal is, and what the caller is told. `body` may be anything, HTML and nothing included. */
  failure(head: VendorHead, body: Uint8Array): VendorFailure
}

export interface VendorFailure {
  readonly error: GatewayError
  /**
   * `caller`: the request itself is at fault, no other target helps. `account`: our key or account at the vendor.
   * `busy`: the vendor limits us. `down`: the vendor failed.
   */
  readonly fault: 'caller' | 'account' | 'busy' | 'down'
  /**
   * Of an account's fault: our key or its money, or a model that the vendor does not have for us. Of a caller's: what
   * another account or vendor has encrypted in an earlier turn, without which the request can be sent again.
   */
  readonly about?: 'key' | 'model' | 'sealed'
  /** How long the vendor asks to wait. */
  readonly retryAfterMs?: number
}
