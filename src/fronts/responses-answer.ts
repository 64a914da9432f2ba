import type { Call, Json, JsonObject } from '../core/call.ts'
import { carry } from '../core/carried-thought.ts'
import { argumentsText, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { ownFormat } from './responses-items.ts'

/** What an inner answer is in this dialect: the same words for a whole body and for a stream. */

/** The response as it stands before anything of it is said; it repeats what was asked. */
export function responseOf({ id, body, model, startedAtMs }: Call): JsonObject {
  const asked = (name: string, usual: Json): Json => body[name] ?? usual
  const { reasoning } = body
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: Math.floor(startedAtMs / 1000),
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: asked('instructions', null),
    max_output_tokens: asked('max_output_tokens', null),
    model,
    output: [],
    parallel_tool_calls: asked('parallel_tool_calls', true),
    previous_response_id: null,
    reasoning: { effort: null, summary: null, ...(isObject(reasoning) && reasoning) },
    store: false,
    temperature: asked('temperature', null),
    text: asked('text', { format: { type: 'text' } }),
    tool_choice: asked('tool_choice', 'auto'),
    tools: asked('tools', []),
    top_p: asked('top_p', null),
    truncation: asked('truncation', 'disabled'),
    usage: null,
    user: asked('user', null),
    metadata: asked('metadata', {}),
  }
}

export type ItemKind = 'rs' | 'msg' | 'fc' | 'ctc'

/** The id of the item at this place of the answer. */
export function itemId({ id }: Call, kind: ItemKind, index: number): string {
  return `${kind}_${id}_${index}`
}

function countOf(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0
}

/** Inner usage in the caller's words. Clients need every number, so one that nobody knows is 0. */
export function usageOf(usage: JsonObject): JsonObject {
  const { prompt_tokens_details: read, completion_tokens_details: made, cost } = usage
  const written = isObject(read) ? countOf(read['cache_write_tokens']) : 0
  return {
    input_tokens: countOf(usage['prompt_tokens']),
    input_tokens_details: {
      cached_tokens: isObject(read) ? countOf(read['cached_tokens']) : 0,
      ...(written > 0 && { cache_write_tokens: written }),
    },
    output_tokens: countOf(usage['completion_tokens']),
    output_tokens_details: { reasoning_tokens: isObject(made) ? countOf(made['reasoning_tokens']) : 0 },
    total_tokens: countOf(usage['total_tokens']),
    ...(cost !== undefined && { cost }),
  }
}

/** How an answer ended: an answer that a bound or a filter has cut is not completed. */
export function endOf(finish: string | undefined): JsonObject {
  if (finish === 'length') return { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }
  if (finish === 'content_filter') return { status: 'incomplete', incomplete_details: { reason: 'content_filter' } }
  return { status: 'completed' }
}

/** One item of reasoning: what is shown of it, and what goes back to its vendor. */
export interface Thought {
  text: string
  /** Absent where it is for reading only. */
  detail: JsonObject | undefined
}

/** What is said in a piece of reasoning, for reading. */
export function thoughtText({ text, summary }: JsonObject): string {
  return stringOf(text) || stringOf(summary)
}

/** Whether a piece goes on with the item of reasoning that is being told. */
export function isContinued({ detail }: Thought, piece: JsonObject): boolean {
  if (!detail || detail['format'] !== piece['format']) return false
  if (detail['format'] === ownFormat) return detail['id'] === piece['id']
  return detail['index'] === piece['index'] && detail['type'] === piece['type']
}

/** The fields of a piece that say something. */
export function said(piece: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(piece).filter(([, value]) => value !== null && value !== ''))
}

/** What only the maker of a thought can read: in its own words, or in ours where it is of another family. */
function encryptedOf(detail: JsonObject | undefined): JsonObject {
  if (detail?.['format'] === ownFormat) {
    const data = stringOf(detail['data'])
    return data === '' ? {} : { encrypted_content: data }
  }
  const { text: _, summary: __, index: ___, ...rest } = detail ?? { type: 'reasoning.text' }
  return { encrypted_content: carry(rest) }
}

/** The id of an item of reasoning: its vendor's own where it will look for it. */
export function thoughtId(call: Call, detail: JsonObject | undefined, index: number): string {
  const own = detail?.['format'] === ownFormat ? stringOf(detail['id']) : ''
  return own === '' ? itemId(call, 'rs', index) : own
}

export function thoughtItem(id: string, { text, detail }: Thought): JsonObject {
  const summary = text === '' ? [] : [{ type: 'summary_text', text }]
  return { id, type: 'reasoning', summary, ...encryptedOf(detail), status: 'completed' }
}

export interface SpokenText {
  readonly text: string
  readonly annotations: readonly JsonObject[]
  readonly logprobs: readonly JsonObject[]
}

export function textPart(said: SpokenText): JsonObject {
  return { type: 'output_text', ...said }
}

/** How likely the words of an answer were, of a choice in the inner language. */
export function logprobsOf({ logprobs }: JsonObject): readonly JsonObject[] {
  return isObject(logprobs) ? objectsOf(logprobs['content']) : []
}

export function refusalPart(refusal: string): JsonObject {
  return { type: 'refusal', refusal }
}

/** Sources of a message or a delta, in the words of this dialect. */
export function annotationsOf(message: JsonObject): readonly JsonObject[] {
  return objectsOf(message['annotations']).flatMap(({ type, url_citation: cited }) => {
    if (type !== 'url_citation' || !isObject(cited)) return []
    const { url, title, start_index: start, end_index: end } = cited
    const place = { start_index: countOf(start), end_index: countOf(end) }
    return [{ type, url: stringOf(url), title: stringOf(title), ...place }]
  })
}

export function messageItem(id: string, content: readonly JsonObject[], status: string): JsonObject {
  return { id, type: 'message', status, role: 'assistant', content }
}

export interface CalledTool {
  readonly isCustom: boolean
  readonly callId: string
  readonly name: string
  readonly text: string
}

export function callItem(id: string, { isCustom, callId, name, text }: CalledTool, status: string): JsonObject {
  const type = isCustom ? 'custom_tool_call' : 'function_call'
  return { id, type, status, call_id: callId, name, [isCustom ? 'input' : 'arguments']: text }
}

/** What the model has thought, as it is shown; some vendors send it under both names. */
export function reasoningOf(message: JsonObject): string {
  return stringOf(message['reasoning_content']) || stringOf(message['reasoning'])
}

/** The text of a message or a delta; some vendors answer in parts. */
export function spokenOf({ content }: JsonObject): string {
  if (typeof content === 'string') return content
  return objectsOf(content)
    .map(({ text }) => stringOf(text))
    .join('')
}

/** The tool that a call or a piece of one is for. */
export function calledOf({ id, function: named, custom }: JsonObject): CalledTool {
  const isCustom = isObject(custom)
  const called = isCustom ? custom : isObject(named) ? named : {}
  const text = isCustom ? stringOf(called['input']) : argumentsText(called['arguments'])
  return { isCustom, callId: stringOf(id), name: stringOf(called['name']), text }
}

/** The whole answer as a response. */
export function replyOf(call: Call, inner: JsonObject): JsonObject {
  const [choice = {}] = objectsOf(inner['choices'])
  const message = isObject(choice['message']) ? choice['message'] : {}
  const end = endOf(stringOf(choice['finish_reason']) || undefined)
  const makers = [
    ...thoughtItems(message),
    ...spokenItems(message, { ...end, logprobs: logprobsOf(choice) }),
    ...callItems(message),
  ]
  const { usage } = inner
  const tier = stringOf(inner['service_tier'])
  return {
    ...responseOf(call),
    ...end,
    output: makers.map((make, index) => make(call, index)),
    ...(isObject(usage) && { usage: usageOf(usage) }),
    ...(tier !== '' && { service_tier: tier }),
  }
}

/** An item, once its place is known. */
type Maker = (call: Call, index: number) => JsonObject

function thoughtItems(message: JsonObject): readonly Maker[] {
  const thoughts: Thought[] = []
  for (const piece of objectsOf(message['reasoning_details'])) {
    const last = thoughts.at(-1)
    if (last && isContinued(last, piece)) {
      last.text += thoughtText(piece)
      last.detail = { ...last.detail, ...said(piece) }
    } else {
      thoughts.push({ text: thoughtText(piece), detail: piece })
    }
  }
  const shown = reasoningOf(message)
  const isShown = shown === '' || thoughts.some(({ text }) => text !== '')
  if (!isShown) thoughts.unshift({ text: shown, detail: undefined })
  return thoughts.map((thought) => (call, index) => thoughtItem(thoughtId(call, thought.detail, index), thought))
}

function spokenItems(message: JsonObject, { status, logprobs }: JsonObject): readonly Maker[] {
  const [text, refusal] = [spokenOf(message), stringOf(message['refusal'])]
  const annotations = annotationsOf(message)
  const parts = [
    ...(text === '' ? [] : [textPart({ text, annotations, logprobs: objectsOf(logprobs) })]),
    ...(refusal === '' ? [] : [refusalPart(refusal)]),
  ]
  if (parts.length === 0) return []
  return [(call, index) => messageItem(itemId(call, 'msg', index), parts, stringOf(status))]
}

function callItems(message: JsonObject): readonly Maker[] {
  return objectsOf(message['tool_calls'])
    .map(calledOf)
    .map((called) => (call, index) => {
      const callId = called.callId || `call_${call.id}_${index}`
      return callItem(itemId(call, called.isCustom ? 'ctc' : 'fc', index), { ...called, callId }, 'completed')
    })
}
