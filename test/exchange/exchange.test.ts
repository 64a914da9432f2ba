import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import { breakAfter, held, inTurn, stream } from '../support/behaviours.ts'
import { booked, endedCalls, onlyCall, standing, subKey } from '../support/booked.ts'
import { chatWith, openChat, type Answer } from '../support/chat.ts'
import { managementKey, startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import {
  answerText,
  completion,
  eventsOf,
  json,
  openStream,
  startVendor,
  type Behaviour,
  type FakeVendor,
} from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const [inputNanos, outputNanos] = [1_000n, 2_000n]
const startNanos = 1_000_000_000n
const messages = [{ role: 'user', content: 'Tell me something' }]
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = eventsOf('One two three', usage)

let vendor: FakeVendor
let gateway: TestGateway
let account: TestAccount
const dataDir = mkdtempSync(join(tmpdir(), 'tollgate-exchange-'))

beforeAll(async () => {
  vendor = await startVendor()
  gateway = await startGateway({ vendorUrl: vendor.url, env: { TOLLGATE_DATA_DIR: dataDir } })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  rmSync(dataDir, { recursive: true, force: true })
})
beforeEach(async () => {
  vendor.behave(answerText('One two three', usage))
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const ask = (more: Record<string, unknown> = {}, key = account.key): Promise<Answer> =>
  chatWith(gateway, key, { model: 'test-model', messages, ...more })

/** Sends these very bytes. */
function send(body: string, key = account.key): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}` },
    body,
  })
}

const decimal = (nanos: bigint): string => `0.${nanos.toString().padStart(9, '0')}`

describe('bytes', () => {
  const odd = (delta: string, finish: string): string =>
    `{"id" : "a","created":1e0,"x_unknown":{"b":1.0,"a":[1E+2,-0.0]},"model":  "vendor-model-2026","choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}],"seed":12345678901234567890}`

  test("of a stream are the vendor's, but for the name of the model", async () => {
    const payloads = [
      odd('{"role":"assistant","content":""}', 'null'),
      odd('{"content":"H\\u00e9\\/","sig":"a\\u0000b"}', 'null'),
      odd('{}', '"stop"'),
    ]
    vendor.behave(stream([...payloads, '[DONE]']))
    const { raw } = await ask({ stream: true, stream_options: undefined })
    const named = payloads.map((payload) => payload.replace('"vendor-model-2026"', '"test-model"'))
    expect(raw).toBe([...named, '[DONE]'].map((payload) => `data: ${payload}\n\n`).join(''))
  })

  test("of one body are the vendor's, but for the name of the model", async () => {
    const body = `\n{ "id":"a",\t"x_unknown":{"b":1.0,"a":1e2},"model":"vendor-model-2026","choices":[{"index":0,"message":{"role":"assistant","content":"H\\u00e9"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3}}\n`
    vendor.behave((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(body)
    })
    const { raw } = await ask()
    expect(vendor.calls[0]?.body['stream']).toBeUndefined()
    expect(raw).toBe(body.replace('"vendor-model-2026"', '"test-model"'))
  })

  test("of a request are the caller's, but for the name of the model", async () => {
    const body = `{ "x_unknown":{"z":1e2,"a":[1.50,"\\u00e9",null]},\n"messages":[{"role":"user","content":"h\\u00e9","x_more":1.0}],"temperature":1.0,"model" :"test-model","seed":12345678901234567890 }`
    await send(body)
    expect(vendor.calls.map((call) => call.text)).toEqual([body.replace('"test-model"', '"vendor-model"')])
  })

  test("of a streamed request are the caller's too, and usage is asked for", async () => {
    const body = `{"stream":true,"stream_options":{"x_more":1.0,"include_usage":false},"model":"test-model","messages":[{"role":"user","content":"hi"}],"x_unknown":1e2}`
    await (await send(body)).text()
    const wanted = body
      .replace('"test-model"', '"vendor-model"')
      .replace('"include_usage":false', '"include_usage":true')
    expect(vendor.calls.map((call) => call.text)).toEqual([wanted])
  })
})

describe('a reply', () => {
  test.each<[name: string, method: string, path: string, body?: string]>([
    ['to a chat', 'POST', '/v1/chat/completions', JSON.stringify({ model: 'test-model', messages })],
    ['to a stream', 'POST', '/v1/chat/completions', JSON.stringify({ model: 'test-model', messages, stream: true })],
    ['to what is no JSON', 'POST', '/v1/chat/completions', '{'],
    ['to an unknown model', 'POST', '/v1/chat/completions', JSON.stringify({ model: 'none', messages })],
    ['to a wrong method', 'GET', '/v1/chat/completions'],
    ['at an unknown path', 'POST', '/v1/nothing/here', '{}'],
    ['at the root', 'GET', '/'],
    ['about models', 'GET', '/v1/models'],
    ['about credit', 'GET', '/v1/credits'],
    ['about no call', 'GET', '/v1/generation?id=x'],
    ['of the admin API', 'GET', '/admin/v1/accounts'],
    ['about health', 'GET', '/healthz'],
  ])('%s carries an x-request-id of its own', async (_, method, path, body) => {
    const reply = () =>
      fetch(gateway.url + path, {
        method,
        headers: { authorization: `Bearer ${account.key}` },
        ...(body !== undefined && { body }),
      })
    const ids = [(await reply()).headers.get('x-request-id'), (await reply()).headers.get('x-request-id')]
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(ids[0]).not.toBe(ids[1])
  })
})

describe('secrets', () => {
  const canary = 'canary-of-a-prompt'

  /** Every file of the data folder that holds one of these texts. */
  function filesWith(texts: readonly string[]): readonly string[] {
    const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const paths = files.map((entry) => join(entry.parentPath, entry.name))
    return paths.filter((path) => texts.some((text) => readFileSync(path).includes(text)))
  }

  test('are in no log line, no answer and no row of the books', async () => {
    const secret = 'vendor-secret'
    const said = `Incorrect API key provided: ${secret}. You asked: ${canary}`
    const error = { error: { message: said, type: 'server_error' } }
    const sub = await subKey(gateway, account, { name: 'one that is used here' })
    vendor.behave(
      inTurn(
        answerText('One two three', usage),
        answerText('One two three'),
        (_, response) => json(response, 401, { error: { message: said, type: 'authentication_error' } }),
        (_, response) => json(response, 500, error),
        (_, response) => json(response, 200, error),
        stream([events[0] ?? '', events[1] ?? '', JSON.stringify(error)]),
        breakAfter([]),
      ),
    )
    const asked = {
      messages: [{ role: 'user', content: canary }],
      user: canary,
      metadata: { note: canary },
      stream: true,
    }
    const replies = []
    for (let call = 0; call < 7; call++) replies.push(await ask(asked, sub.key))
    expect(replies.map((reply) => reply.status)).toEqual([200, 200, 503, 502, 502, 200, 502])
    replies.push(await ask({ ...asked, temperature: canary }), await ask({ ...asked, model: canary }, `${sub.key}x`))
    const bodies = [...replies.map((reply) => reply.raw), await (await send(`{"messages":"${canary}`)).text()]
    const told = [...bodies, ...replies.map((reply) => JSON.stringify([...reply.headers]))]
    for (const { id } of replies.slice(0, 7))
      told.push(JSON.stringify(await gateway.get(`/v1/generation?id=${id}`, account.key)))
    told.push(
      JSON.stringify(await gateway.get('/v1/key', sub.key)),
      JSON.stringify(await gateway.admin('GET', '/admin/v1/keys')),
    )

    const secrets = [canary, secret, account.key, sub.key]
    expect(
      vendor.calls.every((call) => call.headers.authorization === `Bearer ${secret}` && call.text.includes(canary)),
    ).toBe(true)
    expect(told.filter((text) => secrets.some((word) => text.includes(word)))).toEqual([])
    expect(gateway.log.filter((line) => [...secrets, managementKey].some((word) => line.includes(word)))).toEqual([])
    // What the usage rows do hold is found this way, so that finding nothing means something.
    expect(filesWith(['vendor-model-2026'])).not.toEqual([])
    expect(filesWith([...secrets, managementKey])).toEqual([])
  })

  test("of the caller do not reach the vendor in a header, nor the vendor's the caller", async () => {
    vendor.behave((_, response) =>
      json(response, 200, completion('One', usage), {
        'x-vendor-account': 'acct_1',
        'set-cookie': 'a=b',
        'openai-organization': 'org_1',
      }),
    )
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        'x-api-key': account.key,
        cookie: 'session=1',
        'x-forwarded-for': '192.0.2.1',
        'openai-organization': 'org_2',
      },
      body: JSON.stringify({ model: 'test-model', messages }),
    })
    const sent = vendor.calls[0]?.headers ?? {}
    expect(Object.keys(sent).toSorted()).toEqual([
      'accept',
      'accept-encoding',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
    ])
    expect(sent.authorization).toBe('Bearer vendor-secret')
    expect(['x-vendor-account', 'set-cookie', 'openai-organization'].map((name) => response.headers.get(name))).toEqual(
      [null, null, null],
    )
  })
})

describe('a caller who does not read', () => {
  test('stops the vendor, and gets every byte when he reads on', async () => {
    // What is large is no text, so that the hold has nothing to say about it.
    const padding = 'x'.repeat(256 * 1024)
    const large = (events[1] ?? '').replace('{', `{"x_padding":"${padding}",`)
    const wanted = 160
    let written = 0
    vendor.behave(async (_, response) => {
      openStream(response)
      for (; written < wanted; written++) {
        const isRoom = response.write(`data: ${large}\n\n`)
        if (!isRoom) await new Promise((resolve) => response.once('drain', resolve))
      }
      response.end(
        events
          .slice(-2)
          .map((event) => `data: ${event}\n\n`)
          .join('') + 'data: [DONE]\n\n',
      )
    })
    const { head } = openChat(gateway, account.key, { model: 'test-model', messages, stream: true })
    const response = await head
    await stands(() => written)
    expect(written).toBeLessThan(wanted / 2)

    let got = 0
    for await (const chunk of response) got += (chunk as Uint8Array).length
    const named = [...Array.from({ length: wanted }, () => large), events.at(-2) ?? ''].map((event) =>
      event.replace('vendor-model-2026', 'test-model'),
    )
    expect(got).toBe([...named, '[DONE]'].reduce((sum, payload) => sum + `data: ${payload}\n\n`.length, 0))
    const id = await onlyCall(gateway, account.key)
    const cost = 10n * inputNanos + 3n * outputNanos
    expect(await booked(gateway, account, id)).toMatchObject({
      outcome: 'complete',
      cost,
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
  })
})

/** Resolves when the number has begun to grow and then stayed the same for many looks. */
async function stands(look: () => number): Promise<void> {
  for (let [last, same] = [0, 0]; same < 40; await wait(10)) {
    same = look() === last && last > 0 ? same + 1 : 0
    last = look()
  }
}

/** So many calls at once; `release` runs when all but `served` of them have been answered. */
async function askAtOnce(
  calls: readonly (() => Promise<Answer>)[],
  served: number,
  release: () => void,
): Promise<Answer[]> {
  let answered = 0
  return Promise.all(
    calls.map(async (call) => {
      const answer = await call()
      answered += 1
      if (answered === calls.length - served) release()
      return answer
    }),
  )
}

/** How many answers had each status and code. */
function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { status, error } of answers) {
    const name = [status, error?.code].filter((part) => part !== undefined).join(' ')
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

describe('many calls at once', () => {
  const maxTokens = 16

  /** What is set aside for the prompt where money is short: its exact count. */
  async function promptTokens(): Promise<number> {
    const tokenizer = await openTokenizer()
    const counts = await Promise.all(['user', messages[0]!.content].map((part) => tokenizer.count(part)))
    await tokenizer.close()
    return counts.reduce((sum, tokens) => sum + tokens, 3 + 3)
  }

  test.each([
    ['streamed', true],
    ['unstreamed', false],
  ])('on a balance for four are four that are served (%s)', async (_, isStream) => {
    const prompt = await promptTokens()
    const each = BigInt(prompt) * inputNanos + BigInt(maxTokens) * outputNanos
    const poor = await gateway.account(decimal(4n * each))
    const vendorSide = held(
      [],
      [...eventsOf('One two three', { prompt_tokens: prompt, completion_tokens: maxTokens }), '[DONE]'],
    )
    vendor.behave(vendorSide.behaviour)
    const call = () => ask({ stream: isStream, max_tokens: maxTokens }, poor.key)

    const answers = await askAtOnce(
      Array.from({ length: 50 }, () => call),
      4,
      vendorSide.release,
    )
    expect(tally(answers)).toEqual({ 200: 4, '429 credit_held': 46 })
    expect(tally([await call()])).toEqual({ '402 insufficient_quota': 1 })
    expect(vendor.calls).toHaveLength(4)
    expect(await standing(gateway, poor)).toEqual({ balance: 0n, held: 0n, inFlight: 0 })
  })

  test('stay within the budget of each key and of the key above', async () => {
    const prompt = await promptTokens()
    const each = BigInt(prompt) * inputNanos + BigInt(maxTokens) * outputNanos
    const budgets = (calls: bigint) => ({ budgets: [{ limit: decimal(calls * each), window: 'total' }] })
    const above = await subKey(gateway, account, budgets(5n))
    const children = [
      await subKey(gateway, account, { parent: above.id, ...budgets(3n) }),
      await subKey(gateway, account, { parent: above.id, ...budgets(3n) }),
    ]
    const vendorSide = held(
      [],
      [...eventsOf('One two three', { prompt_tokens: prompt, completion_tokens: maxTokens }), '[DONE]'],
    )
    vendor.behave(vendorSide.behaviour)

    const calls = children.flatMap(({ key }) =>
      Array.from({ length: 10 }, () => () => ask({ stream: true, max_tokens: maxTokens }, key)),
    )
    const answers = await askAtOnce(calls, 5, vendorSide.release)
    // The budgets are only held, not spent: to try again may help.
    expect(tally(answers)).toEqual({ 200: 5, '429 credit_held': 15 })
    expect(tally(await Promise.all(children.map(({ key }) => ask({ max_tokens: maxTokens }, key))))).toEqual({
      '402 insufficient_quota': 2,
    })
    const served = [answers.slice(0, 10), answers.slice(10)].map(
      (half) => half.filter(({ status }) => status === 200).length,
    )
    expect(Math.max(...served)).toBeLessThanOrEqual(3)
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - 5n * each, held: 0n, inFlight: 0 })
    const { budgets: left } = await gateway.get('/v1/key', above.key)
    expect(left).toEqual([
      {
        window: 'total',
        limit: decimal(5n * each).replace(/0+$/, ''),
        spent: decimal(5n * each).replace(/0+$/, ''),
        held: '0',
        remaining: '0',
        resets_at: null,
      },
    ])
  })
})

describe('callers who leave while their call is admitted', () => {
  test('leave no slot, no money held and no vendor at work', async () => {
    vendor.behave(held([]).behaviour)
    // Accounts that are not loaded yet: admission takes some round trips to the database.
    const accounts = []
    for (let made = 0; made < 8; made++) accounts.push(await gateway.account('1'))
    await Promise.all(
      accounts.map(async ({ key }) => {
        const { sent, hangUp } = openChat(gateway, key, { model: 'test-model', messages, stream: true })
        await sent
        await hangUp()
      }),
    )
    for (const one of accounts) {
      await vi.waitFor(
        async () => expect(await standing(gateway, one)).toEqual({ balance: startNanos, held: 0n, inFlight: 0 }),
        { timeout: 10_000, interval: 20 },
      )
    }
    for (const { closed } of vendor.calls) expect(await closed).toBe('broken')
  })
})

/** Resolves when no call is in flight, and none has ended for some looks. */
async function quiet(key: string): Promise<void> {
  for (let [ended, same] = [-1, 0]; same < 5; await wait(20)) {
    const { in_flight: inFlight } = await gateway.get('/v1/key', key)
    const { length } = await endedCalls(gateway, key)
    same = inFlight === 0 && length === ended ? same + 1 : 0
    ended = length
  }
}

describe('two hundred calls that are given up at any moment', () => {
  /** When each is given up: after so long, at a word of the answer, or with its last event. The same in every run. */
  function plan(): readonly {
    readonly isStream: boolean
    readonly afterMs: number
    readonly atText: string | undefined
  }[] {
    let seed = 20_261_123
    const next = (limit: number): number => {
      seed = (seed * 69_069 + 1) % 4_294_967_296
      return Math.floor((seed / 4_294_967_296) * limit)
    }
    const words = ['"One "', '"two "', '"three"', '"stop"', '[DONE]']
    return Array.from({ length: 200 }, (_, at) => {
      const isStream = at % 4 > 0
      return { isStream, afterMs: next(40), atText: isStream && at % 4 > 1 ? words[next(words.length)] : undefined }
    })
  }

  const slowly: Behaviour = async (call, response) => {
    if (call.body['stream'] !== true) {
      await wait(10)
      return json(response, 200, completion('One two three', usage))
    }
    openStream(response)
    for (const event of [...events, '[DONE]']) {
      response.write(`data: ${event}\n\n`)
      await wait(2)
    }
    response.end()
  }

  test('leave no slot and no money held, and are charged what their records say', async () => {
    vendor.behave(slowly)
    const limited = await subKey(gateway, account, { concurrency: 40 })
    const calls = plan()
    for (let from = 0; from < calls.length; from += 40) {
      const some = calls.slice(from, from + 40).map(async ({ isStream, afterMs, atText }) => {
        const asked = { model: 'test-model', messages, stream: isStream }
        const { readUntil, hangUp } = openChat(gateway, limited.key, asked)
        await (atText === undefined ? wait(afterMs) : readUntil(atText))
        await hangUp()
      })
      await Promise.all(some)
      await quiet(limited.key)
    }
    for (const { closed } of vendor.calls) await closed
    const costs = []
    for (const id of await endedCalls(gateway, limited.key)) costs.push((await booked(gateway, account, id)).cost)
    const charged = costs.reduce((sum, cost) => sum + cost, 0n)
    expect(costs.length).toBeGreaterThan(50)
    expect(charged).toBeGreaterThan(0n)
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - charged, held: 0n, inFlight: 0 })
    expect(await ask({}, limited.key)).toMatchObject({ status: 200 })
  })
})
