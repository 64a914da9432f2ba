import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { objectsOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { gemini } from '../../src/vendors/gemini.ts'
import type { Piece } from '../../src/vendors/vendor.ts'
import { vertex } from '../../src/vendors/vertex.ts'
import { event, eventsOf, passing, translating } from './streams.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const names = [
  'thoughts-and-tools',
  'steps-with-falling-usage',
  'vertex-traffic',
  'two-candidates',
  'grounded',
  'error-midway',
]

function ownEvents(name: string) {
  return eventsOf(new Uint8Array(readFileSync(new URL(`../fixtures/gemini/${name}.sse`, import.meta.url))))
}

function pieces(name: string, options = translating): readonly Piece[] {
  const read = gemini.reader(options)
  return ownEvents(name).map((item) => read(item))
}

/** The answer that the chunks make together. */
function gathered(name: string): readonly JsonObject[] {
  const gatherer = createGatherer()
  for (const chunk of pieces(name).flatMap(({ chunks = [] }) => chunks)) gatherer.addChunk(chunk)
  return objectsOf(gatherer.body()['choices'])
}

describe('a stream', () => {
  test('becomes chunks with thoughts, calls and their signatures', () => {
    const id = 'call_gm_call1_0_0'
    expect(gathered('thoughts-and-tools')).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: 'Let me look. 你好',
          reasoning_content: 'Which city? Both.',
          tool_calls: [
            { id, type: 'function', function: { name: 'weather', arguments: '{"city":"Köln"}' } },
            { id: 'abc123', type: 'function', function: { name: 'weather', arguments: '{"city":"Rom"}' } },
          ],
          reasoning_details: [
            { type: 'reasoning.text', text: 'Which city? Both.', format: 'gemini', index: 0 },
            { type: 'reasoning.encrypted', data: 'c2lnbmVkLW9uZQ==', id, format: 'gemini', index: 1 },
            { type: 'reasoning.encrypted', data: 'c2lnbmVkLXR3bw==', format: 'gemini', index: 2 },
          ],
        },
        finish_reason: 'tool_calls',
        native_finish_reason: 'STOP',
      },
    ])
  })

  test('tells its usage with every event, the last one for all of it', () => {
    expect(pieces('thoughts-and-tools', passing).map(({ usage }) => usage?.counts)).toEqual([
      { input: 20, reasoning: 8, output: 0 },
      { input: 20, reasoning: 12, output: 0 },
      { input: 20, reasoning: 12, output: 5 },
      { input: 20, reasoning: 12, output: 11 },
      { input: 20, reasoning: 12, output: 17 },
      { input: 20, reasoning: 12, output: 17 },
    ])
  })

  test('of several steps never counts less than it did, until its end has the sums', () => {
    expect(pieces('steps-with-falling-usage', passing).map(({ usage }) => usage?.counts)).toEqual([
      { input: 46, reasoning: 101, output: 51 },
      { input: 46, reasoning: 101, output: 51 },
      { input: 46, reasoning: 101, output: 51 },
      { input: 507, reasoning: 168, output: 73 },
    ])
  })

  test('without numbers until its end has no usage until then, and a keep-alive is nothing', () => {
    const [first, ping, last] = pieces('vertex-traffic', passing)
    expect([first?.usage, ping]).toEqual([undefined, {}])
    expect(last).toEqual({
      usage: { counts: { input: 8, reasoning: 2, output: 4 }, anomalies: [] },
      text: 'two',
      content: true,
      finish: 'STOP',
      whole: true,
      servedModel: 'gemini-9-flash',
      serviceTier: 'priority',
    })
  })

  test('is whole once every candidate has ended', () => {
    expect(pieces('two-candidates').map(({ whole }) => whole)).toEqual([undefined, undefined, undefined, true])
    expect(gathered('two-candidates').map(({ message, finish_reason: finish }) => [message, finish])).toEqual([
      [{ role: 'assistant', content: 'left' }, 'stop'],
      [{ role: 'assistant', content: 'right!' }, 'length'],
    ])
  })

  test('with a search has annotations by characters, and counts its queries', () => {
    expect(gathered('grounded')[0]?.['message']).toEqual({
      role: 'assistant',
      content: 'Zürich is in Switzerland.',
      annotations: [
        {
          type: 'url_citation',
          url_citation: { url: 'https://maps.example/z', title: 'maps.example', start_index: 0, end_index: 6 },
        },
      ],
    })
    expect(pieces('grounded').at(-1)?.usage?.counts).toEqual({ input: 9, output: 6, search: 2 })
  })

  test('may break with an error inside of it', () => {
    const { error } = pieces('error-midway').at(-1) ?? {}
    expect([error?.code, error?.status]).toEqual(['vendor_error', 502])
  })
})

describe('an answer', () => {
  const body = (candidate: JsonObject, more: JsonObject = {}): JsonObject => ({ candidates: [candidate], ...more })

  test.each([
    ['nothing', { trafficType: 'ON_DEMAND' }, { input: 0, output: 0 }, true],
    ['zeros', { promptTokenCount: 0, totalTokenCount: 0 }, { input: 0, output: 0 }, true],
    ['the prompt', { promptTokenCount: 9, totalTokenCount: 9 }, { input: 9, output: 0 }, undefined],
  ])('to a blocked prompt of which the vendor counts %s is billed as that', (_, usageMetadata, counts, isUnbilled) => {
    const body = { promptFeedback: { blockReason: 'MODEL_ARMOR' }, usageMetadata }
    const expected = { counts, anomalies: [], ...(isUnbilled && { isUnbilled }) }
    expect([gemini.reply(body, translating).usage, gemini.reader(passing)(event(body)).usage]).toEqual([
      expected,
      expected,
    ])
  })

  test('to a blocked prompt is an end by a filter, and costs what the vendor says', () => {
    const reply = gemini.reply(
      { promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 9, totalTokenCount: 9 } },
      translating,
    )
    expect(reply).toEqual({
      text: '',
      usage: { counts: { input: 9, output: 0 }, anomalies: [] },
      finish: 'BLOCK:SAFETY',
      inner: {
        id: 'chatcmpl-call-1',
        object: 'chat.completion',
        created: 0,
        model: 'public',
        choices: [
          {
            index: 0,
            message: { role: 'assistant', content: '' },
            finish_reason: 'content_filter',
            native_finish_reason: 'SAFETY',
          },
        ],
      },
    })
  })

  test.each([
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['SAFETY', 'content_filter'],
    ['RECITATION', 'content_filter'],
    ['PROHIBITED_CONTENT', 'content_filter'],
    ['IMAGE_SAFETY', 'content_filter'],
    ['MALFORMED_FUNCTION_CALL', 'stop'],
  ])('that ends with %s ends with %s', (word, finish) => {
    const { inner } = gemini.reply(body({ content: { parts: [{ text: 'Hi' }] }, finishReason: word }), translating)
    expect(objectsOf(inner?.['choices'])[0]?.['finish_reason']).toBe(finish)
  })

  test('without anything but a malformed call has failed, unless its caller can read it', () => {
    const malformed = body({ content: {}, finishReason: 'MALFORMED_FUNCTION_CALL' })
    expect(gemini.reply(malformed, translating).error?.code).toBe('vendor_error')
    expect(gemini.reply(malformed, passing)).toEqual({ text: '', finish: 'MALFORMED_FUNCTION_CALL' })
  })

  test('with an image has it as a data URL', () => {
    const image = { inlineData: { mimeType: 'image/png', data: 'AAAA' } }
    const { inner } = gemini.reply(body({ content: { parts: [image] }, finishReason: 'STOP' }), translating)
    expect(objectsOf(inner?.['choices'])[0]?.['message']).toEqual({
      role: 'assistant',
      content: null,
      images: [{ index: 0, type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }],
    })
  })

  test('has its log probabilities in the form of chat', () => {
    const logprobsResult = {
      chosenCandidates: [{ token: 'Hi', logProbability: -0.5 }],
      topCandidates: [{ candidates: [{ token: 'Hi', logProbability: -0.5 }] }],
    }
    const { inner } = gemini.reply(
      body({ content: { parts: [{ text: 'Hi' }] }, finishReason: 'STOP', logprobsResult }),
      translating,
    )
    const hi = { token: 'Hi', logprob: -0.5, bytes: null }
    expect(objectsOf(inner?.['choices'])[0]?.['logprobs']).toEqual({ content: [{ ...hi, top_logprobs: [hi] }] })
  })

  test('counts speech apart, and what is cached of it as cached', () => {
    const { usage } = gemini.reply(
      body(
        { content: { parts: [{ text: 'Hi' }] }, finishReason: 'STOP' },
        {
          usageMetadata: {
            promptTokenCount: 100,
            cachedContentTokenCount: 40,
            candidatesTokenCount: 10,
            totalTokenCount: 110,
            promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 60 }],
            cacheTokensDetails: [{ modality: 'AUDIO', tokenCount: 25 }],
            candidatesTokensDetails: [{ modality: 'AUDIO', tokenCount: 4 }],
          },
        },
      ),
      passing,
    )
    const counts = { cached_input: 40, audio_input: 35, input: 25, audio_output: 4, output: 6 }
    expect(usage).toEqual({ counts, anomalies: [] })
  })

  test('that says nothing of the prompt is flagged', () => {
    const { usage } = gemini.reply(
      body(
        { content: { parts: [{ text: 'Hi' }] }, finishReason: 'STOP' },
        { usageMetadata: { candidatesTokenCount: 3 } },
      ),
      passing,
    )
    expect(usage).toEqual({ counts: { input: 0, output: 3 }, anomalies: ['prompt_missing'] })
  })

  test.each([[{}], [{ candidates: [] }], [{ choices: [] }], [[]], ['text'], [null]])('is none: %j', (value) => {
    expect(gemini.reply(value as JsonObject, translating).error?.code).toBe('vendor_error')
  })
})

describe('a refusal of the vendor', () => {
  const judged = (status: number, error: JsonObject) => {
    const {
      fault,
      retryAfterMs,
      error: told,
    } = gemini.failure({ status, headers: {} }, encoder.encode(JSON.stringify({ error })))
    return [fault, told.status, retryAfterMs]
  }
  const quota = (quotaId: string, quotaValue = '10') => ({
    '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
    violations: [{ quotaId, quotaValue }],
  })
  const pause = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '34.4s' }
  const exhausted = { code: 429, status: 'RESOURCE_EXHAUSTED' }
  const message = 'You exceeded your current quota, please check your plan and billing details.'

  test.each([
    [
      'a limit of a minute',
      429,
      { ...exhausted, message, details: [quota('PerMinute'), pause] },
      ['busy', 429, 34_400],
    ],
    ['a limit of a day', 429, { ...exhausted, message, details: [quota('PerDayFree'), pause] }, ['account', 503]],
    ['a limit of zero', 429, { ...exhausted, message, details: [quota('PerMinute', '0')] }, ['account', 503]],
    ['money', 429, { ...exhausted, message: 'Your prepayment credits are depleted.' }, ['account', 503]],
    [
      'a bad key',
      400,
      {
        code: 400,
        message: 'API key not valid. Please pass a valid API key.',
        status: 'INVALID_ARGUMENT',
        details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID' }],
      },
      ['account', 503],
    ],
    [
      'a prompt that is too long',
      400,
      {
        code: 400,
        message: 'The input token count (9) exceeds the maximum number of tokens allowed (8).',
        status: 'INVALID_ARGUMENT',
      },
      ['caller', 400],
    ],
    ['a bad request', 400, { code: 400, message: 'Bad role.', status: 'INVALID_ARGUMENT' }, ['caller', 400]],
    [
      'a cache that is gone',
      403,
      { code: 403, message: 'CachedContent not found', status: 'PERMISSION_DENIED' },
      ['caller', 403],
    ],
    ['no permission', 403, { code: 403, message: 'Denied.', status: 'PERMISSION_DENIED' }, ['account', 503]],
    ['an unknown model', 404, { code: 404, message: 'models/x is not found', status: 'NOT_FOUND' }, ['account', 503]],
    ['overload', 503, { code: 503, message: 'Overloaded.', status: 'UNAVAILABLE' }, ['down', 502]],
  ])('for %s is judged so', (_, status, error, wanted) => {
    const [fault, told, retryAfterMs] = judged(status, error as JsonObject)
    expect([fault, told, ...(retryAfterMs === undefined ? [] : [retryAfterMs])]).toEqual(wanted)
  })

  test('may be a list of one, or nothing at all', () => {
    const head = { status: 429, headers: {} }
    expect(gemini.failure(head, encoder.encode(JSON.stringify([{ error: exhausted }]))).fault).toBe('busy')
    expect(gemini.failure(head, encoder.encode('<html>')).fault).toBe('busy')
  })
})

describe('a request', () => {
  const raw = '{"contents":[{"parts":[{"text":"Hi"}]}],"model":"x","tags":["a"],"temperature":1.0}'
  const own: Call = {
    ...passing.call,
    dialect: 'generate',
    raw: encoder.encode(raw),
    inner: { messages: [{ role: 'user', content: 'Hi' }] },
  }
  const chat: Call = { ...own, dialect: 'chat' }
  const target = { vendor: 'v', model: 'gemini-2.5-flash' }
  const access = { baseUrl: 'https://google.test/v1beta', apiKey: 'AIza-key', connectMs: 7 }
  const text = ({ body }: { body: Uint8Array }) => decoder.decode(body)

  test("in the vendor's dialect goes on as it came, without what is ours", () => {
    const request = gemini.request(own, target, access, true)
    expect({ ...request, body: text(request) }).toEqual({
      method: 'POST',
      url: 'https://google.test/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse',
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'accept-encoding': 'identity',
        'x-goog-api-key': 'AIza-key',
      },
      body: '{"contents":[{"parts":[{"text":"Hi"}]}],"temperature":1.0}',
      connectMs: 7,
    })
  })

  test('to Vertex has another path and a token', () => {
    const { url, headers } = vertex.request(own, target, { ...access, apiKey: 'ya29.token' }, false)
    expect([url, headers['authorization'], headers['x-goog-api-key']]).toEqual([
      'https://google.test/v1beta/publishers/google/models/gemini-2.5-flash:generateContent',
      'Bearer ya29.token',
      undefined,
    ])
  })

  test('to Vertex may have a key of express mode', () => {
    const { headers } = vertex.request(own, target, access, false)
    expect([headers['authorization'], headers['x-goog-api-key']]).toEqual([undefined, 'AIza-key'])
  })

  test('for another tier than the usual one is told to Gemini, and left out for Vertex', () => {
    const flex: Call = { ...chat, inner: { ...chat.inner, service_tier: 'flex', logit_bias: { 1: 2 } } }
    const [first, second] = [gemini, vertex].map((vendor) => vendor.request(flex, target, access, false))
    expect(first && [JSON.parse(text(first)), first.dropped]).toEqual([
      { contents: [{ role: 'user', parts: [{ text: 'Hi' }] }], serviceTier: 'flex' },
      ['logit_bias'],
    ])
    expect(second?.dropped).toEqual(['logit_bias', 'service_tier'])
  })

  test.each([
    ['Gemini', gemini, own, { generateContentRequest: { contents: [{ parts: [{ text: 'Hi' }] }] } }],
    ['Vertex', vertex, own, { contents: [{ parts: [{ text: 'Hi' }] }] }],
  ])('to count a prompt is sent as %s wants it', (_, vendor, call, wanted) => {
    const wrapped = { generateContentRequest: { contents: [{ parts: [{ text: 'Hi' }] }], generationConfig: {} } }
    const request = vendor.counting?.request({ ...call, raw: encoder.encode(JSON.stringify(wrapped)) }, target, access)
    const model = 'models/gemini-2.5-flash'
    const named =
      'generateContentRequest' in wanted
        ? { generateContentRequest: { ...wanted.generateContentRequest, model } }
        : wanted
    expect(request && [JSON.parse(text(request)), request.url.split(':').at(-1)]).toEqual([named, 'countTokens'])
  })

  test('to count a prompt of another dialect is translated', () => {
    const request = gemini.counting?.request({ ...chat, inner: { ...chat.inner, temperature: 1 } }, target, access)
    expect(request && JSON.parse(text(request))).toEqual({
      generateContentRequest: {
        contents: [{ role: 'user', parts: [{ text: 'Hi' }] }],
        model: 'models/gemini-2.5-flash',
      },
    })
  })

  test('to count a prompt is answered with a number or with none', () => {
    expect([{ totalTokens: 7 }, { totalTokens: -1 }, {}].map((body) => gemini.counting?.tokens(body))).toEqual([
      7,
      undefined,
      undefined,
    ])
  })
})

describe('whatever the vendor sends', () => {
  const all = names.flatMap((name) => ownEvents(name).map(({ data }) => decoder.decode(data)))
  const json = all.filter((text) => text.startsWith('{')).map((text) => JSON.parse(text) as JsonObject)

  /** The value without one of its members, somewhere, or with something else there. */
  function mangled(value: JsonObject, path: readonly number[], put: unknown): unknown {
    const [step = 0, ...rest] = path
    const keys = Object.keys(value)
    const key = keys[step % Math.max(1, keys.length)]
    if (key === undefined) return put
    const inside = value[key]
    const isDeep = rest.length > 0 && typeof inside === 'object' && inside !== null
    const next = isDeep ? mangled(inside as JsonObject, rest, put) : put
    const copy = Array.isArray(value) ? [...(value as unknown[])] : { ...value }
    if (next === undefined && !Array.isArray(copy)) delete (copy as Record<string, unknown>)[key]
    else (copy as Record<string, unknown>)[key] = next
    return copy
  }
  const paths = fc.array(fc.nat(9), { minLength: 1, maxLength: 8 })
  const junk = fc.oneof(fc.constant(undefined), fc.jsonValue(), fc.constantFrom(-1, 1e300, 'STOP', true, null))

  test('no reader throws', () => {
    const changed = fc.record({ at: fc.nat(json.length - 1), path: paths, put: junk })
    fc.assert(
      fc.property(fc.array(changed, { maxLength: 6 }), fc.boolean(), (changes, translates) => {
        const read = gemini.reader({ ...passing, translates })
        for (const { at, path, put } of changes) read(event(mangled(json[at] ?? {}, path, put) ?? ''))
      }),
      { numRuns: 500 },
    )
  })

  test('no reader throws at bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (data) => {
        gemini.reader(translating)({ name: '', data })
        gemini.failure({ status: 400, headers: {} }, data)
      }),
    )
  })

  test('no reply throws', () => {
    fc.assert(
      fc.property(fc.nat(json.length - 1), paths, junk, (at, path, put) => {
        gemini.reply(mangled(json[at] ?? {}, path, put) as JsonObject, translating)
      }),
      { numRuns: 500 },
    )
  })

  test('counts are whole and no less than nothing', () => {
    const number = fc.oneof(fc.nat(1000), fc.jsonValue())
    const metadata = fc.record(
      {
        promptTokenCount: number,
        candidatesTokenCount: number,
        thoughtsTokenCount: number,
        toolUsePromptTokenCount: number,
        cachedContentTokenCount: number,
        totalTokenCount: number,
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(metadata, (usageMetadata) => {
        const { usage } = gemini.reply(
          { candidates: [{ finishReason: 'STOP' }], usageMetadata: usageMetadata as JsonObject },
          passing,
        )
        for (const count of Object.values(usage?.counts ?? {}))
          expect(Number.isSafeInteger(count) && count >= 0).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('arguments that nest too deep are an error', () => {
    const deep = `${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`
    const text = `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":${deep}}}]}}]}`
    const { error } = gemini.reader(passing)({ name: '', data: encoder.encode(text) })
    expect(error).toBeInstanceOf(GatewayError)
  })
})
