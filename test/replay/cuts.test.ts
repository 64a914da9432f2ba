import { expect, test } from 'vitest'
import { cutsOf } from './cuts.ts'

test('a body of 2,000 bytes is cut at every byte', () => {
  expect(cutsOf(2_000, 'a', undefined)).toEqual(Array.from({ length: 1_999 }, (_, index) => index + 1))
})

test('a longer body is cut at 200 different places in order', () => {
  const cuts = cutsOf(2_001, 'a', undefined)
  expect(new Set(cuts).size).toBe(200)
  expect(cuts).toEqual(cuts.toSorted((a, b) => a - b))
})

test('every place lies inside of the body', () => {
  expect(cutsOf(10_000, 'a', 5_000).every((cut) => cut >= 1 && cut <= 9_999)).toBe(true)
})

test('the same name gives the same places, another name others', () => {
  expect(cutsOf(50_000, 'a', 20)).toEqual(cutsOf(50_000, 'a', 20))
  expect(cutsOf(50_000, 'a', 20)).not.toEqual(cutsOf(50_000, 'b', 20))
})

test('a body of one byte cannot be cut', () => {
  expect(cutsOf(1, 'a', 'all')).toEqual([])
})
