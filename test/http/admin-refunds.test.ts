import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId, noon, record } from '../db/records.ts'
import { openOffice, type Body, type Office } from './office.ts'

let office: Office
beforeAll(async () => {
  office = await openOffice()
}, 120_000)
afterAll(() => office.close())

let names = 0
const reference = () => `reference ${++names}`

/** A call that took 0.5 from a balance of 2. */
async function call(): Promise<{ readonly id: string; readonly account: number }> {
  const { id: account } = await office.books.createAccount({ name: reference(), currency: 'USD' })
  await office.books.recharge({ accountId: account, amount: 2_000_000_000n, ref: reference() })
  const [purse] = await office.books.purses(account)
  const charged = record({
    accountId: account,
    keyId: 1,
    parts: [{ purse: purse?.id ?? 0, lease: 0, amount: 500_000_000n }],
  })
  await office.books.flush([charged])
  return { id: charged.id, account }
}
const refund = (body: Body, key?: string) =>
  office.ask('POST', '/admin/v1/refunds', { body, ...(key !== undefined && { key }) })
const adjust = (account: number | string, body: Body) =>
  office.ask('POST', `/admin/v1/accounts/${account}/adjustments`, { body })

describe('a refund', () => {
  test('is answered with what was given and what is still charged, and told to the engine', async () => {
    const { id, account } = await call()
    const body = { usage_id: id.toUpperCase(), amount: '0.2', reason: 'slow', reference: reference() }
    const answer = {
      object: 'refund',
      account,
      amount: '0.2',
      currency: 'USD',
      charged: '0.3',
      grants: [],
      usage_id: id,
      reference: body.reference,
    }
    expect(await refund(body)).toEqual({ status: 201, body: { ...answer, applied: true } })
    expect(await refund(body)).toEqual({ status: 200, body: { ...answer, applied: false } })
    expect(office.recharges.filter((one) => one === account)).toHaveLength(2)
  })

  test('without an amount is of all that is left', async () => {
    const { id } = await call()
    await refund({ usage_id: id, amount: '0.2', reason: 'slow', reference: reference() })
    const { status, body } = await refund({ usage_id: id, reason: 'slow', reference: reference() })
    expect([status, body['amount'], body['charged']]).toEqual([201, '0.3', '0'])
  })

  test('of more than is left is a conflict that says how much is', async () => {
    const { id } = await call()
    const body = { usage_id: id, amount: '0.500000001', reason: 'slow', reference: reference() }
    expect(await office.refusal('POST', '/admin/v1/refunds', { body })).toEqual([
      409,
      'conflict',
      'amount',
      'Of this call 0.5 can be given back.',
    ])
  })

  test('of no call is not found', async () => {
    const body = { usage_id: newId(noon), reason: 'slow', reference: reference() }
    expect((await office.refusal('POST', '/admin/v1/refunds', { body })).slice(0, 3)).toEqual([
      404,
      'not_found',
      'usage_id',
    ])
  })

  test.each([
    ['usage_id', { usage_id: 'x' }],
    ['usage_id', { usage_id: '0190f0c0-0000-4000-8000-000000000000' }],
    ['amount', { amount: '0' }],
    ['amount', { amount: '-1' }],
    ['amount', { amount: 1 }],
    ['tokens', { tokens: '0' }],
    ['reason', { reason: '' }],
    ['reference', { reference: 'x'.repeat(201) }],
    ['key', { key: 'x' }],
  ])('with a wrong %s is refused: %j', async (param, over) => {
    const body = { usage_id: newId(noon), reason: 'slow', reference: reference(), ...over }
    expect((await office.refusal('POST', '/admin/v1/refunds', { body })).slice(0, 3)).toEqual([
      400,
      'invalid_value',
      param,
    ])
  })

  test('is not made without a management key, nor read', async () => {
    expect((await refund({}, 'nobody')).status).toBe(401)
    expect((await office.ask('GET', '/admin/v1/refunds')).status).toBe(405)
  })
})

describe('an adjustment', () => {
  test('is answered with the balance, and told to the engine', async () => {
    const { account } = await call()
    const body = { amount: '-0.25', reason: 'typing error', reference: reference() }
    const answer = {
      object: 'adjustment',
      account,
      reference: body.reference,
      amount: '-0.25',
      currency: 'USD',
      balance: {
        posted: '1.25',
        free: '1.25',
        leased: '0',
        credit_limit: '0',
      },
    }
    expect(await adjust(account, body)).toEqual({ status: 201, body: { ...answer, applied: true } })
    expect(await adjust(account, body)).toEqual({ status: 200, body: { ...answer, applied: false } })
    expect(office.recharges).toContain(account)
  })

  test('below the credit limit needs force', async () => {
    const { account } = await call()
    const body = { amount: '-1.500000001', reason: 'fraud', reference: reference() }
    expect((await adjust(account, body)).body['code']).toBe('conflict')
    expect((await adjust(account, { ...body, force: true })).status).toBe(201)
    expect(await office.books.balance(account)).toMatchObject({ posted: -1n })
  })

  test.each([
    ['amount', { amount: '0' }],
    ['amount', { amount: '1000000000.1' }],
    ['amount', {}],
    ['reason', { amount: '1', reason: undefined }],
    ['force', { amount: '1', force: 'yes' }],
  ])('with a wrong %s is refused: %j', async (param, over) => {
    const body = { reason: 'x', reference: reference(), ...over }
    const path = '/admin/v1/accounts/1/adjustments'
    expect((await office.refusal('POST', path, { body })).slice(0, 3)).toEqual([400, 'invalid_value', param])
  })

  test.each(['999999', '0', 'x'])('of account %s is not found', async (account) => {
    const { status, body } = await adjust(account, { amount: '1', reason: 'x', reference: reference() })
    expect([status, body['code']]).toEqual([404, 'not_found'])
  })
})
