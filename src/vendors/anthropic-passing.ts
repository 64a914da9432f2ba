import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { isCarried } from '../core/carried-thought.ts'
import { removeMembers, replaceValue, setMember } from '../core/json-bytes.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { ownFields } from './own-fields.ts'

const encoder = new TextEncoder()

/** The caller's own bytes for this vendor: another model, no options of ours, and a stream where we want one. */
export function passedBody({ raw, body }: Call, target: Target, stream: boolean): Uint8Array {
  const named = setMember(removeMembers(raw, ownFields), 'model', json(target.model))
  const streamed = body['stream'] === undefined && !stream ? named : setMember(named, 'stream', json(stream))
  const messages = withoutForeign(body['messages'])
  return messages ? replaceValue(streamed, 'messages', json(messages)) : streamed
}

/** The same for counting, which knows no streams. */
export function countedBody({ raw, body }: Call, target: Target): Uint8Array {
  const named = setMember(removeMembers(raw, [...ownFields, 'stream']), 'model', json(target.model))
  const messages = withoutForeign(body['messages'])
  return messages ? replaceValue(named, 'messages', json(messages)) : named
}

function json(value: Json): Uint8Array {
  return encoder.encode(JSON.stringify(value))
}

/**
 * The messages without what another vendor has thought or cited in earlier turns, for which this one would refuse them
 * all. Undefined where there is nothing to take out, and the caller's bytes stay as they are.
 */
function withoutForeign(messages: Json | undefined): readonly JsonObject[] | undefined {
  const turns = objectsOf(messages)
  if (!turns.some(({ content }) => objectsOf(content).some(isForeign))) return undefined
  return turns.flatMap((turn) => {
    const { content } = turn
    if (!isList(content)) return [turn]
    const kept = objectsOf(content)
      .filter((block) => !isForeignThought(block))
      .map(withoutCitations)
    return kept.length === 0 ? [] : [{ ...turn, content: kept }]
  })
}

function isForeign(block: JsonObject): boolean {
  return isForeignThought(block) || objectsOf(block['citations']).some(isForeignCitation)
}

/** Thinking that this vendor has not signed. */
function isForeignThought({ type, signature, data }: JsonObject): boolean {
  if (type === 'redacted_thinking') return isCarried(stringOf(data))
  return type === 'thinking' && (stringOf(signature) === '' || isCarried(stringOf(signature)))
}

/** A source that the front has made of another vendor's: it has no index into a search of this one. */
function isForeignCitation(citation: JsonObject): boolean {
  return citation['type'] === 'web_search_result_location' && citation['encrypted_index'] === ''
}

function withoutCitations(block: JsonObject): JsonObject {
  const citations = objectsOf(block['citations'])
  if (!isObject(block) || !citations.some(isForeignCitation)) return block
  const { citations: _, ...rest } = block
  const own = citations.filter((citation) => !isForeignCitation(citation))
  return own.length === 0 ? rest : { ...rest, citations: own }
}
