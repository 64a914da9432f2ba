import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noonMs, openOffice, type Body, type Office } from './office.ts'

let office: Office
beforeAll(async () => {
  office = await openOffice()
}, 60_000)
afterAll(() => office.close())

let names = 0
const reference = () => `ref-${++names}`
const dayMs = 86_400_000
const iso = (ms: number) => new Date(ms).toISOString()

async function newAccount(over: Body = {}): Promise<number> {
  const { body } = await office.ask('POST', '/admin/v1/accounts', { body: { name: reference(), ...over } })
  return body['id'] as number
}
const grants = (account: number) => `/admin/v1/accounts/${account}/grants`
const quotas = (account: number) => `/admin/v1/accounts/${account}/quotas`

describe('grants', () => {
  test('of credit are made with what was asked for', async () => {
    const account = await newAccount()
    const wanted = {
      kind: 'credit',
      amount: '5.50',
      priority: 10,
      models: ['gpt-*'],
      expires_at: iso(noonMs + dayMs),
      reference: reference(),
    }
    const { status, body } = await office.ask('POST', grants(account), { body: wanted })
    const { id, created_at: created, ...rest } = body
    expect(status).toBe(201)
    expect([typeof id, typeof created]).toEqual(['number', 'string'])
    expect(rest).toEqual({
      object: 'grant',
      account,
      kind: 'credit',
      amount: '5.5',
      left: '5.5',
      currency: 'USD',
      priority: 10,
      models: ['gpt-*'],
      effective_at: iso(noonMs),
      expires_at: iso(noonMs + dayMs),
      voided_at: null,
      quota: null,
      source: 'admin',
      reference: wanted.reference,
      applied: true,
    })
    expect(office.recharges).toContain(account)
  })

  test('that are packages have tokens and a price', async () => {
    const account = await newAccount()
    const { body } = await office.ask('POST', grants(account), {
      body: { kind: 'package', tokens: '1000000', price: '2', source: 'shop', reference: reference() },
    })
    expect(body).toMatchObject({
      kind: 'package',
      tokens: '1000000',
      left: '1000000',
      price: '2',
      priority: 50,
      models: [],
      expires_at: null,
      source: 'shop',
    })
    expect(body).not.toHaveProperty('amount')
  })

  test('sent again are answered as they are', async () => {
    const account = await newAccount()
    const body = { kind: 'credit', amount: '1', reference: reference() }
    const first = await office.ask('POST', grants(account), { body })
    const again = await office.ask('POST', grants(account), { body })
    expect([first.status, again.status]).toEqual([201, 200])
    expect(again.body).toEqual({ ...first.body, applied: false })
  })

  test('with a reference of another are refused', async () => {
    const account = await newAccount()
    const body = { kind: 'credit', amount: '1', reference: reference() }
    await office.ask('POST', grants(account), { body })
    expect((await office.refusal('POST', grants(account), { body: { ...body, amount: '2' } })).slice(0, 3)).toEqual([
      409,
      'conflict',
      'reference',
    ])
  })

  test.each([
    ['no kind', { amount: '1' }, 'kind'],
    ['credit without an amount', { kind: 'credit' }, 'amount'],
    ['credit of nothing', { kind: 'credit', amount: '0' }, 'amount'],
    ['credit of tokens', { kind: 'credit', amount: '1', tokens: '1' }, 'tokens'],
    ['credit at a price', { kind: 'credit', amount: '1', price: '1' }, 'price'],
    ['a package without tokens', { kind: 'package', price: '1' }, 'tokens'],
    ['a package without a price', { kind: 'package', tokens: '1' }, 'price'],
    ['a package of money', { kind: 'package', tokens: '1', price: '1', amount: '1' }, 'amount'],
    ['seven decimals of a token', { kind: 'package', tokens: '0.0000001', price: '1' }, 'tokens'],
    ['more tokens than the books hold', { kind: 'package', tokens: '1000000000001', price: '1' }, 'tokens'],
    ['a priority above 100', { kind: 'credit', amount: '1', priority: 101 }, 'priority'],
    ['half a priority', { kind: 'credit', amount: '1', priority: 0.5 }, 'priority'],
    ['a model with a blank', { kind: 'credit', amount: '1', models: ['a b'] }, 'models[0]'],
    ['51 models', { kind: 'credit', amount: '1', models: Array.from({ length: 51 }, () => 'a') }, 'models'],
    ['an end without an offset', { kind: 'credit', amount: '1', expires_at: '2030-01-02T00:00:00' }, 'expires_at'],
    ['an end that has passed', { kind: 'credit', amount: '1', expires_at: iso(noonMs) }, 'expires_at'],
    [
      'an end before the beginning',
      { kind: 'credit', amount: '1', effective_at: iso(noonMs + 2), expires_at: iso(noonMs + 2) },
      'expires_at',
    ],
    ['what is not known', { kind: 'credit', amount: '1', rollover: true }, 'rollover'],
  ])('with %s are refused', async (_what, body, param) => {
    const account = await newAccount()
    const refused = await office.refusal('POST', grants(account), { body: { reference: reference(), ...body } })
    expect(refused.slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test('of the most tokens there are can be sold', async () => {
    const { status } = await office.ask('POST', grants(await newAccount()), {
      body: { kind: 'package', tokens: '1000000000000', price: '1000000000', reference: reference() },
    })
    expect(status).toBe(201)
  })

  test('are listed in pages, newest first', async () => {
    const account = await newAccount()
    const ids = []
    for (const amount of ['1', '2', '3'])
      ids.push(
        (await office.ask('POST', grants(account), { body: { kind: 'credit', amount, reference: reference() } })).body[
          'id'
        ],
      )
    const first = await office.ask('GET', `${grants(account)}?limit=2`)
    const listed = (body: Body) => (body['data'] as Body[]).map(({ id }) => id)
    expect(listed(first.body)).toEqual([ids[2], ids[1]])
    const second = await office.ask('GET', `${grants(account)}?limit=2&cursor=${String(first.body['next_cursor'])}`)
    expect([listed(second.body), second.body['next_cursor']]).toEqual([[ids[0]], null])
  })

  test('that are voided pay nothing more, and stay in the list', async () => {
    const account = await newAccount()
    const { body } = await office.ask('POST', grants(account), {
      body: { kind: 'credit', amount: '1', reference: reference() },
    })
    const path = `${grants(account)}/${String(body['id'])}`
    const voided = await office.ask('DELETE', path)
    expect([voided.status, voided.body['voided_at'], voided.body['left']]).toEqual([200, iso(noonMs), '0'])
    expect(await office.ask('DELETE', path)).toEqual(voided)
    expect((await office.books.purses(account)).map(({ kind }) => kind)).toEqual(['wallet'])
    expect((await office.ask('GET', grants(account))).body['data']).toEqual([voided.body])
  })

  test.each([
    ['an account that is not there', 'POST', '/admin/v1/accounts/999999/grants'],
    ['an account that is no number', 'GET', '/admin/v1/accounts/x/grants'],
    ['a grant that is not there', 'DELETE', '/admin/v1/accounts/1/grants/999999'],
    ['a grant that is no number', 'DELETE', '/admin/v1/accounts/1/grants/x'],
  ])('of %s are not found', async (_what, method, path) => {
    const body = { kind: 'credit', amount: '1', reference: reference() }
    expect((await office.refusal(method, path, method === 'POST' ? { body } : {})).slice(0, 2)).toEqual([
      404,
      'not_found',
    ])
  })

  test('of a closed account are refused', async () => {
    const account = await newAccount()
    await office.database.query("UPDATE account SET status = 'closed' WHERE id = $1::bigint", [account])
    const body = { kind: 'credit', amount: '1', reference: reference() }
    expect((await office.refusal('POST', grants(account), { body })).slice(0, 2)).toEqual([409, 'conflict'])
  })
})

describe('quotas', () => {
  const month = { amount: '10', period: 'month' }

  test('begin with the calendar where nobody says otherwise', async () => {
    const account = await newAccount()
    const wanted = { ...month, time_zone: 'Asia/Shanghai', reference: reference() }
    const { status, body } = await office.ask('POST', quotas(account), { body: wanted })
    const { id: _, created_at: created, ...rest } = body
    expect([status, typeof created]).toEqual([201, 'string'])
    expect(rest).toEqual({
      object: 'quota',
      account,
      amount: '10',
      currency: 'USD',
      period: 'month',
      anchor: '2029-12-31T16:00:00.000Z',
      time_zone: 'Asia/Shanghai',
      priority: 50,
      models: [],
      active: true,
      reference: wanted.reference,
      period_start: '2029-12-31T16:00:00.000Z',
      period_end: '2030-01-31T16:00:00.000Z',
      applied: true,
    })
    expect(await office.books.purses(account)).toMatchObject([
      { kind: 'quota', posted: 10_000_000_000n },
      { kind: 'wallet' },
    ])
  })

  test('may be of tokens, and begin later', async () => {
    const account = await newAccount()
    const body = { tokens: '1000', period: 'day', anchor: iso(noonMs + dayMs), reference: reference() }
    const answer = await office.ask('POST', quotas(account), { body })
    expect(answer.body).toMatchObject({ tokens: '1000', period_start: null, period_end: null })
    expect((await office.books.purses(account)).map(({ kind }) => kind)).toEqual(['wallet'])
  })

  test('sent again are answered as they are, and refused for another', async () => {
    const account = await newAccount()
    const body = { ...month, reference: reference() }
    const first = await office.ask('POST', quotas(account), { body })
    const again = await office.ask('POST', quotas(account), { body })
    expect([again.status, again.body]).toEqual([200, { ...first.body, applied: false }])
    expect((await office.refusal('POST', quotas(account), { body: { ...body, period: 'week' } })).slice(0, 3)).toEqual([
      409,
      'conflict',
      'reference',
    ])
  })

  test.each([
    ['neither money nor tokens', { period: 'day' }, 'amount'],
    ['both money and tokens', { period: 'day', amount: '1', tokens: '1' }, 'amount'],
    ['no period', { amount: '1' }, 'period'],
    ['a year', { amount: '1', period: 'year' }, 'period'],
    ['a zone that is none', { amount: '1', period: 'day', time_zone: 'Mars/Olympus' }, 'time_zone'],
    ['an anchor that is none', { amount: '1', period: 'day', anchor: 'monday' }, 'anchor'],
  ])('with %s are refused', async (_what, body, param) => {
    const refused = await office.refusal('POST', quotas(await newAccount()), {
      body: { reference: reference(), ...body },
    })
    expect(refused.slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test('that are changed grant the next period otherwise', async () => {
    const account = await newAccount()
    const { body } = await office.ask('POST', quotas(account), { body: { ...month, reference: reference() } })
    await office.books.purses(account)
    const path = `${quotas(account)}/${String(body['id'])}`
    const changed = await office.ask('PATCH', path, { body: { amount: '3', priority: 1, models: ['x'] } })
    expect(changed.body).toMatchObject({ amount: '3', priority: 1, models: ['x'], active: true })
    expect(await office.books.purses(account)).toMatchObject([{ posted: 10_000_000_000n, models: [] }, {}])
    expect(await office.ask('PATCH', path, { body: {} })).toEqual(changed)
    expect((await office.ask('GET', quotas(account))).body['data']).toEqual([changed.body])
  })

  test('that are switched off grant nothing more', async () => {
    const account = await newAccount()
    const { body } = await office.ask('POST', quotas(account), { body: { ...month, reference: reference() } })
    await office.ask('PATCH', `${quotas(account)}/${String(body['id'])}`, { body: { active: false } })
    expect((await office.books.purses(account)).map(({ kind }) => kind)).toEqual(['wallet'])
  })

  test('of money take no tokens', async () => {
    const account = await newAccount()
    const { body } = await office.ask('POST', quotas(account), { body: { ...month, reference: reference() } })
    const refused = await office.refusal('PATCH', `${quotas(account)}/${String(body['id'])}`, { body: { tokens: '1' } })
    expect(refused.slice(0, 3)).toEqual([400, 'invalid_value', 'tokens'])
  })

  test('of another account are not found', async () => {
    const { body } = await office.ask('POST', quotas(await newAccount()), {
      body: { ...month, reference: reference() },
    })
    const path = `${quotas(await newAccount())}/${String(body['id'])}`
    expect((await office.refusal('PATCH', path, { body: { active: false } })).slice(0, 2)).toEqual([404, 'not_found'])
  })
})

test.each([
  ['POST', '/admin/v1/accounts/1/grants'],
  ['GET', '/admin/v1/accounts/1/grants'],
  ['DELETE', '/admin/v1/accounts/1/grants/1'],
  ['POST', '/admin/v1/accounts/1/quotas'],
  ['GET', '/admin/v1/accounts/1/quotas'],
  ['PATCH', '/admin/v1/accounts/1/quotas/1'],
])('%s %s is for management keys alone', async (method, path) => {
  const account = await newAccount()
  const { body } = await office.ask('POST', '/admin/v1/keys', { body: { kind: 'master', account, name: reference() } })
  expect(
    (
      await office.refusal(method, path, {
        key: String(body['key']),
        ...(method === 'GET' || method === 'DELETE' ? {} : { body: {} }),
      })
    ).slice(0, 2),
  ).toEqual([403, 'permission_denied'])
  expect((await office.refusal(method, path, { key: 'nobody' }))[0]).toBe(401)
})

test('no account has the currency that packages count in', async () => {
  const refused = await office.refusal('POST', '/admin/v1/accounts', { body: { name: 'x', currency: 'TOK' } })
  expect(refused.slice(0, 3)).toEqual([400, 'invalid_value', 'currency'])
})

test('other methods are refused', async () => {
  expect((await office.refusal('PUT', '/admin/v1/accounts/1/grants'))[1]).toBe('method_not_allowed')
  expect((await office.refusal('DELETE', '/admin/v1/accounts/1/quotas/1'))[1]).toBe('method_not_allowed')
})
