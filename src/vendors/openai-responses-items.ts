import type { Json, JsonObject } from '../core/call.ts'
import { argumentsText, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { innerToolCall } from './inner-answer.ts'

/*
 * The items that an answer of OpenAI's Responses API is made of, in the inner language:
 * https://platform.openai.com/docs/api-reference/responses/object.
 */

/** The reasoning that vendors of this API take back. */
export const ownFormat = 'openai-responses'

/** How much of an answer has been told: tool calls, pieces of reasoning, and characters of text. */
export interface Told {
  tools: number
  thoughts: number
  length: number
}

export function createTold(): Told {
  return { tools: 0, thoughts: 0, length: 0 }
}

/** Everything generated in an item, for counting. The name of a tool is not in it. */
export function itemText(item: JsonObject): string {
  const { type, content, summary, code } = item
  switch (type) {
    case 'message':
      return partsText(content)
    case 'reasoning':
      return partsText(summary) + partsText(content)
    case 'code_interpreter_call':
      return stringOf(code)
    default:
      return argumentsText(item['arguments']) + stringOf(item['input'])
  }
}

function partsText(parts: Json | undefined): string {
  return objectsOf(parts)
    .map(({ text, refusal }) => stringOf(text) + stringOf(refusal))
    .join('')
}

/** A whole item as one inner delta; nothing for what the inner language has no words for. */
export function itemDelta(item: JsonObject, told: Told): JsonObject {
  switch (item['type']) {
    case 'message':
      return messageDelta(item, told)
    case 'reasoning':
      return reasoningDelta(item, told)
    case 'function_call':
    case 'custom_tool_call':
      return { tool_calls: [{ ...callOf(item), index: told.tools++ }] }
    default:
      return {}
  }
}

/** The call of a tool, with all that its item says so far. */
export function callOf(item: JsonObject): JsonObject {
  const { type, call_id: id, name, input } = item
  if (type === 'custom_tool_call')
    return { id: stringOf(id), type: 'custom', custom: { name: stringOf(name), input: stringOf(input) } }
  return innerToolCall({ id: stringOf(id), name: stringOf(name), arguments: argumentsText(item['arguments']) })
}

function messageDelta({ content }: JsonObject, told: Told): JsonObject {
  let text = ''
  let refusal = ''
  const annotations: JsonObject[] = []
  for (const part of objectsOf(content)) {
    const start = told.length + text.length
    annotations.push(...objectsOf(part['annotations']).flatMap((annotation) => citationOf(annotation, start)))
    text += stringOf(part['text'])
    refusal += stringOf(part['refusal'])
  }
  told.length += text.length
  return {
    ...(text !== '' && { content: text }),
    ...(refusal !== '' && { refusal }),
    ...(annotations.length > 0 && { annotations }),
  }
}

/** A source on the web; `start` is where its part begins in the whole text. Files of the vendor's own have no address. */
export function citationOf(annotation: JsonObject, start: number): readonly JsonObject[] {
  const { type, url, title, start_index: from, end_index: to } = annotation
  if (type !== 'url_citation') return []
  const at = (index: Json | undefined): number => start + (typeof index === 'number' ? index : 0)
  const cited = { url: stringOf(url), title: stringOf(title), start_index: at(from), end_index: at(to) }
  return [{ type: 'url_citation', url_citation: cited }]
}

function reasoningDelta({ id, summary, content, encrypted_content: data }: JsonObject, told: Told): JsonObject {
  const piece = { id: stringOf(id), format: ownFormat }
  const summaries = objectsOf(summary).map(({ text }) => stringOf(text))
  const texts = objectsOf(content).map(({ text }) => stringOf(text))
  const details = [
    ...summaries.map((said) => ({ type: 'reasoning.summary', summary: said, ...piece, index: told.thoughts++ })),
    ...texts.map((said) => ({ type: 'reasoning.text', text: said, ...piece, index: told.thoughts++ })),
    ...(stringOf(data) === ''
      ? []
      : [{ type: 'reasoning.encrypted', data: stringOf(data), ...piece, index: told.thoughts++ }]),
  ]
  const shown = [...summaries, ...texts].join('')
  return {
    ...(shown !== '' && { reasoning_content: shown }),
    ...(details.length > 0 && { reasoning_details: details }),
  }
}

/** Whether a response is over, and why, in the vendor's words: `completed`, or `incomplete:max_output_tokens`. */
export function finishWord({ status, incomplete_details: details }: JsonObject): string {
  const reason = isObject(details) ? stringOf(details['reason']) : ''
  return reason === '' ? stringOf(status) : `${stringOf(status)}:${reason}`
}

/** The same in the words of the inner language. */
export function finishReason(response: JsonObject, hasCalls: boolean): string {
  const word = finishWord(response)
  if (word === 'incomplete:content_filter') return 'content_filter'
  if (word.startsWith('incomplete')) return 'length'
  return hasCalls ? 'tool_calls' : 'stop'
}
