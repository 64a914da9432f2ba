import { expect, test } from 'vitest'
import { concat } from '../../src/core/concat.ts'

test('parts become one, in order', () => {
  expect(concat([Uint8Array.of(1, 2), Uint8Array.of(), Uint8Array.of(3)])).toEqual(Uint8Array.of(1, 2, 3))
})

test('a single part is itself', () => {
  const part = Uint8Array.of(1)
  expect(concat([part])).toBe(part)
})

test('of no parts nothing is made', () => {
  expect(concat([])).toEqual(new Uint8Array(0))
})
