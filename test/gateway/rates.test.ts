import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { completion, eventsOf, type FakeVendor, json, openStream, startVendor, type Usage } from '../support/vendor.ts'

/** One dollar in, two out; more than 1,000 tokens of prompt: ten times as much; flex: half of it. */
const model = `
  rated:
    targets: [{ vendor: fake, model: vendor-model }]
    prices:
      input: 1
      cached_input: 0.5
      output: 2
      tiers: [{ above: 1000, input: 10, cached_input: 5, output: 20 }]
      service_tiers: { flex: { input: 0.5, output: 1 }, priority: { input: 3, output: 6 } }
    max_output_tokens: 4096`

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url, models: model })
  account = await gateway.account('10')
}, 120_000)
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

interface Answer {
  readonly usage: Usage
  readonly service_tier?: string
}

/** Makes one call that the vendor answers so, and gives its receipt. */
async function receipt(answer: Answer, asked: object = {}, key = account.key): Promise<Record<string, unknown>> {
  const { usage, ...more } = answer
  vendor.behave((call, response) => {
    if (call.body['stream'] !== true) return json(response, 200, { ...completion('Hi', usage), ...more })
    openStream(response)
    for (const event of eventsOf('Hi', usage))
      response.write(`data: ${JSON.stringify({ ...JSON.parse(event), ...more })}\n\n`)
    response.end('data: [DONE]\n\n')
  })
  const reply = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'rated', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 50, ...asked }),
  })
  await reply.text()
  expect(reply.status).toBe(200)
  return gateway.get(`/v1/generation?id=${reply.headers.get('x-request-id')}`, key)
}

const shown = ({ cost, service_tier, length_tier }: Record<string, unknown>) => ({ cost, service_tier, length_tier })
const usage = (prompt_tokens: number, cached_tokens = 0): Usage => ({
  prompt_tokens,
  completion_tokens: 10,
  prompt_tokens_details: { cached_tokens },
})

describe('a call pays', () => {
  test('the plain price up to the border of a length tier', async () => {
    expect(shown(await receipt({ usage: usage(1_000, 400) }))).toEqual({
      cost: '0.00082',
      service_tier: null,
      length_tier: null,
    })
  })

  test('the tier for all of it, cached tokens and answer too, one token beyond', async () => {
    expect(shown(await receipt({ usage: usage(1_001, 400) }))).toEqual({
      cost: '0.00821',
      service_tier: null,
      length_tier: 1_001,
    })
  })

  test('the service tier that the answer names, streamed or not', async () => {
    const flex = { usage: usage(100), service_tier: 'flex' }
    const paid = { cost: '0.00006', service_tier: 'flex', length_tier: null }
    expect([
      shown(await receipt(flex, { service_tier: 'flex' })),
      shown(await receipt(flex, { service_tier: 'flex', stream: true })),
    ]).toEqual([paid, paid])
  })

  test('the plain price where another tier served than was asked for', async () => {
    expect(shown(await receipt({ usage: usage(100), service_tier: 'default' }, { service_tier: 'priority' }))).toEqual({
      cost: '0.00012',
      service_tier: 'default',
      length_tier: null,
    })
  })
})

test('a call that asks for a dear service tier is let in only where that is paid for', async () => {
  // 50 tokens of answer cost 0.0001 at the plain price and 0.0003 at that of the tier.
  const poor = await gateway.account('0.0002')
  const ask = (body: object) =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${poor.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'rated', messages: [{ role: 'user', content: 'Hello' }], max_tokens: 50, ...body }),
    }).then(({ status }) => status)
  expect([await ask({ service_tier: 'priority' }), await ask({ service_tier: 'auto' }), await ask({})]).toEqual([
    402, 402, 200,
  ])
})
