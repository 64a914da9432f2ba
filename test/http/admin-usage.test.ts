import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiKey } from '../../src/db/schema.ts'
import { attempt, newId, record } from '../db/records.ts'
import { noonMs, openOffice, type Office } from './office.ts'

let office: Office
let account: number
const calls: string[] = []
const [master, sub] = ['master-key-of-this-test', 'sub-key-of-this-test']

/** Three calls: two of the master key an hour apart, one of its sub-key. */
beforeAll(async () => {
  office = await openOffice()
  const { books, crypto, database } = office
  account = (await books.createAccount({ name: 'acme', currency: 'USD' })).id
  const keys: number[] = []
  for (const [index, text] of [master, sub].entries()) {
    const below = index === 0 ? {} : ({ kind: 'sub', parentId: keys[0], depth: 1 } as const)
    const [row] = await database.drizzle
      .insert(apiKey)
      .values({ publicId: text.slice(0, 6), kind: 'master', accountId: account, hash: crypto.keyHash(text), ...below })
      .returning({ id: apiKey.id })
    keys.push(row?.id ?? 0)
  }
  const [purse] = await books.purses(account)
  const made = [
    { keyId: keys[0] ?? 0, amount: 10n, model: 'ours/fast', hours: -1 },
    { keyId: keys[0] ?? 0, amount: 20n, model: 'ours/slow', hours: 0 },
    { keyId: keys[1] ?? 0, amount: 40n, model: 'ours/fast', hours: 0 },
  ].map(({ keyId, amount, model, hours }) => {
    const startedAtMs = noonMs - 10 * 60_000 + hours * 3_600_000
    return record({
      id: newId(startedAtMs),
      accountId: account,
      keyId,
      model,
      startedAtMs,
      endedAtMs: startedAtMs + 5,
      parts: [
        {
          purse: purse?.id ?? 0,
          lease: 0,
          amount,
        },
      ],
      attempts: [
        attempt({
          cost: 1n,
          costCurrency: 'USD',
        }),
      ],
    })
  })
  await books.flush(made)
  calls.push(...made.map(({ id }) => id))
}, 120_000)
afterAll(() => office.close())

const get = async (path: string, key?: string) => office.ask('GET', path, key === undefined ? {} : { key })
const own = { object: 'usage', currency: 'USD' }

describe('usage for operators', () => {
  test('without groups is one sum for each currency', async () => {
    expect(await get(`/admin/v1/usage?account=${account}`)).toEqual({
      status: 200,
      body: {
        object: 'list',
        data: [
          {
            ...own,
            calls: 3,
            input_tokens: 300,
            output_tokens: 60,
            charge: '0.00000007',
            cost: '0.000000003',
            margin: '0.000000067',
          },
        ],
        next_cursor: null,
      },
    })
  })

  test('is grouped in the order asked for, page by page', async () => {
    const first = await get('/admin/v1/usage?group_by=key,model&limit=2')
    const rows = (body: unknown) =>
      (body as { data: Record<string, unknown>[] }).data.map(({ key, model, charge }) => [key, model, charge])
    expect(rows(first.body)).toEqual([
      ['master', 'ours/fast', '0.00000001'],
      ['master', 'ours/slow', '0.00000002'],
    ])
    const second = await get(`/admin/v1/usage?group_by=key,model&limit=2&cursor=${String(first.body['next_cursor'])}`)
    expect([rows(second.body), second.body['next_cursor']]).toEqual([[['sub-ke', 'ours/fast', '0.00000004']], null])
  })

  test('names accounts by number', async () => {
    const { body } = await get('/admin/v1/usage?group_by=account,day&time_zone=Asia/Shanghai')
    expect(body['data']).toMatchObject([{ account, day: '2030-01-01', calls: 3 }])
  })

  test.each([
    ['group_by', 'group_by=hour'],
    ['group_by', 'group_by=day,day'],
    ['time_zone', 'time_zone=Mars'],
    ['from', 'from=yesterday'],
    ['from', 'from=2030-01-01T00:00:00Z&to=2030-01-01T00:00:00Z'],
    ['from', 'from=2020-01-01T00:00:00Z'],
    ['limit', 'limit=201'],
    ['cursor', 'cursor=x'],
    ['cursor', `cursor=${btoa('["x","USD"]')}&group_by=account`],
    ['account', 'account=acme'],
    ['sort', 'sort=charge'],
  ])('refuses a wrong %s: %s', async (param, query) => {
    expect((await office.refusal('GET', `/admin/v1/usage?${query}`)).slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test('spans 400 days and not a millisecond more', async () => {
    const span = (from: string) => get(`/admin/v1/usage?to=2030-01-01T00:00:00.000Z&from=${from}`)
    expect((await span('2028-11-27T00:00:00.000Z')).status).toBe(200)
    expect((await span('2028-11-26T23:59:59.999Z')).status).toBe(400)
  })

  test.each(['/admin/v1/usage', '/admin/v1/calls'])('%s is not for an account', async (path) => {
    expect((await get(path, master)).status).toBe(403)
  })
})

describe('the list of calls', () => {
  test('is newest first, in pages', async () => {
    const first = await get(`/admin/v1/calls?account=${account}&limit=2`)
    const ids = (body: unknown) => (body as { data: { id: string }[] }).data.map(({ id }) => id)
    expect(ids(first.body)).toEqual([calls[2], calls[1]])
    const second = await get(`/admin/v1/calls?account=${account}&limit=2&cursor=${String(first.body['next_cursor'])}`)
    expect([ids(second.body), second.body['next_cursor']]).toEqual([[calls[0]], null])
  })

  test('shows a call whole', async () => {
    const { body } = await get('/admin/v1/calls?key=sub-ke')
    expect(body['data']).toEqual([
      {
        object: 'call',
        id: calls[2],
        account,
        key: 'sub-ke',
        model: 'ours/fast',
        vendor: 'openai',
        vendor_model: 'gpt-4o-2024-11-20',
        outcome: 'complete',
        error: null,
        stream: true,
        input_tokens: 100,
        output_tokens: 20,
        usage_source: 'vendor',
        currency: 'USD',
        priced: '0.00000004',
        charge: '0.00000004',
        refunded: '0',
        costs: { USD: '0.000000001' },
        first_byte_ms: null,
        created_at: '2030-01-01T11:50:00.000Z',
        ended_at: '2030-01-01T11:50:00.005Z',
      },
    ])
  })

  test('refuses a cursor that is no call', async () => {
    expect((await office.refusal('GET', '/admin/v1/calls?cursor=7')).slice(0, 3)).toEqual([
      400,
      'invalid_value',
      'cursor',
    ])
  })
})

describe('usage for a key', () => {
  test('has what it and the keys below it used, and no cost', async () => {
    const { body } = await get('/v1/usage?group_by=key', master)
    expect(body).toEqual({
      object: 'list',
      data: [
        { ...own, key: 'master', calls: 2, input_tokens: 200, output_tokens: 40, charge: '0.00000003' },
        { ...own, key: 'sub-ke', calls: 1, input_tokens: 100, output_tokens: 20, charge: '0.00000004' },
      ],
      next_cursor: null,
    })
  })

  test('has nothing of the keys above it', async () => {
    const { body } = await get('/v1/usage?group_by=model', sub)
    expect(body['data']).toEqual([
      { ...own, model: 'ours/fast', calls: 1, input_tokens: 100, output_tokens: 20, charge: '0.00000004' },
    ])
    expect((await get('/v1/usage?key=master', sub)).body['data']).toEqual([])
  })

  test.each(['vendor', 'account'])('is not grouped by %s', async (group) => {
    const asked = office.refusal('GET', `/v1/usage?group_by=${group}`, { key: master })
    expect((await asked).slice(0, 3)).toEqual([400, 'invalid_value', 'group_by'])
  })

  test('is not for a management key', async () => {
    expect((await get('/v1/usage')).status).toBe(403)
  })
})
