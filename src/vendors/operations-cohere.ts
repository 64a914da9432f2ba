import type { Call, Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { broken, errorInside, failureOf, type TroubleRule } from './failure.ts'
import { jsonPost } from './json-post.ts'
import { operationUsage } from './operation-usage.ts'
import { embeddingBody, wishIn } from './operations-google.ts'
import { ownFields } from './own-fields.ts'
import { cannot } from './parameters.ts'
import type { ReaderOptions, Vendor, VendorReply } from './vendor.ts'

/*
 * Cohere's own embeddings and reranking, version 2: https://docs.cohere.com/reference/embed and
 * https://docs.cohere.com/reference/rerank. Both tell what is billed in `meta.billed_units`.
 */

/** As many texts as one request takes. */
const maxTexts = 96
/** Models from version 3 on want to be told what the vectors are for. */
const defaultInputType = 'search_document'

/** Cohere with what it does beside conversations. */
export function withCohereOperations(vendor: Vendor, troubles: readonly TroubleRule[]): Vendor {
  const common = {
    id: vendor.id,
    speaks: [],
    reader: () => () => ({ error: broken('a stream where one body was asked for') }),
    failure: (head: Parameters<Vendor['failure']>[0], body: Uint8Array) => failureOf(head, body, troubles),
  }
  const embeddings: Vendor = {
    ...common,
    request(call, { model }, access) {
      const { body, dropped } = embedBody(call, model)
      return jsonPost({ url: `${access.baseUrl}/v2/embed`, access, stream: false, body, dropped })
    },
    reply: (body, options) => vectors(body, options, troubles),
  }
  const rerank: Vendor = {
    ...common,
    request(call, { model }, access) {
      const { body, dropped } = rerankBody(call, model)
      return jsonPost({ url: `${access.baseUrl}/v2/rerank`, access, stream: false, body, dropped })
    },
    reply: (body, options) => ranks(body, options, troubles),
  }
  return { ...vendor, operations: { embeddings, rerank } }
}

interface Asked {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

function embedBody({ inner }: Call, model: string): Asked {
  const { texts, dimensions, dropped } = wishIn(inner)
  if (texts.length > maxTexts) throw cannot('input', `more than ${maxTexts} texts at once`)
  const { input_type: type, truncate } = inner
  const body = {
    model,
    texts,
    input_type: stringOf(type) || defaultInputType,
    embedding_types: ['float'],
    ...(dimensions !== undefined && { output_dimension: dimensions }),
    ...(typeof truncate === 'string' && { truncate }),
  }
  return { body, dropped: dropped.filter((name) => name !== 'input_type' && name !== 'truncate') }
}

function vectors(body: JsonObject, { call }: ReaderOptions, troubles: readonly TroubleRule[]): VendorReply {
  const { embeddings } = body
  const list = isObject(embeddings) ? embeddings['float'] : embeddings
  if (!isList(list) || list.length === 0) return { text: '', error: errorOf(body, troubles) }
  const usage = operationUsage('embeddings', body)
  return { text: '', ...(usage && { usage }), inner: embeddingBody(call, list) }
}

function errorOf(body: JsonObject, troubles: readonly TroubleRule[]) {
  const said = typeof body['message'] === 'string'
  return said ? errorInside(body, troubles) : broken('a body that is no answer to this operation')
}

const sent = ['query', 'top_n', 'max_tokens_per_doc', 'priority'] as const
const answered: ReadonlySet<string> = new Set(['model', 'documents', 'return_documents', ...sent, ...ownFields])

/** The second version takes texts alone and never sends them back. */
function rerankBody({ inner }: Call, model: string): Asked {
  const documents = isList(inner['documents']) ? inner['documents'].map(textOf) : []
  const more = sent.flatMap((name) => (inner[name] === undefined || inner[name] === null ? [] : [[name, inner[name]]]))
  const dropped = Object.keys(inner).filter((name) => !answered.has(name))
  return { body: { model, documents, ...(Object.fromEntries(more) as JsonObject) }, dropped: dropped.slice(0, 64) }
}

function textOf(document: Json): string {
  if (typeof document === 'string') return document
  return isObject(document) && typeof document['text'] === 'string' ? document['text'] : JSON.stringify(document)
}

function ranks(body: JsonObject, { call }: ReaderOptions, troubles: readonly TroubleRule[]): VendorReply {
  if (!isList(body['results'])) return { text: '', error: errorOf(body, troubles) }
  const usage = operationUsage('rerank', body)
  const { return_documents: wanted, documents } = call.inner
  const results = objectsOf(body['results']).map((result): JsonObject => {
    const { index } = result
    const document = isList(documents) && typeof index === 'number' ? documents[index] : undefined
    return wanted === true && document !== undefined ? { ...result, document: { text: textOf(document) } } : result
  })
  return { text: '', ...(usage && { usage }), inner: { ...body, results, model: call.model } }
}
