import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/core/call.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { generate } from '../../src/fronts/generate.ts'
import { gemini } from '../../src/vendors/gemini.ts'
import type { Vendor, VendorUsage } from '../../src/vendors/vendor.ts'
import { vertex } from '../../src/vendors/vertex.ts'
import { recorded, recordedBytes, recordedJson, recordedRequest, type Recorded } from '../fixtures/recorded.ts'
import { eventsOf, passing, sha256, translating } from './streams.ts'

const adapters: Readonly<Record<string, Vendor>> = { gemini, vertex }
const all = recorded('generateContent', 'gemini', 'vertex')
const isGood = ({ status }: Recorded) => status === 200
const streams = all.filter((entry) => isGood(entry) && entry.streaming)
const bodies = all.filter((entry) => isGood(entry) && !entry.streaming)
const errors = all.filter((entry) => !isGood(entry))

const label = (entry: Recorded) => [`${entry.vendor} ${entry.id}`, entry] as const

function adapterFor({ vendor }: Recorded): Vendor {
  const adapter = adapters[vendor]
  if (!adapter) throw new Error(`no adapter for ${vendor}`)
  return adapter
}

/** What the manifest says of an answer, in its own form. */
interface Told {
  readonly text: string
  readonly reasoning: string
  readonly calls: readonly { readonly name: string; readonly arguments: unknown }[]
  readonly finish: unknown
}

function expected({ expect: wanted = {} }: Recorded): Told {
  const calls = wanted.tool_calls ?? []
  return {
    text: `${wanted.text_chars ?? 0} ${wanted.text_sha256 ?? sha256('')}`,
    reasoning: `${wanted.reasoning_chars ?? 0} ${wanted.reasoning_sha256 ?? sha256('')}`,
    calls: calls.map(({ name, arguments: given }) => ({ name, arguments: given })),
    // One recording asked for enums as numbers.
    finish: (wanted.finish as unknown) === 2 ? 'MAX_TOKENS' : wanted.finish,
  }
}

/** The same of an answer in the inner language. */
function told(inner: JsonObject, finish: string | undefined): Told {
  const message = objectsOf(inner['choices'])[0]?.['message']
  const said: JsonObject = isObject(message) ? message : {}
  const text = stringOf(said['content'])
  const reasoning = stringOf(said['reasoning_content'])
  return {
    text: `${Array.from(text).length} ${sha256(text)}`,
    reasoning: `${Array.from(reasoning).length} ${sha256(reasoning)}`,
    calls: objectsOf(said['tool_calls']).map(({ function: named }) => ({
      name: stringOf((named as JsonObject)['name']),
      arguments: JSON.parse(stringOf((named as JsonObject)['arguments'])) as unknown,
    })),
    finish,
  }
}

function metered(usage: VendorUsage | undefined) {
  const counts = usage?.counts ?? {}
  const { cached_input: cached = 0, reasoning = 0 } = counts
  return { input: inputTotal(counts), cache_read: cached, cache_write: 0, output: outputTotal(counts), reasoning }
}

/** The finish reason of the inner language that belongs to the vendor's word. */
function innerWord({ features, expect: wanted = {} }: Recorded): string {
  if (features.includes('tool_call') || features.includes('parallel_tool_calls')) return 'tool_calls'
  if (features.includes('content_filter')) return 'content_filter'
  return wanted.finish === 'MAX_TOKENS' || (wanted.finish as unknown) === 2 ? 'length' : 'stop'
}

function finishIn(inner: JsonObject): Json | undefined {
  return objectsOf(inner['choices'])[0]?.['finish_reason']
}

describe.runIf(all.length > 0)('a recorded stream', () => {
  test.each(streams.map(label))('%s is read in full', (_, entry) => {
    const read = adapterFor(entry).reader(translating)
    const pieces = eventsOf(recordedBytes(entry)).map((event) => read(event))
    const gatherer = createGatherer()
    for (const chunk of pieces.flatMap(({ chunks = [] }) => chunks)) gatherer.addChunk(chunk)
    const inner = gatherer.body()
    expect(told(inner, pieces.findLast(({ finish }) => finish !== undefined)?.finish)).toEqual(expected(entry))
    expect(finishIn(inner)).toBe(innerWord(entry))
    expect(metered(pieces.findLast(({ usage }) => usage)?.usage)).toEqual(entry.metering)
    expect(pieces.map(({ whole }) => whole === true)).toEqual(pieces.map((_piece, at) => at === pieces.length - 1))
  })

  test.each(streams.map(label))('%s tells the same of its usage to a caller of its own dialect', (_, entry) => {
    const read = adapterFor(entry).reader(passing)
    const pieces = eventsOf(recordedBytes(entry)).map((event) => read(event))
    expect(metered(pieces.findLast(({ usage }) => usage)?.usage)).toEqual(entry.metering)
    expect(pieces.some(({ chunks }) => chunks)).toBe(false)
  })

  test.each(streams.map(label))('%s is gathered to a body that says the same', (_, entry) => {
    const gatherer = generate.passing(translating.call).gatherer()
    for (const event of eventsOf(recordedBytes(entry))) gatherer.add(event)
    const { inner, finish, usage } = adapterFor(entry).reply(gatherer.body(), translating)
    expect(told(inner ?? {}, finish)).toEqual(expected(entry))
    expect(metered(usage)).toEqual(entry.metering)
  })
})

describe.runIf(all.length > 0)('a recorded body', () => {
  test.each(bodies.map(label))('%s is read in full', (_, entry) => {
    const { inner, finish, usage, error } = adapterFor(entry).reply(recordedJson(entry), translating)
    expect(error).toBeUndefined()
    expect(told(inner ?? {}, finish)).toEqual(expected(entry))
    expect(finishIn(inner ?? {})).toBe(innerWord(entry))
    expect(metered(usage)).toEqual(entry.metering)
  })

  test.each(bodies.map(label))('%s says the same after a way through the inner language', (_, entry) => {
    const { inner = {} } = adapterFor(entry).reply(recordedJson(entry), translating)
    const call = { ...translating.call, inner: { reasoning: { exclude: false } } }
    const again = gemini.reply(generate.reply(call, inner), translating)
    expect(told(again.inner ?? {}, undefined)).toEqual({ ...expected(entry), finish: undefined })
    expect(finishIn(again.inner ?? {})).toBe(innerWord(entry))
  })
})

describe.runIf(all.length > 0)('a recorded error', () => {
  const faults: Readonly<Record<number, string>> = { 400: 'caller', 404: 'account', 429: 'busy', 503: 'down' }

  test.each(errors.map(label))('%s is judged by what it says', (_, entry) => {
    const { fault } = adapterFor(entry).failure({ status: entry.status, headers: {} }, recordedBytes(entry))
    expect(fault).toBe(faults[entry.status])
  })
})

describe.runIf(all.length > 0)('a recorded request', () => {
  /** Google itself would not have it: a turn of nobody. */
  const isRefused = (entry: (typeof all)[number]): boolean =>
    new TextDecoder().decode(recordedRequest(entry)).includes('invalid_role')
  const asked = all.filter((entry) => Boolean(entry.request_file) && !isRefused(entry))

  test.each(asked.map(label))('%s can be read and be asked of another model', (_, entry) => {
    const path = '/v1beta/models/public:generateContent'
    const parts = { id: 'call-1', startedAtMs: 0, path, header: () => undefined, query: () => undefined }
    const call = generate.read(recordedRequest(entry) ?? new Uint8Array(0), parts)
    const own = objectsOf(call.inner['tools']).filter(({ type }) => type !== 'function')
    const ask = () =>
      gemini.request(
        { ...call, dialect: 'chat' },
        { vendor: 'gemini', model: 'gemini-2.5-flash' },
        { baseUrl: 'http://gemini.test', apiKey: 'key', connectMs: 1 },
        false,
      )
    // Google's own tools have no words in the inner language.
    if (own.length > 0) expect(ask).toThrow('takes functions only')
    else expect(JSON.parse(new TextDecoder().decode(ask().body))).toHaveProperty('contents')
  })

  test.each(all.filter((entry) => Boolean(entry.request_file) && isRefused(entry)).map(label))(
    '%s is refused here as it was there',
    (_, entry) => {
      const parts = {
        id: 'call-1',
        startedAtMs: 0,
        path: '/v1beta/models/public:generateContent',
        header: () => undefined,
        query: () => undefined,
      }
      expect(entry.status).toBe(400)
      expect(() => generate.read(recordedRequest(entry) ?? new Uint8Array(0), parts)).toThrow('"contents[0].role"')
    },
  )
})
