import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { charge, type Counts, exactCharge, type EffectivePrices, type Unit, unitNames } from '../../src/core/price.ts'
import { rateFor } from '../../src/core/rates.ts'
import { anyCounts, anyPrices, setOf } from '../support/prices.ts'

const startedAtMs = Date.UTC(2026, 6, 24, 12)

/** One rate of any price set. */
const anyRate: fc.Arbitrary<EffectivePrices> = fc
  .tuple(anyPrices, fc.integer({ min: 0, max: 3_000 }), fc.constantFrom(undefined, 'flex', 'priority'))
  .map(([prices, promptTokens, serviceTier]) => rateFor(prices, { promptTokens, startedAtMs, serviceTier }))

const plus = (a: Counts, b: Counts): Counts =>
  Object.fromEntries(unitNames.map((unit) => [unit, (a[unit] ?? 0) + (b[unit] ?? 0)]))

describe('a charge', () => {
  test('grows with the count of each unit, or stays', () => {
    const unit = fc.constantFrom<Unit>('input', 'cached_input', 'cache_write_1h', 'output', 'reasoning')
    fc.assert(
      fc.property(anyRate, anyCounts, unit, (rate, counts, more) => {
        expect(charge(plus(counts, { [more]: 1 }), rate) >= charge(counts, rate)).toBe(true)
      }),
    )
  })

  test('of two usages at once is at most that of both apart, and less by no more than one rounding', () => {
    fc.assert(
      fc.property(anyRate, anyCounts, anyCounts, (rate, a, b) => {
        const apart = charge(a, rate) + charge(b, rate)
        const together = charge(plus(a, b), rate)
        expect([apart - together >= 0n, apart - together <= 1n]).toEqual([true, true])
      }),
    )
  })

  test('is less than one nano-unit above the exact price', () => {
    fc.assert(
      fc.property(anyRate, anyCounts, (rate, counts) => {
        const { numerator, denominator } = exactCharge(counts, rate)
        const over = charge(counts, rate) * denominator - numerator
        expect([over >= 0n, over < denominator]).toEqual([true, true])
      }),
    )
  })

  test('of a million times the smallest price is exact, and of one token of it not nothing', () => {
    const rate = rateFor(setOf({ input: 1n, output: 0n }), { promptTokens: 1, startedAtMs })
    expect([charge({ input: 1_000_000 }, rate), charge({ input: 1 }, rate)]).toEqual([1n, 1n])
  })

  test('of pieces is their price, whatever a token costs', () => {
    const rate = rateFor(setOf({ input: 0n, output: 0n, search: 10_000_000n }), { promptTokens: 1, startedAtMs })
    expect(charge({ input: 5, search: 3 }, rate)).toBe(30_000_000n)
  })

  test('in another currency is the exact fraction, rounded up once', () => {
    const conversion = { from: 'USD', num: 71_234n, den: 10_000n, version: '2026-07-24' }
    const rate = {
      ...rateFor(setOf({ input: 1_000_000_000n, output: 0n }), { promptTokens: 1, startedAtMs }),
      conversion,
    }
    expect([charge({ input: 1 }, rate), charge({ input: 10_000 }, rate)]).toEqual([7_124n, 71_234_000n])
  })

  test.each([-1, 0.5, Number.NaN, 2 ** 53])('of %d tokens is a fault of the program', (count) => {
    const rate = rateFor(setOf({ input: 1n, output: 1n }), { promptTokens: 1, startedAtMs })
    expect(() => charge({ input: count }, rate)).toThrow(RangeError)
  })

  test('of a unit without a price is a fault of the program', () => {
    const rate = rateFor(setOf({ input: 1n, output: 1n }), { promptTokens: 1, startedAtMs })
    expect(() => charge({ image: 1 }, rate)).toThrow('no price for image')
  })
})

test('cache tokens without a price of their own cost what input costs, and one-hour writes what five-minute ones do', () => {
  const rate = rateFor(setOf({ input: 1_000_000n, cache_write_5m: 2_000_000n, output: 5_000_000n }), {
    promptTokens: 1,
    startedAtMs,
  })
  expect([
    charge({ cached_input: 1 }, rate),
    charge({ cache_write_1h: 1 }, rate),
    charge({ reasoning: 1 }, rate),
  ]).toEqual([1n, 2n, 5n])
})
