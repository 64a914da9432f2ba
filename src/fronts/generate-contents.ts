import type { Json, JsonObject } from '../core/call.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import { wrong } from './body.ts'
import { field, listField, objectField } from './generate-fields.ts'
import { googleFormat, itemIn } from './generate-signature.ts'

/** Calls of the conversation so far, for answers to them that name only the function. */
interface Conversation {
  readonly messages: JsonObject[]
  /** Calls that nobody has answered, oldest first. */
  readonly open: { readonly id: string; readonly name: string }[]
  calls: number
}

/** `systemInstruction` and `contents` as messages of the inner language. Throws `invalid_value` for what is no content. */
export function messagesOf(body: JsonObject): readonly JsonObject[] {
  const conversation: Conversation = { messages: [], open: [], calls: 0 }
  const system = systemText(field(body, 'systemInstruction'))
  if (system !== '') conversation.messages.push({ role: 'system', content: system })
  for (const [index, content] of listField(body, 'contents').entries()) {
    const parts = listField(content, 'parts')
    if (roleOf(content, index) === 'model') addModel(conversation, parts)
    else addUser(conversation, parts)
  }
  return conversation.messages
}

/** Who speaks; answers of functions had a role of their own once. */
const roles: readonly string[] = ['user', 'model', 'function']

function roleOf({ role }: JsonObject, index: number): string {
  if (role === undefined || role === null || role === '') return 'user'
  if (typeof role === 'string' && roles.includes(role)) return role
  const at = `contents[${index}].role`
  throw wrong(at, `"${at}" must be "user" or "model".`)
}

function systemText(instruction: Json | undefined): string {
  if (!isObject(instruction)) return stringOf(instruction)
  return listField(instruction, 'parts')
    .map((part) => stringOf(part['text']))
    .filter((text) => text !== '')
    .join('\n\n')
}

/** Answers to calls are messages of their own and come first, as OpenAI wants them right behind the calls. */
function addUser(conversation: Conversation, parts: readonly JsonObject[]): void {
  const said: JsonObject[] = []
  for (const part of parts) {
    const response = field(part, 'functionResponse')
    if (isObject(response)) conversation.messages.push(resultOf(conversation, response))
    else said.push(...partOf(part))
  }
  if (said.length > 0) conversation.messages.push({ role: 'user', content: plain(said) })
}

/** A lone text is a string: every vendor takes that. */
function plain(parts: readonly JsonObject[]): Json {
  const [first] = parts
  return parts.length === 1 && first?.['type'] === 'text' ? stringOf(first['text']) : parts
}

/** A part of a user's turn; none for one that only says how to look at the others. */
function partOf(part: JsonObject): readonly JsonObject[] {
  const media = field(part, 'inlineData')
  const link = field(part, 'fileData')
  if (isObject(media)) return [inlinePart(stringOf(field(media, 'mimeType')), stringOf(media['data']))]
  if (isObject(link)) return [linkPart(stringOf(field(link, 'mimeType')), stringOf(field(link, 'fileUri')))]
  const text = stringOf(part['text']) || codeText(part)
  return text === '' ? [] : [{ type: 'text', text }]
}

/** Code that a model has run, and what came of it, as the text that other models can read. */
function codeText(part: JsonObject): string {
  const code = field(part, 'executableCode')
  const result = field(part, 'codeExecutionResult')
  if (isObject(code)) return `\n\`\`\`${stringOf(code['language']).toLowerCase()}\n${stringOf(code['code'])}\n\`\`\`\n`
  return isObject(result) ? `\n\`\`\`\n${stringOf(result['output'])}\n\`\`\`\n` : ''
}

function inlinePart(mime: string, data: string): JsonObject {
  const url = `data:${mime};base64,${data}`
  if (mime.startsWith('image/')) return { type: 'image_url', image_url: { url } }
  if (mime.startsWith('audio/')) {
    const format = mime.slice('audio/'.length).replace(/^x-/, '').replace('mpeg', 'mp3')
    return { type: 'input_audio', input_audio: { data, format } }
  }
  return { type: 'file', file: { filename: `file.${mime.split('/')[1] ?? 'bin'}`, file_data: url } }
}

function linkPart(mime: string, uri: string): JsonObject {
  if (mime.startsWith('image/')) return { type: 'image_url', image_url: { url: uri } }
  return { type: 'file', file: { file_url: uri } }
}

/** The result of a call. Where it does not name the call, it answers the oldest open one of the function. */
function resultOf(conversation: Conversation, response: JsonObject): JsonObject {
  const { open } = conversation
  const name = stringOf(response['name'])
  const given = stringOf(response['id'])
  const named = open.findIndex((called) => called.id === given)
  const at = named >= 0 ? named : open.findIndex((called) => called.name === name)
  const [answered] = at >= 0 ? open.splice(at, 1) : []
  const id = answered?.id ?? (given || `call_${conversation.calls++}`)
  const { text, isError } = textOfResponse(objectField(response, 'response'))
  const media = listField(response, 'parts').flatMap(partOf)
  const content = media.length === 0 ? text : [{ type: 'text', text }, ...media]
  return { role: 'tool', tool_call_id: id, content, ...(isError && { is_error: true }) }
}

/** Google's documentation wants a result under "output" and a fault under "error"; anything else is told as it is. */
function textOfResponse(response: JsonObject): { readonly text: string; readonly isError: boolean } {
  const names = Object.keys(response)
  const [name = ''] = names
  const lone = names.length === 1 ? response[name] : undefined
  if (typeof lone === 'string' && (name === 'output' || name === 'result')) return { text: lone, isError: false }
  if (typeof lone === 'string' && name === 'error') return { text: lone, isError: true }
  return { text: JSON.stringify(response), isError: false }
}

/** A model's turn while it is read. */
interface Said {
  text: string
  /** Thoughts whose signature has not come yet. */
  thought: string
  reasoning: string
  readonly details: JsonObject[]
  readonly calls: JsonObject[]
  readonly images: JsonObject[]
}

function addModel(conversation: Conversation, parts: readonly JsonObject[]): void {
  const said: Said = { text: '', thought: '', reasoning: '', details: [], calls: [], images: [] }
  for (const part of parts) addModelPart(conversation, said, part)
  if (said.thought !== '') addDetail(said, { type: 'reasoning.text', text: said.thought, format: googleFormat })
  conversation.messages.push({
    role: 'assistant',
    content: said.text === '' ? null : said.text,
    ...(said.reasoning !== '' && { reasoning_content: said.reasoning }),
    ...(said.details.length > 0 && { reasoning_details: said.details }),
    ...(said.calls.length > 0 && { tool_calls: said.calls }),
    ...(said.images.length > 0 && { images: said.images }),
  })
}

function addDetail({ details }: Said, item: JsonObject): void {
  details.push({ ...item, index: details.length })
}

function addModelPart(conversation: Conversation, said: Said, part: JsonObject): void {
  const signature = stringOf(field(part, 'thoughtSignature'))
  const called = field(part, 'functionCall')
  if (part['thought'] === true) return addThought(said, stringOf(part['text']), signature)
  if (isObject(called)) return addCall(conversation, said, { called, signature })
  for (const other of partOf(part)) {
    if (other['type'] === 'text') said.text += stringOf(other['text'])
    else if (other['type'] === 'image_url') said.images.push(other)
  }
  if (signature !== '') addDetail(said, itemIn(signature) ?? encrypted(signature))
}

function encrypted(signature: string, id?: string): JsonObject {
  return { type: 'reasoning.encrypted', data: signature, ...(id !== undefined && { id }), format: googleFormat }
}

/** Thoughts may come in many parts; the signature of all of them comes with the last one. */
function addThought(said: Said, text: string, signature: string): void {
  said.thought += text
  said.reasoning += text
  if (signature === '') return
  const own = itemIn(signature)
  const thought = said.thought
  said.thought = ''
  if (!own) return addDetail(said, { type: 'reasoning.text', text: thought, signature, format: googleFormat })
  const hasText = own['type'] !== 'reasoning.text' || own['text'] !== undefined
  addDetail(said, hasText ? own : { ...own, text: thought })
}

interface Calling {
  readonly called: JsonObject
  readonly signature: string
}

function addCall(conversation: Conversation, said: Said, { called, signature }: Calling): void {
  const name = stringOf(called['name'])
  const id = stringOf(called['id']) || `call_${conversation.calls++}`
  conversation.open.push({ id, name })
  const args = objectField(called, 'args')
  said.calls.push({ id, type: 'function', function: { name, arguments: JSON.stringify(args) } })
  if (signature !== '') addDetail(said, itemIn(signature) ?? encrypted(signature, id))
}

/** True where some part of the request has text or media in it. */
export function saysSomething(messages: readonly JsonObject[]): boolean {
  return objectsOf(messages).some(({ role }) => role !== 'system')
}
