import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { subKey } from '../support/booked.ts'
import { chatWith } from '../support/chat.ts'
import { managementKey, startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, startVendor, type FakeVendor } from '../support/vendor.ts'

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
let stranger: TestAccount

/** Each call costs 10 × 0.000001 + 3 × 0.000002 USD. */
const usage = { prompt_tokens: 10, completion_tokens: 3 }

beforeAll(async () => {
  vendor = await startVendor(answerText('One two three', usage))
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `
  off:
    adapter: openai
    base_url: ${vendor.url}
    api_keys: []`,
    models: `
  off-model:
    targets: [{ vendor: off, model: vendor-model }]
    prices: { input: 1, output: 2 }
  half-off-model:
    targets: [{ vendor: off, model: vendor-model }, { vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
  })
  account = await gateway.account('1')
  stranger = await gateway.account('1')
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

interface Reply {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly code: unknown
}

async function get(path: string, key: string): Promise<Reply> {
  const response = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${key}` } })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, body, code: (body['error'] as Record<string, unknown> | undefined)?.['code'] }
}

const namesIn = ({ body }: Reply): string[] =>
  (body['data'] as readonly { id: string }[]).map(({ id }) => id).toSorted()

/** The id of a new call with this key. */
async function call(key: string): Promise<string> {
  const { status, id } = await chatWith(gateway, key, {
    model: 'test-model',
    messages: [{ role: 'user', content: 'hi' }],
  })
  expect(status).toBe(200)
  return id
}

const paths = [
  '/v1/models',
  '/v1/models/test-model',
  '/v1/key',
  '/v1/credits',
  '/v1/generation?id=01980000-0000-7000-8000-000000000000',
]

describe.each(paths)('GET %s', (path) => {
  test('wants a key', async () => {
    const response = await fetch(gateway.url + path)
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      401,
      'invalid_api_key',
    ])
  })

  test('is not for management keys', async () => {
    const { status, code } = await get(path, managementKey)
    expect([status, code]).toEqual([403, 'permission_denied'])
  })
})

describe('models', () => {
  test('are those that have a price and a vendor that is set up', async () => {
    expect(namesIn(await get('/v1/models', account.key))).toEqual(['half-off-model', 'sandbox/echo', 'test-model'])
  })

  test('are those of the allow-lists of the key and of all keys above', async () => {
    const above = await subKey(gateway, account, { models: ['test-model', 'sandbox/echo'] })
    const below = await subKey(gateway, account, { parent: above.id, models: ['sandbox/echo'] })
    expect(namesIn(await get('/v1/models', above.key))).toEqual(['sandbox/echo', 'test-model'])
    expect(namesIn(await get('/v1/models', below.key))).toEqual(['sandbox/echo'])
    expect((await get('/v1/models/test-model', below.key)).code).toBe('model_not_found')
  })

  test('are listed and found by the official client', async () => {
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key, maxRetries: 0 })
    const listed = (await client.models.list()).data.map(({ id }) => id)
    expect(listed.toSorted()).toEqual(['half-off-model', 'sandbox/echo', 'test-model'])
    expect(await client.models.retrieve('test-model')).toEqual({
      id: 'test-model',
      object: 'model',
      created: expect.any(Number) as number,
      owned_by: 'fake',
    })
  })

  test.each(['sandbox/echo', 'sandbox%2Fecho'])('are found by a name with a slash (%s)', async (name) => {
    const { status, body } = await get(`/v1/models/${name}`, account.key)
    expect([status, body['id'], body['owned_by']]).toEqual([200, 'sandbox/echo', 'sandbox'])
  })

  test.each(['unpriced-model', 'off-model', 'no-such-model', 'test-model/more'])('do not include %s', async (name) => {
    const { status, code } = await get(`/v1/models/${name}`, account.key)
    expect([status, code]).toEqual([404, 'model_not_found'])
  })
})

describe('a key', () => {
  test('without limits says so', async () => {
    const { body } = await get('/v1/key', stranger.key)
    expect(body).toEqual({
      object: 'key',
      id: expect.stringMatching(/^[A-Za-z0-9]{12}$/) as string,
      kind: 'master',
      models: null,
      requests_per_minute: null,
      concurrency: null,
      in_flight: 0,
      budgets: [],
    })
  })

  test('tells its limits and what is left of them', async () => {
    const { id, key } = await subKey(gateway, account, {
      models: ['test-model'],
      requests_per_minute: 30,
      concurrency: 4,
      budgets: [
        { limit: '0.001', window: 'total' },
        { limit: '0.00001', window: 'hour' },
      ],
    })
    const before = await get('/v1/key', key)
    expect(before.body).toMatchObject({
      budgets: [
        { spent: '0', remaining: '0.001' },
        { spent: '0', remaining: '0.00001' },
      ],
    })
    const hour = { limit: '0.00001', window: 'hour' as const }
    // The hour's budget is below the price of one call: nothing fits in.
    expect(
      (
        await chatWith(gateway, key, {
          model: 'test-model',
          max_tokens: 8,
          messages: [{ role: 'user', content: 'hi' }],
        })
      ).error?.code,
    ).toBe('rate_limit_exceeded')
    await gateway.admin('PATCH', `/admin/v1/keys/${id}`, {
      budgets: [
        { limit: '0.001', window: 'total' },
        { ...hour, limit: '0.01' },
      ],
    })
    await chatWith(gateway, key, { model: 'test-model', max_tokens: 8, messages: [{ role: 'user', content: 'hi' }] })
    expect((await get('/v1/key', key)).body).toEqual({
      object: 'key',
      id,
      kind: 'sub',
      models: ['test-model'],
      requests_per_minute: 30,
      concurrency: 4,
      in_flight: 0,
      budgets: [
        { window: 'total', limit: '0.001', spent: '0.000016', held: '0', remaining: '0.000984', resets_at: null },
        {
          window: 'hour',
          limit: '0.01',
          spent: '0.000016',
          held: '0',
          remaining: '0.009984',
          resets_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:00:00\.000Z$/) as string,
        },
      ],
    })
  })
})

describe('credits', () => {
  test('are what was paid in less what was charged, at once', async () => {
    const own = await gateway.account('2.5')
    const sub = await subKey(gateway, own)
    await call(own.key)
    await call(sub.key)
    const sums = { balance: '2.499968', held: '0', available: '2.499968' }
    const wallet = { kind: 'wallet', asset: 'USD', ...sums, models: [], expires_at: null }
    const wanted = { object: 'credits', currency: 'USD', ...sums, purses: [wallet] }
    expect((await get('/v1/credits', own.key)).body).toEqual(wanted)
    expect((await get('/v1/credits', sub.key)).body).toEqual(wanted)
  })

  test('grow with a recharge, at once', async () => {
    const own = await gateway.account('0')
    const refused = await chatWith(gateway, own.key, {
      model: 'test-model',
      messages: [{ role: 'user', content: 'hi' }],
    })
    expect(refused.status).toBe(402)
    await gateway.admin('POST', `/admin/v1/accounts/${own.id}/recharges`, {
      amount: '1',
      reference: `second of ${own.id}`,
    })
    expect((await get('/v1/credits', own.key)).body).toMatchObject({ balance: '1', available: '1' })
    await call(own.key)
    expect((await get('/v1/credits', own.key)).body).toMatchObject({ balance: '0.999984', held: '0' })
  })
})

describe('a generation', () => {
  test('is told in full to the key that made it', async () => {
    const id = await call(account.key)
    const { status, body } = await get(`/v1/generation?id=${id}`, account.key)
    expect(status).toBe(200)
    const { created_at: created, latency_ms: latency, first_byte_ms: firstByte, attempts, ...rest } = body
    expect(rest).toEqual({
      object: 'generation',
      id,
      model: 'test-model',
      vendor: 'fake',
      vendor_model: 'vendor-model',
      served_model: 'vendor-model-2026',
      outcome: 'complete',
      finish_reason: 'stop',
      error: null,
      stream: false,
      usage: { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13, counts: { input: 10, output: 3 } },
      usage_source: 'vendor',
      tokenizer: null,
      anomalies: [],
      currency: 'USD',
      cost: '0.000016',
      priced: '0.000016',
      client_request_id: null,
      service_tier: null,
      length_tier: null,
    })
    expect(Date.parse(String(created))).not.toBeNaN()
    expect([latency, firstByte].every((ms) => Number.isInteger(ms))).toBe(true)
    expect(attempts).toEqual([{ vendor: 'fake', model: 'vendor-model', status: 200, ms: expect.any(Number) as number }])
  })

  test("keeps the caller's own request id", async () => {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'x-request-id': 'mine-7' },
      body: JSON.stringify({ model: 'test-model', messages: [{ role: 'user', content: 'hi' }] }),
    })
    const { body } = await get(`/v1/generation?id=${response.headers.get('x-request-id')}`, account.key)
    expect(body['client_request_id']).toBe('mine-7')
  })

  test('is seen by its key, the keys above and the master key, and by nobody else', async () => {
    const above = await subKey(gateway, account)
    const below = await subKey(gateway, account, { parent: above.id })
    const beside = await subKey(gateway, account)
    const ids = [await call(account.key), await call(above.key), await call(below.key), await call(beside.key)]
    const seen = async (key: string) =>
      Promise.all(ids.map(async (id) => (await get(`/v1/generation?id=${id}`, key)).status))
    expect(await seen(account.key)).toEqual([200, 200, 200, 200])
    expect(await seen(above.key)).toEqual([404, 200, 200, 404])
    expect(await seen(below.key)).toEqual([404, 404, 200, 404])
    expect(await seen(beside.key)).toEqual([404, 404, 404, 200])
    expect(await seen(stranger.key)).toEqual([404, 404, 404, 404])
  })

  test.each([
    ['is not found by an id that no call has', '01980000-0000-7000-8000-000000000000', 404, 'not_found'],
    ['has an id that is a UUID', 'x', 400, 'invalid_value'],
    ['has an id that is a UUID of version 7', '01980000-0000-4000-8000-000000000000', 400, 'invalid_value'],
    ['needs an id', '', 400, 'invalid_value'],
  ])('%s', async (_, id, status, code) => {
    const reply = await get(`/v1/generation?id=${id}`, account.key)
    expect([reply.status, reply.code]).toEqual([status, code])
  })
})
