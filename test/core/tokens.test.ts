import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { parseTokens, parseWeight, printTokens, weigh, weightOf } from '../../src/core/tokens.ts'

describe('tokens', () => {
  test.each([
    ['1000000', 1_000_000_000_000n],
    ['0.5', 500_000n],
    ['0.000001', 1n],
    ['0.0000001', undefined],
    ['-1', undefined],
    ['1e3', undefined],
    ['1000000000000', 10n ** 18n],
    ['10000000000000', undefined],
    ['', undefined],
  ])('%s is %s micro-tokens', (text, micro) => {
    expect(parseTokens(text)).toBe(micro)
  })

  test('are printed as they are read', () => {
    const property = fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n }), (micro) => {
      expect(parseTokens(printTokens(micro))).toBe(micro)
    })
    fc.assert(property)
  })

  test('below zero are printed with their sign', () => {
    expect(printTokens(-1_500_000n)).toBe('-1.5')
  })
})

describe('weights', () => {
  test.each([
    ['input', {}, 1_000_000n],
    ['reasoning', {}, 1_000_000n],
    ['reasoning', { output: 4_000_000 }, 4_000_000n],
    ['reasoning', { output: 4_000_000, reasoning: 2_000_000 }, 2_000_000n],
    ['cache_write_1h', { input: 3_000_000, cache_write_5m: 5_000_000 }, 5_000_000n],
    ['image', {}, undefined],
    ['image', { image: 1_000_000_000 }, 1_000_000_000n],
  ] as const)('of %s with %j are %s', (unit, weights, weight) => {
    expect(weightOf(unit, weights)).toBe(weight)
  })

  test('weigh counts exactly, and what has none as nothing', () => {
    expect(weigh({ input: 100, output: 7, image: 2 }, { output: 2_500_000 })).toBe(117_500_000n)
  })

  test.each([
    ['2.5', 2_500_000],
    ['0', undefined],
    ['1000000', 1_000_000_000_000],
    ['1000000.000001', undefined],
    ['x', undefined],
  ])('%s is %s millionths', (text, weight) => {
    expect(parseWeight(text)).toBe(weight)
  })
})
