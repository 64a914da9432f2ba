import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'
import { breakAfter, held, stream } from '../support/behaviours.ts'
import { booked, endedCalls, onlyCall, standing } from '../support/booked.ts'
import { chatWith, openChat, type Answer } from '../support/chat.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import {
  answerText,
  completion,
  eventsOf,
  json,
  openStream,
  startVendor,
  type Behaviour,
  type FakeVendor,
  type Usage,
} from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, 0.1 cached, 2 out. */
const [inputNanos, cachedNanos, outputNanos] = [1_000n, 100n, 2_000n]
const startNanos = 1_000_000_000n
/** Output tokens of a first hold, so that most answers outgrow it. */
const firstOutput = 32

const prompt = 'Tell me something'
const messages = [{ role: 'user', content: prompt }]
const text = 'One two three'
const usage: Usage = { prompt_tokens: 10, completion_tokens: 3 }
const events = eventsOf(text, usage)

/** The three ways in which a call of chat can be served. */
const modes = [
  { mode: 'streamed', stream: true, model: 'test-model' },
  { mode: 'unstreamed from one body', stream: false, model: 'test-model' },
  { mode: 'unstreamed from a stream', stream: false, model: 'gathered-model' },
] as const

let vendor: FakeVendor
let gateway: TestGateway
let tokenizer: Tokenizer
let account: TestAccount

const modelOf = (name: string, target: string, policies: string): string => `
  ${name}:
    targets: [${target}]
    prices: { input: 1, cached_input: 0.1, output: 2 }
    max_output_tokens: 4096
    policies: { ${policies} }`
const fake = '{ vendor: fake, model: vendor-model }'

beforeAll(async () => {
  vendor = await startVendor()
  tokenizer = await openTokenizer()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `
  first:
    adapter: openai
    base_url: ${vendor.url}/first
    api_keys: [vendor-secret]
  hasty:
    adapter: openai
    base_url: ${vendor.url}
    api_keys: [vendor-secret]
    timeouts: { first_byte_ms: 250, idle_ms: 250 }`,
    models: [
      modelOf('gathered-model', fake, 'unstreamed: gathered'),
      modelOf('drain-model', fake, 'client_abort: drain'),
      modelOf('void-model', fake, 'client_abort: void'),
      modelOf('prompt-model', fake, 'abort_before_content: prompt'),
      modelOf('hasty-model', '{ vendor: hasty, model: vendor-model }', ''),
      modelOf('failover-model', `{ vendor: first, model: vendor-model }, ${fake}`, ''),
      modelOf('gathered-failover-model', `{ vendor: first, model: vendor-model }, ${fake}`, 'unstreamed: gathered'),
    ].join(''),
    yaml: `holds: { first_output_tokens: ${firstOutput} }`,
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await tokenizer.close()
})
beforeEach(async () => {
  vendor.behave(answerText(text, usage))
  vendor.calls.length = 0
  account = await gateway.account('1')
})

const ask = (more: Record<string, unknown>): Promise<Answer> =>
  chatWith(gateway, account.key, { model: 'test-model', messages, ...more })
const open = (more: Record<string, unknown>) =>
  openChat(gateway, account.key, { model: 'test-model', messages, stream: true, ...more })

async function promptTokens(): Promise<number> {
  const counts = await Promise.all(['user', prompt].map((part) => tokenizer.count(part)))
  // Three tokens around each message, three before the answer.
  return counts.reduce((sum, tokens) => sum + tokens, 3 + 3)
}

/** What our own count of the prompt and of this text costs. */
async function counted(
  said: string,
): Promise<{ counts: Record<string, number>; source: string; cost: bigint; account: object }> {
  const [input, output] = [await promptTokens(), await tokenizer.count(said)]
  const cost = BigInt(input) * inputNanos + BigInt(output) * outputNanos
  return { counts: { input, output }, source: 'counted', cost, account: after(cost) }
}

const after = (cost: bigint) => ({ balance: startNanos - cost, held: 0n, inFlight: 0 })
const nothing = { counts: {}, source: 'fixed', cost: 0n, account: after(0n) }
const wholeCost = 10n * inputNanos + 3n * outputNanos
const whole = { counts: { input: 10, output: 3 }, source: 'vendor', cost: wholeCost, account: after(wholeCost) }

/** A status of 200, some bytes and the end: for the type that the request asks for, or another one. */
function bytes(body: string, type?: string): Behaviour {
  return (call, response) => {
    response.writeHead(200, {
      'content-type': type ?? (call.body['stream'] === true ? 'text/event-stream' : 'application/json'),
    })
    response.end(body)
  }
}

const inside = JSON.stringify({ error: { message: 'Overloaded.', type: 'server_error', code: 'overloaded' } })

/** What it says inside of an answer whose status is good. */
const errorFirst: Behaviour = (call, response) =>
  (call.body['stream'] === true ? stream([inside]) : bytes(inside))(call, response)

/** Some of a body, or the first event, which has no content; then the connection breaks. */
const cutEarly: Behaviour = (call, response) => {
  if (call.body['stream'] === true) return breakAfter(events.slice(0, 1))(call, response)
  response.writeHead(200, { 'content-type': 'application/json' })
  response.write(JSON.stringify(completion(text, usage)).slice(0, 100), () => response.destroy())
}

const status =
  (code: number): Behaviour =>
  (_, response) =>
    json(response, code, { error: { message: 'No.', type: 'some_error' } }, code === 429 ? { 'retry-after': '7' } : {})

const failures: readonly [name: string, behaviour: Behaviour, status: number, code: string, attempt: string][] = [
  ['refuses the request', status(400), 400, 'vendor_refused', 'fake 400 vendor_refused'],
  ['refuses our key', status(401), 503, 'no_target_available', 'fake 401 no_target_available'],
  ['is busy', status(429), 429, 'vendor_busy', 'fake 429 vendor_busy'],
  ['fails', status(500), 502, 'vendor_error', 'fake 500 vendor_error'],
  ['is away', status(503), 502, 'vendor_error', 'fake 503 vendor_error'],
  ['sends an error with a good status', errorFirst, 502, 'vendor_error', 'fake 200 vendor_error'],
  ['sends a page of HTML', bytes('<html>Login</html>', 'text/html'), 502, 'vendor_error', 'fake 200 vendor_error'],
  ['sends null', bytes('null', 'application/json'), 502, 'vendor_error', 'fake 200 vendor_error'],
  ['sends nothing', bytes(''), 502, 'vendor_error', 'fake 200 vendor_error'],
  ['sends an end and no answer', bytes('data: [DONE]\n\n'), 502, 'vendor_error', 'fake 200 vendor_error'],
  ['resets the connection', breakAfter([]), 502, 'vendor_error', 'fake 0 vendor_error'],
  ['breaks off before the first content', cutEarly, 502, 'vendor_error', 'fake 200 vendor_error'],
]

describe.each(modes)('a call that is $mode', ({ stream: isStream, model }) => {
  const mode = { stream: isStream, model }

  test('and refused before a vendor was called costs nothing and leaves no record', async () => {
    const { status: got, error } = await ask({ ...mode, top_p: 2 })
    expect([got, error?.code, error?.param]).toEqual([400, 'invalid_value', 'top_p'])
    expect(vendor.calls).toEqual([])
    expect(await endedCalls(gateway, account.key)).toEqual([])
    expect(await standing(gateway, account)).toEqual(after(0n))
  })

  test.each(failures)('of a vendor that %s costs nothing', async (_, behaviour, wanted, code, attempt) => {
    vendor.behave(behaviour)
    const { status: got, error, id, headers } = await ask(mode)
    expect([got, error?.code]).toEqual([wanted, code])
    expect(headers.get('retry-after') !== null).toBe(wanted === 429 || wanted === 503)
    expect(await booked(gateway, account, id)).toEqual({ ...nothing, outcome: 'vendor_failed', attempts: [attempt] })
  })

  test("and complete costs the vendor's units, each at its own price", async () => {
    vendor.behave(
      answerText(text, { prompt_tokens: 100, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 40 } }),
    )
    const answer = await ask(mode)
    const cost = 60n * inputNanos + 40n * cachedNanos + 3n * outputNanos
    expect([answer.status, answer.text]).toEqual([200, text])
    expect(await booked(gateway, account, answer.id)).toEqual({
      outcome: 'complete',
      counts: { input: 60, cached_input: 40, output: 3 },
      source: 'vendor',
      cost,
      attempts: ['fake 200'],
      account: after(cost),
    })
  })

  test('and complete without usage costs what we count', async () => {
    const long = Array.from(
      { length: 40 },
      (_, line) => `Line ${line} of the answer is short, 第${line}行也是。\n`,
    ).join('')
    vendor.behave(answerText(long))
    const answer = await ask(mode)
    expect([answer.status, answer.text]).toEqual([200, long])
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...(await counted(long)),
      outcome: 'complete',
      attempts: ['fake 200'],
    })
  })

  test('and complete with a usage of nothing costs what we count', async () => {
    vendor.behave(answerText(text, { prompt_tokens: 0, completion_tokens: 0 }))
    const { id } = await ask(mode)
    expect(await booked(gateway, account, id)).toEqual({
      ...(await counted(text)),
      outcome: 'complete',
      attempts: ['fake 200'],
    })
  })

  test('and complete with half of the usage costs what we count of the other half', async () => {
    vendor.behave(answerText(text, { prompt_tokens: 10 } as unknown as Usage))
    const { id } = await ask(mode)
    const output = await tokenizer.count(text)
    const cost = 10n * inputNanos + BigInt(output) * outputNanos
    expect(await booked(gateway, account, id)).toEqual({
      outcome: 'complete',
      counts: { input: 10, output },
      source: 'vendor_partial',
      cost,
      attempts: ['fake 200'],
      account: after(cost),
    })
  })

  test('and fails over to another vendor is charged once, with both attempts on record', async () => {
    vendor.behave((call, response) =>
      (call.path.startsWith('/first') ? status(500) : answerText(text, usage))(call, response),
    )
    const answer = await ask({
      ...mode,
      model: model === 'gathered-model' ? 'gathered-failover-model' : 'failover-model',
    })
    expect([answer.status, answer.text]).toEqual([200, text])
    expect(answer.headers.get('x-tollgate-vendor')).toBe('fake')
    expect(answer.headers.get('x-tollgate-attempts')).toBe('2')
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...whole,
      outcome: 'complete',
      attempts: ['first 500 vendor_error', 'fake 200'],
    })
  })

  test('and played by the sandbox is priced and costs nothing, without any credit', async () => {
    account = await gateway.account('0')
    const answer = await ask({ ...mode, model: 'sandbox/echo' })
    expect([answer.status, answer.text]).toEqual([200, prompt])
    const { counts, source, cost, account: standingAfter } = await booked(gateway, account, answer.id)
    const [input, output] = [await promptTokens(), await tokenizer.count(prompt)]
    expect({ counts, source, cost, standingAfter }).toEqual({
      counts: { input, output },
      source: 'vendor',
      cost: 0n,
      standingAfter: { balance: 0n, held: 0n, inFlight: 0 },
    })
    expect(answer.cost).toBe('0')
    const { priced } = await gateway.get(`/v1/generation?id=${answer.id}`, account.key)
    expect(priced).toBe(decimal(BigInt(input) * inputNanos + BigInt(output) * outputNanos))
  })
})

/** Below one unit of money, as the API writes it. */
const decimal = (nanos: bigint): string => `0.${nanos.toString().padStart(9, '0').replace(/0+$/, '')}`

describe('a vendor that breaks off after content', () => {
  const halfway: Behaviour = (call, response) =>
    (call.body['stream'] === true ? breakAfter(events.slice(0, 3)) : cutEarly)(call, response)

  test('is charged for what was forwarded of a stream, which ends with an error frame', async () => {
    vendor.behave(halfway)
    const answer = await ask({ stream: true })
    expect([answer.status, answer.text, answer.error?.code]).toEqual([200, 'One two ', 'vendor_error'])
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'incomplete',
      attempts: ['fake 200'],
    })
  })

  test('by falling silent is charged the same way', async () => {
    vendor.behave(held(events.slice(0, 3)).behaviour)
    const answer = await ask({ stream: true, model: 'hasty-model' })
    expect([answer.status, answer.text, answer.error?.code]).toEqual([200, 'One two ', 'vendor_timeout'])
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'incomplete',
      attempts: ['hasty 200'],
    })
  })

  test('by its own count, where it tells one with every event', async () => {
    const partial = events
      .slice(0, 3)
      .map((event, at) =>
        event.replace('"choices"', `"usage":{"prompt_tokens":10,"completion_tokens":${at}},"choices"`),
      )
    vendor.behave(breakAfter(partial))
    const answer = await ask({ stream: true })
    const cost = 10n * inputNanos + 2n * outputNanos
    expect(await booked(gateway, account, answer.id)).toEqual({
      outcome: 'incomplete',
      counts: { input: 10, output: 2 },
      source: 'vendor_partial',
      cost,
      attempts: ['fake 200'],
      account: after(cost),
    })
  })

  test.each([
    ['told a count before the answer and none with it', 0, 7],
    ['tells a count without output with every event', 2, 0],
  ])('is charged for what was forwarded where it %s', async (_, last, tokens) => {
    const told = `"usage":{"prompt_tokens":10,"completion_tokens":${tokens}},"choices"`
    const partial = events.slice(0, 3).map((event, at) => (at > last ? event : event.replace('"choices"', told)))
    vendor.behave(breakAfter(partial))
    const answer = await ask({ stream: true })
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'incomplete',
      attempts: ['fake 200'],
    })
  })

  test.each(['test-model', 'gathered-model'])(
    'costs nothing where %s was asked for one body, of which nothing was forwarded',
    async (model) => {
      vendor.behave(halfway)
      const { status: got, error, id } = await ask({ model })
      expect([got, error?.code]).toEqual([502, 'vendor_error'])
      const { outcome, cost, account: standingAfter } = await booked(gateway, account, id)
      expect({ outcome, cost, standingAfter }).toEqual({ outcome: 'vendor_failed', cost: 0n, standingAfter: after(0n) })
    },
  )
})

describe('a caller who hangs up after content', () => {
  /** Hears two words of the answer and leaves; then the vendor may go on. */
  async function leaveAfterTwoWords(
    model: string,
    rest: readonly string[],
  ): Promise<{ id: string; closed: 'finished' | 'broken' }> {
    const vendorSide = held(events.slice(0, 3), rest)
    vendor.behave(vendorSide.behaviour)
    const { readUntil, hangUp } = open({ model })
    await readUntil('"two "')
    await hangUp()
    // The gateway has seen the closed connection when it has answered others.
    await standing(gateway, account)
    const { closed } = await vendorSide.reached
    if (model === 'drain-model') vendorSide.release()
    return { id: await onlyCall(gateway, account.key), closed: await closed }
  }

  test('pays the prompt and what was forwarded; the vendor is cancelled', async () => {
    const { id, closed } = await leaveAfterTwoWords('test-model', [])
    expect(closed).toBe('broken')
    expect(await booked(gateway, account, id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'client_abort',
      attempts: ['fake 200'],
    })
  })

  test("pays the vendor's count of the whole answer under the policy drain", async () => {
    const { id, closed } = await leaveAfterTwoWords('drain-model', [...events.slice(3), '[DONE]'])
    expect(closed).toBe('finished')
    expect(await booked(gateway, account, id)).toEqual({ ...whole, outcome: 'client_abort', attempts: ['fake 200'] })
  })

  test('pays what was forwarded under the policy drain, where the vendor breaks off', async () => {
    const { id } = await leaveAfterTwoWords('drain-model', events.slice(3, 4))
    expect(await booked(gateway, account, id)).toEqual({
      ...(await counted('One two ')),
      outcome: 'client_abort',
      attempts: ['fake 200'],
    })
  })

  test('pays nothing under the policy void', async () => {
    const { id, closed } = await leaveAfterTwoWords('void-model', [])
    expect(closed).toBe('broken')
    expect(await booked(gateway, account, id)).toEqual({ ...nothing, outcome: 'client_abort', attempts: ['fake 200'] })
  })

  test.each([
    ['pays the whole usage, which comes then', [...events.slice(5), '[DONE]'], () => whole],
    ['pays what was forwarded, where no usage comes', ['[DONE]'], () => counted(text)],
  ])('at the finish reason %s', async (_, rest, wanted) => {
    const vendorSide = held(events.slice(0, 5), rest)
    vendor.behave(vendorSide.behaviour)
    const { readUntil, hangUp } = open({})
    await readUntil('"stop"')
    await hangUp()
    vendorSide.release()
    const id = await onlyCall(gateway, account.key)
    expect(await booked(gateway, account, id)).toEqual({
      ...(await wanted()),
      outcome: 'complete',
      attempts: ['fake 200'],
    })
  })
})

describe('a caller who hangs up before any content', () => {
  /** Leaves once the vendor has sent so many events, of which none has content. */
  async function leaveEarly(more: Record<string, unknown>, sent: number): Promise<Awaited<ReturnType<typeof booked>>> {
    const vendorSide = held(events.slice(0, sent))
    vendor.behave(vendorSide.behaviour)
    const { hangUp } = openChat(gateway, account.key, { model: 'test-model', messages, ...more })
    const { closed } = await vendorSide.reached
    // The event is on its way; the gateway has it when it has answered something else.
    await standing(gateway, account)
    await hangUp()
    expect(await closed).toBe('broken')
    return booked(gateway, account, await onlyCall(gateway, account.key))
  }

  test.each(modes)('pays nothing ($mode)', async ({ stream: isStream, model }) => {
    expect(await leaveEarly({ stream: isStream, model }, isStream ? 1 : 0)).toMatchObject({
      ...nothing,
      outcome: 'client_abort',
    })
  })

  test('pays the prompt under the policy prompt, once the vendor has begun', async () => {
    const cost = BigInt(await promptTokens()) * inputNanos
    expect(await leaveEarly({ stream: true, model: 'prompt-model' }, 1)).toEqual({
      outcome: 'client_abort',
      counts: { input: await promptTokens() },
      source: 'counted',
      cost,
      attempts: ['fake 200 caller_left'],
      account: after(cost),
    })
  })

  test('pays nothing under the policy prompt, where the vendor has not begun', async () => {
    expect(await leaveEarly({ stream: true, model: 'prompt-model' }, 0)).toMatchObject({
      ...nothing,
      outcome: 'client_abort',
    })
  })
})

describe('a balance that runs out in mid-stream', () => {
  const long = Array.from({ length: 400 }, (_, at) => `word${at} `).join('')

  /** An account that can pay the prompt and what the first hold covers, and 10 tokens more. */
  async function poorAccount(): Promise<bigint> {
    const reserved = BigInt(await promptTokens()) * inputNanos + BigInt(firstOutput) * outputNanos
    const balance = reserved + 10n * outputNanos
    account = await gateway.account(decimal(balance))
    return balance
  }

  async function expectCut(balance: bigint, answer: Answer): Promise<void> {
    expect(long.startsWith(answer.text)).toBe(true)
    const { outcome, counts, source, cost, account: standingAfter } = await booked(gateway, account, answer.id)
    const wanted = await counted(answer.text)
    expect({ outcome, counts, source, cost }).toEqual({
      outcome: 'cut',
      counts: wanted.counts,
      source: 'counted',
      cost: wanted.cost,
    })
    expect(standingAfter).toEqual({ balance: balance - wanted.cost, held: 0n, inFlight: 0 })
    // Not before half of what was reserved is used, and never beyond the balance.
    expect(counts).toMatchObject({ output: expect.toSatisfy((output: number) => output > firstOutput / 2) as unknown })
    expect(wanted.cost).toBeLessThanOrEqual(balance)
  }

  test('ends the stream as its bound would, and says why in an error frame', async () => {
    const balance = await poorAccount()
    vendor.behave(answerText(long, usage))
    const answer = await ask({ stream: true })
    expect([answer.status, answer.finish, answer.error?.code, answer.error?.type]).toEqual([
      200,
      'length',
      'insufficient_quota',
      'insufficient_quota',
    ])
    await expectCut(balance, answer)
  })

  test('ends the body of an unstreamed call as its bound would', async () => {
    const balance = await poorAccount()
    vendor.behave(answerText(long, usage))
    const answer = await ask({})
    expect([answer.status, answer.finish]).toEqual([200, 'length'])
    await expectCut(balance, answer)
    expect(answer.cost).toBe(decimal((await counted(answer.text)).cost))
  })
})

describe('a vendor that answers a stream with one body', () => {
  test('is made into a stream and charged by its usage', async () => {
    vendor.behave((_, response) => json(response, 200, completion(text, usage)))
    const answer = await ask({ stream: true })
    expect([answer.status, answer.text, answer.finish]).toEqual([200, text, 'stop'])
    expect(await booked(gateway, account, answer.id)).toEqual({ ...whole, outcome: 'complete', attempts: ['fake 200'] })
  })
})

describe('a vendor whose stream has no end', () => {
  test('but a finish reason is complete, where it closes the connection', async () => {
    vendor.behave((_, response) => {
      openStream(response)
      response.end(
        events
          .slice(0, 5)
          .map((event) => `data: ${event}\n\n`)
          .join(''),
      )
    })
    const answer = await ask({ stream: true })
    expect([answer.text, answer.error, answer.isDone]).toEqual([text, undefined, true])
    expect(await booked(gateway, account, answer.id)).toEqual({
      ...(await counted(text)),
      outcome: 'complete',
      attempts: ['fake 200'],
    })
  })
})
