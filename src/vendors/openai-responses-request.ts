import type { Call, Json, JsonObject } from '../core/call.ts'
import { isCarried } from '../core/carried-thought.ts'
import { removeMembers, replaceValue, setMember } from '../core/json-bytes.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { schemaOf, maxTokensOf } from './inner-prompt.ts'
import { effortOf } from './openai-inner.ts'
import { inputOf } from './openai-responses-input.ts'
import { ownFields } from './own-fields.ts'
import { cannot, checkParameters, type ParameterTable } from './parameters.ts'

const encoder = new TextEncoder()

/** What a translation into the Responses API makes of the parameters of the inner language. */
export const responsesParameters: ParameterTable = {
  max_tokens: 'translate',
  max_completion_tokens: 'translate',
  temperature: 'pass',
  top_p: 'pass',
  top_k: 'drop',
  stop: 'refuse',
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
  parallel_tool_calls: 'pass',
  response_format: 'translate',
  reasoning_effort: 'translate',
  reasoning: 'translate',
  service_tier: 'pass',
  prediction: 'drop',
  modalities: 'drop',
  audio: 'refuse',
  web_search_options: 'refuse',
  verbosity: 'translate',
  store: 'drop',
  metadata: 'pass',
  user: 'pass',
}

export interface PassedOptions {
  readonly model: string
  readonly stream: boolean
  /** Fields of ours that the vendor understands itself. */
  readonly keeps?: readonly string[] | undefined
  /** What the reasoning that it has encrypted itself looks like; absent: it takes whatever it is given. */
  readonly seal?: RegExp | undefined
}

/** The caller's own bytes for a vendor of this API: another model, no options of ours, and a stream where we want one. */
export function passedBody(
  { raw, body, withoutSealed }: Call,
  { model, stream, keeps = [], seal }: PassedOptions,
): Uint8Array {
  const gone = [...ownFields.filter((name) => !keeps.includes(name)), ...(stream ? [] : ['stream_options'])]
  const named = setMember(removeMembers(raw, gone), 'model', json(model))
  const streamed = body['stream'] === undefined && !stream ? named : setMember(named, 'stream', json(stream))
  const input = withoutForeign(body['input'], withoutSealed ? nobodys : seal)
  return input ? replaceValue(streamed, 'input', json(input)) : streamed
}

function json(value: Json): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

/** The input without what other vendors have thought in earlier turns, which this one would refuse; undefined where there is none. */
function withoutForeign(input: Json | undefined, seal: RegExp | undefined): readonly Json[] | undefined {
  if (!isList(input)) return undefined
  const kept = input.filter((item) => !isForeign(item, seal))
  return kept.length === input.length ? undefined : kept
}

/** What fits nothing: whatever is encrypted stays out. */
const nobodys = /(?!)/

/** What one vendor of this API has encrypted, another one refuses with the whole request. */
function isForeign(item: Json, seal: RegExp | undefined): boolean {
  if (!isObject(item) || item['type'] !== 'reasoning') return false
  const sealed = stringOf(item['encrypted_content'])
  return isCarried(sealed) || (sealed !== '' && seal?.test(sealed) === false)
}

export interface Translated {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

/** Families that think, and can be told how much; the others refuse to be. */
const thinks = /^(o\d|gpt-5(?![\w.]*-chat)|gpt-oss|codex|computer-use)/

/** A request of the inner language for this API, which keeps nothing of it. Throws `invalid_value` for what it cannot do. */
export function responsesBody({ inner, withoutSealed }: Call, { model, stream }: PassedOptions): Translated {
  const dropped = new Set(checkParameters(inner, responsesParameters))
  const messages = objectsOf(inner['messages'])
  const isThinking = thinks.test(model.replace(/^.*\//, ''))
  for (const name of ['reasoning_effort', 'reasoning'])
    if (!isThinking && inner[name] !== undefined && inner[name] !== null) dropped.add(name)
  const passed = Object.entries(responsesParameters).filter(([name, use]) => use === 'pass' && isSaid(inner[name]))
  const limit = maxTokensOf(inner)
  const body = {
    model,
    input: inputOf(withoutSealed ? messages.map(withoutThoughts) : messages),
    ...Object.fromEntries(passed.map(([name]) => [name, inner[name] ?? null])),
    ...(limit !== undefined && { max_output_tokens: Math.max(limit, leastOutput) }),
    ...toolsOf(inner),
    ...textOf(inner),
    ...(isThinking && { ...reasoningOf(inner), include: ['reasoning.encrypted_content'] }),
    store: false,
    stream,
  }
  return { body, dropped: [...dropped] }
}

function withoutThoughts({ reasoning_details: _, ...message }: JsonObject): JsonObject {
  return message
}

/** It refuses a smaller bound. */
const leastOutput = 16

function isSaid(value: Json | undefined): boolean {
  return value !== undefined && value !== null
}

function toolsOf(inner: JsonObject): JsonObject {
  const tools = objectsOf(inner['tools']).map(toolOf)
  if (tools.length === 0) return {}
  const choice = choiceOf(inner['tool_choice'])
  return { tools, ...(choice !== undefined && { tool_choice: choice }) }
}

function toolOf(tool: JsonObject, index: number): JsonObject {
  const { type, function: named, custom } = tool
  if (type === 'function' && isObject(named)) {
    const { name, description, parameters, strict } = named
    return {
      type,
      name: stringOf(name),
      ...(typeof description === 'string' && { description }),
      parameters: isObject(parameters) ? parameters : { type: 'object', properties: {} },
      // Strict is what this API takes where nothing is said; chat completions do not.
      strict: strict === true,
    }
  }
  if (type === 'custom' && isObject(custom)) return { type, ...custom, ...formatOf(custom['format']) }
  throw cannot(`tools[${index}].type`, 'tools of this type')
}

/** A grammar stands one level higher here. */
function formatOf(format: Json | undefined): JsonObject {
  if (!isObject(format)) return {}
  const { grammar, ...rest } = format
  return { format: isObject(grammar) ? { ...rest, ...grammar } : format }
}

function choiceOf(choice: Json | undefined): Json | undefined {
  if (!isObject(choice)) return isSaid(choice) ? choice : undefined
  const { type, function: named, custom } = choice
  const chosen = isObject(named) ? named : custom
  return isObject(chosen) ? { type: stringOf(type), name: stringOf(chosen['name']) } : undefined
}

function textOf(inner: JsonObject): JsonObject {
  const { response_format: asked, verbosity } = inner
  const described = isObject(asked) && isObject(asked['json_schema']) ? asked['json_schema'] : {}
  const schema = schemaOf(inner)
  const format =
    schema === undefined
      ? undefined
      : Object.keys(schema).length === 0
        ? { type: 'json_object' }
        : { name: 'answer', ...described, type: 'json_schema', schema }
  if (!format && typeof verbosity !== 'string') return {}
  return { text: { ...(format && { format }), ...(typeof verbosity === 'string' && { verbosity }) } }
}

/** Thoughts are only shown where a summary of them is asked for. */
function reasoningOf({ reasoning_effort: effort, reasoning }: JsonObject): JsonObject {
  const more = isObject(reasoning) ? reasoning : {}
  const wanted = stringOf(effort) || stringOf(more['effort'])
  const maxTokens = more['max_tokens']
  if (wanted === '' && typeof maxTokens !== 'number') return {}
  const wish = { ...(wanted !== '' && { effort: wanted }), ...(typeof maxTokens === 'number' && { maxTokens }) }
  return { reasoning: { effort: effortOf(wish), ...(more['exclude'] !== true && { summary: 'auto' }) } }
}
