import type { Call, Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'

/*
 * Parts of Gemini's answers in the inner language. What the model has thought, and the signatures without which it
 * refuses its own words in the next turn, travel as `reasoning_details` of this format.
 */

export const geminiFormat = 'gemini'
/** Ids of calls that the model gave none; they mean nothing to it and are not sent back. */
export const ownIdPrefix = 'call_gm_'

/** What is remembered of one candidate over its stream. */
export interface CandidateSeen {
  role: boolean
  ended: boolean
  calls: number
  /** Index of the last item of reasoning, and whether text of a thought may still go on in it. */
  details: number
  isThinking: boolean
  images: number
  /** Visible text so far, for citations: they name it by its bytes. */
  text: string
}

export function newCandidate(): CandidateSeen {
  return { role: false, ended: false, calls: 0, details: -1, isThinking: false, images: 0, text: '' }
}

/** The parts of a candidate. */
export function partsOf(candidate: JsonObject): readonly JsonObject[] {
  const { content } = candidate
  return isObject(content) ? objectsOf(content['parts']) : []
}

/** Everything generated in a part, as text, for counting: thoughts, names and arguments of calls, and code too. */
export function partText(part: JsonObject): string {
  const { functionCall: called, executableCode: code } = part
  return (
    stringOf(part['text']) +
    (isObject(called) ? stringOf(called['name']) + argumentsOf(called) : '') +
    (isObject(code) ? stringOf(code['code']) : '')
  )
}

/** True for a part that brings something to the caller; an empty text with or without a signature does not. */
export function isContent(part: JsonObject): boolean {
  return Object.keys(part).some((name) => (name === 'text' ? part[name] !== '' : !marks.has(name)))
}
const marks: ReadonlySet<string> = new Set(['thought', 'thoughtSignature', 'partMetadata'])

function argumentsOf({ args }: JsonObject): string {
  return JSON.stringify(isObject(args) ? args : {})
}

/** A delta as it is made of one event's parts. */
interface Delta {
  content: string
  reasoning: string
  readonly details: JsonObject[]
  readonly calls: JsonObject[]
  readonly images: JsonObject[]
}

/** The delta of one candidate's event; {} where it says nothing. Changes `seen`. */
export function deltaOf(call: Call, seen: CandidateSeen, candidate: JsonObject): JsonObject {
  const delta: Delta = { content: '', reasoning: '', details: [], calls: [], images: [] }
  for (const part of partsOf(candidate)) addPart(delta, { call, seen, candidate }, part)
  seen.text += delta.content
  const said = {
    ...(delta.reasoning !== '' && { reasoning_content: delta.reasoning }),
    ...(delta.details.length > 0 && { reasoning_details: delta.details }),
    ...(delta.content !== '' && { content: delta.content }),
    ...(delta.calls.length > 0 && { tool_calls: delta.calls }),
    ...(delta.images.length > 0 && { images: delta.images }),
  }
  if (Object.keys(said).length === 0) return said
  const isFirst = !seen.role
  seen.role = true
  return { ...(isFirst && { role: 'assistant' }), ...said }
}

interface Context {
  readonly call: Call
  readonly seen: CandidateSeen
  readonly candidate: JsonObject
}

function addPart(delta: Delta, context: Context, part: JsonObject): void {
  const { seen } = context
  const { functionCall: called, inlineData: media } = part
  const text = stringOf(part['text'])
  const signature = stringOf(part['thoughtSignature'])
  if (part['thought'] === true) return addThought(delta, seen, { text, signature })
  delta.content += text
  const id = isObject(called) ? addCall(delta, context, called) : undefined
  if (isObject(media)) addImage(delta, seen, media)
  if (signature !== '') addSignature(delta, seen, { signature, id })
  if (text !== '' || called !== undefined) seen.isThinking = false
}

function addThought(delta: Delta, seen: CandidateSeen, { text, signature }: { text: string; signature: string }): void {
  if (!seen.isThinking) seen.details++
  seen.isThinking = signature === ''
  delta.reasoning += text
  const signed = signature === '' ? {} : { signature }
  delta.details.push({ type: 'reasoning.text', text, ...signed, format: geminiFormat, index: seen.details })
}

/** The signature of a call names it; one of a text has no id. */
function addSignature(
  delta: Delta,
  seen: CandidateSeen,
  { signature, id }: { signature: string; id: string | undefined },
): void {
  seen.details++
  seen.isThinking = false
  const named = id === undefined ? {} : { id }
  delta.details.push({
    type: 'reasoning.encrypted',
    data: signature,
    ...named,
    format: geminiFormat,
    index: seen.details,
  })
}

/** Returns the id of the call: the model's, or one of ours that no other call of the conversation has. */
function addCall(delta: Delta, { call, seen, candidate }: Context, called: JsonObject): string {
  const index = seen.calls++
  const place = typeof candidate['index'] === 'number' ? candidate['index'] : 0
  const id = stringOf(called['id']) || `${ownIdPrefix}${call.id.replaceAll('-', '')}_${place}_${index}`
  const named = { name: stringOf(called['name']), arguments: argumentsOf(called) }
  delta.calls.push({ index, id, type: 'function', function: named })
  return id
}

function addImage(delta: Delta, seen: CandidateSeen, { mimeType, data }: JsonObject): void {
  const url = `data:${stringOf(mimeType) || 'image/png'};base64,${stringOf(data)}`
  delta.images.push({ index: seen.images++, type: 'image_url', image_url: { url } })
}

/** Log probabilities in OpenAI's form; undefined where the candidate has none. */
export function logprobsOf({ logprobsResult: result }: JsonObject): JsonObject | undefined {
  if (!isObject(result)) return undefined
  const tops = objectsOf(result['topCandidates'])
  const content = objectsOf(result['chosenCandidates']).map((chosen, at) => ({
    ...tokenOf(chosen),
    top_logprobs: objectsOf(tops[at]?.['candidates']).map(tokenOf),
  }))
  return content.length === 0 ? undefined : { content }
}

function tokenOf({ token, logProbability }: JsonObject): JsonObject {
  return { token: stringOf(token), logprob: typeof logProbability === 'number' ? logProbability : 0, bytes: null }
}

/** More would be no list that anybody reads. */
const maxCitations = 1024

/** Where the answer has its facts from: what a search has found, and what was recited. */
export function annotationsOf(candidate: JsonObject, text: string): readonly JsonObject[] {
  const { groundingMetadata: grounding, citationMetadata: citation } = candidate
  if (!isObject(grounding) && !isObject(citation)) return []
  const place = placer(text)
  return [
    ...(isObject(grounding) ? groundings(grounding, place) : []),
    ...(isObject(citation) ? citations(citation, place) : []),
  ].slice(0, maxCitations)
}

type Placer = (range: JsonObject) => { readonly start_index: number; readonly end_index: number }

/** Google counts bytes of UTF-8, OpenAI characters. */
function placer(text: string): Placer {
  const bytes = new TextEncoder().encode(text)
  const decoder = new TextDecoder()
  const isAscii = bytes.length === text.length
  const characters = (offset: Json | undefined): number => {
    const at = typeof offset === 'number' ? Math.min(Math.max(0, Math.floor(offset)), bytes.length) : 0
    return isAscii ? at : decoder.decode(bytes.subarray(0, at)).length
  }
  return ({ startIndex, endIndex }) => ({ start_index: characters(startIndex), end_index: characters(endIndex) })
}

function groundings(grounding: JsonObject, place: Placer): readonly JsonObject[] {
  const sources = objectsOf(grounding['groundingChunks']).map(({ web, retrievedContext, maps }) =>
    [web, retrievedContext, maps].find(isObject),
  )
  return objectsOf(grounding['groundingSupports'])
    .slice(0, maxCitations)
    .flatMap(({ segment, groundingChunkIndices: indices }) => {
      if (!isObject(segment) || !isList(indices)) return []
      const range = place(segment)
      const found = indices.map((index) => (typeof index === 'number' ? sources[index] : undefined))
      return found.filter((source) => source !== undefined).map((source) => annotation(source, range))
    })
}

function citations(citation: JsonObject, place: Placer): readonly JsonObject[] {
  const sources = [...objectsOf(citation['citationSources']), ...objectsOf(citation['citations'])]
  return sources
    .slice(0, maxCitations)
    .filter(({ uri }) => stringOf(uri) !== '')
    .map((source) => annotation(source, place(source)))
}

function annotation({ uri, title }: JsonObject, range: ReturnType<Placer>): JsonObject {
  const url = stringOf(uri)
  return { type: 'url_citation', url_citation: { url, title: stringOf(title) || url, ...range } }
}
