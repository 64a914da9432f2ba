import { divideUp } from '../core/money.ts'
import {
  type Condition,
  type ExchangeRate,
  type Hours,
  type PriceSet,
  type Rate,
  type Unit,
  unitNames,
  type UnitPrices,
} from '../core/price.ts'
import { fullPricePpm, priceSet } from '../core/price-set.ts'
import { parseDays, parseMinute } from '../core/rates.ts'
import { serviceTiers, type GivenPrices } from './price-schema.ts'
import type { Path } from './source.ts'

type Raw = Readonly<Record<string, unknown>>
type GivenUnits = Readonly<Partial<Record<Unit, bigint | undefined>>>
type Fail = (path: Path, text: string) => void

const million = 1_000_000
const dayMinutes = 1_440
const weekMinutes = 7 * dayMinutes

/** The prices of a file as they are published: with its markup on each, and every alternative as a rate of its own. */
export function listPrices(given: GivenPrices): PriceSet {
  const {
    tiers = [],
    service_tiers: services,
    off_peak: windows = [],
    regions = {},
    speeds = {},
    markup_percent: markup = 0,
  } = given
  const published = (prices: GivenUnits): UnitPrices => publish(prices, markup)
  const rates: Rate[] = [
    ...serviceRates({}, services, published),
    ...tiers.flatMap((tier) => {
      const when = { fromTokens: tier.from ?? (tier.above ?? 0) + 1 }
      return [{ when, nanos: published(tier) }, ...serviceRates(when, tier.service_tiers, published)]
    }),
    ...windows.map(({ from: fromMinute, to: toMinute, days, ...prices }) => ({
      when: { hours: { fromMinute, toMinute, ...(days && { days }) } },
      nanos: published(prices),
    })),
    ...Object.entries(regions).map(([region, tokensPpm]) => ({ when: { region }, nanos: {}, tokensPpm })),
    ...Object.entries(speeds).map(([speed, tokensPpm]) => ({ when: { speed }, nanos: {}, tokensPpm })),
  ]
  return priceSet({ currency: given.currency, nanos: published(given), rates, discountPpm: fullPricePpm })
}

function serviceRates(
  when: Condition,
  services: GivenPrices['service_tiers'],
  published: (prices: GivenUnits) => UnitPrices,
): readonly Rate[] {
  return serviceTiers.flatMap((service) => {
    const prices = services?.[service]
    return prices === undefined ? [] : [{ when: { ...when, service }, nanos: published(prices) }]
  })
}

/** The markup is part of the price from here on. A fraction of a nano-unit per million tokens is rounded up. */
function publish(prices: GivenUnits, markup: number): UnitPrices {
  return Object.fromEntries(
    unitNames.flatMap((unit) => {
      const nanos = prices[unit]
      return nanos === undefined ? [] : [[unit, divideUp(nanos * BigInt(million + markup), BigInt(million))]]
    }),
  )
}

/** What no single field of a map of prices can know. Works on the raw values. */
export function checkPrices(path: Path, prices: Raw, fail: Fail): void {
  const borders = new Map<number, number>()
  for (const [index, tier] of listOf(prices['tiers']).entries()) {
    const at = [...path, 'tiers', index]
    const { above, from, service_tiers: services } = tier
    if ((above === undefined) === (from === undefined)) fail(at, 'needs either above or from')
    const border = from === undefined ? Number(above) + 1 : Number(from)
    if (borders.has(border)) fail(at, `has the border of tier ${(borders.get(border) ?? 0) + 1} above it`)
    borders.set(border, index)
    checkRate(at, tier, fail)
    checkServices([...at, 'service_tiers'], services, fail)
  }
  checkServices([...path, 'service_tiers'], prices['service_tiers'], fail)
  checkWindows([...path, 'off_peak'], listOf(prices['off_peak']), fail)
}

function checkServices(path: Path, services: unknown, fail: Fail): void {
  if (!isMap(services)) return
  for (const [name, rate] of Object.entries(services)) if (isMap(rate)) checkRate([...path, name], rate, fail)
}

function checkRate(path: Path, rate: Raw, fail: Fail): void {
  if (unitNames.every((unit) => rate[unit] === undefined)) fail(path, 'names no price')
}

/** Of two windows that overlap nobody could say which one holds. */
function checkWindows(path: Path, windows: readonly Raw[], fail: Fail): void {
  const taken: [number, number][] = []
  for (const [index, window] of windows.entries()) {
    const at = [...path, index]
    checkRate(at, window, fail)
    const hours = hoursOf(window)
    if (!hours) continue
    if (hours.fromMinute === hours.toMinute) {
      fail([...at, 'to'], 'must differ from from')
      continue
    }
    const spans = spansOf(hours)
    if (spans.some(([from, to]) => taken.some(([begin, end]) => from < end && begin < to)))
      fail(at, 'overlaps a window above it')
    taken.push(...spans)
  }
}

function hoursOf({ from, to, days }: Raw): Hours | undefined {
  const fromMinute = parseMinute(String(from))
  const toMinute = parseMinute(String(to))
  const on = Array.isArray(days) ? parseDays(days.map(String)) : undefined
  if (fromMinute === undefined || toMinute === undefined || (days !== undefined && on === undefined)) return undefined
  return { fromMinute, toMinute, ...(on && { days: on }) }
}

/** The minutes of a week that a window covers; what passes the end of the week goes on at its start. */
function spansOf({ fromMinute, toMinute, days = [0, 1, 2, 3, 4, 5, 6] }: Hours): readonly [number, number][] {
  const length = (toMinute - fromMinute + dayMinutes) % dayMinutes
  return days.flatMap((day): [number, number][] => {
    const from = day * dayMinutes + fromMinute
    const to = from + length
    return to <= weekMinutes
      ? [[from, to]]
      : [
          [from, weekMinutes],
          [0, to - weekMinutes],
        ]
  })
}

/** The rates of exchange of a file, as fractions in lowest terms. */
export function exchangeRates(
  given: readonly { from: string; to: string; rate: bigint; version: string }[],
): readonly ExchangeRate[] {
  return given.map(({ from, to, rate, version }) => {
    const scale = 1_000_000_000n
    const shared = greatestDivisor(rate, scale)
    return { from, to, num: rate / shared, den: scale / shared, version }
  })
}

function greatestDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : greatestDivisor(b, a % b)
}

export function checkExchange(rates: unknown, fail: Fail): void {
  const seen = new Set<string>()
  for (const [index, { from, to }] of listOf(rates).entries()) {
    const at = ['exchange_rates', index]
    if (from === to) fail([...at, 'to'], 'must differ from from')
    const pair = `${String(from)} ${String(to)}`
    if (seen.has(pair)) fail(at, 'is for the same currencies as a rate above it')
    seen.add(pair)
  }
}

function isMap(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The maps of a list, at their places; what is no map says nothing. */
function listOf(value: unknown): readonly Raw[] {
  return Array.isArray(value) ? value.map((item: unknown) => (isMap(item) ? item : {})) : []
}
