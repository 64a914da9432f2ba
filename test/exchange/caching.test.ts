import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { breakAfter, held, stream } from '../support/behaviours.ts'
import { booked, standing } from '../support/booked.ts'
import { chatWith, openChat, type Answer } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, completion, eventsOf, json, startVendor, type FakeVendor } from '../support/vendor.ts'

/** 10 tokens in and 3 out at 1 and 2 USD a million. */
const fullNanos = 16_000n
const startNanos = 1_000_000_000n
const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `
  plain: { adapter: qwen, base_url: '${vendor.url}', api_keys: [vendor-secret] }`,
    models: `
  plain-model:
    targets: [{ vendor: plain, model: vendor-model }]
    prices: { input: 1, output: 2 }
  cached-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    cache: { mode: 'on', hit_percent: 12.5, single_flight: true }
  uncached-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 1, output: 2 }
    cache: { mode: 'off' }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.behave(answerText('One two three', usage))
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const cache = {}
const ask = (more: Record<string, unknown> = {}, key = account.key): Promise<Answer> =>
  chatWith(gateway, key, { model: 'test-model', messages, cache, ...more })
const stateOf = ({ headers }: Answer): string | null => headers.get('x-tollgate-cache')

describe('an identical call', () => {
  test.each([false, true])('is answered from the cache, for nothing (stream: %s)', async (isStream) => {
    const first = await ask({ stream: isStream })
    const second = await ask({ stream: isStream })
    expect([first, second].map(stateOf)).toEqual(['miss', 'hit'])
    expect([second.status, second.text, second.finish]).toEqual([200, 'One two three', 'stop'])
    expect([first.cost, second.cost]).toEqual(['0.000016', '0'])
    expect(vendor.calls).toHaveLength(1)
    expect(await booked(gateway, account, second.id)).toEqual({
      outcome: 'complete',
      counts: { input: 10, output: 3 },
      source: 'vendor',
      cost: 0n,
      attempts: [],
      account: { balance: startNanos - fullNanos, held: 0n, inFlight: 0 },
    })
  })

  test('gets the very bytes of the stream, but for what it costs', async () => {
    const [first, second] = [await ask({ stream: true }), await ask({ stream: true })]
    expect(second.raw).toBe(first.raw.replace('"cost":0.000016', '"cost":0'))
  })

  test('gets the very bytes of the body', async () => {
    const [first, second] = [await ask(), await ask()]
    expect(second.raw).toBe(first.raw)
  })

  test('without a stream is answered by what was streamed, and the other way round', async () => {
    const streamed = await ask({ stream: true })
    const whole = await ask()
    expect([streamed, whole].map(stateOf)).toEqual(['miss', 'hit'])
    expect([whole.text, whole.finish]).toEqual(['One two three', 'stop'])
    const other = { messages: [{ role: 'user', content: 'Something else' }] }
    const [first, second] = [await ask(other), await ask({ ...other, stream: true })]
    expect([first, second].map(stateOf)).toEqual(['miss', 'hit'])
    expect([second.text, second.finish, second.isDone]).toEqual(['One two three', 'stop', true])
  })

  test('pays the share of the price that its model asks for', async () => {
    const model = 'cached-model'
    const [first, second] = [await ask({ model, cache: undefined }), await ask({ model, cache: undefined })]
    expect([first, second].map(({ cost }) => cost)).toEqual(['0.000016', '0.000002'])
    expect((await booked(gateway, account, second.id)).cost).toBe(2_000n)
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - 18_000n, held: 0n, inFlight: 0 })
  })

  test('of another account asks the vendor', async () => {
    const other = await gateway.account('1')
    expect([await ask(), await ask({}, other.key)].map(stateOf)).toEqual(['miss', 'miss'])
    expect(vendor.calls).toHaveLength(2)
  })

  test('with another parameter asks the vendor', async () => {
    expect([await ask({ seed: 1 }), await ask({ seed: 2 })].map(stateOf)).toEqual(['miss', 'miss'])
  })

  test('goes on where only the order of its members is another', async () => {
    expect([await ask({ seed: 1, user: 'a' }), await ask({ user: 'a', seed: 1 })].map(stateOf)).toEqual(['miss', 'hit'])
  })

  test('is told nothing of a cache that is not for it', async () => {
    const first = await ask({ cache: undefined })
    const off = [await ask({ model: 'uncached-model' }), await ask({ model: 'uncached-model' })]
    expect([first, ...off].map(stateOf)).toEqual(['bypass', 'bypass', 'bypass'])
    expect(vendor.calls).toHaveLength(3)
  })
})

describe('in every dialect', () => {
  const text = 'Tell me something'
  const contents = [{ role: 'user', parts: [{ text }] }]
  const generate = '/v1beta/models/test-model'
  test.each<[path: string, body: Record<string, unknown>]>([
    ['/v1/messages', { model: 'test-model', max_tokens: 100, messages }],
    ['/v1/messages', { model: 'test-model', max_tokens: 100, messages, stream: true }],
    ['/v1/responses', { model: 'plain-model', input: text }],
    ['/v1/responses', { model: 'plain-model', input: text, stream: true }],
    [`${generate}:generateContent`, { contents }],
    [`${generate}:streamGenerateContent?alt=sse`, { contents }],
  ])('%s gives the same answer again: %j', async (path, body) => {
    const send = async () => {
      const answer = await fetch(gateway.url + path, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${account.key}`,
          'content-type': 'application/json',
          'x-tollgate-cache': 'on',
        },
        body: JSON.stringify(body),
      })
      const raw = await answer.text()
      // Names and times are the call's own, and so is what it costs.
      const said = raw.replace(/"(?:id|item_id|request_id|responseId|created_at|completed_at|cost)":[^,}]+/g, '')
      return { state: answer.headers.get('x-tollgate-cache'), said, status: answer.status }
    }
    const [first, second] = [await send(), await send()]
    expect(first).toMatchObject({ state: 'miss', status: 200 })
    expect(second).toEqual({ ...first, state: 'hit' })
    expect(second.said).toContain('three')
    expect(vendor.calls).toHaveLength(1)
  })
})

describe('a caller who', () => {
  test('says no-cache has a new answer, and it is kept', async () => {
    await ask()
    vendor.behave(answerText('Four', usage))
    const fresh = await ask({ cache: { 'no-cache': true } })
    expect([stateOf(fresh), fresh.text]).toEqual(['bypass', 'Four'])
    expect((await ask()).text).toBe('Four')
  })

  test('says no-store leaves nothing behind', async () => {
    expect([await ask({ cache: { 'no-store': true } }), await ask()].map(stateOf)).toEqual(['miss', 'miss'])
  })

  test('says something that is no wish is refused before anything is held', async () => {
    const answer = await ask({ cache: 'yes' })
    expect([answer.status, answer.error?.code, answer.error?.param]).toEqual([400, 'invalid_value', 'cache'])
    expect(vendor.calls).toHaveLength(0)
  })
})

describe('nothing is kept of an answer that', () => {
  const twice = async (more: Record<string, unknown> = {}) => [stateOf(await ask(more)), stateOf(await ask(more))]

  test('broke off', async () => {
    vendor.behave(breakAfter(eventsOf('One two three').slice(0, 2)))
    expect(await twice({ stream: true })).toEqual(['miss', 'miss'])
  })

  test('ended in an error', async () => {
    vendor.behave(stream([...eventsOf('One two').slice(0, 2), '{"error":{"message":"no","code":"busy"}}']))
    expect(await twice({ stream: true })).toEqual(['miss', 'miss'])
  })

  test('a filter has ended', async () => {
    const payloads = eventsOf('One').map((payload) => payload.replace('"stop"', '"content_filter"'))
    vendor.behave(stream([...payloads, '[DONE]']))
    expect(await twice({ stream: true })).toEqual(['miss', 'miss'])
  })

  test('calls a tool with what is no JSON', async () => {
    const call = { id: 'a', type: 'function', function: { name: 'f', arguments: '{"a":' } }
    const message = { role: 'assistant', content: null, tool_calls: [call] }
    vendor.behave((_, response) =>
      json(response, 200, { ...completion('', usage), choices: [{ index: 0, message, finish_reason: 'tool_calls' }] }),
    )
    expect(await twice()).toEqual(['miss', 'miss'])
  })

  test('was refused', async () => {
    vendor.behave((_, response) => json(response, 400, { error: { message: 'no' } }))
    const answers = [await ask(), await ask()]
    expect(answers.map(({ status }) => status)).toEqual([400, 400])
    expect(vendor.calls).toHaveLength(2)
  })
})

describe('identical calls at one time', () => {
  const model = 'cached-model'

  test('wait for the first of them, and the vendor is asked once', async () => {
    const slow = held([], [...eventsOf('One two three', usage), '[DONE]'])
    vendor.behave(slow.behaviour)
    const first = ask({ model, stream: true })
    await slow.reached
    const others = Array.from({ length: 20 }, () => ask({ model, stream: true }))
    // The others are on their way through the gateway: what comes after them in the same process comes later.
    await gateway.get('/v1/key', account.key)
    slow.release()
    const answers = await Promise.all([first, ...others])
    expect(answers.map(({ text }) => text)).toEqual(Array<string>(21).fill('One two three'))
    expect(answers.map(stateOf)).toEqual(['miss', ...Array<string>(20).fill('hit')])
    expect(vendor.calls).toHaveLength(1)
  })

  test('go on by themselves where the first has no answer for them', async () => {
    const slow = held(eventsOf('One two three').slice(0, 2))
    vendor.behave(slow.behaviour)
    const body = { model, messages: [{ role: 'user', content: 'One who leaves' }], stream: true }
    const leaving = openChat(gateway, account.key, body)
    await slow.reached
    const other = chatWith(gateway, account.key, body)
    await gateway.get('/v1/key', account.key)
    vendor.behave(answerText('Four', usage))
    await leaving.hangUp()
    const answer = await other
    expect([stateOf(answer), answer.text]).toEqual(['miss', 'Four'])
    slow.release()
  })
})
