import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { readPrompt } from '../../src/core/prompt.ts'
import { chat } from '../../src/fronts/chat.ts'
import type { PassingStep } from '../../src/fronts/front.ts'
import { frontFor, fronts } from '../../src/fronts/index.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const parts = {
  id: 'call-1',
  startedAtMs: 1_700_000_000_999,
  path: '/v1/chat/completions',
  header: () => undefined,
  query: () => undefined,
}
const hello = [{ role: 'user', content: 'Hi' }]

function read(body: unknown): Call {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return chat.read(encoder.encode(text), parts)
}

/** A request that is right but for these members. */
function withFields(fields: JsonObject): Call {
  return read({ model: 'm', messages: hello, ...fields })
}

/** What is wrong with it: code and parameter. */
function fault(run: () => unknown): readonly unknown[] {
  try {
    run()
  } catch (error) {
    if (error instanceof GatewayError) return [error.status, error.code, error.param]
    throw error
  }
  return ['accepted']
}

describe('a chat request', () => {
  test('is read with its bytes kept', () => {
    const text = '{ "model": "m", "messages": [{"role":"user","content":"Hi"}], "seed": 12345678901234567890 }'
    const { raw, body, inner, ...rest } = read(text)
    expect({ ...rest, isInner: inner === body, text: decoder.decode(raw), names: Object.keys(body) }).toEqual({
      id: 'call-1',
      dialect: 'chat',
      operation: 'chat',
      model: 'm',
      stream: false,
      wantsUsage: false,
      choices: 1,
      startedAtMs: 1_700_000_000_999,
      isInner: true,
      text,
      names: ['model', 'messages', 'seed'],
    })
  })

  test("may carry the caller's own id", () => {
    const call = chat.read(encoder.encode(JSON.stringify({ model: 'm', messages: hello })), {
      ...parts,
      header: (name) => (name === 'x-request-id' ? 'mine-7' : undefined),
    })
    expect(call.clientRequestId).toBe('mine-7')
  })

  test('with an id that is no plain short text has none', () => {
    const header = () => 'a b\n'
    const call = chat.read(encoder.encode(JSON.stringify({ model: 'm', messages: hello })), { ...parts, header })
    expect(call.clientRequestId).toBeUndefined()
  })

  test('may begin with a byte order mark, which no vendor gets to see', () => {
    const call = read(`\ufeff${JSON.stringify({ model: 'm', messages: hello })}`)
    expect([call.model, call.raw[0]]).toEqual(['m', 0x7b])
  })

  test('that streams may want usage', () => {
    const { stream, wantsUsage } = withFields({ stream: true, stream_options: { include_usage: true } })
    expect([stream, wantsUsage]).toEqual([true, true])
  })

  test.each([
    [{}, undefined],
    [{ max_tokens: null }, undefined],
    [{ max_tokens: 1 }, 1],
    [{ max_completion_tokens: 2 ** 31 }, 2 ** 31],
    [{ max_tokens: 20, max_completion_tokens: 10 }, 20],
    [{ max_tokens: 1.0 }, 1],
  ])('with %j is bounded to %s tokens', (fields, expected) => {
    expect(withFields(fields).maxOutput).toBe(expected)
  })

  test.each([
    [{ n: null }, 1],
    [{ n: 128 }, 128],
  ])('with %j has %i choices', (fields, expected) => {
    expect(withFields(fields).choices).toBe(expected)
  })

  test('may have fields that nobody knows, __proto__ and constructor among them', () => {
    const call = read(
      '{"__proto__":{"model":"evil","stream":true},"constructor":{"prototype":{"n":9}},"model":"m","messages":[{"role":"user","content":"x","__proto__":{"role":"x"}}]}',
    )
    expect([call.model, call.stream, call.choices, ({} as JsonObject)['stream']]).toEqual(['m', false, 1, undefined])
  })

  test('may have lone surrogates, special tokens, NUL and text that looks like a stream', () => {
    const text =
      '{"model":"m","messages":[{"role":"user","content":"\\ud800 \\u0000 <|endoftext|> data: [DONE]\\n\\n"}]}'
    expect(readPrompt(read(text).inner).texts).toContain('\ud800 \0 <|endoftext|> data: [DONE]\n\n')
  })

  test('may have numbers that no double holds where nobody reads them', () => {
    expect(read('{"model":"m","messages":[{"role":"user","content":"x"}],"x":1e400,"y":-0,"z":1e308}').model).toBe('m')
  })

  test('leaves the order of tool messages to the vendor', () => {
    const messages = [
      { role: 'assistant', content: null, tool_calls: [{ id: 'a', function: { name: 'f', arguments: 'not JSON' } }] },
      { role: 'tool', tool_call_id: 'b', content: 'x' },
      { role: 'tool', tool_call_id: 'b', content: '' },
      { role: 'assistant' },
    ]
    expect(read({ model: 'm', messages }).body['messages']).toEqual(messages)
  })
})

const deep = (levels: number): string =>
  `{"model":"m","messages":[{"role":"user","content":"x"}],"x":${'['.repeat(levels)}${']'.repeat(levels)}}`
const message = JSON.stringify(hello[0])
const invalidJson = [400, 'invalid_json', undefined]
const invalid = (param: string): readonly unknown[] => [400, 'invalid_value', param]

describe('a body of a wrong shape is refused:', () => {
  test.each([
    ['empty', '', invalidJson],
    ['null', 'null', invalidJson],
    ['a list', '[]', invalidJson],
    ['a string', '"x"', invalidJson],
    ['a number', '1', invalidJson],
    ['broken', '{"model":', invalidJson],
    ['a trailing comma', '{"model":"m",}', invalidJson],
    ['NaN', `{"model":"m","messages":[${message}],"max_tokens":NaN}`, invalidJson],
    ['65 levels deep', deep(64), invalidJson],
    ['100,000 levels deep', deep(100_000), invalidJson],
    ['a million members', `{"x":{${'"a":1,'.repeat(1_000_000)}"b":1}}`, invalidJson],
    ['a million empty lists', `{"x":[${'[],'.repeat(1_000_001)}1]}`, invalidJson],
    ['two models', `{"model":"a","messages":[${message}],"model":"b"}`, invalid('model')],
    [
      'two models, one of them in disguise',
      `{"model":"a","messages":[${message}],"mod\\u0065l":"b"}`,
      invalid('model'),
    ],
    ['a model in capitals beside the model', `{"model":"a","messages":[${message}],"Model":"b"}`, invalid('model')],
    [
      'a field that other parsers take for stream',
      `{"model":"a","messages":[${message}],"ſtream":true}`,
      invalid('stream'),
    ],
    [
      'two bounds of one name',
      `{"model":"a","messages":[${message}],"max_tokens":1,"max_tokens":9}`,
      invalid('max_tokens'),
    ],
  ])('%s', (_, text, expected) => {
    expect(fault(() => read(text))).toEqual(expected)
  })

  test.each([
    ['UTF-16', Uint8Array.from(Buffer.from('\ufeff{"model":"m"}', 'utf16le'))],
    ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ])('%s', (_, bytes) => {
    expect(fault(() => chat.read(bytes, parts))).toEqual(invalidJson)
  })

  test('but 64 levels are not', () => {
    expect(fault(() => read(deep(63)))).toEqual(['accepted'])
  })

  test('and the message does not quote it', () => {
    let said = ''
    try {
      read('{"model":"secret prompt"')
    } catch (error) {
      said = String(error) + String((error as Error).cause)
    }
    expect(said).not.toContain('secret')
  })
})

describe('a wrong value is refused with its name:', () => {
  test.each([
    ['model', undefined],
    ['model', null],
    ['model', ''],
    ['model', 7],
    ['model', ['m']],
    ['model', 'm'.repeat(257)],
    ['model', 'm'.repeat(1_000_000)],
    ['messages', undefined],
    ['messages', null],
    ['messages', []],
    ['messages', {}],
    ['messages', 'Hi'],
    ['max_tokens', 0],
    ['max_tokens', -1],
    ['max_tokens', 1.5],
    ['max_tokens', '10'],
    ['max_tokens', 2 ** 31 + 1],
    ['max_tokens', 2 ** 53],
    ['max_tokens', 1e30],
    ['max_completion_tokens', 0],
    ['n', 0],
    ['n', -1],
    ['n', 129],
    ['n', 1e6],
    ['n', '1'],
    ['stream', 'true'],
    ['stream', 1],
    ['temperature', 'hot'],
    ['temperature', -1],
    ['temperature', 3],
    ['top_p', 2],
    ['top_p', 'x'],
    ['stop', 5],
    ['stop', {}],
    ['stop', Array.from({ length: 10_000 }, () => 'x')],
    ['tools', {}],
    ['functions', 'x'],
    ['response_format', 'json'],
  ] as readonly (readonly [string, JsonObject[string]])[])('%s %j', (name, value) => {
    expect(fault(() => withFields({ [name]: value }))).toEqual(invalid(name))
  })

  test.each([
    ['1e400 tokens', '"max_tokens":1e400', 'max_tokens'],
    ['-0 choices', '"n":-0', 'n'],
    ['a temperature of 1e400', '"temperature":1e400', 'temperature'],
    ['stream options without a stream', '"stream_options":{"include_usage":true}', 'stream_options'],
    ['stream options that are no object', '"stream":true,"stream_options":[]', 'stream_options'],
    [
      'include_usage that is no boolean',
      '"stream":true,"stream_options":{"include_usage":"yes"}',
      'stream_options.include_usage',
    ],
  ])('%s', (_, member, param) => {
    expect(fault(() => read(`{"model":"m","messages":[${message}],${member}}`))).toEqual(invalid(param))
  })

  test.each([
    [null, 'messages[1]'],
    ['Hi', 'messages[1]'],
    [[], 'messages[1]'],
    [{ content: 'x' }, 'messages[1].role'],
    [{ role: 'root', content: 'x' }, 'messages[1].role'],
    [{ role: '__proto__', content: 'x' }, 'messages[1].role'],
    [{ role: 'user' }, 'messages[1].content'],
    [{ role: 'tool', content: null }, 'messages[1].content'],
    [{ role: 'user', content: {} }, 'messages[1].content'],
    [{ role: 'assistant', content: 7 }, 'messages[1].content'],
    [{ role: 'user', content: [{ type: 'text', text: 'a' }, null] }, 'messages[1].content[1]'],
  ])('the message %j', (wrong, param) => {
    expect(fault(() => read({ model: 'm', messages: [...hello, wrong] }))).toEqual(invalid(param))
  })

  test('10,001 messages', () => {
    const messages = Array.from({ length: 10_001 }, () => hello[0])
    expect(fault(() => read({ model: 'm', messages }))).toEqual(invalid('messages'))
  })

  test('but 10,000 messages are not', () => {
    const messages = Array.from({ length: 10_000 }, () => hello[0])
    expect(fault(() => read({ model: 'm', messages }))).toEqual(['accepted'])
  })
})

test('no bytes make it throw anything but an error for the caller', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map((text) => encoder.encode(text)),
      ),
      (bytes) => {
        expect(fault(() => chat.read(bytes, parts))[0]).toBe(400)
      },
    ),
  )
})

describe('an error', () => {
  test('has the four fields of OpenAI', () => {
    const error = new GatewayError('invalid_value', 'No.', { param: 'n' })
    expect(chat.failure(error)).toEqual({
      status: 400,
      headers: {},
      body: { error: { message: 'No.', type: 'invalid_request_error', param: 'n', code: 'invalid_value' } },
    })
  })

  test("of a vendor's keeps the vendor's code and status", () => {
    const error = new GatewayError('vendor_refused', 'No.', { vendorCode: 'unsupported_value', status: 422 })
    expect(chat.failure(error)).toEqual({
      status: 422,
      headers: {},
      body: { error: { message: 'No.', type: 'invalid_request_error', param: null, code: 'unsupported_value' } },
    })
  })

  test.each([
    ['rate_limit_exceeded', 1, { 'retry-after': '1' }],
    ['rate_limit_exceeded', 1001, { 'retry-after': '2' }],
    ['rate_limit_exceeded', undefined, { 'retry-after': '1' }],
    ['credit_held', 60_000, { 'retry-after': '60' }],
    // SDKs take a longer time for none and hammer.
    ['rate_limit_exceeded', 60_001, { 'retry-after': '61', 'x-should-retry': 'false' }],
    ['shutting_down', undefined, { 'retry-after': '1' }],
    ['vendor_error', undefined, {}],
    ['request_timeout', undefined, {}],
    ['conflict', undefined, { 'x-should-retry': 'false' }],
    ['internal', undefined, { 'x-should-retry': 'false' }],
    ['insufficient_quota', undefined, {}],
    ['internal', 5000, { 'x-should-retry': 'false' }],
  ] as const)('%s after %s ms has the headers %j', (code, retryAfterMs, headers) => {
    const error = new GatewayError(code, 'x', retryAfterMs === undefined ? {} : { retryAfterMs })
    expect(chat.failure(error).headers).toEqual(headers)
  })

  test('in mid-stream is one event', () => {
    expect(decoder.decode(chat.failureEvent(new GatewayError('vendor_error', 'a\nb'), withFields({})))).toBe(
      'data: {"error":{"message":"a\\nb","type":"server_error","param":null,"code":"vendor_error"}}\n\n',
    )
  })
})

const cut =
  'data: {"id":"chatcmpl-call-1","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"},{"index":1,"delta":{},"finish_reason":"length"}]}\n\n'

describe("a vendor's bytes", () => {
  const withUsage = withFields({ stream: true, stream_options: { include_usage: true } })
  const passed = (call: Call, payload: string, { cost, ...piece }: PassingStep['piece'] & { cost?: bigint } = {}) =>
    decoder.decode(chat.passing(call).event({ event: { name: '', data: encoder.encode(payload) }, piece }, cost))

  test('go by under the name that was asked for, without a null error', () => {
    expect(passed(withUsage, '{"model":"v", "x":1.0,"error":null,"usage":null}', { servedModel: 'v' })).toBe(
      'data: {"model":"m", "x":1.0,"usage":null}\n\n',
    )
  })

  test('go by without usage where nobody asked for it', () => {
    expect(passed(withFields({ stream: true }), '{"choices":[],"usage":{"total_tokens":1}}')).toBe(
      'data: {"choices":[]}\n\n',
    )
  })

  test('that are no object go by as they are', () => {
    expect(passed(withUsage, '[1,"usage"]')).toBe('data: [1,"usage"]\n\n')
  })

  test.each([
    [
      '{"choices":[],"usage":{"prompt_tokens":1} }',
      12_345n,
      '{"choices":[],"usage":{"prompt_tokens":1,"cost":0.000012345} }',
    ],
    ['{"usage":{"cost":9,"prompt_tokens":1}}', 0n, '{"usage":{"cost":0,"prompt_tokens":1}}'],
  ])('%s at %s is told with what it cost', (payload, cost, expected) => {
    expect(passed(withUsage, payload, { usage: {}, cost })).toBe(`data: ${expected}\n\n`)
  })

  test('end with [DONE], whatever the vendor wrote around it', () => {
    expect([passed(withUsage, ' [DONE] ', { last: true }), decoder.decode(chat.passing(withUsage).end)]).toEqual([
      'data: [DONE]\n\n',
      'data: [DONE]\n\n',
    ])
  })

  test('end every choice for its length at a cut', () => {
    expect(decoder.decode(chat.passing(withFields({ n: 2 })).cut())).toBe(cut)
  })

  test.each([
    [true, '{"model":"m","a":1.0}'],
    [false, '{"model":"v","a":1.0}'],
  ])('of a whole answer that names its model (%s) have the name that was asked for', (named, expected) => {
    const bytes = encoder.encode('{"model":"v","a":1.0}')
    expect(decoder.decode(chat.passing(withFields({})).body(bytes, named))).toBe(expected)
  })

  test('are gathered under the name that was asked for', () => {
    const gatherer = chat.passing(withFields({})).gatherer()
    const chunk = { id: 'c', model: 'v', choices: [{ index: 0, delta: { content: 'Hi' } }] }
    gatherer.add({ name: '', data: encoder.encode(JSON.stringify(chunk)) })
    expect(gatherer.body('length')).toEqual({
      id: 'c',
      object: 'chat.completion',
      model: 'm',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'length' }],
    })
  })
})

describe('chunks of another wire', () => {
  const told = (fields: JsonObject, usage?: JsonObject): string => {
    const writer = chat.writer(withFields(fields))
    const choices = [{ index: 0, delta: { content: 'Hi' }, finish_reason: null }]
    const chunk = { id: 'c', object: 'chat.completion.chunk', created: 7, model: 'v', choices, usage: { y: 1 } }
    const bytes = [writer.write(chunk), writer.write({ choices: [], usage: { x: 1 } }), writer.close(usage)]
    return bytes.map((part) => decoder.decode(part)).join('')
  }
  const hi =
    'data: {"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
  const usage =
    'data: {"id":"c","object":"chat.completion.chunk","created":7,"model":"m","choices":[],"usage":{"x":1,"cost":0.5}}\n\n'

  test.each([
    [
      'who asked for usage is told it with the cost',
      { stream: true, stream_options: { include_usage: true } },
      hi + usage,
    ],
    ['who did not is not', { stream: true }, hi],
  ])('%s', (_, fields, expected) => {
    expect(told(fields, { total_tokens: 3, cost: 0.5 })).toBe(`${expected}data: [DONE]\n\n`)
  })

  test('without usage end with [DONE]', () => {
    expect(told({ stream: true, stream_options: { include_usage: true } })).toBe(`${hi}data: [DONE]\n\n`)
  })

  test('end every choice for its length at a cut', () => {
    expect(decoder.decode(chat.writer(withFields({ n: 2 })).cut())).toBe(cut)
  })
})

describe('the fronts', () => {
  test('are found where OpenAI has chat', () => {
    expect(fronts.find(({ dialect }) => dialect === 'chat')?.paths).toEqual(['/v1/chat/completions'])
  })

  test('answer no two the same path, and each under a prefix of its own', () => {
    const paths = fronts.flatMap(({ paths: own }) => own)
    expect([new Set(paths).size, paths.filter((path) => !/^\/v[12]/.test(path))]).toEqual([paths.length, []])
  })

  test('for a path that nobody has is chat', () => {
    expect(frontFor('/nowhere').dialect).toBe('chat')
  })
})
