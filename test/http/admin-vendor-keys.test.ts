import { eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keysOf } from '../../src/core/routing.ts'
import { vendorKey } from '../../src/db/schema.ts'
import { openSeal } from '../../src/platform/seal.ts'
import { earlierSecret, openOffice, type Office } from './office.ts'

let office: Office

beforeAll(async () => {
  office = await openOffice(`
vendors:
  openai:
    api_keys: [sk-of-the-file]
    keys: [{ name: batch, key: sk-batch, scenarios: [batch] }]
  deepseek:
    api_keys: ['']
`)
})
afterAll(() => office.close())

const path = '/admin/v1/vendors/openai/keys'
const wanted = { name: 'eu', key: 'sk-of-the-api', models: ['gpt-*'], priority: 'vip', region: 'eu' }
const secrets = (vendor: string) => {
  const entry = office.catalog.current().vendors.get(vendor)
  return entry ? keysOf(entry).map(({ id, secret }) => [id, secret]) : []
}

describe('a vendor key', () => {
  test('is added, listed without its secret, used, changed and removed', async () => {
    const { status, body } = await office.ask('POST', path, { body: wanted })
    const shown = {
      object: 'vendor_key',
      vendor: 'openai',
      name: 'eu',
      models: ['gpt-*'],
      scenarios: [],
      priority: 'vip',
      region: 'eu',
      disabled: false,
      provisioned: false,
      created_at: expect.any(String) as string,
    }
    expect([status, body]).toEqual([201, shown])
    expect(secrets('openai')).toEqual([
      ['key-1', 'sk-of-the-file'],
      ['batch', 'sk-batch'],
      ['eu', 'sk-of-the-api'],
    ])
    const list = await office.ask('GET', path)
    expect(JSON.stringify(list.body)).not.toContain('sk-')
    expect(
      (list.body['data'] as { name: string; provisioned: boolean }[]).map(({ name, provisioned }) => [
        name,
        provisioned,
      ]),
    ).toEqual([
      ['key-1', true],
      ['batch', true],
      ['eu', false],
    ])
    const changed = await office.ask('PATCH', `${path}/eu`, {
      body: { key: 'sk-renewed', priority: 'normal', region: null },
    })
    expect(changed.body).toEqual({ ...shown, priority: 'normal', region: null })
    expect(secrets('openai').at(-1)).toEqual(['eu', 'sk-renewed'])
    await office.ask('PATCH', `${path}/eu`, { body: { disabled: true } })
    expect(secrets('openai').length).toBe(2)
    expect((await office.ask('DELETE', `${path}/eu`)).body).toEqual({
      object: 'vendor_key',
      vendor: 'openai',
      name: 'eu',
      deleted: true,
    })
    expect(secrets('openai').length).toBe(2)
  })

  test('makes a vendor live that has none in the file', async () => {
    await office.ask('POST', '/admin/v1/vendors/deepseek/keys', { body: { name: 'first', key: 'sk-first' } })
    expect(secrets('deepseek')).toEqual([['first', 'sk-first']])
  })

  test('lies in the database encrypted', async () => {
    await office.ask('POST', path, { body: { name: 'kept', key: 'sk-in-the-books' } })
    const rows = await office.database.drizzle.select().from(vendorKey)
    expect(JSON.stringify(rows)).not.toContain('sk-in-the-books')
  })

  test('does not open under another name: a row that was copied is no key', async () => {
    const { drizzle } = office.database
    await office.ask('POST', path, { body: { name: 'own', key: 'sk-own' } })
    const [row] = (await drizzle.select().from(vendorKey)).filter(({ name }) => name === 'own')
    if (!row) throw new Error('there is no such row')
    const { id: _, ...columns } = row
    await drizzle.insert(vendorKey).values({ ...columns, name: 'stolen' })
    await office.catalog.reload()
    expect(secrets('openai').map(([name]) => name)).not.toContain('stolen')
  })

  test('that was encrypted with an earlier secret is encrypted anew, and one that does not open is told', async () => {
    const { drizzle } = office.database
    const rows = [
      { name: 'earlier', sealed: openSeal(earlierSecret).seal('sk-earlier', 'vendor_key openai earlier') },
      { name: 'lost', sealed: openSeal('a secret that nobody has').seal('sk-lost', 'vendor_key openai lost') },
    ]
    await drizzle.insert(vendorKey).values(rows.map((row) => ({ ...row, vendor: 'openai' })))
    await office.ask('POST', path, { body: { name: 'of-today', key: 'sk-of-today' } })
    const { length } = await drizzle.select().from(vendorKey)
    const reseal = () => office.ask('POST', '/admin/v1/vendor-keys/reseal')
    const first = await reseal()
    const unreadable = Number(first.body['unreadable'])
    expect([first.status, first.body]).toEqual([
      200,
      { object: 'vendor_keys_resealed', resealed: 1, current: length - 1 - unreadable, unreadable },
    ])
    expect(unreadable).toBeGreaterThan(0)
    expect((await reseal()).body).toMatchObject({ resealed: 0, current: length - unreadable })
    const [row] = (await drizzle.select().from(vendorKey)).filter(({ name }) => name === 'earlier')
    expect(openSeal('a secret of this test').open(row?.sealed ?? '', 'vendor_key openai earlier')).toBe('sk-earlier')
    await drizzle.delete(vendorKey).where(eq(vendorKey.name, 'lost'))
  })

  test.each([
    ['GET', '/admin/v1/vendor-keys/reseal', undefined, [405, 'method_not_allowed', undefined]],
    ['POST', path, { ...wanted, name: 'key-1' }, [409, 'conflict', 'name']],
    ['POST', path, { ...wanted, name: 'batch' }, [409, 'conflict', 'name']],
    ['POST', path, { name: 'a b', key: 'x' }, [400, 'invalid_value', 'name']],
    ['POST', path, { name: 'a', key: '' }, [400, 'invalid_value', 'key']],
    ['POST', path, { name: 'a', key: 'x', priority: 'best' }, [400, 'invalid_value', 'priority']],
    ['POST', '/admin/v1/vendors/nobody/keys', wanted, [404, 'not_found', undefined]],
    ['PATCH', `${path}/nobody`, { disabled: true }, [404, 'not_found', undefined]],
    ['DELETE', `${path}/batch`, undefined, [404, 'not_found', undefined]],
    ['PUT', path, {}, [405, 'method_not_allowed', undefined]],
  ] as const)('%s %s %j is refused', async (method, at, body, refusal) => {
    const [status, code, param] = await office.refusal(method, at, body === undefined ? {} : { body })
    expect([status, code, param]).toEqual(refusal)
  })

  test.each(['GET', 'POST'])('is nothing for other keys (%s)', async (method) => {
    const [status] = await office.refusal(method, path, { key: 'sk-nobody' })
    expect(status).toBe(401)
  })
})
