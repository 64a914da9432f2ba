import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { isList, isObject } from '../../src/core/wire.ts'
import { vendors } from '../../src/vendors/index.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { event, translating } from './streams.ts'

/** Nothing that a vendor sends or a caller asks may end in another error than one that callers can be told. */

const adapters = 'bedrock bedrock-invoke cohere dashscope dify ollama-native mistral minimax openrouter'
const subjects = adapters.split(' ').flatMap((id) => {
  const vendor = vendors.get(id)
  return vendor ? [[id, vendor] as const] : []
})

/** Words that mean something to some adapter, so that random objects are not all beside the point. */
const words = fc.constantFrom(
  ...(
    'role content type text thinking function name arguments id index delta message choices output usage tokens ' +
    'tool_calls toolUse start contentBlockIndex reasoningContent finish_reason done error code messages tools stop n ' +
    'answer event outputs status inputs bytes reasoning response_format json_schema schema reasoning_details image_url file file_data stopReason tool_choice'
  ).split(' '),
)
const scalars = fc.oneof(
  words,
  fc.constantFrom(null, true, false, 0, -1, 1.5, 1e300, '', 'data:image/png;base64,AA', 'tool', 'user', 'assistant'),
  fc.constantFrom('function', 'content-delta', 'tool-call-start', 'message-end', 'reasoning.text', 'anthropic'),
)
const json: fc.Arbitrary<Json> = fc.letrec<{ node: Json }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalars,
    fc.array(tie('node'), { maxLength: 4 }),
    fc.dictionary(words, tie('node'), { maxKeys: 6 }),
  ),
})).node
const object = fc.dictionary(words, json, { maxKeys: 8 })
const names = fc.constantFrom(
  '',
  'messageStart',
  'contentBlockStart',
  'contentBlockDelta',
  'metadata',
  'error',
  'exception:x',
)

function survives(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError)
  }
}

test.each(subjects)('%s reads any stream of any objects', (_, vendor) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(names, json), { maxLength: 6 }), (events) => {
      const read = vendor.reader(translating)
      const gatherer = createGatherer()
      for (const [name, payload] of events) {
        const { chunks = [] } = read(event(payload, name))
        for (const chunk of chunks) gatherer.addChunk(chunk)
      }
      JSON.stringify(gatherer.body())
    }),
    { numRuns: 300 },
  )
})

test.each(subjects)('%s reads any bytes, bodies and refusals', (_, vendor) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), object, (bytes, body) => {
      vendor.reader(translating)({ name: '', data: bytes })
      vendor.reply(body, translating)
      vendor.failure({ status: 400, headers: {} }, bytes)
      vendor.failure(
        { status: 400, headers: { 'x-amzn-errortype': 'x:y' } },
        new TextEncoder().encode(JSON.stringify(body)),
      )
    }),
    { numRuns: 300 },
  )
})

test.each(subjects)('%s takes any request or refuses it by name', (_, vendor) => {
  const message = fc.record(
    { role: fc.constantFrom('system', 'user', 'assistant', 'tool'), content: json },
    { requiredKeys: ['role'] },
  )
  const messages = fc.array(fc.oneof(message, object), { maxLength: 4 })
  fc.assert(
    fc.property(object, messages, fc.boolean(), (more, said, stream) => {
      const inner: JsonObject = { ...more, messages: said }
      const raw = new TextEncoder().encode(JSON.stringify(inner))
      const call: Call = { ...translating.call, dialect: 'messages', body: inner, inner, raw }
      const access = { baseUrl: 'https://v', apiKey: 'k', connectMs: 1 }
      survives(() => vendor.request(call, { vendor: vendor.id, model: 'us.anthropic.claude' }, access, stream))
    }),
    { numRuns: 300 },
  )
})

/** The value without some of its members, at any depth. */
function thinned(value: Json, isGone: () => boolean): Json {
  if (isList(value)) return value.map((item) => thinned(item, isGone))
  if (!isObject(value)) return isGone() ? null : value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, item]) =>
      isGone() || item === undefined ? [] : [[name, thinned(item, isGone)]],
    ),
  )
}

const real: Readonly<Record<string, readonly (readonly [string, JsonObject])[]>> = {
  bedrock: [
    ['contentBlockStart', { contentBlockIndex: 0, start: { toolUse: { toolUseId: 't', name: 'f' } } }],
    ['contentBlockDelta', { contentBlockIndex: 0, delta: { toolUse: { input: '{}' } } }],
    ['contentBlockDelta', { contentBlockIndex: 1, delta: { reasoningContent: { text: 'h', signature: 's' } } }],
    ['messageStop', { stopReason: 'tool_use' }],
    ['metadata', { usage: { inputTokens: 1, outputTokens: 2, cacheDetails: [{ ttl: '1h', inputTokens: 1 }] } }],
  ],
  cohere: [
    [
      '',
      { type: 'tool-call-start', index: 0, delta: { message: { tool_calls: { id: 'a', function: { name: 'f' } } } } },
    ],
    [
      '',
      {
        type: 'citation-start',
        delta: { message: { citations: { start: 0, end: 1, sources: [{ document: { url: 'u' } }] } } },
      },
    ],
    [
      '',
      {
        type: 'message-end',
        delta: { finish_reason: 'COMPLETE', usage: { tokens: { input_tokens: 1, output_tokens: 2 } } },
      },
    ],
  ],
  dashscope: [
    [
      'result',
      {
        output: {
          choices: [
            {
              message: { content: [{ text: 'a' }], tool_calls: [{ index: 0, id: '', function: { arguments: '' } }] },
              finish_reason: 'stop',
            },
          ],
        },
        usage: { input_tokens: 1, output_tokens: 2, plugins: { search: { count: 1 } } },
      },
    ],
  ],
  'ollama-native': [
    [
      '',
      {
        model: 'm',
        message: {
          content: 'a',
          thinking: 'b',
          tool_calls: [{ id: 'c', function: { index: 0, name: 'f', arguments: {} } }],
        },
        done: true,
        done_reason: 'stop',
        prompt_eval_count: 1,
        eval_count: 2,
      },
    ],
  ],
}

test.each(Object.entries(real))('%s reads its own events with any of their fields gone', (id, events) => {
  const vendor = vendors.get(id)
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat(9)), (dice) => {
      const isGone = (): boolean => dice.next().value === 0
      const read = vendor?.reader(translating)
      for (const [name, payload] of events) read?.(event(thinned(payload, isGone), name))
    }),
    { numRuns: 300 },
  )
})
