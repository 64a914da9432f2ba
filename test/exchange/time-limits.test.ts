import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { booked } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, eventsOf, openStream, startVendor, type Behaviour, type FakeVendor } from '../support/vendor.ts'

/** Time limits of a target, which stand before those of its vendor, each on its own. */

const usage = { prompt_tokens: 10, completion_tokens: 3 }
const pauseMs = 400

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount

const pause = () => new Promise((resolve) => setTimeout(resolve, pauseMs))
const late: Behaviour = async (call, response) => {
  await pause()
  return answerText('One two three', usage)(call, response)
}
/** Two words, then a pause, then the rest. */
const halting: Behaviour = async (_, response) => {
  const events = eventsOf('One two three', usage).map((event) => `data: ${event}\n\n`)
  openStream(response)
  response.write(events.slice(0, 3).join(''))
  await pause()
  response.end(`${events.slice(3).join('')}data: [DONE]\n\n`)
}

const modelOf = (name: string, limit: string) => `
  ${name}:
    targets: [{ vendor: fake, model: vendor-model, timeouts: { ${limit} } }]
    prices: { input: 1, output: 2 }`

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `  hasty: { adapter: openai, base_url: ${vendor.url}, api_keys: [secret], timeouts: { first_byte_ms: 50, idle_ms: 50 } }`,
    models:
      modelOf('quick-start', 'first_byte_ms: 100') +
      modelOf('quick-words', 'idle_ms: 100') +
      modelOf('quick-end', 'total_ms: 200') +
      `
  patient:
    targets: [{ vendor: hasty, model: vendor-model, timeouts: { first_byte_ms: 20000, idle_ms: 20000 } }]
    prices: { input: 1, output: 2 }`,
  })
  account = await gateway.account('100')
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})

async function ask(model: string, behaviour: Behaviour) {
  vendor.behave(behaviour)
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  })
  const text = await answer.text()
  const { outcome } = await booked(gateway, account, answer.headers.get('x-request-id'))
  return [answer.status, /took longer|sent nothing for \d+/.exec(text)?.[0], outcome]
}

describe.each([
  ['quick-start', late, [504, 'sent nothing for 100', 'vendor_failed']],
  ['quick-start', halting, [200, undefined, 'complete']],
  ['quick-words', late, [200, undefined, 'complete']],
  ['quick-words', halting, [200, 'sent nothing for 100', 'incomplete']],
  ['quick-end', late, [504, 'took longer', 'vendor_failed']],
  ['quick-end', halting, [200, 'took longer', 'incomplete']],
  ['patient', late, [200, undefined, 'complete']],
  ['patient', halting, [200, undefined, 'complete']],
] as const)('%s', (model, behaviour, wanted) => {
  test(`of a vendor that is ${behaviour === late ? 'late' : 'halting'}`, async () => {
    expect(await ask(model, behaviour)).toEqual(wanted)
  })
})
