import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asc } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '../../src/config.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { model, price, target, vendor } from '../../src/db/schema.ts'
import { importPrices } from '../../src/entry/prices-import.ts'
import { loadCatalog } from '../../src/gateway/catalog.ts'
import { openPglite } from '../../src/platform/pglite.ts'

const nowMs = Date.UTC(2026, 6, 24, 12)
const folder = mkdtempSync(join(tmpdir(), 'tollgate-prices-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const entry = (input: number, output: number, more: object = {}) => ({
  litellm_provider: 'openai',
  input_cost_per_token: input,
  output_cost_per_token: output,
  ...more,
})
const litellm = join(folder, 'litellm.json')
writeFileSync(
  litellm,
  JSON.stringify({
    same: entry(1e-6, 2e-6),
    dearer: entry(2e-6, 4e-6, {
      input_cost_per_token_above_200k_tokens: 4e-6,
      output_cost_per_token_above_200k_tokens: 6e-6,
    }),
    disputed: entry(1e-6, 2e-6),
    empty: entry(0, 0),
  }),
)
const modelsDev = join(folder, 'models-dev.json')
const costs = { same: { input: 1, output: 2 }, dearer: { input: 2, output: 4 }, disputed: { input: 1, output: 3 } }
writeFileSync(
  modelsDev,
  JSON.stringify({ openai: { models: Object.fromEntries(Object.entries(costs).map(([id, cost]) => [id, { cost }])) } }),
)

const modelOf = (name: string) =>
  `  ${name}: { targets: [{ vendor: openai, model: ${name} }], prices: { input: 1, output: 2 } }`
const config = readConfig({
  text: `vendors: { openai: { api_keys: [k] }, sandbox: {} }
models:
${['same', 'dearer', 'disputed', 'empty'].map(modelOf).join('\n')}
  sandbox/echo: { targets: [{ vendor: sandbox, model: echo }], prices: { input: 1, output: 2 } }`,
  path: 'x.yaml',
  env: {},
})

/** What an import of both lists ends with, writes and warns of. */
async function run(
  args: readonly string[],
  database?: Database,
): Promise<{ status: number; yaml: string; told: string[] }> {
  const written: string[] = []
  const told: string[] = []
  const status = await importPrices({
    args,
    nowMs,
    config,
    write: (text) => void written.push(text),
    warn: (text) => void told.push(text.split('\n')[0] ?? ''),
    open: (work) => (database ? work(database) : Promise.reject(new Error('nobody asked for the database'))),
  })
  return { status, yaml: written.join('\n'), told }
}

describe('an import', () => {
  test('proposes what has changed, and tells what it refuses', async () => {
    const { status, yaml, told } = await run([litellm, modelsDev])
    expect([status, parse(yaml), told]).toEqual([
      1,
      {
        models: {
          dearer: { prices: { input: '2', output: '4', tiers: [{ above: 200_000, input: '4', output: '6' }] } },
        },
      },
      [
        'disputed: output: 2 in litellm, 3 in models.dev',
        'empty: input costs nothing and output costs nothing in litellm: confirm that it is free, or leave it',
      ],
    ])
  })

  test('says what each price was', async () => {
    const { yaml } = await run([folder, '--model', 'dearer', '--valid-from', '2026-08-01T00:00:00Z'])
    expect(yaml.split('\n').filter((line) => line.includes('#'))).toEqual([
      '# Proposed prices, to hold from 2026-08-01T00:00:00.000Z on.',
      '    # From litellm "dearer".',
      '    # input: 1 → 2',
      '    # output: 2 → 4',
      '    # input prompt>=200001: none → 4',
      '    # output prompt>=200001: none → 6',
    ])
  })

  test('of prices that are as they were proposes nothing', async () => {
    expect(await run([litellm, modelsDev, '--model', 'same'])).toEqual({
      status: 0,
      yaml: '# No price changes.',
      told: [],
    })
  })

  test('takes a preferred list, a name of another model, a confirmed free one, and a markup', async () => {
    const preferred = await run([
      litellm,
      modelsDev,
      '--model',
      'disputed',
      '--prefer',
      'models.dev',
      '--markup-percent',
      '10',
    ])
    const named = await run([litellm, '--model', 'mine=dearer'])
    const free = await run([litellm, '--model', 'empty', '--confirm-free', 'empty'])
    expect([parse(preferred.yaml), parse(named.yaml), parse(free.yaml)]).toMatchObject([
      { models: { disputed: { prices: { output: '3', markup_percent: '10' } } } },
      { models: { mine: { prices: { input: '2' } } } },
      { models: { empty: { free: true } } },
    ])
  })

  test.each([
    ['no list', []],
    ['a file that is not there', [join(folder, 'none.json')]],
    ['an unknown option', [litellm, '--force']],
    ['an unknown list', [litellm, '--prefer', 'mine']],
    ['a moment without a zone', [litellm, '--valid-from', '2026-08-01T00:00:00']],
    ['a moment less than five minutes ahead', [litellm, '--valid-from', '2026-07-24T12:04:59Z']],
    ['no moment to apply it at', [litellm, '--apply']],
    ['a markup of nothing known', [litellm, '--model', 'dearer', '--markup-percent', 'x']],
  ])('with %s is a wrong use, and changes nothing', async (_, args) => {
    expect((await run(args)).status).toBe(2)
  })
})

describe('an import that is applied', () => {
  let database: Database
  beforeAll(async () => {
    database = await openPglite()
    await migrate(database, nowMs)
    const { drizzle } = database
    await drizzle.insert(vendor).values({ id: 'openai', adapter: 'openai', baseUrl: 'https://h/v1' })
    await drizzle.insert(model).values(['managed', 'planned', 'rated'].map((name) => ({ name, maxOutputTokens: 9 })))
    await drizzle.insert(target).values({ model: 'managed', vendor: 'openai', vendorModel: 'dearer' })
    const row = { model: 'managed', currency: 'USD', validFrom: new Date(0) }
    await drizzle.insert(price).values([
      { ...row, unit: 'input', nanos: 1_000_000_000n },
      { ...row, unit: 'output', nanos: 4_000_000_000n },
      { ...row, model: 'planned', unit: 'input', nanos: 1n, validFrom: new Date('2026-09-01T00:00:00Z') },
    ])
  }, 120_000)
  afterAll(() => database.close())

  const rows = async () =>
    (await database.drizzle.select().from(price).orderBy(asc(price.id))).map((row) => [
      row.model,
      row.unit,
      row.tier,
      row.nanos,
      row.validFrom.toISOString().slice(0, 10),
      row.validTo?.toISOString().slice(0, 10) ?? 'open',
    ])
  const from = ['--apply', '--valid-from', '2026-08-01T00:00:00Z']

  test('changes nothing at all where one of its models is refused', async () => {
    const before = await rows()
    const { status, told, yaml } = await run(
      [litellm, '--model', 'managed', '--model', 'planned=dearer', ...from],
      database,
    )
    expect([status, told, yaml, await rows()]).toEqual([1, ['planned: has other prices planned for later'], '', before])
  })

  test('is refused for a model of the configuration file', async () => {
    const { status, told } = await run([litellm, '--model', 'dearer', ...from], database)
    expect([status, told]).toEqual([1, ['dearer: is no model of the admin API']])
  })

  test('ends what changes at its moment, opens what follows, and leaves what stays', async () => {
    const { status } = await run([litellm, '--model', 'managed', ...from], database)
    expect([status, (await rows()).filter(([name]) => name === 'managed')]).toEqual([
      0,
      [
        ['managed', 'input', '', 1_000_000_000n, '1970-01-01', '2026-08-01'],
        ['managed', 'output', '', 4_000_000_000n, '1970-01-01', 'open'],
        ['managed', 'input', '', 2_000_000_000n, '2026-08-01', 'open'],
        ['managed', 'input', 'prompt>=200001', 4_000_000_000n, '2026-08-01', 'open'],
        ['managed', 'output', 'prompt>=200001', 6_000_000_000n, '2026-08-01', 'open'],
      ],
    ])
  })

  test('is the catalog once its moment has come', async () => {
    const row = { model: 'rated', currency: 'USD', validFrom: new Date(2) }
    await database.drizzle.insert(price).values([
      { ...row, unit: 'input', nanos: 1n },
      { ...row, unit: 'output', nanos: 2n },
      { ...row, unit: 'input', tier: 'service=flex', nanos: 3n },
      { ...row, unit: 'input', tier: 'service=priority', nanos: 4n, validFrom: new Date(8_000_000_000_000) },
    ])
    const { models } = await loadCatalog(database, config)
    expect(models.get('rated')?.prices).toMatchObject({
      nanos: { input: 1n, output: 2n },
      rates: [{ when: { service: 'flex' }, nanos: { input: 3n } }],
    })
  })
})
