import type { Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { priceOf, type PriceSet } from '../core/price.ts'
import { priceSet } from '../core/price-set.ts'

/** Price sets by the list prices they come from and the account's discount, so that equal ones are one object. */
const discounted = new WeakMap<PriceSet, Map<number, PriceSet>>()

/**
 * The price set that is pinned for a call: the model's list prices with the account's discount.
 * Throws `price_not_configured` where the model has no price for prompt and answer in the account's currency: an
 * unpriced model is never served.
 */
export function pinPrices(model: Model, caller: Caller): PriceSet {
  const { prices } = model
  if (!prices || priceOf(prices, 'input') === undefined || priceOf(prices, 'output') === undefined) {
    throw new GatewayError(
      'price_not_configured',
      `Model "${model.name}" has no price yet, so it is not served. Its operator must set one.`,
      { param: 'model' },
    )
  }
  if (prices.currency !== caller.currency) {
    throw new GatewayError(
      'price_not_configured',
      `Model "${model.name}" has no price in ${caller.currency}, the currency of this account.`,
      { param: 'model' },
    )
  }
  if (caller.discountPpm === prices.discountPpm) return prices
  const byDiscount = discounted.get(prices) ?? new Map<number, PriceSet>()
  discounted.set(prices, byDiscount)
  const known = byDiscount.get(caller.discountPpm) ?? priceSet({ ...prices, discountPpm: caller.discountPpm })
  byDiscount.set(caller.discountPpm, known)
  return known
}
