import { describe, expect, test } from 'vitest'
import { canCharge, isOperation, missingPrices, operations, paidOnly, pricedOnly } from '../../src/core/measure.ts'

describe('an operation can be charged', () => {
  test.each([
    ['chat', { input: 1n, output: 1n }, true],
    ['chat', { input: 1n }, false],
    ['embeddings', { input: 0n }, true],
    ['embeddings', { output: 1n }, false],
    ['rerank', { search: 1n }, true],
    ['rerank', { output: 1n }, false],
    ['images', { image: 1n }, true],
    ['images', { output: 1n }, true],
    ['images', { input: 1n }, false],
    ['speech', { character: 1n }, true],
    ['speech', { input: 1n }, false],
    ['transcription', { second: 1n }, true],
    ['transcription', { input: 1n }, true],
    ['transcription', { output: 1n }, false],
    ['moderations', { request: 1n }, true],
    ['moderations', {}, false],
  ] as const)('%s by %o: %s', (operation, nanos, isPriced) => {
    expect(canCharge(operation, nanos)).toBe(isPriced)
  })
})

test('what is missing is what the first way of pricing lacks', () => {
  expect([missingPrices('chat', { input: 1n }), missingPrices('rerank', {}), missingPrices('speech', {})]).toEqual([
    ['output'],
    ['search'],
    ['character'],
  ])
  expect(missingPrices('images', { image_output: 1n })).toEqual([])
})

test('an operation is known by its name', () => {
  expect(operations.filter(isOperation)).toEqual(operations)
  expect(['toString', 'edits', ''].filter(isOperation)).toEqual([])
})

test('only what has a price is counted, and only what costs something where anything does', () => {
  const counts = { input: 1, image_output: 2, second: 3 }
  expect(pricedOnly(counts, { output: 5n, input: 0n })).toEqual({ input: 1, image_output: 2 })
  expect(paidOnly(counts, { output: 5n, input: 0n })).toEqual({ image_output: 2 })
  expect(paidOnly(counts, { input: 0n })).toEqual({ input: 1 })
})
