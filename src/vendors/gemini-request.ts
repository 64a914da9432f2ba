import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { conversationOf } from './gemini-contents.ts'
import { geminiSchema } from './gemini-schema.ts'
import { signedTurns } from './gemini-signatures.ts'
import { functionsIn, maxTokensOf, stopsOf } from './inner-prompt.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'

/** What becomes of the inner language's parameters at Gemini: https://ai.google.dev/api/generate-content. */
export const geminiParameters: ParameterTable = {
  max_tokens: 'translate',
  max_completion_tokens: 'translate',
  temperature: 'translate',
  top_p: 'translate',
  top_k: 'translate',
  stop: 'translate',
  n: 'translate',
  seed: 'translate',
  frequency_penalty: 'translate',
  presence_penalty: 'translate',
  logit_bias: 'drop',
  logprobs: 'translate',
  top_logprobs: 'translate',
  tools: 'translate',
  tool_choice: 'translate',
  functions: 'translate',
  function_call: 'translate',
  parallel_tool_calls: 'drop',
  response_format: 'translate',
  reasoning_effort: 'translate',
  reasoning: 'translate',
  service_tier: 'translate',
  prediction: 'drop',
  modalities: 'translate',
  audio: 'refuse',
  web_search_options: 'refuse',
  verbosity: 'drop',
  store: 'drop',
  metadata: 'drop',
  user: 'drop',
}

/** Google's own bound on stop sequences. */
const maxStops = 5

/** A request in Gemini's words, and the names of the parameters that it could not take. */
export interface Translated {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

/** Translates a request. Throws `invalid_value` that names the parameter for what Gemini cannot do. */
export function translate(inner: JsonObject, model: string): Translated {
  const dropped = checkParameters(inner, geminiParameters)
  const thinking = thinkingOf(inner, model)
  const tools = toolsOf(inner)
  const toolConfig = toolConfigOf(inner)
  const generationConfig = {
    ...samplingOf(inner),
    ...formatOf(inner),
    ...(thinking?.config && { thinkingConfig: thinking.config }),
  }
  const { contents, ...conversation } = conversationOf(inner)
  const body = {
    contents: signedTurns(contents, model),
    ...conversation,
    ...(tools && { tools }),
    ...(toolConfig && { toolConfig: { functionCallingConfig: toolConfig } }),
    ...(Object.keys(generationConfig).length > 0 && { generationConfig }),
    ...tierOf(inner),
  }
  return { body, dropped: [...dropped, ...(thinking?.dropped ?? [])] }
}

/** Fields that only have another name. */
const renamed: Readonly<Record<string, string>> = {
  temperature: 'temperature',
  top_p: 'topP',
  top_k: 'topK',
  seed: 'seed',
  frequency_penalty: 'frequencyPenalty',
  presence_penalty: 'presencePenalty',
  logprobs: 'responseLogprobs',
  top_logprobs: 'logprobs',
}

function samplingOf(inner: JsonObject): JsonObject {
  const config: Record<string, Json> = {}
  for (const [from, to] of Object.entries(renamed)) {
    const value = inner[from]
    if (typeof value === 'number' || typeof value === 'boolean') config[to] = value
  }
  if (config['responseLogprobs'] !== true) delete config['logprobs']
  const { n, modalities } = inner
  if (typeof n === 'number' && n > 1) config['candidateCount'] = n
  const bound = maxTokensOf(inner)
  if (bound !== undefined) config['maxOutputTokens'] = bound
  const stops = stopsOf(inner)
  if (stops && stops.length > maxStops) throw cannot('stop', `more than ${maxStops} stop sequences`)
  if (stops && stops.length > 0) config['stopSequences'] = stops
  if (isList(modalities)) config['responseModalities'] = modalities.map((word) => stringOf(word).toUpperCase())
  return config
}

/** The form that the answer must have. */
function formatOf({ response_format: format }: JsonObject): JsonObject {
  if (!isObject(format) || (format['type'] !== 'json_object' && format['type'] !== 'json_schema')) return {}
  const described = format['json_schema']
  const json = { responseMimeType: 'application/json' }
  if (format['type'] === 'json_object' || !isObject(described) || !isObject(described['schema'])) return json
  return { ...json, responseSchema: geminiSchema(described['schema'], 'response_format.json_schema.schema') }
}

function toolsOf(inner: JsonObject): readonly JsonObject[] | undefined {
  const declared = [
    ...functionsIn(inner).map((named, index) => declaration(named, `tools[${index}].function.parameters`)),
    ...objectsOf(inner['functions']).map((named, index) => declaration(named, `functions[${index}].parameters`)),
  ]
  return declared.length === 0 ? undefined : [{ functionDeclarations: declared }]
}

/** A function without parameters has no schema at all: an object without properties is answered with 400. */
function declaration({ name, description, parameters }: JsonObject, param: string): JsonObject {
  const schema = parameters === undefined || parameters === null ? undefined : geminiSchema(parameters, param)
  const isEmpty = schema?.['type'] === 'OBJECT' && schema['properties'] === undefined
  return {
    name: stringOf(name),
    ...(typeof description === 'string' && { description }),
    ...(schema && !isEmpty && { parameters: schema }),
  }
}

function toolConfigOf({ tool_choice: choice, function_call: legacy }: JsonObject): JsonObject | undefined {
  const wish = choice ?? legacy
  if (wish === 'auto') return { mode: 'AUTO' }
  if (wish === 'none') return { mode: 'NONE' }
  if (wish === 'required') return { mode: 'ANY' }
  if (!isObject(wish)) return undefined
  if (wish['type'] === 'allowed_tools') return allowedTools(wish['allowed_tools'])
  const named = isObject(wish['function']) ? wish['function'] : wish
  const name = stringOf(named['name'])
  if (name === '') throw cannot('tool_choice', 'such a choice of tools')
  return { mode: 'ANY', allowedFunctionNames: [name] }
}

function allowedTools(allowed: Json | undefined): JsonObject {
  const { mode, tools } = isObject(allowed) ? allowed : {}
  const names = objectsOf(tools).map(({ function: named }) => (isObject(named) ? stringOf(named['name']) : ''))
  // VALIDATED leaves the choice between a call and a text open.
  return { mode: mode === 'required' ? 'ANY' : 'VALIDATED', allowedFunctionNames: names }
}

function tierOf({ service_tier: tier }: JsonObject): JsonObject {
  return tier === 'flex' || tier === 'priority' ? { serviceTier: tier } : {}
}

interface Thinking {
  readonly config?: JsonObject
  readonly dropped?: readonly string[]
}

/** Tokens by effort for models that take a budget, as Google's own translation of OpenAI's words has them. */
const budgets: Readonly<Record<string, number>> = {
  none: 0,
  minimal: 1024,
  low: 1024,
  medium: 8192,
  high: 24_576,
  xhigh: 24_576,
  max: 24_576,
}
/** Gemini 2.5 Pro cannot be kept from thinking; this is its least budget. */
const leastProBudget = 128

/** How much is thought, in the words of the model's generation: levels since Gemini 3, budgets in 2.5, none before. */
function thinkingOf(inner: JsonObject, model: string): Thinking | undefined {
  const reasoning = isObject(inner['reasoning']) ? inner['reasoning'] : {}
  const effort = stringOf(inner['reasoning_effort']) || stringOf(reasoning['effort'])
  const { max_tokens: given, exclude } = reasoning
  const isAsked = effort !== '' || isObject(inner['reasoning'])
  if (!isAsked) return undefined
  const generation = Number(/gemini-(\d(?:\.\d+)?)/.exec(model)?.[1] ?? 2.5)
  if (generation < 2.5) return { dropped: effort === '' ? ['reasoning'] : ['reasoning_effort'] }
  const shown = effort === 'none' || given === 0 || exclude === true ? {} : { includeThoughts: true }
  if (typeof given === 'number') return { config: { thinkingBudget: atLeast(model, given), ...shown } }
  if (effort === '') return 'includeThoughts' in shown ? { config: shown } : undefined
  if (generation >= 3) return { config: { thinkingLevel: levelOf(effort, model), ...shown } }
  const budget = budgets[effort]
  if (budget === undefined) throw cannot('reasoning_effort', `the effort "${effort.slice(0, 32)}"`)
  return { config: { thinkingBudget: atLeast(model, budget), ...shown } }
}

function atLeast(model: string, budget: number): number {
  return model.includes('2.5-pro') ? Math.max(leastProBudget, budget) : budget
}

/** Gemini 3 always thinks: none of it is as little as there is. The first Pro knows two levels only. */
function levelOf(effort: string, model: string): string {
  const isPro = model.includes('-pro')
  switch (effort) {
    case 'none':
    case 'minimal':
      return isPro ? 'low' : 'minimal'
    case 'low':
      return 'low'
    case 'medium':
      return model.includes('gemini-3-pro') ? 'high' : 'medium'
    case 'high':
    case 'xhigh':
    case 'max':
      return 'high'
    default:
      throw cannot('reasoning_effort', `the effort "${effort.slice(0, 32)}"`)
  }
}
