import { type Condition, priceOf, type PriceSet, type Rate, type UnitPrices, units, unitNames } from '../core/price.ts'
import { printMoney } from '../core/money.ts'
import { printCondition } from '../core/rates.ts'
import type { List, Listed } from './listed.ts'

/** A price on which two lists do not agree, and by how many hundredths they may differ. */
const tolerancePercent = 1n

export interface Judged {
  /** The prices to propose; undefined where the lists do not allow any. */
  readonly listed: Listed | undefined
  /** Why not, or what to look at. */
  readonly faults: readonly string[]
}

export interface Choice {
  /** Whose figures are taken where the lists differ; undefined: nobody's. */
  readonly prefer: List | undefined
  /** The operator says that the model costs nothing. */
  readonly isFree: boolean
}

/**
 * What several lists make of one model. The first of them, or the preferred one, is taken, if the others agree within
 * one per cent on whatever both of them price. A price of nothing, or none, is refused unless it was confirmed.
 */
export function judge(found: readonly Listed[], { prefer, isFree }: Choice): Judged {
  const chosen = found.find(({ list }) => list === prefer) ?? found[0]
  if (chosen === undefined) return { listed: undefined, faults: ['is in none of the lists'] }
  const others = found.filter((other) => other !== chosen)
  const differences = others.flatMap((other) => disagreements(chosen, other))
  if (differences.length > 0 && chosen.list !== prefer) return { listed: undefined, faults: differences }
  const empty = (['input', 'output'] as const).filter((unit) => !chosen.nanos[unit])
  if (empty.length > 0 && !isFree) {
    const what = empty.map((unit) => `${unit} ${chosen.nanos[unit] === undefined ? 'has no price' : 'costs nothing'}`)
    return {
      listed: undefined,
      faults: [`${what.join(' and ')} in ${chosen.list}: confirm that it is free, or leave it`],
    }
  }
  const zeros: UnitPrices = Object.fromEntries(empty.map((unit) => [unit, 0n]))
  return { listed: { ...chosen, nanos: { ...chosen.nanos, ...zeros } }, faults: differences }
}

function disagreements(a: Listed, b: Listed): readonly string[] {
  const all = [{ when: {}, nanos: a.nanos }, ...a.rates]
  return all.flatMap(({ when, nanos }) => {
    const other = pricesAt(b, when)
    return unitNames.flatMap((unit) => {
      // Where one of them names no price, the price that would stand in for it is compared.
      const isNamed = nanos[unit] !== undefined || other?.[unit] !== undefined
      const [one, two] = isNamed && other ? [priceOf({ nanos }, unit), priceOf({ nanos: other }, unit)] : []
      if (one === undefined || two === undefined || isClose(one, two)) return []
      const where = [unit, printCondition(when)].filter((text) => text !== '').join(' ')
      return [`${where}: ${printMoney(one)} in ${a.list}, ${printMoney(two)} in ${b.list}`]
    })
  })
}

function pricesAt({ nanos, rates }: Listed, when: Condition): UnitPrices | undefined {
  const name = printCondition(when)
  return name === '' ? nanos : rates.find((rate) => printCondition(rate.when) === name)?.nanos
}

function isClose(a: bigint, b: bigint): boolean {
  const [less, more] = a < b ? [a, b] : [b, a]
  return (more - less) * 100n <= more * tolerancePercent
}

/** What of a listing the configuration file can say. */
export interface FilePrices {
  readonly [name: string]: string | number | FilePrices | readonly FilePrices[]
}

/** A listing as `prices` of the configuration file, and what of it that cannot say. */
export function toFile(
  { nanos, rates }: Listed,
  markupPercent?: string,
): { prices: FilePrices; left: readonly string[] } {
  const services = (from: number | undefined): FilePrices =>
    Object.fromEntries(
      rates.flatMap(({ when, nanos: each, tokensPpm }) =>
        when.service !== undefined && when.fromTokens === from && tokensPpm === undefined
          ? [[when.service, printPrices(each)]]
          : [],
      ),
    )
  const withServices = (from?: number) => {
    const some = services(from)
    return Object.keys(some).length > 0 ? { service_tiers: some } : {}
  }
  const borders = [...new Set(rates.flatMap(({ when }) => when.fromTokens ?? []))].toSorted((a, b) => a - b)
  const tiers = borders.flatMap((from) => {
    const plain = rates.find(({ when }) => when.fromTokens === from && when.service === undefined)
    return plain ? [{ above: from - 1, ...printPrices(plain.nanos), ...withServices(from) }] : []
  })
  const [regions, speeds] = [factorsBy(rates, 'region'), factorsBy(rates, 'speed')]
  // Of both at once the map has no place.
  const left = rates
    .filter(({ when }) => (when.region ?? when.speed) !== undefined && Object.keys(when).length > 1)
    .map(({ when }) => `${printCondition(when)}: no field`)
  const orphans = borders.filter((from) => !tiers.some(({ above }) => above === from - 1))
  return {
    prices: {
      ...printPrices(nanos),
      ...(tiers.length > 0 && { tiers }),
      ...withServices(),
      ...regions,
      ...speeds,
      ...(markupPercent !== undefined && { markup_percent: markupPercent }),
    },
    left: [...left, ...orphans.map((from) => `prompt>=${from}: a service tier without a plain one`)],
  }
}

/** The multipliers that hold for a region alone or for a speed alone, as the field of the map that has them. */
function factorsBy(rates: readonly Rate[], part: 'region' | 'speed'): FilePrices {
  const factors = rates.flatMap(({ when, tokensPpm }) => {
    const name = when[part]
    const isAlone = name !== undefined && Object.keys(when).length === 1
    return isAlone && tokensPpm !== undefined ? [[name, printFactor(tokensPpm)] as const] : []
  })
  return factors.length === 0 ? {} : { [`${part}s`]: Object.fromEntries(factors) }
}

function printPrices(nanos: UnitPrices): Readonly<Record<string, string>> {
  return Object.fromEntries(
    unitNames.flatMap((unit) => (nanos[unit] === undefined ? [] : [[unit, printMoney(nanos[unit])]])),
  )
}

function printFactor(ppm: number): string {
  return printMoney(BigInt(ppm) * 1_000n)
}

/** What differs between two price sets, unit by unit: `input: 5 → 6`. */
export function changes(before: PriceSet | undefined, after: PriceSet): readonly string[] {
  const rows = (prices: PriceSet | undefined): ReadonlyMap<string, string> =>
    new Map(
      [{ when: {}, nanos: prices?.nanos ?? {} }, ...(prices?.rates ?? [])].flatMap(
        ({ when, nanos, tokensPpm }: { when: Condition; nanos: UnitPrices; tokensPpm?: number }) => [
          ...Object.entries(printPrices(nanos)).map(([unit, price]): [string, string] => [nameOf(unit, when), price]),
          ...(tokensPpm === undefined
            ? []
            : [[nameOf('multiplier', when), printFactor(tokensPpm)] as [string, string]]),
        ],
      ),
    )
  const [old, next] = [rows(before), rows(after)]
  return [...new Set([...old.keys(), ...next.keys()])].flatMap((name) =>
    old.get(name) === next.get(name) ? [] : [`${name}: ${old.get(name) ?? 'none'} → ${next.get(name) ?? 'none'}`],
  )
}

function nameOf(unit: string, when: Condition): string {
  return [unit in units ? unit : 'multiplier', printCondition(when)].filter((text) => text !== '').join(' ')
}
