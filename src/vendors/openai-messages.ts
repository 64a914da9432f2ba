import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'

/** What a compatible vendor makes of the thoughts of earlier turns. */
export interface EarlierReasoning {
  /** Fields of reasoning in a message are an error to it. */
  readonly refusesReasoning?: true
  readonly takesBack?: readonly ('reasoning_content' | 'reasoning_details')[]
}

/** Families whose thoughts are signed or encrypted for themselves: no compatible vendor can read them. */
const nativeFormats: ReadonlySet<string> = new Set(['anthropic', 'gemini', 'openai-responses', 'cohere'])
const fields = ['reasoning_details', 'reasoning_content', 'reasoning'] as const

/**
 * The messages without the thoughts that this vendor cannot read; undefined where there are none, which is nearly
 * always so. A conversation that began with one vendor and goes on with another must not fail for what the first one
 * has thought.
 */
export function readableMessages(value: Json | undefined, earlier: EarlierReasoning): readonly Json[] | undefined {
  if (!isList(value)) return undefined
  const messages = value.map((message) => (isObject(message) ? readable(message, earlier) : message))
  return messages.some((message, at) => message !== value[at]) ? messages : undefined
}

function readable(message: JsonObject, { refusesReasoning, takesBack }: EarlierReasoning): JsonObject {
  if (!fields.some((name) => message[name] !== undefined)) return message
  if (refusesReasoning) return without(message, fields)
  const details = objectsOf(message['reasoning_details'])
  const kept = details.filter(({ format }) => !nativeFormats.has(stringOf(format)))
  if (kept.length === details.length) return message
  const foreign = details.filter((item) => !kept.includes(item))
  const isSealed = foreign.some(({ signature, data }) => stringOf(signature) !== '' || stringOf(data) !== '')
  const bare = without(message, isSealed ? fields : ['reasoning_details'])
  // What is not sealed was said by a vendor like this one, and has only passed through another dialect.
  const text = foreign.map((item) => stringOf(item['text'])).join('')
  const isMissing = !isSealed && text !== '' && bare['reasoning_content'] === undefined
  return {
    ...bare,
    ...(kept.length > 0 && { reasoning_details: kept }),
    ...(isMissing && takesBack?.includes('reasoning_content') && { reasoning_content: text }),
  }
}

function without(message: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(message).filter(([name]) => !names.includes(name)))
}
