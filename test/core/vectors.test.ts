import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { base64OfFloats, bytesOfBase64, floatsOf } from '../../src/core/vectors.ts'

const floats = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 20_000 })

describe('a vector', () => {
  test('is in base64 what OpenAI makes of it', () => {
    expect(base64OfFloats([1, -2.5])).toBe(Buffer.from(new Float32Array([1, -2.5]).buffer).toString('base64'))
  })

  test('comes back from base64 as it was', () => {
    fc.assert(
      fc.property(floats, (list) => {
        expect(floatsOf(base64OfFloats(list))).toEqual(list)
      }),
      { numRuns: 50 },
    )
  })

  test.each(['%', 'AAA=', btoa('\u0000\u0000\u00c0\u007f')])('is not in %s', (text) => {
    expect(floatsOf(text)).toBeUndefined()
  })
})

test('bytes come from base64, and from nothing else', () => {
  expect([bytesOfBase64('AQID'), bytesOfBase64('!')]).toEqual([Uint8Array.of(1, 2, 3), undefined])
})
