import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Part, UsageRecord } from '../../src/core/call.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import { listCalls } from '../../src/db/calls.ts'
import type { Database } from '../../src/db/database.ts'
import { figures } from '../../src/db/figures.ts'
import { migrate } from '../../src/db/migrate.ts'
import { recompute } from '../../src/db/recompute.ts'
import { apiKey } from '../../src/db/schema.ts'
import { usageSums, type UsageOf } from '../../src/db/usage.ts'
import { vendorDays } from '../../src/db/vendor-costs.ts'
import { charge } from '../../src/core/price.ts'
import { priceSet } from '../../src/core/price-set.ts'
import { rateFor } from '../../src/core/rates.ts'
import { refund } from '../../src/ledger/refund.ts'
import { attempt, newId, noon, record } from './records.ts'

const hourMs = 3_600_000
let names = 0
const newName = (kind: string) => `usage-test-${kind}-${++names}`

/** What is read from the books, on every database that the ledger runs on. */
export function usageContract(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    let books: DurableBooks
    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      books = openBooks(database, { now: () => noon })
    }, 120_000)
    afterAll(() => database?.close())

    async function newKey(accountId: number, parentId?: number) {
      const publicId = newName('key')
      const below = parentId === undefined ? {} : ({ kind: 'sub', parentId, depth: 1 } as const)
      const [row] = await database.drizzle
        .insert(apiKey)
        .values({ publicId, kind: 'master', hash: newName('hash'), accountId, ...below })
        .returning({ id: apiKey.id })
      return { id: row?.id ?? 0, publicId }
    }
    async function newAccount(currency = 'USD') {
      const { id: accountId } = await books.createAccount({ name: newName('account'), currency })
      const [wallet] = await books.purses(accountId)
      const pay = (amount: bigint): readonly Part[] => [{ purse: wallet?.id ?? 0, lease: 0, amount }]
      return { accountId, pay, key: await newKey(accountId) }
    }
    const range = { fromMs: noon - 40 * 24 * hourMs, toMs: noon + 24 * hourMs, timeZone: 'UTC', limit: 100 } as const
    const sums = (over: Partial<UsageOf>) => usageSums(database, { ...range, groups: [], ...over })

    describe('sums of usage', () => {
      test('come from the hours and from what the rollup has not added yet', async () => {
        const { accountId, pay, key } = await newAccount()
        const call = (amount: bigint) => record({ accountId, keyId: key.id, parts: pay(amount) })
        await books.flush([call(5n)])
        await books.rollup()
        await books.flush([{ ...call(7n), attempts: [attempt({ cost: 4n, costCurrency: 'USD' })] }])
        expect(await sums({ accountId })).toEqual([
          { values: [], currency: 'USD', calls: 2n, input: 200n, output: 40n, charge: 12n, cost: 4n },
        ])
      })

      test('are kept apart by every group, in order, and by currency', async () => {
        const { accountId, pay, key } = await newAccount()
        const sub = await newKey(accountId, key.id)
        const call = (keyId: number, model: string, cost: readonly [bigint, string]) =>
          record({
            accountId,
            keyId,
            model,
            parts: pay(10n),
            attempts: [
              attempt({
                cost: cost[0],
                costCurrency: cost[1],
              }),
            ],
          })
        await books.flush([
          call(key.id, 'b', [3n, 'USD']),
          call(sub.id, 'a', [4n, 'CNY']),
          call(key.id, 'b', [2n, 'USD']),
        ])
        const rows = await sums({ accountId, groups: ['model', 'key', 'vendor', 'account', 'day'] })
        const [place, day] = [String(accountId), '2026-03-02']
        expect(
          rows.map(({ values, currency, calls, charge: sum, cost }) => [...values, currency, calls, sum, cost]),
        ).toEqual([
          ['a', sub.publicId, 'openai', place, day, 'CNY', 0n, 0n, 4n],
          ['a', sub.publicId, 'openai', place, day, 'USD', 1n, 10n, 0n],
          ['b', key.publicId, 'openai', place, day, 'USD', 2n, 20n, 5n],
        ])
      })

      test('of a stretch have the hours that begin in it', async () => {
        const { accountId, pay, key } = await newAccount()
        const at = (endedAtMs: number, amount: bigint) =>
          record({ accountId, keyId: key.id, parts: pay(amount), endedAtMs })
        await books.flush([at(noon - 1, 1n), at(noon, 10n), at(noon + hourMs - 1, 100n), at(noon + hourMs, 1_000n)])
        const [row] = await sums({ accountId, fromMs: noon, toMs: noon + hourMs })
        expect(row?.charge).toBe(110n)
      })

      test('by day follow the time zone', async () => {
        const { accountId, pay, key } = await newAccount()
        // 23:00 in Berlin and an hour later, before and after the clocks go forward.
        const moments = [Date.UTC(2026, 1, 20, 22), Date.UTC(2026, 1, 20, 23)]
        await books.flush(moments.map((endedAtMs) => record({ accountId, keyId: key.id, parts: pay(1n), endedAtMs })))
        const days = async (timeZone: string) =>
          (await sums({ accountId, groups: ['day'], timeZone })).map(({ values, calls }) => [...values, calls])
        expect(await days('Europe/Berlin')).toEqual([
          ['2026-02-20', 1n],
          ['2026-02-21', 1n],
        ])
        expect(await days('UTC')).toEqual([['2026-02-20', 2n]])
      })

      test('in a zone that the database has not are refused', async () => {
        await expect(sums({ groups: ['day'], timeZone: 'Mars/Olympus' })).rejects.toMatchObject({ param: 'time_zone' })
      })

      test('of a key have what the keys below it used, and not what those above did', async () => {
        const { accountId, pay, key } = await newAccount()
        const sub = await newKey(accountId, key.id)
        await books.flush([
          record({ accountId, keyId: key.id, parts: pay(1n) }),
          record({ accountId, keyId: sub.id, parts: pay(10n) }),
        ])
        const charged = async (over: Partial<UsageOf>) => (await sums(over)).map((row) => row.charge)
        expect(await charged({ below: key.id })).toEqual([11n])
        expect(await charged({ below: sub.id })).toEqual([10n])
        expect(await charged({ key: key.publicId })).toEqual([1n])
        expect(await charged({ below: sub.id, key: key.publicId })).toEqual([])
      })

      test('come page by page, each row once', async () => {
        const { accountId, pay, key } = await newAccount()
        const models = ['a', 'B', 'c', 'Ä', '模']
        await books.flush(models.map((model) => record({ accountId, keyId: key.id, model, parts: pay(1n) })))
        const found: string[] = []
        for (let after: readonly string[] | undefined; ;) {
          const [row] = await sums({ accountId, groups: ['account', 'model'], limit: 1, after })
          if (!row) break
          found.push(row.values[1] ?? '')
          after = [...row.values, row.currency]
        }
        expect(found).toEqual(['B', 'a', 'c', 'Ä', '模'])
      })
    })

    describe('the list of calls', () => {
      const calls = (over: object) =>
        listCalls(database, { fromMs: range.fromMs, toMs: range.toMs, limit: 10, ...over })

      test('shows one row for each call, with what all its rows say', async () => {
        const { accountId, pay, key } = await newAccount()
        const call = record({
          accountId,
          keyId: key.id,
          parts: pay(50n),
          attempts: [
            attempt({
              cost: 3n,
              costCurrency: 'CNY',
            }),
            attempt({
              cost: 4n,
              costCurrency: 'CNY',
            }),
          ],
        })
        await books.flush([call])
        await refund(database, { id: call.id, amount: 20n, reason: 'because', ref: newName('ref') }, noon)
        expect(await calls({ accountId })).toEqual([
          {
            id: call.id,
            accountId,
            key: key.publicId,
            outcome: 'complete',
            model: 'gpt-4o',
            vendor: 'openai',
            vendorModel: 'gpt-4o-2024-11-20',
            source: 'vendor',
            input: 100n,
            output: 20n,
            priced: 50n,
            charge: 30n,
            refunded: 20n,
            currency: 'USD',
            costs: { CNY: '7' },
            stream: true,
            error: undefined,
            startedAt: new Date(noon),
            endedAt: new Date(noon + 1e3),
            firstByteMs: undefined,
          },
        ])
      })

      test('is newest first, in pages, of a stretch, of an account or a key', async () => {
        const { accountId, pay, key } = await newAccount()
        const sub = await newKey(accountId, key.id)
        const at = (startedAtMs: number, keyId: number) =>
          record({ accountId, keyId, parts: pay(1n), startedAtMs, id: newId(startedAtMs) })
        const made = [noon - 30 * hourMs, noon - 1, noon, noon + 1].map((ms, index) =>
          at(ms, index % 2 ? sub.id : key.id),
        )
        await books.flush(made)
        const [oldest, before, then, after] = made.map(({ id }) => id)
        const ids = async (over: object) => (await calls({ accountId, ...over })).map(({ id }) => id)
        expect(await ids({})).toEqual([after, then, before, oldest])
        expect(await ids({ limit: 2 })).toEqual([after, then])
        expect(await ids({ limit: 2, before: then })).toEqual([before, oldest])
        expect(await ids({ fromMs: noon, toMs: noon + 1 })).toEqual([then])
        expect(await ids({ accountId: undefined, key: sub.publicId })).toEqual([after, before])
        expect(await ids({ key: 'no-such-key' })).toEqual([])
      })
    })

    describe('charges reckoned again', () => {
      const all = { sharePpm: 1_000_000, seed: 1 }
      const prices = priceSet({
        currency: 'USD',
        nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
        rates: [
          { when: { fromTokens: 200_001 }, nanos: { input: 3_000_000_000n } },
          { when: { service: 'flex' }, nanos: {}, tokensPpm: 500_000 },
          { when: { region: 'eu' }, nanos: { input: 9_000_000_000n } },
          { when: { speed: 'fast' }, nanos: {}, tokensPpm: 6_000_000 },
        ],
        discountPpm: 900_000,
      })
      function priced(
        owner: { accountId: number; key: { id: number } },
        input: number,
        over: Partial<UsageRecord> = {},
      ) {
        const counts = { input, output: 7 }
        const facts = { promptTokens: input, startedAtMs: noon, serviceTier: over.serviceTier }
        const rate = rateFor(prices, facts)
        const call = record({
          accountId: owner.accountId,
          keyId: owner.key.id,
          prices,
          usage: { counts, source: 'vendor' },
        })
        return {
          ...call,
          priced: charge(counts, rate),
          ...(rate.lengthTier !== undefined && { lengthTier: rate.lengthTier }),
          ...over,
        }
      }

      test('come out the same, whatever the rate, and also where a settle came late', async () => {
        const owner = await newAccount()
        const reap = priced(owner, 11, { kind: 'reap', outcome: 'reaped' })
        const facts = { promptTokens: 5, startedAtMs: noon }
        const [eu, fast] = [rateFor(prices, { ...facts, region: 'eu' }), rateFor(prices, { ...facts, speed: 'fast' })]
        const searched = { counts: { input: 200_001, output: 7, search: 3 }, anomalies: ['unpriced_search'] }
        const calls = [
          priced(owner, 200_000),
          priced(owner, 200_001),
          priced(owner, 5, { serviceTier: 'flex' }),
          reap,
          priced(owner, 5, { priced: charge({ input: 5, output: 7 }, eu) }),
          priced(owner, 5, { priced: charge({ input: 5, output: 7 }, fast) }),
          // What has no price is on record and is no part of the charge.
          priced(owner, 200_001, { usage: { ...searched, source: 'vendor' } }),
        ]
        await books.flush(calls)
        await books.flush([{ ...priced(owner, 13), id: reap.id }])
        const { faults, looked } = await recompute(database, all)
        const mine = calls.map(({ id }) => id)
        expect([looked >= calls.length, faults.filter(({ id }) => mine.includes(id))]).toEqual([true, []])
      })

      test('with a count that has no price, of which nothing is said, are told', async () => {
        const owner = await newAccount()
        const call = priced(owner, 5, { usage: { counts: { input: 5, output: 7, search: 3 }, source: 'vendor' } })
        await books.flush([call])
        const { faults } = await recompute(database, all)
        expect(faults.filter(({ id }) => id === call.id)).toEqual([
          { id: call.id, why: `priced ${call.priced}, and its counts cost nothing that can be reckoned` },
        ])
      })

      test('that differ by a nano are told', async () => {
        const owner = await newAccount()
        const right = priced(owner, 17)
        const wrong = priced(owner, 17, { priced: right.priced + 1n })
        const above = priced(owner, 17, { parts: owner.pay(right.priced + 1n), charge: right.priced + 1n })
        await books.flush([right, wrong, above])
        const { faults } = await recompute(database, all)
        const mine = faults.filter(({ id }) => [right.id, wrong.id, above.id].includes(id))
        expect(mine).toEqual([
          { id: wrong.id, why: `priced ${right.priced + 1n}, and its counts cost ${right.priced}` },
          { id: above.id, why: `charged ${right.priced + 1n}, which is more than its counts cost, ${right.priced}` },
        ])
      })

      test('of a share are about that many, and others for another seed', async () => {
        const owner = await newAccount()
        await books.flush(Array.from({ length: 1_000 }, () => priced(owner, 1)))
        const [one, again] = [
          await recompute(database, { sharePpm: 100_000, seed: 1 }),
          await recompute(database, { sharePpm: 100_000, seed: 2 }),
        ]
        expect([one.looked > 30, one.looked < 300, again.looked > 30, again.looked < 300]).toEqual([
          true,
          true,
          true,
          true,
        ])
      })
    })

    test('vendors are shown with what they reported beside what we reckoned, a row for each day', async () => {
      const { accountId, key } = await newAccount()
      const vendor = newName('vendor')
      const call = (day: number, cost: bigint, reportedCost: bigint | undefined) =>
        record({
          accountId,
          keyId: key.id,
          id: newId(noon + day * 24 * hourMs),
          attempts: [
            attempt({
              vendor,
              cost,
              costCurrency: 'USD',
              ...(reportedCost !== undefined && { reportedCost }),
            }),
          ],
        })
      await books.flush([call(-1, 5n, 5n), call(0, 7n, 8n), call(0, 9n, 9n), call(0, 1_000n, undefined)])
      const rows = async (fromMs: number) => (await vendorDays(database, fromMs)).filter((row) => row.vendor === vendor)
      const today = { vendor, day: '2026-03-02', currency: 'USD', tries: 2n, computed: 16n, reported: 17n }
      expect(await rows(noon - 24 * hourMs)).toEqual([
        { vendor, day: '2026-03-01', currency: 'USD', tries: 1n, computed: 5n, reported: 5n },
        today,
      ])
      expect(await rows(noon)).toEqual([today])
    })

    test('figures tell what purses have, what is lent and what is overdrawn', async () => {
      const [rich, poor] = [await newAccount('CHF'), await newAccount('CHF')]
      await books.recharge({ accountId: rich.accountId, amount: 100n, ref: newName('payment') })
      const spender = newName('spender')
      const [purse] = await books.purses(rich.accountId)
      const epoch = await books.openEpoch(spender)
      const { id: lease } = await books.lend({ purse: purse?.id ?? 0, spender, epoch, want: 0n })
      const prices = priceSet({ currency: 'CHF', nanos: {}, discountPpm: 1_000_000 })
      await books.flush([
        record({
          accountId: rich.accountId,
          keyId: rich.key.id,
          prices,
          parts: [{ purse: purse?.id ?? 0, lease, amount: 30n }],
        }),
        record({ accountId: poor.accountId, keyId: poor.key.id, prices, parts: poor.pay(5n) }),
      ])
      const mine = (await figures(database)).filter(({ asset }) => asset === 'CHF')
      expect(mine).toEqual([{ asset: 'CHF', purses: 2n, posted: 65n, leased: 70n, overdrawn: 1n, below: 5n }])
    })
  })
}
