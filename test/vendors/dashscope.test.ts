import { describe, expect, test } from 'vitest'
import type { Call, Json } from '../../src/core/call.ts'
import { dashscope } from '../../src/vendors/dashscope.ts'
import { answerOf, nativeRequest } from './native.ts'
import { event, translating } from './streams.ts'

const user = { role: 'user', content: 'hi' }

describe('a request', () => {
  test('for texts goes to text-generation, with its parameters apart', () => {
    const inner = { messages: [{ role: 'developer', content: 's' }, user], max_tokens: 3, stop: 'x', n: 1, user: 'u' }
    const { url, headers, body, dropped } = nativeRequest(dashscope, inner, { model: 'qwen-plus', stream: true })
    expect(url).toBe('https://vendor.test/services/aigc/text-generation/generation')
    expect(headers['x-dashscope-sse']).toBe('enable')
    expect(body).toEqual({
      model: 'qwen-plus',
      input: { messages: [{ role: 'system', content: 's' }, user] },
      parameters: { max_tokens: 3, stop: ['x'], result_format: 'message', incremental_output: true },
    })
    expect(dropped).toEqual(['user'])
  })

  test.each([
    ['qwen-vl-max', 'hi'],
    ['qwen3.6-plus', 'hi'],
    ['qwen-plus', [{ type: 'image_url', image_url: { url: 'https://a/b.png' } }]],
  ])('of %s with %j goes to multimodal-generation', (model, content) => {
    const { url, headers, body } = nativeRequest(dashscope, { messages: [{ role: 'user', content }] }, { model })
    const parts = typeof content === 'string' ? [{ text: 'hi' }] : [{ image: 'https://a/b.png' }]
    expect(url).toBe('https://vendor.test/services/aigc/multimodal-generation/generation')
    expect(headers['x-dashscope-sse']).toBeUndefined()
    expect(body['input']).toEqual({ messages: [{ role: 'user', content: parts }] })
  })

  test('has sound and film by their kinds', () => {
    const content = [
      { type: 'input_audio', input_audio: { data: 'AA', format: 'mp3' } },
      { type: 'video_url', video_url: { url: 'https://a/v.mp4' } },
      { type: 'text', text: 't' },
    ]
    const { body } = nativeRequest(dashscope, { messages: [{ role: 'user', content }] }, { model: 'qwen-omni' })
    expect(body['input']).toEqual({
      messages: [
        { role: 'user', content: [{ audio: 'data:audio/mp3;base64,AA' }, { video: 'https://a/v.mp4' }, { text: 't' }] },
      ],
    })
  })

  test.each([
    [{ reasoning_effort: 'none' }, { enable_thinking: false }, false],
    [{ reasoning: { max_tokens: 100 } }, { enable_thinking: true, thinking_budget: 100 }, true],
    [{ enable_thinking: true }, { enable_thinking: true }, true],
    [{}, {}, false],
  ])('with %j asks for %j; only in streams: %j', (inner, expected, only) => {
    const call: Call = { ...translating.call, inner: { messages: [user], ...inner } }
    expect(nativeRequest(dashscope, call.inner).body['parameters']).toEqual({
      ...expected,
      result_format: 'message',
      incremental_output: false,
    })
    expect(dashscope.streamOnly?.(call, { vendor: 'dashscope', model: 'm' })).toBe(only)
  })

  test('for two answers is refused', () => {
    expect(() => nativeRequest(dashscope, { messages: [user], n: 2 })).toThrow(expect.objectContaining({ param: 'n' }))
  })
})

const said = (message: object, finish: string, usage: object) =>
  event(
    { output: { choices: [{ message: { role: 'assistant', ...message }, finish_reason: finish }] }, usage },
    'result',
  )

test('a stream becomes thoughts, text and tool calls; its usage grows and is not added up', () => {
  const call = (more: object) => [{ index: 0, type: 'function', ...more }]
  const { pieces, message, finish } = answerOf(dashscope, [
    said({ content: '', reasoning_content: 'hm' }, 'null', { input_tokens: 5, output_tokens: 1 }),
    said({ content: [{ text: 'ok' }] }, 'null', { input_tokens: 5, output_tokens: 2 }),
    said({ content: '', tool_calls: call({ id: 'c', function: { name: 'f', arguments: '{"a"' } }) }, 'null', {}),
    said({ content: '', tool_calls: call({ id: '', function: { arguments: ':1}' } }) }, 'tool_calls', {
      input_tokens: 5,
      output_tokens: 9,
      output_tokens_details: { reasoning_tokens: 4 },
      plugins: { search: { count: 2 } },
    }),
  ])
  expect({ message, finish }).toEqual({
    finish: 'tool_calls',
    message: {
      role: 'assistant',
      content: 'ok',
      reasoning_content: 'hm',
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    },
  })
  expect(pieces.at(-1)).toMatchObject({
    whole: true,
    finish: 'tool_calls',
    usage: { counts: { input: 5, output: 5, reasoning: 4, search: 2 } },
  })
})

test('an answer in the older form of a text is read too', () => {
  const body = { output: { text: 'a', finish_reason: 'stop' }, usage: { input_tokens: 1, output_tokens: 2 } }
  const { text, usage, inner } = dashscope.reply(body, translating)
  expect({ text, counts: usage?.counts, choices: inner?.['choices'] }).toEqual({
    text: 'a',
    counts: { input: 1, output: 2 },
    choices: [{ index: 0, message: { role: 'assistant', content: 'a' }, finish_reason: 'stop' }],
  })
})

test.each([
  ['Arrearage', 'no_target_available'],
  ['Throttling.RateQuota', 'vendor_busy'],
  ['DataInspectionFailed', 'content_policy'],
  ['InvalidParameter', 'vendor_refused'],
  ['InternalError', 'vendor_error'],
])('an event that is the error %s breaks the stream off as %s', (code, expected) => {
  const read = dashscope.reader(translating)
  expect(read(event({ code, message: 'No.', request_id: 'r' }, 'error')).error?.code).toBe(expected)
})

describe('an app', () => {
  test('is asked at its own address, without a model', () => {
    const { url, body } = nativeRequest(
      dashscope,
      { messages: [{ role: 'user', content: 'hi' }] },
      { model: 'apps/a1' },
    )
    expect([url, body]).toEqual([
      'https://vendor.test/apps/a1/completion',
      {
        input: { messages: [{ role: 'user', content: 'hi' }] },
        parameters: { result_format: 'message', incremental_output: false },
      },
    ])
  })

  test('has used what all its models have', () => {
    const models = [
      { model_id: 'a', input_tokens: 3, output_tokens: 1 },
      { model_id: 'b', input_tokens: 4, output_tokens: 2 },
    ]
    const { text, usage } = dashscope.reply(
      { output: { text: 'ok', finish_reason: 'stop' }, usage: { models } },
      translating,
    )
    expect([text, usage?.counts]).toEqual(['ok', { input: 7, output: 3 }])
  })
})

test('texts are counted by the vendor, and nothing else is', () => {
  const access = { baseUrl: 'https://vendor.test', apiKey: 'key', connectMs: 1 }
  const counted = (content: Json) => {
    const inner = { messages: [{ role: 'user', content }] }
    const call = { ...translating.call, body: inner, inner }
    const request = dashscope.counting?.request(call, { vendor: 'dashscope', model: 'qwen-max' }, access)
    return [request?.url, JSON.parse(new TextDecoder().decode(request?.body))]
  }
  expect(counted('hi')).toEqual([
    'https://vendor.test/tokenizer',
    { model: 'qwen-max', input: { messages: [{ role: 'user', content: 'hi' }] } },
  ])
  expect(() => counted([{ type: 'image_url', image_url: { url: 'https://a.test/b.png' } }])).toThrow('where it counts')
  expect(dashscope.counting?.tokens({ usage: { input_tokens: 3 } })).toBe(3)
})
