import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import {
  argumentsObject,
  calledIn,
  dataUrl,
  functionsIn,
  imageUrlOf,
  maxTokensOf,
  partsOf,
  schemaOf,
  stopsOf,
  textOf,
  thoughtWish,
  toolWish,
} from './inner-prompt.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'

/** A request in the inner language as the body of Converse: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html */

export const parameters: ParameterTable = {
  max_tokens: 'translate',
  max_completion_tokens: 'translate',
  temperature: 'translate',
  top_p: 'translate',
  top_k: 'translate',
  stop: 'translate',
  n: 'refuse',
  seed: 'drop',
  frequency_penalty: 'drop',
  presence_penalty: 'drop',
  logit_bias: 'drop',
  logprobs: 'drop',
  top_logprobs: 'drop',
  tools: 'translate',
  tool_choice: 'translate',
  functions: 'refuse',
  function_call: 'refuse',
  parallel_tool_calls: 'drop',
  response_format: 'translate',
  reasoning_effort: 'translate',
  reasoning: 'translate',
  modalities: 'drop',
  audio: 'refuse',
  web_search_options: 'refuse',
  user: 'drop',
  store: 'drop',
  verbosity: 'drop',
  prediction: 'drop',
  service_tier: 'drop',
  metadata: 'translate',
}

/** Signed thoughts are good wherever the family is served, so they carry its name and not ours. */
export const signedFormat = 'anthropic'
const cachePoint = { cachePoint: { type: 'default' } }
/** Least and usual budgets of thought, in tokens: shares of an answer of 16,384 tokens. */
const budgets: Readonly<Record<string, number>> = { minimal: 1024, low: 1638, medium: 4915, high: 9830, xhigh: 14_745 }
const leastBudget = 1024

export interface ConverseRequest {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

/** Throws `invalid_value` that names the parameter for what Converse, or this model, has no words for. */
export function converseRequest(inner: JsonObject, model: string): ConverseRequest {
  const dropped = [...checkParameters(inner, parameters)]
  const messages = objectsOf(inner['messages'])
  const systems = messages.filter(({ role }) => role === 'system' || role === 'developer')
  const more = moreFields(inner, model, dropped)
  const body: JsonObject = {
    messages: turnsOf(messages),
    ...(systems.length > 0 && { system: systems.flatMap(({ content }) => partsOf(content).flatMap(textBlocks)) }),
    inferenceConfig: inferenceOf(inner),
    ...toolsOf(inner, messages),
    ...formatOf(inner),
    ...(Object.keys(more).length > 0 && { additionalModelRequestFields: more }),
    ...metadataOf(inner),
  }
  return { body, dropped }
}

function inferenceOf(inner: JsonObject): JsonObject {
  const { temperature, top_p: topP } = inner
  const [maxTokens, stops] = [maxTokensOf(inner), stopsOf(inner)]
  return {
    ...(maxTokens !== undefined && { maxTokens }),
    // Theirs ends at 1, the inner language's at 2.
    ...(typeof temperature === 'number' && { temperature: Math.min(temperature, 1) }),
    ...(typeof topP === 'number' && { topP }),
    ...(stops && stops.length > 0 && { stopSequences: stops }),
  }
}

/** What only some families take; where a family has no word for it, its name joins the dropped. */
function moreFields(inner: JsonObject, model: string, dropped: string[]): JsonObject {
  const isClaude = model.includes('anthropic.')
  const fields: Record<string, Json> = {}
  const { top_k: topK } = inner
  if (typeof topK === 'number' && isClaude) fields['top_k'] = topK
  else if (typeof topK === 'number') dropped.push('top_k')
  const wish = thoughtWish(inner)
  if (!wish || wish.effort === 'none') return fields
  if (isClaude)
    fields['thinking'] = { type: 'enabled', budget_tokens: budgetOf(wish.budget ?? budgets[wish.effort ?? ''], inner) }
  else if (model.includes('openai.') && wish.effort !== undefined) fields['reasoning_effort'] = wish.effort
  else dropped.push(inner['reasoning_effort'] === undefined ? 'reasoning' : 'reasoning_effort')
  return fields
}

/** The thoughts are a part of the answer, and must leave some of it. */
function budgetOf(wanted: number | undefined, inner: JsonObject): number {
  const most = maxTokensOf(inner)
  const budget = Math.max(leastBudget, Math.floor(wanted ?? leastBudget))
  return most === undefined || most <= leastBudget ? budget : Math.min(budget, most - 1)
}

/** Texts of at most 16 pairs: what else is in `metadata` is not for them. */
function metadataOf({ metadata }: JsonObject): JsonObject {
  if (!isObject(metadata)) return {}
  const pairs = Object.entries(metadata).filter(([, value]) => typeof value === 'string')
  return pairs.length === 0 ? {} : { requestMetadata: Object.fromEntries(pairs.slice(0, 16)) }
}

/** Any JSON object, without a schema, cannot be asked for. */
function formatOf(inner: JsonObject): JsonObject {
  const schema = schemaOf(inner)
  if (!schema) return {}
  if (Object.keys(schema).length === 0) throw cannot('response_format', '"response_format" without a schema')
  const format = inner['response_format']
  const described = isObject(format) && isObject(format['json_schema']) ? format['json_schema'] : {}
  const description = stringOf(described['description'])
  const jsonSchema = {
    name: stringOf(described['name']) || 'answer',
    schema: JSON.stringify(schema),
    ...(description !== '' && { description }),
  }
  return { outputConfig: { textFormat: { type: 'json_schema', structure: { jsonSchema } } } }
}

function toolsOf(inner: JsonObject, messages: readonly JsonObject[]): JsonObject {
  const functions = functionsIn(inner)
  if (functions.length === 0) return {}
  const wish = toolWish(inner)
  if (wish?.kind === 'none') {
    // There is no word for it. Offering no tools says the same, unless the messages speak of calls: then they must be.
    if (!messages.some((message) => message['role'] === 'tool' || calledIn(message).length > 0)) return {}
    throw cannot('tool_choice', '"tool_choice": "none" after tools have been called')
  }
  const isCached = objectsOf(inner['tools']).some((tool) => isObject(tool['cache_control']))
  const tools: JsonObject[] = functions.map(specOf)
  return {
    toolConfig: {
      tools: isCached ? [...tools, cachePoint] : tools,
      ...(wish?.kind === 'auto' && { toolChoice: { auto: {} } }),
      ...(wish?.kind === 'required' && { toolChoice: { any: {} } }),
      ...(wish?.kind === 'named' && { toolChoice: { tool: { name: wish.name } } }),
    },
  }
}

function specOf({ name, description, parameters: schema, strict }: JsonObject): JsonObject {
  const said = stringOf(description)
  return {
    toolSpec: {
      name: stringOf(name),
      ...(said !== '' && { description: said }),
      inputSchema: { json: isObject(schema) ? schema : { type: 'object', properties: {} } },
      ...(strict === true && { strict }),
    },
  }
}

/** Roles must alternate, so neighbours of one role become one turn; results of tools are said by the user. */
function turnsOf(messages: readonly JsonObject[]): readonly JsonObject[] {
  const turns: { role: 'user' | 'assistant'; content: JsonObject[] }[] = []
  let documents = 0
  for (const message of messages) {
    if (message['role'] === 'system' || message['role'] === 'developer') continue
    const role = message['role'] === 'assistant' ? 'assistant' : 'user'
    const blocks = role === 'assistant' ? assistantBlocks(message) : userBlocks(message, () => ++documents)
    const last = turns.at(-1)
    if (last?.role === role) last.content.push(...blocks)
    else if (blocks.length > 0) turns.push({ role, content: blocks })
  }
  return turns
}

/** Blank texts are refused there. A mark for the cache is a block of its own behind the one that has it. */
function textBlocks(part: JsonObject): JsonObject[] {
  const text = textOf([part])
  const block = text.trim() === '' ? [] : [{ text }]
  return isObject(part['cache_control']) ? [...block, cachePoint] : block
}

function assistantBlocks(message: JsonObject): JsonObject[] {
  const thoughts = objectsOf(message['reasoning_details']).flatMap(thoughtBlock)
  const calls = calledIn(message).map(({ id, name, arguments: given }) => ({
    toolUse: { toolUseId: id, name, input: argumentsObject(given) },
  }))
  return [...thoughts, ...partsOf(message['content']).flatMap(textBlocks), ...calls]
}

/** Unsigned thoughts, and those of other families, are not taken back. */
function thoughtBlock({ type, format, text, signature, data }: JsonObject): JsonObject[] {
  if (format !== signedFormat) return []
  if (type === 'reasoning.encrypted' && stringOf(data) !== '')
    return [{ reasoningContent: { redactedContent: stringOf(data) } }]
  if (type !== 'reasoning.text' || stringOf(signature) === '') return []
  return [{ reasoningContent: { reasoningText: { text: stringOf(text), signature: stringOf(signature) } } }]
}

function userBlocks(message: JsonObject, nextDocument: () => number): JsonObject[] {
  if (message['role'] !== 'tool' && message['role'] !== 'function')
    return partsOf(message['content']).flatMap((part) => blocksOf(part, nextDocument))
  const content = isList(message['content'])
    ? partsOf(message['content']).flatMap((part) => blocksOf(part, nextDocument))
    : [{ text: stringOf(message['content']) }]
  const isError = message['is_error'] === true
  return [
    {
      toolResult: {
        toolUseId: stringOf(message['tool_call_id']),
        content: content.filter((block) => block['cachePoint'] === undefined),
        ...(isError && { status: 'error' }),
      },
    },
  ]
}

const imageFormats: Readonly<Record<string, string>> = {
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'image/gif': 'gif',
  'image/webp': 'webp',
}
const documentFormats: Readonly<Record<string, string>> = {
  'application/pdf': 'pdf',
  'text/csv': 'csv',
  'application/msword': 'doc',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'application/vnd.ms-excel': 'xls',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  'text/html': 'html',
  'text/plain': 'txt',
  'text/markdown': 'md',
}

function blocksOf(part: JsonObject, nextDocument: () => number): JsonObject[] {
  const block = mediaBlock(part, nextDocument)
  if (!block) return textBlocks(part)
  return isObject(part['cache_control']) ? [block, cachePoint] : [block]
}

/** Images and documents come with the request; what only has an address is not fetched. */
function mediaBlock(part: JsonObject, nextDocument: () => number): JsonObject | undefined {
  const { type, file } = part
  if (type === 'image_url') {
    const media = dataUrl(imageUrlOf(part))
    const format = imageFormats[media?.mime ?? '']
    if (!media || format === undefined) throw cannot('messages', 'images but as data URLs of PNG, JPEG, GIF or WebP')
    return { image: { format, source: { bytes: media.base64 } } }
  }
  if (type === 'file' && isObject(file)) {
    const media = dataUrl(stringOf(file['file_data']))
    const format = documentFormats[media?.mime ?? '']
    if (!media || format === undefined) throw cannot('messages', 'files but as data URLs of a document')
    // Their rule for names is narrow, and the model may read them, so a name is made and not taken over.
    return { document: { format, name: `document ${nextDocument()}`, source: { bytes: media.base64 } } }
  }
  if (type === 'input_audio') throw cannot('messages', 'audio')
  return undefined
}
