import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { createFrameParser } from '../../src/core/frame-events.ts'
import { bedrock } from '../../src/vendors/bedrock.ts'
import { eventFrame, exceptionFrame } from './frames.ts'
import { answerOf, nativeRequest } from './native.ts'
import { translating } from './streams.ts'

const claude = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
const user = { role: 'user', content: 'hi' }
const tool = { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' } } }
const png = 'data:image/png;base64,AAAA'

function body(inner: JsonObject, model = claude): JsonObject {
  return nativeRequest(bedrock, { messages: [user], ...inner }, { model }).body
}

describe('a request', () => {
  test('goes to the model in the path, with the key as a bearer token', () => {
    const { url, headers } = nativeRequest(bedrock, { messages: [user] }, { model: claude, stream: true })
    expect(url).toBe(`https://vendor.test/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream`)
    expect(headers).toMatchObject({ authorization: 'Bearer key', accept: 'application/vnd.amazon.eventstream' })
  })

  test('has system messages apart, alternating roles, and all results of tools in one turn', () => {
    const calls = ['a', 'b'].map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{"x":1}' } }))
    const messages = [
      { role: 'system', content: 'one' },
      { role: 'developer', content: [{ type: 'text', text: 'two', cache_control: { type: 'ephemeral' } }] },
      user,
      { role: 'assistant', content: 'calling', tool_calls: calls },
      { role: 'tool', tool_call_id: 'a', content: 'ra' },
      { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'rb' }], is_error: true },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'and' },
          { type: 'text', text: ' ' },
        ],
      },
    ]
    const toolUse = (toolUseId: string) => ({ toolUse: { toolUseId, name: 'f', input: { x: 1 } } })
    expect(body({ messages })).toEqual({
      system: [{ text: 'one' }, { text: 'two' }, { cachePoint: { type: 'default' } }],
      messages: [
        { role: 'user', content: [{ text: 'hi' }] },
        { role: 'assistant', content: [{ text: 'calling' }, toolUse('a'), toolUse('b')] },
        {
          role: 'user',
          content: [
            { toolResult: { toolUseId: 'a', content: [{ text: 'ra' }] } },
            { toolResult: { toolUseId: 'b', content: [{ text: 'rb' }], status: 'error' } },
            { text: 'and' },
          ],
        },
      ],
      inferenceConfig: {},
    })
  })

  test('sends signed thoughts of its family back, and no others', () => {
    const details = [
      { type: 'reasoning.text', text: 'own', signature: 's', format: 'anthropic', index: 0 },
      { type: 'reasoning.encrypted', data: 'ZGF0YQ==', format: 'anthropic', index: 1 },
      { type: 'reasoning.text', text: 'unsigned', format: 'anthropic', index: 2 },
      { type: 'reasoning.encrypted', data: 'foreign', format: 'gemini', index: 3 },
    ]
    const messages = [user, { role: 'assistant', content: 'c', reasoning_content: 'own', reasoning_details: details }]
    expect(body({ messages })['messages']).toEqual([
      { role: 'user', content: [{ text: 'hi' }] },
      {
        role: 'assistant',
        content: [
          { reasoningContent: { reasoningText: { text: 'own', signature: 's' } } },
          { reasoningContent: { redactedContent: 'ZGF0YQ==' } },
          { text: 'c' },
        ],
      },
    ])
  })

  test('sends images and documents that came with it', () => {
    const content = [
      { type: 'image_url', image_url: { url: png } },
      { type: 'file', file: { filename: 'a;b.pdf', file_data: 'data:application/pdf;base64,BBBB' } },
    ]
    expect(body({ messages: [{ role: 'user', content }] })['messages']).toEqual([
      {
        role: 'user',
        content: [
          { image: { format: 'png', source: { bytes: 'AAAA' } } },
          { document: { format: 'pdf', name: 'document 1', source: { bytes: 'BBBB' } } },
        ],
      },
    ])
  })

  test.each([
    [
      { max_completion_tokens: 9, temperature: 1.5, top_p: 0.5, stop: 'x' },
      { inferenceConfig: { maxTokens: 9, temperature: 1, topP: 0.5, stopSequences: ['x'] } },
    ],
    [
      { tools: [tool], tool_choice: 'required' },
      {
        toolConfig: {
          tools: [{ toolSpec: { name: 'f', description: 'd', inputSchema: { json: { type: 'object' } } } }],
          toolChoice: { any: {} },
        },
      },
    ],
    [{ tools: [tool], tool_choice: 'none' }, {}],
    [
      { top_k: 3, reasoning_effort: 'low' },
      { additionalModelRequestFields: { top_k: 3, thinking: { type: 'enabled', budget_tokens: 1638 } } },
    ],
    [
      { max_tokens: 2000, reasoning: { max_tokens: 9000 } },
      {
        inferenceConfig: { maxTokens: 2000 },
        additionalModelRequestFields: { thinking: { type: 'enabled', budget_tokens: 1999 } },
      },
    ],
    [{ metadata: { a: 'b', c: 1 } }, { requestMetadata: { a: 'b' } }],
    [
      { response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' } } } },
      {
        outputConfig: {
          textFormat: { type: 'json_schema', structure: { jsonSchema: { name: 'n', schema: '{"type":"object"}' } } },
        },
      },
    ],
  ])('says %j in its own words', (inner, expected) => {
    expect(body(inner)).toEqual({
      messages: [{ role: 'user', content: [{ text: 'hi' }] }],
      inferenceConfig: {},
      ...expected,
    })
  })

  test('names what it leaves out', () => {
    const inner = { messages: [user], seed: 1, top_k: 3, reasoning_effort: 'low', made_up: 1 }
    expect(nativeRequest(bedrock, inner, { model: 'amazon.nova-lite-v1:0' }).dropped).toEqual([
      'seed',
      'made_up',
      'top_k',
      'reasoning_effort',
    ])
  })

  test.each([
    [{ n: 2 }, 'n'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://a/b.png' } }] }] },
      'messages',
    ],
    [
      { messages: [user, { role: 'tool', tool_call_id: 'a', content: 'r' }], tools: [tool], tool_choice: 'none' },
      'tool_choice',
    ],
    [{ response_format: { type: 'json_object' } }, 'response_format'],
  ])('%j is refused by name', (inner, param) => {
    expect(() => body(inner)).toThrow(expect.objectContaining({ code: 'invalid_value', param }))
  })
})

function streamed(...frames: readonly Uint8Array[]) {
  const parser = createFrameParser()
  return answerOf(bedrock, [...frames.flatMap((frame) => parser.push(frame)), ...parser.end()])
}

const usage = { inputTokens: 3, outputTokens: 5, cacheReadInputTokens: 10, cacheWriteInputTokens: 20, totalTokens: 38 }

describe('a stream', () => {
  test('becomes thoughts, text, tool calls, an end and what it used', () => {
    const { pieces, message, finish } = streamed(
      eventFrame('messageStart', { role: 'assistant' }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { reasoningContent: { text: 'h' } } }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { reasoningContent: { text: 'm' } } }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 0, delta: { reasoningContent: { signature: 's' } } }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 1, delta: { text: 'ok' } }),
      eventFrame('contentBlockStart', { contentBlockIndex: 2, start: { toolUse: { toolUseId: 't', name: 'f' } } }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 2, delta: { toolUse: { input: '{"a":' } } }),
      eventFrame('contentBlockDelta', { contentBlockIndex: 2, delta: { toolUse: { input: '1}' } } }),
      eventFrame('contentBlockStop', { contentBlockIndex: 2 }),
      eventFrame('contentBlockStart', { contentBlockIndex: 3, start: { toolUse: { toolUseId: 'u', name: 'g' } } }),
      eventFrame('contentBlockStop', { contentBlockIndex: 3 }),
      eventFrame('messageStop', { stopReason: 'tool_use' }),
      eventFrame('metadata', { usage: { ...usage, cacheDetails: [{ inputTokens: 5, ttl: '1h' }] } }),
    )
    expect(message).toEqual({
      role: 'assistant',
      content: 'ok',
      reasoning_content: 'hm',
      reasoning_details: [{ type: 'reasoning.text', text: 'hm', signature: 's', format: 'anthropic', index: 0 }],
      tool_calls: [
        { id: 't', type: 'function', function: { name: 'f', arguments: '{"a":1}' } },
        { id: 'u', type: 'function', function: { name: 'g', arguments: '{}' } },
      ],
    })
    expect(finish).toBe('tool_calls')
    expect(pieces.at(-1)).toMatchObject({
      last: true,
      usageOnly: true,
      usage: { counts: { input: 3, cached_input: 10, cache_write_5m: 15, cache_write_1h: 5, output: 5 } },
    })
    expect(pieces.map(({ text = '' }) => text).join('')).toBe('hmokf{"a":1}g')
  })

  test.each([
    ['throttlingException', 'vendor_busy'],
    ['modelStreamErrorException', 'vendor_error'],
    ['internalServerException', 'vendor_error'],
    ['validationException', 'vendor_refused'],
  ])('breaks off with %s as %s', (type, code) => {
    const { pieces } = streamed(
      eventFrame('messageStart', { role: 'assistant' }),
      exceptionFrame(type, { message: 'No.' }),
    )
    expect(pieces.at(-1)?.error?.code).toBe(code)
  })
})

test('a tool that ran at the vendor is counted and not told', () => {
  const content = [
    { toolUse: { toolUseId: 'x', name: 'nova_grounding', input: { q: 1 }, type: 'server_tool_use' } },
    { toolResult: { toolUseId: 'x', content: [{ text: 'hidden' }] } },
    { citationsContent: { content: [{ text: 'cited' }], citations: [] } },
    { text: ' and said' },
  ]
  const said = bedrock.reply({ output: { message: { content } }, stopReason: 'end_turn', usage }, translating)
  expect(said.text).toBe('cited and saidnova_grounding{"q":1}')
  expect(said.inner?.['choices']).toEqual([
    { index: 0, message: { role: 'assistant', content: 'cited and said' }, finish_reason: 'stop' },
  ])
})

test.each([
  [400, 'ValidationException', 'Input Tokens Exceeded: too long', 'caller', 'context_length_exceeded'],
  [400, 'ValidationException', 'The provided model identifier is invalid.', 'account', 'no_target_available'],
  [403, 'AccessDeniedException', 'Bad key', 'account', 'no_target_available'],
  [429, 'ThrottlingException', 'Too many requests', 'busy', 'vendor_busy'],
  [503, 'ServiceUnavailableException', 'Later', 'down', 'vendor_error'],
  [400, '', 'The text field is blank.', 'caller', 'vendor_refused'],
])('status %i, %s, %j is the fault of: %s', (status, type, message, fault, code) => {
  const headers: Record<string, string> = type === '' ? {} : { 'x-amzn-errortype': `${type}:http://internal/` }
  const failure = bedrock.failure({ status, headers }, new TextEncoder().encode(JSON.stringify({ message })))
  expect({ fault: failure.fault, code: failure.error.code }).toEqual({ fault, code })
})

test('a prompt is counted by its messages and tools, without what counting refuses', () => {
  const inner = { messages: [{ role: 'system', content: 'be brief' }, user], tools: [tool], temperature: 1 }
  const target = { vendor: 'bedrock', model: claude }
  const access = { baseUrl: 'https://vendor.test', apiKey: 'key', connectMs: 1 }
  const request = bedrock.counting?.request({ ...translating.call, inner }, target, access)
  const toolSpec = { name: 'f', description: 'd', inputSchema: { json: { type: 'object' } } }
  expect([request?.url.split('/').at(-1), JSON.parse(new TextDecoder().decode(request?.body))]).toEqual([
    'count-tokens',
    {
      input: {
        converse: {
          messages: [{ role: 'user', content: [{ text: 'hi' }] }],
          system: [{ text: 'be brief' }],
          toolConfig: { tools: [{ toolSpec }] },
        },
      },
    },
  ])
})
