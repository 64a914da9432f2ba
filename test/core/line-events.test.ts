import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLineParser } from '../../src/core/line-events.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

function read(pieces: readonly Uint8Array[], maxBytes?: number): string[] {
  const parser = createLineParser(maxBytes)
  return [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()].map(({ data }) =>
    decoder.decode(data).trim(),
  )
}

describe('lines of JSON', () => {
  const bytes = encoder.encode('{"a":"東京"}\r\n\n{"b":2}\n  \n{"c":3}')
  const lines = ['{"a":"東京"}', '{"b":2}', '{"c":3}']

  test('are events however they are cut, blank ones are none, and the last needs no end', () => {
    expect(read([bytes])).toEqual(lines)
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(lines)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length }), (at) => {
        expect(read([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(lines)
      }),
    )
  })

  test('are bounded: the largest passes, one byte more does not, and what came before it is kept', () => {
    expect(read([encoder.encode('1\n1234\n')], 4)).toEqual(['1', '1234'])
    const parser = createLineParser(4)
    expect(parser.push(encoder.encode('1\n12345')).map(({ data }) => decoder.decode(data))).toEqual(['1'])
    expect(() => parser.push(encoder.encode('\n'))).toThrow('The vendor sent an event of more than 4 bytes.')
    expect(() => parser.end()).toThrow('The vendor sent an event of more than 4 bytes.')
  })
})
