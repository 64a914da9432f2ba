import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { objectsOf, stringOf } from '../../src/core/wire.ts'
import { completions as front } from '../../src/fronts/completions.ts'
import { vendors } from '../../src/vendors/index.ts'
import { openaiCompletions as vendor } from '../../src/vendors/openai-completions.ts'
import { recorded, recordedBytes, recordedJson, type Recorded } from '../fixtures/recorded.ts'
import { event, eventsOf, passing as chatPassing } from './streams.ts'

const all = recorded('completions', 'openai', 'vllm', 'together')
const good = all.filter(({ status }) => status === 200)
const named = (entries: readonly Recorded[]) => entries.map((entry) => [`${entry.vendor} ${entry.id}`, entry] as const)
const passing = { call: { ...chatPassing.call, dialect: 'completions' as const }, translates: false }
const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }

const textOf = (body: JsonObject) =>
  objectsOf(body['choices'])
    .map(({ text }) => stringOf(text))
    .join('')

describe.skipIf(all.length === 0)('recorded completions', () => {
  test.each(named(good.filter(({ streaming }) => !streaming)))('%s is read as it is metered', (_, entry) => {
    const body = recordedJson(entry)
    const { text, usage, finish, error } = vendor.reply(body, passing)
    const counts = usage?.counts ?? {}
    expect({ text, input: inputTotal(counts), output: outputTotal(counts), finish, error }).toEqual({
      text: textOf(body),
      input: entry.metering?.input,
      output: entry.metering?.output,
      // Of several choices, each may end in another way.
      finish: entry.features.includes('n>1') ? finish : entry.expect?.finish,
      error: undefined,
    })
  })

  test.each(named(good.filter(({ streaming }) => streaming)))('%s is read and gathered whole', (_, entry) => {
    const read = vendor.reader(passing)
    const gatherer = front.passing(passing.call).gatherer()
    const events = eventsOf(recordedBytes(entry))
    const pieces = events.map((each) => {
      gatherer.add(each)
      return read(each)
    })
    const counts = pieces.findLast(({ usage }) => usage)?.usage?.counts
    const text = pieces.map((piece) => piece.text ?? '').join('')
    expect({
      text,
      finish: pieces.findLast(({ finish }) => finish !== undefined)?.finish,
      last: pieces.at(-1)?.last,
      output: counts && outputTotal(counts),
      repaired: pieces.some(({ repaired }) => repaired),
    }).toEqual({
      text: textOf(gatherer.body()),
      finish: entry.expect?.finish,
      last: true,
      output: entry.metering?.output,
      repaired: false,
    })
    expect(text.length).toBeGreaterThan(0)
  })
})

function sent(raw: string, stream: boolean) {
  const call: Call = { ...passing.call, raw: new TextEncoder().encode(raw), body: JSON.parse(raw) as JsonObject }
  const { url, body } = vendor.request(call, { vendor: 'v', model: 'theirs' }, access, stream)
  return [url, new TextDecoder().decode(body)]
}

test('a prompt passes with another model, and asks for its usage', () => {
  const url = 'https://vendor.test/v1/completions'
  expect([
    sent('{"model":"m","prompt":[1,2],"seed":12345678901234567890,"tags":[]}', false),
    sent('{"model":"m","prompt":"a","stream":true}', true),
    sent('{"model":"m","prompt":"a","stream_options":null}', true),
    sent('{"model":"m","prompt":"a","stream":true,"stream_options":{"x":1}}', false),
  ]).toEqual([
    [url, '{"model":"theirs","prompt":[1,2],"seed":12345678901234567890}'],
    [url, '{"model":"theirs","prompt":"a","stream":true,"stream_options":{"include_usage":true}}'],
    [url, '{"model":"theirs","prompt":"a","stream_options":{"include_usage":true},"stream":true}'],
    [url, '{"model":"theirs","prompt":"a","stream":false}'],
  ])
})

test('a model that only completes prompts holds no conversations', () => {
  expect(() => vendor.request(chatPassing.call, { vendor: 'v', model: 'm' }, access, false)).toThrow(
    expect.objectContaining({ code: 'invalid_value', param: 'messages' }),
  )
})

test('a broken completion is the vendor’s failure', () => {
  const read = vendor.reader(passing)
  const codes = [event('{"error":{"message":"x"}}'), event('nonsense'), event([1])].map(
    (each) => read(each).error?.code,
  )
  expect([...codes, vendor.reply({ object: 'list' }, passing).error?.code]).toEqual([
    'vendor_error',
    'vendor_error',
    'vendor_error',
    'vendor_error',
  ])
})

test('those that complete prompts with all of their models take them as they come', () => {
  const speaking = [...vendors.values()].filter(({ speaks }) => speaks.includes('completions')).map(({ id }) => id)
  expect(speaking.toSorted()).toEqual([
    'gpustack',
    'llamacpp',
    'lmstudio',
    'ollama',
    'openai-completions',
    'together',
    'vllm',
  ])
})
