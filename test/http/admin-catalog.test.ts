import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { unitNames } from '../../src/core/price.ts'
import { model as modelTable, price as priceTable, vendor as vendorTable } from '../../src/db/schema.ts'
import { findModel, loadCatalog, provision } from '../../src/gateway/catalog.ts'
import { openOffice, type Body, type Office } from './office.ts'

const models = '/admin/v1/models'
const vendors = `
vendors:
  main: { adapter: openai, base_url: https://main.example/v1, api_keys: [secret-of-main] }
  spare: { adapter: openai, base_url: https://spare.example/v1, api_keys: [''] }
defaults: { policies: { client_abort: drain } }
`
const yaml = `${vendors}
models:
  from/file:
    targets: [{ vendor: main, model: v1, region: eu }]
    prices: { input: '0.15', output: '0.60' }
  odd/prices:
    targets: [{ vendor: main, model: v1 }]
`
const target = { vendor: 'main', model: 'v1' }
const plain = { currency: 'USD', prices: { input: '0.15', output: '0.6' } }

let office: Office
let names = 0

beforeAll(async () => {
  office = await openOffice(yaml)
}, 120_000)
afterAll(() => office.close())

const put = (name: string, body: Body = {}) =>
  office.ask('PUT', `${models}/${name}`, { body: { targets: [target], ...body } })
const price = (name: string, body: Body = plain) => office.ask('PUT', `${models}/${name}/prices`, { body })
const refusal = async (...request: Parameters<Office['refusal']>) => (await office.refusal(...request)).slice(0, 3)
const offered = (name: string) => office.catalog.current().models.get(name)

/** A model of its own for a test. */
async function newModel(body: Body = {}): Promise<string> {
  const name = `made/number-${++names}`
  await put(name, body)
  return name
}

async function history(name: string): Promise<readonly Body[]> {
  return (await office.ask('GET', `${models}/${name}/prices`)).body['history'] as Body[]
}

describe('the vendors', () => {
  test('are shown without their keys', async () => {
    const one = { object: 'vendor', adapter: 'openai' }
    expect(await office.ask('GET', '/admin/v1/vendors')).toEqual({
      status: 200,
      body: {
        object: 'list',
        data: [
          { ...one, id: 'main', base_url: 'https://main.example/v1', live: true, provisioned: true },
          { ...one, id: 'spare', base_url: 'https://spare.example/v1', live: false, provisioned: true },
        ],
        next_cursor: null,
      },
    })
  })

  test('come in pages', async () => {
    const first = await office.ask('GET', '/admin/v1/vendors?limit=1')
    const second = await office.ask('GET', `/admin/v1/vendors?limit=1&cursor=${String(first.body['next_cursor'])}`)
    const listed = [first, second].map(({ body }) => [
      (body['data'] as Body[]).map(({ id }) => id),
      body['next_cursor'],
    ])
    expect(listed).toEqual([
      [['main'], 'main'],
      [['spare'], null],
    ])
  })
})

describe('a model', () => {
  test('is made whole, offered at once, and read again the same', async () => {
    const body = {
      targets: [
        { ...target, region: 'eu' },
        { vendor: 'spare', model: 'v2' },
      ],
      max_output_tokens: 7,
      policies: { unstreamed: 'whole' },
    }
    const made = await office.ask('PUT', `${models}/a/b/c`, { body })
    const { created_at: created, ...rest } = made.body
    expect([made.status, typeof created, rest]).toEqual([
      201,
      'string',
      {
        object: 'model',
        name: 'a/b/c',
        targets: [
          { ...target, region: 'eu' },
          { vendor: 'spare', model: 'v2', region: null },
        ],
        max_output_tokens: 7,
        policies: { unstreamed: 'whole', client_abort: 'drain', abort_before_content: 'free' },
        disabled: false,
        provisioned: false,
      },
    ])
    expect(await office.ask('GET', `${models}/a/b/c`)).toEqual({ status: 200, body: made.body })
    expect(offered('a/b/c')).toEqual({
      name: 'a/b/c',
      targets: [
        { ...target, region: 'eu' },
        { vendor: 'spare', model: 'v2' },
      ],
      maxOutputTokens: 7,
      policies: { unstreamed: 'whole', clientAbort: 'drain', abortBeforeContent: 'free' },
      createdAtMs: Date.parse(String(created)),
      provisioned: false,
    })
  })

  test('has 16384 output tokens and the policies of the file unless told otherwise', async () => {
    const { body } = await office.ask('GET', `${models}/${await newModel()}`)
    expect([body['max_output_tokens'], body['policies']]).toEqual([
      16_384,
      { unstreamed: 'auto', client_abort: 'drain', abort_before_content: 'free' },
    ])
  })

  test('is replaced whole by another PUT, but for its prices', async () => {
    const name = await newModel({ max_output_tokens: 7, policies: { client_abort: 'void' } })
    await price(name)
    const { status, body } = await put(name, { targets: [{ vendor: 'spare', model: 'v9' }] })
    expect([status, body['targets'], body['max_output_tokens'], (body['policies'] as Body)['client_abort']]).toEqual([
      200,
      [{ vendor: 'spare', model: 'v9', region: null }],
      16_384,
      'drain',
    ])
    expect(offered(name)?.prices?.nanos).toEqual({ input: 150_000_000n, output: 600_000_000n })
  })

  test('can be sent back the way it was shown', async () => {
    const name = await newModel({ targets: [{ ...target, region: 'eu' }] })
    const shown = (await office.ask('GET', `${models}/${name}`)).body
    const { targets, max_output_tokens, policies, disabled } = shown
    expect((await put(name, { targets, max_output_tokens, policies, disabled })).body).toEqual(shown)
  })

  test('says what packages count for it, where it says so', async () => {
    const name = await newModel({ token_weights: { output: '2.50', image: '1000' } })
    const path = `/admin/v1/models/${name}`
    expect((await office.ask('GET', path)).body['token_weights']).toEqual({ image: '1000', output: '2.5' })
    await office.catalog.reload()
    expect(office.catalog.current().models.get(name)?.tokenWeights).toEqual({ image: 1_000_000_000, output: 2_500_000 })
    await put(name)
    expect((await office.ask('GET', path)).body).not.toHaveProperty('token_weights')
  })

  test('says how its targets are chosen and what they cost, where it says so', async () => {
    const routing = {
      strategy: 'score',
      weights: { cost: 2 },
      canary: { target: 'spare/v2', percent: 5 },
      hedge_ms: 900,
    }
    const costs = { input: '0.5', output: '2' }
    const name = await newModel({
      routing,
      targets: [{ ...target, costs, weight: 3, quality: 80, context_tokens: 8_000 }],
    })
    const { body } = await office.ask('GET', `${models}/${name}`)
    expect([body['routing'], body['targets']]).toEqual([
      routing,
      [{ ...target, region: null, costs, weight: 3, quality: 80, context_tokens: 8_000 }],
    ])
    const { routing: policy, targets: [only] = [] } = office.catalog.current().models.get(name) ?? {}
    expect(policy).toMatchObject({
      strategy: 'score',
      weights: { cost: 2, performance: 0, quality: 0 },
      hedgeMs: 900,
      retries: 0,
    })
    expect(only).toMatchObject({
      weight: 3,
      quality: 80,
      contextTokens: 8_000,
      costs: { nanos: { input: 500_000_000n } },
    })
  })

  test('that is disabled is not offered until it is enabled', async () => {
    const name = await newModel({ disabled: true })
    const before = offered(name)
    await put(name)
    expect([before, offered(name)?.name]).toEqual([undefined, name])
  })

  test('is gone once it is deleted, and one of its name starts without its prices', async () => {
    const name = await newModel()
    await price(name)
    const deleted = await office.ask('DELETE', `${models}/${name}`)
    const after = [
      offered(name),
      await refusal('GET', `${models}/${name}`),
      await refusal('DELETE', `${models}/${name}`),
    ]
    await put(name)
    expect([deleted, after, offered(name)?.prices]).toEqual([
      { status: 200, body: { object: 'model', name, deleted: true } },
      [undefined, [404, 'not_found', undefined], [404, 'not_found', undefined]],
      undefined,
    ])
    expect((await history(name)).every(({ valid_to: end }) => end !== null)).toBe(true)
  })

  test.each<[string, Body, string]>([
    ['no targets', { targets: [] }, 'targets'],
    ['null for targets', { targets: null }, 'targets'],
    ['33 targets', { targets: Array.from({ length: 33 }, (_, n) => ({ ...target, model: `v${n}` })) }, 'targets'],
    ['a vendor that nobody knows', { targets: [target, { vendor: 'nobody', model: 'v1' }] }, 'targets[1].vendor'],
    ['a vendor of another case', { targets: [{ vendor: 'Main', model: 'v1' }] }, 'targets[0].vendor'],
    ['no vendor', { targets: [{ model: 'v1' }] }, 'targets[0].vendor'],
    ['a blank in the name at the vendor', { targets: [{ ...target, model: 'a b' }] }, 'targets[0].model'],
    ['an empty region', { targets: [{ ...target, region: '' }] }, 'targets[0].region'],
    ['the same target twice', { targets: [target, { ...target, region: 'eu' }, target] }, 'targets[2]'],
    [
      'the same target without and with a null region',
      { targets: [target, { ...target, region: null }] },
      'targets[1]',
    ],
    ['an unknown field of a target', { targets: [{ ...target, color: 1 }] }, 'targets[0].color'],
    ['a weight that is no number', { targets: [{ ...target, weight: 'much' }] }, 'targets[0].weight'],
    [
      'costs that are no money',
      { targets: [{ ...target, costs: { input: 'little', output: '1' } }] },
      'targets[0].costs.input',
    ],
    ['an unknown strategy', { routing: { strategy: 'best' } }, 'routing.strategy'],
    ['weights of nothing', { routing: { weights: { cost: 0 } } }, 'routing.weights'],
    ['a weight of nothing', { token_weights: { output: '0' } }, 'token_weights.output'],
    ['a weight of nothing known', { token_weights: { outputs: '1' } }, 'token_weights.outputs'],
    ['no output', { max_output_tokens: 0 }, 'max_output_tokens'],
    ['too much output', { max_output_tokens: 10_000_001 }, 'max_output_tokens'],
    ['half a token', { max_output_tokens: 1.5 }, 'max_output_tokens'],
    ['digits in a string', { max_output_tokens: '5' }, 'max_output_tokens'],
    ['an unknown policy', { policies: { refund: 'free' } }, 'policies.refund'],
    ['an unknown word for a policy', { policies: { client_abort: 'maybe' } }, 'policies.client_abort'],
    ['a word for disabled', { disabled: 'yes' }, 'disabled'],
    ['prices', { prices: { input: '1' } }, 'prices'],
    ['a name', { name: 'other' }, 'name'],
  ])('is not made with %s', async (_, body, param) => {
    expect(await refusal('PUT', `${models}/refused`, { body: { targets: [target], ...body } })).toEqual([
      400,
      'invalid_value',
      param,
    ])
  })

  test('may have 32 targets and 10000000 output tokens', async () => {
    const targets = Array.from({ length: 32 }, (_, n) => ({ ...target, model: `v${n}` }))
    const { status, body } = await put('a-large-one', { targets, max_output_tokens: 10_000_000 })
    expect([status, (body['targets'] as Body[]).map(({ model }) => model)]).toEqual([
      201,
      targets.map(({ model }) => model),
    ])
  })

  test.each(['a%20b', '%00', '-a', '%E4', 'a%22', 'a'.repeat(129), 'caf%C3%A9'])(
    'is not made under the name "%s", nor found',
    async (name) => {
      expect([
        await refusal('PUT', `${models}/${name}`, { body: { targets: [target] } }),
        await refusal('GET', `${models}/${name}`),
        await refusal('DELETE', `${models}/${name}`),
        await refusal('PUT', `${models}/${name}/prices`, { body: plain }),
      ]).toEqual([
        [400, 'invalid_value', 'name'],
        [404, 'not_found', undefined],
        [404, 'not_found', undefined],
        [404, 'not_found', undefined],
      ])
    },
  )

  test('may have a name of 128 characters, and one with every sign that is allowed', async () => {
    expect([(await put('a'.repeat(128))).status, (await put('A0._:/@+-')).status]).toEqual([201, 201])
  })

  test('whose name ends like the path of prices is written with %2F', async () => {
    const { status, body } = await office.ask('GET', `${models}/odd%2Fprices`)
    const prices = await office.ask('GET', `${models}/odd%2Fprices/prices`)
    expect([status, body['name'], prices.body['model'], await refusal('GET', `${models}/odd/prices`)]).toEqual([
      200,
      'odd/prices',
      'odd/prices',
      [404, 'not_found', undefined],
    ])
  })

  test('is listed in pages, by name', async () => {
    await Promise.all(
      ['page/1', 'page/2', 'page/3'].map((name) => put(name, { targets: [target, { vendor: 'spare', model: name }] })),
    )
    const first = await office.ask('GET', `${models}?limit=2&cursor=page/0`)
    const second = await office.ask('GET', `${models}?limit=1&cursor=${String(first.body['next_cursor'])}`)
    const listed = [first, second].flatMap(({ body }) =>
      (body['data'] as Body[]).map(({ name, targets }) => [name, (targets as Body[]).map(({ model }) => model)]),
    )
    expect([listed, first.body['next_cursor']]).toEqual([
      [
        ['page/1', ['v1', 'page/1']],
        ['page/2', ['v1', 'page/2']],
        ['page/3', ['v1', 'page/3']],
      ],
      'page/2',
    ])
  })

  test('sent by many at once is one of them, whole', async () => {
    const bodies = Array.from({ length: 6 }, (_, n) => ({
      targets: [target, { vendor: 'spare', model: `n${n}` }],
      max_output_tokens: n + 1,
    }))
    await Promise.all(bodies.map((body) => put('at-once', body)))
    const { body } = await office.ask('GET', `${models}/at-once`)
    const winner = bodies[Number(body['max_output_tokens']) - 1]
    expect((body['targets'] as Body[]).map(({ model }) => model)).toEqual(winner?.targets.map(({ model }) => model))
  })
})

describe('prices', () => {
  test('are set to the nano, hold at once, and are read again the same', async () => {
    const name = await newModel()
    const set = await price(name, { prices: { input: '0.150000001', output: '999999', image: '0.000000001' } })
    const { history: rows, ...rest } = set.body
    expect([set.status, rest]).toEqual([
      200,
      {
        object: 'prices',
        model: name,
        currency: 'USD',
        free: false,
        prices: { input: '0.150000001', output: '999999', image: '0.000000001' },
        rates: [],
        next_cursor: null,
      },
    ])
    expect(await office.ask('GET', `${models}/${name}/prices`)).toEqual({ status: 200, body: set.body })
    expect(
      (rows as Body[]).map(({ unit, currency, price: each, valid_to: end }) => [unit, currency, each, end]),
    ).toEqual(
      expect.arrayContaining([
        ['image', 'USD', '0.000000001', null],
        ['input', 'USD', '0.150000001', null],
        ['output', 'USD', '999999', null],
      ]),
    )
    expect(offered(name)?.prices?.nanos).toEqual({ input: 150_000_001n, output: 999_999_000_000_000n, image: 1n })
  })

  test('of a model that has none are none', async () => {
    const name = await newModel()
    expect((await office.ask('GET', `${models}/${name}/prices`)).body).toEqual({
      object: 'prices',
      model: name,
      currency: null,
      free: false,
      prices: {},
      rates: [],
      history: [],
      next_cursor: null,
    })
  })

  test('that change end where the new ones begin, and the unchanged keep their row', async () => {
    const name = await newModel()
    await price(name)
    const before = await history(name)
    await price(name, { prices: { input: '0.2', output: '0.6' } })
    const [changed, ...rest] = await history(name)
    expect([changed?.['unit'], changed?.['price'], changed?.['valid_to']]).toEqual(['input', '0.2', null])
    expect(rest).toEqual(
      before.map((row) => (row['unit'] === 'input' ? { ...row, valid_to: changed?.['valid_from'] } : row)),
    )
  })

  test('sent again change nothing', async () => {
    const name = await newModel()
    const first = await price(name)
    expect(await price(name)).toEqual(first)
  })

  test('that are left out end', async () => {
    const name = await newModel()
    await price(name, { prices: { input: '1', output: '2', cached_input: '0.5' } })
    await price(name, { prices: { input: '1', output: '2' } })
    expect(offered(name)?.prices?.nanos).toEqual({ input: 1_000_000_000n, output: 2_000_000_000n })
  })

  test('are in one currency: those in another end', async () => {
    const name = await newModel()
    await price(name)
    await price(name, { ...plain, currency: 'EUR' })
    const open = (await history(name)).filter(({ valid_to: end }) => end === null)
    expect([offered(name)?.prices?.currency, open.map(({ currency }) => currency)]).toEqual(['EUR', ['EUR', 'EUR']])
  })

  test('changed faster than the clock ticks leave no two at once', async () => {
    const name = await newModel()
    const amounts = ['1', '2', '3', '4', '5', '6', '7', '8']
    const answers = await Promise.all(amounts.map((input) => price(name, { prices: { input, output: '1' } })))
    const open = (await history(name)).filter(({ unit, valid_to: end }) => unit === 'input' && end === null)
    const now = (await office.ask('GET', `${models}/${name}/prices`)).body['prices'] as Body
    expect([answers.map(({ status }) => status), open.map((row) => row['price'])]).toEqual([
      amounts.map(() => 200),
      [now['input']],
    ])
  })

  test('have a history in pages, newest first', async () => {
    const name = await newModel()
    for (const input of ['1', '2', '3']) await price(name, { prices: { input, output: '1' } })
    const path = `${models}/${name}/prices?limit=2`
    const first = await office.ask('GET', path)
    const second = await office.ask('GET', `${path}&cursor=${String(first.body['next_cursor'])}`)
    const rows = [first, second].flatMap(({ body }) => body['history'] as Body[])
    expect([rows, second.body['next_cursor']]).toEqual([await history(name), null])
  })

  test('that hold under a condition are shown, and end when the prices are set anew', async () => {
    const name = await newModel()
    await price(name)
    const row = { model: name, currency: 'USD', tier: 'prompt>=200001', validFrom: new Date(0) }
    await office.database.drizzle.insert(priceTable).values([
      { ...row, unit: 'input', nanos: 300_000_000n },
      { ...row, unit: 'output', nanos: 1_200_000_000n },
    ])
    const { rates, prices } = (await office.ask('GET', `${models}/${name}/prices`)).body
    const after = (await price(name)).body
    expect([prices, rates, after['prices'], after['rates']]).toEqual([
      plain.prices,
      [{ when: 'prompt>=200001', prices: { input: '0.3', output: '1.2' }, token_multiplier: null }],
      plain.prices,
      [],
    ])
    expect((await history(name)).filter(({ when }) => when !== null).map(({ price: each }) => each)).toEqual([
      '1.2',
      '0.3',
    ])
  })

  test('of nothing need a word', async () => {
    const name = await newModel()
    const prices = { input: '1', output: '2', cached_input: '0' }
    const refused = await refusal('PUT', `${models}/${name}/prices`, { body: { prices } })
    const taken = await price(name, { free: true, prices })
    expect([refused, taken.body['free'], taken.body['prices']]).toEqual([
      [400, 'invalid_value', 'prices.cached_input'],
      true,
      { input: '1', cached_input: '0', output: '2' },
    ])
  })

  test('of a free model are zero for every unit', async () => {
    const { body } = await price(await newModel(), { free: true })
    expect([body['free'], body['prices']]).toEqual([true, Object.fromEntries(unitNames.map((unit) => [unit, '0']))])
  })

  test.each<[string, Body, string]>([
    ['nothing', {}, 'prices'],
    ['no price for output', { prices: { input: '1' } }, 'prices.output'],
    ['no price for input', { prices: { output: '1' } }, 'prices.input'],
    ['a unit that nobody knows', { prices: { ...plain.prices, tokens: '1' } }, 'prices.tokens'],
    ['a unit named like a property of all objects', { prices: { ...plain.prices, toString: '1' } }, 'prices.toString'],
    ['a number', { prices: { ...plain.prices, input: 1 } }, 'prices.input'],
    ['null', { prices: { ...plain.prices, image: null } }, 'prices.image'],
    ['a negative price', { prices: { ...plain.prices, input: '-1' } }, 'prices.input'],
    ['an exponent', { prices: { ...plain.prices, input: '1e3' } }, 'prices.input'],
    ['ten decimals', { prices: { ...plain.prices, input: '0.0000000001' } }, 'prices.input'],
    ['a price above the largest', { prices: { ...plain.prices, input: '999999.000000001' } }, 'prices.input'],
    ['a price of zero', { prices: { ...plain.prices, output: '0' } }, 'prices.output'],
    ['a price of zero, written longer', { prices: { ...plain.prices, output: '0.000' } }, 'prices.output'],
    ['free, and no price that is zero', { ...plain, free: true }, 'free'],
    ['a word for free', { ...plain, free: 'yes' }, 'free'],
    ['a currency in small letters', { ...plain, currency: 'usd' }, 'currency'],
    ['no currency at all', { ...plain, currency: null }, 'currency'],
    ['a moment', { ...plain, valid_from: '2030-01-01T00:00:00Z' }, 'valid_from'],
  ])('are not %s', async (_, body, param) => {
    expect(await refusal('PUT', `${models}/from/file/prices`, { body })).toEqual([400, 'invalid_value', param])
  })

  test('of no model are not found', async () => {
    expect([
      await refusal('GET', `${models}/nothing/here/prices`),
      await refusal('PUT', `${models}/nothing/here/prices`, { body: plain }),
    ]).toEqual([
      [404, 'not_found', undefined],
      [404, 'not_found', undefined],
    ])
  })

  test('with a cursor that is none are neither shown nor changed', async () => {
    const name = await newModel()
    const path = `${models}/${name}/prices?cursor=x`
    expect([await refusal('GET', path), await refusal('PUT', path, { body: plain }), await history(name)]).toEqual([
      [400, 'invalid_value', 'cursor'],
      [400, 'invalid_value', 'cursor'],
      [],
    ])
  })
})

describe('what the file declares', () => {
  test('is shown with its prices', async () => {
    const { created_at: _, ...shown } = (await office.ask('GET', `${models}/from/file`)).body
    const prices = await office.ask('GET', `${models}/from/file/prices`)
    expect([shown, prices.body['prices'], (prices.body['history'] as Body[]).length]).toEqual([
      {
        object: 'model',
        name: 'from/file',
        targets: [{ ...target, region: 'eu' }],
        max_output_tokens: 16_384,
        policies: { unstreamed: 'auto', client_abort: 'drain', abort_before_content: 'free' },
        disabled: false,
        provisioned: true,
      },
      { input: '0.15', output: '0.6' },
      2,
    ])
  })

  test('is read-only', async () => {
    const refused = [409, 'conflict', undefined, 'The model comes from the configuration: change it there.']
    expect([
      await office.refusal('PUT', `${models}/from/file`, { body: { targets: [target] } }),
      await office.refusal('DELETE', `${models}/from/file`),
      await office.refusal('PUT', `${models}/from/file/prices`, { body: plain }),
    ]).toEqual([refused, refused, refused])
  })

  test('and has left it is the API’s once it is made anew', async () => {
    const own = await openOffice(`${vendors}
models:
  leaving: { targets: [{ vendor: main, model: v1 }], prices: { input: 1, output: 2 } }
`)
    const config = readConfig({ text: vendors, path: 'x.yaml', env: {} })
    const path = `${models}/leaving`
    await provision(own.database, config)
    const left = (await own.ask('GET', path)).body
    const unpriced = await own.refusal('PUT', `${path}/prices`, { body: plain })
    await own.ask('PUT', path, { body: { targets: [target] } })
    await own.ask('PUT', `${path}/prices`, { body: plain })
    await provision(own.database, config)
    const catalog = await loadCatalog(own.database, config)
    expect([
      left['disabled'],
      left['provisioned'],
      left['targets'],
      unpriced,
      findModel(catalog, 'leaving')?.prices?.nanos,
    ]).toEqual([
      true,
      false,
      [],
      [409, 'conflict', undefined, 'The model has left the configuration: PUT the model itself first.'],
      { input: 150_000_000n, output: 600_000_000n },
    ])
    await own.close()
  }, 120_000)
})

describe('the catalog', () => {
  test('is no business of a master key', async () => {
    const account = (await office.ask('POST', '/admin/v1/accounts', { body: { name: 'acme' } })).body['id']
    const key = String((await office.ask('POST', '/admin/v1/keys', { body: { account } })).body['key'])
    const refused = [403, 'permission_denied', undefined, 'The catalog is managed with management keys only.']
    const path = `${models}/from/file`
    expect([
      await office.refusal('GET', '/admin/v1/vendors', { key }),
      await office.refusal('GET', models, { key }),
      await office.refusal('GET', path, { key }),
      await office.refusal('PUT', path, { key, body: {} }),
      await office.refusal('DELETE', path, { key }),
      await office.refusal('GET', `${path}/prices`, { key }),
      await office.refusal('PUT', `${path}/prices`, { key, body: {} }),
    ]).toEqual(Array.from({ length: 7 }, () => refused))
  })

  test('takes no other methods', async () => {
    expect([
      await refusal('POST', '/admin/v1/vendors'),
      await refusal('POST', models),
      await refusal('PATCH', `${models}/a/b`),
      await refusal('DELETE', `${models}/a/b/prices`),
    ]).toEqual(Array.from({ length: 4 }, () => [405, 'method_not_allowed', undefined]))
  })

  test('does not change when a change is refused', async () => {
    const rows = async () => [
      await office.database.drizzle.$count(modelTable),
      await office.database.drizzle.$count(priceTable),
      await office.database.drizzle.$count(vendorTable),
    ]
    const [before, catalog] = [await rows(), office.catalog.current()]
    await put('refused', { targets: [] })
    await price('from/file', {})
    expect([await rows(), office.catalog.current() === catalog]).toEqual([before, true])
  })
})
