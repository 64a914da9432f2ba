import { onceForLasting } from './once-for.ts'
import type { Condition, EffectivePrices, Hours, PriceSet, Rate } from './price.ts'

/** What of a call decides by which rate it pays. */
export interface RateFacts {
  /** The whole prompt: fresh, cached, written to a cache, audio. */
  readonly promptTokens: number
  readonly startedAtMs: number
  /** As the answer says; absent or unknown to the price set: the plain rate. */
  readonly serviceTier?: string | undefined
  readonly region?: string | undefined
  readonly speed?: string | undefined
}

const minuteMs = 60_000
const dayMinutes = 1_440
const weekDays = 7
/** The first of January 1970 was a Thursday. */
const firstDay = 4

/**
 * The rate that a call pays: the plain prices, and over them, unit by unit, those of every rate whose condition holds,
 * the highest by rank last. A rate that says nothing of a unit leaves it as it was.
 */
export function rateFor(prices: PriceSet, facts: RateFacts): EffectivePrices {
  if (prices.rates === undefined) return plainRate(prices)
  const reached = prices.rates.filter(({ when }) => holds(when, facts))
  return {
    nanos: reached.length === 0 ? prices.nanos : Object.assign({}, prices.nanos, ...reached.map(({ nanos }) => nanos)),
    tokensPpm: reached.flatMap(({ tokensPpm }) => (tokensPpm === undefined ? [] : [tokensPpm])),
    lengthTier: reached.findLast(({ when }) => when.fromTokens !== undefined)?.when.fromTokens,
    conversion: prices.conversion,
    discountPpm: prices.discountPpm,
  }
}

/** Most price sets have one rate, and a call asks for it several times. */
const plainRate = onceForLasting(({ nanos, conversion, discountPpm }: PriceSet): EffectivePrices => ({
  nanos,
  tokensPpm: [],
  lengthTier: undefined,
  conversion,
  discountPpm,
}))

function holds(when: Condition, facts: RateFacts): boolean {
  return (
    (when.fromTokens === undefined || facts.promptTokens >= when.fromTokens) &&
    (when.service === undefined || facts.serviceTier === when.service) &&
    (when.region === undefined || facts.region === when.region) &&
    (when.speed === undefined || facts.speed === when.speed) &&
    (when.hours === undefined || isWithin(when.hours, facts.startedAtMs))
  )
}

/** Whether a moment lies in a window. One that passes midnight belongs to the day on which it begins. */
export function isWithin({ fromMinute, toMinute, days }: Hours, ms: number): boolean {
  const minute = Math.floor(ms / minuteMs) % dayMinutes
  const today = (Math.floor(ms / minuteMs / dayMinutes) + firstDay) % weekDays
  const begins = (day: number): boolean => days === undefined || days.includes(day)
  if (fromMinute < toMinute) return minute >= fromMinute && minute < toMinute && begins(today)
  if (minute >= fromMinute) return begins(today)
  return minute < toMinute && begins((today + weekDays - 1) % weekDays)
}

/**
 * The one order of a price set's rates, from low to high rank: length before service tier before hours. So a longer
 * prompt overrules everything that was agreed for shorter ones, and of two rates for the same length the one that asks
 * for more.
 */
export function byRank(a: Rate, b: Rate): number {
  const [ranksA, ranksB] = [ranks(a.when), ranks(b.when)]
  for (const [at, rank] of ranksA.entries()) {
    const difference = rank - (ranksB[at] ?? 0)
    if (difference !== 0) return difference
  }
  const [nameA, nameB] = [printCondition(a.when), printCondition(b.when)]
  return nameA < nameB ? -1 : nameA > nameB ? 1 : 0
}

function ranks({ fromTokens, service, hours, region, speed }: Condition): readonly number[] {
  return [fromTokens ?? 0, ...[service, hours, region, speed].map((part) => (part === undefined ? 0 : 1))]
}

const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/**
 * The one text of a condition, as price rows carry it and ids hold it:
 * `prompt>=272001 service=priority utc=16:30-00:30/mon,tue region=eu speed=fast`; '' for none.
 */
export function printCondition({ fromTokens, service, hours, region, speed }: Condition): string {
  return [
    ...(fromTokens === undefined ? [] : [`prompt>=${fromTokens}`]),
    ...(service === undefined ? [] : [`service=${service}`]),
    ...(hours === undefined ? [] : [`utc=${printHours(hours)}`]),
    ...(region === undefined ? [] : [`region=${region}`]),
    ...(speed === undefined ? [] : [`speed=${speed}`]),
  ].join(' ')
}

function printHours({ fromMinute, toMinute, days }: Hours): string {
  const on = days === undefined ? '' : `/${days.map((day) => dayNames[day]).join(',')}`
  return `${printMinute(fromMinute)}-${printMinute(toMinute)}${on}`
}

function printMinute(minute: number): string {
  const two = (part: number): string => String(part).padStart(2, '0')
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`
}

const conditionText =
  /^(?:prompt>=(?<from>[1-9]\d{0,11}))?(?: ?\bservice=(?<service>[\w-]{1,64}))?(?: ?\butc=(?<begin>\d\d:\d\d)-(?<end>\d\d:\d\d)(?:\/(?<days>[a-z,]{3,27}))?)?(?: ?\bregion=(?<region>[\w-]{1,64}))?(?: ?\bspeed=(?<speed>[\w-]{1,64}))?$/

/** Reads what printCondition wrote; undefined for any other text. */
export function parseCondition(text: string): Condition | undefined {
  const found = conditionText.exec(text)?.groups
  if (!found) return undefined
  const { from, service, begin, end, days, region, speed } = found
  const fromMinute = parseMinute(begin)
  const toMinute = parseMinute(end)
  const on = days === undefined ? undefined : parseDays(days.split(','))
  const hours = fromMinute !== undefined && toMinute !== undefined && { fromMinute, toMinute, ...(on && { days: on }) }
  const condition = {
    ...(from !== undefined && { fromTokens: +from }),
    ...(service !== undefined && { service }),
    ...(hours && { hours }),
    ...(region !== undefined && { region }),
    ...(speed !== undefined && { speed }),
  }
  return printCondition(condition) === text ? condition : undefined
}

/** Minutes since midnight of `16:30`; undefined for what is no time of day. */
export function parseMinute(text: string | undefined): number | undefined {
  const [hour, minute] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(text ?? '')?.slice(1) ?? []
  return hour === undefined || minute === undefined ? undefined : +hour * 60 + +minute
}

/** Numbers of days named `mon`, `tue`, …, ascending and each once; undefined where a name is none. */
export function parseDays(names: readonly string[]): readonly number[] | undefined {
  const days = new Set(names.map((name) => dayNames.indexOf(name)))
  return days.has(-1) ? undefined : [...days].toSorted((a, b) => a - b)
}
