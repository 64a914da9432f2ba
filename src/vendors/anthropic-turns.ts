import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { ownFormat } from './anthropic-blocks.ts'
import { argumentsObject, calledIn, dataUrl, imageUrlOf, partsOf } from './inner-prompt.ts'
import { cannot } from './parameters.ts'

/** The conversation in this vendor's words. */
export interface Conversation {
  /** Blocks of text. */
  readonly system: readonly JsonObject[]
  readonly messages: readonly JsonObject[]
}

interface Turn {
  readonly role: 'user' | 'assistant'
  readonly content: JsonObject[]
}

/**
 * The messages of a request in the inner language. What the system says is lifted out of the conversation, wherever it
 * stands, in its order: that is what the vendor's own endpoint of OpenAI's form does. Turns alternate: all results of
 * tools and what the user adds to them are one. `thinks`: earlier thinking is sent back; it is not to models that have
 * none. Throws `invalid_value` naming what has no words here.
 */
export function conversationOf(inner: JsonObject, thinks: boolean): Conversation {
  const system: JsonObject[] = []
  const turns: Turn[] = []
  for (const [index, message] of objectsOf(inner['messages']).entries()) {
    const { role } = message
    const at = `messages[${index}]`
    if (role === 'system' || role === 'developer') system.push(...systemBlocks(message, at))
    else if (role === 'assistant') add(turns, 'assistant', assistantBlocks(message, { at, thinks }))
    else if (role === 'tool') add(turns, 'user', [toolResult(message, at)])
    else if (role === 'user') add(turns, 'user', blocksOf(message['content'], at))
    else throw cannot(`${at}.role`, `messages of the role "${stringOf(role)}"`)
  }
  trimLast(turns)
  return { system, messages: turns.map(({ role, content }) => ({ role, content })) }
}

function add(turns: Turn[], role: Turn['role'], content: readonly JsonObject[]): void {
  if (content.length === 0) return
  const last = turns.at(-1)
  if (last?.role !== role) return void turns.push({ role, content: [...content] })
  // Results of tools have to come before everything else in a turn.
  const results = content.filter(({ type }) => type === 'tool_result')
  const place = last.content.findLastIndex(({ type }) => type === 'tool_result') + 1
  last.content.splice(place, 0, ...results)
  last.content.push(...content.filter(({ type }) => type !== 'tool_result'))
}

/** The vendor refuses an answer that is begun for the model and ends in white space. */
function trimLast(turns: Turn[]): void {
  const last = turns.at(-1)
  const block = last?.content.at(-1)
  if (last?.role !== 'assistant' || block?.['type'] !== 'text') return
  const text = stringOf(block['text']).trimEnd()
  last.content.pop()
  if (text !== '') last.content.push({ ...block, text })
  else if (last.content.length === 0) turns.pop()
}

/** The mark of a part that the vendor shall keep in its cache up to there. */
function marked({ cache_control: mark }: JsonObject): JsonObject {
  return isObject(mark) ? { cache_control: mark } : {}
}

/** A block of text; none for '', which the vendor refuses. */
function textBlock(text: string, from: JsonObject): readonly JsonObject[] {
  return text === '' ? [] : [{ type: 'text', text, ...marked(from) }]
}

function systemBlocks(message: JsonObject, at: string): readonly JsonObject[] {
  return partsOf(message['content']).flatMap((part, index) => {
    if (part['type'] !== 'text') throw cannot(`${at}.content[${index}]`, 'anything but text from the system')
    return textBlock(stringOf(part['text']), { ...message, ...part })
  })
}

function blocksOf(content: Json | undefined, at: string): readonly JsonObject[] {
  return partsOf(content).flatMap((part, index) => blockOf(part, `${at}.content[${index}]`))
}

function blockOf(part: JsonObject, at: string): readonly JsonObject[] {
  switch (part['type']) {
    case 'text':
      return textBlock(stringOf(part['text']), part)
    case 'image_url':
      return [{ type: 'image', source: imageSource(imageUrlOf(part), at), ...marked(part) }]
    case 'file':
      return [fileBlock(part, at)]
    default:
      throw cannot(at, `parts of the type "${stringOf(part['type']).slice(0, 64)}"`)
  }
}

function imageSource(url: string, at: string): JsonObject {
  const media = dataUrl(url)
  if (media) return { type: 'base64', media_type: media.mime, data: media.base64 }
  if (/^https?:\/\//i.test(url)) return { type: 'url', url }
  throw cannot(at, 'an image that is neither in base64 nor at a URL')
}

function fileBlock(part: JsonObject, at: string): JsonObject {
  const file = isObject(part['file']) ? part['file'] : {}
  const name = stringOf(file['filename'])
  const title = name === '' ? {} : { title: name }
  const url = stringOf(file['file_url'])
  if (/^https?:\/\//i.test(url)) return { type: 'document', source: { type: 'url', url }, ...title, ...marked(part) }
  const media = dataUrl(stringOf(file['file_data']))
  if (!media) throw cannot(at, 'a file that is neither in base64 nor at a URL')
  const { mime, base64 } = media
  if (mime.startsWith('image/'))
    return { type: 'image', source: { type: 'base64', media_type: mime, data: base64 }, ...marked(part) }
  if (mime.startsWith('text/')) {
    const source = { type: 'text', media_type: 'text/plain', data: textIn(base64, at) }
    return { type: 'document', source, ...title, ...marked(part) }
  }
  return { type: 'document', source: { type: 'base64', media_type: mime, data: base64 }, ...title, ...marked(part) }
}

/** A document of plain text is sent as text. */
function textIn(base64: string, at: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(base64), (unit) => unit.charCodeAt(0)))
  } catch {
    throw cannot(at, 'a file whose base64 is broken')
  }
}

/** The vendor takes letters, digits, "_" and "-" in the id of a call; those of other vendors have more. */
function toolId(id: string): string {
  return id.replace(/[^\w-]/g, '_') || 'call'
}

function toolResult(message: JsonObject, at: string): JsonObject {
  const content = message['content']
  const marks = isList(content) ? marked(objectsOf(content).at(-1) ?? {}) : {}
  return {
    type: 'tool_result',
    tool_use_id: toolId(stringOf(message['tool_call_id'])),
    content: isList(content) ? blocksOf(content, at) : stringOf(content),
    ...(message['is_error'] === true && { is_error: true }),
    ...marks,
    ...marked(message),
  }
}

function assistantBlocks(message: JsonObject, { at, thinks }: { at: string; thinks: boolean }): readonly JsonObject[] {
  if (isObject(message['function_call'])) throw cannot(`${at}.function_call`, '"function_call"; it takes "tool_calls"')
  const said = partsOf(message['content']).flatMap((part) =>
    textBlock(stringOf(part['text']) || stringOf(part['refusal']), part),
  )
  const refused = stringOf(message['refusal'])
  const calls = calledIn(message).map((called) => ({
    type: 'tool_use',
    id: toolId(called.id),
    name: called.name,
    input: argumentsObject(called.arguments),
  }))
  const thoughts = thinks ? ownThoughts(message) : []
  const spoken = [...said, ...(said.length === 0 ? textBlock(refused, {}) : []), ...calls]
  // The mark of a whole message stands at its end; thinking cannot have one.
  return [...thoughts, ...spoken.slice(0, -1), ...spoken.slice(-1).map((last) => ({ ...last, ...marked(message) }))]
}

/**
 * Thinking goes back as it was signed, byte for byte. What another vendor has thought is left out: nobody here could
 * read it, and the request would be refused for it.
 */
export function ownThoughts(message: JsonObject): readonly JsonObject[] {
  return objectsOf(message['reasoning_details']).flatMap(({ type, format, text, signature, data }): JsonObject[] => {
    if (format !== ownFormat) return []
    if (type === 'reasoning.encrypted') return [{ type: 'redacted_thinking', data: stringOf(data) }]
    if (type !== 'reasoning.text' || stringOf(signature) === '') return []
    return [{ type: 'thinking', thinking: stringOf(text), signature: stringOf(signature) }]
  })
}
