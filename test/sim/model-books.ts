import type { UsageRecord } from '../../src/core/call.ts'
import type { AccountRow, Books, Flushed, KeyRow } from '../../src/ports.ts'

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

export interface ModelPurse {
  readonly id: number
  readonly accountId: number
  free: bigint
  posted: bigint
}

export interface ModelRow {
  readonly seq: number
  readonly kind: UsageRecord['kind'] | 'adjust'
  readonly charge: bigint
  readonly record: UsageRecord
}

/** What Postgres does, in plain TypeScript: the system of record of the simulation, and never at fault. */
export interface ModelBooks extends Books {
  readonly purseRows: ReadonlyMap<number, ModelPurse>
  readonly leases: readonly ModelLease[]
  readonly rows: ReadonlyMap<string, readonly ModelRow[]>
  addAccount(account: AccountRow, balance: bigint): void
  addKey(row: KeyRow): void
  changeKey(id: number, change: Partial<KeyRow>): void
  recharge(accountId: number, amount: bigint): void
  /** What is wrong: the checks I3, I6, I8 and I9 of the ledger, as sentences. */
  violations(overflow: (accountId: number) => bigint): string[]
}

export interface ModelOptions {
  /** A lease aims at this, and at no more than half of what is free; without it all that is free is lent. */
  readonly leaseTarget?: bigint
}

export function modelBooks({ leaseTarget }: ModelOptions = {}): ModelBooks {
  const accounts = new Map<number, AccountRow>()
  const keys = new Map<number, KeyRow>()
  const purseRows = new Map<number, ModelPurse>()
  const leases: ModelLease[] = []
  const epochs = new Map<string, number>()
  const rows = new Map<string, ModelRow[]>()

  function chainOf(row: KeyRow): KeyRow[] {
    const parent = row.parentId === undefined ? undefined : keys.get(row.parentId)
    return parent ? [row, ...chainOf(parent)] : [row]
  }
  const isBelow = (row: KeyRow, top: number): boolean => chainOf(row).some(({ id }) => id === top)

  function pay(record: UsageRecord): void {
    for (const { purse, lease, amount } of record.parts) {
      const of = purseRows.get(purse)
      if (!of) throw new Error(`no purse ${purse}`)
      of.posted -= amount
      const loan = leases.find(({ id }) => id === lease)
      if (loan) loan.consumed += amount
      else of.free -= amount
    }
  }

  function store(record: UsageRecord): Flushed {
    const known = rows.get(record.id) ?? []
    rows.set(record.id, known)
    const [base] = known
    if (!base) {
      known.push({ seq: 0, kind: record.kind, charge: record.charge, record })
      pay(record)
    } else if (base.kind === 'reap' && record.kind !== 'reap' && known.length === 1) {
      const difference = record.charge - base.charge
      known.push({ seq: 1, kind: 'adjust', charge: difference, record })
      const wallet = [...purseRows.values()].find(({ accountId }) => accountId === record.accountId)
      if (!wallet) throw new Error('no wallet')
      wallet.posted -= difference
      wallet.free -= difference
    }
    return { id: record.id, total: known.reduce((sum, { charge }) => sum + charge, 0n) }
  }

  return {
    purseRows,
    leases,
    rows,
    addAccount(account, balance) {
      accounts.set(account.id, account)
      purseRows.set(account.id, { id: account.id, accountId: account.id, free: balance, posted: balance })
    },
    addKey: (row) => void keys.set(row.id, row),
    changeKey(id, change) {
      const row = keys.get(id)
      if (row) keys.set(id, { ...row, ...change, version: row.version + 1 })
    },
    recharge(accountId, amount) {
      const purse = purseRows.get(accountId)
      if (!purse) throw new Error('no such account')
      purse.free += amount
      purse.posted += amount
    },
    async findKey(hash) {
      const row = [...keys.values()].find((key) => key.hash === hash)
      return row && { chain: chainOf(row), account: accounts.get(row.accountId ?? 0) }
    },
    async purses(accountId) {
      return [...purseRows.values()]
        .filter((purse) => purse.accountId === accountId)
        .map(({ id, posted }) => ({ id, kind: 'wallet', asset: 'USD', models: [], expiresAtMs: undefined, posted }))
    },
    async spent(keyId, _, sinceMs) {
      let sum = 0n
      for (const list of rows.values()) {
        for (const { charge, record } of list) {
          const row = keys.get(record.keyId)
          if (row && record.endedAtMs >= sinceMs && isBelow(row, keyId)) sum += charge
        }
      }
      return sum
    },
    async openEpoch(spender) {
      const epoch = (epochs.get(spender) ?? 0) + 1
      epochs.set(spender, epoch)
      for (const lease of leases) if (lease.spender === spender && lease.state === 'open') lease.state = 'frozen'
      return epoch
    },
    async closeLeases(spender) {
      for (const lease of leases) {
        if (lease.spender !== spender || lease.state !== 'frozen') continue
        const rest = lease.amount - lease.consumed
        const purse = purseRows.get(lease.purse)
        if (purse) purse.free += rest
        lease.amount = lease.consumed
        lease.state = 'closed'
      }
    },
    async lend({ purse, spender, epoch, want }) {
      const of = purseRows.get(purse)
      if (!of) throw new Error('no such purse')
      if (epochs.get(spender) !== epoch) throw new Error('stale epoch')
      let lease = leases.find((one) => one.purse === purse && one.spender === spender && one.epoch === epoch)
      if (!lease) {
        lease = { id: leases.length + 1, purse, spender, epoch, amount: 0n, consumed: 0n, state: 'open', frozenAtMs: 0 }
        leases.push(lease)
      }
      const half = of.free / 2n
      const aim = leaseTarget === undefined ? of.free : leaseTarget < half ? leaseTarget : half
      const wanted = want > aim ? want : aim
      const grant = wanted < of.free ? wanted : of.free
      if (grant > 0n) {
        of.free -= grant
        lease.amount += grant
      }
      return { id: lease.id, lent: lease.amount }
    },
    async flush(records) {
      return records.map(store)
    },
    async balance(accountId) {
      const purse = purseRows.get(accountId)
      return purse && { posted: purse.posted }
    },
    receipt: () => Promise.resolve(undefined),
    violations(overflow) {
      const wrong: string[] = []
      for (const purse of purseRows.values()) {
        const lent = leases
          .filter((lease) => lease.purse === purse.id)
          .reduce((sum, lease) => sum + lease.amount - lease.consumed, 0n)
        if (purse.posted !== purse.free + lent)
          wrong.push(`I3: purse ${purse.id} posted ${purse.posted}, free ${purse.free}, lent ${lent}`)
      }
      for (const lease of leases)
        if (lease.consumed - lease.amount > overflow(purseRows.get(lease.purse)?.accountId ?? 0))
          wrong.push(`I6: lease ${lease.id} consumed ${lease.consumed} of ${lease.amount}`)
      for (const [id, list] of rows) {
        if (!list.some(({ seq }) => seq === 0)) wrong.push(`I8: ${id} has no base row`)
        if (list.reduce((sum, { charge }) => sum + charge, 0n) < 0n) wrong.push(`I9: ${id} is charged below zero`)
      }
      return wrong
    },
  }
}
