import type { PriceSet } from '../../src/core/price.ts'
import { charge } from '../../src/core/price.ts'
import { rateFor } from '../../src/core/rates.ts'
import type { ModelBooks, ModelRow } from './model-books.ts'
import type { Truth } from './traffic.ts'

/** What one world came to. */
export interface Findings {
  readonly calls: number
  readonly served: number
  readonly refused: number
  readonly deliveredTokens: number
  /** Nano-units that were delivered and not charged, in all and on the worst call. */
  unbilled: bigint
  worstUnbilledTokens: number
  overcharges: number
  doubleCharges: number
  /** The books and the truth disagree: sentences. */
  readonly wrong: string[]
}

export interface OracleParts {
  readonly books: ModelBooks
  readonly truths: ReadonlyMap<string, Truth>
  /** The price sets that a call may be charged by, the likeliest first. */
  pricesOf(truth: Truth): readonly PriceSet[]
  /** Tokens that a killed process may leave unbilled: what it delivers between two checkpoints. */
  unbilledBound(truth: Truth): number
  /** Nano-units by which an account may be overdrawn, because vendors counted more than they were held for. */
  overflow(accountId: number): bigint
}

/** Compares the books with what was seen from outside. It knows the outcome table, and nothing of how it is kept. */
export function judge({ books, truths, pricesOf, unbilledBound, overflow }: OracleParts): Findings {
  const findings: Findings = {
    calls: truths.size,
    served: [...truths.values()].filter((truth) => truth.sawEnd).length,
    refused: [...truths.values()].filter((truth) => truth.refusal !== undefined).length,
    deliveredTokens: [...truths.values()].reduce((sum, truth) => sum + truth.delivered, 0),
    unbilled: 0n,
    worstUnbilledTokens: 0,
    overcharges: 0,
    doubleCharges: 0,
    wrong: books.violations(overflow),
  }
  for (const truth of truths.values()) {
    const rows = books.rows.get(truth.id) ?? []
    const price = priceOf(truth, { rows, allowed: pricesOf(truth) }, findings)
    judgeCall({ truth, rows, price, bound: unbilledBound(truth) }, findings)
  }
  for (const id of books.rows.keys()) if (!truths.has(id)) findings.wrong.push(`${id} was charged and never called`)
  return findings
}

/** How a call is priced: by the set on its record, which must be one that was in force when it came. */
function priceOf(
  { id }: Truth,
  { rows, allowed }: { rows: readonly ModelRow[]; allowed: readonly PriceSet[] },
  findings: Findings,
): Case['price'] {
  const pinned = rows[0]?.record.prices ?? allowed[0]
  if (!pinned || !allowed.some((set) => set.id === pinned.id)) findings.wrong.push(`${id} is charged by foreign prices`)
  if (!pinned) return () => 0n
  const plain = rateFor(pinned, { promptTokens: 0, startedAtMs: 0 })
  return (input, output) => charge({ input, output }, plain)
}

interface Case {
  readonly truth: Truth
  readonly rows: readonly ModelRow[]
  price(input: number, output: number): bigint
  readonly bound: number
}

function judgeCall({ truth, rows, price, bound }: Case, findings: Findings): void {
  const { id, promptTokens, delivered, vendorUsage } = truth
  const charged = rows.reduce((sum, row) => sum + row.charge, 0n)
  if (rows.filter(({ seq }) => seq === 0).length > 1 || rows.length > 2) {
    findings.doubleCharges++
    findings.wrong.push(`${id} is charged ${rows.length} times`)
  }
  const forDelivered = delivered > 0 ? price(promptTokens, delivered) : 0n
  const forVendor = vendorUsage ? price(vendorUsage.prompt, vendorUsage.completion) : 0n
  const most = forVendor > forDelivered ? forVendor : forDelivered
  if (charged > most) {
    findings.overcharges++
    findings.wrong.push(`${id} is charged ${charged}, at most ${most} is due: ${describe(truth, rows)}`)
  }
  const due = dueFor(truth, { forDelivered, forVendor })
  if (charged >= due) return
  const missing = due - charged
  findings.unbilled += missing
  const perToken = price(0, 1)
  const missingTokens = Number(missing / perToken)
  findings.worstUnbilledTokens = Math.max(findings.worstUnbilledTokens, missingTokens)
  const excuse = truth.disturbed ? bound : 0
  if (missingTokens > excuse)
    findings.wrong.push(`${id} is charged ${charged}, ${due} is due: ${describe(truth, rows)}`)
}

/** The least that the outcome table asks for. */
function dueFor(truth: Truth, { forDelivered, forVendor }: { forDelivered: bigint; forVendor: bigint }): bigint {
  // Whoever saw the end has the vendor's count on his bill, where there was one.
  if (truth.sawEnd && truth.vendorUsage) return forVendor
  return forDelivered
}

function describe(truth: Truth, rows: readonly ModelRow[]): string {
  const books = rows.map(
    ({ seq, kind, charge: amount, record }) => `${seq}:${kind}/${record.outcome}/${record.usage.source}/${amount}`,
  )
  return JSON.stringify({ ...truth, deliveries: truth.deliveries.length, books })
}
