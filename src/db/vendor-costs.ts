import type { Nanos } from '../core/money.ts'
import type { Database } from './database.ts'

/** Rows of one report. */
const rowLimit = 10_000

/** What one vendor's calls of a UTC day cost by our price lists, and by what the vendor said itself. */
export interface VendorDay {
  readonly vendor: string
  readonly day: string
  /** What we reckon in; vendors report dollars, so only dollars can be compared. */
  readonly currency: string
  /** Tries for which both are known. */
  readonly tries: bigint
  readonly computed: Nanos
  readonly reported: Nanos
}

const vendorDaysSql = `SELECT vendor, day::text AS day, cost_currency AS currency, count(*) AS tries, sum(cost) AS computed,
  sum(reported_cost) AS reported
FROM attempt WHERE day >= $1::date AND cost IS NOT NULL AND reported_cost IS NOT NULL
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT ${rowLimit}`

/** Sums of computed and reported cost by vendor and day, from a moment on. */
export function vendorDays(database: Database, fromMs: number): Promise<readonly VendorDay[]> {
  return database.query<VendorDay>(vendorDaysSql, [new Date(fromMs).toISOString().slice(0, 10)])
}
