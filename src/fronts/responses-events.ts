import type { Call, JsonObject } from '../core/call.ts'
import { concat } from '../core/concat.ts'
import type { GatewayError } from '../core/errors.ts'
import { findMember } from '../core/json-bytes.ts'
import { frame, type ServerEvent } from '../core/sse.ts'
import { parseJson, stringOf } from '../core/wire.ts'
import { responseOf } from './responses-answer.ts'

const encoder = new TextEncoder()

/** What the caller of a stream has been told: whatever breaks it off has to go on from there. */
export interface Telling {
  /** The number of the next event. */
  next(): number
  /** The response as it was told last. */
  response(): JsonObject
  /** An event has ended the response. */
  isEnded: boolean
}

/**
 * The stream of each call that is told at the moment. SDKs refuse an event of failure that names another response than
 * the stream began with, or that has no number; the one who writes it is given the call and nothing else.
 */
const tellings = new WeakMap<Call, Telling>()

export function remember(call: Call, telling: Telling): void {
  tellings.set(call, telling)
}

/** One event: it is named twice, in the `event:` line and in the payload. */
export function eventOf(telling: Telling, type: string, fields: JsonObject): Uint8Array {
  const event = { type, sequence_number: telling.next(), ...fields }
  return frame(encoder.encode(JSON.stringify(event)), type)
}

/** A telling of a stream that is written here. */
export function freshTelling(call: Call): Telling {
  let sequence = 0
  return { next: () => sequence++, response: () => responseOf(call), isEnded: false }
}

/** The end of a response whose money has run out: as at the caller's own bound. */
export function cutEvent(telling: Telling, more: JsonObject = {}): Uint8Array {
  telling.isEnded = true
  const end = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }
  return eventOf(telling, 'response.incomplete', { response: { ...telling.response(), ...more, ...end } })
}

/** Tells that the stream broke, and ends the response unless it has ended. */
export function failureEvents(error: GatewayError, call: Call): Uint8Array {
  const telling = tellings.get(call) ?? freshTelling(call)
  const { message, type, param = null } = error
  const code = error.vendorCode ?? error.code
  // Published clients read the fields of the event itself; the API sends them in a member.
  const told = eventOf(telling, 'error', { code, message, param, error: { type, code, message, param } })
  if (telling.isEnded) return told
  telling.isEnded = true
  const response = { ...telling.response(), status: 'failed', error: { code, message } }
  return concat([told, eventOf(telling, 'response.failed', { response })])
}

/** The event's name; not every vendor sends it beside the payload. */
export function typeOf({ name, data }: ServerEvent): string {
  if (name !== '') return name
  const member = findMember(data, 'type')
  const type = member && parseJson(data.subarray(member.valueStart, member.valueEnd))
  return stringOf(type).replace(/[\r\n]/g, '')
}
