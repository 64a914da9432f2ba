import { GatewayError } from '../../src/core/errors.ts'
import { StaleEpoch } from '../../src/core/stale-epoch.ts'
import type { UsageRecord } from '../../src/core/call.ts'
import type { WalletBalance } from '../../src/db/books.ts'
import type { NewGrant } from '../../src/db/grants.ts'
import type { Refund, RefundRequest } from '../../src/ledger/refund.ts'
import type { AccountRow, Beat, Books, KeyRow, Lease, LeaseRequest } from '../../src/ports.ts'
import { flush, totalOf } from './model-flush.ts'
import { endGrant, endOf, grant, payingPurses, voidGrant } from './model-grants.ts'
import { refund } from './model-refunds.ts'
import {
  closeLease,
  purseOf,
  walletOf,
  type ModelLease,
  type ModelPurse,
  type ModelQuota,
  type ModelRow,
  type ModelState,
} from './model-state.ts'

export type { ModelRow } from './model-state.ts'

/**
 * What Postgres does, in plain TypeScript: the system of record of the simulation, and never at fault. The differential
 * holds the SQL against it.
 */
export interface ModelBooks extends Books {
  readonly state: ModelState
  readonly purseRows: ReadonlyMap<number, ModelPurse>
  readonly leases: readonly ModelLease[]
  readonly rows: ReadonlyMap<string, readonly ModelRow[]>
  addAccount(account: AccountRow, balance: bigint, creditLimit?: bigint): void
  addKey(row: KeyRow): void
  changeKey(id: number, change: Partial<KeyRow>): void
  addQuota(quota: Omit<ModelQuota, 'id'>): void
  recharge(accountId: number, amount: bigint): void
  /** Once for each reference. GatewayError as the books'. */
  pay(payment: { readonly accountId: number; readonly amount: bigint; readonly ref: string }): { applied: boolean }
  grant(wanted: NewGrant): { readonly id: number; readonly applied: boolean }
  voidGrant(accountId: number, id: number): void
  endGrants(): void
  refund(wanted: RefundRequest): Refund
  wallet(accountId: number): WalletBalance | undefined
  rollup(): void
  /** What is wrong: the checks I3, I6, I8 and I9 of the ledger, as sentences. */
  violations(overflow: (accountId: number) => bigint): string[]
}

export interface ModelOptions {
  /** Milliseconds since 1970; always 0 without it. */
  readonly now?: () => number
}

export function modelBooks({ now = () => 0 }: ModelOptions = {}): ModelBooks {
  const state: ModelState = {
    accounts: new Map(),
    keys: new Map(),
    purses: new Map(),
    leases: [],
    charged: new Set(),
    epochs: new Map(),
    rows: new Map(),
    hours: new Map(),
    quotas: [],
    payments: new Map(),
    refunds: new Map(),
    now,
  }
  return {
    ...control(state),
    ...spending(state),
    async findKey(hash) {
      const row = [...state.keys.values()].find((key) => key.hash === hash)
      return row && { chain: chainOf(state, row), account: state.accounts.get(row.accountId ?? 0) }
    },
    purses: async (accountId) => payingPurses(state, accountId),
    spent: async (keyId, _, sinceMs) => spent(state, keyId, sinceMs),
    flush: async (records: readonly UsageRecord[]) => flush(state, records),
    booked: async (ids) => ids.filter((id) => state.rows.has(id)).map((id) => ({ id, total: totalOf(state, id) })),
    balance: async (accountId) => wallet(state, accountId),
    receipt: () => Promise.resolve(undefined),
    violations: (overflow) => violations(state, overflow),
  }
}

/** What operators and jobs do, and how to look inside. */
function control(state: ModelState) {
  const { accounts, keys, purses, quotas } = state
  return {
    state,
    purseRows: purses,
    leases: state.leases,
    rows: state.rows,
    addAccount(account: AccountRow, balance: bigint, creditLimit = 0n) {
      const { id, currency } = account
      accounts.set(id, account)
      const amounts = { creditLimit, free: balance, posted: balance }
      purses.set(id, { id, accountId: id, kind: 'wallet', asset: currency, ...amounts })
    },
    addKey: (row: KeyRow) => void keys.set(row.id, row),
    changeKey(id: number, change: Partial<KeyRow>) {
      const row = keys.get(id)
      if (row) keys.set(id, { ...row, ...change, version: row.version + 1 })
    },
    addQuota: (quota: Omit<ModelQuota, 'id'>) => void quotas.push({ ...quota, id: quotas.length + 1 }),
    recharge: (accountId: number, amount: bigint) => recharge(state, accountId, amount),
    pay: (payment: Payment) => pay(state, payment),
    grant: (wanted: NewGrant) => grant(state, wanted),
    voidGrant: (accountId: number, id: number) => voidGrant(state, accountId, id),
    endGrants() {
      for (const purse of purses.values()) if (purse.grant && endOf(purse.grant) <= state.now()) endGrant(state, purse)
    },
    refund: (wanted: RefundRequest) => refund(state, wanted),
    wallet: (accountId: number) => wallet(state, accountId),
    rollup: () => rollup(state),
  }
}

/** Epochs and leases. */
function spending(
  state: ModelState,
): Pick<Books, 'openEpoch' | 'epochOf' | 'closeLeases' | 'closeFrozen' | 'beat' | 'lend'> {
  const { epochs, leases } = state
  const beats = new Map<string, Seen>()
  return {
    epochOf: async (spender) => epochs.get(spender) ?? 0,
    async openEpoch(spender, after) {
      const latest = epochs.get(spender) ?? 0
      if (after !== undefined && latest !== after) return 0
      const epoch = latest + 1
      epochs.set(spender, epoch)
      for (const lease of leases) {
        if (lease.spender !== spender || lease.state !== 'open') continue
        lease.state = 'frozen'
        lease.frozenAtMs = state.now()
      }
      return epoch
    },
    async closeLeases(spender) {
      for (const lease of leases) if (lease.spender === spender) closeLease(state, lease)
    },
    async closeFrozen() {
      closeFrozen(state, [...beats.values()])
    },
    async beat(beat) {
      beats.set(beat.replica, { ...beat, atMs: state.now() })
      return state.now()
    },
    lend: async (request) => lend(state, request),
  }
}

function lend(state: ModelState, { purse, spender, epoch, want, target }: LeaseRequest): Lease {
  const of = purseOf(state, purse)
  if (state.epochs.get(spender) !== epoch) throw new StaleEpoch(spender)
  const isOver = of.grant !== undefined && (of.grant.closedAtMs !== undefined || endOf(of.grant) <= state.now())
  const { leases } = state
  let lease = leases.find((one) => one.purse === purse && one.spender === spender && one.epoch === epoch)
  if (lease && lease.state !== 'open' && !isOver) throw new StaleEpoch(spender)
  if (!lease) {
    const fresh = { amount: 0n, consumed: 0n, state: 'open' as const, frozenAtMs: 0 }
    leases.push((lease = { id: leases.length + 1, purse, spender, epoch, ...fresh }))
  }
  const free = isOver ? 0n : of.free + of.creditLimit
  const half = free / 2n
  const aim = target === undefined ? free : target < half ? target : half
  const wanted = want > aim ? want : aim
  const more = wanted < free ? wanted : free
  if (more > 0n) {
    of.free -= more
    lease.amount += more
  }
  return { id: lease.id, lent: lease.amount }
}

/** A beat, and when it came. */
interface Seen extends Beat {
  readonly atMs: number
}

const frozenMs = 45_000
const deadMs = 120_000

/** Gives back what is left of frozen leases but for what living replicas have outstanding on them. */
function closeFrozen(state: ModelState, beats: readonly Seen[]): void {
  const alive = beats.filter(({ atMs }) => atMs > state.now() - deadMs)
  for (const lease of state.leases) {
    if (lease.state !== 'frozen') continue
    const isRipe =
      lease.frozenAtMs <= state.now() - frozenMs || alive.every(({ asOfMs = 0 }) => asOfMs > lease.frozenAtMs)
    const owed = alive.reduce((sum, { outstanding }) => sum + (outstanding.get(lease.id) ?? 0n), 0n)
    const rest = lease.amount - lease.consumed - owed
    if (!isRipe) continue
    if (owed === 0n) closeLease(state, lease)
    else if (rest > 0n) {
      purseOf(state, lease.purse).free += rest
      lease.amount -= rest
    }
  }
}

/** What was charged to a lease that had been given back, its purse bears from now on. */
function rollup(state: ModelState): void {
  for (const lease of state.charged) {
    const missing = lease.consumed - lease.amount
    if (lease.state === 'open' || missing <= 0n) continue
    lease.amount += missing
    purseOf(state, lease.purse).free -= missing
  }
  state.charged.clear()
}

interface Payment {
  readonly accountId: number
  readonly amount: bigint
  readonly ref: string
}

function recharge(state: ModelState, accountId: number, amount: bigint): void {
  const purse = walletOf(state, accountId)
  purse.free += amount
  purse.posted += amount
}

function pay(state: ModelState, { accountId, amount, ref }: Payment): { applied: boolean } {
  if (amount <= 0n) throw new GatewayError('invalid_value', 'no amount')
  if (!state.accounts.has(accountId)) throw new GatewayError('not_found', 'no such account')
  const before = state.payments.get(ref)
  if (before && (before.accountId !== accountId || before.amount !== amount))
    throw new GatewayError('conflict', 'another payment')
  if (before) return { applied: false }
  state.payments.set(ref, { accountId, amount })
  recharge(state, accountId, amount)
  return { applied: true }
}

function wallet(state: ModelState, accountId: number): WalletBalance | undefined {
  if (!state.accounts.has(accountId)) return undefined
  const { id, asset: currency, posted, free, creditLimit } = walletOf(state, accountId)
  const lent = state.leases.filter(({ purse }) => purse === id)
  const leased = lent.reduce((sum, { amount, consumed }) => sum + amount - consumed, 0n)
  return { currency, posted, free, leased, creditLimit }
}

function chainOf(state: ModelState, row: KeyRow): KeyRow[] {
  const parent = row.parentId === undefined ? undefined : state.keys.get(row.parentId)
  return parent ? [row, ...chainOf(state, parent)] : [row]
}

function spent(state: ModelState, keyId: number, sinceMs: number): bigint {
  let sum = 0n
  for (const [name, { charge }] of state.hours) {
    const [, key = '', , , hour = ''] = name.split('|')
    const row = state.keys.get(Number.parseInt(key, 10))
    const isBelow = row && chainOf(state, row).some(({ id }) => id === keyId)
    if (isBelow && Number.parseInt(hour, 10) >= sinceMs) sum += charge
  }
  return sum
}

function violations(state: ModelState, overflow: (accountId: number) => bigint): string[] {
  const { purses, leases, rows } = state
  const wrong: string[] = []
  for (const purse of purses.values()) {
    const lent = leases
      .filter((lease) => lease.purse === purse.id)
      .reduce((sum, lease) => sum + lease.amount - lease.consumed, 0n)
    if (purse.posted !== purse.free + lent)
      wrong.push(`I3: purse ${purse.id} posted ${purse.posted}, free ${purse.free}, lent ${lent}`)
  }
  for (const lease of leases)
    if (lease.consumed - lease.amount > overflow(purses.get(lease.purse)?.accountId ?? 0))
      wrong.push(`I6: lease ${lease.id} consumed ${lease.consumed} of ${lease.amount}`)
  for (const [id, list] of rows) {
    if (!list.some(({ seq }) => seq === 0)) wrong.push(`I8: ${id} has no base row`)
    if (list.reduce((sum, { charge }) => sum + charge, 0n) < 0n) wrong.push(`I9: ${id} is charged below zero`)
  }
  return wrong
}
