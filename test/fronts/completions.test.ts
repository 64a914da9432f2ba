import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Call, Json, JsonObject } from '../../src/core/call.ts'
import { concat } from '../../src/core/concat.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { createSseParser } from '../../src/core/sse.ts'
import { completions as front } from '../../src/fronts/completions.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const parts = { id: 'call-1', startedAtMs: 0, path: '/v1/completions', header: () => undefined, query: () => undefined }
const least = { model: 'm', prompt: 'Say' }

function read(body: JsonObject): Call {
  return front.read(encoder.encode(JSON.stringify(body)), parts)
}

function refusal(work: () => unknown): readonly (string | undefined)[] {
  try {
    work()
    return ['taken']
  } catch (error) {
    return error instanceof GatewayError ? [error.code, error.param] : [String(error)]
  }
}

function payloads(bytes: Uint8Array): readonly string[] {
  return createSseParser()
    .push(bytes)
    .map(({ data }) => decoder.decode(data))
}

describe('a request', () => {
  test('is read as what the user says, with what a call has to know', () => {
    const { raw: _, ...rest } = read({ ...least, max_tokens: 9, n: 2, logprobs: 3, user: 'u' })
    expect(rest).toEqual({
      id: 'call-1',
      dialect: 'completions',
      operation: 'chat',
      body: { ...least, max_tokens: 9, n: 2, logprobs: 3, user: 'u' },
      inner: {
        model: 'm',
        n: 2,
        user: 'u',
        messages: [{ role: 'user', content: 'Say' }],
        max_tokens: 9,
        logprobs: true,
        top_logprobs: 3,
      },
      model: 'm',
      stream: false,
      wantsUsage: false,
      maxOutput: 9,
      choices: 2,
      startedAtMs: 0,
    })
  })

  test('has as many answers as prompts, times those wanted of each or made to choose from', () => {
    const choices = [{ prompt: ['a', 'b'], n: 2 }, { best_of: 3 }, { prompt: [1, 2, 3] }, { prompt: [[1], [2]] }]
    expect(choices.map((more) => read({ ...least, ...more }).choices)).toEqual([4, 3, 1, 2])
  })

  test('in tokens counts about as many', () => {
    expect(read({ model: 'm', prompt: [5, 6, 7] }).inner['messages']).toEqual([{ role: 'user', content: ' a a a' }])
  })

  test.each<[JsonObject, string]>([
    [{ model: '' }, 'model'],
    [{ prompt: null }, 'prompt'],
    [{ prompt: [] }, 'prompt'],
    [{ prompt: ['a', {}] }, 'prompt[1]'],
    [{ suffix: 1 }, 'suffix'],
    [{ echo: 'yes' }, 'echo'],
    [{ stream: 1 }, 'stream'],
    [{ stream_options: {} }, 'stream_options'],
    [{ stream: true, stream_options: { include_usage: 1 } }, 'stream_options.include_usage'],
    [{ max_tokens: -1 }, 'max_tokens'],
    [{ n: 0 }, 'n'],
    [{ prompt: Array.from({ length: 2_048 }, () => 'a'), n: 2 }, 'n'],
    [{ best_of: 1.5 }, 'best_of'],
    [{ logprobs: true }, 'logprobs'],
  ])('with %j is refused by name', (more, param) => {
    expect(refusal(() => read({ ...least, ...more }))).toEqual(['invalid_value', param])
  })

  test.each<[JsonObject, string | undefined]>([
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: [1, 2] }, 'prompt'],
    [{ suffix: 'end' }, 'suffix'],
    [{ best_of: 2 }, 'best_of'],
    [{ prompt: ['a'], suffix: '', n: 2, best_of: 2 }, undefined],
  ])('with %j has nothing but %s that no conversation can serve', (more, param) => {
    expect(read({ ...least, ...more }).beyond?.param).toBe(param)
  })
})

const likely = (token: string) => ({ token, logprob: -0.5, bytes: null, top_logprobs: [{ token, logprob: -0.5 }] })
const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }

test('an answer is a completion, the prompt before it where that was asked for', () => {
  const choice = {
    index: 0,
    message: { role: 'assistant', content: ' so', reasoning_content: 'Hm' },
    finish_reason: 'tool_calls',
    logprobs: { content: [likely(' s'), likely('o')] },
  }
  expect(front.reply(read({ ...least, echo: true }), { choices: [choice], usage })).toEqual({
    id: 'cmpl-call-1',
    object: 'text_completion',
    created: 0,
    model: 'm',
    choices: [
      {
        text: 'Say so',
        index: 0,
        logprobs: {
          tokens: [' s', 'o'],
          token_logprobs: [-0.5, -0.5],
          top_logprobs: [{ ' s': -0.5 }, { o: -0.5 }],
          text_offset: [3, 5],
        },
        finish_reason: 'stop',
      },
    ],
    usage,
  })
})

describe('a stream', () => {
  const asked = read({ ...least, echo: true, stream: true, stream_options: { include_usage: true } })
  const chunk = (delta: JsonObject, finish: string | null = null) => ({
    choices: [{ index: 0, delta, finish_reason: finish }],
  })

  test('tells text and nothing else', () => {
    const writer = front.writer(asked)
    const chunks = [
      chunk({ role: 'assistant', content: '' }),
      chunk({ reasoning_content: 'Hm' }),
      chunk({ content: ' so' }),
      chunk({ content: ' much' }),
      chunk({}, 'length'),
    ]
    const sent = payloads(concat([...chunks.map((each) => writer.write(each)), writer.close(usage)]))
    const base = { id: 'cmpl-call-1', object: 'text_completion', created: 0, model: 'm' }
    const said = (text: string, finish: string | null) => ({
      ...base,
      choices: [{ text, index: 0, logprobs: null, finish_reason: finish }],
    })
    expect(sent.slice(0, -1).map((each) => JSON.parse(each) as unknown)).toEqual([
      said('Say', null),
      said(' so', null),
      said(' much', null),
      said('', 'length'),
      { ...base, choices: [], usage },
    ])
    expect(sent.at(-1)).toBe('[DONE]')
  })

  test('whose money runs out ends each choice for its length', () => {
    const [sent = ''] = payloads(front.passing(read({ ...least, n: 2 })).cut())
    expect(JSON.parse(sent)).toMatchObject({
      choices: [
        { index: 0, finish_reason: 'length' },
        { index: 1, finish_reason: 'length' },
      ],
    })
  })

  test('of a vendor goes by under the name that was asked for, with usage where it was asked for', () => {
    const sent = (call: Call, text: string, cost?: bigint) => {
      const event = { name: '', data: encoder.encode(text) }
      return payloads(front.passing(call).event({ event, piece: { servedModel: 'x', usage: {} } }, cost))
    }
    const text = '{"model":"x","choices":[],"usage":{"prompt_tokens":1},"error":null}'
    expect([sent(asked, text, 1_500n), sent(read(least), text), sent(asked, ': x')]).toEqual([
      ['{"model":"m","choices":[],"usage":{"prompt_tokens":1,"cost":0.0000015}}'],
      ['{"model":"m","choices":[]}'],
      [],
    ])
  })

  test('is gathered choice by choice', () => {
    const gatherer = front.passing(asked).gatherer()
    const events = [
      '{"id":"c","model":"x","choices":[{"index":1,"text":"b","logprobs":{"tokens":["b"]},"finish_reason":null}]}',
      '{"id":"c","choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":null,"extra":1}],"usage":null}',
      '{"id":"c","choices":[{"index":1,"text":"c","logprobs":{"tokens":["c"]},"finish_reason":"stop"}],"usage":{"n":1}}',
      '[DONE]',
    ]
    for (const data of events) gatherer.add({ name: '', data: encoder.encode(data) })
    expect(gatherer.body('length')).toEqual({
      id: 'c',
      object: 'text_completion',
      created: 0,
      model: 'm',
      choices: [
        { text: 'a', index: 0, logprobs: null, finish_reason: 'length', extra: 1 },
        { text: 'bc', index: 1, logprobs: { tokens: ['b', 'c'] }, finish_reason: 'stop' },
      ],
      usage: { n: 1 },
    })
  })
})

const names = fc.constantFrom(
  ...'model prompt suffix n echo logprobs choices text index delta message content logprobs token finish_reason'.split(
    ' ',
  ),
)
const { json } = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, 0, 1, 'stop', ''),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(names, tie('json'), { maxKeys: 5 }),
  ),
}))
const object = fc.dictionary(names, json, { maxKeys: 6 })

test('anything is read or refused, and any answer told', () => {
  fc.assert(
    fc.property(object, object, (request, answer) => {
      expect(['taken', 'invalid_value']).toContain(refusal(() => read(request))[0])
      const call = read({ ...least, echo: true })
      JSON.stringify(front.reply(call, answer))
      front.writer(call).write(answer)
      const gatherer = front.passing(call).gatherer()
      gatherer.add({ name: '', data: encoder.encode(JSON.stringify(answer)) })
      JSON.stringify(gatherer.body())
    }),
    { numRuns: 500 },
  )
})
