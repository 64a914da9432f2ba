import type { Call, Json, JsonObject } from '../core/call.ts'
import type { PromptText } from '../core/prompt.ts'
import { isList, isObject, objectsOf, parseJson } from '../core/wire.ts'
import { base64OfFloats, floatsOf } from '../core/vectors.ts'
import { readBody, refuseDoubles, wrong } from './body.ts'
import { pictureTokens, promptOf, readCount, readModel, readPart } from './fields.ts'
import type { Front, RequestParts } from './front.ts'
import { bytesOf, callOf, operationFront } from './operation.ts'

/** As many as OpenAI takes at once. */
const maxInputs = 2_048
const maxDimensions = 65_536
const maxTokenId = 2 ** 31
/** Where the kind of the first vector is looked for. */
const headBytes = 64 * 1024
const firstVector = /"embedding"\s*:\s*(["[])/
const decoder = new TextDecoder()
const own = { dialect: 'embeddings', operation: 'embeddings' } as const

/** OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings. */
export const embeddings: Front = operationFront({
  ...own,
  paths: ['/v1/embeddings'],
  read,
  reply: (call, inner) => inFormat(told(inner), call) ?? told(inner),
  edit(bytes, call) {
    const kind = firstVector.exec(decoder.decode(bytes.subarray(0, headBytes)))?.[1]
    if (kind === (call.inner['encoding_format'] === 'base64' ? '"' : '[')) return bytes
    const body = parseJson(bytes)
    const changed = isObject(body) ? inFormat(body, call) : undefined
    return changed ? bytesOf(changed) : bytes
  },
})

function read(bytes: Uint8Array, parts: RequestParts): Call {
  const { raw, body } = readBody(bytes)
  refuseDoubles(raw, ['model', 'input', 'dimensions', 'encoding_format'])
  const model = readModel(body)
  const prompt = promptIn(body['input'])
  readCount(body, 'dimensions', maxDimensions)
  checkFormat(body['encoding_format'])
  return callOf(parts, own, { raw, body, model, measure: { prompt, most: {}, own: {} } })
}

/** A text, the tokens of one, or a list of either. */
function promptIn(input: Json | undefined): PromptText {
  if (typeof input === 'string' && input !== '') return promptOf([input])
  if (!isList(input) || input.length === 0)
    throw wrong('input', '"input" must be a text, a list of texts, a list of tokens or a list of such lists.')
  if (isTokens(input)) return promptOf([], { fixedTokens: input.length })
  if (input.length > maxInputs) throw wrong('input', `"input" has more than ${maxInputs} texts.`)
  const texts: string[] = []
  let fixedTokens = 0
  for (const [at, item] of input.entries()) {
    if (isList(item) && isTokens(item)) {
      fixedTokens += item.length
      continue
    }
    const { text, pictures } = readPart(`input[${at}]`, item)
    if (item === '') throw wrong(`input[${at}]`, `"input[${at}]" is empty.`)
    texts.push(text)
    fixedTokens += pictures * pictureTokens
  }
  return promptOf(texts, { fixedTokens })
}

function isTokens(list: readonly Json[]): boolean {
  const isToken = (item: Json): boolean =>
    typeof item === 'number' && Number.isInteger(item) && item >= 0 && item < maxTokenId
  return list.length > 0 && list.every(isToken)
}

/** Vendors have formats of their own, which are theirs to judge. */
function checkFormat(format: Json | undefined): void {
  if (format === undefined || format === null || typeof format === 'string') return
  throw wrong('encoding_format', '"encoding_format" must be "float" or "base64".')
}

/** The usage of the inner language counts answers too, of which there are none. */
function told({ usage, ...body }: JsonObject): JsonObject {
  if (!isObject(usage)) return body
  const { prompt_tokens: tokens = 0 } = usage
  return { ...body, usage: { prompt_tokens: tokens, total_tokens: tokens } }
}

/**
 * The vectors in the format that was asked for: vendors answer in the other one where they know but one. Clients that
 * ask for base64 take a list of numbers for its bytes. Undefined where nothing is to be changed.
 */
function inFormat(body: JsonObject, { inner }: Call): JsonObject | undefined {
  const { encoding_format: format = 'float' } = inner
  if (format !== 'base64' && format !== 'float' && format !== null) return undefined
  const convert = format === 'base64' ? toBase64 : toFloats
  const items = objectsOf(body['data'])
  const vectors = items.map(({ embedding }) => convert(embedding))
  if (items.length === 0 || vectors.every((vector) => vector === undefined)) return undefined
  return { ...body, data: items.map((item, at) => ({ ...item, embedding: vectors[at] ?? item['embedding'] })) }
}

function toBase64(vector: Json | undefined): Json | undefined {
  if (!isList(vector)) return undefined
  const floats = vector.filter((item) => typeof item === 'number')
  return floats.length === vector.length ? base64OfFloats(floats) : undefined
}

function toFloats(vector: Json | undefined): Json | undefined {
  return typeof vector === 'string' ? floatsOf(vector) : undefined
}
