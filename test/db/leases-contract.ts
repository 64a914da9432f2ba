import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { StaleEpoch } from '../../src/core/stale-epoch.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { newPayer, spend } from './contract.ts'
import { noon } from './records.ts'

let names = 0
const newName = (kind: string) => `${kind}-of-leases-${++names}`

/** How money that was lent comes back while several replicas share it, on every database that the ledger runs on. */
export function leasesContract(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    let books: DurableBooks
    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      books = openBooks(database, { now: () => noon })
    }, 120_000)
    afterAll(() => database?.close())
    beforeEach(() => database.query('DELETE FROM replica'))

    const beat = (replica: string, owed: readonly (readonly [number, bigint])[] = [], asOfMs?: number) =>
      books.beat({ replica, outstanding: new Map(owed), ...(asOfMs !== undefined && { asOfMs }) })
    /** Beats twice: with the time of the first, so that every lease that is frozen now is vouched for. */
    async function vouch(replica: string, owed: readonly (readonly [number, bigint])[] = []) {
      // A clock that counts milliseconds must have moved on since the freeze.
      await database.query('SELECT pg_sleep(0.003)')
      return beat(replica, owed, await beat(replica, owed))
    }
    const notSeenFor = (replica: string, seconds: number) =>
      database.query("UPDATE replica SET last_seen = now() - $2::int * interval '1 second' WHERE id = $1::text", [
        replica,
        seconds,
      ])
    const frozenFor = (lease: number, seconds: number) =>
      database.query("UPDATE lease SET frozen_at = now() - $2::int * interval '1 second' WHERE id = $1::bigint", [
        lease,
        seconds,
      ])
    async function leaseOf(id: number) {
      const sql = 'SELECT state, amount, consumed FROM lease WHERE id = $1::bigint'
      const [row] = await database.query<{ state: string; amount: bigint; consumed: bigint }>(sql, [id])
      return row && [row.state, row.amount, row.consumed]
    }
    async function frozen(amount: bigint, spent = 0n) {
      const owner = await newPayer(database, books, amount)
      if (spent > 0n) await books.flush([spend(owner, spent)])
      await books.openEpoch(owner.spender)
      return owner
    }
    const replicas = () => database.query('SELECT id FROM replica ORDER BY id')

    describe('frozen leases', () => {
      test('go back at once where no replica lives', async () => {
        const { accountId, lease } = await frozen(100n, 30n)
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ posted: 70n, free: 70n, leased: 0n })
        expect(await leaseOf(lease)).toEqual(['closed', 30n, 0n])
      })

      test('wait for every living replica to have looked after the freeze', async () => {
        const early = await beat('a')
        await beat('b')
        const { accountId } = await frozen(100n)
        await vouch('b')
        await beat('a', [], early)
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ free: 0n, leased: 100n })
        await vouch('a')
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ free: 100n, leased: 0n })
      })

      test('wait for a replica that has only opened an epoch', async () => {
        const { accountId } = await frozen(100n)
        await books.openEpoch('replica:new')
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ leased: 100n })
      })

      test.each([
        [44, 100n],
        [45, 0n],
      ])('that nobody vouches for after %i s are lent with %s', async (seconds, leased) => {
        const { accountId, lease } = await frozen(100n)
        await beat('a')
        await frozenFor(lease, seconds)
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ leased })
      })

      test('keep what replicas may still charge to them, until nothing is', async () => {
        const owner = await frozen(100n, 20n)
        const call = spend(owner, 25n)
        await vouch('a', [[owner.lease, 25n]])
        await vouch('b', [
          [owner.lease, 5n],
          [owner.lease + 1_000, 7n],
        ])
        await books.closeFrozen()
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 80n, free: 50n, leased: 30n })
        expect(await leaseOf(owner.lease)).toEqual(['frozen', 50n, 0n])
        await books.flush([call])
        // Its record is in the books and still counted as outstanding: it is not taken for both.
        await books.closeFrozen()
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 55n, free: 50n, leased: 5n })
        await vouch('a')
        await vouch('b')
        await books.closeFrozen()
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 55n, free: 55n, leased: 0n })
        expect(await leaseOf(owner.lease)).toEqual(['closed', 45n, 0n])
      })

      test.each([
        ['119 s', 119, 70n],
        ['121 s', 121, 100n],
      ])('of which a replica said %s ago that something is outstanding have free', async (_what, seconds, free) => {
        const { accountId, lease } = await frozen(100n)
        await vouch('alive')
        await vouch('quiet', [[lease, 30n]])
        await notSeenFor('quiet', seconds)
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ free })
      })

      test('that go back twice go back once', async () => {
        const { accountId, lease } = await frozen(100n, 40n)
        await vouch('a', [[lease, 10n]])
        await Promise.all([books.closeFrozen(), books.closeFrozen(), books.closeFrozen()])
        await books.closeFrozen()
        expect(await books.balance(accountId)).toMatchObject({ posted: 60n, free: 50n, leased: 10n })
      })

      test('of more than one step all go back', async () => {
        const owner = await newPayer(database, books, 1n)
        const spender = newName('spender')
        await database.query(
          `INSERT INTO lease (ledger_account_id, spender, epoch, state, frozen_at)
           SELECT $1::bigint, $2::text, -n, 'frozen', now() FROM generate_series(1, 2500) AS n`,
          [owner.purse, spender],
        )
        await books.closeFrozen()
        const left = "SELECT count(*) AS n FROM lease WHERE spender = $1::text AND state <> 'closed'"
        expect(await database.query(left, [spender])).toEqual([{ n: 0n }])
      })

      test('that are overdrawn leave the difference to the purse', async () => {
        const owner = await frozen(100n, 130n)
        await books.closeFrozen()
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -30n, free: -30n, leased: 0n })
        expect(await books.check()).toEqual([])
      })

      test('of an open epoch stay', async () => {
        const owner = await newPayer(database, books, 100n)
        await books.closeFrozen()
        expect(await leaseOf(owner.lease)).toEqual(['open', 100n, 0n])
      })
    })

    describe('a record that comes late', () => {
      test('on a closed lease is no violation, and the rollup takes it from what is free', async () => {
        const owner = await frozen(100n, 20n)
        await books.closeFrozen()
        await books.flush([spend(owner, 90n)])
        expect(await books.check()).toEqual([])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -10n, free: 80n, leased: -90n })
        await books.rollup()
        expect(await books.check()).toEqual([])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -10n, free: -10n, leased: 0n })
        expect(await leaseOf(owner.lease)).toEqual(['closed', 110n, 110n])
      })

      test('on a frozen lease of which too little was kept is taken from what is free', async () => {
        const owner = await frozen(100n)
        await vouch('a', [[owner.lease, 10n]])
        await books.closeFrozen()
        await books.flush([spend(owner, 30n)])
        expect(await books.check()).toEqual([])
        await books.rollup()
        expect(await books.check()).toEqual([])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 70n, free: 70n, leased: 0n })
      })

      test('beside others of the same lease is covered once, in whatever steps the rollup takes them', async () => {
        const owner = await frozen(100n, 20n)
        await books.closeFrozen()
        for (const amount of [5n, 50n, 45n]) await books.flush([spend(owner, amount)])
        for (let step = 0; step < 4; step++) await database.query('SELECT lease_rollup(1)')
        await books.rollup()
        expect(await books.check()).toEqual([])
        expect(await leaseOf(owner.lease)).toEqual(['closed', 120n, 120n])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -20n, free: -20n, leased: 0n })
      })
    })

    describe('a replica', () => {
      async function ownMoney(replica: string) {
        const owner = await newPayer(database, books, 100n)
        await books.openEpoch(owner.spender)
        await books.closeLeases(owner.spender)
        const spender = `replica:${replica}`
        const epoch = await books.openEpoch(spender)
        const request = { purse: owner.purse, spender, epoch, want: 60n, target: 0n }
        const { id: lease } = await books.lend(request)
        return { ...owner, spender, epoch, lease, request }
      }

      test('that is dead gives back what it lent to itself, and its epoch ends', async () => {
        const owner = await ownMoney('dead')
        await vouch('dead', [[owner.lease, 60n]])
        await vouch('alive')
        await notSeenFor('dead', 121)
        await books.closeFrozen()
        // Frozen a moment ago: who lives has not looked since.
        expect(await leaseOf(owner.lease)).toEqual(['frozen', 60n, 0n])
        await vouch('alive')
        await books.closeFrozen()
        expect(await books.balance(owner.accountId)).toMatchObject({ free: 100n, leased: 0n })
        await expect(books.lend(owner.request)).rejects.toEqual(new StaleEpoch(owner.spender))
      })

      test('that never beat is missed too', async () => {
        const owner = await ownMoney('mute')
        await vouch('alive')
        await notSeenFor('mute', 121)
        await books.closeFrozen()
        expect(await leaseOf(owner.lease)).toEqual(['frozen', 60n, 0n])
      })

      test('that was seen 119 s ago keeps what it lent to itself', async () => {
        const owner = await ownMoney('slow')
        await vouch('alive')
        await notSeenFor('slow', 119)
        await books.closeFrozen()
        expect(await leaseOf(owner.lease)).toEqual(['open', 60n, 0n])
      })

      test('is not dead for the time in which the database was away from all', async () => {
        const owner = await ownMoney('a')
        await vouch('b')
        await notSeenFor('a', 615)
        await notSeenFor('b', 600)
        await books.closeFrozen()
        expect(await leaseOf(owner.lease)).toEqual(['open', 60n, 0n])
        const ages = 'SELECT id, round(extract(epoch FROM now() - last_seen))::int AS age FROM replica ORDER BY id'
        expect(await database.query(ages)).toEqual([
          { id: 'a', age: 15 },
          { id: 'b', age: 0 },
        ])
      })

      test.each([
        [3_599, [{ id: 'alive' }, { id: 'old' }]],
        [3_601, [{ id: 'alive' }]],
      ])('that was not seen for %i s is remembered or not', async (seconds, known) => {
        await beat('old')
        await beat('alive')
        await notSeenFor('old', seconds)
        await books.closeFrozen()
        expect(await replicas()).toEqual(known)
      })

      test('hears the time of the books', async () => {
        const [before] = await database.query<{ now: bigint }>(
          'SELECT floor(extract(epoch FROM now()) * 1000)::bigint AS now',
        )
        const told = await beat('a')
        const [after] = await database.query<{ now: bigint }>(
          'SELECT ceil(extract(epoch FROM now()) * 1000)::bigint AS now',
        )
        expect([BigInt(told) >= (before?.now ?? 0n), BigInt(told) <= (after?.now ?? 0n)]).toEqual([true, true])
      })

      test('tells only of leases, and only of amounts above nothing', async () => {
        await beat('a', [
          [0, 5n],
          [-1, 5n],
          [1.5, 5n],
          [7, 0n],
          [8, -3n],
          [9, 2n ** 80n],
          [10, 6n],
        ])
        expect(await database.query('SELECT outstanding FROM replica')).toEqual([
          { outstanding: { 9: '9000000000000000000', 10: '6' } },
        ])
      })

      test('tells of a hundred thousand leases at most, the largest', async () => {
        const owed = Array.from({ length: 100_001 }, (_, index) => [index + 1, BigInt(index + 1)] as const)
        await beat('a', owed)
        const sql = `SELECT count(*) AS n, min(o.value::numeric) AS least FROM replica r CROSS JOIN jsonb_each_text(r.outstanding) o`
        expect(await database.query(sql)).toEqual([{ n: 100_000n, least: 2n }])
      })

      test.each([
        ['no name', ''],
        ['a name that is no text', 'a\0b'],
        ['an endless name', 'x'.repeat(201)],
      ])('with %s is refused', async (_what, replica) => {
        await expect(beat(replica)).rejects.toThrow('the name of a replica has 1 to 200 characters')
      })
    })

    test('money is where it was or on its way back, whatever replicas do and in whatever order', async () => {
      const kinds = ['spend', 'spend', 'late', 'owe', 'lend', 'freeze', 'close', 'rollup', 'dead', 'wait'] as const
      const step = fc.tuple(fc.constantFrom(...kinds), fc.bigInt({ min: 1n, max: 300n }))
      const property = fc.asyncProperty(
        fc.array(step, { minLength: 25, maxLength: 40, size: 'max' }),
        async (steps) => {
          const owner = await newPayer(database, books, 1_000n)
          const { purse, spender } = owner
          const leases = [owner.lease]
          let [epoch, charged] = [owner.epoch, 0n]
          const charge = async (lease: number, amount: bigint) => {
            await books.flush([spend({ ...owner, lease }, amount)])
            charged += amount
          }
          const lend = async (target: bigint) => {
            const { id } = await books.lend({ purse, spender, epoch, want: 1n, target })
            if (!leases.includes(id)) leases.push(id)
          }
          const ripen = "UPDATE lease SET frozen_at = now() - interval '46 seconds' WHERE state = 'frozen'"
          const does: Record<(typeof kinds)[number], (amount: bigint) => Promise<unknown>> = {
            spend: (amount) => charge(leases.at(-1) ?? 0, amount),
            late: (amount) => charge(owner.lease, amount),
            owe: (amount) =>
              vouch(
                'a',
                leases.map((id) => [id, amount] as const),
              ),
            lend,
            freeze: async () => (epoch = await books.openEpoch(spender)),
            close: () => books.closeFrozen(),
            rollup: () => books.rollup(),
            dead: () => notSeenFor('a', 121),
            wait: () => database.query(ripen),
          }
          for (const [kind, amount] of steps) await does[kind](amount)
          // An open lease may be overdrawn until it is closed: more was spent here than was lent.
          expect((await books.check()).filter(({ rule }) => !rule.startsWith('I6'))).toEqual([])
          await books.openEpoch(spender)
          await books.rollup()
          await vouch('a')
          await books.closeFrozen()
          expect(await books.check()).toEqual([])
          const left = 1_000n - charged
          expect(await books.balance(owner.accountId)).toMatchObject({ posted: left, free: left, leased: 0n })
        },
      )
      await fc.assert(property, { numRuns: 8, endOnFailure: true })
    })
  })
}
