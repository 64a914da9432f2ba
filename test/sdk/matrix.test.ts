import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { standing } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import {
  type Behaviour,
  eventsOf,
  type FakeVendor,
  json,
  openStream,
  startVendor,
  type VendorCall,
} from '../support/vendor.ts'
import { type Ask, clients, picture } from './clients.ts'
import { obliging, place, text, usage } from './obliging-vendor.ts'

/**
 * Every official client, unchanged, and everything that its users do with it. They all run at once, so what the vendor
 * does for each is told apart by the prompt.
 */

const startNanos = 1_000_000_000n
const wholeCost = 16_000n
/** A client that is to give up does so after this long. */
const shortMs = 300

let vendor: FakeVendor
let gateway: TestGateway

const scripts = new Map<string, Behaviour>()
const promptIn = (call: VendorCall): string => /script-\d+/.exec(call.text)?.[0] ?? ''
let scriptsMade = 0

/** A prompt for which the vendor does this. */
function prompted(behaviour: Behaviour): string {
  const prompt = `script-${++scriptsMade}`
  scripts.set(prompt, behaviour)
  return prompt
}
const callsFor = (prompt: string): readonly VendorCall[] => vendor.calls.filter((call) => promptIn(call) === prompt)

beforeAll(async () => {
  vendor = await startVendor((call, response) => (scripts.get(promptIn(call)) ?? obliging)(call, response))
  gateway = await startGateway({
    vendorUrl: vendor.url,
    adapter: 'groq',
    // All clients are in this process, which may be late for them.
    yaml: 'limits: { shedding: { event_loop_ms: 60000 } }',
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

async function asker(more: Partial<Ask> = {}, balance = '1'): Promise<{ account: TestAccount; ask: Ask }> {
  const account = await gateway.account(balance)
  return { account, ask: { url: gateway.url, key: account.key, model: 'test-model', ...more } }
}

/** What the account has left once nothing of it is under way. */
async function left(account: TestAccount) {
  await vi.waitFor(async () => expect(await standing(gateway, account)).toMatchObject({ held: 0n, inFlight: 0 }), {
    timeout: 10_000,
    interval: 20,
  })
  return (await standing(gateway, account)).balance
}

async function caught(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

const silent: Behaviour = () => {}
/** The first words of a stream, and no more. */
const begun: Behaviour = (_, response) => {
  openStream(response)
  for (const event of eventsOf(text, usage).slice(0, 3)) response.write(`data: ${event}\n\n`)
}
const failing =
  (status: number): Behaviour =>
  (_, response) =>
    json(response, status, {
      error: { message: 'It is broken.', type: status < 500 ? 'invalid_request_error' : 'server_error' },
    })

describe.concurrent.each(clients)('$name', (client) => {
  test('gets an answer', async () => {
    const { account, ask } = await asker()
    expect(await client.plain(ask)).toBe(text)
    expect(await left(account)).toBe(startNanos - wholeCost)
  })

  test('gets a stream', async () => {
    const { account, ask } = await asker()
    const pieces: string[] = []
    expect(await client.streamed({ ...ask, onText: (piece) => pieces.push(piece) })).toBe(text)
    expect(pieces).toEqual(['One ', 'two ', 'three'])
    expect(await left(account)).toBe(startNanos - wholeCost)
  })

  test.skipIf(!client.tools)('calls a function', async () => {
    const { account, ask } = await asker()
    expect(await client.tools?.(ask)).toEqual({ name: 'weather', args: place })
    expect(await left(account)).toBe(startNanos - wholeCost)
  })

  test.skipIf(!client.structured)('gets an object of its schema', async () => {
    const { ask } = await asker()
    expect(await client.structured?.(ask)).toEqual(place)
  })

  test.skipIf(!client.pictured)('shows a picture', async () => {
    const prompt = prompted(obliging)
    const { ask } = await asker({ prompt })
    expect(await client.pictured?.(ask)).toBe(text)
    expect(callsFor(prompt)[0]?.text).toContain(`data:image/png;base64,${picture}`)
  })

  test.each(['plain', 'streamed'] as const)('%s, is let go of before the answer', async (way) => {
    const prompt = prompted(silent)
    const leaving = new AbortController()
    const { account, ask } = await asker({ prompt, signal: leaving.signal })
    const asking = caught(client[way](ask))
    await expect.poll(() => callsFor(prompt).length, { timeout: 10_000 }).toBe(1)
    leaving.abort()
    await asking
    expect(await callsFor(prompt)[0]?.closed).toBe('broken')
    expect(await left(account)).toBe(startNanos)
  })

  test('is let go of in mid-stream, and pays what it got', async () => {
    const prompt = prompted(begun)
    const leaving = new AbortController()
    const { account, ask } = await asker({ prompt, signal: leaving.signal })
    // Some clients throw then, others end the stream.
    await client.streamed({ ...ask, onText: () => leaving.abort() }).catch(() => '')
    expect(await callsFor(prompt)[0]?.closed).toBe('broken')
    const balance = await left(account)
    expect([balance < startNanos, balance > startNanos - 100_000n]).toEqual([true, true])
  })

  test('gives up in its own time, and pays nothing', async () => {
    const prompt = prompted(silent)
    const { account, ask } = await asker({ prompt, timeoutMs: shortMs })
    await caught(client.plain(ask))
    expect(await Promise.all(callsFor(prompt).map(({ closed }) => closed))).not.toContain('finished')
    expect(await left(account)).toBe(startNanos)
  })

  test('tries again what may go well, and pays once', async () => {
    let tries = 0
    const prompt = prompted((call, response) => (tries++ === 0 ? failing(503) : obliging)(call, response))
    const { account, ask } = await asker({ prompt, retries: 1 })
    expect(await client.plain(ask)).toBe(text)
    expect([callsFor(prompt).length, await left(account)]).toEqual([2, startNanos - wholeCost])
  }, 20_000)

  test.each(['plain', 'streamed'] as const)('%s, does not try again what will not', async (way) => {
    const prompt = prompted(failing(400))
    const { ask } = await asker({ prompt, retries: 1 })
    await caught(client[way](ask))
    expect(callsFor(prompt).length).toBe(1)
  })

  test('hears of a stream that broke off', async () => {
    const prompt = prompted((_, response) => {
      openStream(response)
      const frames = eventsOf(text, usage).slice(0, 3)
      response.write(frames.map((event) => `data: ${event}\n\n`).join(''), () => response.destroy())
    })
    const { ask } = await asker({ prompt })
    const error = await caught(client.streamed(ask))
    expect(String(Reflect.get(Object(error), 'message'))).toContain('connection to the vendor failed')
  })
})
