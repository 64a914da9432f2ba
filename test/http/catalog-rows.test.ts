import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { Database } from '../../src/db/database.ts'
import { parseMoney } from '../../src/core/money.ts'
import { migrate } from '../../src/db/migrate.ts'
import { loadCatalog, provision } from '../../src/gateway/catalog.ts'
import { pricesJson, putModel, putPrices } from '../../src/http/catalog-rows.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, startPostgres, type RealPostgres } from '../db/real-postgres.ts'

/** What only a database with many connections can get wrong. */
describe.skipIf(!postgresPrograms)('rows of the catalog on PostgreSQL', () => {
  const config = readConfig({ text: 'vendors: { sandbox: {} }', path: 'x.yaml', env: {} })
  const body = { max_output_tokens: 1, policies: {}, routing: {}, cache: {}, disabled: false }
  let server: RealPostgres
  let database: Database

  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
    database = openPostgres(await server.create())
    await migrate(database, Date.now())
    await provision(database, config)
  }, 120_000)
  afterAll(async () => {
    await database?.close()
    await server?.stop()
  })

  const put = (name: string, models: readonly string[]) => {
    const targets = models.map((model) => ({ vendor: 'sandbox', model }))
    return database.transaction((session) => putModel(session, name, { ...body, targets }))
  }
  const price = (name: string, input: bigint) =>
    database.transaction((session) => putPrices(session, name, { currency: 'USD', nanos: { input, output: 1n } }))

  test('a price changed by many at once is one after the other, without a gap', async () => {
    await put('a', ['echo'])
    await price('a', 1n)
    await Promise.all(Array.from({ length: 16 }, (_, n) => price('a', BigInt(n + 2))))
    const { history } = await pricesJson(database, 'a', { limit: 200 })
    const rows = history
      .filter(({ unit }) => unit === 'input')
      .toSorted((a, b) => Date.parse(a.valid_from) - Date.parse(b.valid_from))
    expect(rows.map(({ valid_to: end }) => end)).toEqual([...rows.slice(1).map(({ valid_from: start }) => start), null])
    expect((await loadCatalog(database, config)).models.get('a')?.prices?.nanos).toEqual({
      input: parseMoney(rows.at(-1)?.price ?? ''),
      output: 1n,
    })
  })

  test('a price changed by a transaction that began before another change holds after it', async () => {
    await put('c', ['echo'])
    await price('c', 1n)
    await database.transaction(async (session) => {
      // From here on `now()` stands still.
      await pricesJson(session, 'c', { limit: 1 })
      await wait(2)
      await price('c', 2n)
      await wait(2)
      await putPrices(session, 'c', { currency: 'USD', nanos: { input: 3n, output: 1n } })
    })
    const { history } = await pricesJson(database, 'c', { limit: 10 })
    const inputs = history.filter(({ unit }) => unit === 'input')
    expect(inputs.map(({ price: each, valid_to: end }) => [each, end])).toEqual([
      ['0.000000003', null],
      ['0.000000002', inputs[0]?.valid_from],
      ['0.000000001', inputs[1]?.valid_from],
    ])
  })

  test('a model made by many at once has the targets of one of them', async () => {
    const wanted = Array.from({ length: 16 }, (_, n) => [`first-${n}`, `second-${n}`])
    await Promise.all(wanted.map((models) => put('b', models)))
    const targets = (await loadCatalog(database, config)).models.get('b')?.targets.map(({ model }) => model)
    expect(wanted).toContainEqual(targets)
  })
})
