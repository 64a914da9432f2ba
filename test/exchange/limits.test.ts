import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openChat } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, json, startVendor, type FakeVendor, type VendorCall } from '../support/vendor.ts'

const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const answer = answerText('Hi there', usage)

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
/** Calls of the vendors "slow" and "late", which answer when they are told to. */
const waiting: { readonly call: VendorCall; readonly response: ServerResponse }[] = []

const vendorOf = (path: string): string => path.split('/')[1] ?? ''
const vendorYaml = (name: string, keys = 'only'): string => `
  ${name}: { adapter: openai, base_url: '${vendor.url}/${name}', api_keys: [${keys}] }`
const modelYaml = (name: string, ...vendors: readonly string[]): string => `
  ${name}:
    targets: [${vendors.map((each) => `{ vendor: ${each}, model: x }`).join(', ')}]
    prices: { input: 1, output: 1 }
    max_output_tokens: 100`

const limits = `
server: { trusted_proxies: [127.0.0.0/8] }
limits:
  tiers:
    small: { limits: [{ of: requests, window: day, limit: 3 }, { of: tokens, window: day, limit: 1000 }], concurrency: 2 }
    thrifty: { budgets: [{ limit: 0.00003, window: month }] }
    vip: { priority: 50 }
  shared:
    - { scope: global, of: requests, window: day, limit: 100000 }
    - { scope: model, name: scarce, of: requests, window: day, limit: 2 }
    - { scope: model, name: narrow, of: concurrency, limit: 1 }
    - { scope: ip, name: 203.0.113.7, of: requests, window: day, limit: 2 }
    - { scope: ip, name: '2001:db8:7::/64', of: requests, window: day, limit: 1 }
    - { scope: vendor, name: once, of: requests, window: day, limit: 1 }
    - { scope: vendor, name: single, of: requests, window: day, limit: 1 }
    - { scope: vendor, name: few, of: tokens, window: day, limit: 60 }
    - { scope: vendor, name: slow, of: concurrency, limit: 1 }
    - { scope: vendor_key, name: keyed/key-1, of: requests, window: day, limit: 1 }
    - { scope: vendor_key, name: keyed/key-2, of: requests, window: day, limit: 2 }
  shedding: { event_loop_ms: 60000, calls: 4 }`

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({
    vendorUrl: `${vendor.url}/fake`,
    vendors: [
      ...['once', 'single', 'few', 'slow', 'late', 'open'].map((name) => vendorYaml(name)),
      vendorYaml('keyed', 'first, second'),
    ].join(''),
    models: [
      modelYaml('scarce', 'open'),
      modelYaml('narrow', 'late'),
      modelYaml('next', 'once', 'open'),
      modelYaml('alone', 'single'),
      modelYaml('keyed', 'keyed'),
      modelYaml('by-tokens', 'few', 'open'),
      modelYaml('busy', 'slow', 'open'),
    ].join(''),
    yaml: limits,
  })
}, 60_000)
afterAll(async () => {
  await gateway.close()
  await vendor.close()
})
beforeEach(async () => {
  vendor.behave((call, response) => {
    if (['slow', 'late'].includes(vendorOf(call.path))) waiting.push({ call, response })
    else return answer(call, response)
  })
  vendor.calls.length = 0
  waiting.length = 0
  account = await gateway.account('1')
})

interface Told {
  readonly status: number
  readonly code: string | undefined
  readonly message: string | undefined
  readonly headers: Headers
}

/** Asks a model; `from` is what a proxy before the gateway has seen. */
async function ask(model: string, { key = account.key, from }: { key?: string; from?: string } = {}): Promise<Told> {
  const { status, headers, body } = await post(model, key, from === undefined ? {} : { 'x-forwarded-for': from })
  const { error } = body as { error?: { code: string; message: string } }
  return { status, headers, code: error?.code, message: error?.message }
}

async function post(model: string, key: string, headers: Record<string, string>) {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model, messages, max_tokens: 20 }),
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

const change = (fields: Record<string, unknown>) => gateway.admin('PATCH', `/admin/v1/accounts/${account.id}`, fields)
const tried = (): readonly string[] => vendor.calls.map(({ path }) => vendorOf(path))
const limitsIn = (headers: Headers) => {
  const names = ['limit', 'remaining', 'reset'].flatMap((what) => [`${what}-requests`, `${what}-tokens`])
  return Object.fromEntries(names.map((name) => [name, headers.get(`x-ratelimit-${name}`)]))
}
const seconds = (headers: Headers): number => Number(headers.get('retry-after'))
/** Lets the vendors answer. */
const release = (): void => {
  for (const { call, response } of waiting.splice(0)) void answer(call, response)
}

describe('the limits of a tier', () => {
  test('hold over all keys of an account, and every answer says what is left', async () => {
    await change({ tier: 'small' })
    const { key: other } = await gateway.admin('POST', '/admin/v1/keys', { kind: 'master', account: account.id })
    const first = await ask('scarce-not')
    const answers = [await ask('test-model'), await ask('test-model', { key: String(other) })]
    expect([first.status, ...answers.map(({ status }) => status)]).toEqual([404, 200, 200])
    expect(limitsIn(answers[0]!.headers)).toMatchObject({
      'limit-requests': '3',
      'remaining-requests': '2',
      // A third of a day brings back what one call took.
      'reset-requests': '28800s',
      'limit-tokens': '1000',
    })
    expect(limitsIn(answers[1]!.headers)).toMatchObject({ 'limit-requests': '3', 'remaining-requests': '1' })
  })

  test('refuse what is above them with the limit, whose it is, and when to come again', async () => {
    await change({ tier: 'small' })
    for (let at = 0; at < 3; at++) expect((await ask('test-model')).status).toBe(200)
    const refused = await ask('test-model')
    expect(refused).toMatchObject({
      status: 429,
      code: 'rate_limit_exceeded',
      message: "The account's limit of 3 requests per day is reached.",
    })
    expect(limitsIn(refused.headers)).toMatchObject({ 'limit-requests': '3', 'remaining-requests': '0' })
    expect(seconds(refused.headers)).toBeGreaterThan(28_000)
    expect(seconds(refused.headers)).toBeLessThanOrEqual(28_800)
  })

  test('bound what may be charged in a period, and calls in flight count', async () => {
    await change({ tier: 'thrifty' })
    const told = [await ask('test-model'), await ask('test-model'), await ask('test-model')]
    expect(told.map(({ status }) => status)).toContain(429)
    const last = told.at(-1)
    expect(last).toMatchObject({ code: 'rate_limit_exceeded' })
    expect(last?.message).toContain("The account's limit of 0.00003 USD budget is reached.")
  })
})

describe('a change of an account', () => {
  test('counts with the next call, and is shown', async () => {
    const budgets = [{ limit: '5', window: 'day' }]
    const own = [{ of: 'requests', window: 'hour', limit: 1, algorithm: 'leaky_bucket' }]
    expect(await change({ limits: own, budgets, concurrency: 7 })).toMatchObject({
      limits: own,
      budgets,
      concurrency: 7,
    })
    const told = [await ask('test-model'), await ask('test-model')]
    expect(told.map(({ status }) => status)).toEqual([200, 429])
    await change({ limits: [], concurrency: null, budgets: [] })
    expect((await ask('test-model')).status).toBe(200)
  })

  test('gives it a budget that what was spent before counts against', async () => {
    expect((await ask('test-model')).status).toBe(200)
    await vi.waitFor(async () => {
      const { data } = await gateway.get('/v1/usage', account.key)
      expect(data).toHaveLength(1)
    })
    // A call costs 16 millionths of a dollar, and while it runs some 50 are held for it.
    await change({ budgets: [{ limit: '0.00006', window: 'day' }] })
    const refused = await ask('test-model')
    await change({ budgets: [{ limit: '0.0001', window: 'day' }] })
    expect([refused.status, (await ask('test-model')).status]).toEqual([429, 200])
  })

  test('is refused where a budget is given twice for a window', async () => {
    const twice = [1, 2].map((limit) => ({ limit: String(limit), window: 'day' }))
    await expect(change({ budgets: twice })).rejects.toThrow('at most one budget for each window')
  })
})

describe('limits over accounts', () => {
  test('hold over all of them, name what they limit, and leave other models alone', async () => {
    const other = await gateway.account('1')
    const told = [await ask('scarce'), await ask('scarce', { key: other.key }), await ask('scarce')]
    expect(told.map(({ status }) => status)).toEqual([200, 200, 429])
    expect(told[2]?.message).toBe('The limit of 2 requests per day of model "scarce" is reached.')
    expect(seconds(told[2]!.headers)).toBeGreaterThan(42_000)
    expect(limitsIn(told[2]!.headers)['limit-requests']).toBeNull()
    expect((await ask('test-model')).status).toBe(200)
  })

  test('bound the calls at once of a model, and a slot is free when its call ends', async () => {
    const first = ask('narrow')
    await vi.waitFor(() => expect(waiting).toHaveLength(1))
    const refused = await ask('narrow')
    expect(refused).toMatchObject({
      status: 429,
      message: 'The limit of 1 calls at the same time of model "narrow" is reached.',
    })
    expect(seconds(refused.headers)).toBe(1)
    release()
    expect((await first).status).toBe(200)
    const second = ask('narrow')
    await vi.waitFor(() => expect(waiting).toHaveLength(1))
    release()
    expect((await second).status).toBe(200)
  })

  test('give a slot back when the caller hangs up', async () => {
    const left = openChat(gateway, account.key, { model: 'narrow', messages })
    await vi.waitFor(() => expect(waiting).toHaveLength(1))
    await left.hangUp()
    vendor.behave(answer)
    await vi.waitFor(async () => expect((await ask('narrow')).status).toBe(200))
  })
})

describe('the limit of an address', () => {
  test('is that of the caller as the proxy has seen him, whatever he writes in front', async () => {
    const statuses = []
    for (const from of ['203.0.113.7', '8.8.8.8, 203.0.113.7', '203.0.113.7', '203.0.113.8'])
      statuses.push((await ask('test-model', { from })).status)
    expect(statuses).toEqual([200, 200, 429, 200])
  })

  test('is one of IPv6 for the whole network', async () => {
    const told = [
      await ask('test-model', { from: '2001:db8:7::1' }),
      await ask('test-model', { from: '2001:db8:7:0:ffff::2' }),
      await ask('test-model', { from: '2001:db8:7:1::1' }),
    ]
    expect(told.map(({ status }) => status)).toEqual([200, 429, 200])
    expect(told[1]?.message).toBe('The limit of 1 requests per day of your address is reached.')
  })
})

describe('the limit of a vendor', () => {
  test('sends what is above it to the next target', async () => {
    const statuses = [await ask('next'), await ask('next'), await ask('next')].map(({ status }) => status)
    expect([statuses, tried()]).toEqual([
      [200, 200, 200],
      ['once', 'open', 'open'],
    ])
  })

  test('refuses where no target is left, before anything is set aside or counted', async () => {
    await change({ limits: [{ of: 'requests', window: 'day', limit: 2 }] })
    const told = [await ask('alone'), await ask('alone'), await ask('test-model')]
    expect(told.map(({ status }) => status)).toEqual([200, 429, 200])
    expect(told[1]).toMatchObject({
      code: 'rate_limit_exceeded',
      message: 'The vendors of model "alone" take no more calls just now. Send the call again shortly.',
    })
    expect(seconds(told[1]!.headers)).toBeGreaterThan(86_000)
    expect(tried()).toEqual(['single', 'fake'])
  })

  test('of tokens counts what a call had and not what it might have had', async () => {
    for (let at = 0; at < 4; at++) await ask('by-tokens')
    // Of 60 each reserves its prompt and 20, and takes 13.
    expect(tried().slice(0, 2)).toEqual(['few', 'few'])
    expect(tried().at(-1)).toBe('open')
  })

  test('of calls at once sends those above it to the next target, until one has ended', async () => {
    const first = ask('busy')
    await vi.waitFor(() => expect(waiting).toHaveLength(1))
    expect((await ask('busy')).status).toBe(200)
    expect(tried()).toEqual(['slow', 'open'])
    release()
    await first
    const third = ask('busy')
    await vi.waitFor(() => expect(waiting).toHaveLength(1))
    release()
    expect([(await third).status, tried()]).toEqual([200, ['slow', 'open', 'slow']])
  })

  test('is given back by a call that failed there', async () => {
    vendor.behave((call, response) =>
      vendorOf(call.path) === 'slow' ? json(response, 500, { error: { message: 'No.' } }) : answer(call, response),
    )
    for (let at = 0; at < 3; at++) expect((await ask('busy')).status).toBe(200)
    expect(tried().slice(0, 4)).toEqual(['slow', 'open', 'slow', 'open'])
  })
})

test('a vendor key without room leaves the call to another one, and all of them to nobody', async () => {
  const statuses = []
  for (let at = 0; at < 4; at++) statuses.push((await ask('keyed')).status)
  const keys = new Map<string | undefined, number>()
  for (const { headers } of vendor.calls) keys.set(headers.authorization, (keys.get(headers.authorization) ?? 0) + 1)
  expect([statuses, keys.get('Bearer first'), keys.get('Bearer second')]).toEqual([[200, 200, 200, 429], 1, 2])
})

describe('a process with more calls than it can serve', () => {
  test('refuses those of a low priority first, and says when to come again', async () => {
    vendor.behave((call, response) => {
      if (call.body['model'] === 'vendor-model') waiting.push({ call, response })
    })
    const vip = await gateway.account('1')
    await gateway.admin('PATCH', `/admin/v1/accounts/${vip.id}`, { tier: 'vip' })
    const under = (key: string) => openChat(gateway, key, { model: 'test-model', messages })
    const calls = Array.from({ length: 4 }, () => under(vip.key))
    await vi.waitFor(() => expect(waiting).toHaveLength(4))
    const plain = await ask('test-model')
    expect(plain).toMatchObject({ status: 503, code: 'overloaded' })
    expect(seconds(plain.headers)).toBe(2)
    calls.push(under(vip.key), under(vip.key))
    await vi.waitFor(() => expect(waiting).toHaveLength(6))
    const last = await ask('test-model', { key: vip.key })
    expect(last).toMatchObject({ status: 503, code: 'overloaded' })
    release()
    for (const call of calls) expect((await call.head).statusCode).toBe(200)
    vendor.behave(answer)
    expect((await ask('test-model')).status).toBe(200)
  })
})
