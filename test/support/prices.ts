import fc from 'fast-check'
import type { Condition, Counts, PriceSet, Rate, UnitPrices } from '../../src/core/price.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'

/** A price set in dollars without a discount. */
export function setOf(nanos: UnitPrices, rates: readonly Rate[] = []): PriceSet {
  return priceSet({ currency: 'USD', nanos, rates, discountPpm: fullPricePpm })
}

const days = fc
  .uniqueArray(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 7 })
  .map((some) => some.toSorted((a, b) => a - b))
const minute = fc.integer({ min: 0, max: 1_439 })
const word = (...words: readonly string[]) => fc.constantFrom(...words)

/** Any condition of a rate; borders are small, so that prompts lie on both of their sides. */
export const condition: fc.Arbitrary<Condition> = fc.record(
  {
    fromTokens: fc.integer({ min: 1, max: 2_000 }),
    service: word('flex', 'priority'),
    hours: fc.oneof(
      fc.record({ fromMinute: minute, toMinute: minute }),
      fc.record({ fromMinute: minute, toMinute: minute, days }),
    ),
    region: word('eu', 'us'),
    speed: word('fast'),
  },
  { requiredKeys: [] },
)

const price = fc.oneof(fc.bigInt({ min: 0n, max: 9n }), fc.bigInt({ min: 0n, max: 999_999_000_000_000n }))
const tokenPrices: fc.Arbitrary<UnitPrices> = fc.record(
  { input: price, cached_input: price, cache_write_5m: price, cache_write_1h: price, output: price, reasoning: price },
  { requiredKeys: [] },
)

/** Any price set for prompts and answers, with rates, a conversion and a discount. */
export const anyPrices: fc.Arbitrary<PriceSet> = fc
  .record({
    plain: fc.tuple(tokenPrices, price, price),
    request: fc.option(price, { nil: undefined }),
    rates: fc.array(
      fc
        .record({ when: condition, nanos: tokenPrices, ppm: fc.option(fc.integer({ min: 1, max: 9_000_000 })) })
        .filter(({ when }) => Object.keys(when).length > 0),
      { maxLength: 5 },
    ),
    conversion: fc.option(
      fc.record({ num: fc.bigInt({ min: 1n, max: 999n }), den: fc.bigInt({ min: 1n, max: 999n }) }),
    ),
    discountPpm: fc.integer({ min: 0, max: fullPricePpm }),
  })
  .map(({ plain: [some, input, output], request, rates, conversion, discountPpm }) =>
    priceSet({
      currency: 'USD',
      nanos: { ...some, input, output, ...(request !== undefined && { request }) },
      rates: rates.map(({ when, nanos, ppm }) => ({ when, nanos, ...(ppm !== null && { tokensPpm: ppm }) })),
      ...(conversion && { conversion: { from: 'EUR', version: '1', ...conversion } }),
      discountPpm,
    }),
  )

const tokens = fc.integer({ min: 0, max: 1_500 })

/** Any usage of one call: disjoint tokens. */
export const anyCounts: fc.Arbitrary<Counts> = fc.record(
  {
    input: tokens,
    cached_input: tokens,
    cache_write_5m: tokens,
    cache_write_1h: tokens,
    output: tokens,
    reasoning: tokens,
  },
  { requiredKeys: [] },
)
