import { unitNames, type PriceSet } from './price.ts'

/** A discount of nothing. */
export const fullPricePpm = 1_000_000

/**
 * A price set with its id, which is its own content in one canonical form:
 * `USD:input=150000000,output=600000000;d=1000000`. Equal prices so have equal ids on every platform, and an id in a
 * usage record can be read without looking anything up.
 */
export function priceSet(prices: Omit<PriceSet, 'id'>): PriceSet {
  const parts = unitNames.flatMap((unit) => {
    const price = prices.nanos[unit]
    return price === undefined ? [] : [`${unit}=${price}`]
  })
  return { ...prices, id: `${prices.currency}:${parts.join(',')};d=${prices.discountPpm}` }
}
