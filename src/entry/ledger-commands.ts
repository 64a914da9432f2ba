import { eq } from 'drizzle-orm'
import { printMoney, parseMoney } from '../core/money.ts'
import { printTokens, tokenAsset } from '../core/tokens.ts'
import { openBooks } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { figures, type Figures } from '../db/figures.ts'
import { recompute } from '../db/recompute.ts'
import { setting } from '../db/schema.ts'
import { vendorDays, type VendorDay } from '../db/vendor-costs.ts'
import { reconciliationSetting } from '../ledger/reconcile.ts'
import { systemClock } from '../platform/clock.ts'
import { withDatabase, type Environment, type Said } from './commands.ts'

const dayMs = 86_400_000
const longestDays = 3_660

/** What is wrong in the books, a line each, and how they stand; then what the gateway last found about itself. */
export function checkLedger(env: Environment): Promise<Said> {
  return withDatabase(env, async (database) => {
    const violations = await openBooks(database).check({ all: true })
    const lines = violations.map(({ rule, subject, detail }) => `${rule}: ${subject}: ${detail}`)
    const standing = (await figures(database)).map(printFigures)
    const text = [...(lines.length > 0 ? lines : ['The books are right.']), ...standing, await lastComparison(database)]
    return { text: `${text.join('\n')}\n`, isWell: violations.length === 0 }
  })
}

function printFigures({ asset, purses, posted, leased, overdrawn, below }: Figures): string {
  const print = asset === tokenAsset ? printTokens : printMoney
  const sums = `${print(posted)} in ${purses} purses, ${print(leased)} of it lent`
  return `${asset}: ${sums}, ${overdrawn} overdrawn by ${print(below)}`
}

/** As `ledger/reconcile.ts` keeps it. */
interface StoredComparison {
  readonly at: string
  readonly violations: number
  readonly drifts: number
  readonly compared: number
  readonly busy: number
  readonly over: string
  readonly under: string
}

async function lastComparison({ drizzle }: Database): Promise<string> {
  const [row] = await drizzle
    .select({ value: setting.value })
    .from(setting)
    .where(eq(setting.name, reconciliationSetting))
  if (!row) return 'No gateway has compared itself with these books yet.'
  const { at, drifts, compared, busy, over, under } = row.value as StoredComparison
  const drift = `${printMoney(BigInt(over))} above and ${printMoney(BigInt(under))} below the books`
  return `A gateway compared itself at ${at}: ${compared} accounts, ${busy} busy, ${drifts} purses drift, ${drift}.`
}

/** Reckons a share of all charges again from their counts and pinned prices; undefined where the share is none. */
export function recomputeCharges(env: Environment, share: string): Promise<Said> | undefined {
  const nanos = parseMoney(share)
  if (nanos === undefined || nanos <= 0n || nanos > 1_000_000_000n || nanos % 1_000n !== 0n) return undefined
  const sharePpm = Number(nanos / 1_000n)
  return withDatabase(env, async (database) => {
    // Each day another sample.
    const seed = Math.floor(systemClock.now() / dayMs)
    const { looked, faults, faulty } = await recompute(database, { sharePpm, seed })
    const lines = faults.map(({ id, why }) => `${id}: ${why}\n`).join('')
    return { text: `${lines}${looked} calls reckoned again, ${faulty} come out otherwise.\n`, isWell: faulty === 0 }
  })
}

/** What we reckoned that vendors cost beside what they said; undefined where the number of days is none. */
export function vendorReport(env: Environment, text: string): Promise<Said> | undefined {
  const days = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0
  if (days === 0 || days > longestDays) return undefined
  return withDatabase(env, async (database) => {
    const rows = await vendorDays(database, systemClock.now() - (days - 1) * dayMs)
    const none = 'No vendor has reported what a call cost.\n'
    return { text: rows.length === 0 ? none : printTable(rows), isWell: true }
  })
}

function printTable(rows: readonly VendorDay[]): string {
  const head = ['day', 'vendor', 'calls', 'computed', 'reported', 'difference']
  const cells = rows.map(({ day, vendor, tries, currency, computed, reported }) => [
    day,
    vendor,
    `${tries}`,
    `${printMoney(computed)} ${currency}`,
    `${printMoney(reported)} USD`,
    currency === 'USD' ? `${printMoney(computed - reported)} USD` : 'another currency',
  ])
  return [head, ...cells].map((row) => `${row.join('\t')}\n`).join('')
}
