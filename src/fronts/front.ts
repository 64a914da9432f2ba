import type { Call, Dialect, JsonObject, Operation } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'

export interface RequestParts {
  readonly id: string
  readonly startedAtMs: number
  header(name: string): string | undefined
}

/** An error answer in a dialect's own form. */
export interface Failure {
  readonly status: number
  /** `retry-after`, `x-should-retry` and the like. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: JsonObject
}

/** One dialect of callers: no I/O. One file per dialect. */
export interface Front {
  readonly dialect: Dialect
  readonly operation: Operation
  /** Reads and checks a request body; throws GatewayError that names the parameter. */
  read(raw: Uint8Array, parts: RequestParts): Call
  failure(error: GatewayError): Failure
  /** The event that tells a caller in mid-stream that the stream broke. */
  failureEvent(error: GatewayError): Uint8Array
  /** The event that ends an answer for lack of money, sent before the failure event. */
  cutEvent(call: Call): Uint8Array
  /** Puts the cost (nano-units of the account's currency) into the payload of a usage event. */
  withCost(payload: Uint8Array, cost: Nanos): Uint8Array
}
