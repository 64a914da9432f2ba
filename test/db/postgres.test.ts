import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBooks } from '../../src/db/books.ts'
import { migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { dbContract, newPayer, sendInAnyOrder, spend } from './contract.ts'
import { grantsContract, grantsMigration } from './grants-contract.ts'
import { refundsContract } from './refunds-contract.ts'
import { usageContract } from './usage-contract.ts'
import { postgresPrograms, startPostgres, type RealPostgres } from './real-postgres.ts'
import { noon } from './records.ts'

describe.skipIf(!postgresPrograms)('PostgreSQL', () => {
  let server: RealPostgres
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
  }, 120_000)
  afterAll(() => server?.stop())

  dbContract('the ledger on PostgreSQL', async () => openPostgres(await server.create()))
  grantsContract('grants on PostgreSQL', async () => openPostgres(await server.create()))
  refundsContract('refunds on PostgreSQL', async () => openPostgres(await server.create()))
  usageContract('what is read from the books on PostgreSQL', async () => openPostgres(await server.create()))
  grantsMigration(async () => openPostgres(await server.create()))

  test('five gateways that start on an empty database at once all find it ready', async () => {
    const url = await server.create()
    const gateways = Array.from({ length: 5 }, () => openPostgres(url))
    const applied = await Promise.all(gateways.map((gateway) => migrate(gateway, noon)))
    await Promise.all(gateways.map((gateway) => gateway.close()))
    expect(applied.flat()).toEqual(migrations.map(({ name }) => name))
  })

  test('eight writers with overlapping batches charge every call exactly once, with the rollup under way', async () => {
    const url = await server.create()
    const databases = Array.from({ length: 8 }, () => openPostgres(url))
    const [first] = databases
    if (!first) throw new Error('unreachable')
    await migrate(first, noon)
    const writers = databases.map((database) => openBooks(database))
    const [books] = writers
    if (!books) throw new Error('unreachable')
    const owners = await Promise.all(Array.from({ length: 10 }, () => newPayer(first, books, 1_000_000n)))
    const calls = owners.flatMap((owner) =>
      Array.from({ length: 40 }, (_, index) => {
        const early = spend(owner, BigInt(index), index % 4 ? {} : { kind: 'reap', outcome: 'reaped' })
        return index % 4 ? [early] : [early, spend(owner, BigInt(index + 100), { id: early.id })]
      }),
    )
    let writing = true
    const rolling = (async () => {
      while (writing) await books.rollup()
    })()
    await Promise.all(writers.map((writer, seed) => sendInAnyOrder(writer, calls, { batches: [3, 17, 50], seed })))
    writing = false
    await rolling
    // 0 + 1 + … + 39, and 100 more for each of the ten calls whose settle came late.
    const left = 1_000_000n - 780n - 1000n
    const balances = await Promise.all(owners.map(({ accountId }) => books.balance(accountId)))
    expect(balances.map((one) => one?.posted)).toEqual(owners.map(() => left))
    expect(await books.check()).toEqual([])
    await books.rollup()
    expect(await books.check()).toEqual([])
    await Promise.all(databases.map((database) => database.close()))
  })

  test('two transactions that lock each other out both succeed in the end', async () => {
    const database = openPostgres(await server.create())
    await database.query('CREATE TABLE pair (id int PRIMARY KEY, n int NOT NULL)')
    await database.query('INSERT INTO pair VALUES (1, 0), (2, 0)')
    const locked: (() => void)[] = []
    const bothLocked = Promise.all([1, 2].map((n) => new Promise<void>((resolve) => (locked[n] = resolve))))
    const raise = (one: number, other: number) =>
      database.transaction(async (session) => {
        await session.query('UPDATE pair SET n = n + 1 WHERE id = $1::int', [one])
        locked[one]?.()
        await bothLocked
        await session.query('UPDATE pair SET n = n + 1 WHERE id = $1::int', [other])
      })
    await Promise.all([raise(1, 2), raise(2, 1)])
    expect(await database.query('SELECT n FROM pair ORDER BY id')).toEqual([{ n: 2 }, { n: 2 }])
    await database.close()
  })

  test('behind a pooler nothing is prepared and everything works', async () => {
    const database = openPostgres(await server.create(), { pooler: true })
    await migrate(database, noon)
    const books = openBooks(database)
    const owner = await newPayer(database, books, 100n)
    const call = spend(owner, 40n)
    expect(await books.flush([call])).toEqual([{ id: call.id, total: 40n }])
    expect(await books.balance(owner.accountId)).toMatchObject({ posted: 60n })
    await database.close()
  })

  test('a server that is away is an error, not a wait', async () => {
    const url = new URL(await server.create())
    url.port = '1'
    const database = openPostgres(url.href)
    await expect(database.query('SELECT 1 AS one')).rejects.toThrow('ECONNREFUSED')
    await database.close()
  })
})
