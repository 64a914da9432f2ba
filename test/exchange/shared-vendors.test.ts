import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { chatWith } from '../support/chat.ts'
import { managementKey, startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { until } from '../support/process.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'
import { answerText, json, startVendor, type FakeVendor } from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]

/** Two gateways on one PostgreSQL and one Redis, and a webhook. */
describe.skipIf(!hasRedis || !postgresPrograms)('two gateways on one Redis', () => {
  let vendor: FakeVendor
  let redis: RealRedis
  let postgres: RealPostgres
  let gateways: readonly TestGateway[] = []
  let account: TestAccount
  const hooked: Record<string, unknown>[] = []
  const hook = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      hooked.push(JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>)
      response.writeHead(204).end()
    })
  })
  /** By key: what the vendor answers a call with it. */
  const refusing = new Map<string, number>()

  beforeAll(async () => {
    await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
    vendor = await startVendor((call, response) => {
      const [, key = ''] = (call.headers.authorization ?? '').split(' ')
      const status = refusing.get(key)
      if (status === 500) return json(response, 500, { error: { message: 'No.', type: 'server_error' } })
      if (status !== undefined) return json(response, status, { error: { message: 'No.', code: 'insufficient_quota' } })
      return answerText('Hi there')(call, response)
    })
    ;[redis, postgres] = await Promise.all([startRedis(), startPostgres(postgresPrograms ?? '')])
    const env = {
      DATABASE_URL: await postgres.create(),
      REDIS_URL: redis.url,
      TOLLGATE_SECRET: 'the secret of two gateways',
    }
    const options = {
      // A busy machine must not refuse what is asked about here.
      yaml: `
limits: { shedding: { event_loop_ms: 60000 } }
alerts: { webhook: { url: 'http://127.0.0.1:${(hook.address() as AddressInfo).port}/hook' } }`,
      vendorUrl: vendor.url,
      vendors: `
  parking: { adapter: openai, base_url: '${vendor.url}', api_keys: [parking-secret] }
  reviving: { adapter: openai, base_url: '${vendor.url}', api_keys: [reviving-secret] }
  failing: { adapter: openai, base_url: '${vendor.url}', api_keys: [failing-secret] }`,
      models: `
  parked-model: { targets: [{ vendor: parking, model: x }], prices: { input: 1, output: 2 } }
  reviving-model: { targets: [{ vendor: reviving, model: x }], prices: { input: 1, output: 2 } }
  failing-model: { targets: [{ vendor: failing, model: x }], prices: { input: 1, output: 2 } }`,
      env,
    }
    gateways = [await startGateway(options), await startGateway(options)]
    account = await gateways[0]!.account('10')
  }, 120_000)
  afterAll(async () => {
    for (const gateway of gateways) await gateway.close()
    await Promise.all([vendor.close(), redis.stop(), postgres.stop()])
    hook.close()
  })
  beforeEach(() => refusing.clear())

  interface Page {
    readonly targets: readonly { readonly vendor: string; readonly state: string; readonly calls: number }[]
    readonly vendors: readonly {
      readonly vendor: string
      readonly keys: readonly { readonly parked: string | null }[]
    }[]
  }
  const health = async (at: number) => (await gateways[at]!.admin('GET', '/admin/v1/health')) as unknown as Page
  const parked = async (at: number, name: string) =>
    (await health(at)).vendors.find(({ vendor: id }) => id === name)?.keys[0]?.parked
  const alerts = (name: string) => hooked.filter(({ vendor: id }) => id === name)
  const state = async (at: number) => (await health(at)).targets.find(({ vendor: id }) => id === 'failing')
  const metrics = async (at: number) =>
    (await fetch(`${gateways[at]!.url}/metrics`, { headers: { authorization: `Bearer ${managementKey}` } })).text()

  test('a key that one is refused is parked at the other, in the figures, and told to the webhook once', async () => {
    refusing.set('parking-secret', 402)
    const answer = await chatWith(gateways[0]!, account.key, { model: 'parked-model', messages })
    expect(answer.status).toBe(503)
    expect(await parked(0, 'parking')).toBe('out_of_credit')
    await until('the key to be parked at the other too', async () => (await parked(1, 'parking')) ?? undefined)
    const line = 'tollgate_vendor_key_parked{vendor="parking",reason="out_of_credit"} 1\n'
    expect([(await metrics(0)).includes(line), (await metrics(1)).includes(line)]).toEqual([true, true])
    await until('an alert', () => alerts('parking')[0])
    expect(alerts('parking')).toEqual([
      {
        event: 'vendor_key_parked',
        text: 'Key "key-1" of parking is out of credit (status 402): it is not used for now.',
        at: expect.any(String) as string,
        replica: expect.any(String) as string,
        vendor: 'parking',
        key: 'key-1',
        reason: 'out_of_credit',
        status: 402,
        retry_in_ms: 30_000,
      },
    ])
    const log = gateways.flatMap((gateway) => gateway.log)
    const told = log.filter((line) => line.includes('"vendor_key_parked"') && line.includes('"parking"'))
    expect([told.length, log.join('').includes('parking-secret')]).toEqual([2, false])
  })

  test('a key that works again at one is free at the other', async () => {
    refusing.set('reviving-secret', 401)
    const call = (at: number) => chatWith(gateways[at]!, account.key, { model: 'reviving-model', messages })
    await call(0)
    await until('the key to be parked at the other too', async () => (await parked(1, 'reviving')) ?? undefined)
    refusing.clear()
    // Parked as it is, it is the last that is left, so that it is tried.
    expect((await call(1)).status).toBe(200)
    const isFree = async () => ((await parked(0, 'reviving')) === null ? true : undefined)
    await until('the key to be free at the other too', isFree)
    await until('the second alert', () => alerts('reviving')[1])
    expect(alerts('reviving').map(({ event }) => event)).toEqual(['vendor_key_parked', 'vendor_key_works'])
  })

  test('a circuit that opens at one opens at the other, which has not called the target', async () => {
    refusing.set('failing-secret', 500)
    for (let at = 0; at < 5; at++) await chatWith(gateways[0]!, account.key, { model: 'failing-model', messages })
    await until('an open circuit', async () => ((await state(1))?.state === 'closed' ? undefined : true))
    expect((await state(1))?.calls).toBe(0)
    expect(await metrics(1)).toContain('tollgate_targets_down{vendor="failing"} 1\n')
  })
})
