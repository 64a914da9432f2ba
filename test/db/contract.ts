import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import fc from 'fast-check'
import type { UsageRecord } from '../../src/core/call.ts'
import { StaleEpoch } from '../../src/core/stale-epoch.ts'
import { openBooks, type DurableBooks, type Violation } from '../../src/db/books.ts'
import { checkAll, checkRecent } from '../../src/db/checks.ts'
import { DatabaseError, sqlFault, type Database } from '../../src/db/database.ts'
import { ensurePartitions, migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations.ts'
import { apiKey, attempt as attemptTable, price, setting, usageRecord } from '../../src/db/schema.ts'
import { attempt, noon, prices, record } from './records.ts'

/** A wallet to spend from, with everything it has lent to one spender. */
interface Payer {
  readonly accountId: number
  readonly keyId: number
  readonly purse: number
  readonly spender: string
  readonly epoch: number
  readonly lease: number
}

const dayMs = 86_400_000
let names = 0
const newName = (kind: string) => `${kind}-${++names}`

async function newKey(database: Database, over: Partial<typeof apiKey.$inferInsert>): Promise<number> {
  const name = newName('key')
  const [row] = await database.drizzle
    .insert(apiKey)
    .values({ publicId: name, kind: 'master', hash: `hash-of-${name}`, ...over })
    .returning({ id: apiKey.id })
  return row?.id ?? 0
}

async function newPayer(database: Database, books: DurableBooks, amount: bigint): Promise<Payer> {
  const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
  const keyId = await newKey(database, { accountId })
  await books.recharge({ accountId, amount, ref: newName('payment') })
  const spender = newName('spender')
  const epoch = await books.openEpoch(spender)
  const [purse] = await books.purses(accountId)
  const { id: lease } = await books.lend({ purse: purse?.id ?? 0, spender, epoch, want: 0n })
  return { accountId, keyId, purse: purse?.id ?? 0, spender, epoch, lease }
}

const spend = ({ accountId, keyId, purse, lease }: Payer, amount: bigint, over: Partial<UsageRecord> = {}) =>
  record({ accountId, keyId, parts: amount === 0n ? [] : [{ purse, lease, amount }], ...over })

/** The facts that hold on every database that the ledger runs on. */
export function dbContract(name: string, open: () => Promise<Database>): void {
  describe(name, () => {
    let database: Database
    let books: DurableBooks

    beforeAll(async () => {
      database = await open()
      await migrate(database, noon)
      books = openBooks(database, { now: () => noon })
    }, 120_000)
    afterAll(() => database?.close())

    const payer = (amount: bigint) => newPayer(database, books, amount)
    const rowsOf = (id: string) =>
      database.drizzle.select().from(usageRecord).where(eq(usageRecord.id, id)).orderBy(usageRecord.seq)

    const wrong = async () => [...(await books.check()), ...(await books.check({ all: true }))]

    describe('the adapter', () => {
      test('gives values of the same types whatever the driver', async () => {
        const rows = await database.query(
          `SELECT 9007199254740993::int8 AS big, 12345678901234567890::numeric AS huge, count(*) AS counted, 1::int AS small,
             true AS yes, 'text' AS word, null::text AS nothing, '"123"'::jsonb AS json, '{"a":[1]}'::json AS object,
             '2026-03-02T12:00:00.5Z'::timestamptz AS moment, '2026-03-02'::date AS day, 1.5::float8 AS real`,
        )
        expect(rows).toEqual([
          {
            big: 9007199254740993n,
            huge: 12345678901234567890n,
            counted: 1n,
            small: 1,
            yes: true,
            word: 'text',
            nothing: null,
            json: '123',
            object: { a: [1] },
            moment: new Date(noon + 500),
            day: '2026-03-02',
            real: 1.5,
          },
        ])
      })

      test('takes parameters of every type', async () => {
        const sql =
          'SELECT $1::int8 AS a, $2::numeric AS b, $3::timestamptz AS c, $4::text AS d, $5::boolean AS e, $6::jsonb AS f, $7::int AS g'
        const rows = await database.query(sql, [2n ** 62n, -5n, new Date(noon), null, false, '{"x":"y"}', 7])
        expect(rows).toEqual([{ a: 2n ** 62n, b: -5n, c: new Date(noon), d: null, e: false, f: { x: 'y' }, g: 7 }])
      })

      test('refuses a list in a result, which the drivers give differently', async () => {
        await expect(database.query('SELECT ARRAY[1, 2] AS list')).rejects.toThrow('column "list" has type 1007')
      })

      test('keeps nothing of a transaction that throws', async () => {
        const row = { name: newName('setting'), value: 1 }
        const failed = database.transaction(async (session) => {
          await session.drizzle.insert(setting).values(row)
          expect(await session.query('SELECT value FROM setting WHERE name = $1::text', [row.name])).toEqual([
            { value: 1 },
          ])
          throw new Error('on purpose')
        })
        await expect(failed).rejects.toThrow('on purpose')
        expect(await database.query('SELECT value FROM setting WHERE name = $1::text', [row.name])).toEqual([])
      })

      test('names what a refused statement broke, without its parameters', async () => {
        const broken = await database
          .query('INSERT INTO model (name, max_output_tokens) VALUES ($1::text, 1), ($1::text, 1)', ['a-secret'])
          .catch((error: unknown) => error)
        expect(broken).toBeInstanceOf(DatabaseError)
        expect(sqlFault(broken)).toEqual({ code: '23505', constraint: 'model_pkey' })
        expect(String(broken)).not.toContain('a-secret')
      })

      test('finds the constraint that a drizzle query broke', async () => {
        const row = { name: newName('setting'), value: 1 }
        const twice = await database.drizzle
          .insert(setting)
          .values([row, row])
          .catch((error: unknown) => error)
        expect(sqlFault(twice)).toEqual({ code: '23505', constraint: 'setting_pkey' })
      })
    })

    describe('migrations', () => {
      test('are applied once', async () => {
        expect(await migrate(database, noon)).toEqual([])
      })

      test('refuse a database that another text made', async () => {
        const changed = migrations.map((migration) => ({ ...migration, sql: `${migration.sql}\n-- changed` }))
        await expect(migrate(database, noon, changed)).rejects.toThrow(
          'Migration 0000_first was applied to this database with another text',
        )
      })

      test('leave nothing of one that fails', async () => {
        const broken = {
          name: '9999_broken',
          sql: 'CREATE TABLE left_over (id int)--> statement-breakpoint\nSELECT no_such_thing',
        }
        await expect(migrate(database, noon, [...migrations, broken])).rejects.toThrow('no_such_thing')
        expect(await database.query("SELECT to_regclass('left_over') IS NULL AS gone")).toEqual([{ gone: true }])
      })

      test('prepare a partition for each day from yesterday to a week ahead', async () => {
        const found = await database.query<{ name: string }>(
          "SELECT relname::text AS name FROM pg_class WHERE relname ~ '^(attempt|usage_record)_2026\\d+$' AND relkind = 'r' ORDER BY 1",
        )
        const days = [
          '20260301',
          '20260302',
          '20260303',
          '20260304',
          '20260305',
          '20260306',
          '20260307',
          '20260308',
          '20260309',
        ]
        expect(found.map((row) => row.name)).toEqual([
          ...days.map((day) => `attempt_${day}`),
          ...days.map((day) => `usage_record_${day}`),
        ])
      })

      test('leave a day that began without a partition where it is', async () => {
        const year2031 = Date.UTC(2031, 5, 5)
        const call = spend(await payer(10n), 10n, { startedAtMs: year2031, endedAtMs: year2031 })
        await books.flush([call])
        await ensurePartitions(database, year2031)
        expect(await books.flush([call])).toEqual([{ id: call.id, total: 10n }])
        const places = await database.query(
          'SELECT tableoid::regclass::text AS place FROM usage_record WHERE id = $1::uuid',
          [call.id],
        )
        expect(places).toEqual([{ place: 'usage_record_default' }])
      })
    })

    describe('prices', () => {
      const row = (from: number, to: number | null, model: string) => ({
        model,
        unit: 'input' as const,
        currency: 'USD',
        nanos: 1n,
        validFrom: new Date(from),
        validTo: to === null ? null : new Date(to),
      })

      test('may follow each other without a gap', async () => {
        const model = newName('model')
        await database.drizzle.insert(price).values([row(noon, noon + 1000, model), row(noon + 1000, null, model)])
        expect(await database.drizzle.select({ nanos: price.nanos }).from(price).where(eq(price.model, model))).toEqual(
          [{ nanos: 1n }, { nanos: 1n }],
        )
      })

      test('may not overlap by a millisecond', async () => {
        const model = newName('model')
        const insert = database.drizzle
          .insert(price)
          .values([row(noon, noon + 1001, model), row(noon + 1000, null, model)])
        expect(sqlFault(await insert.catch((error: unknown) => error))).toEqual({
          code: '23P01',
          constraint: 'price_no_overlap',
        })
      })
    })

    describe('accounts', () => {
      test('open with an empty wallet', async () => {
        const account = await books.createAccount({
          name: newName('account'),
          currency: 'EUR',
          discountPpm: 900_000,
          creditLimit: 5n,
        })
        expect(account).toEqual({ id: account.id, currency: 'EUR', discountPpm: 900_000, status: 'open' })
        expect(await books.balance(account.id)).toEqual({
          currency: 'EUR',
          posted: 0n,
          free: 0n,
          leased: 0n,
          creditLimit: 5n,
        })
        expect(await books.purses(account.id)).toHaveLength(1)
      })

      test('that do not exist have no balance and no purses', async () => {
        expect(await books.balance(999_999)).toBeUndefined()
        expect(await books.purses(999_999)).toEqual([])
      })

      test('keep their currency', async () => {
        const { id } = await books.createAccount({ name: newName('account'), currency: 'EUR' })
        await expect(
          database.query("UPDATE account SET currency = 'USD' WHERE id = $1::bigint", [id]),
        ).rejects.toMatchObject({ code: 'TG003' })
      })
    })

    describe('recharges', () => {
      test('count once for each reference', async () => {
        const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
        const payment = { accountId, amount: 5_000_000_000n, ref: newName('payment'), memo: 'from the bank' }
        const answers = await Promise.all([payment, payment, payment].map((one) => books.recharge(one)))
        expect(answers.filter(({ applied }) => applied)).toHaveLength(1)
        expect(await books.balance(accountId)).toMatchObject({ posted: 5_000_000_000n, free: 5_000_000_000n })
      })

      test('refuse a reference that stands for another payment', async () => {
        const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
        const { id: other } = await books.createAccount({ name: newName('account'), currency: 'USD' })
        const payment = { accountId, amount: 1_500_000_000n, ref: newName('payment') }
        await books.recharge(payment)
        await expect(books.recharge({ ...payment, amount: 1n })).rejects.toMatchObject({
          code: 'conflict',
          param: 'reference',
        })
        await expect(books.recharge({ ...payment, accountId: other })).rejects.toThrow(`1.5 to account ${accountId}`)
        expect(await books.balance(other)).toMatchObject({ posted: 0n })
      })

      test('refuse an account that is not there', async () => {
        await expect(books.recharge({ accountId: 999_999, amount: 1n, ref: newName('payment') })).rejects.toMatchObject(
          { code: 'not_found' },
        )
      })

      test.each([
        ['nothing', { amount: 0n }, 'amount'],
        ['less than nothing', { amount: -1n }, 'amount'],
        ['more than the books hold', { amount: 9_000_000_000_000_000_001n }, 'amount'],
        ['no reference', { ref: '' }, 'reference'],
        ['a reference that is no text', { ref: 'a\0b' }, 'reference'],
        ['an endless memo', { memo: 'x'.repeat(1001) }, 'memo'],
      ])('refuse %s', async (_what, over, param) => {
        await expect(books.recharge({ accountId: 1, amount: 1n, ref: 'ref', ...over })).rejects.toMatchObject({
          code: 'invalid_value',
          param,
        })
      })
    })

    describe('keys', () => {
      test('are found by their hash with every key above, leaf first', async () => {
        const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
        const master = await newKey(database, { accountId, budgets: [{ limit: '20000000000', window: 'month' }] })
        const child = await newKey(database, {
          accountId,
          kind: 'sub',
          parentId: master,
          depth: 1,
          models: ['a', 'b,"c"'],
        })
        const hash = newName('hash')
        const limits = {
          requestsPerMinute: 60,
          concurrency: 2,
          expiresAt: new Date(noon),
          revokedAt: new Date(noon + 1),
          version: 3,
        }
        const leaf = await newKey(database, {
          accountId,
          kind: 'sub',
          parentId: child,
          depth: 2,
          hash,
          name: 'leaf',
          ...limits,
        })
        const found = await books.findKey(hash)
        expect(found?.account).toEqual({ id: accountId, currency: 'USD', discountPpm: 1_000_000, status: 'open' })
        expect(found?.chain.map(({ id, parentId, models, budgets }) => ({ id, parentId, models, budgets }))).toEqual([
          { id: leaf, parentId: child, models: undefined, budgets: [] },
          { id: child, parentId: master, models: ['a', 'b,"c"'], budgets: [] },
          {
            id: master,
            parentId: undefined,
            models: undefined,
            budgets: [{ limit: 20_000_000_000n, window: 'month' }],
          },
        ])
        expect(found?.chain[0]).toMatchObject({
          kind: 'sub',
          name: 'leaf',
          accountId,
          hash,
          version: 3,
          requestsPerMinute: 60,
          concurrency: 2,
          expiresAtMs: noon,
          revokedAtMs: noon + 1,
        })
      })

      test('of managers have no account', async () => {
        const hash = newName('hash')
        await newKey(database, { kind: 'management', hash })
        const found = await books.findKey(hash)
        expect(found).toMatchObject({ account: undefined, chain: [{ kind: 'management', accountId: undefined }] })
      })

      test('that are not there are not found', async () => {
        expect(await books.findKey('no such hash')).toBeUndefined()
      })

      test('have spent what they and all keys below them were charged since the hour began', async () => {
        const owner = await payer(10_000n)
        const child = await newKey(database, {
          accountId: owner.accountId,
          kind: 'sub',
          parentId: owner.keyId,
          depth: 1,
        })
        const grandchild = await newKey(database, {
          accountId: owner.accountId,
          kind: 'sub',
          parentId: child,
          depth: 2,
        })
        const at = (endedAtMs: number, keyId: number, amount: bigint) =>
          spend({ ...owner, keyId }, amount, { endedAtMs })
        await books.flush([at(noon - 1, child, 1n), at(noon, owner.keyId, 10n), at(noon + 3_599_999, grandchild, 100n)])
        const spent = () =>
          Promise.all([owner.keyId, child, grandchild].map((keyId) => books.spent(keyId, 'hour', noon)))
        expect(await spent()).toEqual([110n, 100n, 100n])
        expect(await books.spent(owner.keyId, 'total', 0)).toBe(111n)
        await books.rollup()
        await books.flush([at(noon, child, 1000n)])
        expect(await spent()).toEqual([1110n, 1100n, 100n])
      })
    })

    describe('leases', () => {
      test('lend all there is, by total, so that asking twice lends once', async () => {
        const { accountId, purse, spender, epoch, lease } = await payer(100n)
        expect(await books.lend({ purse, spender, epoch, want: 50n })).toEqual({ id: lease, lent: 100n })
        await books.recharge({ accountId, amount: 30n, ref: newName('payment') })
        expect(await books.lend({ purse, spender, epoch, want: 0n })).toEqual({ id: lease, lent: 130n })
        expect(await books.balance(accountId)).toMatchObject({ posted: 130n, free: 0n, leased: 130n })
      })

      test('lend the credit limit too', async () => {
        const { id } = await books.createAccount({ name: newName('account'), currency: 'USD', creditLimit: 40n })
        const [purse] = await books.purses(id)
        const spender = newName('spender')
        const lease = await books.lend({
          purse: purse?.id ?? 0,
          spender,
          epoch: await books.openEpoch(spender),
          want: 0n,
        })
        expect(lease.lent).toBe(40n)
        expect(await books.balance(id)).toMatchObject({ posted: 0n, free: -40n, leased: 40n })
      })

      test.each([
        ['the target', 30n, 0n, 30n],
        ['half of what is free where that is less', 80n, 0n, 50n],
        ['what is wanted where that is more', 30n, 70n, 70n],
        ['no more than is free', 30n, 200n, 100n],
      ])('with a target lend %s', async (_what, target, want, lent) => {
        const { id: accountId } = await books.createAccount({ name: newName('account'), currency: 'USD' })
        await books.recharge({ accountId, amount: 100n, ref: newName('payment') })
        const [purse] = await books.purses(accountId)
        const spender = newName('spender')
        const epoch = await books.openEpoch(spender)
        const lease = await books.lend({ purse: purse?.id ?? 0, spender, epoch, want, target })
        expect(lease.lent).toBe(lent)
      })

      test('are opened a new epoch for once by those who look at the same time', async () => {
        const spender = newName('spender')
        expect(await books.epochOf(spender)).toBe(0)
        const opened = await Promise.all([0, 0, 0].map((after) => books.openEpoch(spender, after)))
        expect([opened.toSorted((a, b) => a - b), await books.epochOf(spender)]).toEqual([[0, 0, 1], 1])
      })

      test('stay open where a spender has another epoch than was seen', async () => {
        const { purse, spender, epoch, lease } = await payer(100n)
        expect(await books.openEpoch(spender, epoch - 1)).toBe(0)
        expect(await books.lend({ purse, spender, epoch, want: 1n })).toEqual({ id: lease, lent: 100n })
      })

      test('are not granted under an epoch that is over', async () => {
        const { purse, spender, epoch } = await payer(100n)
        expect(await books.openEpoch(spender)).toBe(epoch + 1)
        await expect(books.lend({ purse, spender, epoch, want: 1n })).rejects.toEqual(new StaleEpoch(spender))
      })

      test('give what was not used back when they are closed', async () => {
        const owner = await payer(100n)
        await books.flush([spend(owner, 30n)])
        await books.openEpoch(owner.spender)
        await books.closeLeases(owner.spender)
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 70n, free: 70n, leased: 0n })
        await books.rollup()
        await books.closeLeases(owner.spender)
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 70n, free: 70n, leased: 0n })
      })

      test('of a running epoch are not closed', async () => {
        const owner = await payer(100n)
        await books.closeLeases(owner.spender)
        expect(await books.balance(owner.accountId)).toMatchObject({ free: 0n, leased: 100n })
      })

      test('that are overdrawn leave the difference to the wallet', async () => {
        const owner = await payer(100n)
        await books.flush([spend(owner, 130n)])
        const found = async () => (await books.check()).filter(({ subject }) => subject === `${owner.lease}`)
        expect(await found()).toEqual([
          { rule: 'I6 a lease is not overdrawn', subject: `${owner.lease}`, detail: '130 of 100' },
        ])
        await books.openEpoch(owner.spender)
        await books.closeLeases(owner.spender)
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -30n, free: -30n, leased: 0n })
        expect(await found()).toEqual([])
      })
    })

    describe('the flush', () => {
      test('stores a record as it is', async () => {
        const owner = await payer(100n)
        const call = spend(owner, 60n, {
          usage: {
            counts: { input: 100, cached_input: 50, output: 20, reasoning: 5, image: 1 },
            source: 'counted',
            tokenizer: 'o200k 1.0',
            anomalies: ['total_mismatch'],
          },
          servedModel: 'gpt-4o-2024-11-20',
          serviceTier: 'flex',
          lengthTier: 272_001,
          firstByteMs: 250,
          finish: 'stop',
          clientRequestId: 'mine',
          attempts: [
            attempt({ status: 503, error: 'vendor_error' }),
            attempt({ cost: 7n, costCurrency: 'CNY', reportedCost: 8n }),
          ],
        })
        expect(await books.flush([call])).toEqual([{ id: call.id, total: 60n }])
        const [row] = await rowsOf(call.id)
        expect(row).toEqual({
          day: '2026-03-02',
          id: call.id,
          seq: 0,
          batchId: row?.batchId,
          kind: 1,
          accountId: owner.accountId,
          keyId: owner.keyId,
          outcome: 'complete',
          model: 'gpt-4o',
          vendor: 'openai',
          vendorModel: 'gpt-4o-2024-11-20',
          servedModel: 'gpt-4o-2024-11-20',
          serviceTier: 'flex',
          lengthTier: 272_001,
          priceSetId: prices.id,
          counts: call.usage.counts,
          inputTokens: 150,
          outputTokens: 25,
          source: 'counted',
          tokenizer: 'o200k 1.0',
          anomalies: ['total_mismatch'],
          priced: 60n,
          charge: 60n,
          currency: 'USD',
          lease: [BigInt(owner.lease)],
          purse: [BigInt(owner.purse)],
          amount: [60n],
          stream: true,
          startedAt: new Date(noon),
          endedAt: new Date(noon + 1000),
          firstByteMs: 250,
          finish: 'stop',
          error: null,
          clientRequestId: 'mine',
        })
        const attempts = await database.drizzle
          .select()
          .from(attemptTable)
          .where(eq(attemptTable.id, call.id))
          .orderBy(attemptTable.n)
        expect(
          attempts.map(({ n, status, error, cost, costCurrency, reportedCost }) => ({
            n,
            status,
            error,
            cost,
            costCurrency,
            reportedCost,
          })),
        ).toEqual([
          { n: 0, status: 503, error: 'vendor_error', cost: null, costCurrency: null, reportedCost: null },
          { n: 1, status: 200, error: null, cost: 7n, costCurrency: 'CNY', reportedCost: 8n },
        ])
        const hours = await database.query(
          'SELECT vendor, currency, n, input, output, charge, cost FROM usage_delta WHERE key_id = $1::bigint ORDER BY currency',
          [owner.keyId],
        )
        expect(hours).toEqual([
          { vendor: 'openai', currency: 'CNY', n: 0n, input: 0n, output: 0n, charge: 0n, cost: 7n },
          { vendor: 'openai', currency: 'USD', n: 1n, input: 150n, output: 25n, charge: 60n, cost: 0n },
        ])
      })

      test('charges once what is sent again, alone, within a batch and in overlapping batches', async () => {
        const owner = await payer(1000n)
        const calls = [1n, 20n, 300n].map((amount) => spend(owner, amount))
        const [first, second, third] = calls as [UsageRecord, UsageRecord, UsageRecord]
        await books.flush([second, first])
        await books.flush([first, first, second])
        expect(await books.flush([third, second, first, third])).toEqual([
          { id: third.id, total: 300n },
          { id: second.id, total: 20n },
          { id: first.id, total: 1n },
        ])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 679n, leased: 679n })
      })

      test('stores voided and free calls without a posting', async () => {
        const owner = await payer(100n)
        const voided = spend(owner, 0n, {
          kind: 'void',
          outcome: 'vendor_failed',
          error: 'vendor_error',
          usage: { counts: {}, source: 'fixed' },
        })
        const sandbox = spend(owner, 0n, { priced: 40n })
        expect(await books.flush([voided, sandbox])).toEqual([
          { id: voided.id, total: 0n },
          { id: sandbox.id, total: 0n },
        ])
        expect((await rowsOf(voided.id)).map(({ kind, charge, lease }) => ({ kind, charge, lease }))).toEqual([
          { kind: 5, charge: 0n, lease: [] },
        ])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 100n })
      })

      test('takes a part without a lease from what is free', async () => {
        const owner = await payer(100n)
        const parts = [
          { purse: owner.purse, lease: owner.lease, amount: 100n },
          { purse: owner.purse, lease: 0, amount: 5n },
        ]
        await books.flush([record({ ...owner, parts })])
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -5n, free: -5n, leased: 0n })
        await books.rollup()
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: -5n, free: -5n, leased: 0n })
      })

      test('stores whatever text a vendor sent', async () => {
        const owner = await payer(100n)
        const call = spend(owner, 1n, {
          servedModel: 'a\0b',
          finish: '\ud800',
          error: `${'x'.repeat(511)}\u{1f600}`,
          clientRequestId: "'; drop table account; --",
        })
        expect(await books.flush([call])).toEqual([{ id: call.id, total: 1n }])
        const [row] = await rowsOf(call.id)
        expect([row?.servedModel, row?.finish, row?.error, row?.clientRequestId]).toEqual([
          'a\u{fffd}b',
          '\u{fffd}',
          `${'x'.repeat(511)}\u{fffd}`,
          "'; drop table account; --",
        ])
      })

      test('stores more records than one statement takes', async () => {
        const owner = await payer(10_000n)
        const calls = Array.from({ length: 1201 }, () => spend(owner, 1n))
        expect(await books.flush(calls)).toEqual(calls.map(({ id }) => ({ id, total: 1n })))
        expect(await books.balance(owner.accountId)).toMatchObject({ posted: 8799n })
      })

      test('leaves rows that nobody can change', async () => {
        const call = spend(await payer(100n), 1n)
        await books.flush([call])
        await expect(
          database.query('UPDATE usage_record SET charge = 0 WHERE id = $1::uuid', [call.id]),
        ).rejects.toMatchObject({ code: 'TG003' })
        await expect(database.query('DELETE FROM usage_record WHERE id = $1::uuid', [call.id])).rejects.toMatchObject({
          code: 'TG003',
        })
        await expect(database.query('DELETE FROM posting')).rejects.toMatchObject({ code: 'TG003' })
      })
    })

    describe('a settle after the reaper', () => {
      const reaped = (owner: Payer, amount: bigint) =>
        spend(owner, amount, {
          kind: 'reap',
          outcome: 'reaped',
          usage: { counts: { input: 100, output: 10 }, source: 'checkpoint' },
        })

      test.each([
        ['charges the difference to the wallet', 50n, 80n],
        ['gives the difference back', 80n, 50n],
      ])('%s, once', async (_what, before, after) => {
        const owner = await payer(1000n)
        const reap = reaped(owner, before)
        const settle = spend(owner, after, { id: reap.id })
        await books.flush([reap])
        await Promise.all([books.flush([settle]), books.flush([settle]), books.flush([reap])])
        expect(await books.flush([settle])).toEqual([{ id: reap.id, total: after }])
        const rows = await rowsOf(reap.id)
        expect(
          rows.map(({ seq, kind, outcome, charge, lease, outputTokens }) => ({
            seq,
            kind,
            outcome,
            charge,
            lease,
            outputTokens,
          })),
        ).toEqual([
          { seq: 0, kind: 2, outcome: 'reaped', charge: before, lease: [BigInt(owner.lease)], outputTokens: 10 },
          { seq: 1, kind: 3, outcome: 'complete', charge: after - before, lease: [0n], outputTokens: 10 },
        ])
        expect(await books.balance(owner.accountId)).toMatchObject({
          posted: 1000n - after,
          free: before - after,
          leased: 1000n - before,
        })
      })

      test('in the same batch counts as after', async () => {
        const owner = await payer(1000n)
        const reap = reaped(owner, 50n)
        expect(await books.flush([reap, spend(owner, 80n, { id: reap.id })])).toEqual([{ id: reap.id, total: 80n }])
      })

      test('that charges the same keeps its outcome', async () => {
        const owner = await payer(1000n)
        const reap = reaped(owner, 50n)
        await books.flush([reap])
        await books.flush([spend(owner, 50n, { id: reap.id })])
        expect((await rowsOf(reap.id)).map(({ outcome, charge, purse }) => ({ outcome, charge, purse }))).toEqual([
          { outcome: 'reaped', charge: 50n, purse: [BigInt(owner.purse)] },
          { outcome: 'complete', charge: 0n, purse: [] },
        ])
      })

      test('books what the vendor cost', async () => {
        const owner = await payer(1000n)
        const reap = reaped(owner, 50n)
        await books.flush([reap])
        await books.flush([spend(owner, 80n, { id: reap.id, attempts: [attempt({ cost: 30n, costCurrency: 'USD' })] })])
        const sums =
          'SELECT sum(n)::bigint AS n, sum(charge) AS charge, sum(cost) AS cost, sum(output) AS output FROM usage_delta WHERE key_id = $1::bigint'
        expect(await database.query(sums, [owner.keyId])).toEqual([{ n: 1n, charge: 80n, cost: 30n, output: 20n }])
      })

      test('that was a void gives everything back', async () => {
        const owner = await payer(1000n)
        const reap = reaped(owner, 50n)
        await books.flush([reap])
        expect(await books.flush([spend(owner, 0n, { id: reap.id, kind: 'void' })])).toEqual([
          { id: reap.id, total: 0n },
        ])
      })

      test('comes too late after a settle', async () => {
        const owner = await payer(1000n)
        const reap = reaped(owner, 50n)
        await books.flush([spend(owner, 80n, { id: reap.id })])
        expect(await books.flush([reap])).toEqual([{ id: reap.id, total: 80n }])
        expect(await rowsOf(reap.id)).toHaveLength(1)
      })
    })

    describe('a check', () => {
      // $1 is a purse, $2 a lease, $3 an id of a record that is right: each statement breaks one rule of it.
      const copy = (columns: string, values: string) =>
        `INSERT INTO usage_record (day, id, seq, batch_id, kind, account_id, key_id, outcome, model, vendor, vendor_model, price_set_id, counts,
           input_tokens, output_tokens, source, priced, currency, stream, started_at, ended_at, ${columns})
         SELECT day, ${values.startsWith('1,') ? 'gen_random_uuid()' : 'id'}, ${values} FROM usage_record WHERE id = $3::uuid`
      const rest =
        'batch_id, 3, account_id, key_id, outcome, model, vendor, vendor_model, price_set_id, counts, 0, 0, source, 0, currency, stream, started_at, ended_at'
      test.each([
        [
          'I1 the lines of an entry sum to zero',
          "INSERT INTO posting (batch_id, ledger_account_id, asset, amount) VALUES (nextval('batch_seq'), $1::bigint, 'USD', 5)",
        ],
        [
          'I2 a ledger account is the sum of its postings',
          'UPDATE ledger_account SET posted = posted + 1 WHERE id = $1::bigint',
        ],
        [
          'I3 a purse is what is free and what is left of its leases',
          'UPDATE ledger_account SET free = free + 1 WHERE id = $1::bigint',
        ],
        [
          'I4 what records take from a purse is posted',
          copy('charge, lease, purse, amount', `1, ${rest}, 0, lease, ARRAY[$1::bigint], ARRAY[9]`),
        ],
        [
          'I4 a charge is the sum of its parts',
          copy('charge, lease, purse, amount', `1, ${rest}, 7, '{}', '{}', '{}'`),
        ],
        [
          'I5 what a lease consumed is what records took from it',
          'UPDATE lease SET consumed = consumed + 1 WHERE id = $2::bigint',
        ],
        ['I6 a lease is not overdrawn', 'UPDATE lease SET amount = 9 WHERE id = $2::bigint'],
        [
          'I7 usage by the hour is that of the records',
          'UPDATE usage_delta SET charge = charge + 1 WHERE account_id = (SELECT account_id FROM ledger_account WHERE id = $1::bigint)',
        ],
        [
          'I7 cost by the hour is that of the attempts',
          "INSERT INTO usage_delta SELECT account_id, key_id, model, vendor, hour, 'XTS', 0, 0, 0, 0, 5 FROM usage_delta LIMIT 1",
        ],
        [
          'I8 an adjustment has a record that it adjusts',
          copy('charge, lease, purse, amount', `1, ${rest}, 0, '{}', '{}', '{}'`),
        ],
        [
          'I9 no call is charged less than nothing',
          copy('charge, lease, purse, amount', `2, ${rest}, -11, '{}', '{}', '{}'`),
        ],
      ])('finds where not: %s', async (rule, breaking) => {
        const owner = await payer(100n)
        const call = spend(owner, 10n)
        await books.flush([call])
        let found: (readonly Violation[])[] = []
        const undone = database.transaction(async (session) => {
          const named = { $1: owner.purse, $2: owner.lease, $3: `'${call.id}'` } as const
          await session.query(breaking.replaceAll(/\$[123]/g, (name) => `${named[name as keyof typeof named]}`))
          found = [await checkRecent(session, new Date(noon)), await checkAll(session)]
          throw new Error('undo')
        })
        await expect(undone).rejects.toThrow('undo')
        expect(found.map((violations) => violations.some((violation) => violation.rule === rule))).toEqual([true, true])
      })

      test.each([
        ['of the first day that it reads', Date.UTC(2026, 1, 27), true, ['I9']],
        ['not of the day before', Date.UTC(2026, 1, 27) - 1, true, []],
        ['of the day before while they are not rolled up', Date.UTC(2026, 1, 27) - 1, false, ['I9']],
      ])('reads the records %s, and of all days when it is told to', async (_what, startedAtMs, isRolledUp, found) => {
        const owner = await payer(100n)
        const call = spend(owner, 10n, { startedAtMs, endedAtMs: startedAtMs })
        await books.flush([call])
        if (isRolledUp) await books.rollup()
        const undone = database.transaction(async (session) => {
          await session.query(
            copy('charge, lease, purse, amount', `2, ${rest}, -11, '{}', '{}', '{}'`).replace('$3', `'${call.id}'`),
          )
          const rules = (violations: readonly Violation[]) =>
            violations.filter(({ subject }) => subject === call.id).map(({ rule }) => rule.slice(0, 2))
          expect(rules(await checkRecent(session, new Date(noon)))).toEqual(found)
          expect(rules(await checkAll(session))).toEqual(['I9'])
          throw new Error('undo')
        })
        await expect(undone).rejects.toThrow('undo')
      })

      test('is not misled by records of long ago that come late, beside others or alone', async () => {
        const owner = await payer(100n)
        const longAgo = noon - 9 * dayMs
        const old = (amount: bigint) => spend(owner, amount, { startedAtMs: longAgo, endedAtMs: longAgo })
        await books.flush([old(3n), spend(owner, 4n)])
        await books.flush([old(5n)])
        expect(await wrong()).toEqual([])
        await books.rollup()
        expect(await wrong()).toEqual([])
      })
    })

    test('the books are right after any history, before and after the rollup and the closing of leases', async () => {
      const calls = fc.array(
        fc.record({
          amount: fc.bigInt({ min: 0n, max: 1000n }),
          late: fc.option(fc.bigInt({ min: 0n, max: 1000n })),
          hours: fc.integer({ min: -120, max: 30 }),
          cost: fc.option(fc.bigInt({ min: 0n, max: 500n })),
        }),
        { minLength: 100, maxLength: 160, size: 'max' },
      )
      const history = fc.record({
        calls,
        batches: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 3, maxLength: 8 }),
        seed: fc.integer(),
      })
      const property = fc.asyncProperty(history, async ({ calls: drawn, batches, seed }) => {
        const owners = [await payer(100_000n), await payer(200_000n), await payer(300_000n)] as const
        const totals = new Map<Payer, bigint>(owners.map((owner) => [owner, 0n]))
        const sent = drawn.flatMap(({ amount, late, hours, cost }, index) => {
          const owner = owners[index % 3 === 0 ? 0 : index % 3 === 1 ? 1 : 2]
          const ended = noon + hours * 3_600_000
          const times = {
            startedAtMs: ended,
            endedAtMs: ended,
            attempts: cost === null ? [] : [attempt({ cost, costCurrency: index % 2 ? 'CNY' : 'USD' })],
          }
          totals.set(owner, (totals.get(owner) ?? 0n) + (late ?? amount))
          const first = spend(owner, amount, {
            ...times,
            ...(late !== null && { kind: 'reap', outcome: 'reaped', attempts: [] }),
          })
          return late === null ? [[first]] : [[first, spend(owner, late, { ...times, id: first.id })]]
        })
        await sendInAnyOrder(books, sent, { batches, seed })
        const expected = owners.map((owner, index) => 100_000n * BigInt(index + 1) - (totals.get(owner) ?? 0n))
        const posted = async () =>
          Promise.all(owners.map(async ({ accountId }) => (await books.balance(accountId))?.posted))
        expect(await wrong()).toEqual([])
        expect(await posted()).toEqual(expected)
        await books.rollup()
        expect(await wrong()).toEqual([])
        for (const { spender } of owners) {
          await books.openEpoch(spender)
          await books.closeLeases(spender)
        }
        expect(await wrong()).toEqual([])
        const balances = await Promise.all(owners.map(({ accountId }) => books.balance(accountId)))
        expect(balances.map((one) => [one?.posted, one?.free, one?.leased])).toEqual(
          expected.map((rest) => [rest, rest, 0n]),
        )
      })
      // Each run is several hundred records in dozens of statements; a failing one is not shrunk, its seed is printed.
      await fc.assert(property, { numRuns: 3, endOnFailure: true })
    })
  })
}

/** A small generator, so that a printed seed brings the same order again. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Sends each call's records in their order, in batches that overlap, each batch twice, several at once. */
export async function sendInAnyOrder(
  books: DurableBooks,
  calls: readonly (readonly UsageRecord[])[],
  { batches, seed }: { readonly batches: readonly number[]; readonly seed: number },
): Promise<void> {
  const pick = random(seed)
  const mixed = (records: readonly UsageRecord[]) =>
    records
      .map((one) => [pick(1_000_000), one] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, one]) => one)
  for (const step of [0, 1]) {
    const records = mixed(calls.flatMap((call) => call[step] ?? []))
    const sendings: (readonly UsageRecord[])[] = []
    for (let from = 0, turn = 0; from < records.length; turn++) {
      const size = batches[turn % batches.length] ?? 1
      const overlap = Math.floor(size / 2)
      const batch = records.slice(Math.max(0, from - overlap), from + size)
      sendings.push(mixed(batch), mixed(batch))
      from += size
    }
    await Promise.all(sendings.map((batch) => books.flush(batch)))
    if (step === 0) await books.rollup()
  }
}

export { newPayer, spend }
