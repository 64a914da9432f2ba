import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { carry } from '../../src/core/carried-thought.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { isObject, objectsOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { anthropic } from '../../src/vendors/anthropic.ts'
import { event, eventsOf, passing, translating } from './streams.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 5000 }
const own = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/anthropic/${name}.sse`, import.meta.url)))

function chatCall(inner: JsonObject): Call {
  return { ...passing.call, inner }
}

function messagesCall(text: string, headers: Readonly<Record<string, string>> = {}): Call {
  const body = JSON.parse(text) as JsonObject
  return { ...passing.call, dialect: 'messages', raw: encoder.encode(text), body, headers }
}

interface Sent {
  readonly body: JsonObject
  readonly dropped: readonly string[]
}

function translated(inner: JsonObject, model = 'claude-sonnet-4-5'): Sent {
  const whole = { messages: [{ role: 'user', content: 'Hi' }], ...inner }
  const sent = anthropic.request(chatCall(whole), { vendor: 'anthropic', model }, access, false)
  return { body: JSON.parse(decoder.decode(sent.body)) as JsonObject, dropped: sent.dropped ?? [] }
}

function refused(inner: JsonObject, model?: string): readonly (string | undefined)[] {
  try {
    translated(inner, model)
    return ['taken']
  } catch (error) {
    return error instanceof GatewayError ? [error.code, error.param] : [String(error)]
  }
}

function passed(text: string, stream = false): string {
  const target = { vendor: 'anthropic', model: 'theirs' }
  return decoder.decode(anthropic.request(messagesCall(text), target, access, stream).body)
}

describe('a request that passes', () => {
  test('goes to the vendor with its key, the caller’s version and what he tries', () => {
    const call = messagesCall('{"model":"a"}', { 'anthropic-version': '2026-10-21', 'anthropic-beta': 'one,two' })
    const { body: _, ...sent } = anthropic.request(call, { vendor: 'anthropic', model: 'b' }, access, true)
    expect(sent).toEqual({
      method: 'POST',
      url: 'https://vendor.test/v1/messages?beta=true',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'accept-encoding': 'identity',
        'anthropic-version': '2026-10-21',
        'anthropic-beta': 'one,two',
        'x-api-key': 'secret',
      },
      connectMs: 5000,
    })
  })

  test.each([
    ['{ "model" : "a", "seed":12345678901234567890 }', false, '{ "model" : "theirs", "seed":12345678901234567890 }'],
    ['{"model":"a","max_tokens":1}', true, '{"model":"theirs","max_tokens":1,"stream":true}'],
    ['{"model":"a","stream":true}', false, '{"model":"theirs","stream":false}'],
    ['{"model":"a","cache":{},"metadata":{"user_id":"u"}}', false, '{"model":"theirs","metadata":{"user_id":"u"}}'],
  ])('%s changes in nothing but model, stream and our own options', (text, stream, expected) => {
    expect(passed(text, stream)).toBe(expected)
  })

  test('keeps three turns of tools with their thinking byte for byte', () => {
    const turn = (at: number) => [
      `{"role":"assistant","content":[ {"type":"thinking","thinking":"t\\u00e9 ${at}","signature":"s+/${at}=="},`,
      ` {"type":"redacted_thinking","data":"d${at}"},{"type":"tool_use","id":"toolu_${at}","name":"f","input":{"n":1.0e3}}]},`,
      `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_${at}","content":"r"}]}`,
    ]
    const turns = [1, 2, 3].map((at) => turn(at).join('')).join(',\n')
    const body = (model: string) =>
      `{"model":"${model}","max_tokens":9, "messages":[{"role":"user","content":"q"},${turns}]}`
    expect(passed(body('mine'))).toBe(body('theirs'))
  })

  test('leaves out what another vendor has thought and cited in earlier turns', () => {
    const foreign = carry({ type: 'reasoning.encrypted', data: 'x', format: 'other' })
    const cited = { type: 'web_search_result_location', url: 'u', title: '', cited_text: '', encrypted_index: '' }
    const content = [
      { type: 'thinking', thinking: 'unsigned', signature: '' },
      { type: 'thinking', thinking: 'theirs', signature: foreign },
      { type: 'redacted_thinking', data: foreign },
      { type: 'thinking', thinking: 'own', signature: 'signed' },
      { type: 'text', text: 'a', citations: [cited] },
    ]
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content },
      { role: 'assistant', content: content.slice(0, 1) },
    ]
    const sent = JSON.parse(passed(JSON.stringify({ model: 'a', messages }))) as JsonObject
    expect(sent['messages']).toEqual([
      { role: 'user', content: 'q' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'own', signature: 'signed' },
          { type: 'text', text: 'a' },
        ],
      },
    ])
  })

  test('is counted at an address of its own', () => {
    const call = messagesCall('{"model":"a","messages":[],"stream":true}')
    const sent = anthropic.counting?.request(call, { vendor: 'anthropic', model: 'b' }, access)
    expect([sent?.url, decoder.decode(sent?.body)]).toEqual([
      'https://vendor.test/v1/messages/count_tokens',
      '{"model":"b","messages":[]}',
    ])
    expect(anthropic.counting?.tokens({ input_tokens: 12 })).toBe(12)
    expect(anthropic.counting?.tokens({ input_tokens: '12' })).toBeUndefined()
  })
})

describe('a translated request', () => {
  test('says the least in the vendor’s words', () => {
    const sent = anthropic.request(
      chatCall({ messages: [{ role: 'user', content: 'Hi' }] }),
      { vendor: 'anthropic', model: 'claude-sonnet-4-5' },
      access,
      true,
    )
    expect(sent.headers).toEqual({
      'content-type': 'application/json',
      accept: 'text/event-stream',
      'accept-encoding': 'identity',
      'anthropic-version': '2023-06-01',
      'x-api-key': 'secret',
    })
    expect([sent.url, JSON.parse(decoder.decode(sent.body)), sent.dropped]).toEqual([
      'https://vendor.test/v1/messages',
      {
        model: 'claude-sonnet-4-5',
        max_tokens: 32_000,
        messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
        stream: true,
      },
      undefined,
    ])
  })

  test('lifts all that the system says, wherever it stands, with the marks of the cache', () => {
    const mark = { cache_control: { type: 'ephemeral' } }
    const { body } = translated({
      messages: [
        { role: 'system', content: 'one' },
        { role: 'user', content: 'q' },
        { role: 'developer', content: [{ type: 'text', text: 'two', ...mark }] },
        { role: 'user', content: [{ type: 'text', text: 'r', ...mark }] },
      ],
    })
    expect([body['system'], body['messages']]).toEqual([
      [
        { type: 'text', text: 'one' },
        { type: 'text', text: 'two', ...mark },
      ],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'q' },
            { type: 'text', text: 'r', ...mark },
          ],
        },
      ],
    ])
  })

  test('puts all results of a turn’s tools before what the user adds to them', () => {
    const call = (id: string, given: string) => ({ id, type: 'function', function: { name: 'f', arguments: given } })
    const { body } = translated({
      messages: [
        { role: 'user', content: 'q' },
        { role: 'assistant', content: null, tool_calls: [call('a:1', ''), call('b', '{"x":1}'), call('c', 'no json')] },
        { role: 'tool', tool_call_id: 'a:1', content: 'A' },
        { role: 'user', content: 'and' },
        { role: 'tool', tool_call_id: 'b', content: [{ type: 'text', text: 'B' }], is_error: true },
      ],
    })
    expect(objectsOf(body['messages']).slice(1)).toEqual([
      {
        role: 'assistant',
        content: [
          { type: 'tool_use', id: 'a_1', name: 'f', input: {} },
          { type: 'tool_use', id: 'b', name: 'f', input: { x: 1 } },
          { type: 'tool_use', id: 'c', name: 'f', input: { arguments: 'no json' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a_1', content: 'A' },
          { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'text', text: 'B' }], is_error: true },
          { type: 'text', text: 'and' },
        ],
      },
    ])
  })

  test('sends its own thinking back and nobody else’s', () => {
    const details = [
      { type: 'reasoning.text', text: 'mine', signature: 's', format: 'anthropic', index: 0 },
      { type: 'reasoning.encrypted', data: 'd', format: 'anthropic', index: 1 },
      { type: 'reasoning.encrypted', data: 'g', format: 'gemini', index: 2 },
      { type: 'reasoning.text', text: 'unsigned', format: 'anthropic', index: 3 },
    ]
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a ', reasoning_content: 'mine', reasoning_details: details },
    ]
    expect(objectsOf(translated({ messages }).body['messages'])[1]).toEqual({
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'mine', signature: 's' },
        { type: 'redacted_thinking', data: 'd' },
        { type: 'text', text: 'a' },
      ],
    })
  })

  test('brings images and documents', () => {
    const pdf = { filename: 'a.pdf', file_data: 'data:application/pdf;base64,QUJD' }
    const content = [
      { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } },
      { type: 'image_url', image_url: { url: 'https://a.test/b.png', detail: 'low' } },
      { type: 'file', file: pdf },
      { type: 'file', file: { file_data: 'data:text/plain;base64,w6k=' } },
      { type: 'file', file: { file_url: 'https://a.test/b.pdf' } },
      { type: 'file', file: { file_data: 'data:image/jpeg;base64,QUJD' } },
    ]
    const { body } = translated({ messages: [{ role: 'user', content }] })
    expect(objectsOf(body['messages'])[0]?.['content']).toEqual([
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'QUJD' } },
      { type: 'image', source: { type: 'url', url: 'https://a.test/b.png' } },
      { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'QUJD' }, title: 'a.pdf' },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'é' } },
      { type: 'document', source: { type: 'url', url: 'https://a.test/b.pdf' } },
      { type: 'image', source: { type: 'base64', media_type: 'image/jpeg', data: 'QUJD' } },
    ])
  })

  const find = { type: 'function', function: { name: 'find', description: 'Finds.', parameters: { properties: {} } } }
  const tool = { name: 'find', description: 'Finds.', input_schema: { type: 'object', properties: {} } }

  test.each<[Json, JsonObject]>([
    ['auto', { tool_choice: { type: 'auto' } }],
    ['none', { tool_choice: { type: 'none' } }],
    ['required', { tool_choice: { type: 'any' } }],
    [{ type: 'function', function: { name: 'find' } }, { tool_choice: { type: 'tool', name: 'find' } }],
    [null, {}],
  ])('offers tools with the choice %j', (choice, expected) => {
    const { body } = translated({ tools: [find], tool_choice: choice })
    expect({
      tools: body['tools'],
      ...(body['tool_choice'] !== undefined && { tool_choice: body['tool_choice'] }),
    }).toEqual({
      tools: [tool],
      ...expected,
    })
  })

  test('asks for one tool at a time', () => {
    const { body } = translated({ tools: [find], parallel_tool_calls: false })
    expect(body['tool_choice']).toEqual({ type: 'auto', disable_parallel_tool_use: true })
  })

  test.each<[string, JsonObject, JsonObject, readonly string[]]>([
    [
      'claude-sonnet-4-5',
      { reasoning_effort: 'low', max_tokens: 20_000 },
      { thinking: { type: 'enabled', budget_tokens: 2_000 } },
      [],
    ],
    [
      'claude-sonnet-4-5',
      { reasoning_effort: 'low', max_tokens: 2_000 },
      { thinking: { type: 'enabled', budget_tokens: 1_024 } },
      [],
    ],
    ['claude-sonnet-4-5', { reasoning_effort: 'low', max_tokens: 1_024 }, {}, ['reasoning_effort']],
    [
      'claude-sonnet-4-5',
      { reasoning: { max_tokens: 5_000 } },
      { thinking: { type: 'enabled', budget_tokens: 5_000 } },
      [],
    ],
    ['claude-sonnet-4-5', { reasoning_effort: 'none' }, {}, []],
    ['claude-3-5-haiku-latest', { reasoning_effort: 'high' }, {}, ['reasoning_effort']],
    [
      'claude-sonnet-4-6',
      { reasoning_effort: 'xhigh' },
      { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } },
      [],
    ],
    [
      'claude-opus-4-8',
      { reasoning_effort: 'xhigh' },
      { thinking: { type: 'adaptive', display: 'summarized' }, output_config: { effort: 'xhigh' } },
      [],
    ],
    [
      'claude-opus-4-8',
      { reasoning: { effort: 'minimal', exclude: true } },
      { thinking: { type: 'adaptive', display: 'omitted' }, output_config: { effort: 'low' } },
      [],
    ],
    [
      'claude-opus-4-8',
      { reasoning: { max_tokens: 20_000 } },
      { thinking: { type: 'adaptive', display: 'summarized' }, output_config: { effort: 'medium' } },
      [],
    ],
    ['claude-opus-4-8', { reasoning_effort: 'none' }, { thinking: { type: 'disabled' } }, []],
    ['claude-fable-5', { reasoning_effort: 'none' }, { output_config: { effort: 'low' } }, []],
  ])('%s thinks as %j asks', (model, inner, expected, dropped) => {
    const { body, dropped: left } = translated(inner, model)
    const { thinking, output_config: config } = body
    expect([
      { ...(thinking !== undefined && { thinking }), ...(config !== undefined && { output_config: config }) },
      left,
    ]).toEqual([expected, dropped])
  })

  test('does not think on in a turn that began without thinking', () => {
    const called = { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: null, tool_calls: [called] },
      { role: 'tool', tool_call_id: 'a', content: 'r' },
    ]
    const { body, dropped } = translated({ messages, reasoning_effort: 'high' })
    expect([body['thinking'], dropped]).toEqual([undefined, ['reasoning_effort']])
  })

  test.each<[string, JsonObject, JsonObject, readonly string[]]>([
    ['claude-sonnet-4-5', { temperature: 1.5 }, { temperature: 1 }, []],
    ['claude-sonnet-4-5', { temperature: 0, top_p: 0.5, top_k: 3 }, { temperature: 0, top_k: 3 }, ['top_p']],
    ['claude-sonnet-4-5', { temperature: 0, reasoning_effort: 'low' }, {}, ['temperature']],
    ['claude-opus-4-8', { temperature: 0, top_p: 1 }, {}, ['temperature', 'top_p']],
    [
      'claude-sonnet-4-5',
      { stop: 'x', user: 'u', service_tier: 'default' },
      { stop_sequences: ['x'], metadata: { user_id: 'u' }, service_tier: 'standard_only' },
      [],
    ],
    [
      'claude-sonnet-4-5',
      { seed: 1, logit_bias: { 1: 2 }, presence_penalty: 1, n: 1, service_tier: 'flex', odd: 1 },
      {},
      ['seed', 'logit_bias', 'presence_penalty', 'odd', 'service_tier'],
    ],
  ])('%s is sent of %j what it takes, and what it does not is named', (model, inner, expected, dropped) => {
    const { body, dropped: left } = translated(inner, model)
    const { model: _, max_tokens: __, messages: ___, stream: ____, thinking: _____, ...rest } = body
    expect([rest, left]).toEqual([expected, dropped])
  })

  test('asks for an answer by its schema, whose objects are closed', () => {
    const schema = { type: 'object', properties: { a: { type: 'object', properties: {} } } }
    const { body } = translated({ response_format: { type: 'json_schema', json_schema: { name: 'n', schema } } })
    expect(body['output_config']).toEqual({
      format: {
        type: 'json_schema',
        schema: {
          type: 'object',
          properties: { a: { type: 'object', properties: {}, additionalProperties: false } },
          additionalProperties: false,
        },
      },
    })
  })

  test('asks older models for an answer in JSON by way of a tool, and hears it as text', () => {
    const schema = { type: 'object', properties: { a: { type: 'number' } } }
    const format = { type: 'json_schema', json_schema: { name: 'n', schema } }
    const { body } = translated({ response_format: format }, 'claude-sonnet-4-0')
    const [answer] = objectsOf(body['tools'])
    const name = answer?.['name']
    expect([body['tool_choice'], answer?.['input_schema']]).toEqual([{ type: 'tool', name }, schema])
    const content = [{ type: 'tool_use', id: 't', name: name ?? null, input: { a: 1 } }]
    const { inner } = anthropic.reply({ type: 'message', content, stop_reason: 'tool_use' }, translating)
    expect(objectsOf(inner?.['choices'])).toEqual([
      { index: 0, message: { role: 'assistant', content: '{"a":1}' }, finish_reason: 'stop' },
    ])
    const read = anthropic.reader(translating)
    const gatherer = createGatherer()
    for (const said of [
      { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 't', name, input: {} } },
      { type: 'content_block_delta', index: 0, delta: { type: 'input_json_delta', partial_json: '{"a":1}' } },
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 3 } },
    ])
      for (const chunk of read(event(said)).chunks ?? []) gatherer.add(event(chunk))
    expect(objectsOf(gatherer.body()['choices'])).toEqual([
      { index: 0, message: { role: 'assistant', content: '{"a":1}' }, finish_reason: 'stop' },
    ])
  })

  test.each<[JsonObject, string, string?]>([
    [{ n: 2 }, 'n'],
    [{ audio: { voice: 'a' } }, 'audio'],
    [{ modalities: ['text', 'audio'] }, 'modalities'],
    [{ functions: [] }, 'functions'],
    [{ stop: [' '] }, 'stop'],
    [{ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, 'tools[0].type'],
    [{ messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }] }, 'messages[0].content[0]'],
    [{ messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'f' } }] }] }, 'messages[0].content[0]'],
    [{ messages: [{ role: 'function', name: 'f', content: 'x' }] }, 'messages[0].role'],
    [{ messages: [{ role: 'system', content: 'x' }] }, 'messages'],
    [{ tools: [find], tool_choice: 'required' }, 'tool_choice', 'claude-opus-5-5'],
    [{ response_format: { type: 'json_object' } }, 'response_format', 'claude-opus-5-5'],
  ])('is refused for %j, by name', (inner, param, model) => {
    expect(refused(inner, model)).toEqual(['invalid_value', param])
  })

  test('is counted with what belongs to the prompt', () => {
    const inner = { messages: [{ role: 'user', content: 'Hi' }], temperature: 1, user: 'u', stop: 'x' }
    const sent = anthropic.counting?.request(
      chatCall(inner),
      { vendor: 'anthropic', model: 'claude-haiku-4-5' },
      access,
    )
    expect(JSON.parse(decoder.decode(sent?.body))).toEqual({
      model: 'claude-haiku-4-5',
      messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }],
    })
  })
})

describe('a stream', () => {
  test('is metered by its last numbers, and says nothing of output before', () => {
    const read = anthropic.reader(passing)
    const told = eventsOf(own('thinking-tools')).flatMap((each) => read(each).usage ?? [])
    const prompt = { cached_input: 50, cache_write_5m: 10, cache_write_1h: 20 }
    expect(told).toEqual([
      { counts: { ...prompt, input: 20 }, anomalies: [] },
      { counts: { ...prompt, input: 21, output: 25, reasoning: 15, search: 2 }, anomalies: [] },
    ])
  })

  test('says in inner chunks what it said, signatures byte for byte', () => {
    const read = anthropic.reader(translating)
    const gatherer = createGatherer()
    for (const each of eventsOf(own('thinking-tools')))
      for (const chunk of read(each).chunks ?? []) gatherer.add(event(chunk))
    const text = 'Two cities; ask for "both" – ☂.'
    const call = (id: string, name: string, given: string) => ({
      id,
      type: 'function',
      function: { name, arguments: given },
    })
    expect(gatherer.body()).toEqual({
      id: 'chatcmpl-call-1',
      object: 'chat.completion',
      created: 0,
      model: 'public',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'I will look.',
            reasoning_content: text,
            reasoning_details: [
              { type: 'reasoning.text', text, signature: 'c2lnbmVkL29uZSs9PQ==', format: 'anthropic', index: 0 },
              { type: 'reasoning.encrypted', data: 'aGlkZGVuL3BhcnQ=', format: 'anthropic', index: 1 },
            ],
            tool_calls: [call('toolu_own_1', 'weather', '{"city": "Paris"}'), call('toolu_own_2', 'now', '{}')],
          },
          finish_reason: 'tool_calls',
        },
      ],
    })
  })

  test('that fails in the middle tells so', () => {
    const read = anthropic.reader(passing)
    const pieces = eventsOf(own('overloaded-midway')).map((each) => read(each))
    expect([pieces[2]?.text, pieces.at(-1)?.error?.code]).toEqual(['Half an ', 'vendor_error'])
  })

  test('names the sources of a text when it is over', () => {
    const read = anthropic.reader(translating)
    const citation = { type: 'web_search_result_location', url: 'https://a.test', title: 'A', cited_text: 'c' }
    const pieces = [
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'ab' } },
      { type: 'content_block_stop', index: 0 },
      { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
      { type: 'content_block_delta', index: 1, delta: { type: 'citations_delta', citation } },
      { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'cde' } },
      { type: 'content_block_stop', index: 1 },
    ].map((said) => read(event(said)))
    const cited = { url: 'https://a.test', title: 'A', start_index: 2, end_index: 5 }
    expect(objectsOf(pieces.at(-1)?.chunks?.[0]?.['choices'])[0]?.['delta']).toEqual({
      annotations: [{ type: 'url_citation', url_citation: cited }],
    })
  })

  test('tells why the vendor refused', () => {
    const delta = { stop_reason: 'refusal', stop_details: { type: 'refusal', explanation: 'No.' } }
    const piece = anthropic.reader(translating)(event({ type: 'message_delta', delta, usage: { output_tokens: 1 } }))
    expect(objectsOf(piece.chunks?.[0]?.['choices'])).toEqual([
      { index: 0, delta: { refusal: 'No.' }, finish_reason: 'content_filter' },
    ])
  })
})

describe('usage', () => {
  const counts = (usage: JsonObject) => anthropic.reply({ content: [], usage }, passing).usage

  test('that another model took part in says so', () => {
    const pass = (type: string, tokens: number) => ({ type, input_tokens: tokens, output_tokens: 1 })
    const iterations = [pass('message', 10), pass('advisor_message', 500), pass('compaction', 100)]
    expect(counts({ input_tokens: 10, output_tokens: 1, iterations })).toEqual({
      counts: { input: 110, output: 2, advisor_input: 500, advisor_output: 1 },
      anomalies: ['other_model_used'],
    })
  })

  test('of an advisor has its caches apart, and a broken count of it is told', () => {
    const pass = { type: 'advisor_message', input_tokens: 5, cache_creation_input_tokens: 20, output_tokens: 'many' }
    const iterations = [{ ...pass, cache_read_input_tokens: 300 }]
    expect(counts({ input_tokens: 10, output_tokens: 1, iterations })).toEqual({
      counts: { input: 10, output: 1, advisor_input: 25, advisor_cached_input: 300 },
      anomalies: ['other_model_used', 'advisor_invalid_completion_tokens'],
    })
  })

  test.each([
    [
      { inference_geo: 'us', speed: 'fast' },
      { region: 'us', speed: 'fast' },
    ],
    [{ inference_geo: 'global', speed: 'standard' }, {}],
    [{ inference_geo: 'not_available' }, {}],
    [{ inference_geo: 7, speed: null }, {}],
  ])('of %j says where and how fast it was served: %j', (told, place) => {
    expect(counts({ input_tokens: 1, output_tokens: 1, ...told })).toEqual({
      counts: { input: 1, output: 1 },
      anomalies: [],
      ...place,
    })
  })

  test('in a stream keeps the place that its start has told', () => {
    const reader = anthropic.reader(passing)
    const start = { input_tokens: 3, output_tokens: 1, inference_geo: 'us', speed: 'fast' }
    reader(event({ type: 'message_start', message: { usage: start } }))
    const { usage } = reader(
      event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } }),
    )
    expect(usage).toEqual({ counts: { input: 3, output: 2 }, anomalies: [], region: 'us', speed: 'fast' })
  })

  test('of an answer that another model took over is what the top says', () => {
    const iterations = [
      { type: 'message', input_tokens: 10, output_tokens: 0 },
      { type: 'fallback_message', input_tokens: 10, output_tokens: 5 },
    ]
    expect(counts({ input_tokens: 10, output_tokens: 5, iterations })?.counts).toEqual({ input: 10, output: 5 })
  })

  test('that is broken is flagged and left out', () => {
    expect(counts({ input_tokens: '10', output_tokens: 3, cache_creation: { ephemeral_1h_input_tokens: -4 } })).toEqual(
      {
        counts: { output: 3 },
        anomalies: ['invalid_prompt_tokens'],
      },
    )
  })
})

describe('a failure', () => {
  const failed = (status: number, type: string, message = 'no') => {
    const body = encoder.encode(JSON.stringify({ type: 'error', error: { type, message } }))
    const { fault, error, retryAfterMs } = anthropic.failure({ status, headers: { 'retry-after': '7' } }, body)
    return [fault, error.code, retryAfterMs]
  }

  test.each([
    [400, 'invalid_request_error', 'no', ['caller', 'vendor_refused', undefined]],
    [400, 'invalid_request_error', 'Your credit balance is too low', ['account', 'no_target_available', undefined]],
    [
      400,
      'invalid_request_error',
      'Output blocked by content filtering policy',
      ['caller', 'content_policy', undefined],
    ],
    [401, 'authentication_error', 'no', ['account', 'no_target_available', undefined]],
    [403, 'permission_error', 'no', ['account', 'no_target_available', undefined]],
    [404, 'not_found_error', 'model: x', ['account', 'no_target_available', undefined]],
    [413, 'request_too_large', 'no', ['caller', 'vendor_refused', undefined]],
    [429, 'rate_limit_error', 'no', ['busy', 'vendor_busy', 7_000]],
    [500, 'api_error', 'no', ['down', 'vendor_error', 7_000]],
    [529, 'overloaded_error', 'no', ['down', 'vendor_error', 7_000]],
  ])('%i %s "%s" is judged', (status, type, message, expected) => {
    expect(failed(status, type, message)).toEqual(expected)
  })
})

describe('nothing that a vendor or a caller sends', () => {
  const said = eventsOf(own('thinking-tools')).map(({ data }) => JSON.parse(decoder.decode(data)) as JsonObject)
  const anything = fc.jsonValue({ maxDepth: 3 })

  /** The value without the fields, or with other values, that `choose` picks. */
  function damaged(value: Json, choose: () => number, other: () => Json): Json {
    if (Array.isArray(value)) return value.map((item: Json) => damaged(item, choose, other))
    if (!isObject(value)) return choose() === 0 ? other() : value
    const kept = Object.entries(value).filter(() => choose() !== 1)
    return Object.fromEntries(kept.map(([name, each]) => [name, damaged(each ?? null, choose, other)]))
  }

  const noise = fc.record({ picks: fc.infiniteStream(fc.nat(9)), others: fc.infiniteStream(anything) })
  const shaken = (value: Json, { picks, others }: { picks: Iterator<number>; others: Iterator<unknown> }) =>
    damaged(
      value,
      () => Number(picks.next().value),
      () => others.next().value as Json,
    )

  test('makes the reader throw', () => {
    fc.assert(
      fc.property(noise, fc.boolean(), (random, translates) => {
        const read = anthropic.reader({ ...passing, translates })
        for (const each of said) read(event(shaken(each, random)))
      }),
    )
  })

  test('makes a reply throw', () => {
    const content = said.flatMap(({ content_block: block }) => (isObject(block) ? [block] : []))
    const body = { type: 'message', content, stop_reason: 'tool_use', usage: { input_tokens: 1, iterations: [{}] } }
    fc.assert(
      fc.property(noise, (random) => {
        const whole = shaken(body, random)
        if (isObject(whole)) anthropic.reply(whole, translating)
      }),
    )
  })

  test('makes a stream of bytes throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        anthropic.reader(translating)({ name: '', data: bytes })
      }),
    )
  })

  test('makes a request throw anything but a refusal', () => {
    const inner = {
      messages: [
        { role: 'system', content: 's' },
        { role: 'user', content: [{ type: 'file', file: { file_data: 'data:text/plain;base64,QQ==' } }] },
        {
          role: 'assistant',
          content: 'a',
          reasoning_details: [{ type: 'reasoning.text', text: 't', signature: 's', format: 'anthropic' }],
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'x' }] },
      ],
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
      tool_choice: { type: 'function', function: { name: 'f' } },
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' } } },
      reasoning: { max_tokens: 2_000, effort: 'high' },
      stop: ['x'],
      temperature: 1,
    }
    const models = fc.constantFrom(
      'claude-sonnet-4-0',
      'claude-sonnet-4-5',
      'claude-opus-4-8',
      'claude-fable-5',
      'other',
    )
    fc.assert(
      fc.property(noise, models, (random, model) => {
        const whole = shaken(inner, random)
        if (isObject(whole)) expect(refused(whole, model)[0]).toMatch(/^(taken|invalid_value)$/)
      }),
    )
  })
})
