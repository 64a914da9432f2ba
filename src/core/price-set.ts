import { unitNames, type PriceSet, type Rate, type Unit, type UnitPrices } from './price.ts'
import { byRank, printCondition } from './rates.ts'

/** A discount of nothing. */
export const fullPricePpm = 1_000_000

/** What a free model costs: every unit is priced, so that whatever a vendor counts can be charged. */
export const freeNanos = Object.freeze(Object.fromEntries(unitNames.map((unit) => [unit, 0n])) as Record<Unit, bigint>)

/**
 * A price set with its rates in order and its id, which is its own content in one canonical form:
 * `USD:input=150000000,output=600000000;d=1000000`. Equal prices so have equal ids on every platform, and an id in a
 * usage record can be read without looking anything up. Rates would make it too long for an index: it has their digest.
 */
export function priceSet({ rates = [], ...prices }: Omit<PriceSet, 'id'>): PriceSet {
  const { currency, nanos, discountPpm, conversion } = prices
  const ordered = rates.toSorted(byRank)
  const from = conversion && `;x=${conversion.from}*${conversion.num}/${conversion.den}@${conversion.version}`
  const more = ordered.length > 0 ? `;r=${digest(ordered.map(printRate).join('\n'))}` : ''
  return {
    ...prices,
    ...(ordered.length > 0 && { rates: ordered }),
    id: `${currency}:${printNanos(nanos)};d=${discountPpm}${from ?? ''}${more}`,
  }
}

function printNanos(nanos: UnitPrices): string {
  return unitNames.flatMap((unit) => (nanos[unit] === undefined ? [] : [`${unit}=${nanos[unit]}`])).join(',')
}

function printRate({ when, nanos, tokensPpm }: Rate): string {
  return `${printCondition(when)}:${printNanos(nanos)}${tokensPpm === undefined ? '' : `*${tokensPpm}`}`
}

const offset = 144_066_263_297_769_815_596_495_629_667_062_367_629n
const prime = 309_485_009_821_345_068_724_781_371n

/**
 * FNV-1a of 128 bits, in hexadecimal. It tells different prices apart and runs on every platform as it is; it would not
 * stop somebody who looks for two lists with one digest, and whoever sets prices needs no such trick.
 */
function digest(text: string): string {
  let hash = offset
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(128, (hash ^ BigInt(byte)) * prime)
  return hash.toString(16).padStart(32, '0')
}
