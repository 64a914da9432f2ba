import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import type { Counts } from '../../src/core/price.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { isObject, objectsOf, stringOf } from '../../src/core/wire.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { messages as front } from '../../src/fronts/messages.ts'
import { anthropic } from '../../src/vendors/anthropic.ts'
import type { Piece } from '../../src/vendors/vendor.ts'
import { recorded, recordedBytes, recordedJson, recordedRequest, type Recorded } from '../fixtures/recorded.ts'
import { event, eventsOf, passing, sha256, translating } from './streams.ts'

const all = recorded('messages', 'anthropic')
const good = all.filter(({ status }) => status === 200)
const streams = good.filter(({ streaming }) => streaming)
const whole = streams.filter(({ features }) => !features.includes('error_in_stream'))
const bodies = good.filter(({ streaming }) => !streaming)
const named = (entries: readonly Recorded[]) => entries.map((entry) => [entry.id, entry] as const)

const finishes: Readonly<Record<string, string>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'stop',
  max_tokens: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

function metered(counts: Counts | undefined) {
  return {
    input: inputTotal(counts ?? {}),
    cache_read: counts?.cached_input ?? 0,
    cache_write: (counts?.cache_write_5m ?? 0) + (counts?.cache_write_1h ?? 0),
    cache_write_1h: counts?.cache_write_1h ?? 0,
    output: outputTotal(counts ?? {}),
    reasoning: counts?.reasoning ?? 0,
    web_search_requests: counts?.search ?? 0,
  }
}

function metering(entry: Recorded) {
  const { note: _, advisor: __, ...numbers } = { note: 0, advisor: 0, ...entry.metering }
  return numbers
}

/** The message of a gathered or whole answer, in the terms of the manifest. */
function said(inner: JsonObject) {
  const [choice = {}] = objectsOf(inner['choices'])
  const message = isObject(choice['message']) ? choice['message'] : {}
  const text = stringOf(message['content'])
  const reasoning = stringOf(message['reasoning_content'])
  const calls = objectsOf(message['tool_calls']).map(({ id, function: called }) => {
    const { name, arguments: given } = isObject(called) ? called : {}
    return { id: stringOf(id), name: stringOf(name), arguments: JSON.parse(stringOf(given)) as unknown }
  })
  return { text: sha256(text), reasoning: sha256(reasoning), calls, finish: choice['finish_reason'] ?? null }
}

function expected({ expect: told = {} }: Recorded) {
  return {
    text: told.text_sha256 ?? sha256(''),
    reasoning: told.reasoning_sha256 ?? sha256(''),
    calls: told.tool_calls ?? [],
    finish: finishes[told.finish ?? ''] ?? null,
  }
}

function read(entry: Recorded, options: typeof passing): readonly Piece[] {
  const reader = anthropic.reader(options)
  return eventsOf(recordedBytes(entry)).map((each) => reader(each))
}

function lastUsage(pieces: readonly Piece[]): Counts | undefined {
  return pieces.findLast(({ usage }) => usage)?.usage?.counts
}

describe.skipIf(all.length === 0)('recorded answers', () => {
  test.each(named(whole))('%s is metered by the last numbers of its stream', (_, entry) => {
    expect(metered(lastUsage(read(entry, passing)))).toEqual(metering(entry))
  })

  test.each(named(streams))('%s says the same in inner chunks', (_, entry) => {
    const gatherer = createGatherer()
    for (const piece of read(entry, translating)) for (const chunk of piece.chunks ?? []) gatherer.add(event(chunk))
    expect(said(gatherer.body())).toEqual(expected(entry))
  })

  test.each(named(whole))('%s ends whole, with one finish and one last event', (_, entry) => {
    const pieces = read(entry, passing)
    expect({
      finishes: pieces.flatMap(({ finish }) => finish ?? []),
      last: pieces.map(({ last }) => last === true).indexOf(true),
      whole: pieces.some((piece) => piece.whole),
      errors: pieces.flatMap(({ error }) => error ?? []),
      chunks: pieces.flatMap(({ chunks }) => chunks ?? []),
    }).toEqual({ finishes: [entry.expect?.finish], last: pieces.length - 1, whole: true, errors: [], chunks: [] })
  })

  test.each(named(bodies))('%s is metered and says the same as a whole', (_, entry) => {
    const { usage, inner, finish } = anthropic.reply(recordedJson(entry), translating)
    expect({ usage: metered(usage?.counts), said: said(inner ?? {}), finish }).toEqual({
      usage: metering(entry),
      said: expected(entry),
      finish: entry.expect?.finish,
    })
  })

  test('a stream that breaks off says that the vendor failed, and nothing of output', () => {
    const broken = streams
      .filter(({ features }) => features.includes('error_in_stream'))
      .map((entry) => read(entry, passing))
    expect(broken.map((pieces) => [pieces.at(-1)?.error?.code, lastUsage(pieces)])).toEqual([
      ['vendor_error', { input: 25 }],
    ])
  })

  test('each refusal is told apart', () => {
    const refused = all.filter(({ status }) => status !== 200)
    const judged = refused.map((entry) => {
      const head = { status: entry.status, headers: entry.response_headers ?? {} }
      const { fault, error } = anthropic.failure(head, recordedBytes(entry))
      return [entry.status, fault, error.code]
    })
    expect(judged).toEqual([
      [400, 'caller', 'vendor_refused'],
      [400, 'caller', 'context_length_exceeded'],
      [404, 'account', 'no_target_available'],
      [429, 'busy', 'vendor_busy'],
      [529, 'down', 'vendor_error'],
    ])
  })

  test.each(named(all.filter(({ request_file: file }) => typeof file === 'string')))(
    '%s passes with another model and no other change',
    (_, entry) => {
      const raw = recordedRequest(entry) ?? new Uint8Array(0)
      const body = JSON.parse(new TextDecoder().decode(raw)) as JsonObject
      const call = { ...passing.call, dialect: 'messages' as const, raw, body }
      const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }
      const sent = anthropic.request(call, { vendor: 'anthropic', model: 'other' }, access, body['stream'] === true)
      expect(JSON.parse(new TextDecoder().decode(sent.body))).toEqual({ ...body, model: 'other' })
    },
  )
  test.each(named(whole.filter(({ features }) => !features.includes('content_filter'))))(
    '%s comes back through the inner language with its thinking and tools as they were',
    (_, entry) => {
      const own = front.passing(passing.call).gatherer()
      for (const each of eventsOf(recordedBytes(entry))) own.add(each)
      const writer = front.writer(passing.call)
      const back = front.passing(passing.call).gatherer()
      for (const { chunks = [] } of read(entry, translating))
        for (const chunk of chunks) for (const each of eventsOf(writer.write(chunk))) back.add(each)
      for (const each of eventsOf(writer.close(undefined))) back.add(each)
      expect(essence(back.body())).toEqual(essence(own.body()))
    },
  )

  test.each(named(all.filter(isPlainRequest)))('%s asks for the same through the inner language', (_, entry) => {
    const call = front.read(recordedRequest(entry) ?? new Uint8Array(0), parts)
    const target = { vendor: 'anthropic', model: call.model }
    const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'secret', connectMs: 1 }
    const sent = anthropic.request({ ...call, dialect: 'chat' }, target, access, call.stream)
    const body = JSON.parse(new TextDecoder().decode(sent.body)) as JsonObject
    expect(conversation(body)).toEqual(conversation(call.body))
  })

  test.each(named(recorded('count_tokens', 'anthropic').filter(({ status }) => status === 200)))(
    '%s is a count of a prompt that is read',
    (_, entry) => {
      const call = front.counting?.read(recordedRequest(entry) ?? new Uint8Array(0), parts)
      const answer = recordedJson(entry)
      expect([call?.dialect, anthropic.counting?.tokens(answer)]).toEqual(['messages', answer['input_tokens']])
    },
  )
})

const parts = {
  id: 'call-1',
  startedAtMs: 0,
  path: '/v1/messages',
  header: () => undefined,
  query: () => undefined,
}

/** Its thinking and its calls block by block, and all of its text; what tools of the vendor's own did has no words. */
function essence(body: JsonObject) {
  const blocks = objectsOf(body['content'])
  const kept = blocks.filter(({ type }) => type === 'thinking' || type === 'redacted_thinking' || type === 'tool_use')
  return {
    kept: kept.map(({ caller: _, ...block }) => block),
    text: blocks.map(({ text }) => stringOf(text)).join(''),
    reason: body['stop_reason'] === 'stop_sequence' ? 'end_turn' : body['stop_reason'],
  }
}

const plainBlocks = new Set(['text', 'image', 'tool_use', 'tool_result', 'thinking', 'redacted_thinking'])

/** Of the conversation nothing is in it but what the inner language has words for. */
function isPlainRequest(entry: Recorded): boolean {
  const bytes = recordedRequest(entry)
  if (!bytes) return false
  const { messages, tools, mcp_servers: servers } = JSON.parse(new TextDecoder().decode(bytes)) as JsonObject
  const blocks = objectsOf(messages).flatMap(({ content }) => objectsOf(content))
  const all = [...blocks, ...blocks.flatMap(({ content }) => objectsOf(content))]
  return (
    servers === undefined &&
    all.every(({ type }) => plainBlocks.has(stringOf(type))) &&
    objectsOf(tools).every(({ type }) => type === undefined || type === 'custom')
  )
}

/** Strings as the blocks that they stand for. */
function conversation({ system, messages }: JsonObject) {
  const blocks = (content: JsonObject[string]) =>
    typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])
  return [
    blocks(system),
    objectsOf(messages).map(({ role, content }) => ({ role, content: objectsOf(blocks(content)).map(withoutNulls) })),
  ]
}

function withoutNulls(block: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(block).filter(([, value]) => value !== null))
}
