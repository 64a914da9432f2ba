import type { Call, Json, JsonObject, Target } from '../core/call.ts'
import { isList, isObject, objectsOf } from '../core/wire.ts'
import type { Proof } from '../ports.ts'
import { broken } from './failure.ts'
import { geminiFailure } from './gemini-failure.ts'
import { jsonPost } from './json-post.ts'
import { ownFields } from './own-fields.ts'
import { cannot } from './parameters.ts'
import type { ReaderOptions, Vendor, VendorAccess, VendorReply } from './vendor.ts'

/*
 * Google's embeddings. The Gemini API takes any number of contents by `batchEmbedContents`
 * (https://ai.google.dev/api/embeddings), Vertex one by `embedContent` and several texts by `predict`
 * (https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api). Most answers tell no
 * usage.
 */

/** What of a Google address an embedding needs. */
export interface EmbeddingSite {
  readonly id: string
  path(model: string): string
  credential(apiKey: string): Readonly<Record<string, string>>
  proof?(apiKey: string): Proof | undefined
  baseUrl?(access: VendorAccess): string
  /** `batchEmbedContents`; else `embedContent` and `predict`. */
  readonly hasBatches: boolean
}

export function googleEmbeddings(site: EmbeddingSite): Vendor {
  return {
    id: site.id,
    // Whoever has no batches does not take all that is asked in Google's own words.
    speaks: site.hasBatches ? ['embed'] : [],
    request(call, target, access) {
      const { method, body, dropped } = site.hasBatches ? batched(site, call, target) : single(call)
      const url = `${site.baseUrl?.(access) ?? access.baseUrl}/${site.path(target.model)}:${method}`
      // It goes in a header of its own, and beside it no bearer token may.
      const headers = access.apiKey === '' ? {} : site.credential(access.apiKey)
      const proof = site.proof?.(access.apiKey)
      const post = jsonPost({ url, access: { ...access, apiKey: '' }, stream: false, body, dropped, headers })
      return proof ? { ...post, proof } : post
    },
    reader: () => () => ({ error: broken('a stream where one body was asked for') }),
    reply,
    failure: geminiFailure,
  }
}

interface Asked {
  readonly method: string
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

/** A caller of Google's words keeps them, each request under the name of the target. */
function batched(site: EmbeddingSite, { dialect, body, inner }: Call, { model }: Target): Asked {
  const name = site.path(model)
  if (dialect !== 'embed') {
    const { texts, dimensions, dropped } = wishIn(inner)
    const requests = texts.map((text) => ({ model: name, content: { parts: [{ text }] }, ...sized(dimensions) }))
    return { method: 'batchEmbedContents', body: { requests }, dropped }
  }
  const own = Object.fromEntries(Object.entries(body).filter(([field]) => !ownFields.includes(field)))
  if (!isList(body['requests'])) return { method: 'embedContent', body: { ...own, model: name }, dropped: [] }
  const requests = objectsOf(body['requests']).map((request) => ({ ...request, model: name }))
  return { method: 'batchEmbedContents', body: { ...own, requests }, dropped: [] }
}

function single({ inner }: Call): Asked {
  const { texts, dimensions, dropped } = wishIn(inner)
  const [text = ''] = texts
  if (texts.length === 1)
    return { method: 'embedContent', body: { content: { parts: [{ text }] }, ...sized(dimensions) }, dropped }
  const instances = texts.map((content) => ({ content }))
  return { method: 'predict', body: { instances, parameters: sized(dimensions) }, dropped }
}

function sized(dimensions: number | undefined): JsonObject {
  return dimensions === undefined ? {} : { outputDimensionality: dimensions }
}

const known: ReadonlySet<string> = new Set(['model', 'input', 'dimensions', 'encoding_format', 'user', ...ownFields])

interface Wish {
  readonly texts: readonly string[]
  readonly dimensions: number | undefined
  readonly dropped: readonly string[]
}

/** OpenAI's request; tokens are those of OpenAI's own tokenizers. */
export function wishIn(inner: JsonObject): Wish {
  const { input, dimensions } = inner
  const list = isList(input) ? input : [input]
  const texts = list.map((item) => {
    const text = isObject(item) ? item['text'] : item
    if (typeof text !== 'string') throw cannot('input', 'anything but texts in "input"')
    return text
  })
  const unknown = Object.keys(inner).filter((name) => !known.has(name))
  return { texts, dimensions: typeof dimensions === 'number' ? dimensions : undefined, dropped: unknown.slice(0, 64) }
}

function reply(body: JsonObject, { call, translates }: ReaderOptions): VendorReply {
  const vectors = vectorsIn(body)
  if (vectors.length === 0) return { text: '', error: broken('a body without a vector') }
  const tokens = tokensIn(body)
  const usage = tokens === undefined ? undefined : { counts: { input: tokens }, anomalies: [] }
  return { text: '', ...(usage && { usage }), ...(translates && { inner: embeddingBody(call, vectors) }) }
}

/** Vectors as OpenAI's body has them. */
export function embeddingBody({ model }: Call, vectors: readonly Json[]): JsonObject {
  const data = vectors.map((embedding, index) => ({ object: 'embedding', index, embedding }))
  return { object: 'list', data, model }
}

function vectorsIn({ embedding, embeddings, predictions }: JsonObject): readonly Json[] {
  const all = embedding === undefined ? objectsOf(embeddings) : [embedding].filter(isObject)
  const predicted = objectsOf(predictions).map((item) => item['embeddings'])
  return [...all, ...predicted.filter(isObject)].flatMap(({ values }) => (isList(values) ? [values] : []))
}

/** `predict` counts each text; newer models tell the prompt as for a conversation. */
function tokensIn({ predictions, usageMetadata: told }: JsonObject): number | undefined {
  const prompt = isObject(told) ? told['promptTokenCount'] : undefined
  const counted = objectsOf(predictions).map(({ embeddings }) => {
    const statistics = isObject(embeddings) && isObject(embeddings['statistics']) ? embeddings['statistics'] : {}
    return statistics['token_count']
  })
  const numbers = (counted.length > 0 ? counted : [prompt]).filter((item) => typeof item === 'number')
  const sum = numbers.reduce((total, item) => total + item, 0)
  return numbers.length > 0 && Number.isSafeInteger(sum) && sum >= 0 ? sum : undefined
}
