import Anthropic, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
  ServiceUnavailableError,
} from '@anthropic-ai/sdk'
import { createAnthropic } from '@ai-sdk/anthropic'
import { generateText, streamText } from 'ai'
import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked, onlyCall } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, type Behaviour, type FakeVendor, json, openStream, startVendor } from '../support/vendor.ts'

/** Nano-USD a token: 1 USD per million in, a tenth of it from the cache, 2 USD per million out. */
const [inputNanos, cachedNanos, outputNanos] = [1_000n, 100n, 2_000n]
/** A cent a search. */
const searchNanos = 10_000_000n

const recorded = readFileSync(new URL('../fixtures/anthropic/thinking-tools.sse', import.meta.url), 'utf8')
const overloaded = readFileSync(new URL('../fixtures/anthropic/overloaded-midway.sse', import.meta.url), 'utf8')
const signature = 'c2lnbmVkL29uZSs9PQ=='
const thought = 'Two cities; ask for "both" – ☂.'

/** The blocks of the recorded stream as one body has them. */
const blocks = [
  { type: 'thinking', thinking: thought, signature },
  { type: 'redacted_thinking', data: 'aGlkZGVuL3BhcnQ=' },
  { type: 'text', text: 'I will look.' },
  { type: 'tool_use', id: 'toolu_own_1', name: 'weather', input: { city: 'Paris' } },
  { type: 'tool_use', id: 'toolu_own_2', name: 'now', input: {} },
]
const usage = {
  input_tokens: 21,
  cache_creation_input_tokens: 30,
  cache_read_input_tokens: 50,
  cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
  output_tokens: 40,
  output_tokens_details: { thinking_tokens: 15 },
  server_tool_use: { web_search_requests: 2 },
}
const message = { id: 'msg_own_1', type: 'message', role: 'assistant', content: blocks, stop_sequence: null }
const whole = { ...message, model: 'claude-sonnet-4-5-20250929', stop_reason: 'tool_use', usage }
/** Writing to a cache has no price here, so it costs what other input does. */
const wholeCost = (21n + 30n) * inputNanos + 50n * cachedNanos + 40n * outputNanos + 2n * searchNanos

const answer: Behaviour = (call, response) => {
  if (call.body['stream'] !== true) return json(response, 200, whole)
  openStream(response)
  response.end(recorded)
}

const claude = 'claude'
const plain = 'test-model'
const asked = { model: claude, max_tokens: 100, messages: [{ role: 'user' as const, content: 'Which?' }] }
const tools = [{ name: 'weather', input_schema: { type: 'object' as const } }]

let theirs: FakeVendor
let others: FakeVendor
let gateway: TestGateway
let account: TestAccount
let client: Anthropic

beforeAll(async () => {
  theirs = await startVendor(answer)
  others = await startVendor()
  gateway = await startGateway({
    vendorUrl: others.url,
    vendors: `
  family:
    adapter: anthropic
    base_url: ${theirs.url}/v1
    api_keys: [family-secret]`,
    models: `
  claude:
    targets: [{ vendor: family, model: claude-sonnet-4-5 }]
    prices: { input: 1, cached_input: 0.1, output: 2, search: 0.01 }
    max_output_tokens: 4096`,
  })
})
afterAll(async () => {
  await gateway.close()
  await theirs.close()
  await others.close()
})
beforeEach(async () => {
  theirs.behave(answer)
  theirs.calls.length = 0
  account = await gateway.account('1')
  client = new Anthropic({ baseURL: gateway.url, apiKey: account.key, maxRetries: 0 })
})

async function refusal(work: Promise<unknown>): Promise<APIError> {
  try {
    await work
  } catch (error) {
    if (error instanceof APIError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('an answer of the family', () => {
  test('comes as it was, under the name that was asked for', async () => {
    const { data, request_id: id, response } = await client.messages.create(asked).withResponse()
    expect({ ...data, _request_id: undefined }).toEqual({ ...whole, model: claude, _request_id: undefined })
    expect([id, response.headers.get('x-tollgate-cost')]).toEqual([response.headers.get('x-request-id'), '0.020136'])
    expect((await booked(gateway, account, id)).cost).toBe(wholeCost)
  })

  test('streams block by block and is charged once', async () => {
    const stream = client.messages.stream(asked)
    const final = await stream.finalMessage()
    expect(final.content).toMatchObject(blocks)
    expect([final.model, final.stop_reason, final.usage.output_tokens]).toEqual([claude, 'tool_use', 40])
    const { outcome, counts, source, cost } = await booked(gateway, account, stream.request_id)
    expect({ outcome, counts, source, cost }).toEqual({
      outcome: 'complete',
      counts: {
        input: 21,
        cached_input: 50,
        cache_write_5m: 10,
        cache_write_1h: 20,
        output: 25,
        reasoning: 15,
        search: 2,
      },
      source: 'vendor',
      cost: wholeCost,
    })
  })

  test('passes byte for byte but for the name and the cost', async () => {
    const response = await fetch(`${gateway.url}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': account.key, 'content-type': 'application/json' },
      body: JSON.stringify({ ...asked, stream: true }),
    })
    const frames = (text: string) => text.split('\n\n').filter((each) => each !== '')
    const sent = frames(recorded).map((each) => each.replace('"claude-sonnet-4-5-20250929"', '"claude"'))
    const got = frames(await response.text())
    expect(got.map((each) => each.replace(/,"cost":[\d.]+/, ''))).toEqual(sent)
    expect(got.filter((each) => each.includes('"cost":0.020136'))).toHaveLength(1)
  })

  test('keeps three turns of tools with thinking byte for byte, in both directions', async () => {
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Which?' }]
    for (let turn = 0; turn < 3; turn++) {
      const { content } = await client.messages.stream({ ...asked, messages, tools }).finalMessage()
      messages.push({ role: 'assistant', content })
      messages.push({
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_own_1', content: 'rain' },
          { type: 'tool_result', tool_use_id: 'toolu_own_2', content: 'noon', is_error: true },
        ],
      })
    }
    await client.messages.create({ ...asked, messages, tools })
    expect(theirs.calls.map(({ text }) => text.includes(`"messages":${JSON.stringify(messages)}`))).toEqual([
      false,
      false,
      false,
      true,
    ])
    expect(messages.filter(({ role }) => role === 'assistant')).toMatchObject([
      { content: blocks },
      { content: blocks },
      { content: blocks },
    ])
  })

  test('is asked for with our key and what the caller tries', async () => {
    await client.beta.messages.create({ ...asked, betas: ['files-api-2025-04-14'] })
    const [call] = theirs.calls
    expect([
      call?.path,
      call?.headers['x-api-key'],
      call?.headers['anthropic-beta'],
      call?.headers['authorization'],
      call?.body['model'],
    ]).toEqual(['/v1/messages?beta=true', 'family-secret', 'files-api-2025-04-14', undefined, 'claude-sonnet-4-5'])
  })

  test('that the caller leaves is charged for what he got, and the vendor is left too', async () => {
    const opened = recorded.slice(0, recorded.indexOf('event: content_block_stop'))
    theirs.behave((_, response) => {
      openStream(response)
      response.write(opened)
    })
    const stream = await client.messages.create({ ...asked, stream: true })
    for await (const event of stream) {
      if (event.type === 'content_block_delta' && event.delta.type === 'signature_delta') break
    }
    expect(await theirs.calls[0]?.closed).toBe('broken')
    const { outcome, source } = await booked(gateway, account, await onlyCall(gateway, account.key))
    expect([outcome, source]).toEqual(['client_abort', 'counted'])
  })
})

describe('an answer of another family', () => {
  const spoken = { prompt_tokens: 10, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } }

  test('is a message all the same', async () => {
    others.behave(answerText('One two three', spoken))
    const { data, request_id: id } = await client.messages
      .create({ ...asked, model: plain, system: 'Be brief.' })
      .withResponse()
    expect({ ...data, id: 'x', _request_id: undefined }).toEqual({
      id: 'x',
      type: 'message',
      role: 'assistant',
      model: plain,
      content: [{ type: 'text', text: 'One two three' }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      usage: { input_tokens: 6, cache_creation_input_tokens: 0, cache_read_input_tokens: 4, output_tokens: 3 },
      _request_id: undefined,
    })
    expect(others.calls.at(-1)?.body['messages']).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Which?' },
    ])
    expect((await booked(gateway, account, id)).cost).toBe(6n * inputNanos + 4n * cachedNanos + 3n * outputNanos)
  })

  test('streams as one', async () => {
    others.behave(answerText('One two three', spoken))
    const final = await client.messages.stream({ ...asked, model: plain }).finalMessage()
    expect([final.content, final.stop_reason, final.usage]).toMatchObject([
      [{ type: 'text', text: 'One two three' }],
      'end_turn',
      { input_tokens: 6, cache_read_input_tokens: 4, output_tokens: 3 },
    ])
  })

  test('is not asked for with a tool that only the family has', async () => {
    const search = { type: 'web_search_20250305' as const, name: 'web_search' as const }
    const error = await refusal(client.messages.create({ ...asked, model: plain, tools: [search] }))
    expect([error instanceof BadRequestError, error.type]).toEqual([true, 'invalid_request_error'])
  })
})

describe('a caller of chat completions', () => {
  const chat = () => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: account.key, maxRetries: 0 }).chat.completions
  const question = { model: claude, messages: [{ role: 'user' as const, content: 'Which?' }] }
  const call = (id: string, name: string, given: string) => ({
    id,
    type: 'function',
    function: { name, arguments: given },
  })

  test('hears the family in his own words', async () => {
    const { choices, usage: told, model } = await chat().create(question)
    expect([model, choices[0]]).toMatchObject([
      claude,
      {
        index: 0,
        finish_reason: 'tool_calls',
        message: {
          content: 'I will look.',
          reasoning_content: thought,
          reasoning_details: [{ text: thought, signature, format: 'anthropic' }, { data: 'aGlkZGVuL3BhcnQ=' }],
          tool_calls: [call('toolu_own_1', 'weather', '{"city":"Paris"}'), call('toolu_own_2', 'now', '{}')],
        },
      },
    ])
    expect(told).toMatchObject({ prompt_tokens: 101, completion_tokens: 40, total_tokens: 141 })
  })

  test('hears its stream, and gives back what it thought', async () => {
    const final = await chat()
      .stream({ ...question, stream_options: { include_usage: true } })
      .finalChatCompletion()
    const [choice] = final.choices
    expect([choice?.finish_reason, choice?.message.content, choice?.message.tool_calls, final.usage]).toMatchObject([
      'tool_calls',
      'I will look.',
      [call('toolu_own_1', 'weather', '{"city": "Paris"}'), call('toolu_own_2', 'now', '{}')],
      { prompt_tokens: 101, completion_tokens: 40 },
    ])
  })

  test('keeps three turns of tools with thinking byte for byte', async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Which?' }]
    for (let turn = 0; turn < 3; turn++) {
      const { choices } = await chat().create({
        ...question,
        messages,
        reasoning_effort: 'low',
        max_completion_tokens: 4000,
      })
      if (choices[0]) messages.push(choices[0].message)
      messages.push({ role: 'tool', tool_call_id: 'toolu_own_1', content: 'rain' })
      messages.push({ role: 'tool', tool_call_id: 'toolu_own_2', content: 'noon' })
    }
    await chat().create({ ...question, messages })
    const last = theirs.calls.at(-1)?.body['messages'] as readonly { role: string; content: unknown }[]
    const results = [
      { type: 'tool_result', tool_use_id: 'toolu_own_1', content: 'rain' },
      { type: 'tool_result', tool_use_id: 'toolu_own_2', content: 'noon' },
    ]
    expect(last.slice(1)).toEqual(
      [1, 2, 3].flatMap(() => [
        { role: 'assistant', content: blocks },
        { role: 'user', content: results },
      ]),
    )
    expect(theirs.calls[1]?.body['thinking']).toEqual({ type: 'enabled', budget_tokens: 1024 })
  })

  test('is told what the family was not sent', async () => {
    const { response } = await chat()
      .create({ ...question, seed: 7 })
      .withResponse()
    expect(response.headers.get('x-tollgate-dropped-params')).toBe('seed')
  })
})

describe('a failure', () => {
  test('of the key, the model and the request is of its own class', async () => {
    const stranger = new Anthropic({ baseURL: gateway.url, apiKey: 'sk-wrong', maxRetries: 0 })
    const errors = await Promise.all([
      refusal(stranger.messages.create(asked)),
      refusal(client.messages.create({ ...asked, model: 'none' })),
      refusal(client.messages.create({ ...asked, max_tokens: 0 })),
    ])
    expect(errors.map((error) => [error.constructor, error.type, error.requestID !== null])).toEqual([
      [AuthenticationError, 'authentication_error', true],
      [NotFoundError, 'not_found_error', true],
      [BadRequestError, 'invalid_request_error', true],
    ])
  })

  test('of the credit is not worth another try', async () => {
    const poor = new Anthropic({ baseURL: gateway.url, apiKey: (await gateway.account('0')).key })
    const error = await refusal(poor.messages.create(asked))
    expect([error.status, error.type, error.errorCode]).toEqual([402, 'billing_error', 'insufficient_quota'])
  })

  test.each([
    [429, 'rate_limit_error', RateLimitError, 'rate_limit_error'],
    [529, 'overloaded_error', InternalServerError, 'api_error'],
    [401, 'authentication_error', ServiceUnavailableError, 'overloaded_error'],
    [400, 'invalid_request_error', BadRequestError, 'invalid_request_error'],
  ])('of the vendor with %i %s is told as ours', async (status, type, kind, told) => {
    theirs.behave((_, response) => json(response, status, { type: 'error', error: { type, message: 'Why.' } }))
    const error = await refusal(client.messages.create(asked))
    expect([error.constructor, error.type]).toEqual([kind, told])
  })

  test('in mid-stream is thrown, and what was said is charged by our own count', async () => {
    theirs.behave((_, response) => {
      openStream(response)
      response.end(overloaded)
    })
    const stream = client.messages.stream(asked)
    const error = await refusal(stream.finalMessage())
    expect([error.type, error.errorCode]).toEqual(['api_error', 'vendor_error'])
    const { outcome, source } = await booked(gateway, account, stream.request_id)
    expect([outcome, source]).toEqual(['incomplete', 'counted'])
  })

  test('on a path of the family that is not there is told in its words', async () => {
    const response = await fetch(`${gateway.url}/v1/messages/nothing`, { method: 'POST' })
    expect([response.status, await response.json()]).toMatchObject([
      404,
      { type: 'error', error: { type: 'not_found_error' } },
    ])
  })
})

describe('counting', () => {
  test('is the vendor’s own where it has a way', async () => {
    theirs.behave((_, response) => json(response, 200, { input_tokens: 42 }))
    expect(await client.messages.countTokens({ model: claude, messages: asked.messages })).toMatchObject({
      input_tokens: 42,
    })
    expect([theirs.calls[0]?.path, theirs.calls[0]?.body['model']]).toEqual([
      '/v1/messages/count_tokens',
      'claude-sonnet-4-5',
    ])
  })

  test('is ours where it has none', async () => {
    const counted = await client.messages.countTokens({ model: plain, messages: asked.messages })
    expect(counted.input_tokens).toBeGreaterThan(4)
  })
})

describe('the AI SDK', () => {
  const provider = () => createAnthropic({ baseURL: `${gateway.url}/v1`, apiKey: account.key })

  test('reads a whole answer of either family', async () => {
    others.behave(answerText('One two three', { prompt_tokens: 10, completion_tokens: 3 }))
    const [own, other] = await Promise.all([
      generateText({ model: provider()(claude), prompt: 'Which?' }),
      generateText({ model: provider()(plain), prompt: 'Which?' }),
    ])
    expect([own.text, own.reasoningText, own.finishReason, own.usage.outputTokens]).toEqual([
      'I will look.',
      thought,
      'tool-calls',
      40,
    ])
    expect([other.text, other.finishReason, other.usage.inputTokens]).toEqual(['One two three', 'stop', 10])
  })

  test('reads a stream of either family', async () => {
    others.behave(answerText('One two three', { prompt_tokens: 10, completion_tokens: 3 }))
    const [own, other] = [claude, plain].map((model) => streamText({ model: provider()(model), prompt: 'Which?' }))
    expect([await own?.text, await own?.reasoningText, await own?.finishReason]).toEqual([
      'I will look.',
      thought,
      'tool-calls',
    ])
    expect([await other?.text, await other?.finishReason]).toEqual(['One two three', 'stop'])
  })
})
