import { describe, expect, test } from 'vitest'
import { cohere } from '../../src/vendors/cohere.ts'
import { answerOf, nativeRequest } from './native.ts'
import { event, translating } from './streams.ts'

const user = { role: 'user', content: 'hi' }
const tools = ['f', 'g'].map((name) => ({ type: 'function', function: { name, parameters: { type: 'object' } } }))

describe('a request', () => {
  test('has its roles, its earlier calls, and thoughts of its own', () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }
    const details = [
      { type: 'reasoning.text', text: 'own', format: 'cohere', index: 0 },
      { type: 'reasoning.text', text: 'foreign', format: 'anthropic', index: 1 },
    ]
    const messages = [
      { role: 'developer', content: 'be brief' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'see' },
          { type: 'image_url', image_url: { url: 'https://a/b' } },
        ],
      },
      { role: 'assistant', content: null, tool_calls: [call], tool_plan: 'plan', reasoning_details: details },
      { role: 'tool', tool_call_id: 'c', content: [{ type: 'text', text: 'r' }] },
    ]
    expect(nativeRequest(cohere, { messages }, { model: 'command-a', stream: true })).toMatchObject({
      url: 'https://vendor.test/v2/chat',
      body: {
        model: 'command-a',
        stream: true,
        messages: [
          { role: 'system', content: 'be brief' },
          {
            role: 'user',
            content: [
              { type: 'text', text: 'see' },
              { type: 'image_url', image_url: { url: 'https://a/b' } },
            ],
          },
          {
            role: 'assistant',
            content: [{ type: 'thinking', thinking: 'own' }],
            tool_calls: [call],
            tool_plan: 'plan',
          },
          { role: 'tool', tool_call_id: 'c', content: 'r' },
        ],
      },
    })
  })

  test.each([
    [
      { max_tokens: 3, top_p: 0.1, top_k: 2, stop: ['x'], seed: 4 },
      { max_tokens: 3, p: 0.1, k: 2, stop_sequences: ['x'], seed: 4 },
    ],
    [{ tools, tool_choice: 'auto' }, { tools }],
    [
      { tools, tool_choice: 'none' },
      { tools, tool_choice: 'NONE' },
    ],
    [
      { tools, tool_choice: { type: 'function', function: { name: 'g' } } },
      { tools: tools.slice(1), tool_choice: 'REQUIRED' },
    ],
    [{ reasoning_effort: 'none' }, { thinking: { type: 'disabled' } }],
    [{ reasoning: { max_tokens: 500 } }, { thinking: { type: 'enabled', token_budget: 500 } }],
    [{ response_format: { type: 'json_object' } }, { response_format: { type: 'json_object' } }],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' } } } },
      { response_format: { type: 'json_object', json_schema: { type: 'object' } } },
    ],
  ])('says %j as %j', (inner, expected) => {
    expect(nativeRequest(cohere, { messages: [user], ...inner }).body).toEqual({
      model: 'm',
      messages: [user],
      stream: false,
      ...expected,
    })
  })

  test.each([
    [{ n: 2 }, 'n'],
    [{ functions: [] }, 'functions'],
    [{ tools, tool_choice: { type: 'function', function: { name: 'x' } } }, 'tool_choice'],
    [{ messages: [{ role: 'user', content: [{ type: 'file', file: {} }] }] }, 'messages'],
  ])('%j is refused by name', (inner, param) => {
    const send = () => nativeRequest(cohere, { messages: [user], ...inner })
    expect(send).toThrow(expect.objectContaining({ code: 'invalid_value', param }))
  })
})

const said = (type: string, more: object, index?: number) =>
  event({ type, ...(index !== undefined && { index }), delta: { message: more } })
const end = (finish: string, usage: unknown) => event({ type: 'message-end', delta: { finish_reason: finish, usage } })
const tokens = { tokens: { input_tokens: 10, output_tokens: 4, reasoning_tokens: 1 }, cached_tokens: 6 }

test('a stream becomes thoughts, text, citations, tool calls and an end', () => {
  const sources = [
    { type: 'document', document: { url: 'https://a', title: 'T' } },
    { type: 'tool', id: 'x' },
  ]
  const { pieces, message, finish } = answerOf(cohere, [
    event({ type: 'message-start', id: 'i', delta: { message: { role: 'assistant' } } }),
    said('content-start', { content: { type: 'thinking', thinking: '' } }, 0),
    said('content-delta', { content: { thinking: 'hm' } }, 0),
    said('content-delta', { content: { text: 'ok' } }, 1),
    said('citation-start', { citations: { start: 0, end: 2, sources } }, 0),
    said('tool-plan-delta', { tool_plan: 'plan' }),
    said('tool-call-start', { tool_calls: { id: 'c', type: 'function', function: { name: 'f', arguments: '' } } }, 0),
    said('tool-call-delta', { tool_calls: { function: { arguments: '{"a":1}' } } }, 0),
    event({ type: 'tool-call-end', index: 0 }),
    said('tool-call-start', { tool_calls: { id: 'd', type: 'function', function: { name: 'g', arguments: '' } } }, 1),
    event({ type: 'tool-call-end', index: 1 }),
    end('TOOL_CALL', tokens),
  ])
  expect(message).toEqual({
    role: 'assistant',
    content: 'ok',
    reasoning_content: 'hm',
    reasoning_details: [{ type: 'reasoning.text', text: 'hm', format: 'cohere', index: 0 }],
    annotations: [
      { type: 'url_citation', url_citation: { url: 'https://a', title: 'T', start_index: 0, end_index: 2 } },
    ],
    tool_plan: 'plan',
    tool_calls: [
      { id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":1}' } },
      { id: 'd', type: 'function', function: { name: 'g', arguments: '{}' } },
    ],
  })
  expect(finish).toBe('tool_calls')
  expect(pieces.at(-1)).toMatchObject({
    finish: 'TOOL_CALL',
    last: true,
    usage: { counts: { input: 4, cached_input: 6, output: 3, reasoning: 1 }, anomalies: [] },
  })
})

test('an end in error is an error, with what was used', () => {
  const { pieces } = answerOf(cohere, [said('content-delta', { content: { text: 'a' } }, 0), end('ERROR', tokens)])
  expect(pieces.at(-1)).toMatchObject({ error: { code: 'vendor_error' }, usage: { counts: { input: 4 } } })
})

test('image tokens beside the input are flagged', () => {
  const usage = { tokens: { input_tokens: 34, output_tokens: 70, image_tokens: 259 } }
  const body = {
    message: { role: 'assistant', content: [{ type: 'text', text: 'a' }] },
    finish_reason: 'COMPLETE',
    usage,
  }
  expect(cohere.reply(body, translating).usage).toEqual({
    counts: { input: 34, output: 70 },
    anomalies: ['image_outside_input'],
  })
})
