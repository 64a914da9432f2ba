import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Part, UsageRecord } from '../../src/core/call.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import type { NewGrant } from '../../src/db/grants.ts'
import { migrate } from '../../src/db/migrate.ts'
import { apiKey } from '../../src/db/schema.ts'
import { refund, type RefundRequest } from '../../src/ledger/refund.ts'
import { newId, noon, record } from './records.ts'

const dayMs = 86_400_000
const tokens = 1_000_000n

let names = 0
const newName = (kind: string) => `refund-test-${kind}-${++names}`

/** A purse with all of it lent, as parts draw on it. */
interface Lent {
  readonly purse: number
  part(amount: bigint): Part
}

interface Owner {
  readonly accountId: number
  readonly keyId: number
  readonly wallet: Lent
}

/** The facts of refunds and adjustments that hold on every database that the ledger runs on. */
export function refundsContract(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    let books: DurableBooks

    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      books = openBooks(database, { now: () => noon })
    }, 120_000)
    afterAll(() => database?.close())

    async function owner(amount: bigint): Promise<Owner> {
      const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
      const [key] = await database.drizzle
        .insert(apiKey)
        .values({ publicId: newName('key'), kind: 'master', hash: newName('hash'), accountId })
        .returning({ id: apiKey.id })
      await books.recharge({ accountId, amount, ref: newName('payment') })
      return { accountId, keyId: key?.id ?? 0, wallet: await lent(accountId, 'wallet') }
    }
    async function lent(accountId: number, kind: string): Promise<Lent> {
      const spender = newName('spender')
      const epoch = await books.openEpoch(spender)
      // The latest of its kind, wherever it stands in the order.
      const [found] = (await books.purses(accountId)).filter((one) => one.kind === kind).toSorted((a, b) => b.id - a.id)
      if (!found) throw new Error(`no ${kind}`)
      const { id: lease } = await books.lend({ purse: found.id, spender, epoch, want: 0n })
      const asset = found.asset === 'TOK' ? ({ asset: 'TOK' } as const) : {}
      return { purse: found.id, part: (amount) => ({ purse: found.id, lease, amount, ...asset }) }
    }
    async function granted({ accountId }: Owner, over: Partial<NewGrant> = {}) {
      const wanted = { accountId, kind: 'credit', amount: 100n, price: 0n, priority: 50, models: [] } as const
      const { id } = await books.grant({ ...wanted, source: 'test', ref: newName('grant'), ...over })
      return { id, ...(await lent(accountId, over.kind ?? 'credit')) }
    }
    async function charged({ accountId, keyId }: Owner, parts: readonly Part[], over: Partial<UsageRecord> = {}) {
      const charge = parts.reduce((sum, { amount, asset }) => (asset ? sum : sum + amount), 0n)
      const call = record({ accountId, keyId, parts, charge, priced: charge, ...over })
      await books.flush([call])
      return call
    }
    const give = (id: string, over: Partial<RefundRequest> = {}, nowMs = noon) =>
      refund(database, { id, reason: 'because', ref: newName('ref'), ...over }, nowMs)
    const postedOf = async (purse: number) =>
      (
        await database.query<{ posted: bigint }>(
          `SELECT posted + coalesce((SELECT sum(amount) FROM posting_delta WHERE ledger_account_id = l.id), 0) AS posted
           FROM ledger_account l WHERE l.id = $1::bigint`,
          [purse],
        )
      )[0]?.posted
    const hourly = async ({ accountId }: Owner) =>
      (
        await database.query(
          `SELECT sum(n)::bigint AS n, sum(input) AS input, sum(charge) AS charge
           FROM (SELECT * FROM usage_hourly UNION ALL SELECT * FROM usage_delta) u WHERE account_id = $1::bigint`,
          [accountId],
        )
      )[0]

    describe('a refund', () => {
      test('gives all of a charge back to the purse that paid, free at once', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        expect(await give(call.id)).toEqual({
          applied: true,
          accountId: payer.accountId,
          currency: 'USD',
          given: { money: 60n, tokens: 0n },
          charged: { money: 0n, tokens: 0n },
          grants: [],
        })
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n, free: 60n, leased: 40n })
        await books.rollup()
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n, free: 60n, leased: 40n })
      })

      test('corrects the sums by the hour and the receipt, and keeps the counts', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        await give(call.id, { amount: 25n })
        expect(await hourly(payer)).toEqual({ n: 1n, input: 100n, charge: 35n })
        expect(await books.spent(payer.keyId, 'total', 0)).toBe(35n)
        const receipt = await books.receipt({ accountId: payer.accountId, keyId: payer.keyId, id: call.id })
        expect([receipt?.charge, receipt?.counts, receipt?.outcome]).toEqual([
          35n,
          { input: 100, output: 20 },
          'complete',
        ])
      })

      test('gives no more than is left, to the last nano', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        await give(call.id, { amount: 20n })
        await expect(give(call.id, { amount: 41n })).rejects.toMatchObject({ code: 'conflict', param: 'amount' })
        expect((await give(call.id, { amount: 40n })).charged).toEqual({ money: 0n, tokens: 0n })
        await expect(give(call.id, { amount: 1n })).rejects.toMatchObject({ code: 'conflict' })
        await expect(give(call.id)).rejects.toThrow('Of this call 0 can be given back.')
      })

      test('is given once for each reference', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        const wanted = { ref: newName('ref'), amount: 20n }
        const first = await give(call.id, wanted)
        expect(await give(call.id, wanted)).toEqual({ ...first, applied: false })
        expect(await give(call.id, { ref: wanted.ref })).toEqual({ ...first, applied: false })
        await expect(give(call.id, { ...wanted, amount: 21n })).rejects.toMatchObject({
          code: 'conflict',
          param: 'reference',
        })
        const other = await charged(payer, [payer.wallet.part(20n)])
        await expect(give(other.id, wanted)).rejects.toMatchObject({ code: 'conflict', param: 'reference' })
      })

      test('is of a call that the books have', async () => {
        await expect(give(newId())).rejects.toMatchObject({ code: 'not_found', param: 'usage_id' })
      })

      test('of a call that was free is refused', async () => {
        const call = await charged(await owner(10n), [], { priced: 5n })
        await expect(give(call.id)).rejects.toMatchObject({ code: 'conflict' })
      })

      test('gives back in reverse order: what paid last is first', async () => {
        const payer = await owner(100n)
        const grant = await granted(payer)
        const call = await charged(payer, [grant.part(30n), payer.wallet.part(20n)])
        await give(call.id, { amount: 25n })
        expect([await postedOf(grant.purse), await postedOf(payer.wallet.purse)]).toEqual([75n, 100n])
        await give(call.id)
        expect([await postedOf(grant.purse), await postedOf(payer.wallet.purse)]).toEqual([100n, 100n])
      })

      test('of one purse that paid on two leases and without one is one line', async () => {
        const payer = await owner(100n)
        const again = await lent(payer.accountId, 'wallet')
        const parts = [payer.wallet.part(10n), again.part(0n), { purse: payer.wallet.purse, lease: 0, amount: 5n }]
        const call = await charged(payer, parts)
        await give(call.id)
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n, free: 10n, leased: 90n })
      })

      test('gives what a grant has paid that has ended to a new one for seven days', async () => {
        const payer = await owner(100n)
        const expiresAtMs = noon + dayMs
        const grant = await granted(payer, { expiresAtMs, models: ['ours/*'], priority: 7 })
        const call = await charged(payer, [grant.part(30n)])
        const { grants } = await give(call.id, { amount: 20n }, expiresAtMs)
        const [made] = await books.grants({ accountId: payer.accountId, limit: 1 })
        expect(made).toMatchObject({
          id: grants[0],
          kind: 'credit',
          asset: 'USD',
          amount: 20n,
          left: 20n,
          priority: 7,
          models: ['ours/*'],
          effectiveAt: new Date(expiresAtMs),
          expiresAt: new Date(expiresAtMs + 7 * dayMs),
        })
        expect(await postedOf(grant.purse)).toBe(70n)
      })

      test('a moment before the grant ends goes to the grant itself', async () => {
        const payer = await owner(100n)
        const expiresAtMs = noon + dayMs
        const grant = await granted(payer, { expiresAtMs })
        const call = await charged(payer, [grant.part(30n)])
        expect((await give(call.id, {}, expiresAtMs - 1)).grants).toEqual([])
        expect(await postedOf(grant.purse)).toBe(100n)
      })

      test('names the grants that it has made when it is sent again', async () => {
        const payer = await owner(100n)
        const grant = await granted(payer, { expiresAtMs: noon + 1 })
        const call = await charged(payer, [grant.part(30n)])
        const wanted = { ref: newName('ref') }
        const first = await give(call.id, wanted, noon + 1)
        expect(first.grants).toHaveLength(1)
        expect(await give(call.id, wanted, noon + 2)).toEqual({ ...first, applied: false })
      })

      test('goes on where the one before it ended, also past a grant that has ended', async () => {
        const payer = await owner(100n)
        const [lasting, ended] = [await granted(payer), await granted(payer, { expiresAtMs: noon + 1 })]
        const call = await charged(payer, [lasting.part(30n), ended.part(20n)])
        await give(call.id, { amount: 20n }, noon + 1)
        const { grants } = await give(call.id, {}, noon + 1)
        expect([grants, await postedOf(lasting.purse)]).toEqual([[], 100n])
      })

      test('of tokens takes back as much revenue as they were worth', async () => {
        const payer = await owner(100n)
        const sold = await granted(payer, { kind: 'package', amount: 1_000n * tokens, price: 2_000n })
        const call = await charged(payer, [sold.part(400n * tokens)])
        const deferred = async () =>
          (
            await database.query<{ posted: bigint }>(
              `SELECT coalesce(sum(p.amount), 0) AS posted FROM posting p JOIN ledger_account l ON l.id = p.ledger_account_id
               WHERE l.kind = 'deferred' AND l.ref = $1::bigint`,
              [sold.id],
            )
          )[0]?.posted
        expect(await deferred()).toBe(1_200n)
        expect((await give(call.id, { tokens: 100n * tokens })).charged).toEqual({ money: 0n, tokens: 300n * tokens })
        expect([await deferred(), await postedOf(sold.purse)]).toEqual([1_400n, 700n * tokens])
        await expect(give(call.id, { tokens: 300n * tokens + 1n })).rejects.toMatchObject({ param: 'tokens' })
        await give(call.id)
        expect([await deferred(), await postedOf(sold.purse)]).toEqual([2_000n, 1_000n * tokens])
      })

      test('of tokens from a package that has ended makes a new package of the same worth', async () => {
        const payer = await owner(100n)
        const ending = { amount: 1_000n * tokens, price: 2_000n, expiresAtMs: noon + 1 }
        const sold = await granted(payer, { kind: 'package', ...ending })
        const call = await charged(payer, [sold.part(400n * tokens)])
        await give(call.id, {}, noon + 1)
        const [made] = await books.grants({ accountId: payer.accountId, limit: 1 })
        expect(made).toMatchObject({
          kind: 'package',
          asset: 'TOK',
          amount: 400n * tokens,
          left: 400n * tokens,
          price: 800n,
        })
      })

      test('of money and tokens gives back what is asked of each', async () => {
        const payer = await owner(100n)
        const sold = await granted(payer, { kind: 'package', amount: 1_000n * tokens, price: 2_000n })
        const call = await charged(payer, [sold.part(400n * tokens), payer.wallet.part(50n)])
        expect((await give(call.id, { amount: 20n })).charged).toEqual({ money: 30n, tokens: 400n * tokens })
        expect((await give(call.id)).given).toEqual({ money: 30n, tokens: 400n * tokens })
      })

      test('of a reaped call is the last word: a settle that comes later changes nothing', async () => {
        const payer = await owner(100n)
        const reap = await charged(payer, [payer.wallet.part(60n)], { kind: 'reap', outcome: 'reaped' })
        await give(reap.id)
        const late = { ...reap, kind: 'settle', outcome: 'complete', charge: 10n, priced: 10n } as const
        const settle = { ...late, parts: [payer.wallet.part(10n)] }
        expect(await books.flush([settle])).toEqual([{ id: reap.id, total: 60n }])
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n })
      })

      test('of a call whose settle came late gives back what both rows charge', async () => {
        const payer = await owner(100n)
        const reap = await charged(payer, [payer.wallet.part(60n)], { kind: 'reap', outcome: 'reaped' })
        await books.flush([
          { ...reap, kind: 'settle', outcome: 'complete', charge: 75n, parts: [payer.wallet.part(75n)] },
        ])
        expect((await give(reap.id)).given).toEqual({ money: 75n, tokens: 0n })
      })

      test('of a call that a grant had paid too much for gives back what is still charged', async () => {
        const payer = await owner(100n)
        const grant = await granted(payer)
        const reap = await charged(payer, [grant.part(60n)], { kind: 'reap', outcome: 'reaped' })
        await books.flush([{ ...reap, kind: 'settle', outcome: 'complete', charge: 40n, parts: [grant.part(40n)] }])
        expect((await give(reap.id)).given).toEqual({ money: 40n, tokens: 0n })
        expect([await postedOf(grant.purse), await postedOf(payer.wallet.purse)]).toEqual([80n, 120n])
      })

      test('is not told to the engine, which would lend it once more', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        await give(call.id)
        expect(await books.flush([call])).toEqual([{ id: call.id, total: 60n }])
      })

      test('of all happens once, of twenty that come together', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        const tries = await Promise.allSettled(Array.from({ length: 20 }, () => give(call.id)))
        expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
        expect(tries.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []))).toEqual(
          Array.from({ length: 19 }, () => 'conflict'),
        )
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n })
      })

      test('of a tenth happens ten times, of twenty that come together', async () => {
        const payer = await owner(100n)
        const call = await charged(payer, [payer.wallet.part(60n)])
        const tries = await Promise.allSettled(Array.from({ length: 20 }, () => give(call.id, { amount: 6n })))
        expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 100n })
      })

      test('under one reference happens once, of twenty that come together', async () => {
        const payer = await owner(100n)
        const calls = [
          await charged(payer, [payer.wallet.part(6n)]),
          await charged(payer, [payer.wallet.part(6n)]),
        ] as const
        const ref = newName('ref')
        const tries = await Promise.allSettled(
          Array.from({ length: 20 }, (_, turn) => give(calls[turn % 2 === 0 ? 0 : 1].id, { ref })),
        )
        const done = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value.applied] : []))
        expect([done.length, done.filter(Boolean).length]).toEqual([10, 1])
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 94n })
      })

      test('and a late settle that come together leave a charge of nothing or more', async () => {
        const payer = await owner(10_000n)
        const reaps = await Promise.all(
          Array.from({ length: 10 }, () =>
            charged(payer, [payer.wallet.part(60n)], { kind: 'reap', outcome: 'reaped' }),
          ),
        )
        const settles = reaps.map((reap) => ({
          ...reap,
          ...({ kind: 'settle', outcome: 'complete', charge: 10n, parts: [payer.wallet.part(10n)] } as const),
        }))
        await Promise.all([...reaps.map(({ id }) => give(id)), ...settles.map((settle) => books.flush([settle]))])
        expect(await books.balance(payer.accountId)).toMatchObject({ posted: 10_000n })
        expect(await books.check()).toEqual([])
      })
    })

    describe('an adjustment', () => {
      const adjust = (accountId: number, amount: bigint, over: { ref?: string; force?: boolean } = {}) =>
        books.adjust({ accountId, amount, ref: newName('ref'), reason: 'because', force: false, ...over })

      test.each([25n, -25n])('of %d is posted against what the house writes off, once', async (amount) => {
        const { accountId } = await owner(100n)
        const ref = newName('ref')
        expect(await adjust(accountId, amount, { ref })).toEqual({ applied: true })
        expect(await adjust(accountId, amount, { ref })).toEqual({ applied: false })
        expect(await books.balance(accountId)).toMatchObject({ posted: 100n + amount, free: amount, leased: 100n })
      })

      test('under a reference of another amount or account is refused', async () => {
        const [{ accountId }, other] = [await owner(100n), await owner(100n)]
        const ref = newName('ref')
        await adjust(accountId, 1n, { ref })
        await expect(adjust(accountId, 2n, { ref })).rejects.toMatchObject({ code: 'conflict', param: 'reference' })
        await expect(adjust(other.accountId, 1n, { ref })).rejects.toMatchObject({
          code: 'conflict',
          param: 'reference',
        })
      })

      test('takes a wallet down to its credit limit and no further, but by force', async () => {
        const { id } = await books.createAccount({ name: newName('account'), currency: 'USD', creditLimit: 10n })
        await expect(adjust(id, -11n)).rejects.toMatchObject({ code: 'conflict', param: 'amount' })
        expect(await adjust(id, -10n)).toEqual({ applied: true })
        await expect(adjust(id, -1n)).rejects.toThrow('and the least is -0.00000001')
        expect(await adjust(id, -1n, { force: true })).toEqual({ applied: true })
        expect(await books.balance(id)).toMatchObject({ posted: -11n })
        // Whatever adds to it is no step further down.
        expect(await adjust(id, 1n)).toEqual({ applied: true })
      })

      test('of an account that is not there is refused', async () => {
        await expect(adjust(999_999, 1n)).rejects.toMatchObject({ code: 'not_found' })
      })

      test('of twenty that come together goes no further than the limit', async () => {
        const { accountId } = await owner(100n)
        const tries = await Promise.allSettled(Array.from({ length: 20 }, () => adjust(accountId, -10n)))
        expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
        expect(await books.balance(accountId)).toMatchObject({ posted: 0n })
      })

      test('under one reference is posted once, of twenty that come together over two accounts', async () => {
        const owners = [await owner(100n), await owner(100n)] as const
        const ref = newName('ref')
        const tries = await Promise.allSettled(
          Array.from({ length: 20 }, (_, turn) => adjust(owners[turn % 2 === 0 ? 0 : 1].accountId, 5n, { ref })),
        )
        const applied = tries.filter((one) => one.status === 'fulfilled' && one.value.applied)
        const balances = await Promise.all(owners.map(({ accountId }) => books.balance(accountId)))
        expect([applied.length, balances.reduce((sum, one) => sum + (one?.posted ?? 0n), 0n)]).toEqual([1, 205n])
      })
    })

    test('the books are right after any history, and no more is given back than was charged', async () => {
      const step = fc.oneof(
        fc.record({
          do: fc.constant('call' as const),
          money: fc.bigInt({ min: 0n, max: 500n }),
          credit: fc.bigInt({ min: 0n, max: 300n }),
          tokens: fc.bigInt({ min: 0n, max: 3_333_333n }),
          late: fc.option(fc.bigInt({ min: 0n, max: 600n })),
        }),
        fc.record({
          do: fc.constant('refund' as const),
          of: fc.nat(),
          amount: fc.option(fc.bigInt({ min: 1n, max: 400n })),
        }),
        fc.record({ do: fc.constant('adjust' as const), amount: fc.bigInt({ min: -500n, max: 500n }) }),
        fc.record({ do: fc.constant('expire' as const) }),
        fc.record({ do: fc.constant('rollup' as const) }),
      )
      const history = fc.array(step, { minLength: 20, maxLength: 40, size: 'max' })
      const property = fc.asyncProperty(history, async (steps) => {
        let nowMs = noon
        const payer = await owner(1_000_000n)
        const ending = { expiresAtMs: noon + dayMs, amount: 1_000_000n }
        const credit = await granted(payer, ending)
        const sold = await granted(payer, { ...ending, kind: 'package', amount: 1_000n * tokens, price: 777n })
        const calls: string[] = []
        for (const one of steps) {
          if (one.do === 'call') {
            const parts = [sold.part(one.tokens), credit.part(one.credit), payer.wallet.part(one.money)]
            const call = await charged(
              payer,
              parts.filter(({ amount }) => amount > 0n),
              {
                ...(one.late !== null && { kind: 'reap', outcome: 'reaped' }),
              },
            )
            calls.push(call.id)
            const late = one.late ?? 0n
            const settle = {
              ...call,
              kind: 'settle',
              outcome: 'complete',
              charge: late,
              parts: [payer.wallet.part(late)],
            } as const
            if (one.late !== null) await books.flush([settle])
          } else if (one.do === 'refund') {
            const id = calls[one.of % Math.max(1, calls.length)]
            const amount = one.amount ?? undefined
            await (id && give(id, { amount }, nowMs).catch((error) => expect(error.code).toBe('conflict')))
          } else if (one.do === 'adjust') {
            const { accountId } = payer
            await books.adjust({ accountId, amount: one.amount, ref: newName('ref'), reason: '', force: true })
          } else if (one.do === 'expire') nowMs = noon + dayMs
          else await books.rollup()
        }
        expect(await books.check()).toEqual([])
        await books.rollup()
        await openBooks(database, { now: () => noon + 100 * dayMs }).endGrants()
        expect(await books.check()).toEqual([])
        const sums = await database.query<{ charged: bigint; returned: bigint }>(
          `SELECT sum(charge) FILTER (WHERE kind <> 4) AS charged, -coalesce(sum(charge) FILTER (WHERE kind = 4), 0) AS returned
           FROM usage_record WHERE account_id = $1::bigint GROUP BY id`,
          [payer.accountId],
        )
        expect(sums.filter(({ charged: all, returned }) => returned > all)).toEqual([])
      })
      await fc.assert(property, { numRuns: 6, endOnFailure: true })
    })
  })
}
