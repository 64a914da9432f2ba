import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseMoney } from '../../src/core/money.ts'
import { streamCall } from '../support/caller.ts'
import { until } from '../support/process.ts'
import { answerText, eventsOf, type FakeVendor, openStream, startVendor } from '../support/vendor.ts'
import { type Edge, startEdge } from './edge.ts'

const key = 'master-key-of-the-durable-tests'
const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
const body = { model: 'gpt-4.1-mini', messages: [{ role: 'user', content: 'Hello over there' }] }
/** 1,000 tokens at 0.40 and 500 at 1.60 a million: 0.0012. */
const usage = { prompt_tokens: 1_000, completion_tokens: 500 }

let vendor: FakeVendor
let edge: Edge

beforeAll(async () => {
  vendor = await startVendor()
  edge = await startEdge({ masterKey: key, outside: new URL(vendor.url).host })
})
afterAll(() => Promise.all([vendor?.close(), edge?.stop()]))

type Name = Parameters<Edge['url']>[0]

async function get(gateway: Name, path: string): Promise<Record<string, unknown>> {
  const answer = await fetch(edge.url(gateway) + path, { headers })
  return (await answer.json()) as Record<string, unknown>
}

async function call(gateway: Name): Promise<{ status: number; code: unknown }> {
  const answer = await fetch(`${edge.url(gateway)}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  })
  const { error } = (await answer.json()) as { error?: { code: string } }
  return { status: answer.status, code: error?.code }
}

const nanosOf = (balance: unknown) => parseMoney(String(balance)) ?? -1n
const receiptOf = (id: string) =>
  until('a receipt', async () => {
    const found = await get('durable', `/v1/generation?id=${id}`)
    return 'outcome' in found ? found : undefined
  })

/** A vendor that says a word every 100 ms, for longer than any test. */
function talk(): void {
  vendor.behave(async (_, response) => {
    openStream(response)
    for (const event of eventsOf('word '.repeat(1_000))) {
      if (response.destroyed) return
      response.write(`data: ${event}\n\n`)
      await wait(100)
    }
  })
}

/** A vendor that says nothing for longer than the term of a hold, in the middle of its answer. */
function pause(): void {
  const events = eventsOf('one two three four', usage)
  vendor.behave(async (_, response) => {
    openStream(response)
    for (const [index, event] of events.entries()) {
      response.write(`data: ${event}\n\n`)
      if (index === 1) await wait(6_000)
    }
    response.end('data: [DONE]\n\n')
  })
}

test('all isolates spend one balance', async () => {
  vendor.behave(answerText('Hello back', usage))
  expect([await call('one'), await call('other')]).toMatchObject([{ status: 200 }, { status: 200 }])
  // What is left, 0.0006, does not cover the first hold of a call.
  const refused = { status: 402, code: 'insufficient_quota' }
  expect([await call('one'), await call('other')]).toEqual([refused, refused])
})

test('a call that is silent for longer than its term is not reaped, but charged once and whole', async () => {
  pause()
  const before = await get('durable', '/v1/credits')
  const { heard, over } = streamCall({ url: edge.url('durable'), key, body })
  await over
  expect(heard).toMatchObject({ status: 200, done: true })
  expect(await receiptOf(heard.id)).toMatchObject({ outcome: 'complete', cost: '0.0012' })
  const after = await get('durable', '/v1/credits')
  expect(nanosOf(before['balance']) - nanosOf(after['balance'])).toBe(1_200_000n)
  expect(after['held']).toBe('0')
})

test('a hold survives the runtime, and is reaped at what was last checkpointed', async () => {
  talk()
  const { heard, over } = streamCall({ url: edge.url('durable'), key, body })
  // The first checkpoint follows the first content by a quarter of a second.
  await until('some words', () => (heard.text.length > 60 ? true : undefined))
  await edge.restart()
  await over.catch(() => {})
  // The books of the isolate went with it: only the object can know of the call.
  expect(await receiptOf(heard.id)).toMatchObject({ outcome: 'reaped', usage_source: 'checkpoint', stream: true })
  expect((await get('durable', '/v1/credits'))['held']).toBe('0')
})
