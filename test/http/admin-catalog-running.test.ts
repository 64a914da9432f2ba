import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked } from '../support/booked.ts'
import { chatWith, openChat } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, eventsOf, openStream, startVendor, type FakeVendor } from '../support/vendor.ts'

/** A catalog that the admin API changes under a gateway that serves calls. */

const usage = { prompt_tokens: 10, completion_tokens: 3 }
const messages = [{ role: 'user', content: 'Count to three' }]
const startNanos = 1_000_000_000n
const targets = [{ vendor: 'fake', model: 'vendor-model' }]

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
let names = 0

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url })
}, 120_000)
afterAll(async () => {
  await gateway?.close()
  await vendor?.close()
})
beforeEach(async () => {
  vendor.behave(answerText('One two three', usage))
  account = await gateway.account('1')
})

const setPrices = (name: string, prices: Record<string, string>) =>
  gateway.admin('PUT', `/admin/v1/models/${name}/prices`, { prices })
const call = (model: string) => chatWith(gateway, account.key, { model, messages })

/** A model of its own for a test, at these prices. */
async function newModel(prices: Record<string, string>): Promise<string> {
  const name = `ours/number-${++names}`
  await gateway.admin('PUT', `/admin/v1/models/${name}`, { targets })
  await setPrices(name, prices)
  return name
}

async function listed(): Promise<readonly unknown[]> {
  const { data } = await gateway.get('/v1/models', account.key)
  return (data as readonly { id: unknown }[]).map(({ id }) => id)
}

describe('a model made by the admin API', () => {
  test('is listed and served at once, at its price to the nano', async () => {
    const name = await newModel({ input: '0.150000001', output: '0.6' })
    const models = await listed()
    const answer = await call(name)
    // 10 × 150.000001 + 3 × 600 nanos, rounded up once.
    const cost = 3_301n
    expect([models.includes(name), answer.status, answer.text, answer.cost]).toEqual([
      true,
      200,
      'One two three',
      '0.000003301',
    ])
    expect(await booked(gateway, account, answer.id)).toEqual({
      outcome: 'complete',
      counts: { input: 10, output: 3 },
      source: 'vendor',
      cost,
      attempts: ['fake 200'],
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
  })

  test('without a price is neither listed nor served', async () => {
    const name = `ours/number-${++names}`
    await gateway.admin('PUT', `/admin/v1/models/${name}`, { targets })
    const [models, { status, error }] = [await listed(), await call(name)]
    expect([models.includes(name), status, error?.code]).toEqual([false, 403, 'price_not_configured'])
  })

  test('costs its new price from the next call on', async () => {
    const name = await newModel({ input: '1', output: '2' })
    const before = await call(name)
    await setPrices(name, { input: '3', output: '2' })
    const after = await call(name)
    expect([before.cost, after.cost]).toEqual(['0.000016', '0.000036'])
  })

  test('costs a running call what it cost when the call began', async () => {
    const name = await newModel({ input: '1', output: '2' })
    const gate = Promise.withResolvers<void>()
    vendor.behave(async (_, response) => {
      const [first, second, ...rest] = eventsOf('One two three', usage)
      openStream(response)
      response.write(`data: ${first}\n\ndata: ${second}\n\n`)
      await gate.promise
      response.end([...rest, '[DONE]'].map((payload) => `data: ${payload}\n\n`).join(''))
    })
    const chat = openChat(gateway, account.key, { model: name, messages, stream: true })
    await chat.readUntil('One ')
    await setPrices(name, { input: '300', output: '200' })
    gate.resolve()
    const { headers } = await chat.head
    await chat.readUntil('[DONE]')
    const { cost, outcome } = await booked(gateway, account, String(headers['x-request-id']))
    expect([outcome, cost]).toEqual(['complete', 16_000n])
  })

  test('is not found once it is disabled or deleted, and was charged until then', async () => {
    const [disabled, deleted] = [
      await newModel({ input: '1', output: '2' }),
      await newModel({ input: '1', output: '2' }),
    ]
    const served = [(await call(disabled)).status, (await call(deleted)).status]
    await gateway.admin('PUT', `/admin/v1/models/${disabled}`, { targets, disabled: true })
    await gateway.admin('DELETE', `/admin/v1/models/${deleted}`)
    const refused = [(await call(disabled)).error?.code, (await call(deleted)).error?.code]
    const { balance } = await gateway.get('/v1/credits', account.key)
    expect([served, refused, balance]).toEqual([[200, 200], ['model_not_found', 'model_not_found'], '0.999968'])
  })

  test('is called by a new target at once', async () => {
    const name = await newModel({ input: '1', output: '2' })
    await gateway.admin('PUT', `/admin/v1/models/${name}`, { targets: [{ vendor: 'fake', model: 'another-model' }] })
    await call(name)
    expect(vendor.calls.at(-1)?.body['model']).toBe('another-model')
  })
})
