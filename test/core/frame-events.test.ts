import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createFrameParser } from '../../src/core/frame-events.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { binaryFrame, eventFrame, exceptionFrame } from '../vendors/frames.ts'

const decoder = new TextDecoder()
const stream = Buffer.concat([
  eventFrame('messageStart', { role: 'assistant' }),
  eventFrame('contentBlockDelta', { delta: { text: 'Straße 東京 🗼' } }),
  exceptionFrame('throttlingException', { message: 'slow down' }),
])

function read(pieces: readonly Uint8Array[], maxBytes?: number): string[] {
  const parser = createFrameParser(maxBytes)
  const events = [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()]
  return events.map(({ name, data }) => `${name} ${decoder.decode(data)}`)
}

const whole = [
  'messageStart {"role":"assistant"}',
  'contentBlockDelta {"delta":{"text":"Straße 東京 🗼"}}',
  'exception:throttlingException {"message":"slow down"}',
]

describe('binary event frames', () => {
  test('are the same however they are cut', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 8 })
    fc.assert(
      fc.property(cuts, (places) => {
        const ends = [...places.toSorted((a, b) => a - b), stream.length]
        expect(read(ends.map((end, at) => stream.subarray(ends[at - 1] ?? 0, end)))).toEqual(whole)
      }),
    )
    expect(read(Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual(whole)
  })

  test('have a payload that may be empty, and headers that are no strings', () => {
    expect(read([binaryFrame({ ':message-type': 'event', ':event-type': 'ping' }, '')])).toEqual(['ping '])
  })

  test('say an error of the protocol in its headers', () => {
    const headers = { ':message-type': 'error', ':error-code': 'internal', ':error-message': 'It broke.' }
    expect(read([binaryFrame(headers, '')])).toEqual(['exception:internal {"message":"It broke."}'])
  })

  test('end without a word where the last one is cut off', () => {
    expect(read([stream.subarray(0, -1)])).toEqual(whole.slice(0, 2))
  })

  test.each([
    ['the checksum of its lengths', 9],
    ['a length', 3],
    ['its payload', 80],
    ['its own checksum', stream.length - 1],
  ])('are a fault of the vendor where one has been changed in %s', (_, at) => {
    const damaged = new Uint8Array(stream)
    damaged[at] = (damaged[at] ?? 0) ^ 1
    const parser = createFrameParser()
    const readAll = () => {
      parser.push(damaged)
      parser.push(new Uint8Array(0))
      parser.end()
    }
    expect(readAll).toThrow(GatewayError)
    expect(readAll).toThrow(/damaged frame/)
  })

  test('before a damaged one are handed out first', () => {
    const damaged = new Uint8Array(stream)
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1
    const parser = createFrameParser()
    expect(parser.push(damaged).map(({ name }) => name)).toEqual(['messageStart', 'contentBlockDelta'])
    expect(() => parser.end()).toThrow('The vendor sent a damaged frame.')
  })

  test('are bounded: one of the largest size passes, one byte more is refused before it has come', () => {
    const frame = eventFrame('e', { text: 'x'.repeat(100) })
    expect(read([frame], frame.length)).toHaveLength(1)
    expect(() => read([frame.subarray(0, 12)], frame.length - 1)).toThrow(/more than \d+ bytes/)
  })

  test('of random bytes are refused or waited for, and nothing else is thrown', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          read([bytes])
        } catch (error) {
          expect(error).toBeInstanceOf(GatewayError)
        }
      }),
    )
  })
})
