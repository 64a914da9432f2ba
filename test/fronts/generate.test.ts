import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { createSseParser, type ServerEvent } from '../../src/core/sse.ts'
import { itemIn } from '../../src/fronts/generate-signature.ts'
import { generate } from '../../src/fronts/generate.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const call: Call = {
  id: 'call-1',
  dialect: 'generate',
  operation: 'chat',
  model: 'public',
  body: {},
  inner: {},
  raw: new Uint8Array(0),
  stream: true,
  form: 'sse',
  wantsUsage: true,
  choices: 1,
  startedAtMs: 0,
}
const thinking: Call = { ...call, inner: { reasoning: { exclude: false } } }
const named = { modelVersion: 'public', responseId: 'call-1' }

function eventsOf(bytes: Uint8Array): readonly ServerEvent[] {
  const parser = createSseParser()
  return [...parser.push(bytes), ...parser.end()]
}

const parsed = (bytes: Uint8Array): unknown => JSON.parse(decoder.decode(bytes))
const jsonOf = (bytes: Uint8Array): readonly unknown[] => eventsOf(bytes).map(({ data }) => parsed(data))

function ownEvents(name: string): readonly ServerEvent[] {
  return eventsOf(new Uint8Array(readFileSync(new URL(`../fixtures/gemini/${name}.sse`, import.meta.url))))
}

const chunk = (delta: JsonObject, finish: string | null = null): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  choices: [{ index: 0, delta, finish_reason: finish }],
})
const candidate = (parts: readonly unknown[], more: object = {}) => ({
  candidates: [{ content: { role: 'model', parts }, index: 0, ...more }],
  ...named,
})
const usage = {
  prompt_tokens: 10,
  completion_tokens: 5,
  total_tokens: 15,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
  cost: 0.5,
}
const usageMetadata = {
  promptTokenCount: 10,
  candidatesTokenCount: 3,
  thoughtsTokenCount: 2,
  cachedContentTokenCount: 4,
  totalTokenCount: 15,
  cost: 0.5,
}

function written(chunks: readonly JsonObject[], of: Call = call): readonly unknown[] {
  const writer = generate.writer(of)
  return [...chunks.flatMap((one) => jsonOf(writer.write(one))), ...jsonOf(writer.close(usage))]
}

describe('chunks for a caller of generateContent', () => {
  test('are events, the last of which has the end and the usage', () => {
    const chunks = [chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hi' }), chunk({}, 'stop')]
    expect(written(chunks)).toEqual([
      candidate([{ text: 'Hi' }]),
      { ...candidate([], { finishReason: 'STOP' }), usageMetadata },
    ])
  })

  test('have calls whole, with their signatures, at the end', () => {
    const signed = { type: 'reasoning.encrypted', data: 'c2ln', id: 'a', format: 'gemini', index: 0 }
    const piece = (named: JsonObject, id?: string) => ({
      tool_calls: [{ index: 0, ...(id && { id }), function: named }],
    })
    const chunks = [
      chunk({ ...piece({ name: 'f', arguments: '{"x"' }, 'a'), reasoning_details: [signed] }),
      chunk(piece({ arguments: ':1}' })),
      chunk({}, 'tool_calls'),
    ]
    const functionCall = { id: 'a', name: 'f', args: { x: 1 } }
    expect(written(chunks)).toEqual([
      { ...candidate([{ functionCall, thoughtSignature: 'c2ln' }], { finishReason: 'STOP' }), usageMetadata },
    ])
  })

  test.each([
    ['stop', 'STOP'],
    ['tool_calls', 'STOP'],
    ['length', 'MAX_TOKENS'],
    ['content_filter', 'SAFETY'],
    ['lost', 'OTHER'],
  ])('that end with %s end with %s', (finish, finishReason) => {
    expect(written([chunk({}, finish)]).at(-1)).toEqual({ ...candidate([], { finishReason }), usageMetadata })
  })

  test("keep Google's own word for a filter", () => {
    const choice = { index: 0, delta: {}, finish_reason: 'content_filter', native_finish_reason: 'RECITATION' }
    expect(written([{ choices: [choice] }])).toEqual([
      { ...candidate([], { finishReason: 'RECITATION' }), usageMetadata },
    ])
  })

  test('show thoughts to those who ask for them', () => {
    const chunks = [chunk({ reasoning_content: 'Hm' }), chunk({ content: 'Hi' }, 'stop')]
    expect(written(chunks, thinking).slice(0, -1)).toEqual([
      candidate([{ text: 'Hm', thought: true }]),
      candidate([{ text: 'Hi' }]),
    ])
    expect(written(chunks).slice(0, -1)).toEqual([candidate([{ text: 'Hi' }])])
  })

  test('hide the text of a thought in its signature from those who do not', () => {
    const item = { type: 'reasoning.text', format: 'anthropic', index: 0 }
    const chunks = [
      chunk({ reasoning_content: 'One ', reasoning_details: [{ ...item, text: 'One ' }] }),
      chunk({ reasoning_content: 'two', reasoning_details: [{ ...item, text: 'two' }] }),
      chunk({ reasoning_details: [{ ...item, signature: 's' }] }),
    ]
    const [event] = written(chunks) as readonly { candidates: readonly { content: { parts: JsonObject[] } }[] }[]
    const [part] = event?.candidates[0]?.content.parts ?? []
    expect([part?.['text'], part?.['thought'], itemIn(String(part?.['thoughtSignature']))]).toEqual([
      '',
      true,
      { format: 'anthropic', type: 'reasoning.text', signature: 's', text: 'One two' },
    ])
  })

  test('have images and log probabilities', () => {
    const image = { index: 0, type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }
    const logprobs = { content: [{ token: 'a', logprob: -1, bytes: null, top_logprobs: [] }] }
    const one = { choices: [{ index: 0, delta: { images: [image] }, logprobs, finish_reason: null }] }
    const logprobsResult = {
      chosenCandidates: [{ token: 'a', logProbability: -1 }],
      topCandidates: [{ candidates: [] }],
    }
    expect(written([one])[0]).toEqual(
      candidate([{ inlineData: { mimeType: 'image/png', data: 'AAAA' } }], { logprobsResult }),
    )
  })

  test('have citations by bytes, with the end', () => {
    const citation = { url: 'https://a.test', title: 'A', start_index: 0, end_index: 2 }
    const annotations = [{ type: 'url_citation', url_citation: citation }]
    const groundingMetadata = {
      groundingChunks: [{ web: { uri: 'https://a.test', title: 'A' } }],
      groundingSupports: [{ segment: { startIndex: 0, endIndex: 3, text: 'Zü' }, groundingChunkIndices: [0] }],
    }
    expect(written([chunk({ content: 'Zürich', annotations }, 'stop')]).at(-1)).toEqual({
      ...candidate([], { finishReason: 'STOP', groundingMetadata }),
      usageMetadata,
    })
  })

  test('are elements of an array where that was asked for', () => {
    const writer = generate.writer({ ...call, form: 'array' })
    expect([parsed(writer.write(chunk({ content: 'Hi' }))), writer.write(chunk({})).length]).toEqual([
      candidate([{ text: 'Hi' }]),
      0,
    ])
  })

  test('whose money runs out end for their length', () => {
    const writer = generate.writer(call)
    writer.write(chunk({ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{"x' } }] }))
    expect(jsonOf(writer.cut())).toEqual([candidate([], { finishReason: 'MAX_TOKENS' })])
  })

  test('are written, whatever is in them', () => {
    const name = fc.constantFrom(
      'content',
      'reasoning_details',
      'tool_calls',
      'images',
      'annotations',
      'function',
      'id',
    )
    const text = fc.constantFrom(
      'type',
      'index',
      'format',
      'signature',
      'url_citation',
      'image_url',
      'arguments',
      'name',
    )
    const { value } = fc.letrec<{ value: unknown; object: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.jsonValue({ maxDepth: 1 }),
        tie('object'),
        fc.array(tie('value'), { maxLength: 3 }),
      ),
      object: fc.dictionary(fc.oneof(name, text), tie('value'), { maxKeys: 4 }),
    }))
    fc.assert(
      fc.property(fc.array(value, { maxLength: 4 }), value, (deltas, logprobs) => {
        const writer = generate.writer(thinking)
        const chunks = deltas.map((delta) => ({ choices: [{ delta, logprobs, finish_reason: null }] }) as JsonObject)
        for (const one of chunks) jsonOf(writer.write(one))
        jsonOf(writer.close(undefined))
        for (const one of chunks) generate.reply(call, one)
      }),
      { numRuns: 500 },
    )
  })
})

test('a whole answer has all parts in one candidate', () => {
  const called = { id: 'a', type: 'function', function: { name: 'f', arguments: '' } }
  const message = { role: 'assistant', content: 'Hi', tool_calls: [called] }
  const inner = { choices: [{ index: 0, message, finish_reason: 'tool_calls' }], usage }
  expect(generate.reply(call, inner)).toEqual({
    ...candidate([{ text: 'Hi' }, { functionCall: { id: 'a', name: 'f', args: {} } }], { finishReason: 'STOP' }),
    usageMetadata,
  })
})

describe("Google's own answer", () => {
  const step = (data: string, more: object = {}) => ({
    event: { name: '', data: encoder.encode(data) },
    piece: { servedModel: 'gemini-9', ...more },
  })
  const passing = generate.passing(call)

  test('passes byte for byte, but for the name of the model', () => {
    const data = '{ "candidates": [{"content":{"parts":[{"text":"\\u0048i"}]}}],"modelVersion":"gemini-9","n":1.0}'
    expect(decoder.decode(passing.event(step(data)))).toBe(`data: ${data.replace('gemini-9', 'public')}\n\n`)
  })

  test('gets its cost where it has usage', () => {
    const data = '{"usageMetadata":{"totalTokenCount":3},"modelVersion":"gemini-9"}'
    const wanted = '{"usageMetadata":{"totalTokenCount":3,"cost":0.000000005},"modelVersion":"public"}'
    expect(decoder.decode(passing.event(step(data, { usage: {} }), 5n))).toBe(`data: ${wanted}\n\n`)
  })

  test('passes as an element of an array where that was asked for', () => {
    const array = generate.passing({ ...call, form: 'array' })
    expect(decoder.decode(array.event(step('{"modelVersion":"gemini-9"}')))).toBe('{"modelVersion":"public"}')
  })

  test('has no keep-alives of relays in it, and no end of its own', () => {
    expect([passing.event(step(': keepalive')).length, passing.end.length]).toEqual([0, 0])
  })

  test('whose money runs out ends for its length in every candidate', () => {
    const [event] = jsonOf(generate.passing({ ...call, choices: 2 }).cut()) as readonly { candidates: JsonObject[] }[]
    expect(event?.candidates.map(({ finishReason, index }) => [finishReason, index])).toEqual([
      ['MAX_TOKENS', 0],
      ['MAX_TOKENS', 1],
    ])
  })

  test('is one body under the name that was asked for', () => {
    const bytes = encoder.encode('{"modelVersion":"gemini-9"}')
    expect([true, false].map((isNamed) => decoder.decode(passing.body(bytes, isNamed)))).toEqual([
      '{"modelVersion":"public"}',
      '{"modelVersion":"gemini-9"}',
    ])
  })

  test('is gathered with its texts joined and its signatures where they were', () => {
    const gatherer = generate.passing(call).gatherer()
    for (const event of ownEvents('thoughts-and-tools')) gatherer.add(event)
    expect(gatherer.body()).toEqual({
      candidates: [
        {
          content: {
            role: 'model',
            parts: [
              { text: 'Which city? Both.', thought: true },
              { text: 'Let me look. 你好' },
              { functionCall: { name: 'weather', args: { city: 'Köln' } }, thoughtSignature: 'c2lnbmVkLW9uZQ==' },
              { functionCall: { name: 'weather', args: { city: 'Rom' }, id: 'abc123' } },
              { text: '', thoughtSignature: 'c2lnbmVkLXR3bw==' },
            ],
          },
          finishReason: 'STOP',
          index: 0,
        },
      ],
      usageMetadata: {
        promptTokenCount: 20,
        candidatesTokenCount: 17,
        thoughtsTokenCount: 12,
        totalTokenCount: 49,
        serviceTier: 'standard',
      },
      modelVersion: 'public',
      responseId: 'resp-1',
    })
  })

  test('is gathered in order of its candidates, and ended where it has not', () => {
    const gatherer = generate.passing(call).gatherer()
    for (const event of ownEvents('two-candidates').slice(0, 3)) gatherer.add(event)
    const { candidates } = gatherer.body('length')
    expect(candidates).toEqual([
      { content: { role: 'model', parts: [{ text: 'left' }] }, finishReason: 'STOP', index: 0 },
      { content: { role: 'model', parts: [{ text: 'right' }] }, finishReason: 'MAX_TOKENS', index: 1 },
    ])
  })

  test('that never came is an end alone', () => {
    expect(generate.passing(call).gatherer().body('length')).toEqual({
      candidates: [{ content: { role: 'model', parts: [] }, finishReason: 'MAX_TOKENS', index: 0 }],
    })
  })

  test('that nests too deep is not gathered', () => {
    const gatherer = generate.passing(call).gatherer()
    const deep = encoder.encode(`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`)
    expect(() => gatherer.add({ name: '', data: deep })).toThrow(expect.objectContaining({ code: 'vendor_error' }))
  })
})

describe('an error', () => {
  test('is told in the words of Google', () => {
    const error = new GatewayError('rate_limit_exceeded', 'Slow down.', { retryAfterMs: 1500 })
    expect(generate.failure(error)).toEqual({
      status: 429,
      headers: { 'retry-after': '2' },
      body: {
        error: {
          code: 429,
          message: 'Slow down.',
          status: 'RESOURCE_EXHAUSTED',
          details: [
            { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'RATE_LIMIT_EXCEEDED', domain: 'tollgate' },
            { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '2s' },
          ],
        },
      },
    })
  })

  test('names the parameter', () => {
    const { body } = generate.failure(new GatewayError('invalid_value', 'No.', { param: 'contents' }))
    expect((body['error'] as JsonObject)['details']).toContainEqual({
      '@type': 'type.googleapis.com/google.rpc.BadRequest',
      fieldViolations: [{ field: 'contents', description: 'No.' }],
    })
  })

  test.each([
    ['invalid_api_key', 401, 'UNAUTHENTICATED'],
    ['insufficient_quota', 402, 'RESOURCE_EXHAUSTED'],
    ['permission_denied', 403, 'PERMISSION_DENIED'],
    ['model_not_found', 404, 'NOT_FOUND'],
    ['request_too_large', 413, 'INVALID_ARGUMENT'],
    ['internal', 500, 'INTERNAL'],
    ['vendor_error', 502, 'UNAVAILABLE'],
    ['shutting_down', 503, 'UNAVAILABLE'],
    ['vendor_timeout', 504, 'DEADLINE_EXCEEDED'],
  ] as const)('%s has the status %d, %s', (code, status, word) => {
    const { status: sent, body } = generate.failure(new GatewayError(code, 'x'))
    const { code: told, status: said } = body['error'] as JsonObject
    expect([sent, told, said]).toEqual([status, status, word])
  })

  test('in mid-stream is an event, or an element of the array', () => {
    const error = new GatewayError('vendor_error', 'It broke.')
    const { body } = generate.failure(error)
    expect(jsonOf(generate.failureEvent(error, call))).toEqual([body])
    expect(parsed(generate.failureEvent(error, { ...call, form: 'array' }))).toEqual(body)
  })
})
