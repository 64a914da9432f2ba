import type { JsonObject } from '../core/call.ts'
import type { ServerEvent } from '../core/sse.ts'
import { objectsOf, stringOf } from '../core/wire.ts'

const encoder = new TextEncoder()
/** How an answer can have ended that has an event of its own. */
const ends: ReadonlySet<string> = new Set(['completed', 'incomplete', 'failed', 'cancelled'])

interface Said {
  readonly type: string
  readonly [name: string]: JsonObject[string]
}

/** A whole response as the events of a stream; its last event repeats all of it, with whatever has no other event. */
export function unfoldResponse(body: JsonObject): readonly ServerEvent[] {
  const { usage: _, ...response } = body
  const begun = { ...response, status: 'in_progress', output: [] }
  const status = stringOf(body['status'])
  const said: readonly Said[] = [
    { type: 'response.created', response: begun },
    { type: 'response.in_progress', response: begun },
    ...objectsOf(body['output']).flatMap(unfoldItem),
    { type: `response.${ends.has(status) ? status : 'completed'}`, response: body },
  ]
  return said.map((event, number) => ({
    name: event.type,
    data: encoder.encode(JSON.stringify({ ...event, sequence_number: number })),
  }))
}

function unfoldItem(item: JsonObject, index: number): readonly Said[] {
  const at = { item_id: stringOf(item['id']), output_index: index }
  const { start, events } = growing(item, at)
  return [
    { type: 'response.output_item.added', output_index: index, item: start },
    ...events,
    { type: 'response.output_item.done', output_index: index, item },
  ]
}

type At = Readonly<Record<'item_id', string> & Record<'output_index', number>>

/** Texts and arguments grow, as clients expect it; every other item comes at once. */
function growing(item: JsonObject, at: At): { start: JsonObject; events: readonly Said[] } {
  if (item['type'] === 'message') {
    const events = objectsOf(item['content']).flatMap((part, index) =>
      unfoldPart(part, { ...at, content_index: index }),
    )
    return { start: { ...item, status: 'in_progress', content: [] }, events }
  }
  if (item['type'] === 'reasoning')
    return { start: { ...item, summary: [], ...(item['content'] && { content: [] }) }, events: unfoldThought(item, at) }
  if (item['type'] !== 'function_call') return { start: item, events: [] }
  const text = stringOf(item['arguments'])
  const events = [
    { type: 'response.function_call_arguments.delta', ...at, delta: text },
    { type: 'response.function_call_arguments.done', ...at, arguments: text },
  ]
  return { start: { ...item, status: 'in_progress', arguments: '' }, events }
}

/** What is told of a thought: its summary, or all of it. */
function unfoldThought(item: JsonObject, at: At): readonly Said[] {
  const summary = objectsOf(item['summary']).flatMap((part, index) => {
    const place = { ...at, summary_index: index }
    const text = stringOf(part['text'])
    return [
      { type: 'response.reasoning_summary_part.added', ...place, part: { ...part, text: '' } },
      { type: 'response.reasoning_summary_text.delta', ...place, delta: text },
      { type: 'response.reasoning_summary_text.done', ...place, text },
      { type: 'response.reasoning_summary_part.done', ...place, part },
    ]
  })
  const content = objectsOf(item['content']).flatMap((part, index) => {
    const place = { ...at, content_index: index }
    const text = stringOf(part['text'])
    return [
      { type: 'response.content_part.added', ...place, part: { ...part, text: '' } },
      { type: 'response.reasoning_text.delta', ...place, delta: text },
      { type: 'response.reasoning_text.done', ...place, text },
      { type: 'response.content_part.done', ...place, part },
    ]
  })
  return [...summary, ...content]
}

function unfoldPart(part: JsonObject, at: At & { readonly content_index: number }): readonly Said[] {
  const { type, text, refusal } = part
  const done = { type: 'response.content_part.done', ...at, part }
  if (type === 'refusal')
    return [
      { type: 'response.content_part.added', ...at, part: { ...part, refusal: '' } },
      { type: 'response.refusal.delta', ...at, delta: stringOf(refusal) },
      { type: 'response.refusal.done', ...at, refusal: stringOf(refusal) },
      done,
    ]
  if (type !== 'output_text') return [{ type: 'response.content_part.added', ...at, part }, done]
  const annotations = objectsOf(part['annotations']).map((annotation, index) => ({
    type: 'response.output_text.annotation.added',
    ...at,
    annotation_index: index,
    annotation,
  }))
  return [
    { type: 'response.content_part.added', ...at, part: { ...part, text: '', annotations: [] } },
    { type: 'response.output_text.delta', ...at, delta: stringOf(text), logprobs: part['logprobs'] ?? [] },
    ...annotations,
    { type: 'response.output_text.done', ...at, text: stringOf(text), logprobs: part['logprobs'] ?? [] },
    done,
  ]
}
