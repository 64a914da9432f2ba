import type { Call, Json, JsonObject } from '../core/call.ts'
import { bytesOfBase64 } from '../core/vectors.ts'
import { objectsOf, stringOf } from '../core/wire.ts'
import { broken } from './failure.ts'
import { type AskedOperation, operationPaths, type OperationWays, operationVendor } from './operations.ts'
import type { Quirks } from './quirks.ts'
import type { Vendor, VendorReply } from './vendor.ts'

/*
 * The operations of OpenAI-compatible vendors. All of them are asked at OpenAI's paths, beside their chat completions;
 * one that does not have an operation says so with a 404.
 */

const chatPath = '/chat/completions'

/** What single vendors do otherwise. */
const ways: Readonly<Record<string, Omit<OperationWays, 'id'>>> = {
  // https://docs.perplexity.ai/api-reference/embeddings-post: a version in the path, and bytes in place of floats.
  perplexity: {
    url: ({ baseUrl }, _, path) => `${baseUrl}/v1${path}`,
    readReply: (body, call) => withSmallVectors(body, call),
  },
  // https://docs.mistral.ai/api/endpoint/audio/speech: one body with the recording in base64.
  mistral: { readReply: (body, { dialect, body: asked }) => (dialect === 'speech' ? recordingIn(body, asked) : {}) },
  // https://docs.siliconflow.cn, https://openrouter.ai/docs: as OpenAI and Cohere have it.
}

/** The vendor with its operations. */
export function withOperations(vendor: Vendor, quirks: Quirks): Vendor {
  const { id, troubles = [], keyHeaders, url } = quirks
  const all: OperationWays = {
    id,
    troubles,
    ...(keyHeaders && { keyHeaders }),
    // Where chat completions are, there are the others too.
    ...(url && { url: (access, model, path) => url(access, model).replace(chatPath, path) }),
    ...ways[id],
  }
  const names = Object.keys(operationPaths) as AskedOperation[]
  return { ...vendor, operations: Object.fromEntries(names.map((name) => [name, operationVendor(name, all)])) }
}

/** Signed bytes in base64, unless the caller asked for these himself: clients take every base64 for floats. */
function withSmallVectors(body: JsonObject, { inner, dialect }: Call): Partial<VendorReply> {
  const format = stringOf(inner['encoding_format'])
  if (dialect !== 'embeddings' && dialect !== 'embed') return {}
  if (format !== '' && format !== 'float' && format !== 'base64') return {}
  const data = objectsOf(body['data']).map((item): Json => {
    const bytes = bytesOfBase64(stringOf(item['embedding']))
    return bytes ? { ...item, embedding: Array.from(bytes, (byte) => (byte << 24) >> 24) } : item
  })
  return { repaired: { ...body, data } }
}

const types: Readonly<Record<string, string>> = {
  mp3: 'audio/mpeg',
  opus: 'audio/ogg',
  aac: 'audio/aac',
  flac: 'audio/flac',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
}

function recordingIn({ audio_data: data }: JsonObject, asked: JsonObject): Partial<VendorReply> {
  const bytes = typeof data === 'string' ? bytesOfBase64(data) : undefined
  if (!bytes || bytes.length === 0) return { error: broken('a body without a recording') }
  const format = stringOf(asked['response_format'])
  const type = (Object.hasOwn(types, format) ? types[format] : undefined) ?? 'audio/mpeg'
  return { raw: { type, bytes } }
}
