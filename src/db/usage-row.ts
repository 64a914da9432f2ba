import type { Attempt, UsageRecord } from '../core/call.ts'
import { isoTime } from '../core/iso-time.ts'
import { type Counts, type Unit, type UnitPrices, unitsIn } from '../core/price.ts'
import { printCondition } from '../core/rates.ts'
import { recordKinds, type StoredPrices, type StoredRate } from './schema.ts'

/**
 * A usage record as the flush sends it: JSON whose names are the columns'. Money and ids of purses are decimal strings,
 * because JSON has no int64. Whatever came from outside is made storable here, since one row that the database refuses
 * would keep its whole batch out of the books.
 */

const inputUnits: readonly Unit[] = [
  'input',
  'cached_input',
  'cache_write_5m',
  'cache_write_1h',
  'audio_input',
  'image_input',
]
const outputUnits: readonly Unit[] = ['output', 'reasoning', 'audio_output', 'image_output']

/** Longer texts of vendors and callers are cut. */
const textLimit = 512
const anomalyLimit = 32
/** A call tries a handful of targets; this many rows of it are kept. */
const attemptLimit = 100
const int4Limit = 2_147_483_647

const uuidv7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

/** The UTC day (yyyy-mm-dd) inside a UUIDv7, which names its partition. Throws RangeError for any other id. */
export function dayOf(id: string): string {
  if (!uuidv7.test(id)) throw new RangeError('a usage record needs a UUIDv7 as its id')
  const text = isoTime(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).slice(0, 10)
  if (text.startsWith('+')) throw new RangeError("the time in a usage record's id lies beyond the year 9999")
  return text
}

/** PostgreSQL's text holds no NUL, and its json no half of a surrogate pair. */
function storable(text: string): string {
  const sound = text.slice(0, textLimit).toWellFormed()
  return sound.includes('\0') ? sound.replaceAll('\0', '\u{fffd}') : sound
}

const storableOrNull = (text: string | undefined) => (text === undefined ? null : storable(text))
const whole = (count: number) => (Number.isFinite(count) ? Math.min(int4Limit, Math.max(0, Math.trunc(count))) : 0)
const decimal = (amount: bigint | undefined) => amount?.toString() ?? null

function total(counts: Counts, units: readonly Unit[]): string {
  let sum = 0n
  for (const unit of units) {
    const count = counts[unit] ?? 0
    if (count !== 0 && Number.isSafeInteger(count)) sum += BigInt(count)
  }
  return sum.toString()
}

/** The counts of the units that we know, and nothing else. */
function knownCounts(counts: Counts): Counts {
  const known: Partial<Record<Unit, number>> = {}
  for (const unit of unitsIn(counts)) {
    const count = counts[unit]
    if (count !== undefined) known[unit] = count
  }
  return known
}

/** One row of `usage_record`, but for seq and batch. */
export function usageRow(record: UsageRecord) {
  const { usage, parts } = record
  return {
    day: dayOf(record.id),
    id: record.id,
    kind: recordKinds[record.kind],
    account_id: record.accountId,
    key_id: record.keyId,
    outcome: record.outcome,
    model: storable(record.model),
    vendor: storable(record.vendor),
    vendor_model: storable(record.vendorModel),
    served_model: storableOrNull(record.servedModel),
    service_tier: storableOrNull(record.serviceTier),
    length_tier: record.lengthTier ?? null,
    price_set_id: record.prices.id,
    counts: knownCounts(usage.counts),
    input_tokens: total(usage.counts, inputUnits),
    output_tokens: total(usage.counts, outputUnits),
    source: usage.source,
    tokenizer: storableOrNull(usage.tokenizer),
    anomalies: (usage.anomalies ?? []).slice(0, anomalyLimit).map(storable),
    priced: record.priced.toString(),
    charge: record.charge.toString(),
    currency: record.prices.currency,
    lease: parts.map((part) => String(part.lease)),
    purse: parts.map((part) => String(part.purse)),
    amount: parts.map((part) => part.amount.toString()),
    stream: record.stream,
    started_at: isoTime(record.startedAtMs),
    ended_at: isoTime(record.endedAtMs),
    first_byte_ms: record.firstByteMs === undefined ? null : whole(record.firstByteMs),
    finish: storableOrNull(record.finish),
    error: storableOrNull(record.error),
    client_request_id: storableOrNull(record.clientRequestId),
  }
}

/** The rows of `attempt` of a record. */
export function attemptRows(record: UsageRecord) {
  const day = dayOf(record.id)
  return record.attempts.slice(0, attemptLimit).map((attempt: Attempt, n) => ({
    day,
    id: record.id,
    n,
    vendor: storable(attempt.vendor),
    model: storable(attempt.model),
    status: whole(attempt.status),
    error: storableOrNull(attempt.error),
    started_at: isoTime(attempt.startedAtMs),
    ended_at: isoTime(attempt.endedAtMs),
    cost: decimal(attempt.cost),
    cost_currency: attempt.costCurrency ?? null,
    reported_cost: decimal(attempt.reportedCost),
  }))
}

/** The row of `price_set` that a record is pinned to. */
export function priceSetRow({ prices }: UsageRecord) {
  const { rates = [], conversion } = prices
  return {
    id: prices.id,
    currency: prices.currency,
    nanos: storedPrices(prices.nanos),
    rates: rates.map(({ when, nanos, tokensPpm }): StoredRate => ({
      when: printCondition(when),
      nanos: storedPrices(nanos),
      ...(tokensPpm !== undefined && { tokens_ppm: tokensPpm }),
    })),
    conversion: conversion
      ? { from: conversion.from, num: `${conversion.num}`, den: `${conversion.den}`, version: conversion.version }
      : null,
    discount_ppm: prices.discountPpm,
  }
}

function storedPrices(nanos: UnitPrices): StoredPrices {
  return Object.fromEntries(Object.entries(nanos).map(([unit, each]) => [unit, each.toString()]))
}
