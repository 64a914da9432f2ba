import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { vendors } from '../../src/vendors/index.ts'
import type { Vendor } from '../../src/vendors/vendor.ts'
import { event, passing, translating } from './streams.ts'

const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'key', connectMs: 1 }
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function vendorNamed(id: string): Vendor {
  const vendor = vendors.get(id)
  if (!vendor) throw new Error(`no vendor ${id}`)
  return vendor
}

/** What a vendor is sent for a caller of chat, or of another dialect. */
function sent(id: string, body: JsonObject, dialect: Call['dialect'] = 'chat', stream = false) {
  const call: Call = { ...passing.call, dialect, body, inner: body, raw: encoder.encode(JSON.stringify(body)) }
  const request = vendorNamed(id).request(call, { vendor: id, model: 'm' }, access, stream)
  return { body: JSON.parse(decoder.decode(request.body)) as JsonObject, dropped: request.dropped ?? [] }
}

const user = { role: 'user', content: 'hi' }

describe('a request of the same dialect', () => {
  test.each([
    ['mistral', { seed: 7, max_completion_tokens: 5 }, { random_seed: 7, max_tokens: 5 }],
    ['deepseek', { max_completion_tokens: 5 }, { max_tokens: 5 }],
    ['mistral', { max_tokens: 3, max_completion_tokens: 5 }, { max_tokens: 3 }],
    ['groq', { n: 2, x_unknown: [1] }, { n: 2, x_unknown: [1] }],
  ])('to %s turns %j into %j', (id, given, expected) => {
    expect(sent(id, { model: 'a', ...given, messages: [user] }).body).toEqual({
      model: 'm',
      messages: [user],
      ...expected,
    })
  })

  test('asks for usage but where that is an error', () => {
    const options = ['openai', 'mistral', 'perplexity'].map((id) => {
      return sent(id, { model: 'a', messages: [user], stream: true }, 'chat', true).body['stream_options']
    })
    expect(options).toEqual([{ include_usage: true }, undefined, undefined])
  })

  const signed = { type: 'reasoning.text', text: 't', signature: 's', format: 'anthropic', index: 0 }
  const own = { type: 'reasoning.text', text: 't', format: 'unknown', index: 0 }
  const unsigned = { type: 'reasoning.text', text: 't', format: 'anthropic', index: 0 }
  const said = { role: 'assistant', content: 'c' }

  test.each([
    ['openai', { reasoning_content: 't', reasoning_details: [signed] }, {}],
    ['openrouter', { reasoning_details: [own, signed] }, { reasoning_details: [own] }],
    ['openrouter', { reasoning_details: [own] }, { reasoning_details: [own] }],
    ['deepseek', { reasoning_content: 't' }, { reasoning_content: 't' }],
    ['deepseek', { reasoning_details: [unsigned] }, { reasoning_content: 't' }],
    ['deepseek', { reasoning_content: 't', reasoning_details: [unsigned] }, { reasoning_content: 't' }],
    ['groq', { reasoning: 't' }, {}],
    ['mistral', { reasoning_content: 't', reasoning_details: [own] }, {}],
    ['vllm', { reasoning: 't' }, { reasoning: 't' }],
  ])('to %s has of the earlier thoughts %j only %j', (id, thoughts, kept) => {
    const { messages } = sent(id, { model: 'a', messages: [user, { ...said, ...thoughts }] }).body
    expect(messages).toEqual([user, { ...said, ...kept }])
  })
})

describe('a request of another dialect', () => {
  test.each([
    ['openai', { max_tokens: 9, top_k: 4, reasoning: { max_tokens: 3000 } }, {}, ['top_k', 'reasoning']],
    ['deepseek', { reasoning_effort: 'none' }, { thinking: { type: 'disabled' } }, []],
    ['qwen', { reasoning: { max_tokens: 3000 } }, { enable_thinking: true, thinking_budget: 3000 }, []],
    ['openrouter', { reasoning: { max_tokens: 3000 } }, { reasoning: { max_tokens: 3000 } }, []],
    ['openrouter', { top_k: 4 }, { top_k: 4 }, []],
    ['mistral', { seed: 3, user: 'u' }, { random_seed: 3 }, ['user']],
    ['vllm', { reasoning_effort: 'xhigh', top_k: 4 }, { reasoning_effort: 'high', top_k: 4 }, []],
    ['minimax', { reasoning_effort: 'low', made_up: 1 }, {}, ['made_up', 'reasoning_effort']],
  ])('to %s says %j as %j and leaves out %3$j', (id, given, expected, dropped) => {
    const { max_tokens: bound, ...rest } = given as JsonObject
    const request = sent(
      id,
      { model: 'a', messages: [user], ...rest, ...(bound !== undefined && { max_tokens: bound }) },
      'messages',
    )
    const limit: JsonObject = bound === undefined ? {} : { max_completion_tokens: bound }
    expect(request).toEqual({ body: { model: 'm', messages: [user], ...expected, ...limit }, dropped })
  })

  test('is refused for what the vendor has no words for', () => {
    expect(() => sent('groq', { model: 'a', messages: [user], n: 2 }, 'messages')).toThrow(/does not take "n"/)
    expect(() => sent('perplexity', { model: 'a', messages: [user], tools: [] }, 'messages')).toThrow(/"tools"/)
  })
})

function delta(more: JsonObject, choice: JsonObject = {}): Json {
  return { choices: [{ index: 0, delta: more, finish_reason: null, ...choice }] }
}

function passed(id: string, ...chunks: readonly Json[]): unknown[] {
  const read = vendorNamed(id).reader(passing)
  return chunks.map((chunk) => {
    const { repaired } = read(event(chunk))
    return repaired ? (JSON.parse(decoder.decode(repaired)) as unknown) : 'as it was'
  })
}

function told(id: string, ...chunks: readonly Json[]): unknown[] {
  const read = vendorNamed(id).reader({ ...translating, call: { ...translating.call, dialect: 'messages' } })
  return chunks.map((chunk) => {
    const [choice] = (read(event(chunk)).chunks?.[0]?.['choices'] ?? []) as readonly JsonObject[]
    return choice?.['delta']
  })
}

describe('a stream', () => {
  test('that is sound passes as it is', () => {
    const call = { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }
    const chunks = [delta({ role: 'assistant', content: '' }), delta({ tool_calls: [call] }), delta({ reasoning: 'r' })]
    expect(passed('openai', ...chunks)).toEqual(['as it was', 'as it was', 'as it was'])
  })

  test('has no role and no reason that is none', () => {
    const chunk = delta({ role: '', content: 'a' }, { finish_reason: '' })
    expect(passed('openai', chunk, delta({ role: null, content: 'a' }))).toEqual([
      delta({ content: 'a' }),
      delta({ content: 'a' }),
    ])
  })

  test('whose content is a list becomes one whose content is a text', () => {
    const content = [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }]
    expect(passed('mistral', delta({ content }), delta({ content: [{ type: 'text', text: 'a' }] }))).toEqual([
      delta({ content: '', reasoning_content: 'hm' }),
      delta({ content: 'a' }),
    ])
  })

  test('tells each choice its own tool calls', () => {
    const call = { id: 'a', function: { name: 'f', arguments: '{}' } }
    const chunk = { choices: [0, 1].map((index) => ({ index, delta: { tool_calls: [call] } })) }
    const fixed = { ...call, index: 0, type: 'function' }
    expect(passed('mistral', chunk)).toEqual([
      { choices: [0, 1].map((index) => ({ index, delta: { tool_calls: [fixed] } })) },
    ])
  })

  test('has its thoughts under one name for callers of other dialects', () => {
    expect(told('groq', delta({ reasoning: 'r' }), delta({ reasoning_content: 'r' }))).toEqual([
      { reasoning_content: 'r' },
      { reasoning_content: 'r' },
    ])
  })

  test('of a model that thinks in its text has thoughts and text apart, to the last character', () => {
    const end = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }
    const chunks = [delta({ role: 'assistant', content: '<th' }), delta({ content: 'ink>a</think>\n\nb' })]
    expect(told('minimax', ...chunks, delta({ content: 'c<' }), end)).toEqual([
      { role: 'assistant' },
      { reasoning_content: 'a', content: 'b' },
      { content: 'c<' },
      {},
    ])
    const none = delta({ content: '<think>a', tool_calls: [] })
    expect(told('vllm', none, delta({ content: '</think>b', tool_calls: [] }))).toEqual([
      { reasoning_content: 'a', tool_calls: [] },
      { content: 'b', tool_calls: [] },
    ])
    expect(told('minimax', delta({ content: '<thi' }), end)).toEqual([{}, { content: '<thi' }])
    expect(told('openai', delta({ content: '<think>' }))).toEqual([{ content: '<think>' }])
  })
})

test('a body whose content is a list, or whose calls have no type, is repaired', () => {
  const call = { id: 'a', function: { name: 'f', arguments: '{}' } }
  const content = [
    { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
    { type: 'text', text: 'b' },
  ]
  const body = { id: 'x', choices: [{ index: 0, message: { content, tool_calls: [call] }, finish_reason: 'stop' }] }
  expect(vendorNamed('mistral').reply(body, passing).repaired).toEqual({
    id: 'x',
    choices: [
      {
        index: 0,
        message: { content: 'b', reasoning_content: 'hm', tool_calls: [{ ...call, type: 'function' }] },
        finish_reason: 'stop',
      },
    ],
  })
  const sound = { choices: [{ index: 0, message: { content: 'b' }, finish_reason: 'stop' }] }
  expect(vendorNamed('mistral').reply(sound, passing).repaired).toBeUndefined()
})

test.each([
  ['zhipu', 429, { error: { code: '1113', message: 'In arrears.' } }, 'account'],
  ['zhipu', 429, { error: { code: '1302', message: 'High concurrency.' } }, 'busy'],
  ['zhipu', 400, { error: { code: '1301', message: 'Unsafe.' } }, 'caller'],
  ['moonshot', 429, { error: { type: 'exceeded_current_quota_error', message: 'Recharge.' } }, 'account'],
  ['moonshot', 429, { error: { type: 'engine_overloaded_error', message: 'Busy.' } }, 'busy'],
  ['xai', 400, { code: 'invalid-argument', error: 'Incorrect API key provided: xx***yy' }, 'account'],
  ['xai', 403, { code: 'x', error: 'Content violates usage guidelines.' }, 'caller'],
  ['mistral', 401, { detail: 'Invalid API Key' }, 'account'],
  ['openrouter', 402, { error: { message: 'Insufficient credits', code: 402 }, user_id: 'u' }, 'account'],
  ['openrouter', 404, { error: { message: 'No endpoints found for x', code: 404 } }, 'account'],
  ['cerebras', 401, { message: 'Wrong API Key', type: 'invalid_request_error', code: 'wrong_api_key' }, 'account'],
  [
    'vllm',
    400,
    { object: 'error', message: 'maximum context length is 10 tokens', type: 'BadRequestError', code: 400 },
    'caller',
  ],
  ['ollama', 404, { error: { message: 'model "x" not found, try pulling it first' } }, 'account'],
  ['siliconflow', 403, { code: 30001, message: 'balance insufficient', data: null }, 'account'],
  ['stepfun', 451, { error: { message: 'censored' } }, 'caller'],
  ['huggingface', 402, { error: 'You have exceeded your monthly included credits' }, 'account'],
  ['groq', 498, { error: { message: 'capacity' } }, 'busy'],
])('%s: status %i with %j is the fault of: %s', (id, status, body, fault) => {
  expect(vendorNamed(id).failure({ status, headers: {} }, encoder.encode(JSON.stringify(body))).fault).toBe(fault)
})

test('a failure that MiniMax puts into a good answer is one, and a status of 0 is none', () => {
  const { reply, reader } = vendorNamed('minimax')
  const failed = { base_resp: { status_code: 1008, status_msg: 'insufficient balance' }, choices: null }
  expect(reply(failed, passing).error).toMatchObject({ code: 'no_target_available' })
  expect(reader(passing)(event(failed)).error).toMatchObject({ code: 'no_target_available' })
  const good = { base_resp: { status_code: 0, status_msg: '' }, choices: [{ index: 0, delta: { content: 'a' } }] }
  expect(reader(passing)(event(good))).toEqual({ text: 'a', content: true })
})
