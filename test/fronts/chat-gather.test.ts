import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/core/call.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { spread } from '../../src/meter/spread.ts'
import { recordedBytes, recordedChats, recordedJson } from '../fixtures/recorded.ts'
import { event, eventsOf, ownStream, sha256 } from '../vendors/streams.ts'

/** What a vendor says beside the body itself; the body has its usage. */
const plain = { text: '' }

function gathered(bytes: Uint8Array): JsonObject {
  const gatherer = createGatherer()
  for (const one of eventsOf(bytes)) gatherer.add(one)
  return gatherer.body()
}

/** The message that these deltas of one choice make. */
function messageOf(...deltas: readonly JsonObject[]): Json | undefined {
  const gatherer = createGatherer()
  for (const delta of deltas) gatherer.add(event({ choices: [{ index: 0, delta }] }))
  return objectsOf(gatherer.body()['choices'])[0]?.['message']
}

function toolCallsOf(...pieces: readonly JsonObject[]): Json | undefined {
  const message = messageOf(...pieces.map((piece) => ({ tool_calls: [piece] })))
  return isObject(message) ? message['tool_calls'] : undefined
}

const call = (id: string, name: string, text: string): JsonObject => ({
  id,
  type: 'function',
  function: { name, arguments: text },
})

describe('a gathered stream', () => {
  test('with an empty first chunk and two choices is one body', () => {
    expect(gathered(ownStream('two-choices.sse'))).toEqual({
      id: 'c2',
      object: 'chat.completion',
      created: 7,
      model: 'm-2',
      prompt_filter_results: [{ prompt_index: 0 }],
      system_fingerprint: 'fp',
      service_tier: 'default',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: '中文' },
          finish_reason: 'stop',
          logprobs: {
            content: [
              { token: '中', logprob: -2 },
              { token: '文', logprob: -3 },
            ],
            refusal: null,
          },
        },
        {
          index: 1,
          message: { role: 'assistant', content: 'B' },
          finish_reason: 'length',
          logprobs: { content: [{ token: 'B', logprob: -1 }], refusal: null },
        },
      ],
      usage: { prompt_tokens: 4, completion_tokens: 3, total_tokens: 7 },
    })
  })

  test('that reuses an index for another tool call has both calls', () => {
    expect(gathered(ownStream('tools-reused-index.sse'))['choices']).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          tool_calls: [call('call_a', 'find', '{"q":"x"}'), call('call_b', 'find', '{"q":"y"}')],
        },
        finish_reason: 'tool_calls',
      },
    ])
  })

  test('that was cut ends with the reason that is given', () => {
    const gatherer = createGatherer()
    gatherer.add(event({ choices: [{ index: 0, delta: { content: 'a' } }] }))
    expect(gatherer.body('length')['choices']).toEqual([
      { index: 0, message: { role: 'assistant', content: 'a' }, finish_reason: 'length' },
    ])
  })

  test('that never began has no choices', () => {
    expect(createGatherer().body()).toEqual({ object: 'chat.completion', choices: [] })
  })

  test('that was cut before it began has one choice without content', () => {
    expect(createGatherer().body('length')['choices']).toEqual([
      { index: 0, message: { role: 'assistant', content: null }, finish_reason: 'length' },
    ])
  })

  test('keeps fields that nobody knows', () => {
    expect(
      messageOf(
        { role: 'assistant', signature: 'ab' },
        { signature: 'cd', x: { y: 'e' } },
        { x: { y: 'f' }, content: null },
      ),
    ).toEqual({
      role: 'assistant',
      content: null,
      signature: 'abcd',
      x: { y: 'ef' },
    })
  })

  test('keeps reasoning, refusal and parts', () => {
    const deltas = [
      { reasoning_content: 'a', refusal: 'n' },
      { reasoning_content: 'b', refusal: 'o', content: [{ type: 'thinking' }] },
      { content: 't' },
    ]
    expect(messageOf(...deltas)).toEqual({
      role: 'assistant',
      content: [{ type: 'thinking' }, { type: 'text', text: 't' }],
      reasoning_content: 'ab',
      refusal: 'no',
    })
  })

  test('with a field called __proto__ keeps it a field', () => {
    const gatherer = createGatherer()
    gatherer.add(event('{"choices":[{"delta":{"__proto__":{"a":1},"content":"x"}}]}'))
    expect(JSON.stringify(gatherer.body())).toContain('"__proto__":{"a":1}')
  })

  test('that is larger than allowed is an error of the vendor', () => {
    const gatherer = createGatherer(100)
    expect(() => gatherer.add(event({ choices: [{ delta: { content: 'x'.repeat(100) } }] }))).toThrow(
      'more than one answer can hold',
    )
  })

  test('that is nested too deep is an error of the vendor', () => {
    expect(() => createGatherer().add(event(`{"x":${'['.repeat(10_000)}${']'.repeat(10_000)}}`))).toThrow(
      'nested deeper',
    )
  })
})

describe('tool calls', () => {
  test('that are interleaved come apart', () => {
    const pieces = [
      { index: 0, ...call('a', 'f', '') },
      { index: 1, ...call('b', 'g', '') },
      { index: 0, function: { arguments: '{' } },
      { index: 1, function: { arguments: '[' } },
      { index: 0, function: { arguments: '}' } },
      { index: 1, function: { arguments: ']' } },
    ]
    expect(toolCallsOf(...pieces)).toEqual([call('a', 'f', '{}'), call('b', 'g', '[]')])
  })

  test('that repeat their name in every piece have it once', () => {
    const pieces = [
      { index: 0, ...call('a', 'find', '{') },
      { index: 0, function: { name: 'find', arguments: '}' } },
    ]
    expect(toolCallsOf(...pieces)).toEqual([call('a', 'find', '{}')])
  })

  test('whose id is made up anew for every piece are one', () => {
    const pieces = [
      { index: 0, ...call('a', 'f', '{') },
      { index: 0, id: 'b', function: { arguments: '}' } },
    ]
    expect(toolCallsOf(...pieces)).toEqual([call('a', 'f', '{}')])
  })

  test('without index but with ids come apart', () => {
    expect(toolCallsOf(call('a', 'f', '{}'), call('b', 'f', '{}'))).toEqual([
      call('a', 'f', '{}'),
      call('b', 'f', '{}'),
    ])
  })

  test('without index and id go on where the last one is not complete', () => {
    const pieces = [
      call('a', 'f', '{"x"'),
      { function: { arguments: ':1}' } },
      { function: { name: 'g', arguments: '{}' } },
    ]
    expect(toolCallsOf(...pieces)).toEqual([call('a', 'f', '{"x":1}'), { ...call('', 'g', '{}') }])
  })

  test('with arguments that are an object have them as text', () => {
    expect(toolCallsOf({ index: 0, id: 'a', function: { name: 'f', arguments: { x: 1 } } })).toEqual([
      call('a', 'f', '{"x":1}'),
    ])
  })

  test('of a kind with free input keep it', () => {
    const pieces = [
      { index: 0, id: 'a', type: 'custom', custom: { name: 'f', input: 'x' } },
      { index: 0, custom: { input: 'y' } },
    ]
    expect(toolCallsOf(...pieces)).toEqual([{ id: 'a', type: 'custom', custom: { name: 'f', input: 'xy' } }])
  })
})

describe('a body that is spread into a stream', () => {
  const text = fc.string({ unit: 'binary' })
  const toolCall = fc
    .record({ id: fc.uuid(), name: fc.stringMatching(/^\w{1,9}$/), text })
    .map((one) => call(one.id, one.name, one.text))
  const message = fc.record(
    {
      role: fc.constant('assistant'),
      content: fc.oneof(text, fc.constant(null)),
      reasoning_content: text,
      refusal: fc.constant(null),
      tool_calls: fc.uniqueArray(toolCall, { minLength: 1, maxLength: 3, selector: ({ id }) => id }),
    },
    { requiredKeys: ['role', 'content'] },
  )
  const finish = fc.constantFrom('stop', 'length')
  const choices = fc.array(fc.record({ message, finish_reason: finish }), { minLength: 1, maxLength: 3 })

  test('is the same body when it is gathered again', () => {
    fc.assert(
      fc.property(choices, (all) => {
        const body = {
          id: 'c',
          object: 'chat.completion',
          created: 1,
          model: 'm',
          service_tier: 'flex',
          choices: all.map((choice, index) => ({ index, ...choice })),
          usage: { prompt_tokens: 1, completion_tokens: 2 },
        } as JsonObject
        const gatherer = createGatherer()
        for (const { piece } of spread(body, plain)) for (const chunk of piece.chunks ?? []) gatherer.addChunk(chunk)
        expect(gatherer.body()).toEqual(body)
      }),
    )
  })
})

const recorded = recordedChats('openai', 'deepseek', 'qwen', 'doubao').filter(({ status }) => status === 200)
const streams = recorded.filter(({ response_format: format }) => format === 'sse')

describe.skipIf(recorded.length === 0)('recorded traffic', () => {
  test.each(streams)('$vendor $id is gathered into what it says', (entry) => {
    const all = objectsOf(gathered(recordedBytes(entry))['choices'])
    const choice = all[0] ?? {}
    const message = isObject(choice['message']) ? choice['message'] : {}
    const reasoning = stringOf(message['reasoning_content'])
    const content = stringOf(message['content'])
    const { expect: expected = {} } = entry
    expect({
      text: expected.text_sha256 && sha256(content),
      chars: expected.text_chars === undefined ? undefined : Array.from(content).length,
      reasoning: expected.reasoning_sha256 && sha256(reasoning),
      finish: choice['finish_reason'],
      choices: expected.choices && all.length,
      calls: expected.tool_calls && callsOf(message),
    }).toEqual({
      text: expected.text_sha256,
      chars: expected.text_chars,
      reasoning: expected.reasoning_sha256,
      finish: expected.finish,
      choices: expected.choices,
      calls: expected.tool_calls,
    })
  })

  const bodies = recorded.filter(({ response_format: format }) => format !== 'sse')
  test.each(bodies)('$vendor $id comes back from a stream as it was', (entry) => {
    const body = recordedJson(entry)
    const gatherer = createGatherer()
    for (const { piece } of spread(body, plain)) for (const chunk of piece.chunks ?? []) gatherer.addChunk(chunk)
    // Some vendors number the calls of an unstreamed message; only a stream needs it.
    const text = JSON.stringify(body, (name, value: unknown) =>
      name === 'tool_calls' ? withoutIndex(value as JsonObject[]) : value,
    )
    expect(gatherer.body()).toEqual(JSON.parse(text))
  })
})

function withoutIndex(calls: readonly JsonObject[]): unknown {
  return Array.isArray(calls) ? calls.map(({ index: _, ...rest }) => rest) : calls
}

function callsOf(message: JsonObject): readonly unknown[] {
  return objectsOf(message['tool_calls']).map(({ id, function: named }) => {
    const { name, arguments: text } = named as { name: string; arguments: string }
    return { id, name, arguments: JSON.parse(text) as unknown }
  })
}
