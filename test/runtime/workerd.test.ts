import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseMoney } from '../../src/core/money.ts'
import { streamCall } from '../support/caller.ts'
import { until } from '../support/process.ts'
import { answerText, eventsOf, type FakeVendor, openStream, startVendor } from '../support/vendor.ts'
import { type Edge, startEdge } from './edge.ts'

const key = 'master-key-of-the-edge-tests'
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
const moment = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string
const anyNumber = expect.any(Number) as number

let vendor: FakeVendor
let edge: Edge

beforeAll(async () => {
  vendor = await startVendor()
  edge = await startEdge({ masterKey: key, outside: new URL(vendor.url).host })
})
afterAll(() => Promise.all([vendor.close(), edge.stop()]))

function chat(body: Record<string, unknown>): Promise<Response> {
  const messages = [{ role: 'user', content: 'Hello over there' }]
  return fetch(`${edge.url('memory')}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ messages, ...body }),
  })
}

async function get(path: string): Promise<Record<string, unknown>> {
  const answer = await fetch(edge.url('memory') + path, { headers })
  return (await answer.json()) as Record<string, unknown>
}

const nanosOf = (balance: unknown) => parseMoney(String(balance)) ?? -1n
const receiptOf = (id: string | null) => get(`/v1/generation?id=${id ?? ''}`)

/** What every receipt of the sandbox's echo says. */
const echoed = {
  object: 'generation',
  model: 'sandbox/echo',
  vendor: 'sandbox',
  vendor_model: 'echo',
  served_model: 'echo',
  outcome: 'complete',
  finish_reason: 'stop',
  error: null,
  usage_source: 'vendor',
  tokenizer: null,
  anomalies: [],
  currency: 'USD',
  cost: '0',
  created_at: moment,
  latency_ms: anyNumber,
  first_byte_ms: anyNumber,
  attempts: [{ vendor: 'sandbox', model: 'echo', status: 200, ms: anyNumber }],
  client_request_id: null,
}

test('the bundle is one program, the tokenizer and the configuration', () => {
  expect(edge.modules.map((name) => name.replace(/^[0-9a-f]{40}-/, ''))).toEqual([
    'worker.js',
    'tollgate.yaml',
    'tiktoken_bg.wasm',
  ])
})

test('the process answers', async () => {
  const answer = await fetch(`${edge.url('memory')}/healthz`)
  expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }])
})

test('a call without the key is refused', async () => {
  const answer = await fetch(`${edge.url('memory')}/v1/models`, {
    headers: { authorization: 'Bearer another-key-of-somebody' },
  })
  expect([answer.status, await answer.json()]).toMatchObject([401, { error: { code: 'invalid_api_key' } }])
})

test('a gateway without a key says what to set', async () => {
  const answer = await fetch(`${edge.url('bare')}/v1/models`)
  expect([answer.status, await answer.json()]).toEqual([
    503,
    {
      error: {
        message: 'This gateway cannot serve yet. It has no key: set the secret TOLLGATE_MASTER_KEY.',
        type: 'server_error',
        param: null,
        code: 'billing_unavailable',
      },
    },
  ])
})

describe('a call of the sandbox', () => {
  test('that is not streamed is answered and recorded', async () => {
    const answer = await chat({ model: 'sandbox/echo' })
    const body = (await answer.json()) as {
      choices: unknown
      usage: { prompt_tokens: number; completion_tokens: number }
    }
    expect(body.choices).toMatchObject([{ message: { content: 'Hello over there' }, finish_reason: 'stop' }])
    const id = answer.headers.get('x-request-id')
    const { prompt_tokens: input, completion_tokens: output } = body.usage
    expect(await receiptOf(id)).toMatchObject({
      ...echoed,
      id,
      stream: false,
      usage: {
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input + output,
        counts: { input, output },
      },
    })
    expect(output).toBe(3)
  })

  test('that is streamed is answered and recorded', async () => {
    const { heard, over } = streamCall({
      url: edge.url('memory'),
      key,
      body: { model: 'sandbox/echo', messages: [{ role: 'user', content: 'Hello over there' }] },
    })
    await over
    expect(heard).toMatchObject({ status: 200, text: 'Hello over there', done: true })
    expect(await receiptOf(heard.id)).toMatchObject({
      ...echoed,
      id: heard.id,
      stream: true,
      usage: { completion_tokens: 3, counts: { output: 3 } },
    })
  })

  test('that its caller breaks off is recorded with what was forwarded', async () => {
    const abort = new AbortController()
    const messages = [{ role: 'user', content: 'one two three four five six seven eight nine ten' }]
    const { heard, over } = streamCall({
      url: edge.url('memory'),
      key,
      body: { model: 'sandbox/slow', messages },
      signal: abort.signal,
    })
    await until('some words', () => (heard.text.split(' ').length > 2 ? true : undefined))
    abort.abort()
    await over
    const receipt = await until('a receipt', async () => {
      const found = await receiptOf(heard.id)
      return 'outcome' in found ? found : undefined
    })
    expect(receipt).toMatchObject({ outcome: 'client_abort', usage_source: 'counted', stream: true })
    const { completion_tokens: output } = receipt['usage'] as { completion_tokens: number }
    expect(output).toBeGreaterThan(0)
    // The sandbox would have gone on: it tells more words than these.
    expect(output).toBeLessThan(40)
  })
})

describe('a call of a vendor', () => {
  const usage = { prompt_tokens: 1_000, completion_tokens: 500 }

  test('goes out with the key of the vendor and without the one of the caller', async () => {
    vendor.behave(answerText('Hello back', usage))
    await (await chat({ model: 'gpt-4.1-mini' })).text()
    const [call] = vendor.calls.slice(-1)
    expect(call?.path).toBe('/v1/chat/completions')
    expect(call?.headers.authorization).toBe('Bearer vendor-secret')
    expect(JSON.stringify(call?.headers)).not.toContain(key)
  })

  test('is charged by the count of the vendor', async () => {
    vendor.behave(answerText('Hello back', usage))
    const before = await get('/v1/credits')
    const answer = await chat({ model: 'gpt-4.1-mini', stream: true })
    expect(await answer.text()).toContain('data: [DONE]')
    const receipt = await receiptOf(answer.headers.get('x-request-id'))
    // 1,000 tokens at 0.40 and 500 at 1.60 a million.
    expect([receipt['outcome'], receipt['usage_source'], receipt['cost']]).toEqual(['complete', 'vendor', '0.0012'])
    const after = await get('/v1/credits')
    expect(nanosOf(before['balance']) - nanosOf(after['balance'])).toBe(1_200_000n)
    expect(after['held']).toBe('0')
  })

  test('is broken off when its caller leaves', async () => {
    // This runtime notices that a caller left when it next writes to him, so the vendor keeps talking.
    vendor.behave(async (_, response) => {
      openStream(response)
      for (const event of eventsOf('word '.repeat(1_000))) {
        if (response.destroyed) return
        response.write(`data: ${event}\n\n`)
        await wait(20)
      }
    })
    const abort = new AbortController()
    const body = { model: 'gpt-4.1-mini', messages: [{ role: 'user', content: 'Hello' }] }
    const { heard, over } = streamCall({ url: edge.url('memory'), key, body, signal: abort.signal })
    await until('some words', () => (heard.text.length > 20 ? true : undefined))
    abort.abort()
    await over
    expect(await vendor.calls.at(-1)?.closed).toBe('broken')
    const receipt = await until('a receipt', async () => {
      const found = await receiptOf(heard.id)
      return 'outcome' in found ? found : undefined
    })
    expect(receipt).toMatchObject({ outcome: 'client_abort', usage_source: 'counted' })
    expect((await get('/v1/credits'))['held']).toBe('0')
  })
})
