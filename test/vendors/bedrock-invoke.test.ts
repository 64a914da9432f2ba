import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { exceptionMark } from '../../src/core/frame-events.ts'
import { bedrockInvoke } from '../../src/vendors/bedrock-invoke.ts'
import { eventFrame, exceptionFrame } from './frames.ts'
import { answerOf, nativeRequest } from './native.ts'
import { passing } from './streams.ts'

const claude = 'anthropic.claude-sonnet-4-5-20250929-v1:0'
const access = { baseUrl: 'https://vendor.test', apiKey: 'key', connectMs: 1 }
const type = 'application/vnd.amazon.eventstream'
const decoder = new TextDecoder()

function messagesCall(text: string, headers: Readonly<Record<string, string>> = {}): Call {
  const body = JSON.parse(text) as JsonObject
  return { ...passing.call, dialect: 'messages', raw: new TextEncoder().encode(text), body, inner: body, headers }
}

function sent(text: string, { stream = false, headers = {} } = {}) {
  const target = { vendor: 'bedrock-invoke', model: claude }
  const request = bedrockInvoke.request(messagesCall(text, headers), target, access, stream)
  return { ...request, body: decoder.decode(request.body) }
}

function frameOf(event: JsonObject): Uint8Array {
  return eventFrame('chunk', { bytes: Buffer.from(JSON.stringify(event)).toString('base64'), p: 'abc' })
}

function read(bytes: Uint8Array) {
  const parser = bedrockInvoke.parser?.(type)
  return parser ? [...parser.push(bytes), ...parser.end()] : []
}

describe('a request', () => {
  test('passes byte for byte but for what the path and a member say in place of others', () => {
    const text = '{"model":"a","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"h\\u0069"}],"x":1.0}'
    const { url, body, headers } = sent(text, { stream: true })
    expect({ url, body, accept: headers['accept'], key: headers['authorization'] }).toEqual({
      url: 'https://vendor.test/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream',
      body: '{"max_tokens":5,"messages":[{"role":"user","content":"h\\u0069"}],"x":1.0,"anthropic_version":"bedrock-2023-05-31"}',
      accept: type,
      key: 'Bearer key',
    })
  })

  test('tells what is tried as a member, not as a header', () => {
    const { body, headers } = sent('{"messages":[]}', { headers: { 'anthropic-beta': 'one, two' } })
    expect({ body: JSON.parse(body) as JsonObject, header: headers['anthropic-beta'] }).toEqual({
      body: { messages: [], anthropic_version: 'bedrock-2023-05-31', anthropic_beta: ['one', 'two'] },
      header: undefined,
    })
  })

  test('of another dialect is translated', () => {
    const inner = { messages: [{ role: 'user', content: 'hi' }], max_tokens: 9, seed: 1 }
    const { url, body, dropped } = nativeRequest(bedrockInvoke, inner, { model: claude })
    expect({ path: url.split('/').at(-1), body, dropped }).toEqual({
      path: 'invoke',
      body: {
        max_tokens: 9,
        messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }],
        anthropic_version: 'bedrock-2023-05-31',
      },
      dropped: ['seed'],
    })
  })

  test('to count has a whole request in base64', () => {
    const target = { vendor: 'bedrock-invoke', model: claude }
    const request = bedrockInvoke.counting?.request(messagesCall('{"model":"a","messages":[]}'), target, access)
    const { input } = JSON.parse(decoder.decode(request?.body)) as { input: { invokeModel: { body: string } } }
    expect([request?.url.split('/').at(-1), Buffer.from(input.invokeModel.body, 'base64').toString()]).toEqual([
      'count-tokens',
      '{"messages":[],"anthropic_version":"bedrock-2023-05-31","max_tokens":1}',
    ])
    expect([{ inputTokens: 7 }, { inputTokens: -1 }, {}].map((body) => bedrockInvoke.counting?.tokens(body))).toEqual([
      7,
      undefined,
      undefined,
    ])
  })
})

describe('a stream', () => {
  test('has the events of Anthropic in its frames', () => {
    const events = [
      { type: 'message_start', message: { model: 'claude', usage: { input_tokens: 3, output_tokens: 1 } } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Olá' } },
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 4 } },
      { type: 'message_stop' },
    ]
    const { pieces, message, finish } = answerOf(bedrockInvoke, read(Buffer.concat(events.map(frameOf))))
    expect({ message, finish, counts: pieces.findLast(({ usage }) => usage)?.usage?.counts }).toEqual({
      message: { role: 'assistant', content: 'Olá' },
      finish: 'stop',
      counts: { input: 3, output: 4 },
    })
  })

  test('may end in an exception', () => {
    const [event] = read(exceptionFrame('throttlingException', { message: 'Slow down' }))
    const piece = event && bedrockInvoke.reader(passing)(event)
    expect([event?.name, piece?.error?.code]).toEqual([`${exceptionMark}throttlingException`, 'vendor_busy'])
  })

  test('with a frame that is no base64 is the vendor’s fault', () => {
    expect(() => read(eventFrame('chunk', { bytes: '*' }))).toThrow('The vendor sent a frame that is no base64.')
  })
})
