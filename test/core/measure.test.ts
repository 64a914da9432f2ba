import { describe, expect, test } from 'vitest'
import {
  canCharge,
  isCharged,
  isOperation,
  missingPrices,
  operations,
  ownUnits,
  pricedOnly,
} from '../../src/core/measure.ts'

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

test('only what has a price is counted', () => {
  const counts = { input: 1, image_output: 2, second: 3 }
  expect(pricedOnly(counts, { output: 5n, input: 0n })).toEqual({ input: 1, image_output: 2 })
})

test('a count is charged that costs something, or would if anything did', () => {
  const prices = { output: 5n, input: 0n }
  expect([{ input: 1 }, { output: 0 }, { output: 1 }].map((counts) => isCharged(counts, prices))).toEqual([
    false,
    false,
    true,
  ])
  expect(isCharged({ input: 1 }, { input: 0n })).toBe(true)
})

describe('we count ourselves', () => {
  test.each([
    ['images', { image: 4n, output: 9n, input: 1n }, ['image']],
    ['images', { image: 0n, output: 9n, input: 1n }, ['image_output', 'input', 'image_input']],
    ['speech', { character: 1n, output: 9n }, ['character']],
    ['transcription', { audio_input: 1n, output: 9n }, ['audio_input', 'output']],
    ['rerank', { search: 0n }, ['search']],
    ['embeddings', { request: 1n }, ['request']],
    ['embeddings', { output: 1n }, []],
  ] as const)('of %s by %o: %o', (operation, nanos, units) => {
    expect(ownUnits(operation, nanos)).toEqual(units)
  })
})
