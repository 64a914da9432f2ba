import type { Json, JsonObject } from '../core/call.ts'
import { isCarriedSignature } from '../core/carried-thought.ts'
import { replaceValue } from '../core/json-bytes.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'

/*
 * A model of Google's signs what it has thought and called, and wants the signatures back; those of others it refuses:
 * https://ai.google.dev/gemini-api/docs/thought-signatures.
 */

const encoder = new TextEncoder()
/** Google takes the names of its fields in both spellings. */
const signatureNames = ['thoughtSignature', 'thought_signature'] as const
/** From the third generation on a turn that calls without a signature is refused. */
const wantsSigned = /gemini-(?:[3-9]|\d{2})/i
/** What Google documents for calls that its model has not made, in a conversation that comes from another one. */
const unsigned = 'skip_thought_signature_validator'

/** The turns of a conversation, in which the first call of each turn has a signature where this model insists on one. */
export function signedTurns(contents: readonly JsonObject[], model: string): readonly JsonObject[] {
  return wantsSigned.test(model) ? contents.map(signedTurn) : contents
}

function signedTurn(turn: JsonObject): JsonObject {
  const parts = objectsOf(turn['parts'])
  const first = parts.find(({ functionCall }) => functionCall !== undefined)
  if (!first || signatureNames.some((name) => stringOf(first[name]) !== '')) return turn
  return { ...turn, parts: parts.map((part) => (part === first ? { ...part, thoughtSignature: unsigned } : part)) }
}

/**
 * A caller's own bytes without what other vendors have thought in earlier turns, for whose signatures Google would
 * refuse all of it. The same bytes where there is nothing to take out.
 */
export function withoutForeign(bytes: Uint8Array, contents: Json | undefined, model: string): Uint8Array {
  if (!isList(contents) || !contents.some(hasForeign)) return bytes
  const own = contents.flatMap((turn): readonly Json[] =>
    hasForeign(turn) && isObject(turn) ? ownTurn(turn, model) : [turn],
  )
  return replaceValue(bytes, 'contents', encoder.encode(JSON.stringify(own)))
}

function hasForeign(turn: Json): boolean {
  return isObject(turn) && objectsOf(turn['parts']).some(isForeign)
}

function isForeign(part: JsonObject): boolean {
  return signatureNames.some((name) => isCarriedSignature(stringOf(part[name])))
}

function ownTurn(turn: JsonObject, model: string): readonly JsonObject[] {
  const parts = objectsOf(turn['parts']).flatMap(ownParts)
  return parts.length === 0 ? [] : signedTurns([{ ...turn, parts }], model)
}

/** What is left of a part without the thought: a call, or a text that says something. */
function ownParts(part: JsonObject): readonly JsonObject[] {
  if (!isForeign(part)) return [part]
  const { thoughtSignature: _, thought_signature: __, ...rest } = part
  if (rest['thought'] === true || Object.keys(rest).length === 0) return []
  return rest['text'] === '' && Object.keys(rest).length === 1 ? [] : [rest]
}
