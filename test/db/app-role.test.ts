import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { appRoleStatements, grantAppRole } from '../../src/db/app-role.ts'
import { openBooks, type DurableBooks } from '../../src/db/books.ts'
import { sqlFault, type Database } from '../../src/db/database.ts'
import { checkMigrated, ensurePartitions, migrate } from '../../src/db/migrate.ts'
import { migrations } from '../../src/db/migrations.ts'
import { account, apiKey, model, price, quota, setting } from '../../src/db/schema.ts'
import { refund } from '../../src/ledger/refund.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { newId, noon, record } from './records.ts'
import { postgresPrograms, startPostgres, type RealPostgres } from './real-postgres.ts'

const app = 'the "app" role'

/** The same database as another role. */
function as(role: string, url: string): string {
  const at = new URL(url)
  at.username = encodeURIComponent(role)
  return at.href
}

describe.skipIf(!postgresPrograms)('the role of a gateway', () => {
  let server: RealPostgres
  let owner: Database
  let gateway: Database
  let url: string
  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
    url = await server.create()
    const superuser = openPostgres(url)
    await superuser.query('CREATE ROLE migrator LOGIN NOSUPERUSER')
    await superuser.query(`CREATE ROLE "the ""app"" role" LOGIN NOSUPERUSER`)
    await superuser.query(`ALTER DATABASE ${new URL(url).pathname.slice(1)} OWNER TO migrator`)
    await superuser.close()
    owner = openPostgres(as('migrator', url))
    gateway = openPostgres(as(app, url))
    await migrate(owner, noon)
    await grantAppRole(owner, app)
  }, 120_000)
  afterAll(async () => {
    await owner?.close()
    await gateway?.close()
    await server?.stop()
  })

  const faultOf = (statement: string) =>
    gateway.query(statement).then(
      () => 'done',
      (error: unknown) => sqlFault(error)?.code,
    )

  test('needs no superuser to migrate, and may be granted again', async () => {
    expect(await owner.query('SELECT rolsuper FROM pg_roles WHERE rolname = current_user')).toEqual([
      { rolsuper: false },
    ])
    await grantAppRole(owner, app)
    expect(await migrate(owner, noon)).toEqual([])
  })

  test('can do everything that the books do', async () => {
    const used = new Set<string>()
    const books = new Proxy(openBooks(gateway), {
      get(target, name, receiver) {
        used.add(String(name))
        return Reflect.get(target, name, receiver)
      },
    })
    await useBooks(books, gateway)
    expect([...used].sort()).toEqual(Object.keys(openBooks(gateway)).sort())
    expect(await books.check({ all: true })).toEqual([])
  })

  test('can prepare days and knows what is applied', async () => {
    await ensurePartitions(gateway, noon + 30 * 86_400_000)
    const made = "SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'usage_record_20260408'"
    expect(await owner.query(made)).toEqual([{ owner: 'migrator' }])
    await checkMigrated(gateway)
    const wanted = [...migrations, { name: '9999_next', sql: 'SELECT 1' }]
    await expect(checkMigrated(gateway, wanted)).rejects.toThrow('The database lacks 9999_next.')
  })

  test('can keep what an operator sets', async () => {
    const { drizzle } = gateway
    const keep = (value: number) =>
      drizzle.insert(setting).values({ name: 'a', value }).onConflictDoUpdate({ target: setting.name, set: { value } })
    await keep(1)
    await keep(2)
    await drizzle.insert(model).values({ name: 'm', maxOutputTokens: 1 })
    await drizzle.update(model).set({ disabled: true })
    const row = { model: 'm', unit: 'input' as const, currency: 'USD', nanos: 1n, validFrom: new Date(noon) }
    await drizzle.insert(price).values(row)
    await drizzle.update(price).set({ validTo: new Date(noon + 1) })
    await drizzle.delete(model)
    await drizzle.update(account).set({ discountPpm: 1 })
    await drizzle.update(apiKey).set({ version: 2 })
    expect(await drizzle.select({ value: setting.value }).from(setting)).toEqual([{ value: 2 }])
  })

  const booked = ['usage_record', 'journal', 'posting', 'attempt', 'price_set', 'credit_grant', 'usage_record_default']
  test.each(booked)('cannot change, remove or empty %s', async (table) => {
    const column =
      { posting: 'amount', journal: 'memo', price_set: 'currency', credit_grant: 'amount' }[table] ?? 'error'
    expect([
      await faultOf(`UPDATE ${table} SET ${column} = NULL`),
      await faultOf(`DELETE FROM ${table}`),
      await faultOf(`TRUNCATE ${table}`),
    ]).toEqual(['42501', '42501', '42501'])
  })

  test.each([
    'DROP TABLE posting',
    'ALTER TABLE posting DISABLE TRIGGER posting_immutable',
    'CREATE TABLE more (id int)',
    'DELETE FROM tollgate_migration',
    'SET ROLE migrator',
  ])('cannot %s', async (statement) => {
    expect(await faultOf(statement)).toBe('42501')
  })

  test('loses what it was given beside', async () => {
    await owner.query('GRANT ALL ON ALL TABLES IN SCHEMA public TO "the ""app"" role"')
    await grantAppRole(owner, app)
    expect(await faultOf('DELETE FROM posting')).toBe('42501')
    expect(await faultOf('DELETE FROM usage_record_20260302')).toBe('42501')
  })

  test.each([
    ['nobody', 'There is no role nobody in the database.'],
    ['migrator', 'The role migrator may do what the owner of the tables may.'],
    ['postgres', 'The role postgres may do what the owner of the tables may.'],
    ['', 'There is no role'],
  ])('is not %s', async (role, why) => {
    await expect(grantAppRole(owner, role)).rejects.toThrow(why)
  })

  test('may have any name', () => {
    expect(appRoleStatements('a"; DROP TABLE posting; --')[1]).toBe(
      'GRANT USAGE ON SCHEMA public TO "a""; DROP TABLE posting; --"',
    )
    expect(() => appRoleStatements('x'.repeat(64))).toThrow(RangeError)
  })
})

/** Calls every function of the books once at least. */
async function useBooks(books: DurableBooks, database: Database): Promise<void> {
  const { id: accountId } = await books.createAccount({ name: 'payer', currency: 'USD', creditLimit: 5n })
  const [key] = await database.drizzle
    .insert(apiKey)
    .values({ publicId: 'k', kind: 'master', hash: 'hash', accountId })
    .returning({ id: apiKey.id })
  const keyId = key?.id ?? 0
  await books.findKey('hash')
  await books.booked([newId(noon)])
  await books.epochOf('nobody')
  await books.recharge({ accountId, amount: 1_000n, ref: 'payment' })
  await books.adjust({ accountId, amount: -10n, ref: 'correction', reason: 'test', force: false })
  const granted = { accountId, amount: 100n, price: 0n, priority: 1, models: [], source: 'test' }
  const { id: credit } = await books.grant({ ...granted, kind: 'credit', ref: 'credit' })
  await books.grant({ ...granted, kind: 'package', price: 7n, ref: 'package' })
  await database.drizzle.insert(quota).values({
    accountId,
    asset: 'USD',
    amount: 50n,
    period: 'day',
    anchor: new Date(noon),
    timeZone: 'UTC',
    priority: 1,
    ref: 'quota',
  })
  const purses = await books.purses(accountId)
  const wallet = purses.find(({ kind }) => kind === 'wallet')?.id ?? 0
  const epoch = await books.openEpoch('replica:a')
  const { id: lease } = await books.lend({ purse: wallet, spender: 'replica:a', epoch, want: 0n })
  await books.beat({ replica: 'a', outstanding: new Map([[lease, 1n]]) })
  const call = record({ id: newId(), accountId, keyId, parts: [{ purse: wallet, lease, amount: 40n }] })
  await books.flush([{ ...call, kind: 'reap', outcome: 'reaped' }])
  await books.flush([{ ...call, charge: 45n, parts: [{ purse: wallet, lease, amount: 45n }] }])
  await refund(database, { id: call.id, ref: 'refund', reason: 'test' }, noon)
  await books.receipt({ accountId, keyId, id: call.id })
  await books.spent(keyId, 'day', noon)
  await books.balance(accountId)
  await books.rollup()
  await books.voidGrant(accountId, credit)
  await books.grants({ accountId, limit: 10 })
  await books.endGrants()
  await books.openEpoch('replica:a')
  await database.query("UPDATE replica SET last_seen = now() - interval '2 hours'")
  await books.beat({ replica: 'b', outstanding: new Map() })
  await books.closeFrozen()
  await books.closeLeases('replica:a')
  await books.check()
}
