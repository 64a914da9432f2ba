import type { Json, JsonObject } from '../../src/core/call.ts'
import { createSseParser } from '../../src/core/sse.ts'
import { isObject, stringOf } from '../../src/core/wire.ts'

/** The events of a stream, each checked to be named twice. */
export function eventsIn(bytes: Uint8Array): readonly JsonObject[] {
  const parser = createSseParser()
  return [...parser.push(bytes), ...parser.end()].map(({ name, data }) => {
    const event = JSON.parse(new TextDecoder().decode(data)) as JsonObject
    if (name !== event['type']) throw new Error(`"${name}" is not "${String(event['type'])}"`)
    return event
  })
}

/** What must be open for an event, and what an event opens or closes, at the item's or the part's place. */
const inner: Readonly<Record<string, 'part' | 'item'>> = {
  'response.output_text.delta': 'part',
  'response.output_text.done': 'part',
  'response.output_text.annotation.added': 'part',
  'response.refusal.delta': 'part',
  'response.refusal.done': 'part',
  'response.reasoning_summary_text.delta': 'part',
  'response.reasoning_summary_text.done': 'part',
  'response.function_call_arguments.delta': 'item',
  'response.function_call_arguments.done': 'item',
  'response.custom_tool_call_input.delta': 'item',
  'response.custom_tool_call_input.done': 'item',
}
const ends = ['response.completed', 'response.incomplete', 'response.failed']

/** What is wrong with a sequence of events by the rules that SDKs hold it to; nothing where all is well. */
export function faultsIn(events: readonly JsonObject[]): readonly string[] {
  const faults: string[] = []
  const open = new Map<Json | undefined, { id: Json | undefined; part: boolean }>()
  let ended = false
  const types = events.map(({ type }) => type)
  if (types[0] !== 'response.created' || types[1] !== 'response.in_progress') faults.push('it does not begin')
  const ids = new Set(events.flatMap(({ response }) => (isObject(response) ? [response['id']] : [])))
  if (ids.size !== 1) faults.push(`it has ${ids.size} ids`)
  for (const [at, event] of events.entries()) {
    const { type, sequence_number: number, output_index: index, item } = event
    const place = open.get(index)
    const fault = (what: string) => faults.push(`${at} ${String(type)}: ${what}`)
    if (number !== at) fault(`number ${String(number)}`)
    if (ended && type !== 'error') fault('after the end')
    if (ends.includes(stringOf(type))) ended = true
    if (type === 'response.output_item.added') {
      if (place) fault('opened twice')
      open.set(index, { id: isObject(item) ? item['id'] : undefined, part: false })
    } else if (type === 'response.output_item.done') {
      if (!place || place.part) fault('closed too soon')
      if (isObject(item) && item['id'] !== place?.id) fault('another id')
      open.delete(index)
    } else if (/part\.(added|done)$/.test(stringOf(type))) {
      if (!place || place.part === stringOf(type).endsWith('added')) fault('part out of order')
      else place.part = !place.part
    } else if (inner[stringOf(type)]) {
      if (!place || (inner[stringOf(type)] === 'part' && !place.part)) fault('nothing is open')
    }
    if (event['item_id'] !== undefined && event['item_id'] !== place?.id) fault('another item')
  }
  if (!ended) faults.push('it does not end')
  if (open.size > 0) faults.push(`${open.size} items are open`)
  return faults
}
