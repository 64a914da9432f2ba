import type { Json, JsonObject } from '../core/call.ts'
import { isObject, objectsOf, stringOf } from '../core/wire.ts'
import { innerMessages } from './messages-turns.ts'

/** Fields that are brought into other words; every other field is kept, and named where a vendor cannot take it. */
const translated: ReadonlySet<string> = new Set([
  'messages',
  'system',
  'tools',
  'tool_choice',
  'mcp_servers',
  'thinking',
  'output_config',
  'output_format',
  'stop_sequences',
  'metadata',
  'service_tier',
])

/** A checked request as a body of OpenAI's chat completions. */
export function innerRequest(body: JsonObject): JsonObject {
  const { tools, mcp_servers: servers, stop_sequences: stops, metadata } = body
  const functions = [...objectsOf(tools).map(innerTool), ...objectsOf(servers).map(innerServer)]
  const kept = Object.entries(body).filter(([name, value]) => !translated.has(name) && value !== null)
  const user = isObject(metadata) ? stringOf(metadata['user_id']) : ''
  return {
    ...Object.fromEntries(kept),
    messages: innerMessages(body),
    ...(functions.length > 0 && { tools: functions }),
    ...choiceOf(body['tool_choice']),
    ...thoughtOf(body),
    ...formatOf(body),
    ...(objectsOrTexts(stops) && { stop: stops ?? null }),
    ...(user !== '' && { user }),
    ...tierOf(body['service_tier']),
  }
}

function objectsOrTexts(list: Json | undefined): boolean {
  return Array.isArray(list) && list.length > 0
}

/** A tool of the caller's own is a function. Those that the vendor runs itself keep their type, which no other takes. */
function innerTool(tool: JsonObject): JsonObject {
  const { type, name, description, input_schema: schema, strict, cache_control: mark } = tool
  if (typeof type === 'string' && type !== 'custom') return tool
  return {
    type: 'function',
    function: {
      name: stringOf(name),
      ...(typeof description === 'string' && { description }),
      parameters: isObject(schema) ? schema : { type: 'object', properties: {} },
      ...(typeof strict === 'boolean' && { strict }),
    },
    ...(isObject(mark) && { cache_control: mark }),
  }
}

/** A server of tools that the vendor would call itself; what it answers with would be missing elsewhere. */
function innerServer({ name, url }: JsonObject): JsonObject {
  return { type: 'mcp', server_label: stringOf(name), server_url: stringOf(url) }
}

function choiceOf(choice: Json | undefined): JsonObject {
  if (!isObject(choice)) return {}
  const { type, name, disable_parallel_tool_use: isSingle } = choice
  const single = isSingle === true ? { parallel_tool_calls: false } : {}
  if (type === 'tool') return { tool_choice: { type: 'function', function: { name: stringOf(name) } }, ...single }
  if (type === 'any') return { tool_choice: 'required', ...single }
  return { tool_choice: type === 'none' ? 'none' : 'auto', ...single }
}

/** `max` is beyond the inner language's words. */
const efforts: Readonly<Record<string, string>> = {
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'xhigh',
}

function thoughtOf({ thinking, output_config: config }: JsonObject): JsonObject {
  const { type, budget_tokens: budget, display } = isObject(thinking) ? thinking : {}
  if (type === 'disabled') return { reasoning_effort: 'none' }
  const asked = isObject(config) ? stringOf(config['effort']) : ''
  const effort = Object.hasOwn(efforts, asked) ? efforts[asked] : undefined
  const reasoning = {
    ...(type === 'enabled' && typeof budget === 'number' && { max_tokens: budget }),
    ...(display === 'omitted' && { exclude: true }),
  }
  return {
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(Object.keys(reasoning).length > 0 && { reasoning }),
  }
}

/** Newer callers say it in `output_config`, older ones in a field of its own. */
function formatOf({ output_config: config, output_format: older }: JsonObject): JsonObject {
  const format = isObject(config) && isObject(config['format']) ? config['format'] : older
  if (!isObject(format) || format['type'] !== 'json_schema' || !isObject(format['schema'])) return {}
  const { schema } = format
  const strict = isStrict(schema, 0) ? { strict: true } : {}
  return { response_format: { type: 'json_schema', json_schema: { name: 'answer', ...strict, schema } } }
}

/** Deeper schemas are not taken for strict. */
const maxSchemaDepth = 32

/**
 * The inner language only promises to keep to a schema whose objects are closed and all of whose members are required;
 * it refuses to promise it of any other, which this dialect does.
 */
function isStrict(schema: Json | undefined, depth: number): boolean {
  if (depth > maxSchemaDepth) return false
  if (Array.isArray(schema)) return schema.every((item: Json) => isStrict(item, depth + 1))
  if (!isObject(schema)) return true
  const { type, properties, required, additionalProperties } = schema
  const names = isObject(properties) ? Object.keys(properties) : []
  const isClosed =
    additionalProperties === false && Array.isArray(required) && names.every((name) => required.includes(name))
  return (type !== 'object' || isClosed) && Object.values(schema).every((value) => isStrict(value, depth + 1))
}

function tierOf(tier: Json | undefined): JsonObject {
  if (typeof tier !== 'string') return {}
  return { service_tier: tier === 'standard_only' ? 'default' : tier }
}
