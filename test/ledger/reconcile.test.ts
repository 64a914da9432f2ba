import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { UsageRecord } from '../../src/core/call.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import type { AccountRecord } from '../../src/ledger/engine/records.ts'
import { openReconciler } from '../../src/ledger/reconcile.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { noon, record } from '../db/records.ts'

describe('the comparison of engine and books', () => {
  let database: Database
  let books: DurableBooks
  beforeAll(async () => {
    database = await openPglite()
    await migrate(database, noon)
    books = openBooks(database, { now: () => noon })
  })
  afterAll(() => database?.close())

  let names = 0
  /** An account with all of it lent, as the engine and the batcher of a gateway would have it. */
  async function lent(amount: bigint) {
    const name = `reconcile-${++names}`
    const { id: accountId } = await books.createAccount({ name, currency: 'USD' })
    await books.recharge({ accountId, amount, ref: name })
    const [purse] = await books.purses(accountId)
    const epoch = await books.openEpoch(name)
    const { id: lease, lent: most } = await books.lend({ purse: purse?.id ?? 0, spender: name, epoch, want: 0n })
    const own = { id: purse?.id ?? 0, lease, lent: most, available: most, held: 0n }
    const account: AccountRecord = { id: accountId, epoch, status: 'open', purses: [own] }
    const call = (charge: bigint) => record({ accountId, keyId: 1, parts: [{ purse: own.id, lease, amount: charge }] })
    return { accountId, own, account, call }
  }
  /** A run that sees one account only: the others have no engine. */
  function reconciler(read: () => AccountRecord, unflushed: () => readonly UsageRecord[] = () => []) {
    const events: (readonly [string, unknown])[] = []
    const { id } = read()
    const run = openReconciler({
      database,
      books,
      clock: systemClock,
      isStopping: () => false,
      shared: { account: (accountId) => Promise.resolve(accountId === id ? read() : undefined) },
      batcher: { unflushed: (accountId) => (accountId === id ? unflushed() : []) },
      log: (event, fields) => void events.push([event, fields]),
    })
    return { ...run, events }
  }
  const withPurse = ({ account, own }: Awaited<ReturnType<typeof lent>>, over: object): AccountRecord => ({
    ...account,
    purses: [{ ...own, ...over }],
  })

  test('finds nothing where both have the same, held or not, and says nothing', async () => {
    const one = await lent(100n)
    await books.flush([one.call(30n)])
    const { run, events, last } = reconciler(() => withPurse(one, { available: 50n, held: 20n }))
    expect(last()).toBeUndefined()
    expect(await run()).toMatchObject({ violations: [], drifts: [], busy: 0, over: 0n, under: 0n })
    expect(events).toEqual([])
  })

  test('counts what is settled and not in the books yet', async () => {
    const one = await lent(100n)
    const [booked, waiting] = [one.call(30n), one.call(5n)]
    await books.flush([booked])
    const { run } = reconciler(
      () => withPurse(one, { available: 65n }),
      () => [booked, waiting],
    )
    expect((await run()).drifts).toEqual([])
  })

  test.each([
    ['more', 71n, { over: 1n, under: 0n }],
    ['less', 69n, { over: 0n, under: 1n }],
  ])('finds an engine that has a nano %s than the books', async (_what, available, sides) => {
    const one = await lent(100n)
    await books.flush([one.call(30n)])
    const { run } = reconciler(() => withPurse(one, { available }))
    const amount = sides.over - sides.under
    expect(await run()).toMatchObject({
      drifts: [{ accountId: one.accountId, purse: one.own.id, asset: 'USD', amount }],
      ...sides,
    })
  })

  test('is told once, and once more when it is over', async () => {
    const one = await lent(100n)
    let available = 101n
    const { run, events } = reconciler(() => withPurse(one, { available }))
    await run()
    await run()
    available = 100n
    await run()
    await run()
    expect(events.map(([event]) => event)).toEqual(['books_drift', 'books_right'])
  })

  test('does not judge an account that is being charged all the time', async () => {
    const one = await lent(100n)
    let available = 1_000n
    const { run } = reconciler(() => withPurse(one, { available: available-- }))
    expect(await run()).toMatchObject({ drifts: [], busy: 1 })
  })

  test('passes over a purse on another lease', async () => {
    const one = await lent(100n)
    const { run } = reconciler(() => withPurse(one, { lease: one.own.lease + 1_000, available: 7n }))
    expect((await run()).drifts).toEqual([])
  })

  test('is kept for the command that runs beside the gateway', async () => {
    const one = await lent(100n)
    const { run } = reconciler(() => withPurse(one, { available: 103n }))
    await run()
    const [row] = await database.query<{ value: object }>("SELECT value FROM setting WHERE name = 'reconciliation'")
    expect(row?.value).toMatchObject({ violations: 0, drifts: 1, over: '3', under: '0' })
  })

  test('names the rules of the books that do not hold', async () => {
    const one = await lent(100n)
    const { run, events } = reconciler(() => one.account)
    await database.query('UPDATE ledger_account SET free = free + 1 WHERE id = $1::bigint', [one.own.id])
    await run()
    await database.query('UPDATE ledger_account SET free = free - 1 WHERE id = $1::bigint', [one.own.id])
    expect(events).toMatchObject([
      [
        'books_drift',
        { violations: 1, rules: ['I3 a purse is what is free and what is left of its leases'], drifts: 0 },
      ],
    ])
  })
})
