import type { Call, Dialect, JsonObject, Target } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import type { Counts } from '../core/price.ts'
import type { ServerEvent } from '../core/sse.ts'
import type { VendorHead, VendorRequest } from '../ports.ts'

/** What a vendor says was used, in our normal form: disjoint whole counts, clamped, with what was odd about them. */
export interface VendorUsage {
  readonly counts: Counts
  readonly anomalies: readonly string[]
  /** What the vendor itself says that the call cost, in nano-USD. */
  readonly reportedCost?: Nanos
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
}

/** What an unstreamed answer says. */
export interface VendorReply {
  readonly usage?: VendorUsage
  readonly text: string
  readonly finish?: string
  readonly servedModel?: string
  readonly serviceTier?: string
  readonly error?: GatewayError
}

/** How to reach a vendor: from configuration only, never from a caller. */
export interface VendorAccess {
  /** Without a trailing slash. */
  readonly baseUrl: string
  readonly apiKey: string
  readonly connectMs: number
}

/** One vendor's wire, as pure functions: no I/O, no clock. One file per vendor. */
export interface Vendor {
  readonly id: string
  /** Dialects it takes as they come. */
  readonly speaks: readonly Dialect[]
  /** True where calls are recorded and priced but never charged. */
  readonly free?: true
  /** Some models of some vendors answer only in stream mode; then an unstreamed call is gathered from a stream. */
  streamOnly?(call: Call, target: Target): boolean
  /** `stream` is what the vendor is asked for, which may differ from what the caller wants. */
  request(call: Call, target: Target, access: VendorAccess, stream: boolean): VendorRequest
  /** A fresh reader per stream: it keeps what it has seen. */
  reader(): (event: ServerEvent) => Piece
  reply(body: JsonObject): VendorReply
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
  /** How long the vendor asks to wait. */
  readonly retryAfterMs?: number
}
