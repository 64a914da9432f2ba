import type { Caller } from '../core/call.ts'
import type { Model } from '../core/catalog.ts'
import { GatewayError } from '../core/errors.ts'
import { canCharge } from '../core/measure.ts'
import { onceForLasting } from '../core/once-for.ts'
import type { Conversion, ExchangeRate, PriceSet } from '../core/price.ts'
import { priceSet } from '../core/price-set.ts'

/** Price sets by the list prices they come from, then by what the account makes of them: equal ones are one object. */
const pinned = onceForLasting((_: PriceSet) => new Map<string, PriceSet>())
/** Discounts and currencies for which a model's price set is remembered. */
const pinnedLimit = 1_000

/**
 * The price set that is pinned for a call: the model's list prices with the account's discount, and with the exact
 * rate of exchange where they are in another currency than the account.
 * Throws `price_not_configured` where the model has no price for what it does (prompt and answer, where nobody says
 * otherwise), or none that the account could pay: an unpriced model is never served.
 */
export function pinPrices(model: Model, caller: Caller, exchange: readonly ExchangeRate[] = []): PriceSet {
  const { prices } = model
  if (!prices || !canCharge(model.operation ?? 'chat', prices.nanos))
    throw unpriced(`Model "${model.name}" has no price yet, so it is not served. Its operator must set one.`)
  const { currency, discountPpm } = caller
  if (currency === prices.currency && discountPpm === prices.discountPpm) return prices
  const conversion = currency === prices.currency ? prices.conversion : conversionTo(currency, prices, exchange)
  if (currency !== prices.currency && conversion === undefined && !isFree(prices))
    throw unpriced(`Model "${model.name}" has no price in ${currency}, the currency of this account.`)
  const known = pinned(prices)
  const name = `${currency} ${discountPpm} ${conversion ? printConversion(conversion) : ''}`
  const set = known.get(name) ?? priceSet({ ...prices, currency, discountPpm, ...(conversion && { conversion }) })
  if (known.size >= pinnedLimit) known.clear()
  known.set(name, set)
  return set
}

function unpriced(message: string): GatewayError {
  return new GatewayError('price_not_configured', message, { param: 'model' })
}

function conversionTo(currency: string, prices: PriceSet, exchange: readonly ExchangeRate[]): Conversion | undefined {
  const rate = exchange.find(({ from, to }) => from === prices.currency && to === currency)
  return rate && { from: rate.from, num: rate.num, den: rate.den, version: rate.version }
}

function printConversion({ from, num, den, version }: Conversion): string {
  return `${from} ${num}/${den} ${version}`
}

/** What costs nothing costs nothing in every currency. */
function isFree({ nanos, rates = [] }: PriceSet): boolean {
  return [nanos, ...rates.map((rate) => rate.nanos)].every((each) => Object.values(each).every((price) => price === 0n))
}
