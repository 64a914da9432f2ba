import type { Json, JsonObject } from './call.ts'

/** The fields of the inner language (OpenAI's chat completions) that we read, and nothing else. */

const decoder = new TextDecoder()

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

/** The objects in a list; what is no list has none. */
export function objectsOf(value: Json | undefined): readonly JsonObject[] {
  return isList(value) ? value.filter(isObject) : []
}

/** The string itself, '' for everything else. */
export function stringOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

/** Parses JSON bytes; undefined where they are none. A parsed `null` is null. */
export function parseJson(bytes: Uint8Array): Json | undefined {
  try {
    return JSON.parse(decoder.decode(bytes)) as Json
  } catch {
    return undefined // The caller of this function says what bad JSON means at its place.
  }
}

/** Text of a `content`: a string, or a list of parts; some vendors put thinking into parts of its own. */
function contentText(content: Json | undefined): string {
  if (!isList(content)) return stringOf(content)
  let text = ''
  for (const part of content) {
    if (!isObject(part)) continue
    text += stringOf(part['text'])
    for (const thought of objectsOf(part['thinking'])) text += stringOf(thought['text'])
    text += stringOf(part['thinking'])
  }
  return text
}

/** Arguments of a call are a string; a vendor that sends an object means its JSON. */
export function argumentsText(value: Json | undefined): string {
  return isObject(value) || isList(value) ? JSON.stringify(value) : stringOf(value)
}

/** Names and arguments of the tool calls of a message or a delta, the old `function_call` included. */
function toolText(message: JsonObject): string {
  let text = ''
  for (const call of objectsOf(message['tool_calls'])) text += calledText(call)
  if (isObject(message['function_call'])) text += calledText({ function: message['function_call'] })
  return text
}

function calledText(call: JsonObject): string {
  const { function: named, custom } = call
  if (isObject(named)) return stringOf(named['name']) + argumentsText(named['arguments'])
  if (isObject(custom)) return stringOf(custom['name']) + stringOf(custom['input'])
  return ''
}

/** Everything generated in a message or a delta, as one text: it is what gets counted where a vendor gives no usage. */
export function generatedText(message: JsonObject): string {
  const audio = message['audio']
  return (
    contentText(message['content']) +
    // Some vendors send the same reasoning under both names.
    (stringOf(message['reasoning_content']) || stringOf(message['reasoning'])) +
    stringOf(message['refusal']) +
    toolText(message) +
    (isObject(audio) ? stringOf(audio['transcript']) : '')
  )
}

/** The usage object of a chunk or a body, wherever the vendor has put it. */
export function usageOf(body: JsonObject): JsonObject | undefined {
  if (isObject(body['usage'])) return body['usage']
  for (const choice of objectsOf(body['choices'])) {
    if (isObject(choice['usage'])) return choice['usage']
  }
  const extension = body['x_groq'] // A field's name on the wire, which more than one vendor has copied.
  return isObject(extension) && isObject(extension['usage']) ? extension['usage'] : undefined
}

/** Longer names of service tiers are cut. */
const maxTierLength = 64

/** The service tier: asked for in a request, served in an answer or a chunk; undefined where none is named. */
export function serviceTierOf(body: JsonObject): string | undefined {
  return stringOf(body['service_tier']).slice(0, maxTierLength) || undefined
}

/** Whether a request sends audio or asks for it. */
export function hasAudio(body: JsonObject): boolean {
  if (isObject(body['audio'])) return true
  const messages = objectsOf(body['messages'])
  return messages.some(({ content }) => objectsOf(content).some(({ input_audio: audio }) => audio !== undefined))
}

/** Why a choice ended, in the vendor's word; '' and "null" are said by some vendors while it still runs. */
export function finishOf(choice: JsonObject): string | undefined {
  const finish = stringOf(choice['finish_reason'])
  return finish === '' || finish === 'null' ? undefined : finish
}
