import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { endedCalls, standing, subKey } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { type FakeVendor, json, startVendor } from '../support/vendor.ts'
import { type Ask, clients } from './clients.ts'
import { obliging, text } from './obliging-vendor.ts'

/** Every error that a call can end with before its first content, as each official client tells it to its users. */

const startNanos = 1_000_000_000n

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
let poor: TestAccount

/** What the vendor answers is in the prompt, because all clients ask at once. */
const vendorSays = (status: number): string => `answer ${status}`

beforeAll(async () => {
  vendor = await startVendor((call, response) => {
    const status = Number(/answer (\d+)/.exec(call.text)?.[1] ?? 200)
    if (status === 200) return obliging(call, response)
    if (status === 0) return
    const type = status < 500 ? 'invalid_request_error' : 'server_error'
    json(response, status, { error: { message: 'It is broken.', type } })
  })
  gateway = await startGateway({
    vendorUrl: vendor.url,
    adapter: 'groq',
    vendors: `
  hasty:
    adapter: groq
    base_url: ${vendor.url}
    api_keys: [vendor-secret]
    timeouts: { first_byte_ms: 100 }
  shut: { adapter: groq, base_url: ${vendor.url}, api_keys: [vendor-secret] }
  down:
    adapter: groq
    base_url: http://127.0.0.1:1
    api_keys: [vendor-secret]`,
    models: `
  hasty-model:
    targets: [{ vendor: hasty, model: vendor-model }]
    prices: { input: 1, output: 2 }
  shut-model:
    targets: [{ vendor: shut, model: vendor-model }]
    prices: { input: 1, output: 2 }
  down-model:
    targets: [{ vendor: down, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
    yaml: 'server: { body_limit_bytes: 65536 }\nlimits: { shedding: { event_loop_ms: 60000 } }',
  })
  account = await gateway.account('1')
  poor = await gateway.account('0')
})
afterAll(async () => {
  const { balance, held, inFlight } = await standing(gateway, account)
  expect({ balance, held, inFlight }).toEqual({ balance: startNanos, held: 0n, inFlight: 0 })
  await gateway.close()
  await vendor.close()
})

async function caught(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (error) {
    return error
  }
  throw new Error('nothing was refused')
}

const refusals: Record<string, [more: Partial<Ask>, status: number]> = {
  'for a wrong key': [{ key: 'sk-tg-of-nobody' }, 401],
  'for a model that is not there': [{ model: 'no-model' }, 404],
  'for a model without a price': [{ model: 'unpriced-model' }, 403],
  'for a body that is too large': [{ prompt: 'x'.repeat(70_000) }, 413],
  'by a vendor that cannot be reached': [{ model: 'down-model' }, 502],
  'by a vendor that does not answer': [{ model: 'hasty-model', prompt: vendorSays(0) }, 504],
  "by its vendor's 400": [{ prompt: vendorSays(400) }, 400],
  "by its vendor's 422": [{ prompt: vendorSays(422) }, 422],
  "by its vendor's 401, which is about our own key": [{ model: 'shut-model', prompt: vendorSays(401) }, 503],
  "by its vendor's 500": [{ prompt: vendorSays(500) }, 502],
}

describe.concurrent.each(clients)('$name', (client) => {
  describe.each(['plain', 'streamed'] as const)('%s, is refused', (way) => {
    const asking = (more: Partial<Ask>) =>
      client[way]({ url: gateway.url, key: account.key, model: 'test-model', ...more })

    test.each(Object.entries(refusals))('%s', async (_, [more, status]) => {
      expect(client.status(await caught(asking(more)))).toBe(status)
    })

    test('for want of credit', async () => {
      expect(client.status(await caught(asking({ key: poor.key })))).toBe(402)
    })

    test('for a limit', async () => {
      const other = await gateway.account('1')
      const { key } = await subKey(gateway, other, { requests_per_minute: 1 })
      expect(await client.plain({ url: gateway.url, key, model: 'test-model' })).toBe(text)
      expect(client.status(await caught(asking({ key })))).toBe(429)
      expect((await endedCalls(gateway, key)).length).toBe(1)
    })
  })
})
