import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { booked } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { json, startVendor, type Behaviour, type FakeVendor } from '../support/vendor.ts'
import { says, wires } from '../support/wires.ts'

/*
 * Accounts of one vendor, and vendors that encrypt in the same way, cannot read each other's reasoning, and no byte of
 * it tells whose it is. The one that is asked says so, and is asked again without it.
 */

const usage = { prompt_tokens: 10, completion_tokens: 3 }
const cost = 16_000n
const wire = wires.find(({ dialect }) => dialect === 'responses')
const reasoning = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAAAABsealed' }
const said = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Four.' }] }
const question = (text: string) => ({ role: 'user', content: text })

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

/** Away in the west; in the east it reads nothing that others have sealed. */
const behaviour: Behaviour = (call, response) => {
  if (call.headers.authorization === 'Bearer west-key') return json(response, 503, { error: { message: 'Away.' } })
  if (call.text.includes('encrypted_content":"'))
    return json(response, 400, {
      error: {
        message: 'The encrypted content gAAA... could not be verified.',
        type: 'invalid_request_error',
        param: null,
        code: 'invalid_encrypted_content',
      },
    })
  return wire ? says(wire, 'Five.', usage)(call, response) : undefined
}

beforeAll(async () => {
  vendor = await startVendor()
  vendor.behave(behaviour)
  const place = (name: string) =>
    `  ${name}: { adapter: openai-responses, base_url: ${vendor.url}, api_keys: [${name}-key] }`
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: [place('west'), place('east')].join('\n'),
    models: `
  two-places:
    targets: [{ vendor: west, model: thinker }, { vendor: east, model: thinker }]
    routing: { strategy: priority }
    prices: { input: 1, output: 2 }`,
  })
  account = await gateway.account('100')
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

async function ask(path: string, body: object) {
  const before = vendor.calls.length
  const answer = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'two-places', ...body }),
  })
  const text = await answer.text()
  const {
    outcome,
    cost: charged,
    attempts,
    account: standing,
  } = await booked(gateway, account, answer.headers.get('x-request-id'))
  return {
    status: answer.status,
    text,
    outcome,
    charged,
    attempts,
    held: standing.held,
    sent: vendor.calls.slice(before),
  }
}

describe.each([true, false])('a conversation that has moved, streamed: %s', (stream) => {
  test('goes on without the reasoning that its new vendor cannot read, and is charged once', async () => {
    const input = [question('2 + 2?'), reasoning, said, question('And 1 more?')]
    const { status, text, outcome, charged, attempts, held, sent } = await ask('/v1/responses', { stream, input })
    expect([status, text.includes('Five.'), outcome, charged, held]).toEqual([200, true, 'complete', cost, 0n])
    expect(attempts).toEqual(['west 503 vendor_error', 'east 400 vendor_refused', 'east 200'])
    // The first try in the east has all of it, byte for byte; the second one everything but the reasoning.
    expect(sent.slice(1).map(({ body }) => body['input'])).toEqual([
      input,
      [question('2 + 2?'), said, question('And 1 more?')],
    ])
  })
})

test('a request that is refused for it all the same is refused to the caller, and costs nothing', async () => {
  vendor.behave((call, response) => behaviour({ ...call, text: 'encrypted_content":"' }, response))
  const { status, text, charged, attempts, held } = await ask('/v1/responses', { input: [question('2 + 2?')] })
  vendor.behave(behaviour)
  expect([status, charged, held]).toEqual([400, 0n, 0n])
  expect(text).toContain('invalid_encrypted_content')
  expect(attempts).toEqual(['west 503 vendor_error', 'east 400 vendor_refused', 'east 400 vendor_refused'])
})

test('the same holds where the reasoning came back in another dialect', async () => {
  const detail = {
    type: 'reasoning.encrypted',
    id: 'rs_1',
    data: 'gAAAAABsealed',
    format: 'openai-responses',
    index: 0,
  }
  const messages = [
    question('2 + 2?'),
    { role: 'assistant', content: 'Four.', reasoning_details: [detail] },
    question('And 1 more?'),
  ]
  const { status, attempts, charged } = await ask('/v1/chat/completions', { messages })
  expect([status, charged]).toEqual([200, cost])
  expect(attempts).toEqual(['west 503 vendor_error', 'east 400 vendor_refused', 'east 200'])
})
