import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { carry } from '../../src/core/carried-thought.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { isList, isObject } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { vendors } from '../../src/vendors/index.ts'
import { openaiResponses as vendor } from '../../src/vendors/openai-responses.ts'
import { event, eventsOf, passing as chatPassing, translating } from './streams.ts'

const decoder = new TextDecoder()
const own = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/responses/${name}.sse`, import.meta.url)))
const answer = own('thought-search-tools')
const passing = { call: { ...chatPassing.call, dialect: 'responses' as const }, translates: false }
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }
const thought = 'Two cities; ask for "both" – ☂.'

function read(bytes: Uint8Array, options = translating) {
  const reader = vendor.reader(options)
  return eventsOf(bytes).map((each) => reader(each))
}

function gathered(bytes: Uint8Array): JsonObject {
  const gatherer = createGatherer()
  for (const { chunks = [] } of read(bytes)) for (const chunk of chunks) gatherer.addChunk(chunk)
  return gatherer.body()
}

const format = 'openai-responses'
const details = [
  { type: 'reasoning.summary', summary: thought, id: 'rs_own_1', format, index: 0 },
  { type: 'reasoning.encrypted', data: 'gAAAAown/sealed==', id: 'rs_own_1', format, index: 1 },
]
const message = {
  role: 'assistant',
  content: 'I will look.',
  reasoning_content: thought,
  reasoning_details: details,
  annotations: [
    {
      type: 'url_citation',
      url_citation: { url: 'https://rain.test/', title: 'Rain', start_index: 2, end_index: 6 },
    },
  ],
  tool_calls: [
    { id: 'call_own_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Paris"}' } },
    { id: 'call_own_2', type: 'function', function: { name: 'now', arguments: '{}' } },
  ],
}

describe('an answer', () => {
  test('is the same message in chunks and as a whole', () => {
    const events = eventsOf(answer)
    const { response } = JSON.parse(decoder.decode(events.at(-1)?.data)) as { response: JsonObject }
    const whole = vendor.reply(response, translating)
    const choice = { index: 0, message, finish_reason: 'tool_calls' }
    expect([gathered(answer)['choices'], whole.inner?.['choices']]).toEqual([[choice], [choice]])
  })

  test('tells its usage, its searches and its tier at the end', () => {
    const { usage, finish, whole, last, servedModel, serviceTier } = read(answer, passing).at(-1) ?? {}
    expect({ usage, finish, whole, last, servedModel, serviceTier }).toEqual({
      usage: {
        counts: { input: 30, cached_input: 60, cache_write_5m: 10, output: 25, reasoning: 15, search: 1 },
        anomalies: [],
      },
      finish: 'completed',
      whole: true,
      last: true,
      servedModel: 'gpt-5-2026-01-01',
      serviceTier: 'default',
    })
  })

  test.each([
    [
      'a search in files and two runs in one container',
      [
        { type: 'file_search_call', id: 'f' },
        { type: 'code_interpreter_call', container_id: 'c1' },
        { type: 'code_interpreter_call', container_id: 'c1' },
      ],
      {},
      { file_search: 1, code_session: 1 },
    ],
    [
      'a container that an earlier answer began, and another',
      [
        { type: 'code_interpreter_call', container_id: 'old' },
        { type: 'code_interpreter_call', container_id: 'new' },
      ],
      {},
      { code_session: 1 },
    ],
    [
      'what the vendor counts itself',
      [{ type: 'web_search_call' }],
      { web_search_calls: 2, x_search_calls: 1, code_interpreter_calls: 3, document_search_calls: 4, mcp_calls: 5 },
      { search: 3, code_session: 3, file_search: 4 },
    ],
    ['counts of a tool that are none', [], { web_search_calls: -1, code_interpreter_calls: 1e9 }, {}],
  ])('is billed for its tools: %s', (_, output, details, counts) => {
    const call = { ...passing.call, body: { input: [{ type: 'code_interpreter_call', container_id: 'old' }] } }
    const told = Object.keys(details).length > 0 && { server_side_tool_usage_details: details }
    const usage = { input_tokens: 1, output_tokens: 1, ...told }
    expect(vendor.reply({ status: 'completed', output, usage }, { ...passing, call }).usage?.counts).toEqual({
      input: 1,
      output: 1,
      ...counts,
    })
  })

  test('is counted by all that it says, the names of tools too', () => {
    const text = read(answer, passing).map((piece) => piece.text ?? '')
    expect(text.join('')).toBe(`${thought}I will look.weather{"city":"Paris"}now{}`)
  })

  test('that says everything in its last event alone is told all the same', () => {
    const events = eventsOf(answer)
    const reader = vendor.reader(translating)
    const { text, chunks = [] } = reader(events.at(-1)!)
    const gatherer = createGatherer()
    for (const chunk of chunks) gatherer.addChunk(chunk)
    expect([text, gatherer.body()['choices']]).toEqual([
      `${thought}I will look.{"city":"Paris"}{}`,
      [{ index: 0, message, finish_reason: 'tool_calls' }],
    ])
  })

  test('that breaks off is the vendor’s failure', () => {
    const errors = read(own('error-midway'), passing).map(({ error }) => error?.code)
    expect(errors).toEqual([undefined, undefined, undefined, undefined, undefined, 'vendor_error', 'vendor_error'])
  })

  test.each([
    [{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }, 'length'],
    [{ status: 'incomplete', incomplete_details: { reason: 'content_filter' } }, 'content_filter'],
    [{ status: 'completed' }, 'stop'],
  ])('with %j ends with %s', (end, finish) => {
    const { inner } = vendor.reply({ ...end, output: [] }, translating)
    expect(inner?.['choices']).toEqual([
      { index: 0, message: { role: 'assistant', content: null }, finish_reason: finish },
    ])
  })

  test.each([
    [{ error: { code: 'rate_limit_exceeded', message: 'x' }, status: 'failed' }, 'vendor_busy'],
    [{ error: { code: 'server_error', message: 'x' } }, 'vendor_error'],
    [{ choices: [] }, 'vendor_error'],
  ])('that is %j is none', (body, code) => {
    expect(vendor.reply(body, translating).error?.code).toBe(code)
  })
})

function asked(inner: JsonObject, model = 'gpt-5') {
  const call: Call = { ...translating.call, inner }
  const { body, dropped, url } = vendor.request(call, { vendor: 'v', model }, access, true)
  return { body: JSON.parse(decoder.decode(body)) as JsonObject, dropped, url }
}

describe('a conversation', () => {
  test('goes out as items, its own thoughts among them and no others', () => {
    const foreign = [{ type: 'reasoning.text', text: 'x', signature: 's', format: 'anthropic', index: 0 }]
    const { body, url } = asked({
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: 'Which?' }, image('https://a/b.png'), file] },
        message,
        { role: 'tool', tool_call_id: 'call_own_1', content: 'rain' },
        { role: 'tool', tool_call_id: 'call_own_2', content: [{ type: 'text', text: 'noon' }] },
        { role: 'assistant', content: 'Rain.', reasoning_details: foreign },
      ],
    })
    expect(url).toBe('https://vendor.test/v1/responses')
    expect(body['input']).toEqual([
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'Which?' },
          { type: 'input_image', image_url: 'https://a/b.png' },
          { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' },
        ],
      },
      {
        type: 'reasoning',
        id: 'rs_own_1',
        summary: [{ type: 'summary_text', text: thought }],
        encrypted_content: 'gAAAAown/sealed==',
      },
      { role: 'assistant', content: 'I will look.' },
      { type: 'function_call', call_id: 'call_own_1', name: 'weather', arguments: '{"city":"Paris"}' },
      { type: 'function_call', call_id: 'call_own_2', name: 'now', arguments: '{}' },
      { type: 'function_call_output', call_id: 'call_own_1', output: 'rain' },
      { type: 'function_call_output', call_id: 'call_own_2', output: [{ type: 'input_text', text: 'noon' }] },
      { role: 'assistant', content: 'Rain.' },
    ])
  })

  test('is asked for in the words of this API, and nothing of it is kept', () => {
    const { body, dropped } = asked({
      messages: [{ role: 'user', content: 'Hi' }],
      max_tokens: 5,
      temperature: 1,
      seed: 7,
      reasoning_effort: 'low',
      verbosity: 'low',
      tools: [
        { type: 'function', function: { name: 'f', parameters: { type: 'object' } } },
        { type: 'custom', custom: { name: 'c', format: { type: 'grammar', grammar: { syntax: 'lark' } } } },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      response_format: { type: 'json_schema', json_schema: { name: 'n', strict: true, schema: { type: 'object' } } },
      unheard: 1,
    })
    expect({ body, dropped }).toEqual({
      body: {
        model: 'gpt-5',
        input: [{ role: 'user', content: 'Hi' }],
        temperature: 1,
        max_output_tokens: 16,
        tools: [
          { type: 'function', name: 'f', parameters: { type: 'object' }, strict: false },
          { type: 'custom', name: 'c', format: { type: 'grammar', syntax: 'lark' } },
        ],
        tool_choice: { type: 'function', name: 'f' },
        text: {
          format: { type: 'json_schema', name: 'n', strict: true, schema: { type: 'object' } },
          verbosity: 'low',
        },
        reasoning: { effort: 'low', summary: 'auto' },
        include: ['reasoning.encrypted_content'],
        store: false,
        stream: true,
      },
      dropped: ['seed', 'unheard'],
    })
  })

  test('with a model that does not think says nothing of thinking', () => {
    const { body, dropped } = asked({ messages: [], reasoning_effort: 'low' }, 'gpt-4.1')
    expect([body, dropped]).toEqual([{ model: 'gpt-4.1', input: [], store: false, stream: true }, ['reasoning_effort']])
  })

  test.each([
    [{ stop: ['x'] }, 'stop'],
    [{ n: 2 }, 'n'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
  ])('with %j is refused by name', (more, param) => {
    expect(() => asked({ messages: [], ...more })).toThrow(expect.objectContaining({ code: 'invalid_value', param }))
  })
})

const image = (url: string) => ({ type: 'image_url', image_url: { url } })
const file = { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AA==' } }

describe('a caller of this dialect', () => {
  const bytes = (text: string) => new TextEncoder().encode(text)
  function passed(id: string, text: string, { stream = false, baseUrl = access.baseUrl } = {}) {
    const call: Call = { ...passing.call, raw: bytes(text), body: JSON.parse(text) as JsonObject }
    const sent = vendors.get(id)!.request(call, { vendor: 'v', model: 'theirs' }, { ...access, baseUrl }, stream)
    return { url: sent.url, headers: sent.headers, text: decoder.decode(sent.body) }
  }

  test('has his bytes passed, with another model and no options of ours', () => {
    const { text, headers } = passed('openai', '{"model":"m","input":"Hi","big":12345678901234567890,"tags":["a"]}')
    expect([text, headers['authorization']]).toEqual([
      '{"model":"theirs","input":"Hi","big":12345678901234567890}',
      'Bearer secret',
    ])
  })

  test('is streamed to where that is wanted, and has no options of a stream where it is not', () => {
    const text = '{"model":"m","input":"Hi","stream_options":{"include_obfuscation":false}}'
    expect([passed('xai', text, { stream: true }).text, passed('xai', text).text]).toEqual([
      '{"model":"theirs","input":"Hi","stream_options":{"include_obfuscation":false},"stream":true}',
      '{"model":"theirs","input":"Hi"}',
    ])
  })

  test('does not send back what another vendor has thought', () => {
    const items = [
      { role: 'user', content: 'Hi' },
      { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: carry({ type: 'reasoning.text' }) },
      { type: 'reasoning', id: 'rs_2', summary: [], encrypted_content: 'gAAAA' },
    ]
    const { text } = passed('openai', JSON.stringify({ model: 'm', input: items }))
    expect(JSON.parse(text)).toEqual({ model: 'theirs', input: [items[0], items[2]] })
  })

  test.each([
    ['https://r.openai.azure.com/openai/v1', 'https://r.openai.azure.com/openai/v1/responses'],
    ['https://r.openai.azure.com/openai/deployments', 'https://r.openai.azure.com/openai/v1/responses'],
    [
      'https://r.openai.azure.com/openai/deployments/2024-12-01-preview',
      'https://r.openai.azure.com/openai/v1/responses',
    ],
    ['https://r.services.ai.azure.com/models', 'https://r.services.ai.azure.com/openai/v1/responses'],
  ])('reaches Azure at %s', (baseUrl, url) => {
    const sent = passed('azure', '{"model":"m","input":"Hi"}', { baseUrl })
    expect([sent.url, sent.headers['api-key'], sent.headers['authorization']]).toEqual([url, 'secret', undefined])
  })

  test('is translated for where nobody has recorded the API', () => {
    const speaking = [...vendors.values()].filter(({ speaks }) => speaks.includes('responses')).map(({ id }) => id)
    expect(speaking.toSorted()).toEqual([
      'azure',
      'bedrock-mantle',
      'deepseek',
      'lmstudio',
      'openai',
      'openai-responses',
      'openrouter',
      'xai',
    ])
  })
})

const events = eventsOf(answer).map(({ data }) => JSON.parse(decoder.decode(data)) as JsonObject)

/** The value without some of its members, at any depth. */
function thinned(value: Json, isGone: () => boolean): Json {
  if (isList(value)) return value.map((item) => thinned(item, isGone))
  if (!isObject(value)) return isGone() ? null : value
  const kept = Object.entries(value).flatMap(([name, item]) =>
    isGone() || item === undefined ? [] : [[name, thinned(item, isGone)] as const],
  )
  return Object.fromEntries(kept)
}

test('a stream whose events lack any of their fields never throws', () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer({ min: 0, max: 19 })), (numbers) => {
      const isGone = () => numbers.next().value === 0
      const reader = vendor.reader(translating)
      const gatherer = createGatherer()
      for (const each of events) {
        const { chunks = [] } = reader(event(thinned(each, isGone)))
        for (const chunk of chunks) gatherer.addChunk(chunk)
      }
      vendor.reply(thinned(events.at(-1)?.['response'] ?? {}, isGone) as JsonObject, translating)
    }),
    { numRuns: 300 },
  )
})

test('any bytes, bodies and requests are taken or refused by name', () => {
  const names = fc.constantFrom(
    'messages',
    'role',
    'content',
    'tool_calls',
    'function',
    'custom',
    'tools',
    'type',
    'file',
    'reasoning_details',
    'format',
    'tool_choice',
    'response_format',
    'output',
    'status',
    'error',
    'summary',
  )
  const words = fc.constantFrom(
    'assistant',
    'tool',
    'function',
    'custom',
    'message',
    'reasoning',
    'openai-responses',
    '',
  )
  const { json } = fc.letrec<{ json: Json }>((tie) => ({
    json: fc.oneof(
      { depthSize: 'small' },
      words,
      fc.constantFrom(null, true, 0, 1.5),
      fc.array(tie('json'), { maxLength: 4 }),
      fc.dictionary(names, tie('json'), { maxKeys: 5 }),
    ),
  }))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.dictionary(names, json, { maxKeys: 8 }), (bytes, object) => {
      vendor.reader(translating)({ name: '', data: bytes })
      vendor.reader(translating)(event(object))
      vendor.reply(object, translating)
      try {
        asked(object)
      } catch (error) {
        expect(error).toBeInstanceOf(GatewayError)
      }
    }),
    { numRuns: 300 },
  )
})
