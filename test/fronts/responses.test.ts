import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { carriedIn, carry } from '../../src/core/carried-thought.ts'
import { concat } from '../../src/core/concat.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { createSseParser } from '../../src/core/sse.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { responses as front } from '../../src/fronts/responses.ts'
import { eventsIn, faultsIn } from './responses-sequence.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const parts = { id: 'call-1', startedAtMs: 0, path: '/v1/responses', header: () => undefined, query: () => undefined }

function read(body: JsonObject): Call {
  return front.read(encoder.encode(JSON.stringify(body)), parts)
}

const least = { model: 'm', input: 'Hi' }
const asked = (more: JsonObject) => read({ ...least, ...more }).inner
const said = (input: Json) => asked({ input })['messages']

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
    const { raw: _, ...rest } = read({ ...least, stream: true, max_output_tokens: 9 })
    expect(rest).toEqual({
      id: 'call-1',
      dialect: 'responses',
      operation: 'chat',
      body: { ...least, stream: true, max_output_tokens: 9 },
      model: 'm',
      stream: true,
      inner: { model: 'm', stream: true, messages: [{ role: 'user', content: 'Hi' }], max_completion_tokens: 9 },
      wantsUsage: true,
      maxOutput: 9,
      choices: 1,
      startedAtMs: 0,
    })
  })

  test.each<[JsonObject, string]>([
    [{ model: null }, 'model'],
    [{ model: '' }, 'model'],
    [{ input: null }, 'input'],
    [{ input: 7 }, 'input'],
    [{ input: ['Hi'] }, 'input[0]'],
    [{ input: [{ role: 'tool', content: '' }] }, 'input[0].role'],
    [{ input: [{ role: 'user' }] }, 'input[0].content'],
    [{ input: [{ role: 'user', content: ['Hi'] }] }, 'input[0].content[0]'],
    [{ input: [{ type: 1 }] }, 'input[0].type'],
    [{ input: [{ type: 'function_call', call_id: 'a', name: 'f' }] }, 'input[0].arguments'],
    [{ input: [{ type: 'function_call_output', call_id: 'a', output: {} }] }, 'input[0].output'],
    [{ instructions: [] }, 'instructions'],
    [{ previous_response_id: 1 }, 'previous_response_id'],
    [{ background: true }, 'background'],
    [{ stream: 'yes' }, 'stream'],
    [{ store: 1 }, 'store'],
    [{ tools: {} }, 'tools'],
    [{ tools: [1] }, 'tools[0]'],
    [{ tool_choice: 1 }, 'tool_choice'],
    [{ text: 'x' }, 'text'],
    [{ reasoning: 'high' }, 'reasoning'],
    [{ temperature: 2.1 }, 'temperature'],
    [{ top_p: -1 }, 'top_p'],
    [{ top_logprobs: 21 }, 'top_logprobs'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
  ])('with %j is refused by name', (more, param) => {
    expect(refusal(() => read({ ...least, ...more }))).toEqual(['invalid_value', param])
  })

  test('that says a field twice, or in other letters, is refused', () => {
    expect(refusal(() => front.read(encoder.encode('{"model":"a","Model":"b","input":""}'), parts))).toEqual([
      'invalid_value',
      'model',
    ])
  })

  test.each<[JsonObject, string | undefined]>([
    [{ previous_response_id: 'resp_1' }, 'previous_response_id'],
    [{ conversation: 'conv_1', input: null }, 'conversation'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
    [{ input: [{ type: 'computer_call_output' }] }, 'input[0].type'],
    [{ tools: [{ type: 'function', name: 'f' }, { type: 'web_search' }] }, 'tools[1].type'],
    [{ tool_choice: { type: 'file_search' } }, 'tool_choice.type'],
    [{ store: true, truncation: 'auto' }, undefined],
  ])('with %j has nothing but %s that no translation can serve', (more, param) => {
    expect(read({ ...least, ...more }).beyond?.param).toBe(param)
  })
})

describe('in the inner language', () => {
  test('instructions come first, and every part has its own words there', () => {
    const content = [
      { type: 'input_text', text: 'a' },
      { type: 'input_image', image_url: 'https://i/1.png', detail: 'low' },
      { type: 'input_image', file_id: 'file_1' },
      { type: 'input_file', filename: 'f.pdf', file_data: 'data:application/pdf;base64,AA==' },
      { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
      { type: 'odd', odd: 1 },
    ]
    const { messages } = asked({ instructions: 'Be brief.', input: [{ type: 'message', role: 'user', content }] })
    expect(messages).toEqual([
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'image_url', image_url: { url: 'https://i/1.png', detail: 'low' } },
          { type: 'file', file: { file_id: 'file_1' } },
          { type: 'file', file: { filename: 'f.pdf', file_data: 'data:application/pdf;base64,AA==' } },
          { type: 'input_audio', input_audio: { data: 'AA==', format: 'wav' } },
          { type: 'odd', odd: 1 },
        ],
      },
    ])
  })

  test('the items of one turn are one message, and what tools gave comes after it', () => {
    const messages = said([
      { role: 'user', content: 'Which?' },
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Two.' }], encrypted_content: 'gAAA' },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'g', input: 'x' },
      { type: 'function_call_output', call_id: 'c1', output: 'one' },
      { type: 'custom_tool_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
    ])
    const format = 'openai-responses'
    expect(messages).toEqual([
      { role: 'user', content: 'Which?' },
      {
        role: 'assistant',
        content: 'I look.',
        reasoning_content: 'Two.',
        reasoning_details: [
          { type: 'reasoning.summary', summary: 'Two.', format, id: 'rs_1', index: 0 },
          { type: 'reasoning.encrypted', data: 'gAAA', format, id: 'rs_1', index: 1 },
        ],
        tool_calls: [
          { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: 'c2', type: 'custom', custom: { name: 'g', input: 'x' } },
        ],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'one' },
      { role: 'tool', tool_call_id: 'c2', content: [{ type: 'text', text: 'two' }] },
      { role: 'assistant', content: null, refusal: 'No.' },
    ])
  })

  test('what is said after calls stays with their turn, what is said twice is two turns', () => {
    const call = { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' }
    const say = (content: string) => ({ role: 'assistant', content })
    const texts = (input: Json) => objectsOf(said(input)).map(({ content }) => content)
    expect([texts([call, say('a')]), texts([say('a'), say('b'), call])]).toEqual([['a'], ['a', 'b']])
  })

  test('another vendor’s thought comes back as it was, one for reading only as its text', () => {
    const detail = { type: 'reasoning.text', signature: 'sig', format: 'anthropic' }
    const item = (carried: JsonObject) => ({
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: 'Two.' }],
      encrypted_content: carry(carried),
    })
    expect(said([item(detail), item({ type: 'reasoning.text' })])).toEqual([
      {
        role: 'assistant',
        content: '',
        reasoning_content: 'Two.Two.',
        reasoning_details: [{ ...detail, text: 'Two.', index: 0 }],
      },
    ])
  })

  test('what a vendor’s own tools did, and a thought that is not kept, are left out by name', () => {
    const input = [
      { type: 'web_search_call', id: 'ws_1' },
      { role: 'user', content: 'Hi' },
    ]
    expect(asked({ input })).toEqual({ model: 'm', messages: [{ role: 'user', content: 'Hi' }], 'input[0]': true })
  })

  test('tools, formats and wishes are said in its words', () => {
    const parameters = { type: 'object' }
    expect(
      asked({
        tools: [
          { type: 'function', name: 'f', description: 'd', parameters, strict: true },
          { type: 'custom', name: 'c', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
        ],
        tool_choice: { type: 'function', name: 'f' },
        text: { format: { type: 'json_schema', name: 'n', schema: {}, strict: true }, verbosity: 'low' },
        reasoning: { effort: 'high', summary: 'auto' },
        include: ['reasoning.encrypted_content', 'message.output_text.logprobs', 'file_search_call.results'],
        top_logprobs: 2,
        truncation: 'disabled',
        service_tier: 'auto',
        store: false,
        prompt_cache_key: 'k',
      }),
    ).toEqual({
      model: 'm',
      messages: [{ role: 'user', content: 'Hi' }],
      tools: [
        { type: 'function', function: { name: 'f', description: 'd', parameters, strict: true } },
        {
          type: 'custom',
          custom: { name: 'c', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'x' } } },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: {}, strict: true } },
      verbosity: 'low',
      reasoning_effort: 'high',
      logprobs: true,
      top_logprobs: 2,
      include: ['file_search_call.results'],
      prompt_cache_key: 'k',
    })
  })

  test('tools that are not allowed are not offered', () => {
    const tool = (name: string) => ({ type: 'function', name, parameters: { type: 'object' } })
    const { tools, tool_choice: choice } = asked({
      tools: [tool('a'), tool('b')],
      tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'b' }] },
    })
    expect([objectsOf(tools).map(({ function: named }) => isObject(named) && named['name']), choice]).toEqual([
      ['b'],
      'required',
    ])
  })
})

const call = read({ ...least, stream: true })
const chunk = (delta: JsonObject, finish: string | null = null, more: JsonObject = {}) => ({
  choices: [{ index: 0, delta, finish_reason: finish, ...more }],
})
const usage = {
  prompt_tokens: 10,
  completion_tokens: 5,
  total_tokens: 15,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
  cost: 0.5,
}

function written(chunks: readonly JsonObject[]): readonly JsonObject[] {
  const writer = front.writer({ ...call })
  return eventsIn(concat([...chunks.map((each) => writer.write(each)), writer.close(usage)]))
}

const lastOf = (events: readonly JsonObject[]) => (events.at(-1)?.['response'] ?? {}) as JsonObject
const textItem = (text: string, index: number) => ({
  id: `msg_call-1_${index}`,
  type: 'message',
  status: 'completed',
  role: 'assistant',
  content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
})

describe('a stream', () => {
  test('tells a text event by event', () => {
    const events = written([
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: 'Hel' }),
      chunk({ content: 'lo' }, 'stop'),
    ])
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ])
    expect(faultsIn(events)).toEqual([])
    expect(lastOf(events)).toMatchObject({
      id: 'resp_call-1',
      model: 'm',
      status: 'completed',
      output: [textItem('Hello', 0)],
      usage: {
        input_tokens: 10,
        input_tokens_details: { cached_tokens: 4 },
        output_tokens: 5,
        output_tokens_details: { reasoning_tokens: 2 },
        total_tokens: 15,
        cost: 0.5,
      },
    })
  })

  test('tells thoughts, calls that are mixed, sources and refusals each in its item', () => {
    const tool = (index: number, more: JsonObject) => ({ tool_calls: [{ index, ...more }] })
    const detail = { type: 'reasoning.text', format: 'anthropic', index: 0 }
    const source = { url: 'https://a/', title: 'A', start_index: 0, end_index: 2 }
    const events = written([
      chunk({ reasoning_content: 'Hm', reasoning_details: [{ ...detail, text: 'Hm' }] }),
      chunk({ reasoning_details: [{ ...detail, text: '', signature: 'sig' }] }),
      chunk({ content: 'Yes' }),
      chunk({ annotations: [{ type: 'url_citation', url_citation: source }] }),
      chunk({ refusal: 'No' }),
      chunk(tool(0, { id: 'c0', type: 'function', function: { name: 'f', arguments: '{"a"' } })),
      chunk(tool(1, { id: 'c1', type: 'function', function: { name: 'g', arguments: '' } })),
      chunk(tool(0, { function: { arguments: ':1}' } })),
      chunk(tool(1, { function: { arguments: '{}' } })),
      chunk(tool(2, { id: 'c2', type: 'custom', custom: { name: 'h', input: 'x y' } })),
      chunk({}, 'tool_calls'),
    ])
    expect(faultsIn(events)).toEqual([])
    const [thought, ...rest] = objectsOf(lastOf(events)['output'])
    expect(carriedIn(stringOf(thought?.['encrypted_content']))).toEqual({
      type: 'reasoning.text',
      format: 'anthropic',
      signature: 'sig',
    })
    expect(rest).toEqual([
      {
        ...textItem('', 1),
        content: [
          { type: 'output_text', text: 'Yes', annotations: [{ type: 'url_citation', ...source }], logprobs: [] },
          { type: 'refusal', refusal: 'No' },
        ],
      },
      { id: 'fc_call-1_2', type: 'function_call', status: 'completed', call_id: 'c0', name: 'f', arguments: '{"a":1}' },
      { id: 'fc_call-1_3', type: 'function_call', status: 'completed', call_id: 'c1', name: 'g', arguments: '{}' },
      { id: 'ctc_call-1_4', type: 'custom_tool_call', status: 'completed', call_id: 'c2', name: 'h', input: 'x y' },
    ])
  })

  test('tells how likely its words were', () => {
    const likely = { token: 'Hi', logprob: -0.1, bytes: [72, 105], top_logprobs: [] }
    const events = written([chunk({ content: 'Hi' }, 'stop', { logprobs: { content: [likely] } })])
    expect(events.find(({ type }) => type === 'response.output_text.delta')?.['logprobs']).toEqual([likely])
    expect(objectsOf(objectsOf(lastOf(events)['output'])[0]?.['content'])[0]?.['logprobs']).toEqual([likely])
  })

  test.each([
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ])('that ends for its %s is not completed', (finish, reason) => {
    const events = written([chunk({ content: 'Hi' }, finish)])
    const { status, incomplete_details: details } = lastOf(events)
    expect([events.at(-1)?.['type'], status, details]).toEqual(['response.incomplete', 'incomplete', { reason }])
  })

  test('whose money runs out ends as at a bound, and then says why', () => {
    const own = { ...call }
    const writer = front.writer(own)
    const error = new GatewayError('insufficient_quota', 'Out.')
    const events = eventsIn(
      concat([writer.write(chunk({ content: 'Hi' })), writer.cut(), front.failureEvent(error, own)]),
    )
    expect(faultsIn(events)).toEqual([])
    expect(events.slice(-2)).toMatchObject([
      { type: 'response.incomplete', response: { output: [{ ...textItem('Hi', 0), status: 'incomplete' }] } },
      { type: 'error', code: 'insufficient_quota', message: 'Out.', param: null },
    ])
  })

  test('that breaks says so, and then fails the response that it began', () => {
    const own = { ...call }
    const writer = front.writer(own)
    const error = new GatewayError('vendor_error', 'Broken.')
    const events = eventsIn(concat([writer.write(chunk({ content: 'Hi' })), front.failureEvent(error, own)]))
    expect(events.slice(-2)).toMatchObject([
      { type: 'error', sequence_number: 5, error: { type: 'server_error', code: 'vendor_error', message: 'Broken.' } },
      {
        type: 'response.failed',
        sequence_number: 6,
        response: { id: 'resp_call-1', status: 'failed', error: { code: 'vendor_error', message: 'Broken.' } },
      },
    ])
  })
})

const own = readFileSync(new URL('../fixtures/responses/thought-search-tools.sse', import.meta.url))
const theirs = createSseParser().push(new Uint8Array(own))
const step = (at: number) => ({ event: theirs[at]!, piece: { servedModel: 'theirs' } })

describe('a vendor’s own stream', () => {
  test('goes by under the name that was asked for, and without what is no event', () => {
    const passing = front.passing(call)
    const created = eventsIn(passing.event(step(0)))[0]?.['response'] as JsonObject
    const done = passing.event({ event: { name: '', data: encoder.encode('[DONE]') }, piece: {} })
    expect([created['model'], decoder.decode(done), passing.end.length]).toEqual(['m', '', 0])
  })

  test('is named where the vendor does not', () => {
    const { data } = theirs[5]!
    expect(decoder.decode(front.passing(call).event({ event: { name: '', data }, piece: {} }))).toBe(
      `event: response.reasoning_summary_text.delta\ndata: ${decoder.decode(data)}\n\n`,
    )
  })

  test('that breaks goes on with the vendor’s own numbers and id', () => {
    const mine = { ...call }
    const passing = front.passing(mine)
    const sent = [0, 1, 2, 3].map((at) => passing.event(step(at)))
    const error = new GatewayError('vendor_error', 'Broken.')
    const events = eventsIn(concat([...sent, front.failureEvent(error, mine)]))
    expect(events.slice(-2)).toMatchObject([
      { type: 'error', sequence_number: 4 },
      { type: 'response.failed', sequence_number: 5, response: { id: 'resp_own_1', model: 'm', status: 'failed' } },
    ])
  })

  test('whose money runs out is incomplete', () => {
    const mine = { ...call }
    const passing = front.passing(mine)
    const error = new GatewayError('insufficient_quota', 'Out.')
    const events = eventsIn(concat([passing.event(step(0)), passing.cut(), front.failureEvent(error, mine)]))
    expect(events.slice(-2)).toMatchObject([
      {
        type: 'response.incomplete',
        sequence_number: 1,
        response: { id: 'resp_own_1', incomplete_details: { reason: 'max_output_tokens' } },
      },
      { type: 'error', sequence_number: 2 },
    ])
  })

  test('is gathered as far as it came', () => {
    const gatherer = front.passing(call).gatherer()
    const upTo = theirs.findIndex(({ data }) => decoder.decode(data).includes('"Paris'))
    for (const event of theirs.slice(0, upTo)) gatherer.add(event)
    const { status, incomplete_details: details, output, model } = gatherer.body('length')
    expect({ status, details, model }).toEqual({
      status: 'incomplete',
      details: { reason: 'max_output_tokens' },
      model: 'm',
    })
    expect(objectsOf(output).map(({ type, status: state, arguments: given }) => [type, state, given])).toEqual([
      ['reasoning', undefined, undefined],
      ['web_search_call', 'completed', undefined],
      ['message', 'completed', undefined],
      ['function_call', 'incomplete', '{"city":'],
    ])
  })

  test('of which nothing came is a response all the same', () => {
    const body = front.passing(call).gatherer().body('length')
    expect([body['id'], body['status'], body['output']]).toEqual(['resp_call-1', 'incomplete', []])
  })
})

describe('an error', () => {
  test('is told as by OpenAI', () => {
    const { status, body } = front.failure(new GatewayError('invalid_value', 'Wrong.', { param: 'input' }))
    expect([status, body]).toEqual([
      400,
      { error: { message: 'Wrong.', type: 'invalid_request_error', param: 'input', code: 'invalid_value' } },
    ])
  })
})

const names = fc.constantFrom(
  ...(
    'model input role content type text id call_id name arguments output summary encrypted_content tools tool_choice ' +
    'delta choices tool_calls function custom index reasoning_content reasoning_details format finish_reason refusal ' +
    'annotations url_citation item output_index response logprobs format reasoning include item_id image_url'
  ).split(' '),
)
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, 0, 1, 'user', 'assistant', 'message', 'reasoning', 'function_call', 'function', ''),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(names, tie('json'), { maxKeys: 5 }),
  ),
}))
const object = fc.dictionary(names, json, { maxKeys: 6 })

test('any request is read or refused', () => {
  fc.assert(
    fc.property(object, fc.array(object, { maxLength: 4 }), (more, input) => {
      expect(['taken', 'invalid_value', 'invalid_json']).toContain(
        refusal(() => read({ model: 'm', input, ...more }))[0],
      )
    }),
    { numRuns: 500 },
  )
})

test('any chunks become events in order', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(object, fc.constantFrom(null, 'stop', 'length')), { maxLength: 6 }), (deltas) => {
      expect(faultsIn(written(deltas.map(([delta, finish]) => chunk(delta, finish))))).toEqual([])
    }),
    { numRuns: 500 },
  )
})

test('any answer becomes a response, and any events a body', () => {
  fc.assert(
    fc.property(object, fc.array(object, { maxLength: 6 }), (message, events) => {
      JSON.stringify(front.reply(call, { choices: [{ message }] }))
      const passing = front.passing({ ...call })
      const gatherer = passing.gatherer()
      for (const each of events) {
        const event = { name: '', data: encoder.encode(JSON.stringify(each)) }
        gatherer.add(event)
        passing.event({ event, piece: { servedModel: 'x' } })
      }
      JSON.stringify(gatherer.body('length'))
    }),
    { numRuns: 500 },
  )
})
