import { expect, test } from 'vitest'
import { mayUse } from '../../src/auth/access.ts'

test('a caller whose keys have no lists may use every model', () => {
  expect(mayUse({ models: [] }, 'a')).toBe(true)
})

test('a model must be in every list of the chain', () => {
  expect([mayUse({ models: [['a', 'b'], ['b']] }, 'a'), mayUse({ models: [['a', 'b'], ['b']] }, 'b')]).toEqual([
    false,
    true,
  ])
})

test('an empty list allows nothing', () => {
  expect(mayUse({ models: [[]] }, 'a')).toBe(false)
})

test.each(['A', 'a ', 'vendor/a', 'a*', ''])('only the exact name counts: "%s" is not "a"', (name) => {
  expect(mayUse({ models: [['a']] }, name)).toBe(false)
})
