import type { Call, Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { Counts } from '../core/price.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isList, isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { geminiErrorInside } from './gemini-failure.ts'
import {
  annotationsOf,
  type CandidateSeen,
  deltaOf,
  isContent,
  logprobsOf,
  newCandidate,
  partsOf,
  partText,
} from './gemini-parts.ts'
import { geminiTier, geminiUsage, mergeMetadata } from './gemini-usage.ts'
import type { Piece, ReaderOptions, VendorReply, VendorUsage } from './vendor.ts'

/** Reads GenerateContentResponse, whole or in the events of a stream. */

/** `candidateCount` is at most 8; indexes beyond this are not told apart. */
const maxCandidates = 128
const maxModelLength = 256
const maxWordLength = 64
const colon = 0x3a

/** What a reader has seen of one stream. */
interface Seen {
  metadata: JsonObject | undefined
  readonly candidates: Map<number, CandidateSeen>
  /** Something else than thoughts has come. */
  hasOutput: boolean
  /** Queries to a search, which have a price of their own. */
  searches: number
  isBlocked: boolean
}

function newSeen(): Seen {
  return { metadata: undefined, candidates: new Map(), hasOutput: false, searches: 0, isBlocked: false }
}

/** A reader for one stream. It never throws: what it cannot read is an error of the vendor. */
export function geminiReader({ call, translates }: ReaderOptions): (event: ServerEvent) => Piece {
  const seen = newSeen()
  return ({ data }) => {
    // A relay before Vertex puts its keep-alive comment into a data line.
    if (data[0] === colon) return {}
    const body = parseJson(data)
    if (body === undefined) return { error: broken('bytes that are not JSON') }
    if (hasError(body)) return { error: geminiErrorInside(body), ...usageBeside(seen, body) }
    if (!isObject(body)) return { error: broken('JSON that is no part of an answer') }
    try {
      return readEvent(seen, body, translates ? call : undefined)
    } catch (error) {
      return { error: unreadable(error) }
    }
  }
}

/** Reads an unstreamed body; whatever is no answer is an error of the vendor, although its status was 200. */
export function geminiReply(body: Json, { call, translates }: ReaderOptions): VendorReply {
  if (hasError(body)) return { text: '', error: geminiErrorInside(body) }
  const isAnswer = isObject(body) && (objectsOf(body['candidates']).length > 0 || blockReason(body) !== undefined)
  if (!isAnswer) return { text: '', error: broken('a body that is no answer of a model') }
  const seen = newSeen()
  try {
    const piece = readEvent(seen, body, translates ? call : undefined)
    const { usage, text = '', finish, servedModel, serviceTier, error, chunks } = piece
    return {
      text,
      ...(usage && { usage }),
      ...(finish !== undefined && { finish }),
      ...(servedModel !== undefined && { servedModel }),
      ...(serviceTier !== undefined && { serviceTier }),
      ...(error && { error }),
      ...(chunks && !error && { inner: completionOf(call, chunks) }),
    }
  } catch (error) {
    return { text: '', error: unreadable(error) }
  }
}

function broken(what: string): GatewayError {
  return new GatewayError('vendor_error', `The vendor sent ${what}.`)
}

/** Arguments that are nested deeper than the stack cannot be written as JSON. */
function unreadable(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('vendor_error', 'The vendor sent an answer that cannot be read.', { cause: error })
}

/** Errors come as an object, on Vertex as a list of one. `"error": null` is none. */
function hasError(body: Json): boolean {
  const outer = isList(body) ? body[0] : body
  return isObject(outer) && Boolean(outer['error'])
}

function usageBeside(seen: Seen, body: Json): Pick<Piece, 'usage'> {
  const usage = isObject(body) ? readUsage(seen, body, false) : undefined
  return usage ? { usage } : {}
}

function readEvent(seen: Seen, body: JsonObject, call: Call | undefined): Piece {
  const candidates = objectsOf(body['candidates'])
  const blocked = blockReason(body)
  if (blocked !== undefined) seen.isBlocked = true
  const { text, hasContent } = generatedIn(seen, candidates)
  const finish = noteEnds(seen, candidates) ?? (blocked === undefined ? undefined : `BLOCK:${blocked}`)
  const isWhole = seen.isBlocked || isEnded(seen)
  const usage = readUsage(seen, body, isWhole)
  const isVisible = hasVisible(body)
  if (isVisible) seen.hasOutput = true
  // Whoever speaks Gemini's own words gets to see this end, and can read it.
  if (call && isFailed(seen, finish))
    return { error: broken(`"${finish}" instead of an answer`), ...(usage && { usage }) }
  return {
    ...(usage && { usage }),
    ...(text !== '' && { text }),
    ...((hasContent || finish !== undefined) && { content: true }),
    ...(finish !== undefined && { finish }),
    ...(isWhole && (finish !== undefined || usage !== undefined) && { whole: true }),
    ...served(body),
    ...(call && { chunks: chunksOf(call, seen, body) }),
  }
}

function served(body: JsonObject): Pick<Piece, 'servedModel' | 'serviceTier'> {
  const model = stringOf(body['modelVersion']).slice(0, maxModelLength)
  const serviceTier = geminiTier(body['usageMetadata'])
  return { ...(model !== '' && { servedModel: model }), ...(serviceTier !== undefined && { serviceTier }) }
}

/** Why a prompt was not answered at all; such an answer has no candidates. */
function blockReason({ promptFeedback: feedback }: JsonObject): string | undefined {
  if (!isObject(feedback)) return undefined
  return wordOf(feedback['blockReason']) || undefined
}

function wordOf(value: Json | undefined): string {
  return typeof value === 'number' ? (numbered[value] ?? 'OTHER') : stringOf(value).slice(0, maxWordLength)
}

/** Where enums are asked for as numbers; those that all versions of the API agree on. */
const numbered: Readonly<Record<number, string>> = { 0: '', 1: 'STOP', 2: 'MAX_TOKENS', 3: 'SAFETY', 4: 'RECITATION' }

function finishOf(candidate: JsonObject): string | undefined {
  const word = wordOf(candidate['finishReason'])
  return word === '' || word === 'FINISH_REASON_UNSPECIFIED' ? undefined : word
}

function seenOf({ candidates }: Seen, candidate: JsonObject, position: number): CandidateSeen {
  const index = indexOf(candidate, position)
  const known = candidates.get(index)
  if (known) return known
  if (candidates.size >= maxCandidates) throw broken(`more than ${maxCandidates} candidates`)
  const fresh = newCandidate()
  candidates.set(index, fresh)
  return fresh
}

/** An index of zero is left out, as every zero. */
function indexOf({ index }: JsonObject, position: number): number {
  return typeof index === 'number' ? index : position
}

interface Generated {
  readonly text: string
  readonly hasContent: boolean
}

function generatedIn(seen: Seen, candidates: readonly JsonObject[]): Generated {
  let text = ''
  let hasContent = false
  for (const [position, candidate] of candidates.entries()) {
    seenOf(seen, candidate, position)
    for (const part of partsOf(candidate)) {
      text += partText(part)
      hasContent ||= isContent(part)
    }
    noteSearches(seen, candidate)
  }
  return { text, hasContent }
}

/** Models before Gemini 3 are paid by the answer that a search has helped, later ones by the query. */
function noteSearches(seen: Seen, { groundingMetadata: grounding }: JsonObject): void {
  const queries = isObject(grounding) ? grounding['webSearchQueries'] : undefined
  if (!isList(queries)) return
  seen.searches = Math.max(seen.searches, new Set(queries.filter((query) => query !== '')).size)
}

function noteEnds(seen: Seen, candidates: readonly JsonObject[]): string | undefined {
  let finish: string | undefined
  for (const [position, candidate] of candidates.entries()) {
    const word = finishOf(candidate)
    if (word === undefined) continue
    seenOf(seen, candidate, position).ended = true
    finish ??= word
  }
  return finish
}

/** True once every candidate that has begun has ended. */
function isEnded({ candidates }: Seen): boolean {
  return candidates.size > 0 && [...candidates.values()].every(({ ended }) => ended)
}

function readUsage(seen: Seen, body: JsonObject, isEnd: boolean): VendorUsage | undefined {
  const { usageMetadata } = body
  if (!isObject(usageMetadata)) return undefined
  seen.metadata = mergeMetadata(seen.metadata, usageMetadata, isEnd)
  const usage = geminiUsage(seen.metadata, { isEnd, hasOutput: seen.hasOutput || hasVisible(body) })
  // Without a single number in it, all of them are zero.
  if (!usage && !seen.isBlocked) return undefined
  if (!usage || (seen.isBlocked && isNothing(usage)))
    return { counts: { input: 0, output: 0 }, anomalies: usage?.anomalies ?? [], isUnbilled: true }
  const searches = searchesOf(seen, body)
  return searches === 0 ? usage : { ...usage, counts: { ...usage.counts, search: searches } satisfies Counts }
}

function isNothing({ counts }: VendorUsage): boolean {
  return Object.values(counts).every((count) => count === 0)
}

function searchesOf({ searches }: Seen, { modelVersion }: JsonObject): number {
  return /gemini-[12]\b/.test(stringOf(modelVersion)) ? Math.min(1, searches) : searches
}

function hasVisible(body: JsonObject): boolean {
  return objectsOf(body['candidates']).some((candidate) =>
    partsOf(candidate).some((part) => part['thought'] !== true && isContent(part)),
  )
}

/** Ends without an answer that sampling again may well give. */
const failedFinishes: ReadonlySet<string> = new Set([
  'MALFORMED_FUNCTION_CALL',
  'UNEXPECTED_TOOL_CALL',
  'TOO_MANY_TOOL_CALLS',
  'MISSING_THOUGHT_SIGNATURE',
  'MALFORMED_RESPONSE',
  'OTHER',
])

function isFailed({ hasOutput }: Seen, finish: string | undefined): boolean {
  return finish !== undefined && failedFinishes.has(finish) && !hasOutput
}

/** Ends that are the model's own or its bound's; every other one but those that failed is a filter's. */
const plainFinishes: Readonly<Record<string, string>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  LANGUAGE: 'stop',
  NO_IMAGE: 'stop',
}

function innerFinish(word: string, hasCalls: boolean): string {
  const plain = plainFinishes[word] ?? (failedFinishes.has(word) ? 'stop' : 'content_filter')
  // Google says STOP for calls too.
  return plain === 'stop' && hasCalls ? 'tool_calls' : plain
}

function chunksOf(call: Call, seen: Seen, body: JsonObject): readonly JsonObject[] {
  const candidates = objectsOf(body['candidates'])
  const said: JsonObject[] = []
  const ended: JsonObject[] = []
  for (const [position, candidate] of candidates.entries()) {
    const state = seenOf(seen, candidate, position)
    const index = indexOf(candidate, position)
    const delta = deltaOf(call, state, candidate)
    const annotations = annotationsOf(candidate, state.text)
    const logprobs = logprobsOf(candidate)
    const more = annotations.length > 0 ? { ...delta, annotations } : delta
    if (Object.keys(more).length > 0 || logprobs)
      said.push({ index, delta: more, finish_reason: null, ...(logprobs && { logprobs }) })
    const word = finishOf(candidate)
    if (word !== undefined) ended.push(end(index, word, state.calls > 0))
  }
  const blocked = blockReason(body)
  if (blocked !== undefined && candidates.length === 0) {
    said.push({ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null })
    ended.push(end(0, blocked, false))
  }
  return [said, ended].filter((choices) => choices.length > 0).map((choices) => ({ ...top(call), choices }))
}

function end(index: number, word: string, hasCalls: boolean): JsonObject {
  return { index, delta: {}, finish_reason: innerFinish(word, hasCalls), native_finish_reason: word }
}

function top(call: Call): JsonObject {
  return {
    id: `chatcmpl-${call.id}`,
    object: 'chat.completion.chunk',
    created: Math.floor(call.startedAtMs / 1000),
    model: call.model,
  }
}

/** The chunks of a body that came at once: what is said of a candidate is its message, then comes its end. */
function completionOf(call: Call, chunks: readonly JsonObject[]): JsonObject {
  const choices = new Map<Json | undefined, JsonObject>()
  for (const { index, delta, ...fields } of chunks.flatMap((chunk) => objectsOf(chunk['choices']))) {
    const message = isObject(delta) ? delta : {}
    const known = choices.get(index)
    const whole = known?.['message'] ?? messageOf(message)
    choices.set(index, { ...known, index, message: whole, ...fields })
  }
  return { ...top(call), object: 'chat.completion', choices: [...choices.values()] }
}

function messageOf({ content, tool_calls: calls, ...rest }: JsonObject): JsonObject {
  const whole = objectsOf(calls).map(({ index: _, ...called }) => called)
  return { role: 'assistant', content: content ?? null, ...rest, ...(whole.length > 0 && { tool_calls: whole }) }
}
