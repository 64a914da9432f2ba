import type { Call, JsonObject } from '../core/call.ts'
import { mergeUsage, normalUsage, rawUsage, type RawUsage } from '../core/usage.ts'
import type { VendorUsage } from './vendor.ts'

/*
 * Answers in the inner language, for adapters whose vendors have a wire of their own. Their ids of answers are not
 * passed on: an id that a caller may look up is ours.
 */

function top(call: Call, object: string): JsonObject {
  return { id: `chatcmpl-${call.id}`, object, created: Math.floor(call.startedAtMs / 1000), model: call.model }
}

/** One `chat.completion.chunk` with one choice. */
export function innerChunk(call: Call, delta: JsonObject, finish: string | null = null): JsonObject {
  return { ...top(call, 'chat.completion.chunk'), choices: [{ index: 0, delta, finish_reason: finish }] }
}

/** A `chat.completion` with one choice; its usage comes from VendorReply.usage. */
export function innerCompletion(call: Call, message: JsonObject, finish: string | undefined): JsonObject {
  const choice = { index: 0, message: { role: 'assistant', ...message }, finish_reason: finish ?? null }
  return { ...top(call, 'chat.completion'), choices: [choice] }
}

/** A tool call, whole; in a delta it carries its index. */
export function innerToolCall(called: { id: string; name: string; arguments: string }, index?: number): JsonObject {
  const { id, name, arguments: given } = called
  return {
    ...(index !== undefined && { index }),
    id,
    type: 'function',
    function: { name, arguments: given },
  }
}

/** Usage that grows over a stream, out of objects that an adapter has brought into OpenAI's names. */
export interface UsageReader {
  read(openaiUsage: JsonObject): VendorUsage | undefined
}

export function createUsageReader(): UsageReader {
  let seen: RawUsage | undefined
  return {
    read(openaiUsage) {
      const raw = rawUsage(openaiUsage)
      if (!raw) return undefined
      seen = mergeUsage(seen, raw)
      return normalUsage(seen)
    },
  }
}
