import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Tongue } from '../replay/tongue.ts'
import { tongues } from '../replay/tongues.ts'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { eventsOf, type FakeVendor, json, openStream, startVendor } from '../support/vendor.ts'
import { type Ask, clients } from './clients.ts'
import { obliging, text, usage } from './obliging-vendor.ts'

/** Every official client, while a gateway keeps its connection alive that has nothing to say for now. */

const startNanos = 1_000_000_000n
const wholeCost = 16_000n
/** Long enough for several signs of life. */
const silenceMs = 150

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

const pause = () => new Promise((resolve) => setTimeout(resolve, silenceMs))

beforeAll(async () => {
  // Slow to begin, and in a stream slow after the first words too.
  vendor = await startVendor(async (call, response) => {
    await pause()
    if (call.text.includes('break')) return json(response, 500, { error: { message: 'It is broken.' } })
    if (call.body['stream'] !== true) return obliging(call, response)
    openStream(response)
    const [role, ...events] = eventsOf(text, usage)
    for (const event of [role, events[0]]) response.write(`data: ${event}\n\n`)
    await pause()
    if (call.text.includes('snap')) return void response.destroy()
    for (const event of events.slice(1)) response.write(`data: ${event}\n\n`)
    response.end('data: [DONE]\n\n')
  })
  gateway = await startGateway({
    vendorUrl: vendor.url,
    adapter: 'groq',
    yaml: 'keep_alive: { silence_ms: 10, commit_stream_ms: 30, commit_body_ms: 30 }\nlimits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1')
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

const asking = (more: Partial<Ask> = {}): Ask => ({ url: gateway.url, key: account.key, model: 'test-model', ...more })

async function caught(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe.concurrent.each(clients)('$name', (client) => {
  test.each(['plain', 'streamed'] as const)('waits, and gets its answer, %s', async (way) => {
    expect(await client[way](asking())).toBe(text)
  })

  test('hears in a stream that has begun early what went wrong', async () => {
    const error = await caught(client.streamed(asking({ prompt: 'break' })))
    expect(String(Reflect.get(Object(error), 'message'))).toContain('it sent status 500')
  })

  test('hears in mid-stream what went wrong', async () => {
    const error = await caught(client.streamed(asking({ prompt: 'snap' })))
    expect(String(Reflect.get(Object(error), 'message'))).toContain('connection to the vendor failed')
  })

  test('does not take an error in a body that has begun early for an answer', async () => {
    await caught(client.plain(asking({ prompt: 'break' })))
  })

  test('hears of a model that is not there, which is known at once, by its status', async () => {
    expect(client.status(await caught(client.streamed(asking({ model: 'no-model' }))))).toBe(404)
  })
})

describe.concurrent.each([...tongues.values()])('the bytes of $dialect', (tongue: Tongue) => {
  const ping: Record<string, string> = { messages: 'event: ping\ndata: {"type":"ping"}\n\n', generate: '\n' }
  const sign = ping[tongue.dialect] ?? ': keep-alive\n\n'

  async function ask(stream: boolean) {
    const model = 'test-model'
    const { key } = await gateway.account('1')
    const answer = await fetch(gateway.url + tongue.path(model, stream), {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(tongue.request({ model, stream })),
    })
    return { answer, bytes: new Uint8Array(await answer.arrayBuffer()), key }
  }
  async function balanceOf(key: string): Promise<bigint> {
    const of = { id: 0, key }
    await vi.waitFor(async () => expect(await standing(gateway, of)).toMatchObject({ held: 0n, inFlight: 0 }))
    return (await standing(gateway, of)).balance
  }

  test('have signs of life before a stream and within it, and are charged for once', async () => {
    const { answer, bytes, key } = await ask(true)
    const told = new TextDecoder().decode(bytes)
    const [before = '', within = ''] = told.split('One ')
    expect([answer.status, before.startsWith(sign), within.includes(`\n\n${sign}`)]).toEqual([200, true, true])
    expect(tongue.readStream(bytes).text).toBe(text)
    expect(await balanceOf(key)).toBe(startNanos - wholeCost)
  })

  test('have white space before a body, and are charged for once', async () => {
    const { answer, bytes, key } = await ask(false)
    const told = new TextDecoder().decode(bytes)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect([/^\n+\{/.test(told), tongue.readBody(bytes).text]).toEqual([true, text])
    expect(await balanceOf(key)).toBe(startNanos - wholeCost)
  })
})

test('an array has white space before it and between its elements', async () => {
  const answer = await fetch(`${gateway.url}/v1beta/models/test-model:streamGenerateContent`, {
    method: 'POST',
    headers: { 'x-goog-api-key': account.key, 'content-type': 'application/json' },
    body: JSON.stringify({ contents: [{ parts: [{ text: 'Count.' }] }] }),
  })
  const told = await answer.text()
  const elements = JSON.parse(told) as { candidates: { content?: { parts?: { text?: string }[] } }[] }[]
  const words = elements.map(({ candidates }) => candidates[0]?.content?.parts?.[0]?.text ?? '').join('')
  expect([words, told.startsWith('\n'), /\}\n+,/.test(told)]).toEqual([text, true, true])
})

test('an error behind an early body is in its bytes, and the connection breaks', async () => {
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'test-model', messages: [{ role: 'user', content: 'break' }] }),
  })
  let told = ''
  const reading = (async () => {
    for await (const chunk of answer.body ?? []) told += new TextDecoder().decode(chunk)
  })()
  await expect(reading).rejects.toThrow('terminated')
  expect(JSON.parse(told)).toMatchObject({
    error: { message: expect.stringContaining('it sent status 500') as string },
  })
})

describe('a call that happens once', () => {
  const ask = (key: string, content: string) =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${account.key}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: JSON.stringify({ model: 'test-model', stream: true, messages: [{ role: 'user', content }] }),
    })

  test('is kept without the signs of life that came before it', async () => {
    const [first, again] = [await (await ask('once', 'hi')).text(), await ask('once', 'hi')]
    const kept = await again.text()
    expect([first.startsWith(': keep-alive'), again.headers.get('idempotent-replayed')]).toEqual([true, 'true'])
    expect(kept).toBe(first.replaceAll(': keep-alive\n\n', ''))
  })

  test('is made again where it failed behind an early status', async () => {
    const calls = () => vendor.calls.filter(({ text: sent }) => sent.includes('break twice')).length
    const told = [await (await ask('twice', 'break twice')).text(), await (await ask('twice', 'break twice')).text()]
    expect([told.map((each) => each.includes('it sent status 500')), calls()]).toEqual([[true, true], 2])
  })
})
