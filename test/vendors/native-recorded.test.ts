import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { createSseParser, type EventParser, type ServerEvent } from '../../src/core/sse.ts'
import { inputTotal, outputTotal } from '../../src/core/usage.ts'
import { createGatherer } from '../../src/fronts/chat-gather.ts'
import { bedrock } from '../../src/vendors/bedrock.ts'
import { cohere } from '../../src/vendors/cohere.ts'
import { dashscope } from '../../src/vendors/dashscope.ts'
import { ollama } from '../../src/vendors/ollama.ts'
import type { Piece, Vendor, VendorUsage } from '../../src/vendors/vendor.ts'
import { recorded, recordedBytes, recordedJson, type Recorded } from '../fixtures/recorded.ts'
import { readBody } from '../replay/reader.ts'
import { sha256, translating } from './streams.ts'

/** Whose recordings of which kind each adapter must read. */
const subjects: readonly (readonly [Vendor, folder: string, kind: string])[] = [
  [bedrock, 'bedrock', 'converse'],
  [cohere, 'cohere', 'chat'],
  [dashscope, 'qwen', 'native-generation'],
  [dashscope, 'qwen', 'native-multimodal'],
  [ollama, 'ollama', 'ollama-chat'],
]

/** An API's first version, of which the second is spoken; and a request for two answers, which is refused. */
const unsupported: ReadonlySet<string> = new Set(['chat-sync-plain-57ffd3', 'native-generation-sync-plain-c7df6b'])

const contentTypes: Readonly<Record<string, string>> = {
  eventstream: 'application/vnd.amazon.eventstream',
  ndjson: 'application/x-ndjson',
}

function entriesOf(folder: string, kind: string): readonly Recorded[] {
  return recorded(kind, folder).filter(({ id }) => !unsupported.has(id))
}

function parserFor(vendor: Vendor, { response_format: format }: Recorded): EventParser {
  return vendor.parser?.(contentTypes[format] ?? 'text/event-stream') ?? createSseParser()
}

function eventsOf(vendor: Vendor, entry: Recorded): readonly ServerEvent[] {
  const parser = parserFor(vendor, entry)
  return [...parser.push(recordedBytes(entry)), ...parser.end()]
}

/** A stream as its pieces, and as the body that its chunks make. */
function readStream(vendor: Vendor, entry: Recorded): { pieces: readonly Piece[]; body: JsonObject } {
  const read = vendor.reader(translating)
  const gatherer = createGatherer()
  const pieces = eventsOf(vendor, entry).map((event) => read(event))
  for (const chunk of pieces.flatMap(({ chunks }) => chunks ?? [])) gatherer.addChunk(chunk)
  return { pieces, body: gatherer.body() }
}

/** What an answer says, in the terms of a manifest. */
interface Said {
  readonly body: JsonObject
  readonly usage: VendorUsage | undefined
  readonly finish: string | undefined
  readonly error: unknown
}

function read(vendor: Vendor, entry: Recorded): Said {
  if (!entry.streaming) {
    const { inner = {}, usage, finish, error } = vendor.reply(recordedJson(entry), translating)
    return { body: inner, usage, finish, error }
  }
  const { pieces, body } = readStream(vendor, entry)
  return {
    body,
    usage: pieces.findLast(({ usage }) => usage)?.usage,
    finish: pieces.findLast(({ finish }) => finish !== undefined)?.finish,
    error: pieces.find(({ error }) => error)?.error,
  }
}

function metered({ usage }: Said) {
  if (!usage) return undefined
  const { counts } = usage
  return {
    input: inputTotal(counts),
    output: outputTotal(counts),
    reasoning: counts.reasoning ?? 0,
    cache_read: counts.cached_input ?? 0,
    cache_write: (counts.cache_write_5m ?? 0) + (counts.cache_write_1h ?? 0),
  }
}

/** Calls that ran at the vendor are in the manifest and not for the caller; cited text is the other way round. */
function isTheirs(entry: Recorded): boolean {
  const said = new TextDecoder().decode(recordedBytes(entry))
  return said.includes('server_tool_use') || said.includes('citationsContent')
}

describe.each(subjects.map(([vendor, folder, kind]) => ({ vendor, folder, kind, id: vendor.id })))(
  '$id, $kind',
  ({ vendor, folder, kind }) => {
    const entries = entriesOf(folder, kind)
    const good = entries.filter(({ status, features }) => status === 200 && !features.includes('error_in_stream'))

    test.each(good.map((entry) => [entry.id, entry] as const))(`${folder} %s says what was recorded`, (_, entry) => {
      const said = read(vendor, entry)
      const reading = readBody(new TextEncoder().encode(JSON.stringify(said.body)))
      const { text_chars: chars, text_sha256: hash, reasoning_chars: thoughts, ...expected } = entry.expect ?? {}
      expect(said.error).toBeUndefined()
      if (chars !== undefined && !isTheirs(entry)) {
        expect(Array.from(reading.text).length).toBe(chars)
        expect(hash === undefined || sha256(reading.text) === hash).toBe(true)
        expect(Array.from(reading.reasoning).length).toBe(thoughts ?? 0)
        expect(reading.toolCalls).toEqual(
          (expected.tool_calls ?? []).map(({ id: callId, name, arguments: given }) => ({
            id: callId ?? expect.any(String),
            name,
            // No arguments at all are an object without members.
            arguments: given === 'null' ? {} : given,
          })),
        )
      }
      expect(said.finish).toBe(expected.finish)
      const { input, output, reasoning, cache_read, cache_write } = entry.metering ?? {}
      expect(metered(said)).toEqual(
        entry.metering === undefined ? undefined : { input, output, reasoning, cache_read, cache_write },
      )
    })

    test.each(good.filter(({ streaming }) => streaming).map((entry) => [entry.id, entry] as const))(
      `${folder} %s is the same byte by byte`,
      (_, entry) => {
        const parser = parserFor(vendor, entry)
        const events: ServerEvent[] = []
        for (const byte of recordedBytes(entry)) events.push(...parser.push(Uint8Array.of(byte)))
        events.push(...parser.end())
        expect(events).toEqual(eventsOf(vendor, entry))
      },
    )

    test.each(entries.filter(({ status }) => status >= 400).map((entry) => [entry.id, entry] as const))(
      `${folder} %s is a failure with a fault`,
      (_, entry) => {
        const head = { status: entry.status, headers: entry.response_headers ?? {} }
        const { fault, error } = vendor.failure(head, recordedBytes(entry))
        expect({ fault, code: error.code }).toEqual(faultOf(entry))
      },
    )

    test.each(
      entries.filter(({ features }) => features.includes('error_in_stream')).map((entry) => [entry.id, entry] as const),
    )(`${folder} %s breaks off with an error`, (_, entry) => {
      expect(read(vendor, entry).error).toMatchObject({ code: 'vendor_refused' })
    })
  },
)

/** By status and words, as the table of error classes has it. */
function faultOf(entry: Recorded): { fault: string; code: string } {
  const said = new TextDecoder().decode(recordedBytes(entry))
  if (entry.status === 429) return { fault: 'busy', code: 'vendor_busy' }
  if (entry.status === 401 || said.includes('Arrearage')) return { fault: 'account', code: 'no_target_available' }
  if (entry.status === 404) return { fault: 'account', code: 'no_target_available' }
  if (/TOO_MANY_TOKENS|Input Tokens Exceeded/.test(said)) return { fault: 'caller', code: 'context_length_exceeded' }
  if (said.includes('DataInspectionFailed')) return { fault: 'caller', code: 'content_policy' }
  return { fault: 'caller', code: 'vendor_refused' }
}
