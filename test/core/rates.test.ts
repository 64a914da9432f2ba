import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Condition, PriceSet, Rate } from '../../src/core/price.ts'
import { charge } from '../../src/core/price.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import { isWithin, parseCondition, printCondition, rateFor } from '../../src/core/rates.ts'
import { condition, setOf } from '../support/prices.ts'

const usd = (dollars: number): bigint => BigInt(dollars) * 1_000_000_000n
const startedAtMs = Date.UTC(2026, 6, 24, 12)

/** Five dollars in, 30 out; twice as much from `fromTokens` on. */
const tiered = (fromTokens: number): PriceSet =>
  setOf({ input: usd(5), cached_input: usd(1), output: usd(30) }, [
    { when: { fromTokens }, nanos: { input: usd(10), output: usd(45) } },
  ])

describe('a length tier', () => {
  // "More than 200,000" is a tier from 200,001 tokens on; "200,000 or more" one from 200,000 on.
  test.each([
    ['more than', 200_001, 199_999, undefined],
    ['more than', 200_001, 200_000, undefined],
    ['more than', 200_001, 200_001, 200_001],
    ['or more', 200_000, 199_999, undefined],
    ['or more', 200_000, 200_000, 200_000],
    ['or more', 200_000, 200_001, 200_000],
  ])('%s 200,000 (from %i) prices a prompt of %i by tier %s', (_, from, promptTokens, lengthTier) => {
    expect(rateFor(tiered(from), { promptTokens, startedAtMs }).lengthTier).toBe(lengthTier)
  })

  test('prices the whole request, the answer and what is below its border too', () => {
    const charged = (promptTokens: number) =>
      charge({ input: promptTokens, output: 1_000_000 }, rateFor(tiered(200_001), { promptTokens, startedAtMs }))
    expect([charged(200_000), charged(200_001)]).toEqual([usd(31), 2_000_010_000n + usd(45)])
  })

  test('leaves a unit that it does not name at its plain price', () => {
    const { nanos } = rateFor(tiered(200_001), { promptTokens: 200_001, startedAtMs })
    expect(nanos).toEqual({ input: usd(10), cached_input: usd(1), output: usd(45) })
  })

  test('gives way to a higher one', () => {
    const prices = setOf({ input: 1n, output: 1n }, [
      { when: { fromTokens: 128_001 }, nanos: { input: 3n } },
      { when: { fromTokens: 32_001 }, nanos: { input: 2n, output: 2n } },
    ])
    const at = (promptTokens: number) => rateFor(prices, { promptTokens, startedAtMs })
    expect([32_000, 32_001, 128_000, 128_001].map((tokens) => [at(tokens).nanos, at(tokens).lengthTier])).toEqual([
      [{ input: 1n, output: 1n }, undefined],
      [{ input: 2n, output: 2n }, 32_001],
      [{ input: 2n, output: 2n }, 32_001],
      [{ input: 3n, output: 2n }, 128_001],
    ])
  })
})

describe('a service tier', () => {
  const prices = setOf({ input: 100n, output: 100n }, [
    { when: { service: 'flex' }, nanos: { input: 50n, output: 50n } },
    { when: { fromTokens: 10 }, nanos: { input: 200n, output: 200n } },
    { when: { fromTokens: 10, service: 'priority' }, nanos: { input: 400n, output: 400n } },
  ])
  const input = (promptTokens: number, serviceTier?: string) =>
    rateFor(prices, { promptTokens, startedAtMs, serviceTier }).nanos.input

  test('is the one that served; any other pays the plain rate', () => {
    expect([undefined, 'default', 'FLEX', 'flex', 'priority'].map((tier) => input(9, tier))).toEqual([
      100n,
      100n,
      100n,
      50n,
      100n,
    ])
  })

  test('meets a length tier: their combination where there is one, else the length', () => {
    expect([input(10), input(10, 'flex'), input(10, 'priority')]).toEqual([200n, 200n, 400n])
  })
})

describe('off-peak hours', () => {
  const night = { fromMinute: 16 * 60 + 30, toMinute: 30 }
  const at = (day: number, hour: number, minute: number) => Date.UTC(2026, 6, day, hour, minute)

  test.each([
    ['before they begin', at(24, 16, 29), false],
    ['when they begin', at(24, 16, 30), true],
    ['at midnight', at(25, 0, 0), true],
    ['in their last minute', at(25, 0, 29) + 59_999, true],
    ['when they end', at(25, 0, 30), false],
  ])('%s', (_, ms, isInside) => {
    expect(isWithin(night, ms)).toBe(isInside)
  })

  test('past midnight belong to the day on which they began', () => {
    // The 24th of July 2026 is a Friday.
    const friday = { ...night, days: [5] }
    expect([at(24, 0, 10), at(24, 17, 0), at(25, 0, 10), at(25, 17, 0)].map((ms) => isWithin(friday, ms))).toEqual([
      false,
      true,
      true,
      false,
    ])
  })

  test('within one day end on it', () => {
    const noon = { fromMinute: 720, toMinute: 780, days: [6, 0] }
    expect([at(24, 12, 0), at(25, 12, 0), at(26, 12, 59), at(26, 13, 0)].map((ms) => isWithin(noon, ms))).toEqual([
      false,
      true,
      true,
      false,
    ])
  })

  test('are those of the moment at which the call began', () => {
    const prices = setOf({ input: 100n, output: 1n }, [{ when: { hours: night }, nanos: { input: 50n } }])
    const input = (ms: number) => rateFor(prices, { promptTokens: 1, startedAtMs: ms }).nanos.input
    expect([input(at(24, 16, 29)), input(at(24, 16, 30))]).toEqual([100n, 50n])
  })
})

describe('a multiplier', () => {
  const prices = setOf({ input: usd(10), output: usd(20), search: 7n }, [
    { when: { region: 'us' }, nanos: {}, tokensPpm: 1_100_000 },
    { when: { speed: 'fast' }, nanos: {}, tokensPpm: 6_000_000 },
  ])
  const charged = (more: object) =>
    charge({ input: 1_000, output: 1, search: 1 }, rateFor(prices, { promptTokens: 1_000, startedAtMs, ...more }))

  test('multiplies tokens and not pieces, exactly, and together with another', () => {
    expect(
      [{}, { region: 'us' }, { speed: 'fast' }, { region: 'us', speed: 'fast' }, { region: 'eu' }].map(charged),
    ).toEqual([10_020_000n + 7n, 11_022_000n + 7n, 60_120_000n + 7n, 66_132_000n + 7n, 10_020_000n + 7n])
  })
})

describe('the id of a price set', () => {
  const plain = { currency: 'USD', nanos: { input: 1n }, discountPpm: fullPricePpm }
  const rates: readonly Rate[] = [
    { when: { fromTokens: 10 }, nanos: { input: 2n } },
    { when: { service: 'flex' }, nanos: { input: 3n } },
  ]
  const conversion = { from: 'EUR', num: 11n, den: 10n, version: '2026-07-24' }

  test('is its own content where there are no rates', () => {
    expect([priceSet(plain).id, priceSet({ ...plain, rates: [] }).id, priceSet({ ...plain, conversion }).id]).toEqual([
      'USD:input=1;d=1000000',
      'USD:input=1;d=1000000',
      'USD:input=1;d=1000000;x=EUR*11/10@2026-07-24',
    ])
  })

  test('is the same in whatever order the rates come', () => {
    expect(priceSet({ ...plain, rates })).toEqual(priceSet({ ...plain, rates: rates.toReversed() }))
  })

  test('is another for any other rate', () => {
    const first = rates[0]!
    const others: readonly (readonly Rate[])[] = [
      [],
      rates,
      [first],
      [{ ...first, when: { fromTokens: 11 } }],
      [{ ...first, nanos: { input: 4n } }],
      [{ ...first, nanos: { output: 2n } }],
      [{ ...first, tokensPpm: 1_000_001 }],
    ]
    expect(new Set(others.map((some) => priceSet({ ...plain, rates: some }).id)).size).toBe(others.length)
  })

  test('fits into an index however many rates there are', () => {
    const many = Array.from({ length: 100 }, (_, at) => ({ when: { fromTokens: at + 1 }, nanos: { input: 2n } }))
    expect(priceSet({ ...plain, rates: many }).id).toMatch(/^USD:input=1;d=1000000;r=[0-9a-f]{32}$/)
  })
})

describe('the text of a condition', () => {
  test('names all that must be so', () => {
    const all: Condition = {
      fromTokens: 272_001,
      service: 'priority',
      hours: { fromMinute: 990, toMinute: 30, days: [1, 2] },
      region: 'eu',
      speed: 'fast',
    }
    expect([printCondition(all), printCondition({})]).toEqual([
      'prompt>=272001 service=priority utc=16:30-00:30/mon,tue region=eu speed=fast',
      '',
    ])
  })

  test('is read as what it was written from', () => {
    fc.assert(
      fc.property(condition, (when) => {
        expect(parseCondition(printCondition(when))).toEqual(when)
      }),
    )
  })

  test.each([
    'x',
    'service=',
    'service=a b',
    'prompt>=0',
    'prompt>=01',
    'utc=24:00-01:00',
    'utc=01:00-02:00/tue,mon',
    ' service=a',
  ])('is not "%s"', (text) => {
    expect(parseCondition(text)).toBeUndefined()
  })
})
