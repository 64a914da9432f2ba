import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { carry } from '../../src/core/carried-thought.ts'
import { type ErrorCode, GatewayError } from '../../src/core/errors.ts'
import { createSseParser } from '../../src/core/sse.ts'
import { isObject, objectsOf } from '../../src/core/wire.ts'
import { messages as front } from '../../src/fronts/messages.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const parts = {
  id: 'call-1',
  startedAtMs: 0,
  path: '/v1/messages',
  header: () => undefined,
  query: () => undefined,
}

function read(body: JsonObject, headers: Readonly<Record<string, string>> = {}): Call {
  return front.read(encoder.encode(JSON.stringify(body)), { ...parts, header: (name) => headers[name] })
}

const least = { model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'Hi' }] }
const asked = (more: JsonObject) => read({ ...least, ...more }).inner
const call = read(least)

function refusal(work: () => unknown): readonly (string | undefined)[] {
  try {
    work()
    return ['taken']
  } catch (error) {
    return error instanceof GatewayError ? [error.code, error.param] : [String(error)]
  }
}

describe('a request', () => {
  test('is read with what a call has to know', () => {
    const { raw: _, ...rest } = read({ ...least, stream: true }, { 'x-request-id': 'mine' })
    expect(rest).toEqual({
      id: 'call-1',
      dialect: 'messages',
      operation: 'chat',
      body: { ...least, stream: true },
      model: 'm',
      stream: true,
      inner: { ...least, stream: true },
      headers: {},
      wantsUsage: true,
      maxOutput: 10,
      choices: 1,
      startedAtMs: 0,
      clientRequestId: 'mine',
    })
  })

  test('hands on the version and what is in trial, if they are fit for a header', () => {
    const headers = { 'anthropic-version': '2026-10-21', 'anthropic-beta': 'a-2026,b', 'x-api-key': 'secret' }
    expect(read(least, headers).headers).toEqual({ 'anthropic-version': '2026-10-21', 'anthropic-beta': 'a-2026,b' })
    expect(read(least, { 'anthropic-version': 'x', 'anthropic-beta': 'a\r\nb' }).headers).toEqual({})
  })

  test.each<[JsonObject, string]>([
    [{ model: '' }, 'model'],
    [{ max_tokens: null }, 'max_tokens'],
    [{ max_tokens: 0 }, 'max_tokens'],
    [{ messages: [] }, 'messages'],
    [{ messages: [null] }, 'messages.0'],
    [{ messages: [{ role: 'tool', content: '' }] }, 'messages.0.role'],
    [{ messages: [{ role: 'user' }] }, 'messages.0.content'],
    [{ messages: [{ role: 'user', content: [{}] }] }, 'messages.0.content.0.type'],
    [{ messages: [{ role: 'user', content: [{ type: 'text' }] }] }, 'messages.0.content.0.text'],
    [
      {
        messages: [
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: [{ type: 'image' }] }] },
        ],
      },
      'messages.0.content.0.content.0.source',
    ],
    [{ system: 1 }, 'system'],
    [{ stream: 'yes' }, 'stream'],
    [{ tools: {} }, 'tools'],
    [{ tools: [1] }, 'tools.0'],
    [{ tool_choice: 'auto' }, 'tool_choice'],
    [{ temperature: 1.1 }, 'temperature'],
    [{ top_k: -1 }, 'top_k'],
    [{ stop_sequences: 'x' }, 'stop_sequences'],
    [{ thinking: true }, 'thinking'],
  ])('with %j is refused by name', (more, param) => {
    expect(refusal(() => read({ ...least, ...more }))).toEqual(['invalid_value', param])
  })

  test('that says a field twice, or in other letters, is refused', () => {
    const text = '{"model":"a","MODEL":"b","max_tokens":1,"messages":[{"role":"user","content":""}]}'
    expect(refusal(() => front.read(encoder.encode(text), parts))).toEqual(['invalid_value', 'model'])
  })

  test('that only counts a prompt needs no bound', () => {
    const { max_tokens: _, ...rest } = least
    const counting = front.counting?.read(encoder.encode(JSON.stringify(rest)), parts)
    expect([counting?.inner, counting?.maxOutput]).toEqual([rest, undefined])
    expect(front.counting?.reply(7)).toEqual({ input_tokens: 7 })
  })
})

describe('in the inner language', () => {
  const mark = { cache_control: { type: 'ephemeral' } }

  test('the system comes first, in its parts', () => {
    const system = [{ type: 'text', text: 'one', ...mark }]
    expect(objectsOf(asked({ system })['messages'])[0]).toEqual({ role: 'system', content: system })
    expect(objectsOf(asked({ system: 'one' })['messages'])[0]).toEqual({ role: 'system', content: 'one' })
  })

  test('a user’s blocks are parts, and results of tools are messages before them', () => {
    const content = [
      { type: 'text', text: 'a', ...mark },
      { type: 'tool_result', tool_use_id: 't1', content: 'r1' },
      { type: 'tool_result', tool_use_id: 't2', is_error: true, content: [{ type: 'text', text: 'r2' }] },
      { type: 'tool_result', tool_use_id: 't3' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'QQ==' } },
      { type: 'image', source: { type: 'url', url: 'https://a.test/i' } },
      { type: 'document', title: 'T', source: { type: 'base64', media_type: 'application/pdf', data: 'QQ==' } },
      { type: 'document', source: { type: 'url', url: 'https://a.test/d' } },
      { type: 'document', title: 'T', source: { type: 'text', media_type: 'text/plain', data: 'plain' } },
      { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'inner' }] } },
      { type: 'search_result', title: 'S', source: 'https://a.test', content: [{ type: 'text', text: 'found' }] },
    ]
    expect(asked({ messages: [{ role: 'user', content }] })['messages']).toEqual([
      { role: 'tool', tool_call_id: 't1', content: 'r1' },
      { role: 'tool', tool_call_id: 't2', content: [{ type: 'text', text: 'r2' }], is_error: true },
      { role: 'tool', tool_call_id: 't3', content: '' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a', ...mark },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,QQ==' } },
          { type: 'image_url', image_url: { url: 'https://a.test/i' } },
          { type: 'file', file: { filename: 'T', file_data: 'data:application/pdf;base64,QQ==' } },
          { type: 'file', file: { file_url: 'https://a.test/d' } },
          { type: 'text', text: 'T\n\nplain' },
          { type: 'text', text: 'inner' },
          { type: 'text', text: 'S\n\nhttps://a.test\n\nfound' },
        ],
      },
    ])
  })

  test('what the model said keeps its thinking for the one that thought it', () => {
    const elsewhere = { type: 'reasoning.encrypted', data: 'g', id: 't', format: 'gemini', index: 4 }
    const summary = { type: 'reasoning.summary', id: 'rs', format: 'openai-responses', index: 0 }
    const search = { type: 'server_tool_use', id: 's', name: 'web_search', input: {} }
    const content = [
      { type: 'thinking', thinking: 'mine', signature: 'sig' },
      { type: 'redacted_thinking', data: 'hidden' },
      { type: 'redacted_thinking', data: carry(elsewhere) },
      { type: 'thinking', thinking: 'sum', signature: carry(summary) },
      { type: 'thinking', thinking: 'bare', signature: '' },
      search,
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
      { type: 'tool_use', id: 't', name: 'f', input: { x: [1] } },
    ]
    expect(asked({ messages: [{ role: 'assistant', content }] })['messages']).toEqual([
      {
        role: 'assistant',
        content: 'ab',
        reasoning_content: 'minesumbare',
        reasoning_details: [
          { type: 'reasoning.text', text: 'mine', signature: 'sig', format: 'anthropic', index: 0 },
          { type: 'reasoning.encrypted', data: 'hidden', format: 'anthropic', index: 1 },
          { ...elsewhere, index: 2 },
          { ...summary, summary: 'sum', index: 3 },
          { type: 'reasoning.block', data: JSON.stringify(search), format: 'anthropic', index: 4 },
        ],
        tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{"x":[1]}' } }],
      },
    ])
  })

  test('a mark on a call is one of the message that it ends', () => {
    const content = [{ type: 'tool_use', id: 't', name: 'f', input: {}, ...mark }]
    expect(asked({ messages: [{ role: 'assistant', content }] })['messages']).toEqual([
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }],
        ...mark,
      },
    ])
  })

  test('tools are functions; those that a vendor runs keep their type', () => {
    const own = { name: 'f', description: 'd', input_schema: { type: 'object' }, ...mark }
    const server = { type: 'web_search_20250305', name: 'web_search' }
    const inner = asked({ tools: [own, server], mcp_servers: [{ name: 'n', url: 'https://a.test' }] })
    expect([inner['tools'], inner['mcp_servers']]).toEqual([
      [
        { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' } }, ...mark },
        server,
        { type: 'mcp', server_label: 'n', server_url: 'https://a.test' },
      ],
      undefined,
    ])
  })

  const closed = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'], additionalProperties: false }
  const open = { type: 'object', properties: { a: { type: 'string' } } }
  const format = (schema: JsonObject) => ({ type: 'json_schema', schema })
  const answer = (more: JsonObject) => ({ type: 'json_schema', json_schema: { name: 'answer', ...more } })

  test.each<[JsonObject, JsonObject]>([
    [{ tool_choice: { type: 'auto' } }, { tool_choice: 'auto' }],
    [{ tool_choice: { type: 'any' } }, { tool_choice: 'required' }],
    [{ tool_choice: { type: 'none' } }, { tool_choice: 'none' }],
    [
      { tool_choice: { type: 'tool', name: 'f', disable_parallel_tool_use: true } },
      { tool_choice: { type: 'function', function: { name: 'f' } }, parallel_tool_calls: false },
    ],
    [{ thinking: { type: 'enabled', budget_tokens: 2000 } }, { reasoning: { max_tokens: 2000 } }],
    [{ thinking: { type: 'adaptive', display: 'omitted' } }, { reasoning: { exclude: true } }],
    [{ thinking: { type: 'adaptive' }, output_config: { effort: 'max' } }, { reasoning_effort: 'xhigh' }],
    [{ thinking: { type: 'disabled' } }, { reasoning_effort: 'none' }],
    [{ output_config: { format: format(closed) } }, { response_format: answer({ strict: true, schema: closed }) }],
    [{ output_format: format(open) }, { response_format: answer({ schema: open }) }],
    [{ stop_sequences: ['x'] }, { stop: ['x'] }],
    [{ metadata: { user_id: 'u' } }, { user: 'u' }],
    [{ service_tier: 'standard_only' }, { service_tier: 'default' }],
    [{ service_tier: 'auto' }, { service_tier: 'auto' }],
    [
      { top_k: 3, temperature: 0.5, container: 'c' },
      { top_k: 3, temperature: 0.5, container: 'c' },
    ],
  ])('%j is said as %j', (more, expected) => {
    expect(asked(more)).toEqual({ ...least, ...expected })
  })
})

describe('a whole answer', () => {
  const usage = {
    prompt_tokens: 100,
    completion_tokens: 20,
    prompt_tokens_details: { cached_tokens: 50, cache_write_tokens: 30 },
    completion_tokens_details: { reasoning_tokens: 5 },
  }

  test('is a message with its blocks and its own way of counting', () => {
    const message = {
      role: 'assistant',
      content: 'Hello',
      reasoning_content: 'mm',
      reasoning_details: [
        { type: 'reasoning.text', text: 'mm', signature: 's', format: 'anthropic', index: 0 },
        { type: 'reasoning.encrypted', data: 'd', format: 'gemini', index: 1 },
      ],
      annotations: [{ type: 'url_citation', url_citation: { url: 'https://a.test', title: 'A' } }],
      tool_calls: [{ id: 'c.1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    }
    const citation = {
      type: 'web_search_result_location',
      url: 'https://a.test',
      title: 'A',
      cited_text: '',
      encrypted_index: '',
    }
    expect(front.reply(call, { choices: [{ index: 0, message, finish_reason: 'stop' }], usage })).toEqual({
      id: 'msg_call-1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [
        { type: 'thinking', thinking: 'mm', signature: 's' },
        {
          type: 'redacted_thinking',
          data: carry({ type: 'reasoning.encrypted', data: 'd', format: 'gemini', index: 1 }),
        },
        { type: 'text', text: 'Hello', citations: [citation] },
        { type: 'tool_use', id: 'c_1', name: 'f', input: { a: 1 } },
      ],
      stop_reason: 'tool_use',
      stop_sequence: null,
      usage: {
        input_tokens: 20,
        cache_creation_input_tokens: 30,
        cache_read_input_tokens: 50,
        output_tokens: 20,
        output_tokens_details: { thinking_tokens: 5 },
      },
    })
  })

  test.each([
    ['stop', 'end_turn'],
    ['length', 'max_tokens'],
    ['tool_calls', 'tool_use'],
    ['content_filter', 'refusal'],
    ['other', 'end_turn'],
  ])('that ended for "%s" ended for "%s"', (finish, reason) => {
    const inner = { choices: [{ message: { content: 'a' }, finish_reason: finish }] }
    expect(front.reply(call, inner)['stop_reason']).toBe(reason)
  })

  test('shows thinking that nobody signed', () => {
    const inner = { choices: [{ message: { reasoning_content: 'mm', content: 'a' }, finish_reason: 'stop' }] }
    expect(front.reply(call, inner)['content']).toEqual([
      { type: 'thinking', thinking: 'mm', signature: '' },
      { type: 'text', text: 'a' },
    ])
  })

  test.each<[string, JsonObject]>([
    ['', {}],
    ['[1]', { arguments: [1] }],
    ['{"a":', { arguments: '{"a":' }],
  ])('makes an object of the arguments "%s"', (given, input) => {
    const called = { id: 'a', type: 'function', function: { name: 'f', arguments: given } }
    expect(objectsOf(front.reply(call, { choices: [{ message: { tool_calls: [called] } }] })['content'])).toEqual([
      { type: 'tool_use', id: 'a', name: 'f', input },
    ])
  })
})

/** Events of a stream as [name, payload]; the name must be the payload's type. */
function eventsIn(bytes: readonly Uint8Array[]): readonly JsonObject[] {
  const parser = createSseParser()
  const events = [...bytes.flatMap((each) => parser.push(each)), ...parser.end()]
  return events.map(({ name, data }) => {
    const payload = JSON.parse(decoder.decode(data)) as JsonObject
    expect(payload['type']).toBe(name)
    return payload
  })
}

const chunk = (delta: JsonObject, finish: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
})

function written(chunks: readonly JsonObject[], usage?: JsonObject): readonly JsonObject[] {
  const writer = front.writer(call)
  return eventsIn([...chunks.map((each) => writer.write(each)), writer.close(usage)])
}

/** The message that a client makes of the events, as its SDK does. */
function heard(events: readonly JsonObject[]): JsonObject {
  const gatherer = front.passing(call).gatherer()
  for (const each of events) gatherer.add({ name: '', data: encoder.encode(JSON.stringify(each)) })
  return gatherer.body()
}

describe('a written stream', () => {
  const start = { ...front.reply(call, {}), stop_reason: null }
  const zero = { input_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 }

  test('opens, says its text and closes with what it cost', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, cost: 0.5 }
    expect(
      written([chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hi' }), chunk({}, 'stop')], usage),
    ).toEqual([
      { type: 'message_start', message: start },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hi' } },
      { type: 'content_block_stop', index: 0 },
      {
        type: 'message_delta',
        delta: { stop_reason: 'end_turn', stop_sequence: null },
        usage: { ...zero, input_tokens: 3, output_tokens: 2, cost: 0.5 },
      },
      { type: 'message_stop' },
    ])
  })

  test('gives thinking, text and tools blocks of their own, one after the other', () => {
    const detail = (more: JsonObject) => ({ type: 'reasoning.text', format: 'anthropic', index: 0, ...more })
    const events = written([
      chunk({ reasoning_content: 'm', reasoning_details: [detail({ text: 'm' })] }),
      chunk({ reasoning_content: 'n', reasoning_details: [detail({ text: 'n' })] }),
      chunk({ reasoning_details: [detail({ text: '', signature: 'sig' })] }),
      chunk({ content: 'Hi' }),
      chunk({ tool_calls: [{ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '{"x":' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '1}' } }] }),
      chunk({ tool_calls: [{ index: 1, id: 'b', type: 'function', function: { name: 'g', arguments: '' } }] }),
      chunk({}, 'tool_calls'),
    ])
    expect(events.map(({ type, index, content_block: block, delta }) => [type, index, block ?? delta])).toEqual([
      ['message_start', undefined, undefined],
      ['content_block_start', 0, { type: 'thinking', thinking: '', signature: '' }],
      ['content_block_delta', 0, { type: 'thinking_delta', thinking: 'm' }],
      ['content_block_delta', 0, { type: 'thinking_delta', thinking: 'n' }],
      ['content_block_delta', 0, { type: 'signature_delta', signature: 'sig' }],
      ['content_block_stop', 0, undefined],
      ['content_block_start', 1, { type: 'text', text: '' }],
      ['content_block_delta', 1, { type: 'text_delta', text: 'Hi' }],
      ['content_block_stop', 1, undefined],
      ['content_block_start', 2, { type: 'tool_use', id: 'a', name: 'f', input: {} }],
      ['content_block_delta', 2, { type: 'input_json_delta', partial_json: '{"x":' }],
      ['content_block_delta', 2, { type: 'input_json_delta', partial_json: '1}' }],
      ['content_block_stop', 2, undefined],
      ['content_block_start', 3, { type: 'tool_use', id: 'b', name: 'g', input: {} }],
      ['content_block_stop', 3, undefined],
      ['message_delta', undefined, { stop_reason: 'tool_use', stop_sequence: null }],
      ['message_stop', undefined, undefined],
    ])
  })

  test('puts mixed tool calls in order, whatever their pieces look like', () => {
    const piece = (index: number, given: string, more: JsonObject = {}) => ({
      index,
      ...more,
      function: { arguments: given },
    })
    const begun = (index: number, id: string) => ({
      index,
      id,
      type: 'function',
      function: { name: id, arguments: '' },
    })
    const events = written([
      chunk({ tool_calls: [begun(0, 'a'), begun(1, 'b')] }),
      chunk({ tool_calls: [piece(0, '{"x"')] }),
      chunk({ tool_calls: [piece(1, '{"y":2')] }),
      chunk({ tool_calls: [piece(0, ':1}'), piece(1, '}')] }),
      chunk({ tool_calls: [{ id: 'c', type: 'function', function: { name: 'c', arguments: { z: 3 } } }] }),
      chunk({}, 'stop'),
    ])
    expect(heard(events)).toMatchObject({
      content: [
        { type: 'tool_use', id: 'a', name: 'a', input: { x: 1 } },
        { type: 'tool_use', id: 'b', name: 'b', input: { y: 2 } },
        { type: 'tool_use', id: 'c', name: 'c', input: { z: 3 } },
      ],
      stop_reason: 'tool_use',
    })
  })

  test('carries what another family has thought so that it comes back whole', () => {
    const details = [
      { type: 'reasoning.summary', summary: 'sum', id: 'rs_1', format: 'openai-responses', index: 0 },
      { type: 'reasoning.encrypted', data: 'enc', id: 'rs_1', format: 'openai-responses', index: 1 },
    ]
    const { content = null } = heard(
      written([chunk({ reasoning_content: 'sum', reasoning_details: details }), chunk({}, 'stop')]),
    )
    const [back] = objectsOf(asked({ messages: [{ role: 'assistant', content }] })['messages'])
    expect(back?.['reasoning_details']).toEqual(details)
  })

  test('shows thinking without a signature, a refusal, and sources', () => {
    const annotations = [{ type: 'url_citation', url_citation: { url: 'https://a.test', title: 'A' } }]
    const events = written([
      chunk({ reasoning: 'mm' }),
      chunk({ refusal: 'No.' }),
      chunk({ annotations }),
      chunk({}, 'content_filter'),
    ])
    const citation = {
      type: 'web_search_result_location',
      url: 'https://a.test',
      title: 'A',
      cited_text: '',
      encrypted_index: '',
    }
    expect(heard(events)).toMatchObject({
      content: [
        { type: 'thinking', thinking: 'mm', signature: '' },
        { type: 'text', text: 'No.', citations: [citation] },
      ],
      stop_reason: 'refusal',
    })
  })

  test('of nothing is a whole message all the same', () => {
    expect(written([]).map(({ type }) => type)).toEqual(['message_start', 'message_delta', 'message_stop'])
  })

  test('that runs out of money ends what is open', () => {
    const writer = front.writer(call)
    const events = eventsIn([writer.write(chunk({ content: 'Hi' })), writer.cut()])
    expect(events.slice(-2)).toEqual([
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'max_tokens', stop_sequence: null }, usage: { output_tokens: 0 } },
    ])
  })

  test('is well formed whatever the chunks are', () => {
    const deltas = fc.record(
      {
        content: fc.oneof(fc.string(), fc.jsonValue()),
        reasoning_content: fc.oneof(fc.string(), fc.jsonValue()),
        reasoning_details: fc.array(
          fc.record({
            type: fc.constantFrom('reasoning.text', 'reasoning.encrypted', 'reasoning.summary', 'odd'),
            text: fc.string(),
            signature: fc.string(),
            format: fc.constantFrom('anthropic', 'other'),
            index: fc.nat(2),
          }),
        ),
        tool_calls: fc.array(
          fc.record(
            {
              index: fc.nat(2),
              id: fc.constantFrom('', 'a', 'b'),
              function: fc.record({ name: fc.string(), arguments: fc.string() }),
            },
            { requiredKeys: [] },
          ),
        ),
        annotations: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.array(deltas), fc.option(fc.constantFrom('stop', 'odd')), (all, finish) => {
        const events = written([...all.map((delta) => chunk(delta as JsonObject)), chunk({}, finish)])
        const indexes = events.filter(({ type }) => type === 'content_block_start').map(({ index }) => index)
        expect(indexes).toEqual(indexes.map((_, at) => at))
        let open: Json | undefined
        for (const { type, index } of events) {
          if (type === 'content_block_start') {
            expect(open).toBeUndefined()
            open = index
          }
          if (type === 'content_block_delta' || type === 'content_block_stop') expect(index).toBe(open)
          if (type === 'content_block_stop') open = undefined
        }
        expect([events[0]?.['type'], events.at(-2)?.['type'], events.at(-1)?.['type'], open]).toEqual([
          'message_start',
          'message_delta',
          'message_stop',
          undefined,
        ])
      }),
    )
  })
})

describe('bytes that pass', () => {
  const event = (name: string, payload: string) => ({ name, data: encoder.encode(payload) })
  const sent = (bytes: Uint8Array) => decoder.decode(bytes)

  test('change in nothing but the model’s name', () => {
    const payload = '{"type":"message_start", "message":{"id":"x","model":"theirs" ,"n":1.0},"k":[ ]}  '
    const passing = front.passing(call)
    expect(sent(passing.event({ event: event('message_start', payload), piece: { servedModel: 'theirs' } }))).toBe(
      `event: message_start\ndata: ${payload.replace('"theirs"', '"m"')}\n\n`,
    )
    const delta = '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"a+/="}   }'
    expect(sent(passing.event({ event: event('content_block_delta', delta), piece: {} }))).toBe(
      `event: content_block_delta\ndata: ${delta}\n\n`,
    )
  })

  test('get the name that clients go by, where the vendor has not said it', () => {
    const ping = front.passing(call).event({ event: event('', '{"a":1,"type":"ping"}'), piece: {} })
    expect(sent(ping)).toBe('event: ping\ndata: {"a":1,"type":"ping"}\n\n')
  })

  test('are told what they cost with the last usage', () => {
    const payload = '{"type":"message_delta","delta":{},"usage":{"output_tokens":3}}'
    const bytes = front
      .passing(call)
      .event({ event: event('message_delta', payload), piece: { usage: {} } }, 1_500_000n)
    expect(sent(bytes)).toBe(
      'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":3,"cost":0.0015}}\n\n',
    )
  })

  test('that run out of money end the block that is open', () => {
    const passing = front.passing(call)
    const begun = '{"type":"content_block_start","index":4,"content_block":{"type":"text","text":""}}'
    passing.event({ event: event('content_block_start', begun), piece: {} })
    expect(eventsIn([passing.cut()]).map(({ type, index }) => [type, index])).toEqual([
      ['content_block_stop', 4],
      ['message_delta', undefined],
    ])
    expect(sent(passing.end)).toBe('event: message_stop\ndata: {"type":"message_stop"}\n\n')
  })

  test('of a whole answer are under the name that was asked for', () => {
    const body = encoder.encode('{"model":"theirs","content":[ ]}')
    expect(sent(front.passing(call).body(body, true))).toBe('{"model":"m","content":[ ]}')
    expect(sent(front.passing(call).body(body, false))).toBe('{"model":"theirs","content":[ ]}')
  })

  test('are gathered to one body, and ended where the vendor has not', () => {
    const gatherer = front.passing(call).gatherer()
    for (const said of [
      {
        type: 'message_start',
        message: {
          id: 'x',
          type: 'message',
          role: 'assistant',
          model: 'theirs',
          content: [],
          usage: { input_tokens: 3, output_tokens: 1 },
        },
      },
      { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'm' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 's' } },
      { type: 'content_block_start', index: 1, content_block: { type: 'tool_use', id: 't', name: 'f', input: {} } },
      { type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: '{"a":' } },
      { type: 'content_block_delta', index: 1, delta: { type: 'input_json_delta', partial_json: '1}' } },
      { type: 'content_block_start', index: 2, content_block: { type: 'text', text: '', citations: [] } },
      { type: 'content_block_delta', index: 2, delta: { type: 'text_delta', text: 'Hi' } },
      { type: 'content_block_delta', index: 2, delta: { type: 'citations_delta', citation: { type: 'c' } } },
      { type: 'odd' },
    ])
      gatherer.add(event('', JSON.stringify(said)))
    const body = {
      id: 'x',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [
        { type: 'thinking', thinking: 'm', signature: 's' },
        { type: 'tool_use', id: 't', name: 'f', input: { a: 1 } },
        { type: 'text', text: 'Hi', citations: [{ type: 'c' }] },
      ],
      stop_sequence: null,
      usage: { input_tokens: 3, output_tokens: 1 },
    }
    expect(gatherer.body('length')).toEqual({ ...body, stop_reason: 'max_tokens' })
    const delta = {
      type: 'message_delta',
      delta: { stop_reason: 'end_turn', stop_sequence: null },
      usage: { output_tokens: 9 },
      context_management: null,
    }
    gatherer.add(event('', JSON.stringify(delta)))
    expect(gatherer.body('length')).toEqual({
      ...body,
      stop_reason: 'end_turn',
      usage: { input_tokens: 3, output_tokens: 9 },
      context_management: null,
    })
  })

  test('of nothing are gathered to an empty message', () => {
    expect(front.passing(call).gatherer().body('length')).toMatchObject({
      type: 'message',
      content: [],
      stop_reason: 'max_tokens',
    })
  })

  test('are gathered without an error but for their bounds', () => {
    const said = fc.record({
      type: fc.constantFrom('message_start', 'content_block_start', 'content_block_delta', 'message_delta'),
    })
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            said,
            fc.dictionary(fc.constantFrom('message', 'index', 'delta', 'content_block', 'usage'), fc.jsonValue()),
          ),
        ),
        (all) => {
          const gatherer = front.passing(call).gatherer()
          for (const [type, fields] of all) gatherer.add(event('', JSON.stringify({ ...fields, ...type })))
          expect(isObject(gatherer.body())).toBe(true)
        },
      ),
    )
  })
})

describe('a failure', () => {
  test.each<[ErrorCode, number, string]>([
    ['invalid_value', 400, 'invalid_request_error'],
    ['invalid_api_key', 401, 'authentication_error'],
    ['insufficient_quota', 402, 'billing_error'],
    ['permission_denied', 403, 'permission_error'],
    ['model_not_found', 404, 'not_found_error'],
    ['request_too_large', 413, 'request_too_large'],
    ['rate_limit_exceeded', 429, 'rate_limit_error'],
    ['internal', 500, 'api_error'],
    ['vendor_error', 502, 'api_error'],
    ['no_target_available', 503, 'overloaded_error'],
    ['billing_unavailable', 503, 'api_error'],
    ['vendor_timeout', 504, 'timeout_error'],
  ])('%s is status %i and of the type %s', (code, status, type) => {
    const failed = front.failure(new GatewayError(code, 'Why.', { param: 'p' }), 'id-1')
    expect([failed.status, failed.headers['request-id'], failed.body]).toEqual([
      status,
      'id-1',
      {
        type: 'error',
        error: { type, message: 'Why.', details: { error_code: code, param: 'p' } },
        request_id: 'id-1',
      },
    ])
  })

  test('in mid-stream is an event', () => {
    expect(eventsIn([front.failureEvent(new GatewayError('vendor_error', 'Broke.'), call)])).toEqual([
      {
        type: 'error',
        error: { type: 'api_error', message: 'Broke.', details: { error_code: 'vendor_error' } },
        request_id: 'call-1',
      },
    ])
  })

  test('is all that reading throws, whatever is sent', () => {
    const body = { ...least, system: [{ type: 'text', text: 's' }], tools: [{ name: 'f', input_schema: {} }] }
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(body)), fc.jsonValue({ maxDepth: 4 }), (name, value) => {
        expect(refusal(() => read({ ...body, [name]: value as Json }))[0]).toMatch(
          /^(taken|invalid_value|invalid_json)$/,
        )
      }),
    )
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom('user', 'assistant', 'system'), (content, role) => {
        const messages = [{ role, content: content as Json }]
        expect(refusal(() => read({ ...least, messages }))[0]).toMatch(/^(taken|invalid_value|invalid_json)$/)
      }),
    )
  })
})
