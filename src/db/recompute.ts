import type { Nanos } from '../core/money.ts'
import { charge, type Counts, priceOf, type PriceSet, type Rate, unitNames } from '../core/price.ts'
import { parseCondition, rateFor, type RateFacts } from '../core/rates.ts'
import { inputTotal } from '../core/usage.ts'
import type { Database, Row } from './database.ts'
import type { StoredConversion, StoredPrices, StoredRate } from './schema.ts'

/** Calls read at a time, and faults listed at most. */
const pageRows = 1_000
const listed = 100

export interface Sample {
  /** How many of a million calls are reckoned again; 1,000,000 is all of them. */
  readonly sharePpm: number
  /** Another seed takes other calls. */
  readonly seed: number
}

export interface Recomputed {
  readonly id: string
  readonly why: string
}

export interface Recomputation {
  /** Calls in the sample. */
  readonly looked: number
  /** Calls that come out otherwise, or that cannot be reckoned again. The first hundred. */
  readonly faults: readonly Recomputed[]
  readonly faulty: number
}

/**
 * The calls of a sample with the counts that their charge stands on: a late settle's where there is one. Refunds are no
 * part of what a call costs.
 */
const sampleSql = `SELECT r.day::text AS day, r.id, r.currency, r.started_at, r.service_tier, coalesce(a.length_tier, r.length_tier) AS length_tier,
  coalesce(a.counts, r.counts) AS counts, coalesce(a.service_tier, r.service_tier) AS tier, r.priced + coalesce(a.priced, 0) AS priced,
  r.charge + coalesce(a.charge, 0) AS charge, to_jsonb(coalesce(a.anomalies, r.anomalies)) AS anomalies,
  p.id AS price_set, p.currency AS priced_in, p.nanos, p.rates, p.conversion, p.discount_ppm
FROM usage_record r LEFT JOIN usage_record a ON a.day = r.day AND a.id = r.id AND a.seq = 1
LEFT JOIN price_set p ON p.id = r.price_set_id
WHERE r.seq = 0 AND (r.day, r.id) > ($1::date, $2::uuid)
  AND mod(hashtextextended(r.id::text, $3::bigint) & 9223372036854775807, 1000000) < $4::bigint
ORDER BY r.day, r.id LIMIT $5::int`

interface SampleRow extends Row {
  readonly day: string
  readonly id: string
  readonly currency: string
  readonly started_at: Date
  readonly tier: string | null
  readonly length_tier: bigint | null
  readonly counts: Counts
  readonly priced: bigint
  readonly charge: bigint
  readonly anomalies: readonly string[]
  readonly price_set: string | null
  readonly priced_in: string
  readonly nanos: StoredPrices
  readonly rates: readonly StoredRate[]
  readonly conversion: StoredConversion | null
  readonly discount_ppm: number
}

/** Reckons a sample of all charges again, from their counts and the prices that were pinned for them. */
export async function recompute(database: Database, { sharePpm, seed }: Sample): Promise<Recomputation> {
  const faults: Recomputed[] = []
  let [looked, faulty] = [0, 0]
  let [day, id] = ['0001-01-01', '00000000-0000-0000-0000-000000000000']
  for (;;) {
    const rows = await database.query<SampleRow>(sampleSql, [day, id, seed, sharePpm, pageRows])
    for (const row of rows) {
      const why = faultOf(row)
      if (why !== undefined && faulty++ < listed) faults.push({ id: row.id, why })
    }
    looked += rows.length
    const last = rows.at(-1)
    if (!last || rows.length < pageRows) return { looked, faults, faulty }
    ;[day, id] = [last.day, last.id]
  }
}

function faultOf(row: SampleRow): string | undefined {
  if (row.price_set === null) return 'its price set is not in the books'
  const prices = priceSetOf(row)
  if (!prices) return `its price set ${row.price_set} cannot be read`
  if (row.charge > row.priced) return `charged ${row.charge}, which is more than its counts cost, ${row.priced}`
  const results = placesOf(prices).map((place) => reckoned(row, prices, place))
  if (results.includes(row.priced)) return undefined
  return `priced ${row.priced}, and its counts cost ${results[0] ?? 'nothing that can be reckoned'}`
}

/** Undefined where a count has no price. */
function reckoned(row: SampleRow, prices: PriceSet, place: Place): Nanos | undefined {
  const unpriced = unitNames.filter((unit) => row.anomalies.includes(`unpriced_${unit}`))
  // Older records leave these counts out, and then the whole prompt is not known from the others.
  const isPartial = unpriced.some((unit) => row.counts[unit] === undefined)
  const promptTokens = isPartial ? Number(row.length_tier ?? 0n) : inputTotal(row.counts)
  const facts = { promptTokens, startedAtMs: row.started_at.getTime(), serviceTier: row.tier ?? undefined, ...place }
  const rate = rateFor(prices, facts)
  const isCharged = (unit: string): boolean => !unpriced.some((one) => one === unit && priceOf(rate, one) === undefined)
  const counts: Counts = Object.fromEntries(Object.entries(row.counts).filter(([unit]) => isCharged(unit)))
  try {
    return charge(counts, rate)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

type Place = Pick<RateFacts, 'region' | 'speed'>

/** A record does not say where and how fast it was served: each pair that would make a price is tried. */
function placesOf({ rates = [] }: PriceSet): readonly Place[] {
  const named = (part: 'region' | 'speed') => [undefined, ...new Set(rates.flatMap(({ when }) => when[part] ?? []))]
  return named('region').flatMap((region) => named('speed').map((speed) => ({ region, speed })))
}

/** A price set as it was pinned; undefined where a condition of it is not one that this version knows. */
function priceSetOf({ price_set: id, priced_in: currency, nanos, rates, ...row }: SampleRow): PriceSet | undefined {
  const known = rates.map(rateOf)
  if (id === null || known.some((rate) => rate === undefined)) return undefined
  const conversion = row.conversion && {
    ...row.conversion,
    num: BigInt(row.conversion.num),
    den: BigInt(row.conversion.den),
  }
  return {
    id,
    currency,
    nanos: pricesOf(nanos),
    rates: known.filter((rate) => rate !== undefined),
    ...(conversion && { conversion }),
    discountPpm: row.discount_ppm,
  }
}

function rateOf({ when, nanos, tokens_ppm: tokensPpm }: StoredRate): Rate | undefined {
  const condition = parseCondition(when)
  return condition && { when: condition, nanos: pricesOf(nanos), ...(tokensPpm !== undefined && { tokensPpm }) }
}

function pricesOf(stored: StoredPrices): PriceSet['nanos'] {
  return Object.fromEntries(Object.entries(stored).map(([unit, nanos]) => [unit, BigInt(nanos)]))
}
