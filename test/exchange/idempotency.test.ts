import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { breakAfter, held, inTurn } from '../support/behaviours.ts'
import { endedCalls, standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, completion, eventsOf, json, startVendor, type FakeVendor } from '../support/vendor.ts'

/** 10 tokens in and 3 out at 1 and 2 USD a million. */
const fullNanos = 16_000n
const startNanos = 1_000_000_000n
const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = [...eventsOf('One two three', usage), '[DONE]']
const paid = { balance: startNanos - fullNanos, held: 0n, inFlight: 0 }
const unpaid = { balance: startNanos, held: 0n, inFlight: 0 }

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
let name: string
const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-idempotency-'))

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url, env: { TOLLGATE_DATA_DIR: dataDir } })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  rmSync(dataDir, { recursive: true, force: true })
})
beforeEach(async () => {
  vendor.behave(answerText('One two three', usage))
  vendor.calls.length = 0
  account = await gateway.account('1')
  name = randomUUID()
})

interface Reply {
  readonly status: number
  readonly id: string
  readonly replayed: string | null
  readonly retry: string | null
  readonly text: string
  readonly code: string | undefined
}

interface Sent {
  readonly as?: string
  readonly key?: string
  readonly at?: TestGateway
  readonly path?: string
  readonly body?: Record<string, unknown>
}

async function ask(sent: Sent = {}): Promise<Reply> {
  const { as = name, key = account.key, at = gateway, path = '/v1/chat/completions', body = {} } = sent
  const answer = await fetch(at.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'idempotency-key': as },
    body: JSON.stringify({ model: 'test-model', messages, ...body }),
  })
  const text = await answer.text()
  const { headers } = answer
  return {
    status: answer.status,
    id: headers.get('x-request-id') ?? '',
    replayed: headers.get('idempotent-replayed'),
    retry: headers.get('retry-after'),
    text,
    code: answer.ok ? undefined : (JSON.parse(text) as { error: { code: string } }).error.code,
  }
}

const streamed = { stream: true, stream_options: { include_usage: true } }

describe('a call that is sent again under its name', () => {
  test.each([{}, streamed])('has the same answer and is charged once: %j', async (body) => {
    const [first, second] = [await ask({ body }), await ask({ body })]
    expect(second).toEqual({ ...first, replayed: 'true' })
    expect([first.status, first.replayed]).toEqual([200, null])
    expect(vendor.calls).toHaveLength(1)
    expect(await standing(gateway, account)).toEqual(paid)
    expect(await endedCalls(gateway, account.key)).toEqual([first.id])
  })

  test.each([{}, streamed])(
    'fifty times at once: one vendor call, one charge, fifty equal answers: %j',
    async (body) => {
      const slow = held([], events)
      vendor.behave((call, response) =>
        call.body['stream'] === true
          ? slow.behaviour(call, response)
          : answerText('One two three', usage)(call, response),
      )
      const all = Array.from({ length: 50 }, () => ask({ body }))
      if ('stream' in body) await slow.reached
      slow.release()
      const replies = await Promise.all(all)
      expect(new Set(replies.map(({ status, id, text }) => JSON.stringify([status, id, text]))).size).toBe(1)
      expect(replies.filter(({ replayed }) => replayed === 'true')).toHaveLength(49)
      expect(vendor.calls).toHaveLength(1)
      expect(await standing(gateway, account)).toEqual(paid)
    },
  )

  test('with another body is refused, and the first answer stays', async () => {
    const first = await ask()
    const other = await ask({ body: { temperature: 1 } })
    expect([other.status, other.code]).toEqual([422, 'idempotency_key_reused'])
    expect((await ask()).text).toBe(first.text)
    expect(vendor.calls).toHaveLength(1)
  })

  test('by another account is another call', async () => {
    const other = await gateway.account('1')
    const replies = [await ask(), await ask({ key: other.key, body: { temperature: 1 } })]
    expect(replies.map(({ status, replayed }) => [status, replayed])).toEqual([
      [200, null],
      [200, null],
    ])
    expect(vendor.calls).toHaveLength(2)
  })

  test('by a key that is not valid has no answer', async () => {
    await ask()
    expect((await ask({ key: 'sk-wrong' })).status).toBe(401)
  })
})

describe('a first call that', () => {
  test('came to nothing leaves its name free', async () => {
    vendor.behave(inTurn((_, response) => json(response, 400, { error: { message: 'no' } }), answerText('Four', usage)))
    const [first, second] = [await ask(), await ask()]
    expect([first.status, second.status, second.replayed]).toEqual([400, 200, null])
  })

  test('broke off after content was charged for it, and is not made anew', async () => {
    vendor.behave(breakAfter(eventsOf('One two three').slice(0, 3)))
    const [first, second] = [await ask({ body: streamed }), await ask({ body: streamed })]
    expect(second).toEqual({ ...first, replayed: 'true' })
    expect(vendor.calls).toHaveLength(1)
  })

  test('was left by its caller is finished, and its answer is there for him', async () => {
    const slow = held(events.slice(0, 2), events.slice(2))
    vendor.behave(slow.behaviour)
    const body = JSON.stringify({ model: 'test-model', messages, ...streamed })
    const headers = { authorization: `Bearer ${account.key}`, 'idempotency-key': name }
    const asked = request(`${gateway.url}/v1/chat/completions`, { method: 'POST', agent: false, headers })
    asked.on('error', () => {})
    asked.end(body)
    await slow.reached
    await new Promise<void>((resolve) => asked.once('response', (response) => response.once('data', () => resolve())))
    const left = new Promise((resolve) => asked.once('close', resolve))
    asked.destroy()
    await left
    const again = ask({ body: streamed })
    slow.release()
    const reply = await again
    expect([reply.status, reply.replayed, reply.text.includes('[DONE]')]).toEqual([200, 'true', true])
    expect(vendor.calls).toHaveLength(1)
    expect(await standing(gateway, account)).toEqual(paid)
  })
})

describe('a name', () => {
  test.each(['', ' '])('of nothing (%j) is none', async (as) => {
    const replies = [await ask({ as }), await ask({ as })]
    expect(replies.map(({ status, replayed }) => [status, replayed])).toEqual([
      [200, null],
      [200, null],
    ])
  })

  test('that is too long is refused', async () => {
    const reply = await ask({ as: 'a'.repeat(256) })
    expect([reply.status, reply.code]).toEqual([400, 'invalid_value'])
    expect((await ask({ as: 'a'.repeat(255) })).status).toBe(200)
  })
})

describe('a gateway that was started anew, and does not wait for calls that run', () => {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-restart-'))
  const before = randomUUID()
  let first: Reply
  let strict: TestGateway
  let payer: TestAccount
  beforeAll(async () => {
    const env = { TOLLGATE_DATA_DIR: home, TOLLGATE_SECRET: 'the secret of two starts' }
    const start = () => startGateway({ vendorUrl: vendor.url, env, yaml: 'idempotency: { while_running: refuse }' })
    vendor.behave(answerText('One two three', usage))
    const old = await start()
    const caller = await old.account('1')
    first = await ask({ at: old, key: caller.key, as: before })
    await old.close()
    strict = await start()
    payer = await strict.account('1')
    again = () => ask({ at: strict, key: caller.key, as: before })
  }, 60_000)
  afterAll(async () => {
    await strict.close()
    rmSync(home, { recursive: true, force: true })
  })
  let again: () => Promise<Reply>

  test('still has what a call came to before', async () => {
    expect(await again()).toEqual({ ...first, replayed: 'true' })
    expect(first.status).toBe(200)
    expect(vendor.calls).toHaveLength(0)
  })

  test('tells the second of two to come back, and then has the answer for him', async () => {
    const slow = held([], events)
    vendor.behave(slow.behaviour)
    const sent = { at: strict, key: payer.key, body: streamed }
    const first = ask(sent)
    await slow.reached
    const second = await ask(sent)
    expect([second.status, second.code, second.retry]).toEqual([409, 'call_in_progress', '1'])
    slow.release()
    const { text } = await first
    await vi.waitFor(async () => expect(await ask(sent)).toMatchObject({ status: 200, text, replayed: 'true' }))
    expect(await standing(strict, payer)).toEqual(paid)
  })
})

test('a refusal costs nothing and names nothing', async () => {
  vendor.behave((_, response) => json(response, 500, completion('')))
  await ask()
  expect(await standing(gateway, account)).toEqual(unpaid)
})
