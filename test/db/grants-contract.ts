import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import fc from 'fast-check'
import type { Part, UsageRecord } from '../../src/core/call.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import type { NewGrant } from '../../src/db/grants.ts'
import { migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations.ts'
import { apiKey, quota } from '../../src/db/schema.ts'
import type { Purse } from '../../src/ports.ts'
import { noon, record } from './records.ts'

const dayMs = 86_400_000
const usd = 1_000_000_000n
const tokens = 1_000_000n

let names = 0
const newName = (kind: string) => `grant-test-${kind}-${++names}`

/** The facts of grants, packages and quotas that hold on every database that the ledger runs on. */
export function grantsContract(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    let books: DurableBooks
    const clock = { nowMs: noon }

    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      books = openBooks(database, { now: () => clock.nowMs })
    }, 120_000)
    afterAll(() => database?.close())

    /** Books of which the test moves the clock itself. */
    const booksAt = (nowMs: number) => openBooks(database, { now: () => nowMs })

    async function newAccount(currency = 'USD'): Promise<number> {
      const { id: accountId } = await books.createAccount({ name: newName('account'), currency })
      await database.drizzle
        .insert(apiKey)
        .values({ publicId: newName('key'), kind: 'master', hash: newName('hash'), accountId })
      return accountId
    }
    function grant(accountId: number, over: Partial<NewGrant> = {}) {
      const wanted: NewGrant = {
        accountId,
        kind: 'credit',
        amount: 5n * usd,
        price: 0n,
        priority: 50,
        models: [],
        source: 'test',
        ref: newName('ref'),
        ...over,
      }
      return books.grant(wanted)
    }
    const sell = (accountId: number, over: Partial<NewGrant> = {}) =>
      grant(accountId, { kind: 'package', amount: 1_000n * tokens, price: 2n * usd, ...over })
    async function newQuota(accountId: number, over: Partial<typeof quota.$inferInsert> = {}): Promise<number> {
      const [row] = await database.drizzle
        .insert(quota)
        .values({
          accountId,
          asset: 'USD',
          amount: usd,
          period: 'day',
          anchor: new Date(noon - dayMs),
          timeZone: 'UTC',
          priority: 10,
          ref: newName('quota'),
          ...over,
        })
        .returning({ id: quota.id })
      return row?.id ?? 0
    }
    const kinds = (purses: readonly Purse[]) => purses.map(({ kind }) => kind)

    /** What the entries of an account have posted to the house's lines of a kind. */
    async function house(accountId: number, kind: string, asset = 'USD'): Promise<bigint> {
      const [row] = await database.query<{ amount: bigint }>(
        `SELECT coalesce(sum(p.amount), 0) AS amount FROM posting p
         JOIN ledger_account l ON l.id = p.ledger_account_id AND l.account_id IS NULL AND l.kind = $2::text AND l.asset = $3::text
         WHERE p.batch_id IN (SELECT o.batch_id FROM posting o JOIN ledger_account own ON own.id = o.ledger_account_id
           AND own.account_id = $1::bigint)`,
        [accountId, kind, asset],
      )
      return row?.amount ?? 0n
    }
    type Line = readonly [kind: string, asset?: string]
    async function difference(accountId: number, lines: readonly Line[], run: () => Promise<unknown>) {
      const read = () => Promise.all(lines.map(([kind, asset]) => house(accountId, kind, asset)))
      const before = await read()
      await run()
      return (await read()).map((amount, index) => amount - (before[index] ?? 0n))
    }
    /** A purse with all of it lent to a spender of its own. */
    async function lent(accountId: number, kind: Purse['kind'], at = books) {
      const spender = newName('spender')
      const epoch = await at.openEpoch(spender)
      const purse = (await at.purses(accountId)).find((one) => one.kind === kind)
      if (!purse) throw new Error(`no ${kind}`)
      const { id: lease } = await at.lend({ purse: purse.id, spender, epoch, want: 0n })
      const part = (amount: bigint): Part => ({
        purse: purse.id,
        lease,
        amount,
        ...(purse.asset === 'TOK' && { asset: 'TOK' }),
      })
      return { purse: purse.id, lease, spender, epoch, part }
    }
    const call = (accountId: number, parts: readonly Part[], over: Partial<UsageRecord> = {}) => {
      const charge = parts.filter(({ asset }) => asset === undefined).reduce((sum, { amount }) => sum + amount, 0n)
      return record({ accountId, keyId: 1, parts, charge, priced: charge, ...over })
    }
    const posted = async (accountId: number, kind: Purse['kind'], at = books) =>
      (await at.purses(accountId)).find((one) => one.kind === kind)?.posted

    describe('grants', () => {
      test('of credit are a purse before the wallet, paid by the house', async () => {
        const accountId = await newAccount()
        const moved = await difference(accountId, [['promo_expense'], ['clearing']], () =>
          grant(accountId, { models: ['gpt-*'], expiresAtMs: noon + dayMs }),
        )
        expect(moved).toEqual([-5n * usd, 0n])
        const purses = await books.purses(accountId)
        expect(purses.map(({ id: _, ...purse }) => purse)).toEqual([
          { kind: 'credit', asset: 'USD', models: ['gpt-*'], expiresAtMs: noon + dayMs, posted: 5n * usd },
          { kind: 'wallet', asset: 'USD', models: [], expiresAtMs: undefined, posted: 0n },
        ])
        expect(await books.check()).toEqual([])
      })

      test('that are packages defer what they were sold for', async () => {
        const accountId = await newAccount()
        const lines = [['clearing'], ['deferred'], ['units_issued', 'TOK'], ['package_revenue']] as const
        const moved = await difference(accountId, lines, () => sell(accountId))
        expect(moved).toEqual([-2n * usd, 2n * usd, -1_000n * tokens, 0n])
        expect(await posted(accountId, 'package')).toBe(1_000n * tokens)
        expect(await books.check()).toEqual([])
      })

      test('count once for each reference', async () => {
        const accountId = await newAccount()
        const ref = newName('ref')
        const answers = await Promise.all([1, 2, 3].map(() => grant(accountId, { ref })))
        expect(answers.filter(({ applied }) => applied)).toHaveLength(1)
        expect(new Set(answers.map(({ id }) => id)).size).toBe(1)
        expect(await posted(accountId, 'credit')).toBe(5n * usd)
      })

      test.each([
        ['amount', { amount: 1n }],
        ['priority', { priority: 51 }],
        ['models', { models: ['a'] }],
        ['expiry', { expiresAtMs: noon + 1 }],
        ['beginning', { effectiveAtMs: noon - 1 }],
        ['kind', { kind: 'package' as const }],
      ])('refuse a reference that stands for one of another %s', async (_what, over) => {
        const accountId = await newAccount()
        const ref = newName('ref')
        await grant(accountId, { ref, effectiveAtMs: noon })
        await expect(grant(accountId, { ref, effectiveAtMs: noon, ...over })).rejects.toMatchObject({
          code: 'conflict',
          param: 'reference',
        })
      })

      test('refuse an account that is not there', async () => {
        await expect(grant(999_999)).rejects.toMatchObject({ code: 'not_found' })
      })

      test('stay as they were made', async () => {
        const { id } = await grant(await newAccount())
        await expect(
          database.query('UPDATE credit_grant SET amount = 1 WHERE id = $1::bigint', [id]),
        ).rejects.toMatchObject({ code: 'TG003' })
        await expect(database.query('DELETE FROM credit_grant WHERE id = $1::bigint', [id])).rejects.toMatchObject({
          code: 'TG003',
        })
      })

      test('are listed newest first, with what is left', async () => {
        const accountId = await newAccount()
        const { id: first } = await grant(accountId)
        const { id: second } = await sell(accountId)
        const { part } = await lent(accountId, 'package')
        await books.flush([call(accountId, [part(10n * tokens)])])
        const listed = await books.grants({ accountId, limit: 10 })
        expect(listed.map(({ id, kind, left }) => [id, kind, left])).toEqual([
          [second, 'package', 990n * tokens],
          [first, 'credit', 5n * usd],
        ])
        expect((await books.grants({ accountId, limit: 10, before: second })).map(({ id }) => id)).toEqual([first])
        expect((await books.grants({ accountId, limit: 10, id: second })).map(({ id }) => id)).toEqual([second])
      })
    })

    describe('purses', () => {
      test('pay from the first moment of a grant and up to but not at its last', async () => {
        const accountId = await newAccount()
        await grant(accountId, { effectiveAtMs: noon, expiresAtMs: noon + 1000 })
        const seen = await Promise.all([-1, 0, 999, 1000].map((ms) => booksAt(noon + ms).purses(accountId)))
        expect(seen.map(kinds)).toEqual([['wallet'], ['credit', 'wallet'], ['credit', 'wallet'], ['wallet']])
      })

      test('are listed while something is left, the rollup done or not', async () => {
        const accountId = await newAccount()
        await grant(accountId)
        const { part } = await lent(accountId, 'credit')
        await books.flush([call(accountId, [part(5n * usd - 1n)])])
        expect(kinds(await books.purses(accountId))).toEqual(['credit', 'wallet'])
        await books.flush([call(accountId, [part(1n)])])
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
        await books.rollup()
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
      })

      test('have one burn order: priority, expiry, kind, beginning, id', async () => {
        const drawn = fc.record({
          kind: fc.constantFrom('credit' as const, 'package' as const),
          priority: fc.constantFrom(0, 50, 100),
          expires: fc.constantFrom(undefined, noon + dayMs, noon + 2 * dayMs),
          effective: fc.constantFrom(noon - dayMs, noon),
        })
        const property = fc.asyncProperty(fc.array(drawn, { minLength: 12, maxLength: 16 }), async (wanted) => {
          const accountId = await newAccount()
          const made: { id: number; key: readonly number[] }[] = []
          for (const { kind, priority, expires, effective } of wanted) {
            const over = { priority, expiresAtMs: expires, effectiveAtMs: effective }
            const { id } = await (kind === 'credit' ? grant(accountId, over) : sell(accountId, over))
            made.push({
              id,
              key: [priority, expires ?? Number.POSITIVE_INFINITY, kind === 'credit' ? 0 : 1, effective, id],
            })
          }
          const before = (a: readonly number[], b: readonly number[]) => {
            const at = a.findIndex((part, index) => part !== b[index])
            return (a[at] ?? 0) - (b[at] ?? 0)
          }
          const lines = await database.query<{ id: bigint; ref: bigint }>(
            "SELECT id, ref FROM ledger_account WHERE account_id = $1::bigint AND kind = 'grant'",
            [accountId],
          )
          const refs = new Map(lines.map(({ id, ref }) => [Number(id), Number(ref)]))
          const purses = await books.purses(accountId)
          expect(purses.at(-1)?.kind).toBe('wallet')
          expect(purses.slice(0, -1).map(({ id }) => refs.get(id))).toEqual(
            made.toSorted((a, b) => before(a.key, b.key)).map(({ id }) => id),
          )
          expect(await books.purses(accountId)).toEqual(purses)
        })
        await fc.assert(property, { numRuns: 2, endOnFailure: true })
      })
    })

    describe('quotas', () => {
      test('grant a period when its purses are first asked for', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        const [purse] = await books.purses(accountId)
        expect(purse).toMatchObject({ kind: 'quota', asset: 'USD', posted: usd, expiresAtMs: noon + dayMs })
        const again = await booksAt(noon + dayMs - 1).purses(accountId)
        expect(again[0]?.id).toBe(purse?.id)
        const [next] = await booksAt(noon + dayMs).purses(accountId)
        expect(next).toMatchObject({ kind: 'quota', posted: usd, expiresAtMs: noon + 2 * dayMs })
        expect(next?.id).not.toBe(purse?.id)
      })

      test('grant one period once, whoever asks first', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        const seen = await Promise.all(Array.from({ length: 20 }, () => books.purses(accountId)))
        expect(new Set(seen.map((purses) => purses.map(({ id }) => id).join())).size).toBe(1)
        expect(await books.grants({ accountId, limit: 10 })).toHaveLength(1)
        expect(await books.check()).toEqual([])
      })

      test('skip the periods in which nobody called', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        await books.purses(accountId)
        await booksAt(noon + 10 * dayMs).purses(accountId)
        const made = await books.grants({ accountId, limit: 10 })
        expect(made.map(({ effectiveAt }) => effectiveAt.getTime())).toEqual([noon + 10 * dayMs, noon])
      })

      test('that are used up stay listed until their period ends', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        const { part } = await lent(accountId, 'quota')
        await books.flush([call(accountId, [part(usd)])])
        expect((await books.purses(accountId))[0]).toMatchObject({
          kind: 'quota',
          posted: 0n,
          expiresAtMs: noon + dayMs,
        })
      })

      test('grant tokens too', async () => {
        const accountId = await newAccount()
        await newQuota(accountId, { asset: 'TOK', amount: 7n * tokens, models: ['a*'] })
        expect((await books.purses(accountId))[0]).toMatchObject({
          kind: 'quota',
          asset: 'TOK',
          posted: 7n * tokens,
          models: ['a*'],
        })
      })

      test.each([
        ['that are switched off', { active: false }],
        ['that have not begun', { anchor: new Date(noon + 1) }],
      ])('%s grant nothing', async (_what, over) => {
        const accountId = await newAccount()
        await newQuota(accountId, over)
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
      })

      test('of a closed account grant nothing', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        await database.query("UPDATE account SET status = 'closed' WHERE id = $1::bigint", [accountId])
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
      })

      test('grant no period that has passed to a clock that went back', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        await booksAt(noon + dayMs).purses(accountId)
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
      })

      test('of the old period pay for a call that was held in it', async () => {
        const accountId = await newAccount()
        await newQuota(accountId)
        const midnight = booksAt(noon + dayMs)
        const { part } = await lent(accountId, 'quota')
        const [next] = await midnight.purses(accountId)
        await midnight.flush([call(accountId, [part(usd / 4n)])])
        const [now, old] = await midnight.grants({ accountId, limit: 2 })
        expect([now?.left, old?.left]).toEqual([usd, usd - usd / 4n])
        expect(next?.posted).toBe(usd)
        expect(await books.check()).toEqual([])
      })
    })

    describe('usage', () => {
      test('of a package releases what its tokens were sold for, never more', async () => {
        const accountId = await newAccount()
        // 2 USD for 3 tokens: no token has a whole price.
        await sell(accountId, { amount: 3n * tokens, price: 2n * usd })
        const { part } = await lent(accountId, 'package')
        const lines = [['deferred'], ['package_revenue'], ['units_consumed', 'TOK'], ['revenue']] as const
        const moved = await difference(accountId, lines, async () => {
          for (const amount of [tokens, tokens, tokens]) await books.flush([call(accountId, [part(amount)])])
        })
        expect(moved).toEqual([-1_999_999_998n, 1_999_999_998n, 3n * tokens, 0n])
        expect(await books.check()).toEqual([])
      })

      test('of a package and the wallet posts each in its own asset', async () => {
        const accountId = await newAccount()
        await sell(accountId)
        await books.recharge({ accountId, amount: usd, ref: newName('payment') })
        const [pack, wallet] = [await lent(accountId, 'package'), await lent(accountId, 'wallet')]
        const paid = call(accountId, [pack.part(500n * tokens), wallet.part(30n)], { priced: 60n })
        const moved = await difference(accountId, [['revenue'], ['package_revenue']], () => books.flush([paid, paid]))
        expect(moved).toEqual([30n, usd])
        expect(await books.flush([paid])).toEqual([{ id: paid.id, total: 30n }])
        expect([await posted(accountId, 'package'), await posted(accountId, 'wallet')]).toEqual([
          500n * tokens,
          usd - 30n,
        ])
        expect(await books.check()).toEqual([])
        await books.rollup()
        expect(await books.check()).toEqual([])
      })

      test('that was reaped and is settled late charges each asset its difference', async () => {
        const accountId = await newAccount()
        await sell(accountId)
        await books.recharge({ accountId, amount: usd, ref: newName('payment') })
        const [pack, wallet] = [await lent(accountId, 'package'), await lent(accountId, 'wallet')]
        const reaped = call(accountId, [pack.part(100n * tokens), wallet.part(5n)], { kind: 'reap', outcome: 'reaped' })
        await books.flush([reaped])
        const settled = call(accountId, [pack.part(300n * tokens), wallet.part(9n)], { id: reaped.id })
        expect(await books.flush([settled, settled])).toEqual([{ id: reaped.id, total: 9n }])
        expect([await posted(accountId, 'package'), await posted(accountId, 'wallet')]).toEqual([
          700n * tokens,
          usd - 9n,
        ])
        expect(await books.check()).toEqual([])
      })

      test('that was reaped and is voided late gives the tokens back', async () => {
        const accountId = await newAccount()
        await sell(accountId)
        const { part } = await lent(accountId, 'package')
        const reaped = call(accountId, [part(100n * tokens)], { kind: 'reap', outcome: 'reaped' })
        await books.flush([reaped])
        await books.flush([call(accountId, [], { id: reaped.id, kind: 'void', outcome: 'vendor_failed' })])
        expect(await posted(accountId, 'package')).toBe(1_000n * tokens)
        expect(await books.check()).toEqual([])
      })
    })

    describe('the end of a grant', () => {
      test('by expiry takes what is free into breakage, once', async () => {
        const accountId = await newAccount()
        const { id } = await grant(accountId, { expiresAtMs: noon + 1000 })
        const later = booksAt(noon + 1000)
        const moved = await difference(accountId, [['breakage'], ['promo_expense']], async () => {
          await books.endGrants()
          expect((await books.grants({ accountId, limit: 1, id }))[0]?.left).toBe(5n * usd)
          await later.endGrants()
          await later.endGrants()
        })
        expect(moved).toEqual([5n * usd, 0n])
        expect((await books.grants({ accountId, limit: 1, id }))[0]?.left).toBe(0n)
        expect(await books.check()).toEqual([])
      })

      test('leaves what is lent until no call can be left, and then takes it too', async () => {
        const accountId = await newAccount()
        const { id } = await grant(accountId, { expiresAtMs: noon + 1000 })
        const { part } = await lent(accountId, 'credit')
        const left = async () => (await books.grants({ accountId, limit: 1, id }))[0]?.left
        await booksAt(noon + 1000).endGrants()
        expect(await left()).toBe(5n * usd)
        await books.flush([call(accountId, [part(2n * usd)])])
        await booksAt(noon + 999 + dayMs).endGrants()
        expect(await left()).toBe(3n * usd)
        const moved = await difference(accountId, [['breakage']], () => booksAt(noon + 1000 + dayMs).endGrants())
        expect(moved).toEqual([3n * usd])
        expect(await books.check()).toEqual([])
        await books.rollup()
        expect(await books.check()).toEqual([])
      })

      test('of a package takes what was deferred with its last token', async () => {
        const accountId = await newAccount()
        await sell(accountId, { expiresAtMs: noon + 1000 })
        const { part } = await lent(accountId, 'package')
        await books.flush([call(accountId, [part(250n * tokens)])])
        const lines = [['deferred'], ['breakage'], ['breakage', 'TOK']] as const
        const moved = await difference(accountId, lines, () => booksAt(noon + 1000 + dayMs).endGrants())
        expect(moved).toEqual([-(usd + usd / 2n), usd + usd / 2n, 750n * tokens])
        expect(await books.check()).toEqual([])
      })

      test('by voiding gives back what is free to where it came from, once', async () => {
        const accountId = await newAccount()
        const { id: credit } = await grant(accountId)
        const { id: pack } = await sell(accountId)
        const lines = [['promo_expense'], ['clearing'], ['deferred'], ['units_issued', 'TOK'], ['breakage']] as const
        const moved = await difference(accountId, lines, async () => {
          for (const id of [credit, pack, credit, pack]) await books.voidGrant(accountId, id)
        })
        expect(moved).toEqual([5n * usd, 2n * usd, -2n * usd, 1_000n * tokens, 0n])
        expect(kinds(await books.purses(accountId))).toEqual(['wallet'])
        expect(
          (await books.grants({ accountId, limit: 2 })).map(({ voidedAt, left }) => [voidedAt?.getTime(), left]),
        ).toEqual([
          [noon, 0n],
          [noon, 0n],
        ])
        expect(await books.check()).toEqual([])
      })

      test('by voiding lends no more of it to one who asked before', async () => {
        const accountId = await newAccount()
        const { id } = await grant(accountId)
        const [purse] = await books.purses(accountId)
        await books.voidGrant(accountId, id)
        const spender = newName('spender')
        const epoch = await books.openEpoch(spender)
        expect(await books.lend({ purse: purse?.id ?? 0, spender, epoch, want: 1n })).toMatchObject({ lent: 0n })
      })

      test.each([
        ['a millisecond before', -1, 5n * usd],
        ['from', 0, 3n * usd],
      ])('by expiring lends no more of it: %s its end', async (_what, offsetMs, total) => {
        const accountId = await newAccount()
        await grant(accountId, { expiresAtMs: noon + 1000 })
        const [purse] = await books.purses(accountId)
        const spender = newName('spender')
        const epoch = await books.openEpoch(spender)
        const request = { purse: purse?.id ?? 0, spender, epoch }
        await books.lend({ ...request, want: 3n * usd, target: 0n })
        expect(await booksAt(noon + 1000 + offsetMs).lend({ ...request, want: 9n * usd })).toMatchObject({
          lent: total,
        })
      })

      test('for good lends no more of it to one whose lease went with it', async () => {
        const accountId = await newAccount()
        await grant(accountId, { expiresAtMs: noon + 1000 })
        const { purse, spender, epoch, lease } = await lent(accountId, 'credit')
        const later = booksAt(noon + 1000 + dayMs)
        await later.endGrants()
        expect(await later.lend({ purse, spender, epoch, want: 1n })).toEqual({ id: lease, lent: 0n })
      })

      test('that is another account’s is not found', async () => {
        const { id } = await grant(await newAccount())
        await expect(books.voidGrant(await newAccount(), id)).rejects.toMatchObject({ code: 'not_found' })
      })

      test('of a grant that was overdrawn leaves the difference to the house', async () => {
        const accountId = await newAccount()
        await grant(accountId, { expiresAtMs: noon + 1000 })
        const { part } = await lent(accountId, 'credit')
        await books.flush([call(accountId, [part(5n * usd)]), call(accountId, [{ ...part(7n), lease: 0 }])])
        const moved = await difference(accountId, [['breakage']], () => booksAt(noon + 1000 + dayMs).endGrants())
        expect(moved).toEqual([-7n])
        expect(await books.check()).toEqual([])
      })
    })

    test('the books are right after any history of grants, calls and ends', async () => {
      const step = fc.oneof(
        fc.record({ do: fc.constant('credit' as const), days: fc.integer({ min: 1, max: 4 }) }),
        fc.record({ do: fc.constant('package' as const), days: fc.integer({ min: 1, max: 4 }) }),
        fc.record({
          do: fc.constant('call' as const),
          share: fc.integer({ min: 0, max: 100 }),
          late: fc.option(fc.integer({ min: 0, max: 100 })),
        }),
        fc.record({ do: fc.constant('time' as const), hours: fc.integer({ min: 1, max: 40 }) }),
        fc.constantFrom({ do: 'end' as const }, { do: 'rollup' as const }, { do: 'void' as const }),
      )
      const property = fc.asyncProperty(fc.array(step, { minLength: 15, maxLength: 22 }), async (steps) => {
        const accountId = await newAccount()
        await newQuota(accountId)
        let nowMs = noon
        for (const at of steps) {
          const here = booksAt(nowMs)
          if (at.do === 'credit') await grant(accountId, { effectiveAtMs: nowMs, expiresAtMs: nowMs + at.days * dayMs })
          else if (at.do === 'package')
            await sell(accountId, { effectiveAtMs: nowMs, expiresAtMs: nowMs + at.days * dayMs })
          else if (at.do === 'time') nowMs += at.hours * 3_600_000
          else if (at.do === 'end') await here.endGrants()
          else if (at.do === 'rollup') await here.rollup()
          else if (at.do === 'void') {
            const [newest] = await here.grants({ accountId, limit: 1 })
            if (newest) await here.voidGrant(accountId, newest.id)
          } else {
            const purses = (await here.purses(accountId)).filter(({ posted: amount }) => amount > 0n)
            const parts = await Promise.all(
              purses.map(async ({ id, kind, asset, posted: amount }) => {
                const { part } = await lent(accountId, kind, here)
                return {
                  ...part((amount * BigInt(at.share)) / 200n),
                  purse: id,
                  lease: 0,
                  asset: asset === 'TOK' ? ('TOK' as const) : undefined,
                }
              }),
            )
            const kept = parts
              .filter(({ amount }) => amount > 0n)
              .map(({ asset, ...part }) => (asset ? { ...part, asset } : part))
            const first = call(accountId, kept, at.late === null ? {} : { kind: 'reap', outcome: 'reaped' })
            await here.flush([first])
            if (at.late !== null) {
              const share = BigInt(at.late)
              await here.flush([
                call(
                  accountId,
                  kept.map((part) => ({ ...part, amount: (part.amount * share) / 100n })),
                  { id: first.id },
                ),
              ])
            }
          }
          expect(await here.check()).toEqual([])
        }
        const end = booksAt(nowMs + 10 * dayMs)
        await end.rollup()
        await end.endGrants()
        expect(await end.check({ all: true })).toEqual([])
        expect((await end.grants({ accountId, limit: 100 })).filter(({ left }) => left !== 0n)).toEqual([])
      })
      await fc.assert(property, { numRuns: 2, endOnFailure: true })
    })
  })
}

/** A database from before grants gets what their entries are posted to. */
export function grantsMigration(open: () => Promise<Database>): void {
  test('accounts from before grants can be granted', async () => {
    const database = await open()
    await migrate(database, noon, migrations.slice(0, 1))
    await database.query("INSERT INTO account (name, currency) VALUES ('old', 'CHF')")
    await migrate(database, noon)
    const books = openBooks(database, { now: () => noon })
    const wanted = { price: usd, priority: 1, models: [], source: 'test' }
    await books.grant({ ...wanted, accountId: 1, kind: 'credit', amount: 1n, price: 0n, ref: 'a' })
    await books.grant({ ...wanted, accountId: 1, kind: 'package', amount: 1n, ref: 'b' })
    expect(kinds(await books.purses(1))).toEqual(['credit', 'package', 'wallet'])
    expect(await books.check()).toEqual([])
    await database.close()
  })
}

const kinds = (purses: readonly Purse[]) => purses.map(({ kind }) => kind)
