import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import type { Counts } from '../../src/core/price.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { vendors as adapters } from '../../src/vendors/index.ts'
import { openaiResponses as vendor } from '../../src/vendors/openai-responses.ts'
import type { Piece, ReaderOptions } from '../../src/vendors/vendor.ts'
import { recorded, recordedBytes, recordedJson, recordedRequest, type Recorded } from '../fixtures/recorded.ts'
import { event, eventsOf, passing as chatPassing, sha256, translating } from './streams.ts'

const vendors = ['openai', 'azure', 'xai', 'deepseek', 'bedrock-mantle', 'openrouter', 'lmstudio']
const all = recorded('responses', ...vendors)
const good = all.filter(({ status }) => status === 200)
const streams = good.filter(({ streaming }) => streaming)
const whole = streams.filter(({ features }) => !features.includes('error_in_stream'))
// Compacting is another operation, whose answer has no status.
const bodies = good.filter(({ streaming, expect: told }) => !streaming && told?.finish !== undefined)
const named = (entries: readonly Recorded[]) => entries.map((entry) => [`${entry.vendor} ${entry.id}`, entry] as const)
const passing: ReaderOptions = { call: { ...chatPassing.call, dialect: 'responses' }, translates: false }

function metered(counts: Counts | undefined) {
  return {
    input: inputTotal(counts ?? {}),
    cache_read: counts?.cached_input ?? 0,
    cache_write: counts?.cache_write_5m ?? 0,
    output: outputTotal(counts ?? {}),
    reasoning: counts?.reasoning ?? 0,
  }
}

/** The message of an answer, in the terms of the manifest. */
function said(inner: JsonObject) {
  const [choice = {}] = objectsOf(inner['choices'])
  const message = isObject(choice['message']) ? choice['message'] : {}
  const calls = objectsOf(message['tool_calls']).map(({ id, function: called }) => {
    const { name, arguments: given } = isObject(called) ? called : {}
    return { id: stringOf(id), name: stringOf(name), arguments: JSON.parse(stringOf(given)) as unknown }
  })
  return {
    text: sha256(stringOf(message['content'])),
    reasoning: sha256(stringOf(message['reasoning_content'])),
    calls,
    finish: choice['finish_reason'],
  }
}

function expected({ expect: told = {} }: Recorded) {
  const { tool_calls: calls = [], finish } = told
  return {
    text: told.text_sha256 ?? sha256(''),
    reasoning: told.reasoning_sha256 ?? sha256(''),
    calls,
    finish: finish?.startsWith('incomplete') ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop',
  }
}

function read(entry: Recorded, options: ReaderOptions): readonly Piece[] {
  const reader = vendor.reader(options)
  return eventsOf(recordedBytes(entry)).map((each) => reader(each))
}

describe.skipIf(all.length === 0)('recorded answers of the Responses API', () => {
  test.each(named(whole))('%s is metered by its last event, and ends with it', (_, entry) => {
    const pieces = read(entry, passing)
    const last = pieces.findIndex((piece) => piece.last)
    expect({
      usage: metered(pieces.findLast(({ usage }) => usage)?.usage?.counts),
      finishes: pieces.flatMap(({ finish }) => finish ?? []),
      whole: pieces[last]?.whole,
      after: pieces.slice(last + 1),
      errors: pieces.flatMap(({ error }) => error ?? []),
      chunks: pieces.flatMap(({ chunks }) => chunks ?? []),
    }).toEqual({
      usage: entry.metering,
      finishes: [entry.expect?.finish],
      whole: true,
      after: entry.vendor === 'openrouter' ? [{}] : [],
      errors: [],
      chunks: [],
    })
  })

  test.each(named(whole))('%s says the same in inner chunks', (_, entry) => {
    const gatherer = createGatherer()
    for (const piece of read(entry, translating)) for (const chunk of piece.chunks ?? []) gatherer.add(event(chunk))
    expect(said(gatherer.body())).toEqual(expected(entry))
  })

  test.each(named(whole))('%s is counted as all that it says', (_, entry) => {
    const text = read(entry, passing)
      .map((piece) => piece.text ?? '')
      .join('')
    const last = eventsOf(recordedBytes(entry)).findLast(({ data }) => data[0] === 0x7b)
    const { response } = JSON.parse(new TextDecoder().decode(last?.data)) as { response: JsonObject }
    const told = vendor.reply(response, passing).text
    expect(Array.from(text).toSorted().join('')).toBe(Array.from(told).toSorted().join(''))
  })

  test.each(named(bodies))('%s is metered and says the same as a whole', (_, entry) => {
    const { usage, inner, finish, error } = vendor.reply(recordedJson(entry), translating)
    expect({ usage: metered(usage?.counts), said: said(inner ?? {}), finish, error }).toEqual({
      usage: entry.metering,
      said: expected(entry),
      finish: entry.expect?.finish,
      error: undefined,
    })
  })

  test('a stream that fails says whose fault it is', () => {
    const broken = streams.filter(({ features }) => features.includes('error_in_stream'))
    expect(broken.map((entry) => read(entry, passing).flatMap(({ error }) => error?.code ?? []))).toEqual([
      ['no_target_available', 'no_target_available'],
    ])
  })

  test.each(named(all.filter((entry) => recordedRequest(entry) !== undefined)))(
    '%s passes with another model and no other change',
    (_, entry) => {
      const raw = recordedRequest(entry) ?? new Uint8Array(0)
      const body = JSON.parse(new TextDecoder().decode(raw)) as JsonObject
      const call = { ...passing.call, raw, body }
      const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }
      // Its own vendor: what one has encrypted is not sent to another.
      const theirs = adapters.get(entry.vendor)
      const own = theirs?.speaks.includes('responses') === true && !theirs.choosesVendors ? theirs : vendor
      const sent = own.request(call, { vendor: 'any', model: 'other' }, access, body['stream'] === true)
      const { provider: _provider, ...rest } = body
      expect([sent.url, JSON.parse(new TextDecoder().decode(sent.body))]).toEqual([
        'https://vendor.test/v1/responses',
        { ...rest, model: 'other' },
      ])
    },
  )
})
