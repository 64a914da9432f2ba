import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StaleEpoch } from '../../src/core/stale-epoch.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { newPayer, spend } from './contract.ts'
import { leasesContract } from './leases-contract.ts'
import { postgresPrograms, startPostgres, type RealPostgres } from './real-postgres.ts'
import { noon } from './records.ts'

const replicaCount = 6
const rounds = 60
const start = 1_000_000n
const spenders = ['cell:0', 'cell:1', 'replica:0', 'replica:1']

interface Loan {
  readonly account: number
  readonly lease: number
}

/** A replica that does everything there is to do in an order of its own, and remembers what it charged. */
class Worker {
  readonly charged: bigint[]
  readonly #books: DurableBooks
  readonly #owners: readonly Awaited<ReturnType<typeof newPayer>>[]
  readonly #name: string
  readonly #loans: Loan[] = []
  readonly #epochs = new Map<string, number>()
  #state: number

  constructor(database: Database, owners: Worker['owners'], seed: number) {
    this.#books = openBooks(database)
    this.#owners = owners
    this.#name = `${seed}`
    this.#state = seed + 1
    this.charged = owners.map(() => 0n)
  }

  get owners() {
    return this.#owners
  }

  #pick(below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 2 ** 32) * below)
  }

  async run(): Promise<void> {
    const steps = [
      () => this.#lend(),
      () => this.#lend(),
      () => this.#flush(),
      () => this.#flush(),
      () => this.#flush(),
      () => this.#books.rollup(),
      () => this.#books.closeFrozen(),
      () => this.#open(spenders[this.#pick(spenders.length)] ?? ''),
      () => this.#beat(),
    ]
    for (let round = 0; round < rounds; round++) await steps[this.#pick(steps.length)]?.()
  }

  async #open(spender: string): Promise<void> {
    this.#epochs.set(spender, await this.#books.openEpoch(spender))
  }

  async #lend(): Promise<void> {
    const spender = spenders[this.#pick(spenders.length)] ?? ''
    const account = this.#pick(this.#owners.length)
    const purse = this.#owners[account]?.purse ?? 0
    try {
      if (!this.#epochs.has(spender)) await this.#open(spender)
      const request = { purse, spender, epoch: this.#epochs.get(spender) ?? 0, want: 10n, target: 5_000n }
      this.#loans.push({ account, lease: (await this.#books.lend(request)).id })
    } catch (error) {
      if (!(error instanceof StaleEpoch)) throw error
      this.#epochs.delete(spender)
    }
  }

  async #flush(): Promise<void> {
    const records = Array.from({ length: 20 }, () => {
      const loan = this.#loans[this.#pick(this.#loans.length)]
      const owner = this.#owners[loan?.account ?? 0]
      if (!loan || !owner) return undefined
      const amount = BigInt(this.#pick(50))
      this.charged[loan.account] = (this.charged[loan.account] ?? 0n) + amount
      return spend({ ...owner, lease: loan.lease }, amount)
    })
    await this.#books.flush(records.filter((one) => one !== undefined))
  }

  async #beat(): Promise<void> {
    const outstanding = new Map(this.#loans.slice(-5).map(({ lease }) => [lease, BigInt(this.#pick(100))]))
    const asOfMs = await this.#books.beat({ replica: this.#name, outstanding })
    await this.#books.beat({ replica: this.#name, outstanding, asOfMs })
  }
}

describe.skipIf(!postgresPrograms)('replicas on PostgreSQL', () => {
  let server: RealPostgres
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
  }, 120_000)
  afterAll(() => server?.stop())

  leasesContract('leases on PostgreSQL', async () => openPostgres(await server.create()))

  test('that lend, flush, freeze, give back and roll up at once never lock each other out, and every sum is right', async () => {
    const url = await server.create()
    const databases = Array.from({ length: replicaCount }, () => openPostgres(url))
    const [first] = databases
    if (!first) throw new Error('unreachable')
    await migrate(first, noon)
    const books = openBooks(first)
    const owners = await Promise.all(Array.from({ length: 8 }, () => newPayer(first, books, start)))
    const workers = databases.map((database, seed) => new Worker(database, owners, seed))
    await Promise.all(workers.map((worker) => worker.run()))
    // What is still lent comes back.
    await Promise.all([...spenders, ...owners.map(({ spender }) => spender)].map((spender) => books.openEpoch(spender)))
    await first.query("UPDATE replica SET last_seen = now() - interval '2 hours'")
    await first.query(
      "INSERT INTO replica (id, last_seen, vouched_at) VALUES ('last', now(), now() + interval '1 second')",
    )
    await books.closeFrozen()
    await books.rollup()
    const left = owners.map((_, account) => workers.reduce((sum, { charged }) => sum - (charged[account] ?? 0n), start))
    const balances = await Promise.all(owners.map(({ accountId }) => books.balance(accountId)))
    expect(balances.map((one) => [one?.posted, one?.free, one?.leased])).toEqual(left.map((sum) => [sum, sum, 0n]))
    expect(await books.check({ all: true })).toEqual([])
    const open = "SELECT count(*) FILTER (WHERE state <> 'closed') AS open, count(*) > 20 AS many FROM lease"
    expect(await first.query(open)).toEqual([{ open: 0n, many: true }])
    // Sessions tell their counts at the latest when they end.
    await Promise.all(databases.slice(1).map((database) => database.close()))
    const others =
      'SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'
    const alone = openPostgres(url)
    await first.close()
    while ((await alone.query<{ n: bigint }>(others))[0]?.n !== 0n) await wait(50)
    const deadlocks = 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()'
    expect(await alone.query(deadlocks)).toEqual([{ deadlocks: 0n }])
    await alone.close()
  })
})
