import type { Part, UsageRecord } from '../../src/core/call.ts'
import { tokenAsset } from '../../src/core/tokens.ts'
import type { AccountRow, KeyRow, Purse } from '../../src/ports.ts'

/** What the model of the books remembers, and the one way in which money moves in it. */

export interface ModelLease {
  readonly id: number
  readonly purse: number
  readonly spender: string
  readonly epoch: number
  amount: bigint
  consumed: bigint
  state: 'open' | 'frozen' | 'closed'
  frozenAtMs: number
}

export interface ModelGrant {
  readonly id: number
  readonly accountId: number
  readonly kind: 'credit' | 'package' | 'quota'
  readonly amount: bigint
  readonly priority: number
  readonly models: readonly string[]
  readonly effectiveAtMs: number
  readonly expiresAtMs: number | undefined
  readonly quotaId?: number
  readonly periodStartMs?: number
  readonly price: bigint
  /** Nano-units of revenue for a million tokens of it, times 10^6, rounded down. */
  readonly unitValue: bigint
  readonly source: string
  readonly ref: string | undefined
  /** What is left of its price until its tokens are used. */
  deferred: bigint
  voidedAtMs: number | undefined
  closedAtMs: number | undefined
}

export interface ModelPurse {
  readonly id: number
  readonly accountId: number
  readonly kind: Purse['kind']
  readonly asset: string
  /** Absent for a wallet. */
  readonly grant?: ModelGrant
  readonly creditLimit: bigint
  free: bigint
  posted: bigint
}

export interface ModelQuota {
  readonly id: number
  readonly accountId: number
  readonly asset: string
  readonly amount: bigint
  readonly priority: number
  readonly anchorMs: number
}

/** `record` is what was sent, `parts` what the row took from whom; tokens are what the row adds to the sums. */
export interface ModelRow {
  readonly seq: number
  readonly kind: UsageRecord['kind'] | 'adjust' | 'refund'
  readonly charge: bigint
  readonly priced: bigint
  readonly input: bigint
  readonly output: bigint
  readonly parts: readonly Part[]
  readonly record: UsageRecord
}

/** Usage of one hour, under the name of account, key, model, vendor, hour and currency. */
export interface ModelHour {
  n: bigint
  input: bigint
  output: bigint
  charge: bigint
  cost: bigint
}

export interface ModelState {
  readonly accounts: Map<number, AccountRow>
  readonly keys: Map<number, KeyRow>
  readonly purses: Map<number, ModelPurse>
  readonly leases: ModelLease[]
  /** Leases that were charged since the last rollup. */
  readonly charged: Set<ModelLease>
  readonly epochs: Map<string, number>
  readonly rows: Map<string, ModelRow[]>
  readonly hours: Map<string, ModelHour>
  readonly quotas: ModelQuota[]
  /** What an entry's reference stands for: a payment, or the row of a refund. */
  readonly payments: Map<string, { readonly accountId: number; readonly amount: bigint }>
  readonly refunds: Map<string, { readonly id: string; readonly seq: number }>
  /** Milliseconds since 1970. */
  now(): number
}

/** What `div` of the database does: towards zero. */
export const unitScale = 1_000_000_000_000n

export const grantsOf = ({ purses }: ModelState): readonly ModelGrant[] =>
  [...purses.values()].flatMap(({ grant }) => grant ?? [])

export function walletOf({ purses }: ModelState, accountId: number): ModelPurse {
  const found = [...purses.values()].find((purse) => purse.accountId === accountId && purse.kind === 'wallet')
  if (!found) throw new Error(`account ${accountId} has no wallet`)
  return found
}

export function purseOf({ purses }: ModelState, id: number): ModelPurse {
  const found = purses.get(id)
  if (!found) throw new Error(`no purse ${id}`)
  return found
}

/** One entry of the books: what some rows take from their purses. A package's price is released by the entry. */
export function post(state: ModelState, parts: readonly Part[]): void {
  const used = new Map<ModelGrant, bigint>()
  for (const { purse, lease, amount } of parts) {
    const of = purseOf(state, purse)
    of.posted -= amount
    const loan = state.leases.find(({ id }) => id === lease)
    if (loan) {
      loan.consumed += amount
      if (amount !== 0n) state.charged.add(loan)
    } else of.free -= amount
    if (of.grant && of.asset === tokenAsset) used.set(of.grant, (used.get(of.grant) ?? 0n) + amount)
  }
  for (const [grant, amount] of used) if (grant.price > 0n) grant.deferred -= (amount * grant.unitValue) / unitScale
}

/** Gives what is left of a frozen lease back to its purse, or takes from the purse what is missing. */
export function closeLease(state: ModelState, lease: ModelLease): void {
  if (lease.state !== 'frozen') return
  purseOf(state, lease.purse).free += lease.amount - lease.consumed
  lease.amount = lease.consumed
  lease.state = 'closed'
}
