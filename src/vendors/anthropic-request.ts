import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { answerTool } from './anthropic-blocks.ts'
import { type Abilities, abilitiesOf } from './anthropic-models.ts'
import { type Thinking, thinkingOf } from './anthropic-thinking.ts'
import { conversationOf } from './anthropic-turns.ts'
import { functionsIn, maxTokensOf, schemaOf, stopsOf, toolWish } from './inner-prompt.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'

/** What becomes of each parameter of the inner language on its way to this vendor. */
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
  parallel_tool_calls: 'translate',
  functions: 'refuse',
  function_call: 'refuse',
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
  user: 'translate',
}

/**
 * The bound for a caller who sets none; the vendor demands one. It is below what the newest models take, because for
 * older ones prompt and bound together have to fit in the window.
 */
const usualMaxTokens = 32_000
/** A user's id for the vendor, who takes no longer one. */
const maxUserLength = 256

/** A body for this vendor, and what of the caller's parameters is not in it. */
export interface Translated {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

interface Facts {
  readonly model: Abilities
  readonly maxTokens: number
  readonly thinking: Thinking
  readonly schema: JsonObject | undefined
  /** The schema is asked for by way of a tool. */
  readonly viaTool: boolean
}

/** Brings a request in the inner language into this vendor's words. Throws `invalid_value` for what it cannot do. */
export function translate({ inner }: Call, target: Target, stream: boolean): Translated {
  const dropped = [...checkParameters(inner, parameters)]
  checkModalities(inner['modalities'])
  const facts = factsOf(inner, abilitiesOf(target.model))
  const { model, maxTokens, thinking } = facts
  const { system, messages } = conversationOf(inner, model.thinking !== 'none')
  if (messages.length === 0) throw cannot('messages', 'a conversation in which nobody says anything')
  if (thinking.isDropped) dropped.push(isObject(inner['reasoning']) ? 'reasoning' : 'reasoning_effort')
  const body: JsonObject = {
    model: target.model,
    max_tokens: maxTokens,
    ...(system.length > 0 && { system }),
    messages,
    ...toolsOf(inner, facts, dropped),
    ...(thinking.thinking && { thinking: thinking.thinking }),
    ...outputConfig(facts),
    ...samplingOf(inner, facts, dropped),
    ...othersOf(inner, dropped),
    stream,
  }
  return { body, dropped }
}

function checkModalities(modalities: Json | undefined): void {
  if (isList(modalities) && modalities.some((kind) => kind !== 'text')) throw cannot('modalities', 'anything but text')
}

function factsOf(inner: JsonObject, model: Abilities): Facts {
  const schema = schemaOf(inner)
  // A form of the answer without a schema is only to be had through a tool.
  const viaTool = schema !== undefined && (!model.structured || Object.keys(schema).length === 0)
  const wish = toolWish(inner)
  const isForced = viaTool || wish?.kind === 'required' || wish?.kind === 'named'
  if (isForced && !model.forcesTools) {
    const param = viaTool ? 'response_format' : 'tool_choice'
    throw cannot(param, viaTool ? 'an answer in JSON without a schema' : 'a tool that must be called')
  }
  const maxTokens = maxTokensOf(inner) ?? Math.min(model.maxOutput, usualMaxTokens)
  return { model, maxTokens, schema, viaTool, thinking: thinkingOf(inner, { model, maxTokens, isForced }) }
}

/** The tools, and which of them may or must be called. */
function toolsOf(inner: JsonObject, { schema, viaTool }: Facts, dropped: string[]): JsonObject {
  const outer = objectsOf(inner['tools'])
  const functions = functionsIn(inner)
  if (functions.some(({ strict }) => strict === true)) dropped.push('tools.strict')
  const tools = functions.map((named, index) => toolOf(named, outer[index] ?? {}))
  const answer = { name: answerTool, description: 'Gives the answer. Call it once, at the end.' }
  const all = viaTool ? [...tools, { ...answer, input_schema: objectSchema(schema) }] : tools
  if (all.length === 0) return {}
  const choice = viaTool ? { type: tools.length > 0 ? 'any' : 'tool' } : choiceOf(inner)
  const named = choice?.type === 'tool' && viaTool ? { name: answerTool } : {}
  const isSingle = inner['parallel_tool_calls'] === false && choice?.type !== 'none'
  if (!choice && !isSingle) return { tools: all }
  const single = isSingle ? { disable_parallel_tool_use: true } : {}
  return { tools: all, tool_choice: { type: 'auto', ...choice, ...named, ...single } }
}

function toolOf(named: JsonObject, { cache_control: mark }: JsonObject): JsonObject {
  const { name, description, parameters: schema } = named
  return {
    name: stringOf(name),
    ...(typeof description === 'string' && description !== '' && { description }),
    input_schema: objectSchema(schema),
    ...(isObject(mark) && { cache_control: mark }),
  }
}

/** The vendor demands that a tool's schema says that it is one of an object. */
function objectSchema(schema: Json | undefined): JsonObject {
  return isObject(schema) ? { type: 'object', ...schema } : { type: 'object', properties: {} }
}

function choiceOf(inner: JsonObject): { readonly type: string; readonly name?: string } | undefined {
  const wish = toolWish(inner)
  if (!wish && isObject(inner['tool_choice'])) throw cannot('tool_choice', 'this form of "tool_choice"')
  if (wish?.kind === 'named') return { type: 'tool', name: wish.name }
  return wish && { type: wish.kind === 'required' ? 'any' : wish.kind }
}

function outputConfig({ schema, viaTool, thinking: { effort } }: Facts): JsonObject {
  const isNative = schema !== undefined && !viaTool
  if (effort === undefined && !isNative) return {}
  return {
    output_config: {
      ...(effort !== undefined && { effort }),
      ...(isNative && { format: { type: 'json_schema', schema: closedSchema(schema, 0) } }),
    },
  }
}

/** What is nested deeper is sent as it is. */
const maxSchemaDepth = 64

/** The vendor demands that every object in a schema says that it is closed; callers who ask for less mean the same. */
function closedSchema(schema: JsonObject, depth: number): JsonObject {
  if (depth > maxSchemaDepth) return schema
  const closed = Object.fromEntries(
    Object.entries(schema).map(([name, value]) => [name, closedValue(value ?? null, depth + 1)]),
  )
  const isOpen = schema['type'] === 'object' && schema['additionalProperties'] === undefined
  return isOpen ? { ...closed, additionalProperties: false } : closed
}

function closedValue(value: Json, depth: number): Json {
  if (isObject(value)) return closedSchema(value, depth)
  return isList(value) ? value.map((item) => (isObject(item) ? closedSchema(item, depth) : item)) : value
}

/** Thinking goes without these, so do the newest models, and of the first two there can only be one. */
function samplingOf(inner: JsonObject, { model, thinking }: Facts, dropped: string[]): JsonObject {
  const given = ['temperature', 'top_p', 'top_k'].filter((name) => typeof inner[name] === 'number')
  const isFree = model.samples && !thinking.isOn
  const kept = given.filter((name) => isFree && !(name === 'top_p' && given.includes('temperature')))
  dropped.push(...given.filter((name) => !kept.includes(name)))
  return Object.fromEntries(kept.map((name) => [name, name === 'temperature' ? clamp(inner[name]) : inner[name]]))
}

/** The inner language goes up to 2, the vendor up to 1. */
function clamp(temperature: Json | undefined): Json {
  return typeof temperature === 'number' ? Math.min(temperature, 1) : null
}

function othersOf(inner: JsonObject, dropped: string[]): JsonObject {
  const stops = stopsOf(inner) ?? []
  if (stops.some((stop) => stop.trim() === '')) throw cannot('stop', 'a stop sequence of nothing but white space')
  const user = stringOf(inner['user'])
  if (user.length > maxUserLength) dropped.push('user')
  const tier = tierOf(inner['service_tier'])
  if (tier === undefined && typeof inner['service_tier'] === 'string') dropped.push('service_tier')
  return {
    ...(stops.length > 0 && { stop_sequences: stops }),
    ...(user !== '' && user.length <= maxUserLength && { metadata: { user_id: user } }),
    ...(tier !== undefined && { service_tier: tier }),
  }
}

function tierOf(tier: Json | undefined): string | undefined {
  if (tier === 'default' || tier === 'standard_only') return 'standard_only'
  return tier === 'auto' ? 'auto' : undefined
}
