import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { booked, subKey } from '../support/booked.ts'
import { chatWith, type Answer } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, json, startVendor, type FakeVendor } from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }

/** An answer in the dialect of responses. */
const response200 = {
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'x',
  output: [
    {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'Hi there', annotations: [] }],
    },
  ],
  usage: { input_tokens: 10, output_tokens: 3, total_tokens: 13 },
}

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
/** Vendors, by the beginning of their path, that answer 500. */
const broken = new Set<string>()

const vendorYaml = (name: string): string => `
  ${name}:
    adapter: openai
    base_url: ${vendor.url}/${name}
    api_keys: [secret-of-${name}]`

interface Given {
  readonly prices: string
  readonly targets: readonly string[]
  readonly more?: string
}

const modelYaml = (name: string, { prices, targets, more = '' }: Given): string => `
  ${name}:
    targets: [${targets.join(', ')}]
    prices: { ${prices} }
    max_output_tokens: 1000
    ${more}`

beforeAll(async () => {
  vendor = await startVendor()
  vendor.behave((call, response) => {
    const [, name = ''] = call.path.split('/')
    if (broken.has(name)) return json(response, 500, { error: { message: 'No.', type: 'server_error' } })
    if (call.path.endsWith('/responses')) return json(response, 200, response200)
    return answerText('Hi there', usage)(call, response)
  })
  const costs = (input: number) => `costs: { input: ${input}, output: ${input} }`
  gateway = await startGateway({
    // A busy machine must not refuse what is asked about here.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
    vendorUrl: `${vendor.url}/fake`,
    vendors: ['one', 'two', 'three', 'down', 'shadow'].map(vendorYaml).join(''),
    models: [
      modelYaml('cheap', { prices: 'input: 1, output: 1', targets: ['{ vendor: two, model: x }'] }),
      modelYaml('dear', { prices: 'input: 10, output: 10', targets: ['{ vendor: three, model: x }'] }),
      modelYaml('falls', {
        prices: 'input: 5, output: 5',
        targets: ['{ vendor: down, model: x }'],
        more: 'routing: { fallbacks: [unpriced-model, cheap] }',
      }),
      modelYaml('rises', {
        prices: 'input: 5, output: 5',
        targets: ['{ vendor: down, model: y }'],
        more: 'routing: { fallbacks: [dear] }',
      }),
      modelYaml('by-cost', {
        prices: 'input: 5, output: 5',
        targets: [
          `{ vendor: one, model: x, ${costs(3)} }`,
          `{ vendor: two, model: x, ${costs(1)} }`,
          '{ vendor: three, model: x }',
        ],
        more: 'routing: { strategy: cost }',
      }),
      modelYaml('mirrored', {
        prices: 'input: 5, output: 5',
        targets: ['{ vendor: one, model: x }', `{ vendor: shadow, model: x, ${costs(2)} }`],
        more: 'routing: { mirror: { target: shadow/x, percent: 100 } }',
      }),
    ].join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  broken.clear()
  broken.add('down')
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const ask = (more: Record<string, unknown>): Promise<Answer> => chatWith(gateway, account.key, { messages, ...more })
const tried = (): readonly string[] => vendor.calls.map(({ path }) => path.split('/')[1] ?? '')

describe('a model that does not answer', () => {
  test('is stood in for, which the head says, at the lower price of the one that served', async () => {
    const answer = await ask({ model: 'falls' })
    expect([answer.status, answer.headers.get('x-tollgate-fallback'), answer.headers.get('x-tollgate-vendor')]).toEqual(
      [200, 'cheap', 'two'],
    )
    const { cost, attempts } = await booked(gateway, account, answer.id)
    expect([cost, attempts]).toEqual([13_000n, ['down 500 vendor_error', 'two 200']])
  })

  test('is stood in for at its own price, where the other one is dearer', async () => {
    const answer = await ask({ model: 'rises' })
    expect(answer.headers.get('x-tollgate-fallback')).toBe('dear')
    expect((await booked(gateway, account, answer.id)).cost).toBe(65_000n)
  })

  test('is not stood in for where the key may not use the other one', async () => {
    const { key } = await subKey(gateway, account, { models: ['falls'] })
    const answer = await chatWith(gateway, key, { messages, model: 'falls' })
    expect([answer.status, answer.error?.code, tried()]).toEqual([502, 'vendor_error', ['down']])
  })
})

describe('the models that a caller names', () => {
  test('are tried in turn, and each costs what it costs', async () => {
    const answer = await ask({ model: 'rises', models: ['cheap'] })
    expect([answer.headers.get('x-tollgate-fallback'), (await booked(gateway, account, answer.id)).cost]).toEqual([
      'cheap',
      13_000n,
    ])
  })

  test('are never served below their price, though a cheaper one was asked for first', async () => {
    broken.add('two')
    const answer = await ask({ model: 'cheap', models: ['dear'] })
    expect([answer.headers.get('x-tollgate-fallback'), (await booked(gateway, account, answer.id)).cost]).toEqual([
      'dear',
      130_000n,
    ])
  })

  test('cost no more than the first where that answers', async () => {
    const answer = await ask({ model: 'cheap', models: ['dear'] })
    expect([answer.headers.get('x-tollgate-fallback'), (await booked(gateway, account, answer.id)).cost]).toEqual([
      null,
      13_000n,
    ])
  })

  test('must be there, and be allowed', async () => {
    expect((await ask({ model: 'cheap', models: ['nothing'] })).error?.code).toBe('model_not_found')
    const { key } = await subKey(gateway, account, { models: ['cheap'] })
    const { error } = await chatWith(gateway, key, { messages, model: 'cheap', models: ['dear'] })
    expect([error?.code, tried()]).toEqual(['permission_denied', []])
  })
})

describe('the targets of a call', () => {
  test('are ranked by their cost to us, those of unknown cost last', async () => {
    await ask({ model: 'by-cost' })
    broken.add('two')
    await ask({ model: 'by-cost' })
    expect(tried()).toEqual(['two', 'two', 'one'])
  })

  test.each([
    ['order', { order: ['three', 'one'] }, 'three'],
    ['only', { only: ['one/x'] }, 'one'],
    ['ignore', { ignore: ['two'] }, 'one'],
    ['sort', { sort: 'price' }, 'two'],
  ])('follow the caller’s wish (%s)', async (_, provider, wanted) => {
    await ask({ model: 'by-cost', provider })
    expect(tried()).toEqual([wanted])
  })

  test.each([
    [{ only: ['nobody'] }, 'provider.only'],
    [{ ignore: ['one', 'two', 'three'] }, 'provider.ignore'],
    [{ region: 'mars' }, 'provider.region'],
    [{ max_price: { prompt: 4 } }, 'provider.max_price'],
  ])('are none where the wish %j leaves none, and it is named', async (provider, param) => {
    const { status, error } = await ask({ model: 'by-cost', provider })
    expect([status, error?.code, error?.param, tried()]).toEqual([400, 'invalid_value', param, []])
  })

  test('are not told to a vendor', async () => {
    await ask({
      model: 'by-cost',
      models: ['cheap'],
      provider: { order: ['one'] },
      routing: { explain: true },
      session_id: 's',
    })
    expect(Object.keys(vendor.calls[0]?.body ?? {}).toSorted()).toEqual(['messages', 'model'])
  })

  test('are explained where that is asked for', async () => {
    const answer = await ask({ model: 'by-cost', routing: { explain: true }, provider: { ignore: ['three'] } })
    expect(JSON.parse(answer.headers.get('x-tollgate-route') ?? '')).toEqual({
      strategy: 'cost',
      targets: [
        { target: 'two/x', model: 'by-cost', state: 'closed', score: 1 },
        { target: 'one/x', model: 'by-cost', state: 'closed', score: expect.closeTo(0.333, 2) as number },
        { target: 'three/x', model: 'by-cost', state: 'closed', why: 'ignored' },
      ],
    })
    expect((await ask({ model: 'by-cost' })).headers.get('x-tollgate-route')).toBeNull()
  })
})

describe('the routing of a key', () => {
  test('stands in place of the model’s, and the caller’s wish in place of both', async () => {
    const { key } = await subKey(gateway, account, { routing: { strategy: 'priority' } })
    const byKey = (more: Record<string, unknown> = {}) =>
      chatWith(gateway, key, { messages, model: 'by-cost', ...more })
    await byKey()
    await byKey({ provider: { sort: 'price' } })
    expect(tried()).toEqual(['one', 'two'])
  })

  test('of weights alone is a score, which an explanation says', async () => {
    const weights = { cost: 1, performance: 0, quality: 0 }
    const { key } = await subKey(gateway, account, { routing: { weights } })
    const answer = await chatWith(gateway, key, { messages, model: 'by-cost', routing: { explain: true } })
    expect(JSON.parse(answer.headers.get('x-tollgate-route') ?? '{}')).toMatchObject({ strategy: 'score' })
    expect(tried()).toEqual(['two'])
  })
})

describe('in a dialect without fields for it, a caller’s wish is a header', () => {
  const contents = [{ role: 'user', parts: [{ text: 'Tell me something' }] }]
  const dialects: readonly (readonly [path: string, body: Record<string, unknown>])[] = [
    ['/v1/chat/completions', { model: 'by-cost', messages }],
    ['/v1/completions', { model: 'by-cost', prompt: 'Tell me something' }],
    ['/v1/responses', { model: 'by-cost', input: 'Tell me something' }],
    ['/v1/messages', { model: 'by-cost', max_tokens: 100, messages }],
    ['/v1beta/models/by-cost:generateContent', { contents }],
  ]
  const send = (path: string, body: Record<string, unknown>, headers: Record<string, string>) =>
    fetch(gateway.url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })

  test.each(dialects)('%s', async (path, body) => {
    const wishes: readonly Record<string, string>[] = [
      { 'x-tollgate-only': 'three' },
      { 'x-tollgate-order': 'one, three' },
      { 'x-tollgate-ignore': 'two' },
      { 'x-tollgate-sort': 'price' },
      { 'x-tollgate-max-price': 'prompt=5, completion=5' },
    ]
    const statuses: number[] = []
    for (const wish of wishes) {
      const answer = await send(path, body, wish)
      statuses.push(answer.status)
      await answer.text()
    }
    expect([statuses, tried()]).toEqual([Array(5).fill(200), ['three', 'one', 'one', 'two', 'two']])
    const dear = await send(path, body, { 'x-tollgate-max-price': 'prompt=4.99' })
    expect([dear.status, (await dear.text()).includes('max_price')]).toEqual([400, true])
    expect(tried()).toHaveLength(5)
  })

  test('and names models that stand in', async () => {
    const answer = await send(
      '/v1/messages',
      { model: 'rises', max_tokens: 10, messages },
      { 'x-tollgate-models': 'cheap' },
    )
    expect([answer.status, answer.headers.get('x-tollgate-fallback')]).toEqual([200, 'cheap'])
  })
})

test('a mirror gets the call too: nobody pays for it, and what it costs us is on record', async () => {
  const answer = await ask({ model: 'mirrored' })
  expect([answer.status, answer.headers.get('x-tollgate-vendor'), answer.headers.get('x-tollgate-attempts')]).toEqual([
    200,
    'one',
    '1',
  ])
  const { cost, account: standing } = await booked(gateway, account, answer.id)
  expect([cost, standing.balance]).toEqual([65_000n, 1_000_000_000n - 65_000n])
  await vi.waitFor(
    async () => {
      const { data } = await gateway.admin('GET', `/admin/v1/calls?account=${account.id}`)
      const rows = data as { vendor: string; charge: string; costs: Record<string, string> }[]
      const byVendor = rows.toSorted((a, b) => (a.vendor < b.vendor ? -1 : 1))
      expect(byVendor.map((row) => [row.vendor, row.charge, row.costs])).toEqual([
        ['one', '0.000065', {}],
        ['shadow', '0', { USD: '0.000026' }],
      ])
    },
    { timeout: 15_000, interval: 100 },
  )
})

test('the page of health tells of targets, their errors and keys, and shows no secret', async () => {
  await ask({ model: 'falls' })
  const page = await gateway.admin('GET', '/admin/v1/health')
  const targets = page['targets'] as Record<string, unknown>[]
  const down = targets.find(({ vendor: id, vendor_model: model }) => id === 'down' && model === 'x')
  expect(down).toMatchObject({
    models: ['falls'],
    in_flight: 0,
    last_errors: expect.arrayContaining([expect.objectContaining({ code: 'vendor_error', status: 500 })]) as unknown,
  })
  const vendors = page['vendors'] as { vendor: string; keys: unknown[] }[]
  expect(vendors.find(({ vendor: id }) => id === 'two')?.keys).toEqual([
    { name: 'key-1', priority: 'normal', in_flight: 0, parked: null, retry_in_ms: 0, busy_models: [], quota_left: {} },
  ])
  expect(JSON.stringify(page)).not.toContain('secret-of')
})

test('a user rates an answer once, and the mark counts for its target', async () => {
  const { id } = await ask({ model: 'dear' })
  const rate = (body: unknown) =>
    fetch(`${gateway.url}/v1/feedback`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  expect([(await rate({ id, score: 0 })).status, (await rate({ id, score: 1 })).status]).toEqual([201, 409])
  const other = await gateway.account('1')
  expect((await rate({ id: other.key, score: 1 })).status).toBe(400)
  const targets = (await gateway.admin('GET', '/admin/v1/health'))['targets'] as Record<string, unknown>[]
  expect(targets.find(({ vendor: name }) => name === 'three')?.['feedback']).toBeLessThan(1)
})
