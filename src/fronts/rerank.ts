import type { Call, Json, JsonObject } from '../core/call.ts'
import { utf8Length } from '../core/prompt.ts'
import { isList, isObject } from '../core/wire.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { promptOf, readCount, readFlag, readModel, readText } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { callOf, operationFront } from './operation.ts'

const maxDocuments = 10_000
/** A search is one query over a hundred documents; longer ones than 500 tokens count as several (Cohere's price list). */
const documentsPerSearch = 100
const tokensPerDocument = 500
/** English text has some four characters a token: the query is read again with every document. */
const bytesPerToken = 4
const own = { dialect: 'rerank', operation: 'rerank' } as const

/** The rerank API that Cohere began and most others took over: https://docs.cohere.com/reference/rerank. */
export const rerank: Front = operationFront({
  ...own,
  paths: ['/v1/rerank', '/v2/rerank'],
  read,
  reply: (_, inner) => told(inner),
})

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, ['model', 'query', 'documents', 'top_n'])
  const model = readModel(body)
  const query = readText(body, 'query')
  const documents = textsIn(body['documents'])
  readCount(body, 'top_n', maxDocuments)
  readFlag(body, 'return_documents')
  const again = (documents.length - 1) * utf8Length(query)
  const prompt = promptOf([query, ...documents], {
    fixedTokens: Math.ceil(again / bytesPerToken),
    slack: again,
  })
  const pieces = documents.reduce((sum, text) => sum + 1 + Math.floor(utf8Length(text) / tokensPerDocument), 0)
  const most = { search: Math.ceil(pieces / documentsPerSearch) }
  const measure = { prompt, most, own: { search: Math.ceil(documents.length / documentsPerSearch) } }
  return callOf(parts, own, { raw, body, model, measure })
}

function textsIn(documents: Json | undefined): readonly string[] {
  if (!isList(documents) || documents.length === 0)
    throw wrong('documents', '"documents" must be a list with at least one text.')
  if (documents.length > maxDocuments) throw wrong('documents', `"documents" has more than ${maxDocuments} texts.`)
  return documents.map((item, at) => {
    if (typeof item === 'string') return item
    if (!isObject(item)) throw wrong(`documents[${at}]`, `"documents[${at}]" must be a text or an object.`)
    return typeof item['text'] === 'string' ? item['text'] : JSON.stringify(item)
  })
}

/** The usage of the inner language counts answers too, of which there are none. */
function told({ usage, ...body }: JsonObject): JsonObject {
  const tokens = isObject(usage) ? usage['prompt_tokens'] : undefined
  return typeof tokens === 'number' && tokens > 0 ? { ...body, usage: { total_tokens: tokens } } : body
}
