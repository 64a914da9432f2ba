import type { JsonObject } from '../../src/core/call.ts'
import type { Entry, Expected, Metering } from './manifest.ts'
import { isObject, list, type Reading } from './reader.ts'

/** Recordings that are of no use here, each with its reason. */
export const unsupported: Readonly<Record<string, string>> = {
  'responses-sync-compaction-2bb197': 'an answer of another path, which compacts a conversation',
  'chat-sync-plain-57ffd3': 'the first version of an API, of which the second is spoken',
  'native-generation-sync-plain-c7df6b': 'two answers, which the adapter refuses to ask for',
  'chat-messages-stream-plain-c9d1b1': 'a workflow that waits for a person, which no caller can answer',
  'workflows-run-stream-plain-b0dc70': 'a workflow that waits for a person, which no caller can answer',
  'invoke-stream-plain-cd112e': 'the wire of a model that is asked by way of Converse',
  'invoke-stream-plain-f9be7c': 'the wire of a model that is asked by way of Converse',
  'invoke-sync-plain-3c38c2': 'the wire of a model that is asked by way of Converse',
  'invoke-sync-plain-40b539': 'the wire of a model that is asked by way of Converse',
  'invoke-sync-plain-63ac1f': 'the wire of a model that is asked by way of Converse',
}

/** Tools that run at their vendor: a caller has no use for their calls, which manifests have among his own. */
const ranThere = /^nova_(code_interpreter|grounding)$/
/** Cited text is left out in these. */
const withoutCitations: ReadonlySet<string> = new Set([
  'converse-sync-citationsContent-d8e708',
  'converse-sync-citationsContent-documentin-fb43c0',
  'converse-sync-citationsContent-toolcall-7d5f1d',
])

/** What a body itself says, where the manifest is silent. */
export interface Told extends Partial<Pick<Reading, 'choices'>> {
  readonly usage: JsonObject | undefined
}

/** What an app's answer tells of its models. */
export function appUsage(body: JsonObject): JsonObject | undefined {
  const { usage } = body
  const [model, ...more] = isObject(usage) ? list(usage['models']) : []
  return more.length === 0 ? model : undefined
}

/** The entry without facts that are read otherwise there. What the manifest does not read, the body decides. */
export function corrected(entry: Entry, reading: Told | undefined): Entry {
  const { expect, metering, kind } = entry
  if (kind === 'completions') return { ...entry, expect: { choices: reading?.choices } }
  const usage = reading?.usage ?? entry.usage
  const counted = metering ?? (meteredHere.has(kind) ? meteringOf(usage) : undefined)
  return { ...entry, expect: expect && factsOf(entry, expect), metering: counted }
}

function factsOf({ id }: Entry, { tool_calls: calls, ...facts }: Expected): Expected {
  const { text: _, text_chars: __, text_sha256: ___, ...others } = facts
  const own = calls?.filter(({ name }) => !ranThere.test(name))
  return { ...(withoutCitations.has(id) ? others : facts), ...(own && { tool_calls: own }) }
}

/** Kinds of which the manifest knows the usage at most. */
const meteredHere: ReadonlySet<string> = new Set(['invoke', 'chat-messages', 'completion-messages', 'native-app'])

function meteringOf(usage: Readonly<Record<string, unknown>> | JsonObject | undefined | null): Metering | undefined {
  const at = (name: string): number => {
    const value = usage?.[name]
    return typeof value === 'number' ? value : 0
  }
  const [read, written] = [at('cache_read_input_tokens'), at('cache_creation_input_tokens')]
  const input = at('input_tokens') + at('prompt_tokens') + read + written
  const output = at('output_tokens') + at('completion_tokens')
  if (input + output === 0) return undefined
  return { input, output, cache_read: read, cache_write: written, reasoning: 0 }
}
