import type { Call, Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { checkBounds } from '../core/json-bounds.ts'
import type { ServerEvent } from '../core/sse.ts'
import { isObject, objectsOf, parseJson, stringOf } from '../core/wire.ts'
import { bare } from './generate-answer.ts'
import type { Gatherer } from './front.ts'

/** 64 MiB: some twenty images in base64. A text answer of a million tokens has some 5 MB. */
const defaultMaxBytes = 64 * 1024 * 1024
const maxCandidates = 128
const maxParts = 100_000

interface Candidate {
  readonly fields: Map<string, Json>
  readonly parts: JsonObject[]
}

/**
 * Makes one GenerateContentResponse of a stream of them: texts go on, everything else in a part stays as it came, of
 * all other fields the last value stands. `call` gives the name of the model that was asked for.
 */
export function createGatherer({ model }: Call, maxBytes: number = defaultMaxBytes): Gatherer {
  const top = new Map<string, Json>()
  const candidates = new Map<number, Candidate>()
  let bytes = 0
  return {
    add({ data }) {
      const event = readEvent(data)
      if (!event) return
      bytes += data.length
      if (bytes > maxBytes) throw new GatewayError('vendor_error', 'The vendor sent more than one answer can hold.')
      for (const [name, value] of Object.entries(event)) {
        if (value === undefined || name === 'candidates' || name === 'error') continue
        if (name !== 'usageMetadata' || !isEmptier(top.get(name), value)) top.set(name, value)
      }
      for (const [position, candidate] of objectsOf(event['candidates']).entries()) {
        add(candidates, candidate, position)
      }
    },
    body(finish) {
      const ordered = [...candidates]
        .toSorted(([a], [b]) => a - b)
        .map(([index, said]) => candidateOf(index, said, finish))
      const nothing = finish === undefined || top.has('promptFeedback') ? [] : [bare(0, googleWord(finish))]
      const all = ordered.length > 0 ? ordered : nothing
      const named = top.has('modelVersion') ? { modelVersion: model } : {}
      return { ...(all.length > 0 && { candidates: all }), ...Object.fromEntries(top), ...named }
    },
  }
}

/** The object of an event; undefined for what is none. What nests too deep could not be written as JSON again. */
function readEvent(data: ServerEvent['data']): JsonObject | undefined {
  try {
    checkBounds(data)
  } catch (error) {
    throw new GatewayError('vendor_error', 'The vendor sent an event that is too complex.', { cause: error })
  }
  const event = parseJson(data)
  return isObject(event) ? event : undefined
}

/** Vertex repeats an object without numbers; one with a total is not given up for it. */
function isEmptier(old: Json | undefined, next: Json): boolean {
  return (
    isObject(old) && old['totalTokenCount'] !== undefined && isObject(next) && next['totalTokenCount'] === undefined
  )
}

function add(candidates: Map<number, Candidate>, event: JsonObject, position: number): void {
  const index = typeof event['index'] === 'number' ? event['index'] : position
  const known = candidates.get(index)
  if (!known && candidates.size >= maxCandidates)
    throw new GatewayError('vendor_error', `The vendor sent more than ${maxCandidates} candidates.`)
  const candidate = known ?? { fields: new Map(), parts: [] }
  candidates.set(index, candidate)
  for (const [name, value] of Object.entries(event)) {
    if (value !== undefined && name !== 'content' && name !== 'index') candidate.fields.set(name, value)
  }
  const { content } = event
  for (const part of isObject(content) ? objectsOf(content['parts']) : []) addPart(candidate.parts, part)
}

/** A text goes on in the part before, until that has its signature. An empty one that says nothing is left out. */
function addPart(parts: JsonObject[], part: JsonObject): void {
  const last = parts.at(-1)
  if (last && isText(last) && isText(part) && last['thought'] === part['thought'] && !('thoughtSignature' in last)) {
    parts[parts.length - 1] = { ...last, ...part, text: stringOf(last['text']) + stringOf(part['text']) }
    return
  }
  if (Object.keys(part).every((name) => name === 'text') && stringOf(part['text']) === '') return
  if (parts.length >= maxParts) throw new GatewayError('vendor_error', `The vendor sent more than ${maxParts} parts.`)
  parts.push(part)
}

function isText(part: JsonObject): boolean {
  return Object.keys(part).every((name) => name === 'text' || name === 'thought' || name === 'thoughtSignature')
}

function candidateOf(index: number, { fields, parts }: Candidate, finish: string | undefined): JsonObject {
  return {
    content: { parts, role: 'model' },
    ...(finish !== undefined && { finishReason: googleWord(finish) }),
    ...Object.fromEntries(fields),
    index,
  }
}

function googleWord(finish: string): string {
  return finish === 'length' ? 'MAX_TOKENS' : 'STOP'
}
