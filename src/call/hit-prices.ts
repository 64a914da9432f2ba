import type { Model } from '../core/catalog.ts'
import { divideUp } from '../core/money.ts'
import { onceForLasting } from '../core/once-for.ts'
import { type PriceSet, unitNames, type UnitPrices } from '../core/price.ts'
import { priceSet } from '../core/price-set.ts'
import { plainWeights, type TokenWeights, weightOf } from '../core/tokens.ts'

const whole = 1_000_000

/** By the list prices that they come from: equal ones are one object, as those who remember prices by object need. */
const reduced = onceForLasting((_: PriceSet) => new Map<number, PriceSet>())

/** A model as its answers from the cache are sold: each price, and what packages count, in parts per million, rounded up. */
export function soldFromCache(model: Model, hitPpm: number): Model {
  const { prices, tokenWeights } = model
  if (hitPpm === whole) return model
  return {
    ...model,
    ...(prices && { prices: reducedPrices(prices, hitPpm) }),
    // A package always counts something; what costs nothing asks for none of it.
    ...(hitPpm > 0 && { tokenWeights: reducedWeights(tokenWeights ?? plainWeights, hitPpm) }),
  }
}

function reducedPrices(prices: PriceSet, hitPpm: number): PriceSet {
  const known = reduced(prices)
  const { id: _, nanos, rates = [], ...rest } = prices
  const set =
    known.get(hitPpm) ??
    priceSet({
      ...rest,
      nanos: reducedNanos(nanos, hitPpm),
      ...(rates.length > 0 && {
        rates: rates.map((rate) => ({ ...rate, nanos: reducedNanos(rate.nanos, hitPpm) })),
      }),
    })
  known.set(hitPpm, set)
  return set
}

function reducedNanos(nanos: UnitPrices, hitPpm: number): UnitPrices {
  const priced = unitNames.flatMap((unit) => {
    const price = nanos[unit]
    return price === undefined ? [] : [[unit, divideUp(price * BigInt(hitPpm), BigInt(whole))] as const]
  })
  return Object.fromEntries(priced)
}

const lighter = onceForLasting((_: TokenWeights) => new Map<number, TokenWeights>())

function reducedWeights(weights: TokenWeights, hitPpm: number): TokenWeights {
  const known = lighter(weights)
  const made = known.get(hitPpm) ?? reduceWeights(weights, hitPpm)
  known.set(hitPpm, made)
  return made
}

function reduceWeights(weights: TokenWeights, hitPpm: number): TokenWeights {
  const weighed = unitNames.flatMap((unit) => {
    const weight = weightOf(unit, weights)
    return weight === undefined ? [] : [[unit, Math.ceil((Number(weight) * hitPpm) / whole)] as const]
  })
  return Object.fromEntries(weighed)
}
