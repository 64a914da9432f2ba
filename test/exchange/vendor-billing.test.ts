import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { eventsOf, type FakeVendor, json, openStream, startVendor } from '../support/vendor.ts'

/** What vendors bill beside plain tokens, and what they do not bill. */

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const [inputNanos, outputNanos] = [1_000n, 2_000n]

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

const model = (name: string, adapter: string, prices = '') => `
  ${name}:
    targets: [{ vendor: wire-${adapter}, model: vendor-model }]
    prices: { input: 1, output: 2${prices} }
    policies: { unstreamed: whole }`

beforeAll(async () => {
  vendor = await startVendor()
  const adapters = ['anthropic', 'vertex', 'openai', 'moonshot']
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: adapters
      .map((name) => `  wire-${name}: { adapter: ${name}, base_url: ${vendor.url}, api_keys: [secret-of-ours] }`)
      .join('\n'),
    models: [
      model('plain', 'anthropic'),
      model('placed', 'anthropic', ", regions: { us: '1.1' }, speeds: { fast: 6 }"),
      model('advised', 'anthropic', ', advisor_input: 5, advisor_output: 25'),
      model('searching', 'anthropic', ", search: '0.01'"),
      model('blocked', 'vertex'),
      model('tools', 'openai', ", search: '0.01', file_search: '0.0025', code_session: '0.03'"),
      model('no-tools', 'openai'),
      model('moon', 'moonshot'),
    ].join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.calls.length = 0
  account = await gateway.account('1')
})

async function ask(path: string, body: Record<string, unknown>): Promise<{ id: string | null; text: string }> {
  const headers = { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' }
  const response = await fetch(gateway.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
  return { id: response.headers.get('x-request-id'), text: await response.text() }
}

const messages = [{ role: 'user', content: 'Hi' }]
const inChat = (name: string, more = {}) => ask('/v1/chat/completions', { model: name, messages, ...more })

/** What the books say, and what was odd about it. */
async function bookedAs({ id }: { readonly id: string | null }) {
  const { anomalies } = await gateway.get(`/v1/generation?id=${id}`, account.key)
  const { counts, cost, outcome, source } = await booked(gateway, account, id)
  return { counts, cost, outcome, source, anomalies }
}

const whole = { outcome: 'complete', source: 'vendor' }

describe('a vendor of messages', () => {
  const content = [{ type: 'text', text: 'Hello' }]
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content, stop_reason: 'end_turn' }
  const usage = { input_tokens: 100, output_tokens: 10 }
  const plainCost = 100n * inputNanos + 10n * outputNanos
  const behave = (more: object): void =>
    vendor.behave((_, response) => json(response, 200, { ...message, usage: { ...usage, ...more } }))

  test('that has searched is charged the price of a search', async () => {
    behave({ server_tool_use: { web_search_requests: 3 } })
    expect(await bookedAs(await inChat('searching'))).toEqual({
      ...whole,
      counts: { input: 100, output: 10, search: 3 },
      cost: plainCost + 30_000_000n,
      anomalies: [],
    })
  })

  test('whose searches have no price keeps them on record, and says that they were not charged', async () => {
    behave({ server_tool_use: { web_search_requests: 3 } })
    expect(await bookedAs(await inChat('plain'))).toEqual({
      ...whole,
      counts: { input: 100, output: 10, search: 3 },
      cost: plainCost,
      anomalies: ['unpriced_search'],
    })
  })

  test.each([
    ['in a region with a price', { inference_geo: 'us' }, 11n, 10n],
    ['fast', { speed: 'fast' }, 6n, 1n],
    ['both', { inference_geo: 'us', speed: 'fast' }, 66n, 10n],
    ['anywhere, as fast as ever', { inference_geo: 'global', speed: 'standard' }, 1n, 1n],
    ['in a region without a price', { inference_geo: 'eu' }, 1n, 1n],
  ])('that has served %s is charged so', async (_, place, times, by) => {
    behave(place)
    expect((await bookedAs(await inChat('placed'))).cost).toBe((plainCost * times) / by)
  })

  test('with an advisor is charged the advisor at its own prices', async () => {
    const pass = (type: string, input: number, output: number) => ({ type, input_tokens: input, output_tokens: output })
    behave({ iterations: [pass('message', 60, 4), pass('advisor_message', 200, 20), pass('message', 40, 6)] })
    const counts = { input: 100, output: 10, advisor_input: 200, advisor_output: 20 }
    const anomalies = ['other_model_used']
    expect([await bookedAs(await inChat('advised')), await bookedAs(await inChat('plain'))]).toEqual([
      { ...whole, counts, anomalies, cost: plainCost + 200n * 5_000n + 20n * 25_000n },
      { ...whole, counts, anomalies, cost: plainCost + 200n * inputNanos + 20n * outputNanos },
    ])
  })

  test('that answers a stream with one body loses nothing of it', async () => {
    const search = { type: 'server_tool_use', id: 's1', name: 'web_search', input: { query: 'q' } }
    const result = {
      type: 'web_search_tool_result',
      tool_use_id: 's1',
      content: [{ type: 'web_search_result', url: 'u' }],
    }
    const thought = { type: 'thinking', thinking: 'Hm.', signature: 'c2lnbmVk' }
    const all = [thought, search, result, ...content]
    const body = { ...message, content: all, container: { id: 'box', expires_at: 'later' } }
    vendor.behave((_, response) => json(response, 200, { ...body, usage: { ...usage, service_tier: 'standard' } }))
    const client = new Anthropic({ apiKey: account.key, baseURL: gateway.url, maxRetries: 0 })
    const streaming = client.messages.stream({
      model: 'plain',
      max_tokens: 9,
      messages: [{ role: 'user', content: 'Hi' }],
    })
    const final = await streaming.finalMessage()
    expect(final).toMatchObject({ id: 'msg_1', model: 'plain', content: all, container: body.container })
    expect(final.usage).toMatchObject({ ...usage, service_tier: 'standard' })
    expect(await bookedAs({ id: streaming.response?.headers.get('x-request-id') ?? null })).toEqual({
      ...whole,
      counts: { input: 100, output: 10 },
      cost: plainCost,
      anomalies: [],
    })
  })
})

describe("a vendor in Google's words", () => {
  const blocked = (usageMetadata: object) => ({
    promptFeedback: { blockReason: 'MODEL_ARMOR' },
    modelVersion: 'gemini-2.5-flash',
    usageMetadata,
  })
  const nothing = { ...whole, counts: {}, cost: 0n, anomalies: [] }

  test.each([
    ['nothing', { trafficType: 'ON_DEMAND' }],
    ['zeros', { promptTokenCount: 0, totalTokenCount: 0 }],
  ])('that has blocked the prompt and counts %s charges nothing', async (_, usageMetadata) => {
    vendor.behave((_call, response) => json(response, 200, blocked(usageMetadata)))
    const own = await ask('/v1beta/models/blocked:generateContent', { contents: [{ parts: [{ text: 'Hi' }] }] })
    expect([await bookedAs(await inChat('blocked')), await bookedAs(own)]).toEqual([nothing, nothing])
  })

  test('that has blocked the prompt in a stream charges nothing', async () => {
    vendor.behave((_, response) => {
      openStream(response)
      response.end(`data: ${JSON.stringify(blocked({ trafficType: 'ON_DEMAND' }))}\n\n`)
    })
    expect(await bookedAs(await inChat('blocked', { stream: true }))).toEqual(nothing)
  })
})

describe('a vendor of responses', () => {
  const output = [
    { type: 'web_search_call', id: 'w', action: { type: 'search' } },
    { type: 'file_search_call', id: 'f' },
    { type: 'file_search_call', id: 'g' },
    { type: 'code_interpreter_call', id: 'c', container_id: 'cntr_1' },
    { type: 'code_interpreter_call', id: 'd', container_id: 'cntr_1' },
    { type: 'message', id: 'm', role: 'assistant', content: [{ type: 'output_text', text: 'Hello', annotations: [] }] },
  ]
  const usage = { input_tokens: 100, output_tokens: 10, total_tokens: 110 }
  const body = { id: 'resp_1', object: 'response', status: 'completed', model: 'gpt', output, usage }
  const counts = { input: 100, output: 10, search: 1, file_search: 2, code_session: 1 }
  const plainCost = 100n * inputNanos + 10n * outputNanos

  beforeEach(() => vendor.behave((_, response) => json(response, 200, body)))

  test('is charged for the tools that it has run', async () => {
    expect(await bookedAs(await ask('/v1/responses', { model: 'tools', input: 'Hi' }))).toEqual({
      ...whole,
      counts,
      cost: plainCost + 10_000_000n + 2n * 2_500_000n + 30_000_000n,
      anomalies: [],
    })
  })

  test('whose tools have no price keeps them on record', async () => {
    expect(await bookedAs(await ask('/v1/responses', { model: 'no-tools', input: 'Hi' }))).toEqual({
      ...whole,
      counts,
      cost: plainCost,
      anomalies: ['unpriced_search', 'unpriced_file_search', 'unpriced_code_session'],
    })
  })
})

describe('a vendor that puts usage into the choice', () => {
  const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110, cached_tokens: 40 }
  const expected = {
    ...whole,
    counts: { input: 60, cached_input: 40, output: 10 },
    cost: 100n * inputNanos + 10n * outputNanos,
    anomalies: [],
  }

  test('is charged by it, in a stream', async () => {
    vendor.behave((_, response) => {
      openStream(response)
      const events = eventsOf('Hello there').map(
        (event) => JSON.parse(event) as { choices: { finish_reason: unknown }[] },
      )
      for (const event of events) {
        const choices = event.choices.map((choice) => ({ ...choice, ...(choice.finish_reason !== null && { usage }) }))
        response.write(`data: ${JSON.stringify({ ...event, choices })}\n\n`)
      }
      response.end('data: [DONE]\n\n')
    })
    expect(await bookedAs(await inChat('moon', { stream: true }))).toEqual(expected)
  })

  test('is charged by it, in one body', async () => {
    const choice = { index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'stop', usage }
    vendor.behave((_, response) => json(response, 200, { id: 'c', object: 'chat.completion', choices: [choice] }))
    expect(await bookedAs(await inChat('moon'))).toEqual(expected)
  })
})
