import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { held } from '../support/behaviours.ts'
import { subKey } from '../support/booked.ts'
import { chatWith } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'
import { answerText, eventsOf, startVendor, type FakeVendor } from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = [...eventsOf('One two three', usage), '[DONE]']
/** Well below the age at which a copy would be made anew by itself. */
const soon = { timeout: 1_500, interval: 20 }

describe.skipIf(!postgresPrograms || !hasRedis)('two gateways on one Redis', () => {
  let postgres: RealPostgres
  let redis: RealRedis
  let vendor: FakeVendor
  let gateways: readonly [TestGateway, TestGateway]
  let account: TestAccount

  beforeAll(async () => {
    postgres = await startPostgres(postgresPrograms ?? '')
    redis = await startRedis()
    vendor = await startVendor()
    const env = {
      DATABASE_URL: await postgres.create(),
      REDIS_URL: redis.url,
      TOLLGATE_SECRET: 'the secret of two gateways',
    }
    const options = { vendorUrl: vendor.url, env }
    gateways = [await startGateway(options), await startGateway(options)]
  }, 120_000)
  afterAll(async () => {
    await Promise.all((gateways ?? []).map((gateway) => gateway.close()))
    await vendor?.close()
    await redis?.stop()
    await postgres?.stop()
  }, 60_000)
  beforeEach(async () => {
    vendor.behave(answerText('One two three', usage))
    vendor.calls.length = 0
    account = await gateways[0].account('1')
  })

  const ask = (gateway: TestGateway, key = account.key) =>
    chatWith(gateway, key, { model: 'test-model', messages, cache: {} })

  test('fifty identical calls under one name: one vendor call, one charge, fifty equal answers', async () => {
    const slow = held([], events)
    vendor.behave(slow.behaviour)
    const headers = { authorization: `Bearer ${account.key}`, 'idempotency-key': randomUUID() }
    const body = JSON.stringify({
      model: 'test-model',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    const replies = Array.from({ length: 50 }, async (_, at) => {
      const url = `${gateways[at % 2 === 0 ? 0 : 1].url}/v1/chat/completions`
      const answer = await fetch(url, { method: 'POST', headers, body })
      return JSON.stringify([answer.status, answer.headers.get('x-request-id'), await answer.text()])
    })
    await slow.reached
    slow.release()
    expect(new Set(await Promise.all(replies)).size).toBe(1)
    expect(vendor.calls).toHaveLength(1)
    // Either knows all of it once both have written what they had to.
    await Promise.all(gateways.map((gateway) => gateway.get('/v1/credits', account.key)))
    expect((await gateways[0].get('/v1/credits', account.key))['balance']).toBe('0.999984')
  })

  test('what one has been answered the other has too', async () => {
    const first = await ask(gateways[0])
    await vi.waitFor(async () => {
      const keys = (await redis.send('KEYS', 'x:*')) as readonly string[]
      expect(keys).toHaveLength(1)
      // Names are hashes: neither the account nor what it asked can be read in them.
      expect(keys[0]).toMatch(/^x:\{v\d+\}:[0-9a-f]{64}$/)
    })
    const second = await ask(gateways[1])
    expect([first, second].map(({ headers }) => headers.get('x-tollgate-cache'))).toEqual(['miss', 'hit'])
    expect(second.text).toBe('One two three')
    expect(vendor.calls).toHaveLength(1)
  })

  test('a key that one has revoked the other refuses, long before its copy is old', async () => {
    const { id, key } = await subKey(gateways[0], account)
    expect((await ask(gateways[1], key)).status).toBe(200)
    await gateways[0].admin('DELETE', `/admin/v1/keys/${id}`)
    // The list of models asks nobody but the copy.
    const listed = async () =>
      (await fetch(`${gateways[1].url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status
    await vi.waitFor(async () => expect(await listed()).toBe(401), soon)
  })

  test('a model that one has got the other serves', async () => {
    const name = `model-${randomUUID()}`
    const targets = [{ vendor: 'fake', model: 'vendor-model' }]
    await gateways[0].admin('PUT', `/admin/v1/models/${name}`, { targets })
    await gateways[0].admin('PUT', `/admin/v1/models/${name}/prices`, { prices: { input: '1', output: '2' } })
    await vi.waitFor(async () => {
      const { data } = await gateways[1].get('/v1/models', account.key)
      expect((data as readonly { id: string }[]).map(({ id }) => id)).toContain(name)
    }, soon)
  })

  test('calls go on without Redis, and what one has in its own memory it still gives', async () => {
    await redis.crash()
    const other = await gateways[0].account('1')
    const answers = [await ask(gateways[0], other.key), await ask(gateways[0], other.key)]
    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [200, 'One two three'],
      [200, 'One two three'],
    ])
    // Its own memory still answers.
    expect(answers[1]?.headers.get('x-tollgate-cache')).toBe('hit')
    await redis.revive('lost')
  })
})
