import type { Json, JsonObject } from '../core/call.ts'
import { members } from '../core/json-bytes.ts'
import { isList, isObject, stringOf } from '../core/wire.ts'
import { readBody, wrong } from './body.ts'
import { messagesOf, saysSomething } from './generate-contents.ts'
import { field, listField, numberField, objectField, snake, wholeField } from './generate-fields.ts'
import { jsonSchema } from './generate-schema.ts'

/*
 * What the gateway itself reads of a request to generateContent (https://ai.google.dev/api/generate-content). Wrong
 * types there are refused, because a hold or a charge depends on them. Everything else is the vendor's to judge.
 */

const maxContents = 10_000
const maxTokens = 2 ** 31
const maxCandidates = 128
const maxModelLength = 256

/** Fields that decide what is called and what it may cost, and so must not be given twice. */
const readFields: ReadonlySet<string> = new Set(
  [
    'contents',
    'systemInstruction',
    'tools',
    'toolConfig',
    'generationConfig',
    'serviceTier',
    'cachedContent',
    'generateContentRequest',
    'maxOutputTokens',
    'candidateCount',
    'responseSchema',
    'responseJsonSchema',
    'responseModalities',
    'thinkingConfig',
  ].flatMap((name) => [name, snake(name)]),
)

/** A request as it was read. */
export interface GenerateRequest {
  /** The caller's bytes, without a byte order mark. */
  readonly raw: Uint8Array
  readonly body: JsonObject
  readonly inner: JsonObject
  readonly maxOutput: number | undefined
  readonly choices: number
}

/** Reads and checks the bytes of a request. Throws `invalid_json` or `invalid_value`, the latter naming the parameter. */
export function readGenerateRequest(bytes: Uint8Array, model: string): GenerateRequest {
  const { raw, body } = readBody(bytes)
  refuseTwice(raw)
  const inner = innerOf(body, model)
  const config = objectField(body, 'generationConfig')
  const maxOutput = wholeField(config, 'maxOutputTokens', maxTokens)
  return { raw, body, inner, maxOutput, choices: wholeField(config, 'candidateCount', maxCandidates) ?? 1 }
}

/** A request to have a prompt counted: the contents alone, or a whole request in a member of its own. */
export function readCountRequest(bytes: Uint8Array, model: string): Pick<GenerateRequest, 'raw' | 'body' | 'inner'> {
  const { raw, body } = readBody(bytes)
  refuseTwice(raw)
  const whole = field(body, 'generateContentRequest')
  if (whole !== undefined && !isObject(whole))
    throw wrong('generateContentRequest', '"generateContentRequest" must be an object.')
  return { raw, body, inner: innerOf(whole ?? body, model) }
}

/** The model that a path names: all between "models/" and the method. Throws `invalid_value` for none. */
export function modelIn(path: string): string {
  const model = /\/models\/(.+):\w+$/.exec(path)?.[1] ?? ''
  if (model === '') throw wrong('model', 'Name a model in the path. GET /v1beta/models lists them.')
  if (model.length > maxModelLength)
    throw wrong('model', `The model's name is longer than ${maxModelLength} characters.`)
  return model
}

/** Parsers disagree on which of two equal members counts, and so what is paid for could differ from what is served. */
function refuseTwice(raw: Uint8Array): void {
  const all = members(raw)
  const config = all.find(({ name }) => name === 'generationConfig' || name === 'generation_config')
  const inside =
    config && raw[config.valueStart] === 0x7b ? members(raw.subarray(config.valueStart, config.valueEnd)) : []
  for (const list of [all, inside]) {
    const seen = new Set<string>()
    for (const { name } of list) {
      if (readFields.has(name) && seen.has(name)) throw wrong(name, `"${name}" is given twice. Give it once.`)
      seen.add(name)
    }
  }
}

/** The request in the inner language. */
function innerOf(body: JsonObject, model: string): JsonObject {
  if (listField(body, 'contents').length > maxContents)
    throw wrong('contents', `"contents" has more than ${maxContents} turns.`)
  const messages = messagesOf(body)
  if (!saysSomething(messages)) throw wrong('contents', '"contents" must be a list with at least one turn.')
  const tools = toolsOf(body)
  return {
    model,
    messages,
    ...(tools.length > 0 && { tools }),
    ...choiceOf(objectField(objectField(body, 'toolConfig'), 'functionCallingConfig')),
    ...configOf(objectField(body, 'generationConfig')),
    ...tierOf(stringOf(field(body, 'serviceTier'))),
    ...without(body),
  }
}

/** Fields that only have another name. */
const renamed: Readonly<Record<string, string>> = {
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  responseLogprobs: 'logprobs',
  logprobs: 'top_logprobs',
  topK: 'top_k',
}

function configOf(config: JsonObject): JsonObject {
  const inner: Record<string, Json> = {}
  for (const [from, to] of Object.entries(renamed)) {
    const value = field(config, from)
    if (value !== undefined) inner[to] = value
  }
  const temperature = numberField(config, 'temperature', 2)
  const topP = numberField(config, 'topP', 1)
  const stops = field(config, 'stopSequences')
  const bound = wholeField(config, 'maxOutputTokens', maxTokens)
  const count = wholeField(config, 'candidateCount', maxCandidates)
  const modalities = field(config, 'responseModalities')
  if (stops !== undefined && !isList(stops)) throw wrong('stopSequences', '"stopSequences" must be a list.')
  return {
    ...inner,
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(stops && stops.length > 0 && { stop: stops }),
    ...(bound !== undefined && { max_completion_tokens: bound }),
    ...(count !== undefined && count > 1 && { n: count }),
    ...(isList(modalities) &&
      wantsMedia(modalities) && { modalities: modalities.map((word) => stringOf(word).toLowerCase()) }),
    ...formatOf(config),
    ...thinkingOf(objectField(config, 'thinkingConfig')),
    ...without(config),
  }
}

/** Text is what everyone answers with. */
function wantsMedia(modalities: readonly Json[]): boolean {
  return modalities.some((word) => stringOf(word).toUpperCase() !== 'TEXT')
}

function formatOf(config: JsonObject): JsonObject {
  const json = field(config, 'responseJsonSchema')
  const google = objectField(config, 'responseSchema')
  const schema = isObject(json) ? json : Object.keys(google).length > 0 ? jsonSchema(google) : undefined
  if (schema) return { response_format: { type: 'json_schema', json_schema: { name: 'response', schema } } }
  return field(config, 'responseMimeType') === 'application/json' ? { response_format: { type: 'json_object' } } : {}
}

/** A budget of -1 leaves it to the model. */
function thinkingOf(config: JsonObject): JsonObject {
  const level = stringOf(field(config, 'thinkingLevel')).toLowerCase()
  const budget = field(config, 'thinkingBudget')
  if (budget === 0) return { reasoning_effort: 'none' }
  const isBounded = typeof budget === 'number' && budget > 0
  const exclude = field(config, 'includeThoughts') !== true
  return {
    ...(level !== '' && level !== 'thinking_level_unspecified' && { reasoning_effort: level }),
    ...(Object.keys(config).length > 0 && { reasoning: { ...(isBounded && { max_tokens: budget }), exclude } }),
  }
}

function tierOf(tier: string): JsonObject {
  const word = tier.toLowerCase().replace(/^service_tier_/, '')
  return word === 'flex' || word === 'priority' ? { service_tier: word } : {}
}

function toolsOf(body: JsonObject): readonly JsonObject[] {
  return listField(body, 'tools').flatMap((tool) => {
    const functions = listField(tool, 'functionDeclarations').map(functionOf)
    // Google's own tools have no counterpart; an adapter that cannot offer one refuses its type.
    const own = Object.entries(tool)
      .filter(([name, value]) => snake(name) !== 'function_declarations' && isObject(value))
      .map(([name, value]) => ({ type: snake(name), [snake(name)]: value }))
    return [...functions, ...own]
  })
}

function functionOf(declared: JsonObject): JsonObject {
  const json = field(declared, 'parametersJsonSchema')
  const google = field(declared, 'parameters')
  const parameters = isObject(json) ? json : isObject(google) ? jsonSchema(google) : undefined
  const { name, description } = declared
  return {
    type: 'function',
    function: {
      name: stringOf(name),
      ...(typeof description === 'string' && { description }),
      ...(parameters && { parameters }),
    },
  }
}

function choiceOf(config: JsonObject): JsonObject {
  const mode = stringOf(config['mode']).toUpperCase()
  if (mode === 'AUTO' || mode === 'VALIDATED') return { tool_choice: 'auto' }
  if (mode === 'NONE') return { tool_choice: 'none' }
  if (mode !== 'ANY') return {}
  const allowed = field(config, 'allowedFunctionNames')
  const names = (isList(allowed) ? allowed : []).filter((name) => typeof name === 'string')
  const functions = names.map((name) => ({ type: 'function', function: { name } }))
  if (functions.length === 0) return { tool_choice: 'required' }
  if (functions.length === 1) return { tool_choice: functions[0] }
  return { tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: functions } } }
}

/**
 * Fields without a counterpart keep their name, in the spelling of the inner language: an adapter leaves them out and
 * says so.
 */
function without(object: JsonObject): JsonObject {
  const rest = foreign.map((name) => [snake(name), field(object, name)] as const)
  return Object.fromEntries(rest.filter(([, value]) => value !== undefined && !isEmpty(value)))
}

function isEmpty(value: Json | undefined): boolean {
  return isList(value) && value.length === 0
}

const foreign = [
  'safetySettings',
  'cachedContent',
  'labels',
  'modelArmorConfig',
  'speechConfig',
  'imageConfig',
  'mediaResolution',
  'audioTimestamp',
  'enableEnhancedCivicAnswers',
  'enableAffectiveDialog',
  'modelSelectionConfig',
  'routingConfig',
] as const
