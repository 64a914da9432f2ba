import { expect, test } from 'vitest'
import { soldFromCache } from '../../src/call/hit-prices.ts'
import type { Model } from '../../src/core/catalog.ts'
import { priceSet } from '../../src/core/price-set.ts'

const prices = priceSet({
  currency: 'USD',
  nanos: { input: 1_000_000_001n, output: 2_000_000_000n, request: 7n },
  rates: [{ when: { fromTokens: 1_000 }, nanos: { input: 3_000_000_000n } }],
  discountPpm: 1_000_000,
})
const model: Model = {
  name: 'm',
  targets: [],
  prices,
  maxOutputTokens: 100,
  policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
  createdAtMs: 0,
  provisioned: true,
}

test('an answer from the cache costs its share of every price, rounded up', () => {
  const sold = soldFromCache(model, 250_000)
  expect(sold.prices?.nanos).toEqual({ input: 250_000_001n, output: 500_000_000n, request: 2n })
  expect(sold.prices?.rates).toEqual([{ when: { fromTokens: 1_000 }, nanos: { input: 750_000_000n } }])
  expect(sold.tokenWeights?.output).toBe(250_000)
})

test('an answer that costs nothing has a price of nothing, and packages count none of it', () => {
  const sold = soldFromCache({ ...model, tokenWeights: { output: 2_000_000 } }, 0)
  expect(sold.prices?.nanos).toEqual({ input: 0n, output: 0n, request: 0n })
  expect(sold.tokenWeights).toEqual({ output: 2_000_000 })
})

test('an answer at the whole price is sold as any other', () => {
  expect(soldFromCache(model, 1_000_000)).toBe(model)
})

test('equal prices are one object, so that they are pinned once', () => {
  expect(soldFromCache(model, 250_000).prices).toBe(soldFromCache({ ...model }, 250_000).prices)
})
