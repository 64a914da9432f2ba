import type { Call, Dialect, JsonObject, Operation } from '../core/call.ts'
import type { GatewayError } from '../core/errors.ts'
import type { FormPart } from '../core/form.ts'
import type { Nanos } from '../core/money.ts'
import type { ServerEvent } from '../core/sse.ts'

export interface RequestParts {
  readonly id: string
  readonly startedAtMs: number
  /** Of the URL, decoded, without the query: some dialects name model and method there. */
  readonly path: string
  header(name: string): string | undefined
  query(name: string): string | undefined
  /** What `unpack` has made of the body. */
  readonly form?: readonly FormPart[] | undefined
}

/** An error answer in a dialect's own form. */
export interface Failure {
  readonly status: number
  /** `retry-after`, `x-should-retry` and the like. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: JsonObject
}

/**
 * One answer's stream on its way to a caller. All bytes are complete server-sent events in the caller's dialect, or
 * none; where the call's `form` is an array they are one element of it at most, and the commas are not theirs.
 */
export interface Writer {
  /** An inner chunk. Its usage is not for the caller; `close` is given what is. */
  write(chunk: JsonObject): Uint8Array
  /** After the last chunk. `usage` is the inner usage object with its `cost`, absent where nobody knows any. */
  close(usage: JsonObject | undefined): Uint8Array
  /** Ends what is open for lack of money, as a vendor would at its own bound. The failure event follows. */
  cut(): Uint8Array
}

/** What of a vendor's event a caller's dialect must know to pass it on. */
export interface PassingStep {
  readonly event: ServerEvent
  readonly piece: {
    /** The event tells usage. */
    readonly usage?: unknown
    readonly usageOnly?: boolean
    readonly servedModel?: string
    readonly last?: boolean
    /** Sent in place of the event's payload. */
    readonly repaired?: Uint8Array
  }
}

/** One answer of a vendor that speaks the caller's own dialect: its bytes go by with these edits and no others. */
export interface Passing {
  /**
   * The event as it is sent on: the model's name as asked for, usage hidden where nobody asked. `cost` (nano-units of
   * the account's currency) comes with the events that waited for the charge and goes in where the event has usage.
   */
  event(step: PassingStep, cost?: Nanos): Uint8Array
  /** An event that says nothing but text is told the same way whatever came before it, and changes nothing after it. */
  readonly isSteady?: true
  /** What ends a stream whose vendor has sent no last event. */
  readonly end: Uint8Array
  /** Ends what is open for lack of money, as a vendor would at its own bound. The failure event follows. */
  cut(): Uint8Array
  /** A whole answer's bytes under the name that was asked for. `named`: the vendor has put a model's name there. */
  body(bytes: Uint8Array, named: boolean): Uint8Array
  /**
   * The events that a whole body would have come in, for a vendor that answers a stream with one body: nothing of it is
   * lost. Absent: inner chunks of it say all.
   */
  unfold?(body: JsonObject): readonly ServerEvent[]
  /** Makes the unstreamed body of a stream, under the name that was asked for, every other string byte for byte. */
  gatherer(): Gatherer
}

/** Makes one body of a streamed answer, for a caller who did not ask for a stream. */
export interface Gatherer {
  /** Takes the next event; one that says nothing of the answer changes nothing. Throws `vendor_error` beyond its bounds. */
  add(event: ServerEvent): void
  /**
   * The body of what has come so far. `finish`, in the words of the inner language, ends what the vendor has not ended,
   * and stands for an answer of which nothing has come.
   */
  body(finish?: string): JsonObject
  /** In place of `body`, where the answer is no JSON. */
  bytes?(): Uint8Array
}

/** Counting the tokens of a prompt: not charged, nothing is held. */
export interface Counting {
  readonly paths: readonly string[]
  read(raw: Uint8Array, parts: RequestParts): Call
  reply(tokens: number): JsonObject
}

/** A model as its callers may see it. */
export interface OfferedModel {
  readonly name: string
  /** Whose model is asked first. */
  readonly vendor: string
  readonly createdAtMs: number
  /** Tokens of the longest answer. */
  readonly maxOutputTokens: number
}

/** The list of models, in a dialect's own form. */
export interface ModelPages {
  /** The list; one model is below it, by its name. */
  readonly path: string
  /** Of a path that several dialects have, whether a request is one of this dialect. Absent: where none of the others is asked. */
  isAsked?(header: RequestParts['header']): boolean
  list(models: readonly OfferedModel[]): JsonObject
  one(model: OfferedModel): JsonObject
}

/** One dialect of callers: no I/O. One file per dialect. */
export interface Front {
  readonly dialect: Dialect
  readonly operation: Operation
  /** Where its callers find it, as patterns of the router: `/v1/messages`, `/v1beta/models/:call{.+:generateContent}`. */
  readonly paths: readonly string[]
  /** Under these every error is told in this dialect, that of a path that is not there too. */
  readonly prefixes: readonly string[]
  /** The name of a query parameter where its SDKs may put the key. */
  readonly keyInQuery?: string
  /** Where its SDKs look for the id of a call, beside `x-request-id`. */
  readonly idHeader?: string
  /**
   * Takes the parts of a body that is a form; undefined for one that is none. `read` is given them. Throws GatewayError
   * for a form that cannot be read.
   */
  unpack?(raw: Uint8Array, header: RequestParts['header']): Promise<readonly FormPart[] | undefined>
  /** Reads and checks a request body; throws GatewayError that names the parameter. */
  read(raw: Uint8Array, parts: RequestParts): Call
  /** `id`: the request's, where it has one, for dialects that tell it in the body. */
  failure(error: GatewayError, id?: string): Failure
  /** The event (or element of an array) that tells a caller in mid-stream that the stream broke. */
  failureEvent(error: GatewayError, call: Call): Uint8Array
  /**
   * What is sent between two server-sent events in a silence: whatever its SDKs skip, wherever they look for an event.
   * Absent: a comment.
   */
  readonly ping?: Uint8Array
  /** Their own form of a whole answer: an inner `chat.completion` with the model as asked for and inner usage. */
  reply(call: Call, inner: JsonObject): JsonObject
  /** A fresh writer per stream. */
  writer(call: Call): Writer
  /** A fresh one per answer. */
  passing(call: Call): Passing
  readonly counting?: Counting
  readonly models?: ModelPages
}
