import type { Call, Json, JsonObject } from '../core/call.ts'
import { floatsOf } from '../core/vectors.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { pictureTokens, promptOf } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { generate } from './generate.ts'
import { modelIn } from './generate-request.ts'
import { callOf, operationFront } from './operation.ts'

const maxInputs = 2_048
const batch = ':batchEmbedContents'
const own = { dialect: 'embed', operation: 'embeddings' } as const

/** Google's embeddings: https://ai.google.dev/api/embeddings. One content, or a list of requests with one each. */
export const generateEmbed: Front = {
  ...operationFront({
    ...own,
    paths: [
      '/v1beta/models/:call{.+:embedContent}',
      '/v1beta/models/:call{.+:batchEmbedContents}',
      '/v1/models/:call{.+:embedContent}',
      '/v1/models/:call{.+:batchEmbedContents}',
    ],
    read,
    reply,
  }),
  keyInQuery: 'key',
  failure: generate.failure,
}

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const { raw, body } = readBody(bytes)
  const isBatch = parts.path.endsWith(batch)
  refuseDoubles(raw, [isBatch ? 'requests' : 'content'])
  const model = modelIn(parts.path)
  const requests = isBatch ? requestsIn(body['requests']) : [body]
  const texts: string[] = []
  let media = 0
  for (const [at, request] of requests.entries()) {
    const content = contentOf(isBatch ? `requests[${at}].content` : 'content', request['content'])
    texts.push(content.text)
    media += content.media
  }
  const prompt = promptOf(texts, { fixedTokens: media * pictureTokens })
  const dimensions = dimensionsOf(requests)
  const call = callOf(parts, own, { raw, body, model, measure: { prompt, most: {}, own: {} } })
  const inner = { model, input: texts, ...(dimensions !== undefined && { dimensions }) }
  const message = 'Only a vendor of this dialect can make vectors of pictures and sounds, and this model has none.'
  return { ...call, inner, ...(media > 0 && { beyond: { param: 'content.parts', message } }) }
}

function requestsIn(given: Json | undefined): readonly JsonObject[] {
  if (!isList(given) || given.length === 0)
    throw wrong('requests', '"requests" must be a list with at least one request.')
  if (given.length > maxInputs) throw wrong('requests', `"requests" has more than ${maxInputs} requests.`)
  return given.map((request, at) => {
    if (isObject(request)) return request
    throw wrong(`requests[${at}]`, `"requests[${at}]" must be an object with "content".`)
  })
}

function contentOf(at: string, content: Json | undefined): { readonly text: string; readonly media: number } {
  if (!isObject(content) || !isList(content['parts']) || content['parts'].length === 0)
    throw wrong(at, `"${at}" must be an object with a list of "parts".`)
  const parts = objectsOf(content['parts'])
  if (parts.length < content['parts'].length) throw wrong(at, `"${at}" must have objects for "parts".`)
  return {
    text: parts.map(({ text }) => stringOf(text)).join(''),
    media: parts.filter(({ text }) => typeof text !== 'string').length,
  }
}

/** One length for all vectors: requests that want several go to vendors of the dialect as they are. */
function dimensionsOf(requests: readonly JsonObject[]): number | undefined {
  const [first] = requests.map(({ outputDimensionality: camel, output_dimensionality: snake }) => camel ?? snake)
  return typeof first === 'number' ? first : undefined
}

/** OpenAI's answer in Google's words. Clients that want base64 are none of Google's, so vectors are numbers. */
function reply({ body }: Call, inner: JsonObject): JsonObject {
  const embeddings = objectsOf(inner['data']).map(({ embedding }) => ({
    values: isList(embedding) ? embedding : (floatsOf(stringOf(embedding)) ?? []),
  }))
  return isList(body['requests']) ? { embeddings } : { embedding: embeddings[0] ?? { values: [] } }
}
