import type { Call, Json, JsonObject } from '../core/call.ts'
import { carry } from '../core/carried-thought.ts'
import { argumentsText, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { ownFormat } from './messages-turns.ts'

/** What an inner answer is in this dialect: the same words for a whole body and for a stream. */

const encoder = new TextEncoder()

const reasons: Readonly<Record<string, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  function_call: 'tool_use',
  content_filter: 'refusal',
}

/** Why the answer ended, in the caller's words. A caller who is given a tool call has to be told to run it. */
export function stopReason(finish: string | undefined, calls: boolean): string {
  if (calls && (finish === undefined || finish === 'stop')) return 'tool_use'
  return (finish !== undefined && Object.hasOwn(reasons, finish) ? reasons[finish] : undefined) ?? 'end_turn'
}

/** The message as it stands before anything of it is said. */
export function emptyMessage(call: Call): JsonObject {
  return {
    id: `msg_${call.id}`,
    type: 'message',
    role: 'assistant',
    model: call.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: usageOf(undefined),
  }
}

function countOf(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0
}

/**
 * Inner usage in the caller's words, where the prompt's count leaves out what is cached. Clients need every number, so
 * one that nobody knows is 0.
 */
export function usageOf(usage: JsonObject | undefined): JsonObject {
  const { prompt_tokens_details: read, completion_tokens_details: made, cost } = usage ?? {}
  const cached = isObject(read) ? countOf(read['cached_tokens']) : 0
  const written = isObject(read) ? countOf(read['cache_write_tokens']) : 0
  const thought = isObject(made) ? countOf(made['reasoning_tokens']) : 0
  return {
    input_tokens: Math.max(0, countOf(usage?.['prompt_tokens']) - cached - written),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: cached,
    output_tokens: countOf(usage?.['completion_tokens']),
    ...(thought > 0 && { output_tokens_details: { thinking_tokens: thought } }),
    ...(cost !== undefined && { cost }),
  }
}

/** Clients of this dialect, and its vendors, take letters, digits, "_" and "-" in the id of a call. */
export function toolId(id: string): string {
  return id.replace(/[^\w-]/g, '_')
}

/** What is said in an item of reasoning, for reading. */
export function thoughtText({ text, summary }: JsonObject): string {
  return stringOf(text) || stringOf(summary)
}

/** What signs a block of thinking: the vendor's own signature, or the item itself where another family made it. */
export function signatureOf(detail: JsonObject): string {
  if (detail['format'] === ownFormat) return stringOf(detail['signature'])
  const { text: _, summary: __, ...rest } = detail
  return carry(rest)
}

/** The data of a block that only its maker can read. */
export function opaqueData(detail: JsonObject): string {
  return detail['format'] === ownFormat ? stringOf(detail['data']) : carry(detail)
}

/** A source; the caller must give it back, and a search of this dialect's vendor it was not. */
export function citationOf(annotation: JsonObject): JsonObject | undefined {
  const { type, url_citation: cited } = annotation
  if (type !== 'url_citation' || !isObject(cited)) return undefined
  const { url, title } = cited
  const source = { url: stringOf(url), title: stringOf(title) }
  return { type: 'web_search_result_location', ...source, cited_text: '', encrypted_index: '' }
}

/** The whole answer as a message. */
export function replyOf(call: Call, inner: JsonObject): JsonObject {
  const [choice = {}] = objectsOf(inner['choices'])
  const message = isObject(choice['message']) ? choice['message'] : {}
  const calls = objectsOf(message['tool_calls']).flatMap(toolBlock)
  const usage = isObject(inner['usage']) ? inner['usage'] : undefined
  const tier = stringOf(inner['service_tier'])
  return {
    ...emptyMessage(call),
    content: [...thoughtBlocks(message), ...textBlocks(message), ...calls],
    stop_reason: stopReason(stringOf(choice['finish_reason']) || undefined, calls.length > 0),
    usage: { ...usageOf(usage), ...(tier !== '' && { service_tier: tier }) },
  }
}

function thoughtBlocks(message: JsonObject): readonly JsonObject[] {
  const details = objectsOf(message['reasoning_details'])
  const blocks = details.map((detail) =>
    detail['type'] === 'reasoning.encrypted'
      ? { type: 'redacted_thinking', data: opaqueData(detail) }
      : { type: 'thinking', thinking: thoughtText(detail), signature: signatureOf(detail) },
  )
  const reasoning = reasoningOf(message)
  const isShown = reasoning === '' || details.some((detail) => thoughtText(detail) !== '')
  return isShown ? blocks : [{ type: 'thinking', thinking: reasoning, signature: '' }, ...blocks]
}

/** Thinking as it is shown; some vendors send it under both names, some in parts of the content. */
export function reasoningOf(message: JsonObject): string {
  const shown = stringOf(message['reasoning_content']) || stringOf(message['reasoning'])
  if (shown !== '') return shown
  const parts = objectsOf(message['content'])
  return parts.map(({ thinking }) => stringOf(thinking) || textIn(thinking)).join('')
}

function textIn(content: Json | undefined): string {
  return objectsOf(content)
    .map(({ text }) => stringOf(text))
    .join('')
}

/** What is said, a refusal included. */
export function spokenOf(message: JsonObject): string {
  return (stringOf(message['content']) || textIn(message['content'])) + stringOf(message['refusal'])
}

function textBlocks(message: JsonObject): readonly JsonObject[] {
  const text = spokenOf(message)
  if (text === '') return []
  const citations = objectsOf(message['annotations'])
    .map(citationOf)
    .filter((citation) => citation !== undefined)
  return [{ type: 'text', text, ...(citations.length > 0 && { citations }) }]
}

function toolBlock({ id, function: called }: JsonObject): readonly JsonObject[] {
  if (!isObject(called)) return []
  const input = inputOf(argumentsText(called['arguments']))
  return [{ type: 'tool_use', id: toolId(stringOf(id)), name: stringOf(called['name']), input }]
}

/** Input is an object in this dialect: no arguments are an empty one, broken ones are wrapped. */
export function inputOf(text: string): JsonObject {
  if (text.trim() === '') return {}
  const input = parseJson(encoder.encode(text))
  return isObject(input) ? input : { arguments: input ?? text }
}
