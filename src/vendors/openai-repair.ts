import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf } from '../core/wire.ts'
import { plainMessage } from './openai-inner.ts'
import { createToolDeltas, type ToolDeltas } from './tool-deltas.ts'

/**
 * Repairs what SDKs of OpenAI's API cannot read: tool calls without indexes, with one index for all, or named again in
 * each piece; roles and finish reasons that are none; content that is a list in an answer.
 */
export interface Repairer {
  /** The chunk as it should be; undefined where it already is. */
  chunk(chunk: JsonObject): JsonObject | undefined
}

/** `n` is at most 128; the tool calls of choices beyond this pass as they are. */
const maxChoices = 128

/** A fresh one per stream. `idPrefix` begins the ids of tool calls to which the vendor gives none. */
export function createRepairer(idPrefix: string): Repairer {
  const tools = new Map<Json | undefined, ToolDeltas>()
  const repairTools = (index: Json | undefined, pieces: readonly JsonObject[]) => {
    const known = tools.get(index) ?? createToolDeltas(`${idPrefix}${tools.size === 0 ? '' : `${tools.size}_`}`)
    if (!tools.has(index) && tools.size >= maxChoices) return undefined
    tools.set(index, known)
    return known.repair(pieces)
  }
  return {
    chunk(chunk) {
      const choices = chunk['choices']
      if (!isList(choices) || choices.every(isPlain)) return undefined
      const repaired = choices.map((choice) => (isObject(choice) ? repairChoice(choice, repairTools) : choice))
      return repaired.some((choice, at) => choice !== choices[at]) ? { ...chunk, choices: repaired } : undefined
    },
  }
}

/** Most chunks are a few characters of text, and are looked at thousands of times a second. */
function isPlain(choice: Json): boolean {
  if (!isObject(choice)) return true
  const { delta, finish_reason: finish } = choice
  if (finish === '' || finish === 'null') return false
  if (!isObject(delta)) return true
  const { role, content, tool_calls: calls } = delta
  return (role === undefined || role === 'assistant') && !isList(content) && !(isList(calls) && calls.length > 0)
}

type RepairTools = (index: Json | undefined, pieces: readonly JsonObject[]) => readonly JsonObject[] | undefined

function repairChoice(choice: JsonObject, repairTools: RepairTools): JsonObject {
  const { delta, finish_reason: finish } = choice
  const repaired = isObject(delta) ? repairDelta(choice['index'], delta, repairTools) : delta
  const isNoReason = finish === '' || finish === 'null'
  if (repaired === delta && !isNoReason) return choice
  return { ...choice, ...(repaired !== undefined && { delta: repaired }), ...(isNoReason && { finish_reason: null }) }
}

function repairDelta(index: Json | undefined, delta: JsonObject, repairTools: RepairTools): JsonObject {
  const calls = repairTools(index, objectsOf(delta['tool_calls']))
  const hasRole = delta['role'] === undefined || delta['role'] === 'assistant'
  if (!calls && hasRole && !isList(delta['content'])) return delta
  const { role, ...rest } = isList(delta['content']) ? plainMessage(delta) : delta
  return { ...(hasRole && role !== undefined && { role }), ...rest, ...(calls && { tool_calls: calls }) }
}

/** A whole answer whose content is a list of parts becomes one of a text; undefined where there is none. */
export function repairBody(body: JsonObject): JsonObject | undefined {
  const choices = body['choices']
  if (!isList(choices)) return undefined
  const repaired = choices.map((choice) => {
    const message = isObject(choice) ? choice['message'] : undefined
    if (!isObject(choice) || !isObject(message)) return choice
    const calls = wholeCalls(message['tool_calls'])
    if (!isList(message['content']) && !calls) return choice
    const plain = isList(message['content']) ? plainMessage(message) : message
    return { ...choice, message: { ...plain, ...(calls && { tool_calls: calls }) } }
  })
  return repaired.some((choice, at) => choice !== choices[at]) ? { ...body, choices: repaired } : undefined
}

/** Calls of a whole answer say their type; SDKs tell functions from others by it. */
function wholeCalls(value: Json | undefined): readonly JsonObject[] | undefined {
  const calls = objectsOf(value)
  const isSound = calls.every(({ type, function: called }) => !isObject(called) || typeof type === 'string')
  return isSound ? undefined : calls.map((call) => ({ ...call, type: call['type'] ?? 'function' }))
}
