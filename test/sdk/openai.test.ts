import OpenAI, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai'
import type { ChatCompletionChunk, ChatCompletionCreateParamsBase } from 'openai/resources/chat/completions'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openTokenizer } from '../../src/platform/tokenizer.ts'
import type { Tokenizer } from '../../src/ports.ts'
import { breakAfter, held, stream } from '../support/behaviours.ts'
import { booked, endedCalls, onlyCall, standing, subKey } from '../support/booked.ts'
import { managementKey, startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, eventsOf, json, startVendor, type FakeVendor } from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, 2 USD per million out. */
const [inputNanos, outputNanos] = [1_000n, 2_000n]
const startNanos = 1_000_000_000n

const model = 'test-model'
const messages = [{ role: 'user' as const, content: 'Count to three' }]
const text = 'One two three'
const words = ['One ', 'two ', 'three']
const usage = { prompt_tokens: 10, completion_tokens: 3 }
const wholeCost = 10n * inputNanos + 3n * outputNanos
const events = eventsOf(text, usage)

/** What a call that came to its end leaves behind, by the vendor's own count. */
const complete = {
  outcome: 'complete',
  counts: { input: 10, output: 3 },
  source: 'vendor',
  cost: wholeCost,
  attempts: ['fake 200'],
  account: { balance: startNanos - wholeCost, held: 0n, inFlight: 0 },
}

let vendor: FakeVendor
let gateway: TestGateway
let tokenizer: Tokenizer
let account: TestAccount
let client: OpenAI

beforeAll(async () => {
  vendor = await startVendor()
  tokenizer = await openTokenizer()
  gateway = await startGateway({
    vendorUrl: vendor.url,
    vendors: `
  hasty:
    adapter: openai
    base_url: ${vendor.url}
    api_keys: [vendor-secret]
    timeouts: { first_byte_ms: 200 }
  down:
    adapter: openai
    base_url: http://127.0.0.1:1
    api_keys: [vendor-secret]`,
    models: `
  hasty-model:
    targets: [{ vendor: hasty, model: vendor-model }]
    prices: { input: 1, output: 2 }
  down-model:
    targets: [{ vendor: down, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
    yaml: 'server: { body_limit_bytes: 65536 }',
  })
})
afterAll(async () => {
  await gateway.close()
  await vendor.close()
  await tokenizer.close()
})
beforeEach(async () => {
  vendor.behave(answerText(text, usage))
  account = await gateway.account('1')
  client = clientOf(account.key)
})

function clientOf(apiKey: string, options: ConstructorParameters<typeof OpenAI>[0] = {}): OpenAI {
  return new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0, ...options })
}

async function promptTokens(): Promise<number> {
  const counts = await Promise.all(['user', messages[0]!.content].map((part) => tokenizer.count(part)))
  // Three tokens around each message, three before the answer.
  return counts.reduce((sum, tokens) => sum + tokens, 3 + 3)
}

/** The error that the client throws, with what its users branch on. */
async function refusal(work: Promise<unknown>): Promise<APIError> {
  try {
    await work
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

const ask = (more: Partial<ChatCompletionCreateParamsBase> = {}, asker = client) =>
  asker.chat.completions.create({ model, messages, ...more, stream: false })

const askStream = (more: Partial<ChatCompletionCreateParamsBase> = {}) =>
  client.chat.completions.create({ model, messages, ...more, stream: true }).withResponse()

async function read(chunks: AsyncIterable<ChatCompletionChunk>): Promise<ChatCompletionChunk[]> {
  const all: ChatCompletionChunk[] = []
  for await (const chunk of chunks) all.push(chunk)
  return all
}

const textOf = (chunks: readonly ChatCompletionChunk[]): string =>
  chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')

describe('an answer', () => {
  test('comes whole, with its cost in a header', async () => {
    const { data, response } = await ask().withResponse()
    expect(data).toEqual({
      id: 'chatcmpl-1',
      created: 1,
      model,
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
      usage: { ...usage, total_tokens: 13 },
    })
    expect(response.headers.get('x-tollgate-cost')).toBe('0.000016')
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual(complete)
  })

  test('comes as a stream, without usage that nobody asked for', async () => {
    const { data, response } = await askStream()
    const chunks = await read(data)
    expect(textOf(chunks)).toBe(text)
    expect(chunks.map((chunk) => chunk.model)).toEqual(chunks.map(() => model))
    expect(chunks.filter((chunk) => 'usage' in chunk)).toEqual([])
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop')
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual(complete)
  })

  test('ends with one usage chunk that tells the cost, where usage was asked for', async () => {
    const { data, response } = await askStream({ stream_options: { include_usage: true } })
    const chunks = await read(data)
    expect(chunks.filter((chunk) => 'usage' in chunk)).toEqual([chunks.at(-1)])
    expect(chunks.at(-1)).toEqual({
      id: 'chatcmpl-1',
      created: 1,
      model,
      object: 'chat.completion.chunk',
      choices: [],
      usage: { ...usage, total_tokens: 13, cost: 0.000016 },
    })
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual(complete)
  })

  test('is put together by the stream helper', async () => {
    const runner = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } })
    const { choices, usage: counted } = await runner.finalChatCompletion()
    expect(choices[0]?.message.content).toBe(text)
    expect(counted).toMatchObject({ ...usage, total_tokens: 13 })
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toEqual(complete)
  })

  test('with tool calls is streamed piece by piece', async () => {
    const delta = (value: object, finish: string | null = null) =>
      JSON.stringify({
        id: 'chatcmpl-1',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'm',
        choices: [{ index: 0, delta: value, finish_reason: finish }],
      })
    const call = (index: number, piece: object) => delta({ tool_calls: [{ index, ...piece }] })
    vendor.behave(
      stream([
        delta({ role: 'assistant', content: null }),
        call(0, { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '' } }),
        call(0, { function: { arguments: '{"city":' } }),
        call(0, { function: { arguments: '"Köln"}' } }),
        call(1, { id: 'call_b', type: 'function', function: { name: 'time', arguments: '{}' } }),
        delta({}, 'tool_calls'),
        events.at(-1) ?? '',
        '[DONE]',
      ]),
    )
    const { choices } = await client.chat.completions.stream({ model, messages }).finalChatCompletion()
    expect(choices[0]?.finish_reason).toBe('tool_calls')
    expect(
      choices[0]?.message.tool_calls?.map((made) => [
        made.id,
        made.type === 'function' && made.function.name,
        made.type === 'function' && made.function.arguments,
      ]),
    ).toEqual([
      ['call_a', 'weather', '{"city":"Köln"}'],
      ['call_b', 'time', '{}'],
    ])
    expect(await booked(gateway, account, await onlyCall(gateway, account.key))).toEqual(complete)
  })
})

describe('a caller who hangs up', () => {
  const abandoned = {
    outcome: 'client_abort',
    counts: {},
    source: 'fixed',
    cost: 0n,
    account: { balance: startNanos, held: 0n, inFlight: 0 },
  }

  test.each([
    ['before the vendor has begun', 0],
    ['after a first event without content', 1],
  ])('%s pays nothing', async (_, sent) => {
    const vendorSide = held(events.slice(0, sent))
    vendor.behave(vendorSide.behaviour)
    const controller = new AbortController()
    const asked = client.chat.completions.create({ model, messages, stream: true }, { signal: controller.signal })
    const { closed } = await vendorSide.reached
    controller.abort()
    await expect(asked).rejects.toThrow(APIUserAbortError)
    expect(await closed).toBe('broken')
    const { attempts, ...rest } = await booked(gateway, account, await onlyCall(gateway, account.key))
    expect(rest).toEqual(abandoned)
    expect(attempts).toHaveLength(1)
  })

  test.each([
    [2, 1],
    [3, 2],
    [4, 3],
  ])('after chunk %i pays the prompt and %i words', async (sent, heard) => {
    const vendorSide = held(events.slice(0, sent))
    vendor.behave(vendorSide.behaviour)
    const { data, response } = await askStream()
    const got: ChatCompletionChunk[] = []
    for await (const chunk of data) {
      got.push(chunk)
      if (got.length === sent) break
    }
    const said = words.slice(0, heard).join('')
    expect(textOf(got)).toBe(said)
    expect(await (await vendorSide.reached).closed).toBe('broken')
    const [input, output] = [await promptTokens(), await tokenizer.count(said)]
    const cost = BigInt(input) * inputNanos + BigInt(output) * outputNanos
    await onlyCall(gateway, account.key)
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual({
      outcome: 'client_abort',
      counts: { input, output },
      source: 'counted',
      cost,
      attempts: ['fake 200'],
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
  })

  test('at the finish reason pays what the vendor counts after it', async () => {
    const vendorSide = held(events.slice(0, 5), [...events.slice(5), '[DONE]'])
    vendor.behave(vendorSide.behaviour)
    const { data, response } = await askStream()
    for await (const chunk of data) if (chunk.choices[0]?.finish_reason === 'stop') break
    vendorSide.release()
    await onlyCall(gateway, account.key)
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual(complete)
  })

  test('after the last chunk pays the whole answer', async () => {
    const { data, response } = await askStream({ stream_options: { include_usage: true } })
    for await (const chunk of data) if (chunk.choices.length === 0) break
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual(complete)
  })

  test.each([
    ['before the vendor has begun', 0],
    ['while an answer is gathered for him', 3],
  ])('on an unstreamed call %s pays nothing', async (_, sent) => {
    const poor = await gateway.account('0.01')
    const vendorSide = held(events.slice(0, sent))
    vendor.behave(vendorSide.behaviour)
    const controller = new AbortController()
    const asked = clientOf(poor.key).chat.completions.create({ model, messages }, { signal: controller.signal })
    const { closed } = await vendorSide.reached
    controller.abort()
    await expect(asked).rejects.toThrow(APIUserAbortError)
    expect(await closed).toBe('broken')
    const { attempts, ...rest } = await booked(gateway, poor, await onlyCall(gateway, poor.key))
    expect(rest).toEqual({ ...abandoned, account: { ...abandoned.account, balance: 10_000_000n } })
    expect(attempts).toHaveLength(1)
  })
})

/** What the books keep of a refusal before any vendor: nothing at all. */
async function expectUntouched(): Promise<void> {
  expect(await standing(gateway, account)).toEqual({ balance: startNanos, held: 0n, inFlight: 0 })
  expect(await endedCalls(gateway, account.key)).toEqual([])
}

describe('a refusal before any vendor', () => {
  test('names the parameter that is wrong', async () => {
    const error = await refusal(ask({ temperature: 7 }))
    expect(error).toBeInstanceOf(BadRequestError)
    expect([error.code, error.param, error.type]).toEqual(['invalid_value', 'temperature', 'invalid_request_error'])
    expect(error.requestID).toMatch(/^[0-9a-f-]{36}$/)
    await expectUntouched()
  })

  test.each([
    ['missing', () => clientOf('unused', { defaultHeaders: { Authorization: null } })],
    ['unknown', () => clientOf('sk-tg-this-key-was-never-made')],
    ['not a key', () => clientOf('no key')],
  ])('of a key that is %s is an AuthenticationError', async (_, make) => {
    const error = await refusal(ask({}, make()))
    expect(error).toBeInstanceOf(AuthenticationError)
    expect([error.code, error.type]).toEqual(['invalid_api_key', 'authentication_error'])
    await expectUntouched()
  })

  test('of a revoked key is an AuthenticationError', async () => {
    const revoked = await subKey(gateway, account)
    await ask({}, clientOf(revoked.key))
    await gateway.admin('DELETE', `/admin/v1/keys/${revoked.id}`)
    const error = await refusal(ask({}, clientOf(revoked.key)))
    expect(error).toBeInstanceOf(AuthenticationError)
    expect(error.code).toBe('invalid_api_key')
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - wholeCost, held: 0n, inFlight: 0 })
  })

  test('of an expired key is an AuthenticationError', async () => {
    const expiresAtMs = Date.now() + 250
    const expired = await subKey(gateway, account, { expires_at: new Date(expiresAtMs).toISOString() })
    await new Promise((resolve) => setTimeout(resolve, expiresAtMs - Date.now() + 1))
    const error = await refusal(ask({}, clientOf(expired.key)))
    expect(error).toBeInstanceOf(AuthenticationError)
    expect(error.code).toBe('invalid_api_key')
    await expectUntouched()
  })

  test('for want of credit is sent once: the client does not try again', async () => {
    const poor = await gateway.account('0')
    let sent = 0
    const counting = clientOf(poor.key, { maxRetries: 2, fetch: (...request) => (sent++, fetch(...request)) })
    const error = await refusal(ask({}, counting))
    expect(error.constructor).toBe(APIError)
    expect([error.status, error.code, error.type]).toEqual([402, 'insufficient_quota', 'insufficient_quota'])
    expect(sent).toBe(1)
    expect(await standing(gateway, poor)).toEqual({ balance: 0n, held: 0n, inFlight: 0 })
    expect(await endedCalls(gateway, poor.key)).toEqual([])
  })

  test('of a model that the key may not use is a PermissionDeniedError', async () => {
    const narrow = await subKey(gateway, account, { models: ['sandbox/echo'] })
    const error = await refusal(ask({}, clientOf(narrow.key)))
    expect(error).toBeInstanceOf(PermissionDeniedError)
    expect([error.code, error.param]).toEqual(['permission_denied', 'model'])
    await expectUntouched()
  })

  test('of a model without a price is a PermissionDeniedError', async () => {
    const error = await refusal(ask({ model: 'unpriced-model' }))
    expect(error).toBeInstanceOf(PermissionDeniedError)
    expect([error.code, error.param]).toEqual(['price_not_configured', 'model'])
    await expectUntouched()
  })

  test('of a management key is a PermissionDeniedError', async () => {
    const error = await refusal(ask({}, clientOf(managementKey)))
    expect(error).toBeInstanceOf(PermissionDeniedError)
    expect(error.code).toBe('permission_denied')
  })

  test('of an unknown model is a NotFoundError', async () => {
    const error = await refusal(ask({ model: 'no-such-model' }))
    expect(error).toBeInstanceOf(NotFoundError)
    expect([error.code, error.param]).toEqual(['model_not_found', 'model'])
    await expectUntouched()
  })

  test('of a body that is too large has status 413', async () => {
    const error = await refusal(ask({ messages: [{ role: 'user', content: 'x'.repeat(65_536) }] }))
    expect([error.status, error.code]).toEqual([413, 'request_too_large'])
    await expectUntouched()
  })
})

const retryAfter = (error: APIError): number => Number(error.headers?.get('retry-after'))

describe('a limit', () => {
  test('of requests per minute is a RateLimitError that says when to come back', async () => {
    const slow = await subKey(gateway, account, { requests_per_minute: 1 })
    const { response } = await ask({}, clientOf(slow.key)).withResponse()
    expect(['limit', 'remaining'].map((name) => response.headers.get(`x-ratelimit-${name}-requests`))).toEqual([
      '1',
      '0',
    ])
    const error = await refusal(ask({}, clientOf(slow.key)))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.code).toBe('rate_limit_exceeded')
    expect(retryAfter(error)).toBeGreaterThanOrEqual(1)
    expect(retryAfter(error)).toBeLessThanOrEqual(60)
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - wholeCost, held: 0n, inFlight: 0 })
  })

  test('of concurrency holds while a call is in flight, and no longer', async () => {
    const single = await subKey(gateway, account, { concurrency: 1 })
    const vendorSide = held([], [...events, '[DONE]'])
    vendor.behave(vendorSide.behaviour)
    const first = clientOf(single.key).chat.completions.create({ model, messages, stream: true })
    await vendorSide.reached
    const error = await refusal(ask({}, clientOf(single.key)))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.code).toBe('rate_limit_exceeded')
    expect(retryAfter(error)).toBe(1)
    vendorSide.release()
    expect(textOf(await read(await first))).toBe(text)
    vendor.behave(answerText(text, usage))
    await ask({}, clientOf(single.key))
    expect(await standing(gateway, account)).toEqual({ balance: startNanos - 2n * wholeCost, held: 0n, inFlight: 0 })
  })

  test('of credit that another call holds is a RateLimitError, and none once that call has ended', async () => {
    // Enough for the bound of one call and half of another.
    const poor = await gateway.account('0.003')
    const bounded = { max_tokens: 1_000 }
    const vendorSide = held([], [...events, '[DONE]'])
    vendor.behave(vendorSide.behaviour)
    const first = clientOf(poor.key).chat.completions.create({ model, messages, ...bounded, stream: true })
    await vendorSide.reached
    const error = await refusal(ask(bounded, clientOf(poor.key)))
    expect(error).toBeInstanceOf(RateLimitError)
    expect(error.code).toBe('credit_held')
    expect(retryAfter(error)).toBe(1)
    vendorSide.release()
    await read(await first)
    await ask(bounded, clientOf(poor.key))
    expect(await standing(gateway, poor)).toEqual({ balance: 3_000_000n - 2n * wholeCost, held: 0n, inFlight: 0 })
  })
})

describe("a vendor's failure before any content", () => {
  const failed = {
    outcome: 'vendor_failed',
    counts: {},
    source: 'fixed',
    cost: 0n,
    account: { balance: startNanos, held: 0n, inFlight: 0 },
  }

  async function expectFailed(error: APIError, attempts: readonly string[]): Promise<void> {
    expect(await booked(gateway, account, error.requestID)).toEqual({ ...failed, attempts })
  }

  test('that is the fault of the request is passed on', async () => {
    vendor.behave((_, response) =>
      json(response, 400, {
        error: {
          message: 'No such voice.',
          type: 'invalid_request_error',
          param: 'audio.voice',
          code: 'voice_unknown',
        },
      }),
    )
    const error = await refusal(ask())
    expect(error).toBeInstanceOf(BadRequestError)
    expect([error.message, error.code, error.param]).toEqual(['400 No such voice.', 'voice_unknown', 'audio.voice'])
    await expectFailed(error, ['fake 400 vendor_refused'])
  })

  test.each([
    ['that cannot be reached', { model: 'down-model' }, 502, 'vendor_error', 'down 0 vendor_error'],
    ['of its server', { model }, 502, 'vendor_error', 'fake 500 vendor_error'],
    ['over our own key there', { model }, 503, 'no_target_available', 'fake 401 no_target_available'],
    ['by silence', { model: 'hasty-model' }, 504, 'vendor_timeout', 'hasty 0 vendor_timeout'],
  ])('%s is an InternalServerError', async (_, more, status, code, attempt) => {
    const vendorStatus = Number(attempt.split(' ')[1])
    if (vendorStatus > 0) vendor.behave((__, response) => json(response, vendorStatus, { error: { message: 'No.' } }))
    else vendor.behave(held([]).behaviour)
    const error = await refusal(ask(more))
    expect(error).toBeInstanceOf(InternalServerError)
    expect([error.status, error.code]).toEqual([status, code])
    await expectFailed(error, [attempt])
  })
})

describe("a vendor's failure in mid-stream", () => {
  test.each([
    ['that breaks the connection', () => breakAfter(events.slice(0, 3))],
    ['that ends the stream too early', () => stream(events.slice(0, 3))],
    [
      'that it tells of itself',
      () =>
        stream([...events.slice(0, 3), JSON.stringify({ error: { message: 'Overloaded.', type: 'server_error' } })]),
    ],
  ])('%s is raised after what was said', async (_, behaviour) => {
    vendor.behave(behaviour())
    const { data, response } = await askStream()
    const got: ChatCompletionChunk[] = []
    const error = await refusal(
      (async () => {
        for await (const chunk of data) got.push(chunk)
      })(),
    )
    expect(error.constructor).toBe(APIError)
    expect([error.code, error.type]).toEqual(['vendor_error', 'server_error'])
    expect(textOf(got)).toBe('One two ')
    const [input, output] = [await promptTokens(), await tokenizer.count('One two ')]
    const cost = BigInt(input) * inputNanos + BigInt(output) * outputNanos
    expect(await booked(gateway, account, response.headers.get('x-request-id'))).toEqual({
      outcome: 'incomplete',
      counts: { input, output },
      source: 'counted',
      cost,
      attempts: ['fake 200'],
      account: { balance: startNanos - cost, held: 0n, inFlight: 0 },
    })
  })
})
