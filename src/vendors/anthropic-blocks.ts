import type { Json, JsonObject } from '../core/call.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'

/** What the blocks of an answer say in the inner language: the same for a stream and for a whole body. */

/** Marks the reasoning that this family of models takes back. */
export const ownFormat = 'anthropic'

/** The tool through which models without structured output give theirs. No caller's tool has this name. */
export const answerTool = 'tollgate_json_answer'

const maxAnnotations = 1_000

const finishes: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  // A tool of the vendor's own has not finished; the caller has to send the answer back to go on.
  pause_turn: 'stop',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

/** Why the answer ended, in the inner language. `calls`: there are tool calls for the caller in it. */
export function finishOf(reason: string, calls: boolean): string {
  if (reason === 'tool_use' && !calls) return 'stop'
  return Object.hasOwn(finishes, reason) ? (finishes[reason] ?? 'stop') : 'stop'
}

/** What the vendor says of a refusal, for `refusal`; '' where it says nothing. */
export function refusalOf(ended: JsonObject): string {
  const details = ended['stop_details']
  return ended['stop_reason'] === 'refusal' && isObject(details) ? stringOf(details['explanation']) : ''
}

/** An item of `reasoning_details`; undefined for a block that is no thinking. */
export function thoughtOf(block: JsonObject, index: number): JsonObject | undefined {
  const { type, thinking, signature, data } = block
  if (type === 'redacted_thinking')
    return { type: 'reasoning.encrypted', data: stringOf(data), format: ownFormat, index }
  if (type !== 'thinking') return undefined
  const signed = stringOf(signature)
  const text = stringOf(thinking)
  return { type: 'reasoning.text', text, ...(signed !== '' && { signature: signed }), format: ownFormat, index }
}

/** The input of a tool as the text that a function's arguments are; '' for a block that only begins. */
export function inputText(input: Json | undefined): string {
  return isObject(input) && Object.keys(input).length > 0 ? JSON.stringify(input) : ''
}

/** Where in the whole text the cited block lies. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** The sources of a block as `annotations`. Those within a document of the caller's own have no URL to name. */
export function annotationsOf(citations: Json | undefined, { start, end }: Span): readonly JsonObject[] {
  return objectsOf(citations)
    .slice(0, maxAnnotations)
    .flatMap((citation) => {
      const url = stringOf(citation['url']) || stringOf(citation['source'])
      if (url === '') return []
      const title = stringOf(citation['title'])
      return [{ type: 'url_citation', url_citation: { url, title, start_index: start, end_index: end } }]
    })
}

/** Everything generated in a whole block, as text for counting. What tools of the vendor's own brought in is not. */
export function blockText(block: JsonObject): string {
  const { type, name, input, text, thinking, content } = block
  if (type === 'compaction') return stringOf(content)
  return stringOf(text) + stringOf(thinking) + stringOf(name) + inputText(input)
}

/** The same of one delta. */
export function deltaText({ type, text, thinking, partial_json: json, content }: JsonObject): string {
  if (type === 'compaction_delta') return stringOf(content)
  return stringOf(text) + stringOf(thinking) + stringOf(json)
}
