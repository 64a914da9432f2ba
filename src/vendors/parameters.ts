import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'

/**
 * What an adapter makes of a parameter of the inner language: sends it as it is, sends it in the vendor's own words,
 * leaves it out and says so, or refuses the request, because without it the answer would not be the one asked for.
 */
export type ParameterUse = 'pass' | 'translate' | 'drop' | 'refuse'
export type ParameterTable = Readonly<Record<string, ParameterUse>>

/** Every parameter of the inner language that the tables speak of, in the order of the page of vendors. */
export const innerParameters = [
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'stop',
  'n',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'logit_bias',
  'logprobs',
  'top_logprobs',
  'tools',
  'tool_choice',
  'functions',
  'function_call',
  'parallel_tool_calls',
  'response_format',
  'reasoning_effort',
  'reasoning',
  'service_tier',
  'prediction',
  'modalities',
  'audio',
  'web_search_options',
  'verbosity',
  'store',
  'metadata',
  'user',
] as const

/** Said with other fields, by the gateway itself, or to it alone: no table has to speak of them. */
const silent: ReadonlySet<string> = new Set([
  'model',
  'messages',
  'stream',
  'stream_options',
  'models',
  'provider',
  'routing',
  'session_id',
  'cache',
  'tags',
  'sandbox',
])

/** Values that ask for nothing: leaving them out changes no answer. */
const idle: Readonly<Record<string, Json>> = {
  n: 1,
  logprobs: false,
  top_logprobs: 0,
  frequency_penalty: 0,
  presence_penalty: 0,
  parallel_tool_calls: true,
  store: false,
}

const maxNameLength = 64
const maxDropped = 64

/**
 * Checks a request of the inner language against an adapter's table. Gives the names that are left out, unknown ones
 * among them. Throws `invalid_value` that names the first parameter that the vendor cannot serve.
 */
export function checkParameters(inner: JsonObject, table: ParameterTable): readonly string[] {
  const dropped: string[] = []
  for (const [name, value] of Object.entries(inner)) {
    if (value === undefined || value === null || silent.has(name)) continue
    if (Object.hasOwn(idle, name) && idle[name] === value) continue
    const use = Object.hasOwn(table, name) ? table[name] : 'drop'
    if (use === 'refuse') throw cannot(name, `"${name}"`)
    if (use === 'drop' && dropped.length < maxDropped) dropped.push(name.slice(0, maxNameLength))
  }
  return dropped
}

/** The refusal of something that the vendor behind a model has no words for. */
export function cannot(param: string, what: string): GatewayError {
  return new GatewayError(
    'invalid_value',
    `The vendor that serves this model does not take ${what}. Leave it out, or ask for another model.`,
    { param },
  )
}
