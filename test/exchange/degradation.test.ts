import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked, standing } from '../support/booked.ts'
import { chatWith, type Answer } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, json, startVendor, type FakeVendor } from '../support/vendor.ts'

/** 10 tokens in and 3 out at 1 and 2 USD a million. */
const fullNanos = 16_000n
const startNanos = 1_000_000_000n
const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
/** Vendors, by the beginning of their path, that answer 500. */
const broken = new Set<string>()

beforeAll(async () => {
  vendor = await startVendor((call, response) => {
    const [, name = ''] = call.path.split('/')
    if (broken.has(name)) return json(response, 500, { error: { message: 'No.', type: 'server_error' } })
    return answerText(name === 'spare' ? 'From the spare' : 'One two three', usage)(call, response)
  })
  const model = (name: string, fields: string): string => `
  ${name}:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    max_output_tokens: 4096
    ${fields}`
  gateway = await startGateway({
    // A busy machine must not refuse what is asked about here.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
    vendorUrl: `${vendor.url}/fake`,
    vendors: `
  spare: { adapter: openai, base_url: '${vendor.url}/spare', api_keys: [secret-of-spare] }
  off: { adapter: openai, base_url: '${vendor.url}/off', api_keys: [] }`,
    models: [
      model('kept', "cache: { mode: 'on', ttl_seconds: 1, stale_seconds: 3600, hit_percent: 50 }"),
      model('in-reserve', 'cache: { mode: ask, stale_seconds: 3600 }'),
      model('short', "cache: { mode: 'on', ttl_seconds: 1 }"),
      model(
        'with-spare',
        "cache: { mode: 'on', ttl_seconds: 1, stale_seconds: 3600 }\n    routing: { fallbacks: [spare-model] }",
      ),
      `
  spare-model:
    targets: [{ vendor: spare, model: x }]
    prices: { input: 1, output: 1 }`,
    ].join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  broken.clear()
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const ask = (more: Record<string, unknown>): Promise<Answer> => chatWith(gateway, account.key, { messages, ...more })
const stateOf = ({ headers }: Answer): string | null => headers.get('x-tollgate-cache')
/** Longer than an answer is good. */
const outdated = () => wait(1_100)

describe('where no target answers', () => {
  test.each([false, true])(
    'an old answer to the same call stands in, and the head says so (stream: %s)',
    async (stream) => {
      const first = await ask({ model: 'kept', stream })
      await outdated()
      broken.add('fake')
      const second = await ask({ model: 'kept', stream })
      expect([second.status, second.text, second.finish]).toEqual([200, 'One two three', 'stop'])
      expect([stateOf(first), stateOf(second)]).toEqual(['miss', 'stale'])
      expect(Number(second.headers.get('x-tollgate-cache-age'))).toBeGreaterThan(0)
      expect([first.cost, second.cost]).toEqual(['0.000016', '0.000008'])
      expect(await booked(gateway, account, second.id)).toEqual({
        outcome: 'complete',
        counts: { input: 10, output: 3 },
        source: 'vendor',
        cost: 8_000n,
        attempts: ['fake 500 vendor_error'],
        account: { balance: startNanos - fullNanos - 8_000n, held: 0n, inFlight: 0 },
      })
    },
  )

  test('an old answer is kept for those too who would never have one while targets answer', async () => {
    const fresh = [await ask({ model: 'in-reserve' }), await ask({ model: 'in-reserve' })]
    broken.add('fake')
    const old = await ask({ model: 'in-reserve' })
    expect([...fresh, old].map(stateOf)).toEqual(['bypass', 'bypass', 'stale'])
    expect([old.text, old.cost]).toEqual(['One two three', '0'])
  })

  test('a cheaper model comes before an old answer, and that before an error', async () => {
    await ask({ model: 'with-spare' })
    await outdated()
    broken.add('fake')
    const fallen = await ask({ model: 'with-spare' })
    expect([fallen.headers.get('x-tollgate-fallback'), fallen.text]).toEqual(['spare-model', 'From the spare'])
    broken.add('spare')
    const old = await ask({ model: 'with-spare' })
    expect([stateOf(old), old.headers.get('x-tollgate-fallback'), old.text]).toEqual(['stale', null, 'One two three'])
    expect((await booked(gateway, account, old.id)).attempts).toEqual([
      'fake 500 vendor_error',
      'spare 500 vendor_error',
    ])
    const other = await ask({ model: 'with-spare', seed: 7 })
    expect([other.status, other.error?.code]).toEqual([502, 'vendor_error'])
  })

  test('an old answer is given by the headers of a dialect that has no field for it', async () => {
    const send = () =>
      fetch(`${gateway.url}/v1/messages`, {
        method: 'POST',
        headers: {
          'x-api-key': account.key,
          'content-type': 'application/json',
          'x-tollgate-cache': 'ttl=1, stale=60',
        },
        body: JSON.stringify({ model: 'kept', max_tokens: 100, messages }),
      })
    await (await send()).text()
    await outdated()
    broken.add('fake')
    const old = await send()
    expect([old.status, old.headers.get('x-tollgate-cache'), (await old.text()).includes('One two three')]).toEqual([
      200,
      'stale',
      true,
    ])
  })

  test.each([
    ['whose model keeps none so old', { model: 'short' }],
    ['who wants none so old', { model: 'kept', cache: { ttl: 1 } }],
    ['who wants a new one', { model: 'kept', cache: { 'no-cache': true } }],
  ])('a caller %s has the error, is not charged and nothing is left held', async (_, more) => {
    await ask(more)
    await outdated()
    broken.add('fake')
    const before = await standing(gateway, account)
    const answer = await ask(more)
    expect([answer.status, answer.error?.code]).toEqual([502, 'vendor_error'])
    expect(await standing(gateway, account)).toEqual({ ...before, held: 0n, inFlight: 0 })
  })

  test('a package pays the share of its tokens that an old answer costs', async () => {
    const grant = { kind: 'package', tokens: '1000', price: '1', reference: `degradation ${account.id}` }
    await gateway.admin('POST', `/admin/v1/accounts/${account.id}/grants`, grant)
    const left = async () => {
      const { purses } = await gateway.get('/v1/credits', account.key)
      return (purses as { kind: string; balance: string }[]).find(({ kind }) => kind === 'package')?.balance
    }
    await ask({ model: 'kept' })
    const full = await left()
    await outdated()
    broken.add('fake')
    const old = await ask({ model: 'kept' })
    expect([stateOf(old), full, await left()]).toEqual(['stale', '987', '980.5'])
  })

  test('another account has nothing of it', async () => {
    await ask({ model: 'kept' })
    await outdated()
    broken.add('fake')
    account = await gateway.account('1')
    expect((await ask({ model: 'kept' })).status).toBe(502)
  })

  test('an old answer never hides what is wrong with the call itself', async () => {
    await ask({ model: 'kept' })
    await outdated()
    vendor.behave((_, response) => json(response, 400, { error: { message: 'no', type: 'invalid_request_error' } }))
    const answer = await ask({ model: 'kept' })
    expect([answer.status, stateOf(answer)]).toEqual([400, null])
  })
})

describe('a model of the API', () => {
  const put = (cache?: unknown) =>
    gateway.admin('PUT', '/admin/v1/models/stored', {
      targets: [{ vendor: 'fake', model: 'vendor-model' }],
      ...(cache !== undefined && { cache }),
    })

  test('has the cache that it is told to have, and else that of all', async () => {
    vendor.behave(answerText('One two three', usage))
    const cache = { mode: 'on', hit_percent: 25 }
    expect((await put(cache))['cache']).toEqual(cache)
    await gateway.admin('PUT', '/admin/v1/models/stored/prices', { prices: { input: '1', output: '2' } })
    const [first, second] = [await ask({ model: 'stored' }), await ask({ model: 'stored' })]
    expect([first, second].map((answer) => [stateOf(answer), answer.cost])).toEqual([
      ['miss', '0.000016'],
      ['hit', '0.000004'],
    ])
    expect(await put()).not.toHaveProperty('cache')
    expect(stateOf(await ask({ model: 'stored' }))).toBe('bypass')
  })

  test.each([
    [{ mode: 'always' }, 'cache.mode'],
    [{ ttl_seconds: 0 }, 'cache.ttl_seconds'],
    [{ hits: 1 }, 'cache.hits'],
    ['on', 'cache'],
  ])('is refused the cache %j, by name', async (cache, param) => {
    const refusal = await put(cache).catch((error: unknown) => String(error))
    expect(refusal).toContain(`"param":"${param}"`)
  })
})
