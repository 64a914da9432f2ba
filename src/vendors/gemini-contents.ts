import type { Json, JsonObject } from '../core/call.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import { geminiFormat, ownIdPrefix } from './gemini-parts.ts'
import { argumentsObject, calledIn, calledNames, dataUrl, imageUrlOf, partsOf, textOf } from './inner-prompt.ts'
import { cannot } from './parameters.ts'

/** Messages of the inner language as Gemini's `contents` and `systemInstruction`. */
export interface Conversation {
  readonly contents: readonly JsonObject[]
  readonly systemInstruction?: JsonObject
}

/** Throws `invalid_value` that names the message, or the part of it, that Gemini has no words for. */
export function conversationOf(inner: JsonObject): Conversation {
  const messages = objectsOf(inner['messages'])
  const names = calledNames(messages)
  const turns: Turn[] = []
  const system: JsonObject[] = []
  for (const [index, message] of messages.entries()) {
    const at = `messages[${index}]`
    const { role } = message
    // All of them: there is one place for them, and a later one is no less an instruction.
    if (role === 'system' || role === 'developer') system.push(...textParts(message))
    else if (role === 'assistant') turns.push({ role: 'model', parts: modelParts(message, at), isResult: false })
    else if (role === 'tool' || role === 'function') addResult(turns, resultParts(message, { names, at }))
    else turns.push({ role: 'user', parts: userParts(message, at), isResult: false })
  }
  const said = turns.filter(({ parts }) => parts.length > 0)
  // A request needs at least one turn; instructions alone are one.
  if (said.length === 0) return { contents: [{ role: 'user', parts: system.length > 0 ? system : [{ text: '' }] }] }
  const contents = said.map(({ role, parts }) => ({ role, parts }))
  return { contents, ...(system.length > 0 && { systemInstruction: { parts: system } }) }
}

interface Turn {
  readonly role: 'user' | 'model'
  readonly parts: JsonObject[]
  /** It answers calls; all answers to one turn's calls must stand in one turn. */
  readonly isResult: boolean
}

function addResult(turns: Turn[], parts: JsonObject[]): void {
  const last = turns.at(-1)
  if (last?.isResult) last.parts.push(...parts)
  else turns.push({ role: 'user', parts, isResult: true })
}

function textParts(message: JsonObject): readonly JsonObject[] {
  return partsOf(message['content'])
    .map((part) => stringOf(part['text']))
    .filter((text) => text !== '')
    .map((text) => ({ text }))
}

/** The model's own words, with the thoughts and signatures that were its own: those of other models it cannot read. */
function modelParts(message: JsonObject, at: string): JsonObject[] {
  const details = objectsOf(message['reasoning_details']).filter(({ format }) => format === geminiFormat)
  const signatures = new Map(
    details.filter(({ type }) => type === 'reasoning.encrypted').map(({ id, data }) => [stringOf(id), stringOf(data)]),
  )
  const thoughts = details.filter(({ type }) => type === 'reasoning.text').map(thoughtPart)
  const said = partsOf(message['content']).map((part, index) => mediaPart(part, `${at}.content[${index}]`))
  const refusal = stringOf(message['refusal'])
  if (refusal !== '') said.push({ text: refusal })
  const images = objectsOf(message['images']).map((image, index) => mediaPart(image, `${at}.images[${index}]`))
  const calls = calledIn(message).map(({ id, name, arguments: given }) => ({
    functionCall: { ...sentId(id), name, args: argumentsObject(given) },
    ...signed(signatures.get(id)),
  }))
  const { function_call: legacy } = message
  if (isObject(legacy)) {
    const name = stringOf(legacy['name'])
    calls.push({ functionCall: { name, args: argumentsObject(stringOf(legacy['arguments'])) } })
  }
  return [...thoughts, ...withSignature(said, signatures.get('')), ...images, ...calls]
}

function thoughtPart({ text, signature }: JsonObject): JsonObject {
  return { text: stringOf(text), thought: true, ...signed(stringOf(signature)) }
}

function signed(signature: string | undefined): JsonObject {
  return signature ? { thoughtSignature: signature } : {}
}

/** Ids that we have made up for a model that gives none would be new to it. */
function sentId(id: string): JsonObject {
  return id === '' || id.startsWith(ownIdPrefix) ? {} : { id }
}

/** The signature of a text stands at its end; one that came without a text stands alone. */
function withSignature(parts: readonly JsonObject[], signature: string | undefined): readonly JsonObject[] {
  if (!signature) return parts
  const last = parts.at(-1)
  if (last?.['text'] === undefined) return [...parts, { text: '', thoughtSignature: signature }]
  return [...parts.slice(0, -1), { ...last, thoughtSignature: signature }]
}

interface Answering {
  readonly names: ReadonlyMap<string, string>
  readonly at: string
}

/** A tool's answer. It must name the function, which OpenAI's does not: the call that it answers tells. */
function resultParts(message: JsonObject, { names, at }: Answering): JsonObject[] {
  const id = stringOf(message['tool_call_id'])
  const name = names.get(id) ?? stringOf(message['name'])
  if (name === '') throw cannot(`${at}.tool_call_id`, 'an answer to a tool call that is not in the conversation')
  const text = textOf(message['content'])
  const response = message['is_error'] === true ? { error: text } : responseOf(text)
  const media = partsOf(message['content']).flatMap((part, index) =>
    stringOf(part['type']) === 'text' ? [] : [mediaPart(part, `${at}.content[${index}]`)],
  )
  return [{ functionResponse: { ...sentId(id), name, response } }, ...media]
}

/** An object stays one; anything else goes where Google's documentation wants a result to be. */
function responseOf(text: string): JsonObject {
  if (!text.trimStart().startsWith('{')) return { output: text }
  try {
    const value = JSON.parse(text) as Json
    return isObject(value) ? value : { output: text }
  } catch {
    return { output: text } // Text that only begins like an object.
  }
}

function userParts(message: JsonObject, at: string): JsonObject[] {
  return partsOf(message['content']).map((part, index) => mediaPart(part, `${at}.content[${index}]`))
}

/** Any part of a message. Throws `invalid_value` for a type that Gemini does not take. */
function mediaPart(part: JsonObject, at: string): JsonObject {
  const { type, input_audio: audio, file } = part
  if (type === 'text' || (type === undefined && part['text'] !== undefined)) return { text: stringOf(part['text']) }
  if (type === 'refusal') return { text: stringOf(part['refusal']) }
  if (type === 'image_url') return linkPart(imageUrlOf(part), { at: `${at}.image_url.url`, kind: 'image' })
  if (type === 'video_url') return linkPart(videoUrlOf(part), { at: `${at}.video_url.url`, kind: 'video' })
  if (type === 'input_audio' && isObject(audio)) return audioPart(audio)
  if (type === 'file' && isObject(file)) return filePart(file, `${at}.file`)
  throw cannot(`${at}.type`, `a part of the type "${stringOf(type).slice(0, 64)}"`)
}

function videoUrlOf({ video_url: video }: JsonObject): string {
  return isObject(video) ? stringOf(video['url']) : stringOf(video)
}

function inline(mimeType: string, data: string): JsonObject {
  return { inlineData: { mimeType, data } }
}

/** Types by the ending of a name; Google asks for one with every file. */
const mimes: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  heic: 'image/heic',
  heif: 'image/heif',
  mp4: 'video/mp4',
  mpeg: 'video/mpeg',
  mov: 'video/quicktime',
  webm: 'video/webm',
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  flac: 'audio/flac',
  ogg: 'audio/ogg',
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  html: 'text/html',
  json: 'application/json',
}

function mimeOf(name: string): string | undefined {
  const ending = /\.(\w{2,5})(?:[?#]|$)/.exec(name)?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(mimes, ending) ? mimes[ending] : undefined
}

interface Link {
  readonly at: string
  readonly kind: string
}

/** Google fetches files of its own and public ones itself; where no type can be told, it guesses one too. */
function linkPart(url: string, { at, kind }: Link): JsonObject {
  const media = dataUrl(url)
  if (media) return inline(media.mime === 'application/octet-stream' ? `${kind}/*` : media.mime, media.base64)
  if (!/^(https?|gs):\/\//i.test(url)) throw cannot(at, 'a link that is neither a data URL in base64 nor a public one')
  const mimeType = mimeOf(url)
  return { fileData: { ...(mimeType !== undefined && { mimeType }), fileUri: url } }
}

function audioPart({ data, format }: JsonObject): JsonObject {
  const word = stringOf(format).toLowerCase()
  return inline(word === '' ? 'audio/wav' : `audio/${word}`, stringOf(data))
}

function filePart(file: JsonObject, at: string): JsonObject {
  const { filename, file_data: data, file_url: url, file_id: id } = file
  if (typeof url === 'string') return linkPart(url, { at: `${at}.file_url`, kind: 'application' })
  if (typeof data !== 'string') {
    // The address of a file that was uploaded to Google; ids of other vendors mean nothing there.
    if (typeof id === 'string' && /^(https|gs):\/\//.test(id))
      return linkPart(id, { at: `${at}.file_id`, kind: 'application' })
    throw cannot(`${at}.file_id`, 'the id of a file that another vendor keeps')
  }
  const media = dataUrl(data)
  const mime = mimeOf(stringOf(filename)) ?? 'application/pdf'
  if (!media) return inline(mime, data)
  return inline(media.mime === 'application/octet-stream' ? mime : media.mime, media.base64)
}
