import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import { openPrices, type PriceRow, pricesOf } from '../../src/gateway/price-rows.ts'
import { anyPrices, setOf } from '../support/prices.ts'

const stored = (rows: ReturnType<typeof pricesOf>): PriceRow[] =>
  rows.map((row, id) => ({ ...row, id, book: 'list', validFrom: new Date(0), validTo: null, createdAt: new Date(0) }))

const tiered = setOf({ input: 1n, output: 2n }, [
  { when: { fromTokens: 272_001, service: 'flex' }, nanos: { input: 3n } },
  { when: { region: 'eu' }, nanos: {}, tokensPpm: 1_100_000 },
])

describe('the rows of a price set', () => {
  test('are one for each unit of each rate, with its condition, and a multiplier in one of its own', () => {
    const row = { model: 'm', currency: 'USD' }
    expect(pricesOf('m', tiered)).toEqual([
      { ...row, tier: '', unit: 'input', nanos: 1n },
      { ...row, tier: '', unit: 'output', nanos: 2n },
      { ...row, tier: 'region=eu', unit: 'token_multiplier', nanos: 1_100_000_000n },
      { ...row, tier: 'prompt>=272001 service=flex', unit: 'input', nanos: 3n },
    ])
  })

  test('become the same price set again', () => {
    fc.assert(
      fc.property(anyPrices, ({ id: _, conversion: __, ...prices }) => {
        // A rate that names no price and a second one of the same condition have no rows of their own.
        const rates = (prices.rates ?? []).filter(
          ({ when, nanos, tokensPpm }, at, all) =>
            (Object.keys(nanos).length > 0 || tokensPpm !== undefined) &&
            all.findIndex((other) => JSON.stringify(other.when) === JSON.stringify(when)) === at,
        )
        const list = priceSet({ ...prices, rates, discountPpm: fullPricePpm })
        expect(openPrices(stored(pricesOf('m', list)))).toEqual(list)
      }),
    )
  })

  test('with a condition that nobody can read are no prices at all', () => {
    const rows = stored(pricesOf('m', tiered)).map((row) =>
      row.tier === 'region=eu' ? { ...row, tier: 'moon=full' } : row,
    )
    expect(openPrices(rows)).toBeUndefined()
  })
})
