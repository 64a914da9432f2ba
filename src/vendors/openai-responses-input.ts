import type { Json, JsonObject } from '../core/call.ts'
import { argumentsText, isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { partsOf, textOf } from './inner-prompt.ts'
import { ownFormat } from './openai-responses-items.ts'

/** Messages of the inner language as the items of an input. */
export function inputOf(messages: readonly JsonObject[]): readonly JsonObject[] {
  const calls = messages.flatMap((message) => objectsOf(message['tool_calls']))
  const custom = new Set(calls.filter((call) => isObject(call['custom'])).map(({ id }) => stringOf(id)))
  return messages.flatMap((message) => itemsOf(message, custom))
}

/** `custom`: ids of calls whose input is no JSON. */
function itemsOf(message: JsonObject, custom: ReadonlySet<string>): readonly JsonObject[] {
  const { role, content, tool_call_id: called } = message
  switch (role) {
    case 'assistant':
      return assistantItems(message)
    case 'tool':
      return [{ type: outputType(custom, called), call_id: stringOf(called), output: outputOf(content) }]
    case 'system':
    case 'developer':
      return [{ role, content: textOf(content) }]
    default:
      return [{ role: 'user', content: typeof content === 'string' ? content : partsOf(content).map(inputPart) }]
  }
}

function outputType(custom: ReadonlySet<string>, called: Json | undefined): string {
  return custom.has(stringOf(called)) ? 'custom_tool_call_output' : 'function_call_output'
}

function outputOf(content: Json | undefined): Json {
  return isList(content) ? objectsOf(content).map(inputPart) : stringOf(content)
}

function inputPart(part: JsonObject): JsonObject {
  const { type, text, image_url: image, file, input_audio: audio } = part
  if (type === 'text') return { type: 'input_text', text: stringOf(text) }
  if (type === 'image_url') {
    const { url, detail } = isObject(image) ? image : { url: image, detail: undefined }
    return { type: 'input_image', image_url: stringOf(url), ...(typeof detail === 'string' && { detail }) }
  }
  if (type === 'file' && isObject(file)) return { type: 'input_file', ...file }
  return type === 'input_audio' && isObject(audio) ? { type, input_audio: audio } : part
}

function assistantItems(message: JsonObject): readonly JsonObject[] {
  const { content, refusal, tool_calls: calls, reasoning_details: details } = message
  const text = textOf(content) || stringOf(refusal)
  return [
    ...reasoningItems(objectsOf(details)),
    ...(text === '' ? [] : [{ role: 'assistant', content: text }]),
    ...objectsOf(calls).flatMap(callItem),
  ]
}

function callItem({ id, function: called, custom }: JsonObject): readonly JsonObject[] {
  const call = { call_id: stringOf(id) }
  if (isObject(custom))
    return [{ type: 'custom_tool_call', ...call, name: stringOf(custom['name']), input: stringOf(custom['input']) }]
  if (!isObject(called)) return []
  const given = argumentsText(called['arguments'])
  return [{ type: 'function_call', ...call, name: stringOf(called['name']), arguments: given }]
}

/**
 * What vendors of this API have thought, in their own items. What others have thought they could not read, and an item
 * without its encrypted content they would look up in vain: nothing is stored.
 */
function reasoningItems(details: readonly JsonObject[]): readonly JsonObject[] {
  const own = details.filter(({ format }) => format === ownFormat)
  const ids = [...new Set(own.map(({ id }) => stringOf(id)))]
  return ids.flatMap((id) => {
    const pieces = own.filter((piece) => stringOf(piece['id']) === id)
    const data = pieces.map((piece) => stringOf(piece['data'])).find((text) => text !== '')
    if (data === undefined) return []
    const parts = (type: string, name: string, kind: string) =>
      pieces.filter((piece) => piece['type'] === type).map((piece) => ({ type: kind, text: stringOf(piece[name]) }))
    const content = parts('reasoning.text', 'text', 'reasoning_text')
    return [
      {
        type: 'reasoning',
        ...(id !== '' && { id }),
        summary: parts('reasoning.summary', 'summary', 'summary_text'),
        ...(content.length > 0 && { content }),
        encrypted_content: data,
      },
    ]
  })
}
