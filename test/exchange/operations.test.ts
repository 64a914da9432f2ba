import { GoogleGenAI } from '@google/genai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked, onlyCall, standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { bytes, embed, operationModels, vectors, wav } from '../support/operations.ts'
import { type FakeVendor, json, startVendor } from '../support/vendor.ts'

/** Who pays for what is no conversation: the rows of the outcome table, over a real socket. */

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `
  google: { adapter: gemini, base_url: ${vendor.url}, api_keys: [google-secret] }
  claude: { adapter: anthropic, base_url: ${vendor.url}, api_keys: [claude-secret] }`,
    models: `${operationModels}
  by-request:
    operation: embeddings
    targets: [{ vendor: fake, model: vendor-embed }]
    prices: { request: 0.001 }
  free-embed:
    operation: embeddings
    targets: [{ vendor: fake, model: vendor-embed }]
    free: true
  prompt-voice:
    targets: [{ vendor: fake, model: vendor-voice }]
    prices: { input: 0, output: 0, character: 0.000015 }
    policies: { abort_before_content: prompt, client_abort: void }
  dear-painter:
    operation: images
    targets: [{ vendor: fake, model: vendor-painter }]
    prices: { image: 0.4 }
  no-vectors:
    targets: [{ vendor: claude, model: claude }]
    prices: { input: 1, output: 1 }
  google-embed:
    targets: [{ vendor: google, model: gemini-embedding }]
    prices: { input: 1, output: 1 }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const post = (path: string, body: unknown, signal?: AbortSignal) =>
  fetch(gateway.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  })
const idOf = (response: Response) => response.headers.get('x-request-id')
const errorOf = async (response: Response) => {
  const { error } = (await response.json()) as { error: { code: string; param: string | null } }
  return [response.status, error.code, error.param]
}

describe('before any vendor is called', () => {
  test('a call that the account cannot pay is refused', async () => {
    const response = await post('/v1/images/generations', { model: 'dear-painter', prompt: 'a cat', n: 3 })
    expect(await errorOf(response)).toEqual([402, 'insufficient_quota', null])
    expect(vendor.calls).toEqual([])
  })

  test('a model without a price for it is refused', async () => {
    const response = await post('/v1/rerank', { model: 'no-vectors', query: 'q', documents: ['a'] })
    expect(await errorOf(response)).toEqual([400, 'invalid_value', 'model'])
    const unpriced = await post('/v1/moderations', { model: 'by-request', input: 'a' })
    expect(await errorOf(unpriced)).toEqual([400, 'invalid_value', 'model'])
    const speech = await post('/v1/audio/speech', { model: 'unpriced-model', input: 'a', voice: 'b' })
    expect(await errorOf(speech)).toEqual([403, 'price_not_configured', 'model'])
  })

  test('a model whose vendor does nothing of the kind is refused', async () => {
    const response = await post('/v1/embeddings', { model: 'no-vectors', input: 'a' })
    expect(await errorOf(response)).toEqual([400, 'invalid_value', 'model'])
  })

  test('a form of too many parts is refused', async () => {
    const form = new FormData()
    for (let at = 0; at < 200; at++) form.append(`field-${at}`, 'x')
    const headers = { authorization: `Bearer ${account.key}` }
    const response = await fetch(`${gateway.url}/v1/audio/transcriptions`, { method: 'POST', headers, body: form })
    expect((await errorOf(response)).slice(0, 2)).toEqual([400, 'invalid_value'])
  })
})

describe('while it runs', () => {
  test('the whole of it is held', async () => {
    const reached = Promise.withResolvers<() => void>()
    vendor.behave((_, response) => reached.resolve(() => json(response, 200, { data: [{ url: 'x' }] })))
    const asked = post('/v1/images/generations', { model: 'dear-painter', prompt: 'a cat', n: 2 })
    const answer = await reached.promise
    expect(await standing(gateway, account)).toMatchObject({ held: 800_000_000n, inFlight: 1 })
    answer()
    expect(await booked(gateway, account, idOf(await asked))).toMatchObject({
      counts: { image: 1 },
      cost: 400_000_000n,
      account: { balance: 600_000_000n, held: 0n, inFlight: 0 },
    })
  })
})

describe('a call is charged', () => {
  test('by the request where that is its price', async () => {
    vendor.behave(embed('float'))
    const response = await post('/v1/embeddings', { model: 'by-request', input: 'a' })
    expect(await booked(gateway, account, idOf(response))).toMatchObject({
      outcome: 'complete',
      counts: { request: 1 },
      cost: 1_000_000n,
    })
  })

  test('nothing where the model is free, and counted all the same', async () => {
    vendor.behave(embed('float', { prompt_tokens: 3, total_tokens: 3 }))
    const response = await post('/v1/embeddings', { model: 'free-embed', input: 'a' })
    expect(response.headers.get('x-tollgate-cost')).toBe('0')
    expect(await booked(gateway, account, idOf(response))).toMatchObject({
      outcome: 'complete',
      source: 'vendor',
      cost: 0n,
    })
  })

  test('nothing where the vendor refuses it, whose words the caller hears', async () => {
    const error = { message: 'Unknown parameter: quality.', type: 'invalid_request_error', param: 'quality', code: 'u' }
    vendor.behave((_, response) => json(response, 400, { error }))
    const response = await post('/v1/images/generations', { model: 'painter', prompt: 'a cat', quality: 'x' })
    expect([response.status, await response.json()]).toEqual([400, { error }])
    expect(await standing(gateway, account)).toEqual({ balance: 1_000_000_000n, held: 0n, inFlight: 0 })
  })

  test('nothing where a good status brings no answer', async () => {
    vendor.behave(bytes('text/html', [Buffer.from('<html>')]))
    const response = await post('/v1/audio/speech', { model: 'voice', input: 'Hello', voice: 'b' })
    expect((await errorOf(response)).slice(0, 2)).toEqual([502, 'vendor_error'])
    expect((await standing(gateway, account)).balance).toBe(1_000_000_000n)
  })

  test('for what was asked where the operator says so and the caller does not wait', async () => {
    const reached = Promise.withResolvers<void>()
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.flushHeaders()
      reached.resolve()
    })
    const abort = new AbortController()
    const asked = post('/v1/audio/speech', { model: 'prompt-voice', input: 'Hello', voice: 'b' }, abort.signal)
    await reached.promise
    // The head is on its way; the gateway has it when it has answered something else.
    await standing(gateway, account)
    abort.abort()
    await expect(asked).rejects.toThrow()
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'client_abort',
      counts: { character: 5 },
      source: 'fixed',
      cost: 75_000n,
    })
  })

  test('nothing for what the caller hung up on, where the operator says so', async () => {
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg' })
      response.write(new Uint8Array(1_000))
    })
    const abort = new AbortController()
    const response = await post('/v1/audio/speech', { model: 'prompt-voice', input: 'Hello', voice: 'b' }, abort.signal)
    await response.body?.getReader().read()
    abort.abort()
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({
      outcome: 'client_abort',
      cost: 0n,
      account: { balance: 1_000_000_000n, held: 0n, inFlight: 0 },
    })
  })
})

describe("Google's client", () => {
  const client = () => new GoogleGenAI({ apiKey: account.key, httpOptions: { baseUrl: gateway.url } })
  const contents = ['one', 'two']

  test('embeds at a vendor of its own', async () => {
    vendor.behave((_, response) => json(response, 200, { embeddings: vectors.map((values) => ({ values })) }))
    const { embeddings } = await client().models.embedContent({ model: 'google-embed', contents })
    expect(embeddings?.map(({ values }) => values)).toEqual(vectors)
    expect(vendor.calls[0]?.path).toBe('/models/gemini-embedding:batchEmbedContents')
  })

  test('embeds at another vendor', async () => {
    vendor.behave(embed('base64', { prompt_tokens: 4, total_tokens: 4 }))
    const { embeddings } = await client().models.embedContent({ model: 'embed', contents })
    expect(embeddings?.map(({ values }) => values)).toEqual(vectors)
    expect(vendor.calls[0]?.body).toEqual({ model: 'vendor-embed', input: contents })
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toMatchObject({ cost: 4_000n })
  })
})

test("OpenAI's words reach Google, and come back as numbers", async () => {
  vendor.behave((_, response) => json(response, 200, { embeddings: vectors.map((values) => ({ values })) }))
  const response = await post('/v1/embeddings', {
    model: 'google-embed',
    input: ['one', 'two'],
    user: 'u',
    store: true,
  })
  expect(await response.json()).toEqual({
    object: 'list',
    data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
    model: 'google-embed',
  })
  expect(response.headers.get('x-tollgate-dropped-params')).toBe('store')
})

test('a recording reaches its vendor through another form', async () => {
  vendor.behave((_, response) => json(response, 200, { text: 'Hi.' }))
  const form = new FormData()
  form.append('timestamp_granularities[]', 'word')
  form.append('timestamp_granularities[]', 'segment')
  form.append('model', 'ear')
  form.append('file', new Blob([wav(1)], { type: 'audio/wav' }), 'ü.wav')
  const headers = { authorization: `Bearer ${account.key}` }
  const response = await fetch(`${gateway.url}/v1/audio/transcriptions`, { method: 'POST', headers, body: form })
  expect(await response.json()).toEqual({ text: 'Hi.' })
  const [call] = vendor.calls
  const sent = await new Response(new Uint8Array(call?.bytes ?? []), {
    headers: { 'content-type': call?.headers['content-type'] ?? '' },
  }).formData()
  expect([sent.getAll('timestamp_granularities[]'), sent.getAll('model')]).toEqual([
    ['word', 'segment'],
    ['vendor-ear'],
  ])
})
