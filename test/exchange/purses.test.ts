import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chatWith } from '../support/chat.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { answerText, startVendor, type FakeVendor } from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]
/** 100 + 20 tokens: 140 micro-USD at the prices of `test-model`. */
const usage = { prompt_tokens: 100, completion_tokens: 20 }

let vendor: FakeVendor
let gateway: TestGateway
let references = 0

beforeAll(async () => {
  vendor = await startVendor(answerText('One two three', usage))
  gateway = await startGateway({
    vendorUrl: vendor.url,
    models: `
  heavy-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    token_weights: { output: 2.5 }
    max_output_tokens: 4096
  searching-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2, search: 1 }
    max_output_tokens: 4096`,
    yaml: 'holds: { first_output_tokens: 32 }',
  })
}, 60_000)
afterAll(async () => {
  await gateway?.close()
  await vendor?.close()
})

const grant = (account: number, body: Record<string, unknown>) =>
  gateway.admin('POST', `/admin/v1/accounts/${account}/grants`, { reference: `purses-${++references}`, ...body })
const sell = (account: number, tokens: string, more: Record<string, unknown> = {}) =>
  grant(account, { kind: 'package', tokens, price: '1', ...more })
const ask = (key: string, body: Record<string, unknown> = {}) =>
  chatWith(gateway, key, { model: 'test-model', messages, max_tokens: 200, ...body })

interface Shown {
  readonly kind: string
  readonly balance: string
  readonly held: string
}
async function purses(key: string): Promise<readonly string[]> {
  const { purses: shown } = (await gateway.get('/v1/credits', key)) as unknown as { purses: readonly Shown[] }
  return shown.map(({ kind, balance, held }) => `${kind} ${balance}${held === '0' ? '' : ` (${held} held)`}`)
}

describe.each([
  ['streamed', true],
  ['unstreamed', false],
])('%s', (_mode, stream) => {
  test('a package pays in tokens and costs no money', async () => {
    const { id, key } = await gateway.account('1')
    await sell(id, '10000')
    const answer = await ask(key, { stream })
    expect([answer.status, answer.cost]).toEqual([200, '0'])
    expect(await purses(key)).toEqual(['package 9880', 'wallet 1'])
    expect(await gateway.get(`/v1/generation?id=${answer.id}`, key)).toMatchObject({ cost: '0', priced: '0.00014' })
  })

  test('a package counts by the weights of the model', async () => {
    const { id, key } = await gateway.account('1')
    await sell(id, '10000')
    await ask(key, { stream, model: 'heavy-model' })
    expect(await purses(key)).toEqual(['package 9850', 'wallet 1'])
  })

  test('what a package cannot pay any more the wallet pays, to the nano', async () => {
    const { id, key } = await gateway.account('1')
    await sell(id, '30')
    // 30 of 120 tokens are a quarter: three quarters of 140,000 nanos are left.
    const answer = await ask(key, { stream })
    expect([answer.status, answer.cost]).toEqual([200, '0.000105'])
    expect(await purses(key)).toEqual(['wallet 0.999895'])
  })

  test('a package without a wallet behind it serves a call that it covers', async () => {
    const { id, key } = await gateway.account('0')
    await sell(id, '10000')
    expect((await ask(key, { stream })).status).toBe(200)
    expect(await purses(key)).toEqual(['package 9880', 'wallet 0'])
  })
})

test('credit pays for its models alone, before the wallet', async () => {
  const { id, key } = await gateway.account('1')
  await grant(id, { kind: 'credit', amount: '0.5', models: ['heavy-*'] })
  await ask(key)
  expect(await purses(key)).toEqual(['credit 0.5', 'wallet 0.99986'])
  await ask(key, { model: 'heavy-model' })
  expect(await purses(key)).toEqual(['credit 0.49986', 'wallet 0.99986'])
})

test('a package pays for no model with a price that it cannot count', async () => {
  const { id, key } = await gateway.account('1')
  await sell(id, '10000')
  await ask(key, { model: 'searching-model' })
  expect(await purses(key)).toEqual(['package 10000', 'wallet 0.99986'])
})

test('what is granted while the gateway runs pays from the next call on, and what is voided does not', async () => {
  const { id, key } = await gateway.account('1')
  await ask(key)
  const { id: made } = await grant(id, { kind: 'credit', amount: '0.5' })
  await ask(key)
  expect(await purses(key)).toEqual(['credit 0.49986', 'wallet 0.99986'])
  await gateway.admin('DELETE', `/admin/v1/accounts/${id}/grants/${String(made)}`)
  await ask(key)
  expect(await purses(key)).toEqual(['wallet 0.99972'])
})

test('a quota pays, and a period that is used up leaves its place to the wallet', async () => {
  const { id, key } = await gateway.account('1')
  await gateway.admin('POST', `/admin/v1/accounts/${id}/quotas`, {
    amount: '0.0002',
    period: 'month',
    reference: `purses-${++references}`,
  })
  await ask(key, { stream: true })
  await ask(key, { stream: true })
  expect(await purses(key)).toEqual(['quota 0', 'wallet 0.99992'])
})

test('a grant of priority 100 without an end still pays before the wallet', async () => {
  const { id, key } = await gateway.account('1')
  await grant(id, { kind: 'credit', amount: '0.5', priority: 100 })
  expect(await purses(key)).toEqual(['credit 0.5', 'wallet 1'])
})

test('a call beyond all purses is refused with what it needs', async () => {
  const { id, key } = await gateway.account('0')
  await sell(id, '5')
  const { status, error } = await ask(key, { stream: true })
  expect(status).toBe(402)
  expect(error?.message).toMatch(/It needs 0\.0\d+ USD, or \d+ tokens of a package; 0 is available/)
})

test('a stream that outgrows package and wallet is cut at what they cover', async () => {
  const { id, key } = await gateway.account('0.00002')
  await sell(id, '60')
  vendor.behave(answerText('word '.repeat(400).trimEnd()))
  const answer = await chatWith(gateway, key, { model: 'test-model', messages, stream: true, max_tokens: 2_000 })
  vendor.behave(answerText('One two three', usage))
  expect([answer.status, answer.finish, answer.error?.code]).toEqual([200, 'length', 'insufficient_quota'])
  const left = await purses(key)
  expect(left.filter((purse) => purse.includes('held'))).toEqual([])
  expect(left.every((purse) => !purse.includes('-'))).toBe(true)
  // Sixty tokens and 20 micro-USD: all of the one, and most of the other.
  expect(left).toHaveLength(1)
  expect(answer.text.split(' ').length).toBeGreaterThan(30)
})
