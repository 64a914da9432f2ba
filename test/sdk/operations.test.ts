import OpenAI, { APIError, APIUserAbortError, BadRequestError, InternalServerError, toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'
import { booked, onlyCall, standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { base64Of, bytes, embed, formOf, operationModels, vectors, wav } from '../support/operations.ts'
import { type FakeVendor, json, openStream, startVendor } from '../support/vendor.ts'

const startNanos = 1_000_000_000n

let vendor: FakeVendor
let gateway: TestGateway
let tokenizer: Tokenizer
let account: TestAccount
let client: OpenAI

beforeAll(async () => {
  vendor = await startVendor()
  tokenizer = await openTokenizer()
  gateway = await startGateway({ vendorUrl: vendor.url, models: operationModels })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await tokenizer.close()
})
beforeEach(async () => {
  vendor.calls.length = 0
  account = await gateway.account('1')
  client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key, maxRetries: 0 })
})

/** What a call that came to its end leaves behind. */
function complete(counts: Record<string, number>, cost: bigint, source = 'vendor') {
  return {
    outcome: 'complete',
    counts,
    source,
    cost,
    attempts: ['fake 200'],
    account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
  }
}

const bookedAs = (response: Response) => booked(gateway, account, response.headers.get('x-request-id'))

async function refusal(work: Promise<unknown>): Promise<APIError> {
  try {
    await work
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('embeddings', () => {
  const input = ['one', 'two']
  const usage = { prompt_tokens: 7, total_tokens: 7 }

  test.each(['float', 'base64'] as const)('come as numbers from a vendor that answers in %s', async (format) => {
    vendor.behave(embed(format, usage))
    const { data, response } = await client.embeddings.create({ model: 'embed', input }).withResponse()
    expect(data.data.map(({ embedding }) => embedding)).toEqual(vectors)
    expect(data.model).toBe('embed')
    expect(data.usage).toEqual(usage)
    expect(response.headers.get('x-tollgate-cost')).toBe('0.000007')
    expect(await bookedAs(response)).toEqual(complete({ input: 7 }, 7_000n))
    expect(vendor.calls[0]?.body).toEqual({ model: 'vendor-embed', input, encoding_format: 'base64' })
    expect(vendor.calls[0]?.path).toBe('/embeddings')
  })

  test.each(['float', 'base64'] as const)('come in base64 from a vendor that answers in %s', async (format) => {
    vendor.behave(embed(format, usage))
    const { data } = await client.embeddings.create({ model: 'embed', input, encoding_format: 'base64' })
    expect(data.map(({ embedding }) => embedding)).toEqual(vectors.map(base64Of))
  })

  test('come as a list where numbers are asked for', async () => {
    vendor.behave(embed('base64', usage))
    const { data } = await client.embeddings.create({ model: 'embed', input, encoding_format: 'float', dimensions: 3 })
    expect(data.map(({ embedding }) => embedding)).toEqual(vectors)
    expect(vendor.calls[0]?.body['dimensions']).toBe(3)
  })

  test('of a vendor that does not count are counted', async () => {
    vendor.behave(embed('float'))
    const { response } = await client.embeddings.create({ model: 'embed', input }).withResponse()
    const tokens = (await Promise.all(input.map((text) => tokenizer.count(text)))).reduce((sum, count) => sum + count)
    expect(await bookedAs(response)).toEqual(complete({ input: tokens }, BigInt(tokens) * 1_000n, 'counted'))
  })

  test('of tokens are counted as so many', async () => {
    vendor.behave(embed('float'))
    const tokens = [
      [1, 2, 3],
      [4, 5],
    ]
    const { response } = await client.embeddings.create({ model: 'embed', input: tokens }).withResponse()
    expect(await bookedAs(response)).toEqual(complete({ input: 5 }, 5_000n, 'counted'))
  })

  test('of nothing are refused before anybody is asked', async () => {
    const error = await refusal(client.embeddings.create({ model: 'embed', input: [] }))
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error.param).toBe('input')
    expect(vendor.calls).toEqual([])
  })

  test('of a vendor that fails are an error of the server, and free', async () => {
    vendor.behave((_, response) => json(response, 500, { error: { message: 'no' } }))
    expect(await refusal(client.embeddings.create({ model: 'embed', input }))).toBeInstanceOf(InternalServerError)
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'vendor_failed',
      cost: 0n,
      account: { balance: startNanos, held: 0n, inFlight: 0 },
    })
  })
})

describe('a model for one thing', () => {
  test('refuses a conversation', async () => {
    const messages = [{ role: 'user' as const, content: 'Hi' }]
    const error = await refusal(client.chat.completions.create({ model: 'embed', messages }))
    expect(error).toBeInstanceOf(BadRequestError)
    expect(error.param).toBe('model')
    expect(error.message).toContain('Model "embed" is for embeddings, and this path is for chat.')
  })

  test('refuses another operation', async () => {
    expect((await refusal(client.images.generate({ model: 'embed', prompt: 'a cat' }))).param).toBe('model')
  })
})

test('a moderation passes', async () => {
  const results = [{ flagged: false, categories: {}, category_scores: {} }]
  vendor.behave((_, response) => json(response, 200, { id: 'modr-1', model: 'vendor-guard', results }))
  const { data, response } = await client.moderations.create({ model: 'guard', input: 'Hello' }).withResponse()
  expect(data).toEqual({ id: 'modr-1', model: 'guard', results })
  expect(await bookedAs(response)).toEqual(complete({ input: 1 }, 1_000n, 'counted'))
})

describe('a reranking', () => {
  const documents = ['a', 'b', 'c']
  const ask = (body: Record<string, unknown>) =>
    fetch(`${gateway.url}/v1/rerank`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'ranker', query: 'q', ...body }),
    })

  test('is charged by the search', async () => {
    const results = [{ index: 2, relevance_score: 0.9 }]
    const meta = { billed_units: { search_units: 1 } }
    vendor.behave((_, response) => json(response, 200, { id: 'r', results, meta }))
    const response = await ask({ documents, top_n: 1 })
    expect(await response.json()).toEqual({ id: 'r', results, meta })
    expect(await bookedAs(response)).toEqual(complete({ search: 1 }, 2_000_000n))
  })

  test('without documents is refused', async () => {
    const response = await ask({})
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param: 'documents', code: 'invalid_value' } })
  })
})

describe('pictures', () => {
  const made = { created: 1, data: [{ b64_json: 'AAAA' }, { b64_json: 'BBBB' }] }

  test('are charged one by one', async () => {
    vendor.behave((_, response) => json(response, 200, made))
    const { data, response } = await client.images
      .generate({ model: 'painter', prompt: 'a cat', n: 2, size: '1024x1024' })
      .withResponse()
    expect(data).toEqual(made)
    expect(await bookedAs(response)).toEqual(complete({ image: 2 }, 80_000_000n))
    expect(response.headers.get('x-tollgate-cost')).toBe('0.08')
    expect(vendor.calls[0]?.body['model']).toBe('vendor-painter')
  })

  test('are charged by the tokens of texts and pictures where the vendor tells them', async () => {
    const usage = {
      input_tokens: 221,
      input_tokens_details: { image_tokens: 194, text_tokens: 27 },
      output_tokens: 1_056,
      total_tokens: 1_277,
      output_tokens_details: { image_tokens: 1_056, text_tokens: 0 },
    }
    vendor.behave((_, response) => json(response, 200, { ...made, usage }))
    const { response } = await client.images.generate({ model: 'token-painter', prompt: 'a cat' }).withResponse()
    const cost = 27n * 5_000n + 194n * 10_000n + 1_056n * 40_000n
    expect(await bookedAs(response)).toEqual(complete({ input: 27, image_input: 194, image_output: 1_056 }, cost))
  })

  test('to be edited reach the vendor as they were', async () => {
    vendor.behave((_, response) => json(response, 200, made))
    const picture = Uint8Array.from({ length: 5_000 }, (_, at) => at % 256)
    const image = await toFile(picture, 'cat "1".png', { type: 'image/png' })
    await client.images.edit({ model: 'painter', prompt: 'greener', image: [image, image], n: 2 })
    const [call] = vendor.calls
    const form = call && (await formOf(call))
    const files = form?.getAll('image[]') as File[]
    expect([form?.get('model'), form?.get('prompt'), form?.get('n'), call?.path]).toEqual([
      'vendor-painter',
      'greener',
      '2',
      '/images/edits',
    ])
    expect(files.map(({ name, type }) => [name, type])).toEqual(files.map(() => ['cat "1".png', 'image/png']))
    expect(await Promise.all(files.map(async (file) => new Uint8Array(await file.arrayBuffer())))).toEqual([
      picture,
      picture,
    ])
  })

  test('come as a stream of events', async () => {
    const usage = { input_tokens: 10, output_tokens: 272, total_tokens: 282 }
    const events = [
      { type: 'image_generation.partial_image', b64_json: 'AA', partial_image_index: 0 },
      { type: 'image_generation.completed', b64_json: 'AAAA', usage },
    ]
    vendor.behave((_, response) => {
      openStream(response)
      for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      response.end()
    })
    const stream = client.images.generate({ model: 'token-painter', prompt: 'a cat', stream: true, partial_images: 1 })
    const { data, response } = await stream.withResponse()
    const got = []
    for await (const event of data) got.push(event)
    expect(got).toEqual([events[0], { ...events[1], usage: { ...usage, cost: 0.01093 } }])
    expect(await bookedAs(response)).toEqual(complete({ input: 10, image_output: 272 }, 10_930_000n))
  })
})

describe('speech', () => {
  const input = 'Grüße, 世界!'
  const characters = 10
  const cost = 150_000n
  const sound = [Uint8Array.of(1, 2, 3), new Uint8Array(70_000).fill(7), Uint8Array.of(9)]
  const whole = new Uint8Array(Buffer.concat(sound))
  const ask = (more: Record<string, unknown> = {}) =>
    client.audio.speech.create({ model: 'voice', voice: 'alloy', input, ...more })

  test('comes byte for byte and is charged by the character', async () => {
    vendor.behave(bytes('audio/mpeg', sound))
    const response = await ask()
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(whole)
    expect(response.headers.get('content-type')).toBe('audio/mpeg')
    expect(response.headers.get('x-tollgate-cost')).toBe('0.00015')
    expect(await bookedAs(response)).toEqual(complete({ character: characters }, cost, 'fixed'))
    expect(vendor.calls[0]?.body).toEqual({ model: 'vendor-voice', voice: 'alloy', input })
  })

  test('is not sent faster than it is taken', async () => {
    const [piece, count] = [new Uint8Array(1024 * 1024), 64]
    let sent = 0
    vendor.behave(async (_, response) => {
      response.writeHead(200, { 'content-type': 'audio/wav' })
      for (; sent < count; sent++)
        if (!response.write(piece)) await new Promise((resolve) => response.once('drain', resolve))
      response.end()
    })
    const response = await ask()
    for (let at = 0; at < 5; at++) await standing(gateway, account)
    expect(sent).toBeLessThan(count)
    expect((await response.arrayBuffer()).byteLength).toBe(count * piece.length)
  })

  test('that breaks off breaks the connection', async () => {
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.write(sound[1], () => response.destroy())
    })
    const response = await ask()
    await expect(response.arrayBuffer()).rejects.toThrow()
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'incomplete',
      cost,
    })
  })

  test('that never begins is free', async () => {
    vendor.behave(bytes('audio/mpeg', []))
    expect(await refusal(ask())).toBeInstanceOf(InternalServerError)
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'vendor_failed',
      cost: 0n,
    })
  })

  test('that the caller hangs up on is cancelled and charged', async () => {
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.write(sound[1])
    })
    const abort = new AbortController()
    const response = await client.audio.speech.create(
      { model: 'voice', voice: 'alloy', input },
      { signal: abort.signal },
    )
    const reader = response.body?.getReader()
    await reader?.read()
    abort.abort()
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'client_abort',
      cost,
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
    expect(await vendor.calls[0]?.closed).toBe('broken')
  })

  test('that the caller does not wait for is free', async () => {
    const reached = Promise.withResolvers<void>()
    vendor.behave(() => reached.resolve())
    const abort = new AbortController()
    const asked = client.audio.speech.create({ model: 'voice', voice: 'alloy', input }, { signal: abort.signal })
    const failed = expect(asked).rejects.toThrow(APIUserAbortError)
    await reached.promise
    abort.abort()
    await failed
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'client_abort',
      cost: 0n,
    })
  })
})

describe('a recording', () => {
  const file = () => toFile(wav(3), 'three.wav', { type: 'audio/wav' })

  test('is charged by the seconds that the vendor tells', async () => {
    const answer = { text: 'Hello.', usage: { type: 'duration', seconds: 2.4 } }
    vendor.behave((_, response) => json(response, 200, answer))
    const { data, response } = await client.audio.transcriptions
      .create({ model: 'ear', file: await file() })
      .withResponse()
    expect(data).toEqual(answer)
    expect(await bookedAs(response)).toEqual(complete({ second: 3 }, 300_000n))
    const [call] = vendor.calls
    const form = call && (await formOf(call))
    expect([form?.get('model'), call?.path]).toEqual(['vendor-ear', '/audio/transcriptions'])
    expect(await new Response(form?.get('file')).bytes()).toEqual(wav(3))
  })

  test.each([
    ['text', 'text/plain; charset=utf-8', 'Hello.\n'],
    ['srt', 'text/plain', '1\n00:00:00,000 --> 00:00:02,400\nGrüße.\n'],
    ['vtt', 'text/vtt', 'WEBVTT\n\n00:00.000 --> 00:02.400\nHello.\n'],
  ] as const)('comes as %s, by the length of its file', async (format, type, text) => {
    vendor.behave(bytes(type, [Buffer.from(text)]))
    const { data, response } = await client.audio.transcriptions
      .create({ model: 'ear', file: await file(), response_format: format })
      .withResponse()
    expect(data).toBe(text)
    expect(response.headers.get('content-type')).toBe(type)
    expect(response.headers.get('x-tollgate-cost')).toBe('0.0003')
    expect(await bookedAs(response)).toEqual(complete({ second: 3 }, 300_000n, 'fixed'))
  })

  test('comes as a stream of events with its usage', async () => {
    const usage = {
      type: 'tokens',
      input_tokens: 14,
      input_token_details: { text_tokens: 4, audio_tokens: 10 },
      output_tokens: 5,
      total_tokens: 19,
    }
    const events = [
      { type: 'transcript.text.delta', delta: 'Hello.' },
      { type: 'transcript.text.done', text: 'Hello.', usage },
    ]
    vendor.behave((_, response) => {
      openStream(response)
      response.end(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
    })
    const { data, response } = await client.audio.transcriptions
      .create({ model: 'token-ear', file: await file(), stream: true })
      .withResponse()
    const got = []
    for await (const event of data) got.push(event)
    expect(got.map(({ type }) => type)).toEqual(events.map(({ type }) => type))
    const cost = 4n * 2_500n + 10n * 6_000n + 5n * 10_000n
    expect(await bookedAs(response)).toEqual(complete({ input: 4, audio_input: 10, output: 5 }, cost))
  })

  test('is translated', async () => {
    vendor.behave((_, response) => json(response, 200, { text: 'Hello.', duration: 2.9 }))
    const { data, response } = await client.audio.translations
      .create({ model: 'ear', file: await file() })
      .withResponse()
    expect(data.text).toBe('Hello.')
    expect(vendor.calls[0]?.path).toBe('/audio/translations')
    expect(await bookedAs(response)).toEqual(complete({ second: 3 }, 300_000n))
  })

  test('that is none is refused', async () => {
    const response = await fetch(`${gateway.url}/v1/audio/transcriptions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: '{"model":"ear"}',
    })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ error: { param: 'file' } })
  })
})
