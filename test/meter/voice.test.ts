import { describe, expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { chat } from '../../src/fronts/chat.ts'
import type { Front, Passing, Writer } from '../../src/fronts/front.ts'
import { streamOutlet } from '../../src/meter/outlet.ts'
import type { RelayStep } from '../../src/meter/relay.ts'
import { passingVoice, type Voice, writingVoice } from '../../src/meter/voice.ts'
import type { Client } from '../../src/ports.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const call: Call = {
  id: 'call-1',
  dialect: 'chat',
  operation: 'chat',
  model: 'public',
  body: {},
  inner: {},
  raw: new Uint8Array(0),
  stream: true,
  wantsUsage: true,
  choices: 1,
  startedAtMs: 0,
}

function step(data: string, piece: RelayStep['piece'] = {}): RelayStep {
  return { event: { name: '', data: encoder.encode(data) }, piece }
}

/** Writes what it is told as it is, between marks. */
function plainWriter(): Writer {
  return {
    write: (chunk) => encoder.encode(`<${String(chunk['say'] ?? '')}>`),
    close: (usage) => encoder.encode(`<end ${JSON.stringify(usage)}>`),
    cut: () => encoder.encode('<cut>'),
  }
}

const passing: Passing = {
  event: ({ event }, cost) => encoder.encode(`${decoder.decode(event.data)}${cost === undefined ? '' : `=${cost}`};`),
  end: encoder.encode('end;'),
  cut: () => encoder.encode('cut;'),
  body: (bytes) => bytes,
  gatherer: () => ({ add: () => {}, body: () => ({}) }),
}

const joined = (parts: readonly Uint8Array[]) => parts.map((part) => decoder.decode(part)).join('')

describe('a voice that passes', () => {
  const voice = passingVoice(passing)

  test("hands on events as the dialect has them, and no event's place for its cost", () => {
    expect(joined(voice.steps([step('a'), step('b')]))).toBe('a;b;')
  })

  test.each([
    ['what the vendor sent', step('last'), 'usage=7;last=7;'],
    ['an end of its own where the vendor has sent none', undefined, 'usage=7;end;'],
  ])('ends with the cost, and %s', (_, last, expected) => {
    expect(joined(voice.close({ usage: step('usage'), last }, 7n))).toBe(expected)
  })
})

describe('a voice that writes', () => {
  const said = (say: string): JsonObject => ({ say })

  test('says the chunks of each event, and reads the event itself where it has none', () => {
    const voice = writingVoice(plainWriter())
    const steps = [step('', { chunks: [said('a'), said('b')] }), step('{"say":"c"}'), step('[DONE]')]
    expect(joined(voice.steps(steps))).toBe('<a><b><c>')
  })

  test('ends with the last usage that was told, in the words of the inner language, and its cost', () => {
    const voice = writingVoice(plainWriter())
    voice.steps([step('', { chunks: [], usage: { counts: { input: 1 }, anomalies: [] } })])
    const usage = step('', { chunks: [said('u')], usage: { counts: { input: 1, output: 2 }, anomalies: [] } })
    expect(joined(voice.close({ usage, last: step('', { chunks: [said('l')] }) }, 1_500_000_000n))).toBe(
      '<u><l><end {"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0},"cost":1.5}>',
    )
  })

  test('ends without usage where nobody told any', () => {
    expect(joined(writingVoice(plainWriter()).close({ usage: undefined, last: undefined }, 5n))).toBe('<end undefined>')
  })
})

/** What a caller gets of an outlet: his status, type and bytes. */
function heard(form: 'sse' | 'array', voice: Voice) {
  const parts: Uint8Array[] = []
  const heads: [number, string | undefined][] = []
  const client: Client = {
    header: () => undefined,
    body: () => Promise.resolve(new Uint8Array(0)),
    onGone: () => {},
    gone: false,
    open: (status, headers) => heads.push([status, headers['content-type']]),
    write: (bytes) => parts.push(bytes) > 0,
    onDrain: () => {},
    end: (bytes) => bytes && parts.push(bytes),
    destroy: () => {},
  }
  const front: Front = { ...chat, failureEvent: () => encoder.encode('{"error":1}') }
  const outlet = streamOutlet({ client, front, call: { ...call, form }, voice, headers: () => ({}) })
  return { outlet, heads, text: () => joined(parts) }
}

/** A stream whose elements are numbers. */
function numbers(): Voice {
  const element = ({ event }: RelayStep) => event.data
  return {
    steps: (steps) => steps.map(element),
    close: ({ usage }) => [usage ? element(usage) : new Uint8Array(0)],
    cut: () => encoder.encode('"cut"'),
  }
}

describe('an outlet of one array', () => {
  const error = new GatewayError('vendor_error', 'It broke.')

  test('has a comma between any two elements, and none for an element that says nothing', () => {
    const { outlet, heads, text } = heard('array', numbers())
    outlet.write([step('1'), step(''), step('2')])
    outlet.write([step('')])
    outlet.write([step('3')])
    outlet.close({ usage: step('4'), last: undefined }, 0n)
    expect([heads, JSON.parse(text())]).toEqual([[[200, 'application/json; charset=utf-8']], [1, 2, 3, 4]])
  })

  test('is whole where nothing was said', () => {
    const { outlet, text } = heard('array', numbers())
    outlet.close({ usage: undefined, last: undefined }, 0n)
    expect(text()).toBe('[]')
  })

  test.each([
    ['breaks', [1, { error: 1 }]],
    ['is cut', [1, 'cut', { error: 1 }]],
  ])('that %s is whole JSON', (how, expected) => {
    const { outlet, text } = heard('array', numbers())
    outlet.write([step('1')])
    if (how === 'breaks') outlet.fail(error)
    else outlet.cut(error, 0n)
    expect(JSON.parse(text())).toEqual(expected)
  })

  test('that fails before it began is an answer with a status', () => {
    const { outlet, heads } = heard('array', numbers())
    outlet.fail(error)
    expect(heads).toEqual([[502, 'application/json']])
  })
})

test('an outlet of events puts nothing between them', () => {
  const { outlet, heads, text } = heard('sse', numbers())
  outlet.write([step('1'), step('2')])
  outlet.close({ usage: step('3'), last: undefined }, 0n)
  expect([heads, text()]).toEqual([[[200, 'text/event-stream; charset=utf-8']], '123'])
})
