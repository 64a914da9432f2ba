import { asc, eq } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig, type Config } from '../../src/config.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { model, price, target, vendor } from '../../src/db/schema.ts'
import { buildCatalog, findModel, loadCatalog, provision } from '../../src/gateway/catalog.ts'
import { openPglite } from '../../src/platform/pglite.ts'

const config = (models: string, vendors = 'openai: { api_keys: [k] }, sandbox: {}'): Config =>
  readConfig({ text: `vendors: { ${vendors} }\nmodels: { ${models} }`, path: 'x.yaml', env: {} })

const first = config(`
  a: { targets: [{ vendor: openai, model: v1 }, { vendor: sandbox, model: echo, region: eu }], prices: { input: 1, output: 2 } },
  b: { targets: [{ vendor: openai, model: v2 }] }
`)

describe('finding a model', () => {
  const catalog = buildCatalog(
    config(`
      a: { targets: [{ vendor: openai, model: v1 }, { vendor: sandbox, model: echo }], free: true },
      v1: { targets: [{ vendor: openai, model: v1 }] },
      sandbox/slow: { targets: [{ vendor: sandbox, model: echo }] }
    `),
  )

  test('by its public name gives it whole', () => {
    expect(findModel(catalog, 'a')).toEqual(catalog.models.get('a'))
  })

  test('by a vendor and its model gives it with that one target', () => {
    expect(findModel(catalog, 'sandbox/echo')).toEqual({
      ...catalog.models.get('a'),
      targets: [{ vendor: 'sandbox', model: 'echo' }],
    })
  })

  test('by a target that several have gives the one that bears its name', () => {
    expect(findModel(catalog, 'openai/v1')?.name).toBe('v1')
  })

  test('prefers a public name that looks like a target', () => {
    expect(findModel(catalog, 'sandbox/slow')?.name).toBe('sandbox/slow')
  })

  test.each([
    'A',
    'a ',
    '',
    'a*',
    '*',
    'openai/',
    '/v1',
    'openai/V1',
    'OPENAI/v1',
    'sandbox/v1',
    'openai/a',
    '__proto__',
  ])('finds nothing for "%s"', (name) => {
    expect(findModel(catalog, name)).toBeUndefined()
  })
})

describe('the database', () => {
  let database: Database

  beforeAll(async () => {
    database = await openPglite()
    await migrate(database, Date.now())
  }, 120_000)
  afterAll(() => database.close())

  beforeEach(async () => {
    for (const table of [price, target, model, vendor]) await database.drizzle.delete(table)
  })

  const vendors = () => database.drizzle.select().from(vendor).orderBy(asc(vendor.id))
  const targets = () => database.drizzle.select().from(target).orderBy(asc(target.model), asc(target.position))
  const prices = () => database.drizzle.select().from(price).orderBy(asc(price.id))
  const everything = async () => ({
    vendors: await vendors(),
    models: await database.drizzle.select().from(model).orderBy(asc(model.name)),
    targets: await targets(),
    prices: await prices(),
  })
  const shown = async () =>
    (await prices()).map((row) => [row.model, row.unit, row.nanos, row.validTo === null ? 'open' : 'ended'])

  /** What the API would have written. */
  async function manage(name: string): Promise<void> {
    const { drizzle } = database
    await drizzle
      .insert(vendor)
      .values({ id: 'theirs', adapter: 'openai', baseUrl: 'https://h/v1' })
      .onConflictDoNothing()
    await drizzle.insert(model).values({ name, maxOutputTokens: 7, policies: { clientAbort: 'void' } })
    await drizzle.insert(target).values([
      { model: name, position: 1, vendor: 'theirs', vendorModel: 'second' },
      { model: name, position: 0, vendor: 'theirs', vendorModel: 'first', region: 'eu' },
    ])
    const row = { model: name, unit: 'input' as const, currency: 'EUR', nanos: 5n }
    await drizzle.insert(price).values([
      { ...row, validFrom: new Date(0), validTo: new Date(1_000) },
      { ...row, validFrom: new Date(1_000), nanos: 6n },
      { ...row, unit: 'output', validFrom: new Date(8_000_000_000_000) },
    ])
  }

  test('gets what the file says', async () => {
    await provision(database, first)
    const { models, ...rest } = await everything()
    expect({
      vendors: rest.vendors,
      models: models.map(({ name, provisioned, disabled, maxOutputTokens, policies }) => ({
        name,
        provisioned,
        disabled,
        maxOutputTokens,
        policies,
      })),
      targets: rest.targets.map(({ id: _, ...row }) => row),
      prices: await shown(),
    }).toEqual({
      vendors: [
        { id: 'openai', adapter: 'openai', baseUrl: 'https://api.openai.com/v1', provisioned: true },
        { id: 'sandbox', adapter: 'sandbox', baseUrl: 'sandbox:', provisioned: true },
      ],
      models: ['a', 'b'].map((name) => ({
        name,
        provisioned: true,
        disabled: false,
        maxOutputTokens: 16_384,
        policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
      })),
      targets: [
        { model: 'a', position: 0, vendor: 'openai', vendorModel: 'v1', region: null, options: {}, provisioned: true },
        {
          model: 'a',
          position: 1,
          vendor: 'sandbox',
          vendorModel: 'echo',
          region: 'eu',
          options: {},
          provisioned: true,
        },
        { model: 'b', position: 0, vendor: 'openai', vendorModel: 'v2', region: null, options: {}, provisioned: true },
      ],
      prices: [
        ['a', 'input', 1_000_000_000n, 'open'],
        ['a', 'output', 2_000_000_000n, 'open'],
      ],
    })
  })

  test('is the same after the same file again, row for row', async () => {
    await provision(database, first)
    const before = await everything()
    await provision(database, first)
    expect(await everything()).toEqual(before)
  })

  test('gets no vendor key', async () => {
    await provision(database, config('', 'openai: { api_keys: [canary-key] }'))
    expect(JSON.stringify(await vendors())).not.toContain('canary')
  })

  test('keeps the row of an unchanged price and ends that of a changed one', async () => {
    await provision(database, first)
    const [input] = await prices()
    await provision(
      database,
      config('a: { targets: [{ vendor: openai, model: v1 }], prices: { input: 1, output: 3 } }'),
    )
    expect([(await prices())[0], await shown()]).toEqual([
      input,
      [
        ['a', 'input', 1_000_000_000n, 'open'],
        ['a', 'output', 2_000_000_000n, 'ended'],
        ['a', 'output', 3_000_000_000n, 'open'],
      ],
    ])
  })

  test('ends a price at the moment at which the next begins', async () => {
    await provision(database, first)
    await provision(
      database,
      config('a: { targets: [{ vendor: openai, model: v1 }], prices: { input: 1, output: 3 } }'),
    )
    const [, old, next] = await prices()
    expect(old?.validTo).toEqual(next?.validFrom)
  })

  test('has no open price in the old currency after a change of currency', async () => {
    await provision(database, first)
    const euro = 'prices: { currency: EUR, input: 1, output: 2 }'
    await provision(database, config(`a: { targets: [{ vendor: openai, model: v1 }], ${euro} }`))
    const open = (await prices()).filter(({ validTo }) => validTo === null)
    expect(open.map(({ currency }) => currency)).toEqual(['EUR', 'EUR'])
  })

  test('loses what left the file: model disabled, targets gone, prices ended, vendor gone', async () => {
    await provision(database, first)
    await provision(database, config('b: { targets: [{ vendor: openai, model: v2 }] }', 'openai: { api_keys: [] }'))
    const { models } = await everything()
    expect([
      models.map(({ name, disabled }) => [name, disabled]),
      (await targets()).map((row) => row.model),
      (await shown()).map((row) => row[3]),
      (await vendors()).map(({ id }) => id),
    ]).toEqual([
      [
        ['a', true],
        ['b', false],
      ],
      ['b'],
      ['ended', 'ended'],
      ['openai'],
    ])
  })

  test('gets back what returns to the file', async () => {
    await provision(database, first)
    await provision(database, config(''))
    await provision(database, first)
    const catalog = await loadCatalog(database, first)
    expect([...catalog.models.keys()]).toEqual(['a', 'b'])
    expect((await shown()).map((row) => row[3])).toEqual(['ended', 'ended', 'open', 'open'])
  })

  test('is brought in line once by replicas that start together', async () => {
    await Promise.all([provision(database, first), provision(database, first), provision(database, first)])
    expect([(await targets()).length, (await prices()).length]).toEqual([3, 2])
  })

  test('keeps what the API manages', async () => {
    await manage('theirs')
    const before = await everything()
    await provision(database, config('', ''))
    expect(await everything()).toEqual(before)
  })

  test('gives a model to the file that names it, prices to come included', async () => {
    await manage('a')
    await provision(database, first)
    const [row] = await database.drizzle.select().from(model).where(eq(model.name, 'a'))
    const open = (await prices()).filter(({ validFrom, validTo }) => validTo === null || validTo > validFrom)
    expect([row?.provisioned, (await targets()).map(({ vendor: id }) => id), open.map(({ nanos }) => nanos)]).toEqual([
      true,
      ['openai', 'sandbox', 'openai'],
      [5n, 6n, 1_000_000_000n, 2_000_000_000n],
    ])
  })

  test('gives the catalog the day on which a model was first seen', async () => {
    await provision(database, first)
    await database.drizzle
      .update(model)
      .set({ createdAt: new Date(5_000) })
      .where(eq(model.name, 'a'))
    const catalog = await loadCatalog(database, first)
    expect(catalog.models.get('a')).toEqual({ ...first.models.get('a'), createdAtMs: 5_000 })
    expect(catalog.vendors).toEqual(first.vendors)
  })

  test('gives the catalog the models of the API beside those of the file, at the prices of now', async () => {
    await manage('theirs')
    await provision(database, first)
    const catalog = await loadCatalog(database, first)
    const theirs = catalog.models.get('theirs')
    expect([[...catalog.models.keys()], { ...theirs, createdAtMs: 0 }]).toEqual([
      ['a', 'b', 'theirs'],
      {
        name: 'theirs',
        targets: [
          { vendor: 'theirs', model: 'first', region: 'eu' },
          { vendor: 'theirs', model: 'second' },
        ],
        prices: { id: 'EUR:input=6;d=1000000', currency: 'EUR', nanos: { input: 6n }, discountPpm: 1_000_000 },
        maxOutputTokens: 7,
        policies: { unstreamed: 'auto', clientAbort: 'void', abortBeforeContent: 'free' },
        createdAtMs: 0,
        provisioned: false,
      },
    ])
    expect(catalog.vendors.get('theirs')?.apiKeys).toEqual([])
  })

  test('gives the catalog no model that is disabled', async () => {
    await manage('theirs')
    await database.drizzle.update(model).set({ disabled: true })
    expect([...(await loadCatalog(database, config(''))).models.keys()]).toEqual([])
  })
})
