import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { embeddings } from '../../src/fronts/embeddings.ts'
import type { Front } from '../../src/fronts/front.ts'
import { generateEmbed } from '../../src/fronts/generate-embed.ts'
import { images } from '../../src/fronts/images.ts'
import { rerank } from '../../src/fronts/rerank.ts'
import { speech } from '../../src/fronts/speech.ts'
import { vendors } from '../../src/vendors/index.ts'
import { operationUsage } from '../../src/vendors/operation-usage.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'key-of-the-vendor', connectMs: 1 }

function callOf(front: Front, body: JsonObject, path = ''): Call {
  const parts = { id: 'id', startedAtMs: 0, path, header: () => undefined, query: () => undefined }
  return front.read(encoder.encode(JSON.stringify(body)), parts)
}

function doing(adapter: string, operation: Call['operation']): Vendor {
  const own = operation === 'chat' ? undefined : vendors.get(adapter)?.operations?.[operation]
  if (!own) throw new Error(`${adapter} has no ${operation}`)
  return own
}

function asked(adapter: string, call: Call, baseUrl = access.baseUrl) {
  const target = { vendor: adapter, model: 'their-model' }
  const sent = doing(adapter, call.operation).request(call, target, { ...access, baseUrl }, call.stream)
  const { authorization, 'x-goog-api-key': google, 'api-key': azure } = sent.headers
  return {
    url: sent.url,
    key: authorization ?? google ?? azure,
    body: JSON.parse(decoder.decode(sent.body)) as JsonObject,
    ...(sent.dropped && { dropped: sent.dropped }),
  }
}

const embedding = (more: JsonObject = {}) => callOf(embeddings, { model: 'm', input: ['a', 'b'], ...more })

describe('a request', () => {
  test('for a compatible vendor is the caller’s own, for the model of the target', () => {
    expect(asked('openai', embedding({ dimensions: 2, provider: { order: [] } }))).toEqual({
      url: 'https://vendor.test/v1/embeddings',
      key: 'Bearer key-of-the-vendor',
      body: { input: ['a', 'b'], dimensions: 2, model: 'their-model' },
    })
  })

  test('goes to where the deployment is', () => {
    const { url, key } = asked('azure', embedding(), 'https://r.openai.azure.com/openai/deployments')
    expect([url, key]).toEqual([
      'https://r.openai.azure.com/openai/deployments/their-model/embeddings?api-version=2024-10-21',
      'key-of-the-vendor',
    ])
  })

  test('goes to the version that one vendor keeps in its path', () => {
    expect(asked('perplexity', embedding()).url).toBe('https://vendor.test/v1/v1/embeddings')
  })

  test("becomes Cohere's", () => {
    expect(asked('cohere', embedding({ dimensions: 256, encoding_format: 'base64', user: 'u', store: true }))).toEqual({
      url: 'https://vendor.test/v1/v2/embed',
      key: 'Bearer key-of-the-vendor',
      body: {
        model: 'their-model',
        texts: ['a', 'b'],
        input_type: 'search_document',
        embedding_types: ['float'],
        output_dimension: 256,
      },
      dropped: ['store'],
    })
  })

  test('for a ranking becomes Cohere’s', () => {
    const call = callOf(rerank, { model: 'm', query: 'q', documents: ['a', { text: 'b' }], return_documents: true })
    expect(asked('cohere', call)).toEqual({
      url: 'https://vendor.test/v1/v2/rerank',
      key: 'Bearer key-of-the-vendor',
      body: { model: 'their-model', documents: ['a', 'b'], query: 'q' },
    })
  })

  test("becomes Google's, with the key in no other header", () => {
    const { headers } = doing('gemini', 'embeddings').request(embedding(), { vendor: 'g', model: 'm' }, access, false)
    expect(Object.keys(headers).toSorted()).toEqual(['accept', 'accept-encoding', 'content-type', 'x-goog-api-key'])
    expect(asked('gemini', embedding({ dimensions: 2 }))).toEqual({
      url: 'https://vendor.test/v1/models/their-model:batchEmbedContents',
      key: 'key-of-the-vendor',
      body: {
        requests: ['a', 'b'].map((text) => ({
          model: 'models/their-model',
          content: { parts: [{ text }] },
          outputDimensionality: 2,
        })),
      },
    })
  })

  test('of one text and of several go to two methods of Vertex', () => {
    const single = asked('vertex', callOf(embeddings, { model: 'm', input: 'a' }))
    const several = asked('vertex', embedding({ dimensions: 2 }))
    expect([single.url, single.body]).toEqual([
      'https://vendor.test/v1/publishers/google/models/their-model:embedContent',
      { content: { parts: [{ text: 'a' }] } },
    ])
    expect([several.url, several.body]).toEqual([
      'https://vendor.test/v1/publishers/google/models/their-model:predict',
      { instances: [{ content: 'a' }, { content: 'b' }], parameters: { outputDimensionality: 2 } },
    ])
  })

  test("in Google's own words keeps them", () => {
    const content = { role: 'user', parts: [{ text: 'a' }] }
    const single = callOf(generateEmbed, { content, taskType: 'X', provider: {} }, '/models/m:embedContent')
    const batch = callOf(generateEmbed, { requests: [{ model: 'models/m', content }] }, '/models/m:batchEmbedContents')
    expect([asked('gemini', single).body, asked('gemini', batch).body]).toEqual([
      { content, taskType: 'X', model: 'models/their-model' },
      { requests: [{ model: 'models/their-model', content }] },
    ])
    expect(asked('openai', batch).body).toEqual({ model: 'their-model', input: ['a'] })
  })

  test.each(['cohere', 'gemini', 'vertex'])('of tokens is none for %s', (adapter) => {
    expect(() => asked(adapter, embedding({ input: [1, 2] }))).toThrow('"input"')
  })
})

const replied = (adapter: string, call: Call, body: JsonObject) => {
  const vendor = doing(adapter, call.operation)
  return vendor.reply(body, { call, translates: !vendor.speaks.includes(call.dialect) })
}

describe('an answer', () => {
  const list = [
    [1, 2],
    [3, 4],
  ]
  const inner = {
    object: 'list',
    data: list.map((vector, index) => ({ object: 'embedding', index, embedding: vector })),
    model: 'm',
  }

  test.each([
    ['cohere', { embeddings: { float: list }, meta: { billed_units: { input_tokens: 5 } } }, { input: 5 }],
    [
      'gemini',
      { embeddings: list.map((values) => ({ values })), usageMetadata: { promptTokenCount: 6 } },
      { input: 6 },
    ],
    [
      'vertex',
      { predictions: list.map((values) => ({ embeddings: { values, statistics: { token_count: 2 } } })) },
      { input: 4 },
    ],
  ])('of %s has its vectors in order', (adapter, body, counts) => {
    expect(replied(adapter, embedding(), body)).toEqual({ text: '', usage: { counts, anomalies: [] }, inner })
  })

  test('of a ranking has the documents that were asked for', () => {
    const call = callOf(rerank, { model: 'm', query: 'q', documents: ['a', 'b'], return_documents: true })
    const results = [{ index: 1, relevance_score: 0.5 }]
    const reply = replied('cohere', call, { id: 'i', results, meta: { billed_units: { search_units: 2 } } })
    expect([reply.usage?.counts, reply.inner?.['results']]).toEqual([
      { search: 2 },
      [{ index: 1, relevance_score: 0.5, document: { text: 'b' } }],
    ])
  })

  test('in small numbers becomes a list of them', () => {
    const data = [{ embedding: Buffer.from([1, 255, 128]).toString('base64') }]
    expect(replied('perplexity', embedding(), { data }).repaired).toEqual({ data: [{ embedding: [1, -1, -128] }] })
    expect(replied('perplexity', embedding({ encoding_format: 'base64_int8' }), { data }).repaired).toBeUndefined()
  })

  test('with a recording inside becomes the recording', () => {
    const call = callOf(speech, { model: 'm', input: 'a', response_format: 'wav' })
    expect(replied('mistral', call, { audio_data: 'AQI=' }).raw).toEqual({
      type: 'audio/wav',
      bytes: Uint8Array.of(1, 2),
    })
    expect(replied('mistral', call, { audio_data: '' }).error?.code).toBe('vendor_error')
  })

  test.each([
    ['openai', { error: { message: 'no', type: 'server_error' } }],
    ['openai', { object: 'list' }],
    ['cohere', { message: 'no' }],
    ['gemini', { embeddings: [] }],
  ])('of %s that is none is an error', (adapter, body) => {
    expect(replied(adapter, embedding(), body).error).toBeInstanceOf(GatewayError)
  })

  test('of anything is an answer or an error of ours', () => {
    const calls = [embedding(), callOf(images, { model: 'm', prompt: 'a' }), callOf(speech, { model: 'm', input: 'a' })]
    const names = ['data', 'results', 'usage', 'embeddings', 'embedding', 'predictions', 'meta', 'audio_data', 'error']
    const body = fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 4 }))
    const adapters = ['openai', 'perplexity', 'mistral', 'cohere', 'gemini', 'vertex']
    fc.assert(
      fc.property(fc.constantFrom(...adapters), fc.constantFrom(...calls), body, (adapter, call, given) => {
        const own = vendors.get(adapter)?.operations?.[call.operation as 'images']
        const reply = own?.reply(given as JsonObject, { call, translates: true })
        for (const count of Object.values(reply?.usage?.counts ?? {})) expect(Number.isSafeInteger(count)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

describe('usage', () => {
  test.each([
    ['embeddings', { usage: { prompt_tokens: 7, total_tokens: 7, completion_tokens: 0 } }, { input: 7 }],
    ['rerank', { usage: { total_tokens: 17 } }, { input: 17 }],
    ['images', { data: [{ url: 'x' }, { error: {} }] }, { image: 1 }],
    [
      'images',
      { data: [{ url: 'x' }], usage: { generated_images: 1, output_tokens: 9, total_tokens: 9 } },
      { input: 0, image_output: 9, image: 1 },
    ],
    [
      'images',
      {
        usage: {
          input_tokens: 221,
          input_tokens_details: { image_tokens: 194, text_tokens: 27 },
          output_tokens: 1_318,
          output_tokens_details: { image_tokens: 1_056, text_tokens: 262 },
        },
      },
      { input: 27, image_input: 194, output: 262, image_output: 1_056 },
    ],
    ['transcription', { duration: 3.2 }, { second: 4 }],
    ['transcription', { usage: { type: 'duration', seconds: 3 } }, { second: 3 }],
    [
      'transcription',
      {
        usage: {
          prompt_audio_seconds: 3,
          prompt_tokens: 5,
          total_tokens: 400,
          completion_tokens: 20,
          prompt_tokens_details: { audio_tokens: 375 },
        },
      },
      { input: 5, audio_input: 375, output: 20, second: 3 },
    ],
    ['speech', { usage: { input_tokens: 4, output_tokens: 60 } }, { input: 4, audio_output: 60 }],
    ['embeddings', { usage: { prompt_tokens: -1, total_tokens: 'x' } }, undefined],
    ['embeddings', {}, undefined],
  ] as const)('of %s in %o', (operation, body, counts) => {
    expect(operationUsage(operation, body as JsonObject)?.counts).toEqual(counts)
  })

  test('has what the vendor itself reckons', () => {
    expect(operationUsage('images', { usage: { cost_in_usd_ticks: 700_000_000 } })).toEqual({
      counts: {},
      anomalies: [],
      reportedCost: 70_000_000n,
    })
  })
})

test('bytes pass as they come, and a broken connection has no end', () => {
  const call = callOf(speech, { model: 'm', input: 'a' })
  const vendor = doing('openai', 'speech')
  const read = vendor.reader({ call, translates: false })
  const parser = vendor.parser?.('audio/mpeg')
  const pieces = [...(parser?.push(Uint8Array.of(1)) ?? []), ...(parser?.end() ?? [])].map(read)
  expect(pieces).toEqual([{ content: true }, { whole: true, last: true }])
  expect(vendor.parser?.('text/html')).toBeUndefined()
})
