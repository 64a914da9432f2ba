import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'

/** What adapters read of a request in the inner language, where the vendor has other words for it. */

const encoder = new TextEncoder()

/** The text of a `content`, for vendors that take nothing but text there. Parts that are none are not in it. */
export function textOf(content: Json | undefined): string {
  if (!isList(content)) return stringOf(content)
  return objectsOf(content)
    .map((part) => stringOf(part['text']) || stringOf(part['refusal']))
    .join('')
}

/** The parts of a `content`; a string is one part, an empty one none. */
export function partsOf(content: Json | undefined): readonly JsonObject[] {
  if (isList(content)) return objectsOf(content)
  return stringOf(content) === '' ? [] : [{ type: 'text', text: stringOf(content) }]
}

/** A function that the model called, as an earlier message tells it. */
export interface CalledFunction {
  readonly id: string
  readonly name: string
  readonly arguments: string
}

/** The calls of an assistant's message. */
export function calledIn(message: JsonObject): readonly CalledFunction[] {
  return objectsOf(message['tool_calls']).flatMap(({ id, function: called }) =>
    isObject(called)
      ? [{ id: stringOf(id), name: stringOf(called['name']), arguments: stringOf(called['arguments']) }]
      : [],
  )
}

/** Arguments as the object that they should be: '' is no argument at all, what is no object is wrapped. */
export function argumentsObject(text: string): JsonObject {
  const value = parseJson(encoder.encode(text))
  if (isObject(value)) return value
  return text.trim() === '' || value === null ? {} : { arguments: value ?? text }
}

/** The name of the function that each tool result answers, by the id of its call. */
export function calledNames(messages: readonly JsonObject[]): ReadonlyMap<string, string> {
  return new Map(messages.flatMap((message) => calledIn(message).map(({ id, name }) => [id, name] as const)))
}

/** The functions offered. Throws `invalid_value` for tools of any other type. */
export function functionsIn(inner: JsonObject): readonly JsonObject[] {
  return objectsOf(inner['tools']).map((tool, index) => {
    const named = tool['function']
    if (tool['type'] !== 'function' || !isObject(named)) {
      throw new GatewayError(
        'invalid_value',
        `"tools[${index}]" is no function, and the vendor that serves this model takes functions only.`,
        { param: `tools[${index}].type` },
      )
    }
    return named
  })
}

/** What is asked of tools: one of the words, or the one function that must be called. */
export type ToolWish =
  | { readonly kind: 'auto' | 'none' | 'required' }
  | { readonly kind: 'named'; readonly name: string }

export function toolWish(inner: JsonObject): ToolWish | undefined {
  const choice = inner['tool_choice']
  if (choice === 'auto' || choice === 'none' || choice === 'required') return { kind: choice }
  const named = isObject(choice) && isObject(choice['function']) ? stringOf(choice['function']['name']) : ''
  return named === '' ? undefined : { kind: 'named', name: named }
}

/** The schema that the answer must follow; `{}` for any JSON object. */
export function schemaOf(inner: JsonObject): JsonObject | undefined {
  const format = inner['response_format']
  if (!isObject(format)) return undefined
  if (format['type'] === 'json_object') return {}
  const described = format['json_schema']
  if (format['type'] !== 'json_schema' || !isObject(described)) return undefined
  return isObject(described['schema']) ? described['schema'] : {}
}

/** The caller's bound on output tokens, under whichever name. */
export function maxTokensOf(inner: JsonObject): number | undefined {
  const given = [inner['max_completion_tokens'], inner['max_tokens']].find((value) => typeof value === 'number')
  return typeof given === 'number' ? given : undefined
}

export function stopsOf(inner: JsonObject): readonly string[] | undefined {
  const { stop } = inner
  if (typeof stop === 'string') return [stop]
  return isList(stop) ? stop.filter((word) => typeof word === 'string') : undefined
}

/** How much thought is asked for. `budget` is in tokens. */
export interface ThoughtWish {
  readonly effort?: string
  readonly budget?: number
}

/** Undefined where the caller says nothing of it. */
export function thoughtWish({ reasoning_effort: effort, reasoning }: JsonObject): ThoughtWish | undefined {
  const more = isObject(reasoning) ? reasoning : {}
  const word = stringOf(effort) || stringOf(more['effort'])
  const budget = more['max_tokens']
  if (word === '' && typeof budget !== 'number') return undefined
  return { ...(word !== '' && { effort: word }), ...(typeof budget === 'number' && { budget }) }
}

/** Media that came with the request itself. */
export interface InlineMedia {
  readonly mime: string
  readonly base64: string
}

/** The media of a data URL in base64; undefined for any other URL. */
export function dataUrl(url: string): InlineMedia | undefined {
  const head = /^data:([\w.+-]+\/[\w.+-]+)?(?:;[\w-]+=[\w.+-]+)*;base64,/i.exec(url.slice(0, 256))
  return head
    ? { mime: (head[1] ?? 'application/octet-stream').toLowerCase(), base64: url.slice(head[0].length) }
    : undefined
}

/** The URL of an image part, in either form that callers use. */
export function imageUrlOf({ image_url: image }: JsonObject): string {
  return isObject(image) ? stringOf(image['url']) : stringOf(image)
}
