import type { Call, Json, JsonObject } from './call.ts'
import { onceFor } from './once-for.ts'
import { argumentsText, isList, isObject, objectsOf, stringOf } from './wire.ts'

/** What there is to count in a prompt before a vendor has counted it. */
export interface PromptText {
  /** Every text that the model reads. Media are not in it. */
  readonly texts: readonly string[]
  /** Tokens that no tokenizer can count: media and what a chat adds around its messages. */
  readonly fixedTokens: number
  /** No tokenizer counts more: a token is at least one byte of UTF-8. */
  readonly upperBound: number
}

/** OpenAI's published figures for an image at low detail, and for one of 1024 × 2048 pixels at high detail. */
const lowDetailTokens = 85
const imageTokens = 1105
/** Around each message, and around the answer that is to come (OpenAI's published way of counting). */
const messageTokens = 3
const answerTokens = 3
/** Ten tokens a second at the lowest bit rate in use (32 kbit/s), per character of base64. */
const audioCharactersPerToken = 533
/** A PDF page is charged as its text and an image of it; pages are seldom smaller than 25 kB. */
const fileCharactersPerToken = 16
/** Encrypted thinking is base64 of at least its own text: a token of text has some four characters. */
const encryptedCharactersPerToken = 5

interface Tally {
  readonly texts: string[]
  fixed: number
}

function addText(tally: Tally, value: Json | undefined): void {
  if (typeof value === 'string' && value !== '') tally.texts.push(value)
}

/** Texts at any depth of a part that we do not know; data URLs count as media, not as text. */
function addLeaves(tally: Tally, value: Json | undefined): void {
  if (typeof value === 'string') {
    if (value.startsWith('data:')) tally.fixed += imageTokens
    else addText(tally, value)
  } else if (isList(value)) {
    for (const item of value) addLeaves(tally, item)
  } else if (isObject(value)) {
    // What JSON.parse made has no names but its own.
    for (const name in value) if (name !== 'type') addLeaves(tally, value[name])
  }
}

function addPart(tally: Tally, part: JsonObject): void {
  const { image_url: image, input_audio: audio, file } = part
  if (image !== undefined) {
    const low = isObject(image) && image['detail'] === 'low'
    tally.fixed += low ? lowDetailTokens : imageTokens
  } else if (isObject(audio)) {
    tally.fixed += Math.ceil(stringOf(audio['data']).length / audioCharactersPerToken)
  } else if (isObject(file)) {
    tally.fixed += imageTokens + Math.ceil(stringOf(file['file_data']).length / fileCharactersPerToken)
    addText(tally, file['filename'])
  } else {
    addLeaves(tally, part)
  }
}

function addCalled(tally: Tally, called: Json | undefined): void {
  if (!isObject(called)) return
  addText(tally, called['name'])
  addText(tally, argumentsText(called['arguments']))
  addText(tally, called['input'])
}

function addMessage(tally: Tally, message: JsonObject): void {
  tally.fixed += messageTokens
  for (const name of ['role', 'name', 'reasoning_content', 'reasoning', 'refusal']) addText(tally, message[name])
  const content = message['content']
  addText(tally, content)
  for (const part of objectsOf(content)) addPart(tally, part)
  for (const call of objectsOf(message['tool_calls'])) {
    addCalled(tally, call['function'])
    addCalled(tally, call['custom'])
  }
  addCalled(tally, message['function_call'])
  // The same thinking in the form that goes back to its vendor, signed or encrypted.
  if (stringOf(message['reasoning_content']) === '') addThoughts(tally, message['reasoning_details'])
}

function addThoughts(tally: Tally, details: Json | undefined): void {
  for (const { text, summary, data } of objectsOf(details)) {
    addText(tally, text)
    addText(tally, summary)
    tally.fixed += Math.ceil(stringOf(data).length / encryptedCharactersPerToken)
  }
}

/** Shorter texts are counted character by character: for longer ones the machine's own encoder is ten times as fast. */
const encodedUnits = 256
/** Of a text that is encoded at one time, and the room for it: a unit has three bytes at most. */
const encodedAtOnce = 8_192
const scratch = new Uint8Array(encodedAtOnce * 3)
const encoder = new TextEncoder()

/** Bytes of a text in UTF-8. A lone surrogate is three, as its replacement character. */
export function utf8Length(text: string): number {
  if (text.length < encodedUnits) return shortLength(text)
  let bytes = 0
  for (let at = 0; at < text.length;) {
    const end = Math.min(at + encodedAtOnce, text.length)
    // A pair is encoded as one: its halves must not be parted.
    const isParted = isLead(text.charCodeAt(end - 1)) && isTrail(text.charCodeAt(end))
    const next = isParted ? end - 1 : end
    bytes += encoder.encodeInto(text.slice(at, next), scratch).written
    at = next
  }
  return bytes
}

function shortLength(text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x80) continue
    bytes += code < 0x800 ? 1 : 2
    // A surrogate pair is two units and four bytes; its second half is counted with the first.
    if (isLead(code) && isTrail(text.charCodeAt(at + 1))) at++
  }
  return bytes
}

function isLead(code: number): boolean {
  return code >= 0xd800 && code < 0xdc00
}

function isTrail(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000
}

/** Prompts that were read: a call asks for its own several times, and for a megabyte that takes some milliseconds. */
const read = onceFor(readTexts)

/** Reads a chat request that has been checked; takes time in proportion to its texts, not to its media. */
export function readPrompt(body: JsonObject): PromptText {
  return read(body)
}

function readTexts(body: JsonObject): PromptText {
  const tally: Tally = { texts: [], fixed: answerTokens }
  for (const message of objectsOf(body['messages'])) addMessage(tally, message)
  const format = body['response_format']
  // A format without a schema costs no tokens, as recorded usage shows.
  const schema = isObject(format) ? format['json_schema'] : undefined
  for (const value of [body['tools'], body['functions'], schema]) {
    if (isObject(value) || (isList(value) && value.length > 0)) tally.texts.push(JSON.stringify(value))
  }
  const bytes = tally.texts.reduce((sum, text) => sum + utf8Length(text), 0)
  return { texts: tally.texts, fixedTokens: tally.fixed, upperBound: bytes + tally.fixed }
}

/** What a call of any operation reads as tokens. */
export function promptOf({ inner, measure }: Pick<Call, 'inner' | 'measure'>): PromptText {
  return measure?.prompt ?? readPrompt(inner)
}
