import type { Attempt, Part, UsageRecord } from '../../src/core/call.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import type { Flushed } from '../../src/ports.ts'
import { post, purseOf, walletOf, type ModelRow, type ModelState } from './model-state.ts'

/** How records come into the model of the books, and what follows from each. */

const inputUnits = ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'audio_input'] as const
const outputUnits = ['output', 'reasoning', 'audio_output'] as const
const hourMs = 3_600_000

/** Records with the same id go into statements of their own, the first one first. */
export function flush(state: ModelState, records: readonly UsageRecord[]): readonly Flushed[] {
  for (let waiting = records; waiting.length > 0;) {
    const batch = new Map<string, UsageRecord>()
    const later: UsageRecord[] = []
    for (const record of waiting) {
      if (batch.has(record.id)) later.push(record)
      else batch.set(record.id, record)
    }
    store(state, [...batch.values()])
    waiting = later
  }
  return [...new Set(records.map(({ id }) => id))].map((id) => ({ id, total: totalOf(state, id) }))
}

/** What the rows of a call charge together, but for what was given back. */
export function totalOf({ rows }: ModelState, id: string): bigint {
  const list = rows.get(id) ?? []
  return list.filter(({ kind }) => kind !== 'refund').reduce((sum, { charge }) => sum + charge, 0n)
}

/** One statement for what is new, and one for what was there. */
function store(state: ModelState, records: readonly UsageRecord[]): void {
  const fresh = records.filter(({ id }) => !state.rows.has(id))
  const known = records.filter((record) => !fresh.includes(record))
  const entry = fresh.flatMap((record) => {
    const [input, output] = tokensOf(record)
    const { kind, charge, priced, parts } = record
    const row: ModelRow = { seq: 0, kind, charge, priced, input, output, parts, record }
    keep(state, { row, base: row, attempts: record.attempts })
    return parts
  })
  post(state, entry)
  const late = known.flatMap((record) => {
    const adjusted = adjustment(state, record)
    if (!adjusted) return []
    keep(state, adjusted)
    return adjusted.row.parts
  })
  post(state, late)
}

interface Kept {
  readonly row: ModelRow
  /** Names the model, the vendor and the hour. */
  readonly base: ModelRow
  /** Those of them that the call has not had yet. */
  readonly attempts: readonly Attempt[]
}

/** The difference that a settle or a void makes which comes after the reaper, once. */
function adjustment(state: ModelState, record: UsageRecord): Kept | undefined {
  const rows = state.rows.get(record.id) ?? []
  const base = rows.find(({ seq }) => seq === 0)
  if (base?.kind !== 'reap' || record.kind === 'reap' || rows.some(({ seq }) => seq === 1)) return undefined
  const [input, output] = tokensOf(record)
  const charge = record.charge - base.charge
  const amounts = new Map([[walletOf(state, base.record.accountId).id, charge]])
  const add = (parts: readonly Part[], sign: bigint) => {
    for (const { purse, amount } of parts)
      if (purseOf(state, purse).asset === tokenAsset) amounts.set(purse, (amounts.get(purse) ?? 0n) + sign * amount)
  }
  add(record.parts, 1n)
  add(base.parts, -1n)
  const parts = [...amounts].filter(([, amount]) => amount !== 0n).sort(([a], [b]) => a - b)
  const row: ModelRow = {
    seq: 1,
    kind: 'adjust',
    charge,
    priced: record.priced - base.priced,
    input: input - base.input,
    output: output - base.output,
    parts: parts.map(([purse, amount]) => ({ purse, lease: 0, amount })),
    record,
  }
  // Tries are numbered, and what the reaper has stored under a number stays.
  return { row, base, attempts: record.attempts.slice(base.record.attempts.length) }
}

/** Stores a row and adds it to its hour. */
export function keep(state: ModelState, { row, base, attempts }: Kept): void {
  state.rows.set(row.record.id, [...(state.rows.get(row.record.id) ?? []), row])
  const { accountId, keyId, model, vendor, endedAtMs, prices } = base.record
  const hour = Math.floor(endedAtMs / hourMs) * hourMs
  const at = (name: string, currency: string) => {
    const key = [accountId, keyId, model, name, hour, currency].join('|')
    const sums = state.hours.get(key) ?? { n: 0n, input: 0n, output: 0n, charge: 0n, cost: 0n }
    state.hours.set(key, sums)
    return sums
  }
  const sums = at(vendor, prices.currency)
  if (row.seq === 0) sums.n += 1n
  sums.input += row.input
  sums.output += row.output
  sums.charge += row.charge
  for (const { vendor: tried, cost = 0n, costCurrency } of attempts)
    if (cost !== 0n && costCurrency !== undefined) at(tried, costCurrency).cost += cost
}

function tokensOf({ usage }: UsageRecord): readonly [input: bigint, output: bigint] {
  const sum = (units: readonly (keyof typeof usage.counts)[]) =>
    units.reduce((total, unit) => total + BigInt(usage.counts[unit] ?? 0), 0n)
  return [sum(inputUnits), sum(outputUnits)]
}
