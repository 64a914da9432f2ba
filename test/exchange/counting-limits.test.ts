import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { standing, endedCalls } from '../support/booked.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { answerText, type FakeVendor, startVendor } from '../support/vendor.ts'

/** Counting the tokens of a prompt costs nothing, but not without end. */

let vendor: FakeVendor
let gateway: TestGateway

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(() => {
  vendor.behave(answerText('Hello', { prompt_tokens: 1, completion_tokens: 1 }))
})

const messages = [{ role: 'user', content: 'How long is this?' }]
const contents = [{ role: 'user', parts: [{ text: 'How long is this?' }] }]
type Way = readonly [path: string, body: object]
const plain: Way = ['/v1/messages/count_tokens', { model: 'test-model', messages }]
const ways: readonly Way[] = [plain, ['/v1beta/models/test-model:countTokens', { contents }]]

function ask(key: string, path: string, body: unknown): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  return fetch(gateway.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
}

async function statuses(key: string, count: number, [path, body]: Way): Promise<readonly number[]> {
  const answers: number[] = []
  for (let n = 0; n < count; n++) answers.push((await ask(key, path, body)).status)
  return answers
}

test.each(ways)('%s counts at the requests per minute of the key', async (...way) => {
  const { key } = await gateway.account('1', { requests_per_minute: 2 })
  expect(await statuses(key, 3, way)).toEqual([200, 200, 429])
})

test('what is left of the limit is told, and calls draw on the same one', async () => {
  const { key } = await gateway.account('1', { requests_per_minute: 2 })
  const counted = await ask(key, ...plain)
  const called = await ask(key, '/v1/chat/completions', { model: 'test-model', messages })
  const refused = await ask(key, ...plain)
  expect([counted, called, refused].map(({ status }) => status)).toEqual([200, 200, 429])
  expect(counted.headers.get('x-ratelimit-remaining-requests')).toBe('1')
  expect(await refused.json()).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } })
})

test.each(ways)('%s is not charged, is not recorded and leaves nothing held', async (...way) => {
  const account = await gateway.account('1', { requests_per_minute: 100 })
  await statuses(account.key, 5, way)
  expect(await standing(gateway, account)).toEqual({ balance: 1_000_000_000n, held: 0n, inFlight: 0 })
  expect(await endedCalls(gateway, account.key)).toEqual([])
})

test('whoever has no money may count all the same', async () => {
  const { key } = await gateway.account('0')
  expect(await statuses(key, 1, plain)).toEqual([200])
})

test('a key with a concurrency of one may count again at once', async () => {
  const { key } = await gateway.account('1', { concurrency: 1 })
  expect(await statuses(key, 3, plain)).toEqual([200, 200, 200])
})
