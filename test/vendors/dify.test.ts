import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { dify } from '../../src/vendors/dify.ts'
import { answerOf, nativeRequest } from './native.ts'
import { event, translating } from './streams.ts'

const user = { role: 'user', content: 'hi' }
const ids = { message_id: 'm', conversation_id: 'c' }

function asked(model: string, inner: JsonObject) {
  const { url, body } = nativeRequest(dify, inner, { model, stream: true })
  return { path: new URL(url).pathname, body }
}

function refusal(inner: JsonObject): unknown {
  try {
    return nativeRequest(dify, inner).body
  } catch (error) {
    return error instanceof GatewayError ? [error.code, error.param] : error
  }
}

describe('a request', () => {
  test.each([
    ['chat-messages', '/chat-messages', { query: 'hi', inputs: {} }],
    ['my-bot', '/chat-messages', { query: 'hi', inputs: {} }],
    ['completion-messages/letters', '/completion-messages', { inputs: { query: 'hi' } }],
    ['workflows-run', '/workflows/run', { inputs: { query: 'hi' } }],
  ])('for %s goes to %s', (model, path, words) => {
    expect(asked(model, { messages: [user] })).toEqual({
      path,
      body: { ...words, response_mode: 'streaming', user: 'caller' },
    })
  })

  test('has the inputs, the user and the images of its caller', () => {
    const url = 'https://images.test/a.png'
    const content = [
      { type: 'text', text: 'look' },
      { type: 'image_url', image_url: { url } },
    ]
    const messages = [{ role: 'user', content }]
    expect(asked('chat-messages', { messages, inputs: { city: 'Rome' }, user: 'u' }).body).toEqual({
      query: 'look',
      inputs: { city: 'Rome' },
      files: [{ type: 'image', transfer_method: 'remote_url', url }],
      response_mode: 'streaming',
      user: 'u',
    })
  })

  test('tells a conversation with its speakers', () => {
    const messages = [{ role: 'system', content: 'Be brief.' }, user, { role: 'assistant', content: 'yes?' }, user]
    expect(asked('chat-messages', { messages }).body['query']).toBe(
      'system: Be brief.\n\nuser: hi\n\nassistant: yes?\n\nuser: hi',
    )
  })

  test('for what an app cannot be asked for is refused', () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    expect([
      refusal({ messages: [user], tools: [] }),
      refusal({ messages: [user], n: 2 }),
      refusal({ messages: [{ role: 'user', content: [image] }] }),
    ]).toEqual([
      ['invalid_value', 'tools'],
      ['invalid_value', 'n'],
      ['invalid_value', 'messages'],
    ])
  })
})

describe('a stream', () => {
  test('of a chat ends with its message, and the workflow behind it does not end it', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_price: '0.0000125', currency: 'USD' }
    const { pieces, message, finish } = answerOf(dify, [
      event({ event: 'agent_thought', thought: 'hm', ...ids }),
      event({ event: 'message', answer: 'a', ...ids }),
      event({ event: 'agent_message', answer: 'b', ...ids }),
      event({ event: 'workflow_finished', data: { status: 'succeeded', outputs: { answer: 'ab' } }, ...ids }),
      event({ event: 'message_end', metadata: { usage }, ...ids }),
    ])
    expect({ message, finish, end: pieces.map(({ last }) => last === true), usage: pieces.at(-1)?.usage }).toEqual({
      message: { role: 'assistant', content: 'ab' },
      finish: 'stop',
      end: [false, false, false, false, true],
      usage: { counts: { input: 3, output: 2 }, anomalies: [], reportedCost: 12_500n },
    })
  })

  test.each([
    ['what it has said', ['Bon', 'jour'], 'Bonjour'],
    ['its one output where it has said nothing', [], 'Salut'],
  ])('of a workflow is %s', (_, texts, content) => {
    const { message, finish } = answerOf(dify, [
      ...texts.map((text) => event({ event: 'text_chunk', data: { text } })),
      event({ event: 'workflow_finished', data: { status: 'succeeded', outputs: { result: 'Salut' } } }),
    ])
    expect({ message, finish }).toEqual({ message: { role: 'assistant', content }, finish: 'stop' })
  })

  test.each([
    [{ event: 'error', status: 429, code: 'too_many_requests', message: 'Slow' }, 'vendor_busy'],
    [{ event: 'workflow_finished', data: { status: 'failed', error: 'It broke' } }, 'vendor_error'],
    [{ event: 'workflow_paused', data: {} }, 'vendor_error'],
  ])('with %j breaks off', (payload, code) => {
    expect(dify.reader(translating)(event(payload)).error?.code).toBe(code)
  })
})

describe('a whole answer', () => {
  test('of a workflow with several outputs names them', () => {
    const outputs = { a: 'x', b: 1 }
    const { text, error } = dify.reply({ data: { status: 'succeeded', outputs } }, translating)
    expect({ text, error }).toEqual({ text: '{"a":"x","b":1}', error: undefined })
  })

  test('that is none is the vendor’s fault', () => {
    expect(dify.reply({}, translating).error?.code).toBe('vendor_error')
  })
})

test.each([
  [400, 'provider_quota_exceeded', 'account'],
  [400, 'not_chat_app', 'account'],
  [400, 'invalid_param', 'caller'],
  [429, 'too_many_requests', 'busy'],
  [500, 'internal_server_error', 'down'],
])('a refusal with %i and %s is the fault of %s', (status, code, fault) => {
  const body = new TextEncoder().encode(JSON.stringify({ status, code, message: 'No.' }))
  expect(dify.failure({ status, headers: {} }, body).fault).toBe(fault)
})
