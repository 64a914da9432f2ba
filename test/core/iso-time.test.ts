import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isoTime } from '../../src/core/iso-time.ts'

test('writes any moment as a Date does', () => {
  const moment = fc.oneof(
    fc.date({ noInvalidDate: true }).map(Number),
    fc.double({ min: -1e6, max: 1e6, noNaN: true }),
    fc.integer({ min: 1_764_000_000_000, max: 1_764_000_003_000 }),
  )
  fc.assert(
    fc.property(fc.array(moment, { minLength: 1 }), (moments) => {
      expect(moments.map(isoTime)).toEqual(moments.map((ms) => new Date(ms).toISOString()))
    }),
  )
})

test.each([Number.NaN, Infinity, 8.64e15 + 1_000])('%s is no time', (ms) => {
  expect(() => isoTime(ms)).toThrow(RangeError)
})
