import type { Beyond, Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { conversationOf } from './responses-items.ts'

export interface InnerRequest {
  readonly inner: JsonObject
  /** The first of what only a vendor of this dialect can serve. */
  readonly beyond: Beyond | undefined
}

/** Fields that are brought into other words; every other field is kept, and named where a vendor cannot take it. */
const translated: ReadonlySet<string> = new Set([
  'input',
  'instructions',
  'tools',
  'tool_choice',
  'text',
  'reasoning',
  'max_output_tokens',
  'include',
  'store',
  'truncation',
  'background',
  'stream_options',
  'top_logprobs',
  'service_tier',
  'previous_response_id',
  'conversation',
  'prompt',
])

/** What the vendor keeps for its caller. Another one knows nothing of it, and the answer would not be the one asked for. */
const keepings: Readonly<Record<string, string>> = {
  previous_response_id: 'no response of an earlier turn: send the earlier items in "input"',
  conversation: 'no conversation: send the earlier items in "input"',
  prompt: 'no prompt: send it in "input"',
}

/** A checked request as a body of OpenAI's chat completions. */
export function innerRequest(body: JsonObject): InnerRequest {
  const { messages, beyond, left } = conversationOf(body['input'])
  const { instructions, tools, tool_choice: choice, max_output_tokens: limit } = body
  const kept = Object.entries(body).filter(([name, value]) => !translated.has(name) && value !== null)
  const allowed = allowedTools(choice)
  const inner = {
    ...Object.fromEntries(kept),
    messages: [...(typeof instructions === 'string' ? [{ role: 'system', content: instructions }] : []), ...messages],
    ...toolsOf(tools, allowed?.names),
    ...choiceOf(choice, allowed),
    ...textOf(body['text']),
    ...reasoningOf(body['reasoning']),
    ...(typeof limit === 'number' && { max_completion_tokens: limit }),
    ...includedOf(body),
    ...othersOf(body),
    // Named among what is left out.
    ...Object.fromEntries(left.map((at) => [at, true])),
  }
  return { inner, beyond: keptBeyond(body) ?? beyond ?? toolBeyond(tools) ?? choiceBeyond(choice) }
}

function keptBeyond(body: JsonObject): Beyond | undefined {
  const param = Object.keys(keepings).find((name) => body[name] !== undefined && body[name] !== null)
  return param === undefined
    ? undefined
    : { param, message: `The vendor that serves this model keeps ${keepings[param]}.` }
}

function isOwnTool({ type }: JsonObject): boolean {
  return type === 'function' || type === 'custom'
}

function toolBeyond(tools: Json | undefined): Beyond | undefined {
  const all = objectsOf(tools)
  const index = all.findIndex((tool) => !isOwnTool(tool))
  if (index < 0) return undefined
  const type = stringOf(all[index]?.['type']).slice(0, 64)
  const message = `The vendor that serves this model has no tool of the type "${type}". Leave it out, or ask for another model.`
  return { param: `tools[${index}].type`, message }
}

const choiceTypes: ReadonlySet<Json | undefined> = new Set(['function', 'custom', 'allowed_tools'])

function choiceBeyond(choice: Json | undefined): Beyond | undefined {
  if (!isObject(choice) || choiceTypes.has(choice['type'])) return undefined
  return { param: 'tool_choice.type', message: 'The vendor that serves this model has no tool of this type to choose.' }
}

interface Allowed {
  readonly mode: string
  readonly names: ReadonlySet<string>
}

/** Of the tools that are listed only these may be called, which vendors understand who are given no others. */
function allowedTools(choice: Json | undefined): Allowed | undefined {
  if (!isObject(choice) || choice['type'] !== 'allowed_tools') return undefined
  const names = objectsOf(choice['tools']).map(({ name }) => stringOf(name))
  return { mode: choice['mode'] === 'required' ? 'required' : 'auto', names: new Set(names) }
}

function toolsOf(tools: Json | undefined, names: ReadonlySet<string> | undefined): JsonObject {
  const offered = objectsOf(tools)
    .filter(({ name }) => !names || names.has(stringOf(name)))
    .map(innerTool)
  return offered.length > 0 ? { tools: offered } : {}
}

/** Tools that the vendor runs itself keep their form: they are part of what is read. */
function innerTool(tool: JsonObject): JsonObject {
  const { type, name, description, parameters, strict, format, cache_control: mark } = tool
  const said = { name: stringOf(name), ...(typeof description === 'string' && { description }) }
  if (type === 'custom') return { type, custom: { ...said, ...(isObject(format) && { format: innerFormat(format) }) } }
  if (type !== 'function') return tool
  return {
    type,
    function: {
      ...said,
      parameters: isObject(parameters) ? parameters : { type: 'object', properties: {} },
      ...(typeof strict === 'boolean' && { strict }),
    },
    ...(isObject(mark) && { cache_control: mark }),
  }
}

/** A grammar stands one level deeper there. */
function innerFormat({ type, ...rest }: JsonObject): JsonObject {
  return type === 'grammar' ? { type, grammar: rest } : { type, ...rest }
}

function choiceOf(choice: Json | undefined, allowed: Allowed | undefined): JsonObject {
  if (allowed) return { tool_choice: allowed.mode }
  if (typeof choice === 'string') return { tool_choice: choice }
  if (!isObject(choice)) return {}
  const { type, name } = choice
  if (type === 'function') return { tool_choice: { type, function: { name: stringOf(name) } } }
  return type === 'custom' ? { tool_choice: { type, custom: { name: stringOf(name) } } } : {}
}

function textOf(text: Json | undefined): JsonObject {
  if (!isObject(text)) return {}
  const { format, verbosity } = text
  return { ...formatOf(format), ...(typeof verbosity === 'string' && { verbosity }) }
}

function formatOf(format: Json | undefined): JsonObject {
  if (!isObject(format) || format['type'] === 'text') return {}
  const { type, ...described } = format
  return { response_format: type === 'json_schema' ? { type, json_schema: described } : format }
}

function reasoningOf(reasoning: Json | undefined): JsonObject {
  const effort = isObject(reasoning) ? reasoning['effort'] : undefined
  return typeof effort === 'string' ? { reasoning_effort: effort } : {}
}

/** What comes with every answer of ours, asked for or not. */
const always: ReadonlySet<Json> = new Set(['reasoning.encrypted_content', 'message.output_text.logprobs'])

function includedOf({ include, top_logprobs: top }: JsonObject): JsonObject {
  const wanted = isList(include) ? include : []
  const others = wanted.filter((name) => !always.has(name))
  const probabilities = wanted.includes('message.output_text.logprobs')
  return {
    ...(others.length > 0 && { include: others }),
    ...(probabilities && { logprobs: true, ...(typeof top === 'number' && { top_logprobs: top }) }),
  }
}

/** Values that say what holds anyway are left out, so that no vendor has to say that it has not heard of them. */
function othersOf({ store, truncation, service_tier: tier }: JsonObject): JsonObject {
  return {
    ...(store === true && { store }),
    ...(typeof truncation === 'string' && truncation !== 'disabled' && { truncation }),
    ...(typeof tier === 'string' && tier !== 'auto' && { service_tier: tier }),
  }
}
