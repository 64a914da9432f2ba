import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { createReasoningDetails } from '../../src/fronts/reasoning-details.ts'

function gathered(...pieces: readonly JsonObject[]): readonly JsonObject[] {
  const details = createReasoningDetails()
  for (const piece of pieces) details.add(piece)
  return details.list()
}

describe('reasoning details', () => {
  test('of one index and type are one item: its texts go on, the rest stays as first said', () => {
    expect(
      gathered(
        { type: 'reasoning.text', index: 0, format: 'a', text: 'One ' },
        { type: 'reasoning.text', index: 0, format: 'b', text: 'two' },
        { type: 'reasoning.text', index: 0, signature: 's=' },
      ),
    ).toEqual([{ type: 'reasoning.text', index: 0, format: 'a', text: 'One two', signature: 's=' }])
  })

  test('of one index and two types are two items', () => {
    const pieces = [
      { type: 'reasoning.summary', index: 0, summary: 'Short' },
      { type: 'reasoning.encrypted', index: 0, data: 'xyz' },
    ]
    expect(gathered(...pieces)).toEqual(pieces)
  })

  test('without an index are items of their own', () => {
    const pieces = [
      { type: 'reasoning.encrypted', data: 'a' },
      { type: 'reasoning.encrypted', data: 'b' },
    ]
    expect(gathered(...pieces)).toEqual(pieces)
  })

  test('beyond 4096 are a fault of the vendor', () => {
    const piece = { type: 'reasoning.encrypted', data: 'a' }
    expect(() => gathered(...Array.from({ length: 4097 }, () => piece))).toThrow('more than 4096')
  })

  test('come out byte for byte however they were cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' }), { maxLength: 20 }), (parts) => {
        const all = gathered(...parts.map((text) => ({ type: 'reasoning.text', index: 3, text })))
        expect(all.map(({ text }) => text).join('')).toBe(parts.join(''))
      }),
    )
  })
})
