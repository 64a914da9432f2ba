import type { Json, JsonObject } from '../core/call.ts'
import { carriedIn, isCarried } from '../core/carried-thought.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'

/** The reasoning that vendors of this dialect take back. */
export const ownFormat = 'anthropic'

/** The messages of a checked request in the inner language. */
export function innerMessages({ system, messages }: JsonObject): readonly JsonObject[] {
  const lifted = system === undefined || system === null ? [] : [{ role: 'system', content: textParts(system) }]
  return [...lifted, ...objectsOf(messages).flatMap(innerTurn)]
}

function innerTurn({ role, content }: JsonObject): readonly JsonObject[] {
  if (role === 'assistant') return [assistantMessage(content)]
  if (role === 'system') return [{ role: 'system', content: textParts(content) }]
  if (typeof content === 'string') return [{ role: 'user', content }]
  const blocks = objectsOf(content)
  // What tools have given answers the turn before, so it comes first.
  const results = blocks.filter(isResult).map(toolMessage)
  const parts = blocks.filter((block) => !isResult(block)).flatMap(partsOf)
  return parts.length > 0 ? [...results, { role: 'user', content: parts }] : results
}

function isResult({ type }: JsonObject): boolean {
  return type === 'tool_result'
}

/** Text alone, as the system says it. */
function textParts(content: Json | undefined): Json {
  return typeof content === 'string' ? content : objectsOf(content).flatMap(partsOf)
}

/** The mark of a part that the vendor shall keep in its cache up to there. */
function marked({ cache_control: mark }: JsonObject): JsonObject {
  return isObject(mark) ? { cache_control: mark } : {}
}

function toolMessage(block: JsonObject): JsonObject {
  const { tool_use_id: id, content, is_error: isError } = block
  return {
    role: 'tool',
    tool_call_id: stringOf(id),
    content: Array.isArray(content) ? objectsOf(content).flatMap(partsOf) : stringOf(content),
    ...(isError === true && { is_error: true }),
    ...marked(block),
  }
}

/** A block of the user, or of what a tool gave. One that the inner language has no words for stays as it is. */
function partsOf(block: JsonObject): readonly JsonObject[] {
  const { type, text, source } = block
  if (type === 'text') return [{ type, text: stringOf(text), ...marked(block) }]
  if (type === 'image' && isObject(source)) return [imagePart(block, source)]
  if (type === 'document' && isObject(source)) return documentParts(block, source)
  if (type === 'search_result') return [{ type: 'text', text: searchText(block), ...marked(block) }]
  return [block]
}

function dataUrl(source: JsonObject): string {
  return `data:${stringOf(source['media_type'])};base64,${stringOf(source['data'])}`
}

function imagePart(block: JsonObject, source: JsonObject): JsonObject {
  if (source['type'] === 'base64') return { type: 'image_url', image_url: { url: dataUrl(source) }, ...marked(block) }
  if (source['type'] === 'url')
    return { type: 'image_url', image_url: { url: stringOf(source['url']) }, ...marked(block) }
  return { type: 'file', file: { file_id: stringOf(source['file_id']) }, ...marked(block) }
}

function documentParts(block: JsonObject, source: JsonObject): readonly JsonObject[] {
  const title = stringOf(block['title'])
  const named = title === '' ? {} : { filename: title }
  const file = (where: JsonObject) => [{ type: 'file', file: { ...named, ...where }, ...marked(block) }]
  switch (source['type']) {
    case 'text':
      return [{ type: 'text', text: under(title, stringOf(source['data'])), ...marked(block) }]
    case 'content':
      return Array.isArray(source['content'])
        ? objectsOf(source['content']).flatMap(partsOf)
        : [{ type: 'text', text: under(title, stringOf(source['content'])), ...marked(block) }]
    case 'base64':
      return file({ filename: title || 'document.pdf', file_data: dataUrl(source) })
    case 'url':
      return file({ file_url: stringOf(source['url']) })
    default:
      return file({ file_id: stringOf(source['file_id']) })
  }
}

function under(title: string, text: string): string {
  return title === '' ? text : `${title}\n\n${text}`
}

function searchText({ title, source, content }: JsonObject): string {
  const found = objectsOf(content).map(({ text }) => stringOf(text))
  return [stringOf(title), stringOf(source), ...found].filter((line) => line !== '').join('\n\n')
}

function assistantMessage(content: Json | undefined): JsonObject {
  if (typeof content === 'string') return { role: 'assistant', content }
  const blocks = objectsOf(content)
  const thoughts = blocks.filter(({ type }) => type === 'thinking')
  const reasoning = thoughts.map(({ thinking }) => stringOf(thinking)).join('')
  const details = blocks.flatMap(detailsOf).map((detail, index) => ({ ...detail, index }))
  const used = blocks.filter(({ type }) => type === 'tool_use')
  const calls = used.map(toolCall)
  return {
    role: 'assistant',
    content: spoken(blocks.filter(({ type }) => type === 'text')),
    ...(reasoning !== '' && { reasoning_content: reasoning }),
    ...(details.length > 0 && { reasoning_details: details }),
    ...(calls.length > 0 && { tool_calls: calls }),
    // Calls have no place for it in the inner language; they are what the message ends with.
    ...marked(used.findLast((block) => isObject(block['cache_control'])) ?? {}),
  }
}

/** One text, unless a part of it is marked. */
function spoken(blocks: readonly JsonObject[]): Json {
  if (blocks.some((block) => isObject(block['cache_control'])))
    return blocks.map((block) => ({ type: 'text', text: stringOf(block['text']), ...marked(block) }))
  return blocks.length === 0 ? null : blocks.map(({ text }) => stringOf(text)).join('')
}

function toolCall({ id, name, input }: JsonObject): JsonObject {
  return {
    id: stringOf(id),
    type: 'function',
    function: { name: stringOf(name), arguments: JSON.stringify(input ?? {}) },
  }
}

/**
 * What only the vendor that made it can read: signed thinking, in its own form where another vendor has thought it, and
 * blocks of the vendor's own tools. The others leave it out, and it is part of the prompt all the same.
 */
function detailsOf(block: JsonObject): readonly JsonObject[] {
  const { type, thinking, signature, data } = block
  if (type === 'text' || type === 'tool_use') return []
  const opaque = type === 'thinking' ? stringOf(signature) : stringOf(data)
  if (isCarried(opaque)) return carriedDetails(block, opaque)
  if (type === 'redacted_thinking') return [{ type: 'reasoning.encrypted', data: opaque, format: ownFormat }]
  if (type !== 'thinking') return [{ type: 'reasoning.block', data: JSON.stringify(block), format: ownFormat }]
  // Thinking without a signature was never signed by anybody: it is for reading only.
  if (opaque === '') return []
  return [{ type: 'reasoning.text', text: stringOf(thinking), signature: opaque, format: ownFormat }]
}

function carriedDetails({ thinking }: JsonObject, opaque: string): readonly JsonObject[] {
  const carried = carriedIn(opaque)
  if (!carried) return []
  const text = stringOf(thinking)
  if (carried['type'] === 'reasoning.text') return [{ ...carried, text }]
  return [carried['type'] === 'reasoning.summary' ? { ...carried, summary: text } : carried]
}
