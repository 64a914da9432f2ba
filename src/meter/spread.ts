import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { ServerEvent } from '../core/sse.ts'
import { finishOf, generatedText, isObject, objectsOf, usageOf } from '../core/wire.ts'
import type { Piece, VendorReply } from '../vendors/vendor.ts'
import type { RelayStep } from './relay.ts'

/** Every step repeats what the body says beside its choices; more is no answer that anybody could use. */
const maxMembers = 1_000
const maxChoices = 128

/** No bytes of a vendor stand behind these steps: what they say is in their chunks. */
const noEvent: ServerEvent = { name: '', data: new Uint8Array(0) }

function step(chunk: JsonObject, piece: Piece): RelayStep {
  return { event: noEvent, piece: { ...piece, chunks: [chunk] } }
}

/** The delta that says the whole message at once; in a stream every tool call has an index. */
function deltaOf(message: Json | undefined): JsonObject {
  if (!isObject(message)) return {}
  const calls = objectsOf(message['tool_calls'])
  if (calls.length === 0) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ ...call, index })) }
}

/**
 * A whole `chat.completion` as the steps of a stream, for a vendor that answers a streamed call with one body: for each
 * choice its message and then its end (of a single one in the vendor's word), at last what the vendor says of the
 * whole. Throws `vendor_error` beyond its bounds.
 */
export function spread(inner: JsonObject, reply: VendorReply): readonly RelayStep[] {
  const { choices, usage: _, ...base } = inner
  if (Object.keys(base).length > maxMembers || objectsOf(choices).length > maxChoices)
    throw new GatewayError('vendor_error', 'The vendor sent a body that is too large for a stream.')
  const top = { ...base, object: 'chat.completion.chunk' }
  const { usage, servedModel, serviceTier } = reply
  const served = {
    ...(servedModel !== undefined && { servedModel }),
    ...(serviceTier !== undefined && { serviceTier }),
  }
  const steps: RelayStep[] = []
  const all = objectsOf(choices)
  for (const [position, choice] of all.entries()) {
    const { message, finish_reason: said = null, usage: __, ...fields } = choice
    const at = { index: position, ...fields }
    const text = isObject(message) ? generatedText(message) : ''
    const finish = all.length > 1 ? finishOf(choice) : (reply.finish ?? finishOf(choice))
    const delta = deltaOf(message)
    steps.push(step({ ...top, choices: [{ ...at, delta, finish_reason: null }] }, { ...served, text, content: true }))
    const end = { ...top, choices: [{ index: at.index, delta: {}, finish_reason: said }] }
    steps.push(step(end, { content: true, ...(finish !== undefined && { finish }) }))
  }
  const whole = { ...(usage && { usage, usageOnly: true }), whole: true }
  const told = usageOf(inner)
  const last = { ...top, choices: [], ...(told && { usage: told }) }
  return [...steps, step(last, whole), { event: noEvent, piece: { last: true, chunks: [] } }]
}
