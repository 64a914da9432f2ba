import type { Json, JsonObject } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, usageOf } from '../core/wire.ts'

const encoder = new TextEncoder()
const done = encoder.encode('[DONE]')

function event(chunk: JsonObject): ServerEvent {
  return { name: '', data: encoder.encode(JSON.stringify(chunk)) }
}

/** The delta that says the whole message at once; in a stream every tool call has an index. */
function deltaOf(message: Json | undefined): JsonObject {
  if (!isObject(message)) return {}
  const calls = objectsOf(message['tool_calls'])
  if (calls.length === 0) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ ...call, index })) }
}

/**
 * An unstreamed `chat.completion` as the events of a stream, for a vendor that answers a streamed call with one body:
 * for each choice its message and then its end, at last the usage and the closing event.
 */
export function spread(body: JsonObject): readonly ServerEvent[] {
  const { choices, usage: _, ...base } = body
  const top = { ...base, object: 'chat.completion.chunk' }
  const events: ServerEvent[] = []
  for (const [position, choice] of objectsOf(choices).entries()) {
    const { message, finish_reason: finish = null, usage: __, ...fields } = choice
    const at = { index: position, ...fields }
    events.push(event({ ...top, choices: [{ ...at, delta: deltaOf(message), finish_reason: null }] }))
    events.push(event({ ...top, choices: [{ index: at.index, delta: {}, finish_reason: finish }] }))
  }
  const usage = usageOf(body)
  if (usage) events.push(event({ ...top, choices: [], usage }))
  return [...events, { name: '', data: done }]
}
