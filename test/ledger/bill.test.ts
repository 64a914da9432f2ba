import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import type { Part } from '../../src/core/call.ts'
import { priceSet } from '../../src/core/price-set.ts'
import { coveredBy, needsOf, quoteBill, takesTokens, uncovered, type Bill } from '../../src/ledger/bill.ts'
import { splitCharge } from '../../src/ledger/purses.ts'
import type { Purse } from '../../src/ports.ts'

const prices = priceSet({
  currency: 'USD',
  nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
  discountPpm: 1_000_000,
})
const startedAtMs = 0
const purse = (id: number, over: Partial<Purse> = {}): Purse => ({
  id,
  kind: 'wallet',
  asset: 'USD',
  models: [],
  expiresAtMs: undefined,
  posted: 0n,
  ...over,
})

describe('a quoted bill', () => {
  test('has the price, and the tokens that a package counts', () => {
    expect(quoteBill({ inputTokens: 100, outputTokens: 10, startedAtMs }, prices, {})).toEqual({
      money: 120_000n,
      tokens: 110_000_000n,
    })
  })

  test('counts what weighs most', () => {
    const weights = { cached_input: 2_000_000, reasoning: 5_000_000, audio_output: 9_000_000 }
    expect(quoteBill({ inputTokens: 100, outputTokens: 10, startedAtMs }, prices, weights).tokens).toBe(250_000_000n)
    expect(quoteBill({ inputTokens: 100, outputTokens: 10, startedAtMs, audio: true }, prices, weights).tokens).toBe(
      290_000_000n,
    )
  })

  test('has no tokens where nobody says what they weigh', () => {
    expect(quoteBill({ inputTokens: 100, outputTokens: 10, startedAtMs }, prices, undefined)).toEqual({
      money: 120_000n,
    })
  })

  test('has no tokens where something is priced that a package cannot count', () => {
    const searching = priceSet({ ...prices, nanos: { ...prices.nanos, search: 1n } })
    expect(takesTokens(searching, {})).toBe(false)
    expect(takesTokens(searching, { search: 1 })).toBe(true)
    expect(takesTokens(priceSet({ ...prices, nanos: { ...prices.nanos, search: 0n } }), {})).toBe(true)
    expect(quoteBill({ inputTokens: 1, outputTokens: 1, startedAtMs }, searching, {}).tokens).toBeUndefined()
  })

  test('weighs the request where it is priced', () => {
    const asking = priceSet({ ...prices, nanos: { ...prices.nanos, request: 1n } })
    expect(quoteBill({ inputTokens: 0, outputTokens: 0, startedAtMs }, asking, { request: 7 }).tokens).toBe(7n)
  })
})

describe('candidate purses', () => {
  const purses = [
    purse(1, { kind: 'credit', models: ['gpt-*'] }),
    purse(2, { kind: 'package', asset: 'TOK' }),
    purse(3, { kind: 'quota', models: ['claude-*', 'x'] }),
    purse(4),
  ]

  test('are those whose models fit, with the whole bill in their own asset', () => {
    expect(needsOf(purses, 'gpt-4o', { money: 5n, tokens: 7n })).toEqual([
      { purse: 1, amount: 5n },
      { purse: 2, amount: 7n, asset: 'TOK' },
      { purse: 4, amount: 5n },
    ])
  })

  test('leave packages out that cannot pay', () => {
    expect(needsOf(purses, 'x', { money: 5n }).map((need) => need.purse)).toEqual([3, 4])
  })

  test('of a call that costs nothing are none', () => {
    expect(needsOf(purses, 'gpt-4o', { money: 0n, tokens: 7n })).toEqual([])
  })
})

describe('what parts cover', () => {
  const parts = fc
    .array(fc.record({ amount: fc.bigInt({ min: 1n, max: 10n ** 9n }), isTokens: fc.boolean() }), { maxLength: 5 })
    .map((drawn) =>
      drawn.map(({ amount, isTokens }, index): Part => ({
        purse: index,
        lease: 1,
        amount,
        ...(isTokens && { asset: 'TOK' }),
      })),
    )
  const bills = fc.record({
    money: fc.bigInt({ min: 1n, max: 10n ** 9n }),
    tokens: fc.bigInt({ min: 1n, max: 10n ** 9n }),
  })

  test('is all of a bill just where splitting it leaves no overflow', () => {
    const property = fc.property(parts, bills, (held, bill) => {
      const marker = { purse: 999, lease: 0 }
      const split = splitCharge(bill, held, { fallback: marker })
      const overflows = split.some(
        ({ purse: id, amount }) => id === 999 || amount > (held.find((part) => part.purse === id)?.amount ?? 0n),
      )
      expect(uncovered(bill, held).unpaid === 0n).toBe(!overflows)
    })
    fc.assert(property, { numRuns: 500 })
  })

  test('is the longest answer that they can pay', () => {
    const billOf = (output: number): Bill =>
      quoteBill({ inputTokens: 50, outputTokens: output, startedAtMs }, prices, { output: 3_000_000 })
    const property = fc.property(parts, fc.integer({ min: 0, max: 100_000 }), (held, most) => {
      const covered = coveredBy(held, most, billOf)
      const isCovered = (output: number) => uncovered(billOf(output), held).unpaid === 0n
      expect(covered === 0 || isCovered(covered)).toBe(true)
      expect(covered === most || !isCovered(covered + 1)).toBe(true)
    })
    fc.assert(property, { numRuns: 500 })
  })
})
