import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { ollama } from '../../src/vendors/ollama.ts'
import { answerOf, nativeRequest } from './native.ts'
import { event, translating } from './streams.ts'

const user = { role: 'user', content: 'hi' }
const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }]

describe('a request', () => {
  test('has arguments as objects, results by the name of their function, and images without their heads', () => {
    const messages = [
      { role: 'developer', content: 'be brief' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'see' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } },
        ],
      },
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
      },
      { role: 'tool', tool_call_id: 'c', content: 'r' },
    ]
    expect(nativeRequest(ollama, { messages, tools }, { stream: true })).toMatchObject({
      url: 'https://vendor.test/api/chat',
      headers: { accept: 'application/x-ndjson' },
      body: {
        model: 'm',
        stream: true,
        tools,
        messages: [
          { role: 'system', content: 'be brief' },
          { role: 'user', content: 'see', images: ['AA'] },
          { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }] },
          { role: 'tool', content: 'r', tool_name: 'f' },
        ],
      },
    })
  })

  test.each([
    [
      { max_tokens: 3, temperature: 0, stop: 'x', seed: 4, options: { num_ctx: 8192 } },
      { options: { num_ctx: 8192, temperature: 0, seed: 4, num_predict: 3, stop: ['x'] } },
    ],
    [{ tools, tool_choice: 'auto' }, { tools }],
    [{ tools, tool_choice: 'none' }, {}],
    [{ reasoning_effort: 'none' }, { think: false }],
    [{ reasoning_effort: 'high' }, { think: 'high' }],
    [{ reasoning_effort: 'minimal' }, { think: true }],
    [{ response_format: { type: 'json_object' } }, { format: 'json' }],
    [
      { response_format: { type: 'json_schema', json_schema: { schema: { type: 'object' } } } },
      { format: { type: 'object' } },
    ],
    [{ keep_alive: '5m' }, { keep_alive: '5m' }],
  ])('says %j as %j', (inner, expected) => {
    const request = nativeRequest(ollama, { messages: [user], ...inner })
    expect(request.body).toEqual({ model: 'm', messages: [user], stream: false, ...expected })
    expect(request.dropped).toEqual([])
  })

  test.each([
    [{ n: 2 }, 'n'],
    [{ tools, tool_choice: 'required' }, 'tool_choice'],
    [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a/b' } }] }] }, 'messages'],
  ])('%j is refused by name', (inner, param) => {
    const send = () => nativeRequest(ollama, { messages: [user], ...inner })
    expect(send).toThrow(expect.objectContaining({ code: 'invalid_value', param }))
  })
})

test('a stream becomes thoughts, text and whole tool calls, and ends with tool_calls although it says stop', () => {
  const call = (name: string, index?: number) => ({
    function: { ...(index !== undefined && { index }), name, arguments: { a: 1 } },
  })
  const { pieces, message, finish } = answerOf(ollama, [
    event({ model: 'q', message: { role: 'assistant', content: '', thinking: 'hm' }, done: false }),
    event({ model: 'q', message: { role: 'assistant', content: 'ok' }, done: false }),
    event({
      model: 'q',
      message: { role: 'assistant', content: '', tool_calls: [{ id: 'c', ...call('f', 0) }] },
      done: false,
    }),
    event({ model: 'q', message: { role: 'assistant', content: '', tool_calls: [call('g', 1)] }, done: false }),
    event({
      model: 'q',
      message: { content: '' },
      done: true,
      done_reason: 'stop',
      prompt_eval_count: 7,
      eval_count: 9,
    }),
  ])
  const told = (id: string, name: string) => ({ id, type: 'function', function: { name, arguments: '{"a":1}' } })
  expect({ message, finish }).toEqual({
    finish: 'tool_calls',
    message: {
      role: 'assistant',
      content: 'ok',
      reasoning_content: 'hm',
      tool_calls: [told('c', 'f'), told('call_1_g', 'g')],
    },
  })
  expect(pieces.at(-1)).toMatchObject({
    finish: 'stop',
    last: true,
    servedModel: 'q',
    usage: { counts: { input: 7, output: 9 } },
  })
})

test('without the count of a prompt that was in memory, only the answer is counted', () => {
  const body = { message: { content: 'a' }, done: true, done_reason: 'length', eval_count: 9 }
  const { usage, inner } = ollama.reply(body, translating)
  expect(usage?.counts).toEqual({ output: 9 })
  expect(inner?.['choices']).toEqual([
    { index: 0, message: { role: 'assistant', content: 'a' }, finish_reason: 'length' },
  ])
})

test.each([
  [404, { error: "model 'x' not found" }, 'account'],
  [400, { error: 'the input length exceeds the context length' }, 'caller'],
  [503, { error: 'server busy, please try again.  maximum pending requests exceeded' }, 'down'],
  [500, { error: 'llama runner process has terminated' }, 'down'],
])('status %i with %j is the fault of: %s', (status, body, fault) => {
  const bytes = new TextEncoder().encode(JSON.stringify(body))
  expect(ollama.failure({ status, headers: {} }, bytes).fault).toBe(fault)
})

test('a line that is an error breaks the stream off', () => {
  expect(ollama.reader(translating)(event({ error: 'an error was encountered' })).error?.code).toBe('vendor_error')
})

describe('callers of completions', () => {
  test('have their prompt completed', () => {
    const inner: JsonObject = { messages: [{ role: 'user', content: 'Once' }], max_tokens: 5 }
    const call: Call = { ...translating.call, dialect: 'completions', body: inner, inner }
    const access = { baseUrl: 'https://vendor.test', apiKey: '', connectMs: 1 }
    const { url, body } = ollama.request(call, { vendor: 'ollama', model: 'm' }, access, true)
    expect([url, JSON.parse(new TextDecoder().decode(body))]).toEqual([
      'https://vendor.test/api/generate',
      { model: 'm', prompt: 'Once', stream: true, options: { num_predict: 5 } },
    ])
  })

  test('get what completes it', () => {
    const events = [
      { response: ' upon', done: false },
      { response: ' a time', done: false },
      { response: '', done: true },
    ]
    const { message } = answerOf(
      ollama,
      events.map((each) => event(each)),
    )
    const { text } = ollama.reply({ response: ' upon', done: true, done_reason: 'stop' }, translating)
    expect([message, text]).toEqual([{ role: 'assistant', content: ' upon a time' }, ' upon'])
  })
})
