import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { account as accountTable } from '../../src/db/schema.ts'
import { openOffice, type Body, type Office } from './office.ts'

const path = '/admin/v1/accounts'
let office: Office

beforeAll(async () => {
  office = await openOffice()
}, 120_000)
afterAll(() => office.close())

async function open(body: Body = {}): Promise<number> {
  return Number((await office.ask('POST', path, { body: { name: 'acme', ...body } })).body['id'])
}

const recharge = (id: number, body: Body) => office.ask('POST', `${path}/${id}/recharges`, { body })

describe('an account', () => {
  test('is made whole, and read again the same', async () => {
    const body = { name: 'Größe & Söhne', currency: 'EUR', discount_percent: '12.5', credit_limit: '100' }
    const made = await office.ask('POST', path, { body })
    const { id, created_at: created, ...rest } = made.body
    expect([made.status, typeof created, rest]).toEqual([
      201,
      'string',
      {
        object: 'account',
        name: 'Größe & Söhne',
        currency: 'EUR',
        status: 'open',
        discount_percent: '12.5',
        tier: null,
        limits: [],
        concurrency: null,
        budgets: [],
        provisioned: false,
        balance: { posted: '0', free: '0', leased: '0', credit_limit: '100' },
      },
    ])
    expect(await office.ask('GET', `${path}/${String(id)}`)).toEqual({ status: 200, body: made.body })
  })

  test('pays in dollars and the full price unless told otherwise', async () => {
    const { body } = await office.ask('GET', `${path}/${await open()}`)
    expect([body['currency'], body['discount_percent']]).toEqual(['USD', '0'])
  })

  test.each<[Body, string]>([
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'a', currency: 'usd' }, 'currency'],
    [{ name: 'a', discount_percent: '100.1' }, 'discount_percent'],
    [{ name: 'a', discount_percent: '-1' }, 'discount_percent'],
    [{ name: 'a', discount_percent: '0.00001' }, 'discount_percent'],
    [{ name: 'a', discount_percent: 5 }, 'discount_percent'],
    [{ name: 'a', credit_limit: '-1' }, 'credit_limit'],
    [{ name: 'a', balance: '5' }, 'balance'],
  ])('is not made of %j', async (body, param) => {
    expect((await office.refusal('POST', path, { body })).slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test.each(['0', 'x', '-1', '1e3', '%00', '99999999999999999999', '999999999'])('is not found as "%s"', async (id) => {
    expect(await office.refusal('GET', `${path}/${id}`)).toEqual([
      404,
      'not_found',
      undefined,
      'There is no account of this id.',
    ])
  })

  test('is listed in pages, newest first', async () => {
    const ids = [await open(), await open(), await open()].toReversed()
    const first = await office.ask('GET', `${path}?limit=2`)
    const second = await office.ask('GET', `${path}?limit=1&cursor=${String(first.body['next_cursor'])}`)
    const listed = [first, second].flatMap(({ body }) => (body['data'] as Body[]).map(({ id }) => id))
    expect([listed, first.body['next_cursor']]).toEqual([ids, String(ids[1])])
  })

  test('is no business of a master key', async () => {
    const id = await open()
    const made = await office.ask('POST', '/admin/v1/keys', { body: { account: id } })
    const key = String(made.body['key'])
    const refused = [403, 'permission_denied', undefined, 'Accounts are managed with management keys only.']
    expect([
      await office.refusal('GET', path, { key }),
      await office.refusal('GET', `${path}/${id}`, { key }),
      await office.refusal('POST', path, { key, body: { name: 'a' } }),
      await office.refusal('POST', `${path}/${id}/recharges`, { key, body: { amount: '1', reference: 'mine' } }),
    ]).toEqual([refused, refused, refused, refused])
  })
})

describe('a recharge', () => {
  test('is on the balance to the nano', async () => {
    const id = await open()
    expect(await recharge(id, { amount: '12.500000001', reference: 'invoice 1', memo: 'by bank' })).toEqual({
      status: 201,
      body: {
        object: 'recharge',
        account: id,
        reference: 'invoice 1',
        amount: '12.500000001',
        currency: 'USD',
        applied: true,
        balance: { posted: '12.500000001', free: '12.500000001', leased: '0', credit_limit: '0' },
      },
    })
  })

  test('is told, so that calls can spend it at once', async () => {
    const id = await open()
    await recharge(id, { amount: '1', reference: 'invoice 0' })
    await office.refusal('POST', `${path}/${id}/recharges`, { body: { amount: '-1', reference: 'invoice 00' } })
    expect(office.recharges.filter((account) => account === id)).toEqual([id])
  })

  test('sent again is credited once', async () => {
    const id = await open()
    const body = { amount: '5', reference: 'invoice 2' }
    const answers = [await recharge(id, body), await recharge(id, body)]
    expect(
      answers.map(({ status, body: { applied, balance } }) => [status, applied, (balance as Body)['posted']]),
    ).toEqual([
      [201, true, '5'],
      [200, false, '5'],
    ])
  })

  test('sent by many at once is credited once', async () => {
    const id = await open()
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => recharge(id, { amount: '5', reference: 'invoice 3' })),
    )
    const { body } = await office.ask('GET', `${path}/${id}`)
    expect([answers.filter(({ status }) => status === 201).length, (body['balance'] as Body)['posted']]).toEqual([
      1,
      '5',
    ])
  })

  test('with the reference of another amount or account is refused', async () => {
    const [id, other] = [await open(), await open()]
    await recharge(id, { amount: '5', reference: 'invoice 4' })
    const again = (account: number, amount: string) =>
      office.refusal('POST', `${path}/${account}/recharges`, { body: { amount, reference: 'invoice 4' } })
    expect([(await again(id, '6')).slice(0, 3), (await again(other, '5')).slice(0, 3)]).toEqual([
      [409, 'conflict', 'reference'],
      [409, 'conflict', 'reference'],
    ])
  })

  test.each(['0.000000001', '1000000000'])('may be of %s', async (amount) => {
    expect((await recharge(await open(), { amount, reference: `of ${amount}` })).status).toBe(201)
  })

  test.each<[unknown]>([
    ['0'],
    ['-5'],
    ['0.0000000001'],
    ['1000000000.000000001'],
    ['1e3'],
    ['1e-30'],
    ['NaN'],
    [''],
    [' 5'],
    [5],
    [null],
  ])('of %j is refused', async (amount) => {
    const id = await open()
    expect(await office.refusal('POST', `${path}/${id}/recharges`, { body: { amount, reference: 'r' } })).toEqual([
      400,
      'invalid_value',
      'amount',
      'amount must be a decimal string from 0.000000001 to 1000000000 with at most nine decimals, such as "12.50".',
    ])
  })

  test.each<[string, Body]>([
    ['reference', { amount: '1' }],
    ['reference', { amount: '1', reference: '' }],
    ['reference', { amount: '1', reference: 'x'.repeat(201) }],
    ['reference', { amount: '1', reference: 'a\0' }],
    ['memo', { amount: '1', reference: 'r', memo: 'x'.repeat(1_001) }],
    ['currency', { amount: '1', reference: 'r', currency: 'EUR' }],
  ])('without a right %s is refused: %j', async (param, body) => {
    const id = await open()
    expect((await office.refusal('POST', `${path}/${id}/recharges`, { body })).slice(0, 3)).toEqual([
      400,
      'invalid_value',
      param,
    ])
  })

  test('of no account is refused', async () => {
    expect(
      (await office.refusal('POST', `${path}/999999/recharges`, { body: { amount: '1', reference: 'r' } })).slice(0, 2),
    ).toEqual([404, 'not_found'])
  })

  test('of a closed account is refused', async () => {
    const id = await open()
    await office.database.drizzle.update(accountTable).set({ status: 'closed' }).where(eq(accountTable.id, id))
    expect(
      (await office.refusal('POST', `${path}/${id}/recharges`, { body: { amount: '1', reference: 'r' } })).slice(0, 2),
    ).toEqual([409, 'conflict'])
  })
})
