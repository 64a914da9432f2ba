import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import type { Counts } from '../../src/core/price.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { generatedText, objectsOf } from '../../src/core/wire.ts'
import { vendors } from '../../src/vendors/index.ts'
import { openaiCompatible } from '../../src/vendors/openai.ts'
import type { Piece, Vendor, VendorFailure } from '../../src/vendors/vendor.ts'
import { recordedBytes, recordedChats, recordedJson, type Recorded } from '../fixtures/recorded.ts'
import { event, ownStream, passing, piecesOf } from './streams.ts'

const plain = openaiCompatible({ id: 'plain' })
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 5000 }
const encoder = new TextEncoder()
const decoder = new TextDecoder()

function vendorNamed(id: string): Vendor {
  const vendor = vendors.get(id)
  if (!vendor) throw new Error(`no vendor ${id}`)
  return vendor
}

function callOf(text: string): Call {
  const body = JSON.parse(text) as JsonObject
  const rest = { stream: false, wantsUsage: false, choices: 1, startedAtMs: 0 }
  const inner = body
  return {
    id: 'x',
    dialect: 'chat',
    operation: 'chat',
    model: 'public',
    body,
    inner,
    raw: encoder.encode(text),
    ...rest,
  }
}

function sent(text: string, stream: boolean, vendor: Vendor = plain): string {
  const target = { vendor: vendor.id, model: 'vendor-model' }
  return decoder.decode(vendor.request(callOf(text), target, access, stream).body)
}

describe('a request', () => {
  test('goes to the vendor with its key and asks for plain bytes', () => {
    const { url, method, headers, connectMs } = plain.request(
      callOf('{"model":"a"}'),
      { vendor: 'plain', model: 'b' },
      access,
      true,
    )
    expect({ url, method, headers, connectMs }).toEqual({
      url: 'https://vendor.test/v1/chat/completions',
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'accept-encoding': 'identity',
        authorization: 'Bearer secret',
      },
      connectMs: 5000,
    })
  })

  test.each([
    [
      'only the model changes where nothing else has to',
      '{ "model" : "a", "seed":12345678901234567890, "messages":[ ] }',
      false,
      '{ "model" : "vendor-model", "seed":12345678901234567890, "messages":[ ] }',
    ],
    [
      'fields of ours are taken out, and those of OpenAI are not',
      '{"models":["b"],"model":"a","user":"u","tags":[1],"metadata":{"k":"v"},"cache":{},"provider":{},"routing":1,"session_id":"s"}',
      false,
      '{"model":"vendor-model","user":"u","metadata":{"k":"v"}}',
    ],
    [
      'a stream asks for usage',
      '{"model":"a","stream":true}',
      true,
      '{"model":"vendor-model","stream":true,"stream_options":{"include_usage":true}}',
    ],
    [
      'a stream asks for usage although the caller does not want it',
      '{"stream_options":{"x":1,"include_usage":false},"model":"a","stream":true}',
      true,
      '{"stream_options":{"x":1,"include_usage":true},"model":"vendor-model","stream":true}',
    ],
    [
      'a call that is made a stream says so',
      '{"model":"a","stream":false}',
      true,
      '{"model":"vendor-model","stream":true,"stream_options":{"include_usage":true}}',
    ],
    [
      'a stream that is not asked for loses its options',
      '{"model":"a","stream":true,"stream_options":{"include_usage":true} }',
      false,
      '{"model":"vendor-model","stream":false}',
    ],
    [
      'null options are replaced',
      '{"stream_options":null,"model":"a"}',
      true,
      '{"stream_options":{"include_usage":true},"model":"vendor-model","stream":true}',
    ],
    [
      'a model given twice is one',
      '{"model":"a","x":1,"mod\\u0065l":"b"}',
      false,
      '{"x":1,"mod\\u0065l":"vendor-model"}',
    ],
  ])('%s', (_, text, stream, expected) => {
    expect(sent(text, stream)).toBe(expected)
  })

  test('a vendor that refuses stream options gets none', () => {
    const old = openaiCompatible({ id: 'old', refusesStreamOptions: true })
    expect(sent('{"model":"a","stream_options":{}}', true, old)).toBe('{"model":"vendor-model","stream":true}')
  })

  test('the sandbox gets its own options and no other vendor does', () => {
    const text = '{"model":"a","sandbox":{"words":3}}'
    expect([sent(text, false, vendorNamed('sandbox')), sent(text, false)]).toEqual([
      '{"model":"vendor-model","sandbox":{"words":3}}',
      '{"model":"vendor-model"}',
    ])
  })

  test('whatever else is in it stays as it was', () => {
    const member = fc.tuple(fc.string(), fc.jsonValue())
    fc.assert(
      fc.property(fc.array(member), fc.boolean(), fc.constantFrom(undefined, 1, 4), (pairs, stream, indent) => {
        const body = { ...Object.fromEntries(pairs), model: 'a' } as JsonObject
        const ours = new Set([
          'models',
          'provider',
          'routing',
          'session_id',
          'cache',
          'tags',
          'sandbox',
          'stream',
          'stream_options',
        ])
        const kept = Object.entries({ ...body, model: 'vendor-model' }).filter(([name]) => !ours.has(name))
        const got = JSON.parse(sent(JSON.stringify(body, null, indent), stream)) as JsonObject
        expect(Object.entries(got).filter(([name]) => !ours.has(name))).toEqual(JSON.parse(JSON.stringify(kept)))
      }),
    )
  })
})

describe('thinking', () => {
  const streamsOnly = (vendor: string, body: string, model: string): boolean | undefined =>
    vendorNamed(vendor).streamOnly?.(callOf(body), { vendor, model })

  test.each([
    ['qwen', '{"enable_thinking":true}', 'qwen3-max', true],
    ['qwen', '{"enable_thinking":false}', 'qwen3-max', false],
    ['qwen', '{}', 'qwq-plus', true],
    ['openai', '{"enable_thinking":true}', 'gpt', undefined],
  ])('%s with %s and the model %s streams only: %s', (vendor, body, model, expected) => {
    expect(streamsOnly(vendor, body, model)).toBe(expected)
  })
})

/** What a stream says in all: the last usage, the text, the first finish reason, any sign of its end. */
function summary(pieces: readonly Piece[]): {
  counts: Counts | undefined
  text: string
  finish?: string | undefined
  whole: boolean
  error: unknown
} {
  return {
    counts: pieces.findLast((piece) => piece.usage)?.usage?.counts,
    text: pieces.map(({ text = '' }) => text).join(''),
    finish: pieces.find((piece) => piece.finish)?.finish,
    whole: pieces.some((piece) => piece.whole),
    error: pieces.find((piece) => piece.error)?.error?.code,
  }
}

describe('a stream', () => {
  test('with an empty first chunk, two choices and usage inside of them is read whole', () => {
    expect(summary(piecesOf(plain, ownStream('two-choices.sse')))).toEqual({
      counts: { input: 4, output: 3 },
      text: 'B中文',
      finish: 'stop',
      whole: true,
      error: undefined,
    })
  })

  test('is whole only when every choice that began has ended', () => {
    const pieces = piecesOf(plain, ownStream('two-choices.sse'))
    expect(pieces.map(({ whole = false }) => whole)).toEqual([false, false, false, false, false, true, true])
  })

  test('with usage in every chunk ends with the last usage', () => {
    const pieces = piecesOf(plain, ownStream('cumulative-usage.sse'))
    expect(summary(pieces).counts).toEqual({ input: 9, output: 2 })
    expect(pieces.map(({ usageOnly = false }) => usageOnly)).toEqual([false, false, false, true, false])
  })

  test('with "" as the finish reason of a running choice runs on', () => {
    const pieces = piecesOf(plain, ownStream('tools-reused-index.sse'))
    expect(pieces.map(({ finish }) => finish)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      'tool_calls',
      undefined,
    ])
  })

  test('has content from the first generated text on, not from its role', () => {
    const read = plain.reader(passing)
    const deltas = [{ role: 'assistant', content: '' }, { content: 'a' }, {}]
    const pieces = deltas.map((delta) => read(event({ choices: [{ index: 0, delta, finish_reason: null }] })))
    expect(pieces).toEqual([{}, { text: 'a', content: true }, {}])
  })

  test.each([
    ['reasoning', { reasoning_content: 'hm' }, 'hm'],
    ['the same reasoning under two names', { reasoning_content: 'hm', reasoning: 'hm' }, 'hm'],
    ['a refusal', { refusal: 'no' }, 'no'],
    ['a tool call', { tool_calls: [{ index: 0, function: { name: 'f', arguments: '{}' } }] }, 'f{}'],
    ['an old function call', { function_call: { name: 'f', arguments: '{' } }, 'f{'],
    ['a transcript', { audio: { transcript: 'hi', data: 'AAAA' } }, 'hi'],
    [
      'a list of parts',
      {
        content: [
          { type: 'thinking', thinking: [{ type: 'text', text: 'a' }] },
          { type: 'text', text: 'b' },
        ],
      },
      'ab',
    ],
  ])('%s is content and text', (_, delta, text) => {
    expect(plain.reader(passing)(event({ choices: [{ index: 0, delta }] }))).toMatchObject({ text, content: true })
  })

  test('may carry its usage in an extension', () => {
    const piece = plain.reader(passing)(
      event({ choices: [], x_groq: { usage: { prompt_tokens: 1, completion_tokens: 2 } } }),
    )
    expect(piece).toEqual({ usage: { counts: { input: 1, output: 2 }, anomalies: [] }, usageOnly: true })
  })

  test('of which a null error is no error', () => {
    expect(plain.reader(passing)(event({ error: null, choices: [] }))).toEqual({})
  })

  test('ends with [DONE], white space or not', () => {
    expect([plain.reader(passing)(event('[DONE]')), plain.reader(passing)(event(' [DONE] '))]).toEqual([
      { whole: true, last: true },
      { whole: true, last: true },
    ])
  })

  test.each([
    ['an error object in a chunk', event({ choices: [], error: { message: 'x', code: 502 } }), 'vendor_error'],
    ['an error as a string', event({ error: 'x' }), 'vendor_error'],
    ['an event named error', event({ message: 'x' }, 'error'), 'vendor_error'],
    ['an object called error', event({ object: 'error', message: 'x', code: 500 }), 'vendor_error'],
    [
      'a code and a message without choices',
      event({ code: 'InternalError', message: 'x', request_id: 'r' }),
      'vendor_error',
    ],
    ['an error in a list', event([{ error: { code: 503, message: 'x' } }]), 'vendor_error'],
    ['bad JSON', event('{"choices":[{'), 'vendor_error'],
    ['two objects in one event', event('{"choices":[]}{"choices":[]}'), 'vendor_error'],
    ['null', event('null'), 'vendor_error'],
    ['HTML', event('<html>'), 'vendor_error'],
    [
      'a prompt that is too long',
      event({ error: { message: 'too long', code: 'context_length_exceeded' } }),
      'context_length_exceeded',
    ],
    ['a limit of the vendor', event({ error: { message: 'slow down', code: 'rate_limit_exceeded' } }), 'vendor_busy'],
  ])('%s is an error', (_, bad, code) => {
    expect(plain.reader(passing)(bad).error?.code).toBe(code)
  })

  test('that breaks with an error keeps what was said before it', () => {
    expect(summary(piecesOf(plain, ownStream('error-midway.sse')))).toEqual({
      counts: undefined,
      text: 'Well',
      finish: undefined,
      whole: false,
      error: 'vendor_error',
    })
  })

  test('whose end the vendor calls a failure of its own is an error', () => {
    const ended = event({ choices: [{ index: 0, delta: {}, finish_reason: 'insufficient_system_resource' }] })
    expect(vendorNamed('deepseek').reader(passing)(ended).error?.code).toBe('vendor_error')
  })
})

describe('an unstreamed answer', () => {
  test('is read with its usage, its text and its end', () => {
    const message = { role: 'assistant', content: 'Hi', reasoning_content: 'hm ' }
    const body = {
      model: 'm-9',
      choices: [{ index: 0, message, finish_reason: 'stop' }],
      usage: { prompt_tokens: 2, completion_tokens: 1 },
    }
    expect(plain.reply(body, passing)).toEqual({
      text: 'Hihm ',
      finish: 'stop',
      servedModel: 'm-9',
      usage: { counts: { input: 2, output: 1 }, anomalies: [] },
    })
  })

  test('names the service tier that served, and so does a chunk of a stream', () => {
    const choices = [{ index: 0, message: { content: 'Hi' }, delta: { content: 'Hi' }, finish_reason: null }]
    const body = { choices, service_tier: 'flex' }
    expect([plain.reply(body, passing).serviceTier, plain.reader(passing)(event(body)).serviceTier]).toEqual([
      'flex',
      'flex',
    ])
  })

  test.each([null, '', 7])('names no service tier with %j', (service_tier) => {
    expect('serviceTier' in plain.reader(passing)(event({ choices: [], service_tier }))).toBe(false)
  })

  test.each([
    null,
    [],
    {},
    '<html>',
    7,
    { error: 'x' },
    { error: { message: 'x' } },
    { choices: [] },
    { choices: [null] },
    { choices: [{}] },
  ])('that is %j is an error of the vendor', (body) => {
    expect(plain.reply(body as JsonObject, passing).error?.code).toBe('vendor_error')
  })
})

function failed(vendor: Vendor, status: number, body: unknown, headers: Record<string, string> = {}): VendorFailure {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return vendor.failure({ status, headers }, encoder.encode(text))
}

/** What the caller sees, and whose fault it is. */
function verdict({ error, fault, retryAfterMs }: VendorFailure): readonly unknown[] {
  return [fault, error.code, error.status, error.vendorCode, error.param, retryAfterMs]
}

describe('a refusal', () => {
  test.each([
    [
      'openai',
      400,
      { error: { message: 'bad', code: 'unsupported_value', param: 'stop' } },
      ['caller', 'vendor_refused', 400, 'unsupported_value', 'stop', undefined],
    ],
    ['openai', 422, { detail: 'bad' }, ['caller', 'vendor_refused', 422, undefined, undefined, undefined]],
    ['openai', 413, '<html>too large</html>', ['caller', 'vendor_refused', 413, undefined, undefined, undefined]],
    [
      'openai',
      400,
      { error: { message: 'long', code: 'context_length_exceeded', param: 'messages' } },
      ['caller', 'context_length_exceeded', 400, undefined, 'messages', undefined],
    ],
    [
      'deepseek',
      400,
      { error: { message: "This model's maximum context length is 65536 tokens.", code: 'invalid_request_error' } },
      ['caller', 'context_length_exceeded', 400, undefined, 'messages', undefined],
    ],
    [
      'qwen',
      400,
      { error: { message: 'Range of input length should be [1, 30720]', code: 'invalid_parameter_error' } },
      ['caller', 'context_length_exceeded', 400, undefined, 'messages', undefined],
    ],
    [
      'openai',
      400,
      { error: { message: 'filtered', code: 'content_filter' } },
      ['caller', 'content_policy', 400, 'content_filter', undefined, undefined],
    ],
    [
      'qwen',
      400,
      { error: { message: 'inappropriate', code: 'data_inspection_failed' } },
      ['caller', 'content_policy', 400, 'data_inspection_failed', undefined, undefined],
    ],
    [
      'doubao',
      400,
      { error: { message: 'x', code: 'InputTextSensitiveContentDetected' } },
      ['caller', 'content_policy', 400, 'InputTextSensitiveContentDetected', undefined, undefined],
    ],
    [
      'deepseek',
      400,
      { error: { message: 'Content Exists Risk', code: 'invalid_request_error' } },
      ['caller', 'content_policy', 400, 'invalid_request_error', undefined, undefined],
    ],
    [
      'openai',
      401,
      { error: { message: 'Incorrect API key provided: sk-1234' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    ['openai', 403, 'nothing', ['account', 'no_target_available', 503, undefined, undefined, undefined]],
    [
      'deepseek',
      402,
      { error: { message: 'Insufficient Balance' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'openai',
      429,
      { error: { message: 'quota', code: 'insufficient_quota' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'qwen',
      400,
      { error: { message: 'overdue', code: 'Arrearage' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'doubao',
      403,
      { error: { message: 'overdue', code: 'AccountOverdueError' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'openai',
      400,
      { error: 'Incorrect API key provided: xa***12' },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'openai',
      404,
      { error: { message: 'The model does not exist', code: 'model_not_found' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    ['openai', 404, '<html>not found</html>', ['account', 'no_target_available', 503, undefined, undefined, undefined]],
    [
      'openai',
      404,
      { error: { message: 'No such File object: file-1', param: 'file_id' } },
      ['caller', 'vendor_refused', 404, undefined, 'file_id', undefined],
    ],
    [
      'doubao',
      404,
      { error: { message: 'x', code: 'ModelNotOpen' } },
      ['account', 'no_target_available', 503, undefined, undefined, undefined],
    ],
    [
      'doubao',
      429,
      { error: { message: 'x', code: 'RateLimitExceeded.EndpointTPMExceeded' } },
      ['busy', 'vendor_busy', 429, undefined, undefined, undefined],
    ],
    ['openai', 500, '', ['down', 'vendor_error', 502, undefined, undefined, undefined]],
    ['openai', 503, '<html>', ['down', 'vendor_error', 502, undefined, undefined, undefined]],
    [
      'openai',
      529,
      { error: { message: 'overloaded' } },
      ['down', 'vendor_error', 502, undefined, undefined, undefined],
    ],
    [
      'openai',
      500,
      { error: { message: 'x', code: 'context_length_exceeded' } },
      ['down', 'vendor_error', 502, undefined, undefined, undefined],
    ],
  ])('of %s with %i %j', (vendor, status, body, expected) => {
    expect(verdict(failed(vendorNamed(vendor), status, body))).toEqual(expected)
  })

  const date = { date: 'Tue, 01 Jul 2025 10:00:00 GMT' }
  test.each([
    [{ 'retry-after-ms': '174', 'retry-after': '1' }, 174],
    [{ 'retry-after': '7' }, 7000],
    [{ 'retry-after': '0.25' }, 250],
    [{ 'retry-after': 'Tue, 01 Jul 2025 10:00:30 GMT', ...date }, 30_000],
    [{ 'retry-after': 'Tue, 01 Jul 2025 10:00:30 GMT' }, undefined],
    [{ 'retry-after': 'Tue, 01 Jul 2025 09:59:30 GMT', ...date }, undefined],
    [{ 'retry-after': '3600' }, 600_000],
    [{ 'retry-after': '86401' }, undefined],
    [{ 'retry-after': '-1' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after-ms': '1e400', 'retry-after': '2' }, 2000],
  ])('with 429 and %j waits %s ms', (headers, expected) => {
    expect(failed(plain, 429, '', headers).retryAfterMs).toBe(expected)
  })

  test('that names no time still tells the caller one', () => {
    expect(failed(plain, 429, '').error.retryAfterMs).toBe(1000)
  })

  test('of the request itself has no time to wait, whatever the header says', () => {
    expect(failed(plain, 400, { error: { message: 'bad' } }, { 'retry-after': '9' }).retryAfterMs).toBeUndefined()
  })

  test.each([
    'sk-proj-abc_DEF123',
    'Bearer abc.def',
    'org-xxx123',
    'eyJhbGciOi.eyJzdWIi.sig',
    'ab****yz',
    'A'.repeat(64),
  ])('does not show %s', (secret) => {
    const { error } = failed(plain, 400, { error: { message: `The tool said "${secret}" to us` } })
    expect(error.message).toBe('The tool said "[redacted]" to us')
  })

  test('about our account shows nothing that the vendor said', () => {
    const { error } = failed(plain, 401, { error: { message: 'Incorrect API key provided: abc' } })
    expect(error.message).toBe(
      "The vendor refused the gateway's own account. Its operator has to act; a later try may reach another vendor.",
    )
  })

  test('with a message of a megabyte shows none of it', () => {
    const { error } = failed(plain, 400, { error: { message: 'x'.repeat(1_000_000) } })
    expect(error.message).toBe('The vendor refused the request with status 400 and gave no reason.')
  })
})

describe('any bytes of a vendor', () => {
  const names = fc.constantFrom(
    'choices',
    'usage',
    'error',
    'delta',
    'message',
    'code',
    'index',
    'content',
    'tool_calls',
    'finish_reason',
    'model',
    'function',
    'x_groq',
    'audio',
    'object',
  )
  const { json } = fc.letrec<{ json: unknown }>((tie) => ({
    json: fc.oneof(
      { maxDepth: 6 },
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie('json'), { maxLength: 3 }),
      fc.dictionary(names, tie('json'), { maxKeys: 5 }),
    ),
  }))
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    json.map((value) => encoder.encode(JSON.stringify(value))),
  )

  test('are read from a stream without throwing', () => {
    fc.assert(
      fc.property(fc.array(bytes), fc.constantFrom('', 'error', 'x'), (payloads, name) => {
        const read = vendorNamed('deepseek').reader(passing)
        for (const data of payloads) read({ name, data })
      }),
    )
  })

  test('are read as a body without throwing', () => {
    fc.assert(fc.property(json, (body) => void vendorNamed('deepseek').reply(body as JsonObject, passing)))
  })

  test('are judged as a failure without throwing', () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 700 }), fc.string(), (body, status, retry) => {
        const { error } = vendorNamed('doubao').failure(
          { status, headers: { 'retry-after': retry, date: retry } },
          body,
        )
        expect(error.status).toBeGreaterThanOrEqual(400)
      }),
    )
  })
})

const recorded = recordedChats('openai', 'deepseek', 'qwen', 'doubao')
const good = recorded.filter(({ status }) => status === 200)

function readRecorded(entry: Recorded): { usage: Piece['usage']; text: string; finish: string | undefined } {
  const vendor = vendorNamed(entry.vendor)
  if (entry.response_format !== 'sse') {
    const { usage, text, finish } = vendor.reply(recordedJson(entry), passing)
    return { usage, text, finish }
  }
  const pieces = piecesOf(vendor, recordedBytes(entry))
  const { text, finish } = summary(pieces)
  return { usage: pieces.findLast((piece) => piece.usage)?.usage, text, finish }
}

describe.skipIf(recorded.length === 0)('recorded traffic', () => {
  test.each(good)('$vendor $id is metered as it has to be charged', (entry) => {
    const { usage } = readRecorded(entry)
    const counts = usage?.counts
    expect(
      counts && {
        input: inputTotal(counts),
        cache_read: counts.cached_input ?? 0,
        cache_write: counts.cache_write_5m ?? 0,
        output: outputTotal(counts),
        reasoning: counts.reasoning ?? 0,
      },
    ).toEqual(entry.metering)
    expect(usage?.anomalies ?? []).toEqual([])
  })

  test.each(good)('$vendor $id ends with its own word', (entry) => {
    expect(readRecorded(entry).finish).toBe(entry.expect?.finish)
  })

  test.each(good.filter(({ response_format: format }) => format !== 'sse'))(
    '$vendor $id has the text of its message',
    (entry) => {
      const messages = objectsOf(recordedJson(entry)['choices']).map(({ message }) => message as JsonObject)
      expect(readRecorded(entry).text).toBe(messages.map(generatedText).join(''))
    },
  )

  test.each(good.filter(({ response_format: format }) => format === 'sse'))(
    '$vendor $id is whole and has no error',
    (entry) => {
      const { whole, error } = summary(piecesOf(vendorNamed(entry.vendor), recordedBytes(entry)))
      expect({ whole, error }).toEqual({ whole: true, error: undefined })
    },
  )

  test.each(recorded.filter(({ status }) => status >= 400))('$vendor $id is judged by whose fault it is', (entry) => {
    const headers = entry.response_headers ?? {}
    const { fault, error } = vendorNamed(entry.vendor).failure({ status: entry.status, headers }, recordedBytes(entry))
    const text = decoder.decode(recordedBytes(entry))
    const isAccount = [401, 402, 403, 404].includes(entry.status) || text.includes('insufficient_quota')
    const expected = isAccount ? ['account', 503] : entry.status === 429 ? ['busy', 429] : ['caller', entry.status]
    expect([fault, error.status]).toEqual(expected)
  })
})
