import type { Part } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import type { Refund, RefundRequest } from '../../src/ledger/refund.ts'
import { keep } from './model-flush.ts'
import { endOf, openGrant } from './model-grants.ts'
import { grantsOf, post, purseOf, unitScale, type ModelRow, type ModelState } from './model-state.ts'

/** Refunds in the model of the books. */

const givenBackMs = 7 * 86_400_000

interface Sums {
  readonly money: bigint
  readonly tokens: bigint
}

/** Gives a charge back, once for each reference. */
export function refund(state: ModelState, wanted: RefundRequest): Refund {
  const { id, ref } = wanted
  const known = state.refunds.get(ref)
  const rows = state.rows.get(id) ?? []
  const [first] = rows
  if (known) return again(state, wanted, known)
  if (!first) throw new GatewayError('not_found', 'no such call')
  const charged = sumsOf(state, rows)
  const given = givenOf(wanted, charged)
  if (given.money > charged.money || given.tokens > charged.tokens || given.money + given.tokens === 0n)
    throw new GatewayError('conflict', 'less is left')
  closeReaped(state, first)
  const seq = Math.max(1, ...rows.map((row) => row.seq)) + 1
  const parts = unwound(state, rows, given).map((part) => ({ ...part, lease: 0, amount: -part.amount }))
  const row: ModelRow = {
    ...first,
    seq,
    kind: 'refund',
    charge: -given.money,
    priced: 0n,
    input: 0n,
    output: 0n,
    parts,
  }
  keep(state, { row, base: first, attempts: [] })
  post(state, parts)
  state.refunds.set(ref, { id, seq })
  const inOrder = parts.toSorted((a, b) => a.purse - b.purse)
  const grants = inOrder.flatMap((part) => grantAgain(state, part, `refund ${id}/${seq}`))
  const { accountId, prices } = first.record
  const left = { money: charged.money - given.money, tokens: charged.tokens - given.tokens }
  return { applied: true, accountId, currency: prices.currency, given, charged: left, grants }
}

function again(state: ModelState, wanted: RefundRequest, { id, seq }: { id: string; seq: number }): Refund {
  const rows = state.rows.get(wanted.id) ?? []
  const row = rows.find((one) => one.seq === seq)
  if (wanted.id !== id || !row) throw new GatewayError('conflict', 'another refund')
  const { money, tokens } = sumsOf(state, [row])
  const given = { money: -money, tokens: -tokens }
  const asked = givenOf(wanted, given)
  if (asked.money !== given.money || asked.tokens !== given.tokens) throw new GatewayError('conflict', 'another refund')
  const { accountId, prices } = row.record
  const grants = grantsOf(state).filter(({ source }) => source === `refund ${id}/${seq}`)
  const charged = sumsOf(state, rows)
  return { applied: false, accountId, currency: prices.currency, given, charged, grants: grants.map((one) => one.id) }
}

const givenOf = ({ amount, tokens }: RefundRequest, all: Sums): Sums =>
  amount === undefined && tokens === undefined ? all : { money: amount ?? 0n, tokens: tokens ?? 0n }

/** Whoever gives back has the last word: no late settle of this call is heard from now on. */
function closeReaped(state: ModelState, first: ModelRow): void {
  const { id } = first.record
  const rows = state.rows.get(id) ?? []
  if (first.kind !== 'reap' || rows.some(({ seq }) => seq === 1)) return
  const nothing = { charge: 0n, priced: 0n, input: 0n, output: 0n, parts: [] }
  rows.push({ ...first, ...nothing, seq: 1, kind: 'adjust' })
}

function sumsOf(state: ModelState, rows: readonly ModelRow[]): Sums {
  const parts = rows.flatMap((row) => row.parts)
  const tokens = parts.filter(({ purse }) => purseOf(state, purse).asset === tokenAsset)
  const sum = (list: readonly Part[]) => list.reduce((total, { amount }) => total + amount, 0n)
  return { money: sum(parts) - sum(tokens), tokens: sum(tokens) }
}

/** What each purse gets: the last that paid first, less what it got before; each purse once, in that order. */
function unwound(state: ModelState, rows: readonly ModelRow[], given: Sums): readonly Part[] {
  const parts = rows.flatMap((row) => row.parts)
  const paid = parts.filter(({ amount }) => amount > 0n).map((part) => ({ ...part }))
  for (const { purse, amount } of parts) {
    let rest = amount < 0n ? -amount : 0n
    for (const part of paid.toReversed().filter((one) => one.purse === purse)) {
      const off = rest < part.amount ? rest : part.amount
      part.amount -= off
      rest -= off
    }
  }
  const left = { ...given }
  const returned = new Map<number, bigint>()
  for (const { purse, amount } of paid.toReversed()) {
    const asset = purseOf(state, purse).asset === tokenAsset ? 'tokens' : 'money'
    const back = left[asset] < amount ? left[asset] : amount
    left[asset] -= back
    if (back > 0n) returned.set(purse, (returned.get(purse) ?? 0n) + back)
  }
  return [...returned].map(([purse, amount]) => ({ purse, lease: 0, amount }))
}

/** What came back to a grant that has ended goes to a new one for seven days. */
function grantAgain(state: ModelState, { purse: id, amount: taken }: Part, source: string): readonly number[] {
  const purse = purseOf(state, id)
  const { grant: old } = purse
  const nowMs = state.now()
  if (!old || (old.closedAtMs === undefined && endOf(old) > nowMs)) return []
  const amount = -taken
  const worth = purse.asset === tokenAsset && old.price > 0n ? (amount * old.unitValue) / unitScale : 0n
  purse.posted -= amount
  purse.free -= amount
  old.deferred -= worth
  const terms = { accountId: old.accountId, amount, priority: old.priority, models: old.models, price: worth, source }
  const times = { effectiveAtMs: nowMs, expiresAtMs: nowMs + givenBackMs }
  const kind = old.kind === 'package' ? 'package' : 'credit'
  const made = openGrant(state, { ...terms, ...times, kind, asset: purse.asset, ref: `${source} on ${purse.id}` })
  return [made.id]
}
