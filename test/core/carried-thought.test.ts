import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { carriedIn, carry, isCarried } from '../../src/core/carried-thought.ts'

test('an item comes out of the string as it went in', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), (detail) => {
      const item: JsonObject = detail
      const opaque = carry(item)
      expect([isCarried(opaque), carriedIn(opaque)]).toEqual([true, JSON.parse(JSON.stringify(item))])
    }),
  )
})

test.each(['', 'EqQBCgIYAhIkY2M=', 'tollgate'])('the vendor’s own string "%s" carries nothing', (opaque) => {
  expect([isCarried(opaque), carriedIn(opaque)]).toEqual([false, undefined])
})

test.each(['tollgate:', 'tollgate:{', 'tollgate:[1]', 'tollgate:null'])(
  'the broken string "%s" carries nothing',
  (opaque) => {
    expect([isCarried(opaque), carriedIn(opaque)]).toEqual([true, undefined])
  },
)
