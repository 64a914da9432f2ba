import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { standing, subKey } from '../support/booked.ts'
import { chatWith } from '../support/chat.ts'
import { managementKey, startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, startVendor, type FakeVendor } from '../support/vendor.ts'

/** A call of 10 + 3 tokens costs 0.000016 USD. */
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const callNanos = 16_000n
const messages = [{ role: 'user', content: 'Tell me something' }]

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.behave(answerText('One two three', usage))
  account = await gateway.account('1')
})

const call = (key = account.key) => chatWith(gateway, key, { model: 'test-model', messages })
let references = 0
const refund = (id: string, over: Record<string, unknown> = {}) =>
  gateway.admin('POST', '/admin/v1/refunds', {
    usage_id: id,
    reason: 'test',
    reference: `money-back-${++references}`,
    ...over,
  })
const metrics = async (key = managementKey) => {
  const answer = await fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
}

describe('a call that is refunded', () => {
  test('at once, before the books could have it, is paid back and shown so', async () => {
    const { id } = await call()
    expect(await refund(id, { amount: '0.000006' })).toMatchObject({
      applied: true,
      amount: '0.000006',
      charged: '0.00001',
    })
    expect(await gateway.get(`/v1/generation?id=${id}`, account.key)).toMatchObject({
      cost: '0.00001',
      priced: '0.000016',
    })
    expect((await standing(gateway, account)).balance).toBe(1_000_000_000n - callNanos + 6_000n)
  })

  test('gives money that the next call can spend', async () => {
    const poor = await gateway.account('0.0035')
    vendor.behave(answerText('One two three', { prompt_tokens: 10, completion_tokens: 1_000 }))
    const first = await call(poor.key)
    const second = await call(poor.key)
    await refund(first.id)
    const third = await call(poor.key)
    expect([first.status, second.status, third.status]).toEqual([200, 402, 200])
    expect((await standing(gateway, poor)).balance).toBe(3_500_000n - 2_010_000n)
  })

  test('is refunded by managers alone', async () => {
    const { id } = await call()
    const answer = await fetch(`${gateway.url}/admin/v1/refunds`, {
      method: 'POST',
      headers: { authorization: `Bearer ${account.key}` },
      body: JSON.stringify({ usage_id: id, reason: 'mine', reference: 'mine' }),
    })
    expect(answer.status).toBe(403)
  })

  test('counts less in the usage of its key and of those above', async () => {
    const sub = await subKey(gateway, account)
    const { id } = await call(sub.key)
    await call()
    await refund(id)
    const row = { object: 'usage', currency: 'USD', calls: 1, input_tokens: 10, output_tokens: 3 }
    expect(await gateway.get('/v1/usage', sub.key)).toEqual({
      object: 'list',
      data: [{ ...row, charge: '0' }],
      next_cursor: null,
    })
    const { data } = await gateway.get('/v1/usage', account.key)
    expect(data).toEqual([{ ...row, calls: 2, input_tokens: 20, output_tokens: 6, charge: '0.000016' }])
  })
})

describe('the metrics', () => {
  test('tell what has happened, in the form of Prometheus', async () => {
    const before = await metrics()
    await call()
    const after = await metrics()
    const of = (text: string, name: string) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
    const grown = ['tollgate_calls_total\\{outcome="complete"\\}', 'tollgate_charged_nanos_total\\{currency="USD"\\}']
    expect([after.status, after.type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
    expect(grown.map((name) => of(after.text, name) - of(before.text, name))).toEqual([1, 16_000])
    expect(of(after.text, 'tollgate_holds_live')).toBe(0)
  })

  test('tell that the books were compared at the start, and are right', async () => {
    await expect
      .poll(async () => (await metrics()).text, { timeout: 20_000 })
      .toContain('tollgate_books_violations 0\n')
    expect((await metrics()).text).toContain('tollgate_books_drift_nanos{side="over"} 0\n')
  })

  test.each([
    ['no key', '', 401],
    ['a key that is none', 'sk-unknown', 401],
  ])('are not for %s', async (_what, key, status) => {
    expect((await metrics(key)).status).toBe(status)
  })

  test('are not for an account', async () => {
    expect((await metrics(account.key)).status).toBe(403)
  })
})
