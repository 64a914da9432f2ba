import type { JsonObject } from '../core/call.ts'
import { frame } from '../core/sse.ts'

const encoder = new TextEncoder()

/** One event: clients drop those whose name is not said twice, in the `event:` line and in the payload. */
export function eventOf(type: string, fields: JsonObject): Uint8Array {
  return frame(encoder.encode(JSON.stringify({ type, ...fields })), type)
}

/** The end of every stream. */
export const messageStop = eventOf('message_stop', {})

/**
 * Says why the answer ended where the money did: as at the caller's own bound. The count of output is one that clients
 * demand and that nobody has; the failure event comes next.
 */
export const cutDelta = eventOf('message_delta', {
  delta: { stop_reason: 'max_tokens', stop_sequence: null },
  usage: { output_tokens: 0 },
})
