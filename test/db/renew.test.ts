import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgres, type PostgresDatabase } from '../../src/platform/postgres.ts'
import { postgresPrograms, type RealPostgres, startPostgres } from './real-postgres.ts'

describe.skipIf(!postgresPrograms)('a database whose connections are made anew', () => {
  let server: RealPostgres
  let database: PostgresDatabase

  beforeAll(async () => {
    server = await startPostgres(postgresPrograms ?? '')
    database = openPostgres(await server.create())
  })
  afterAll(async () => {
    await database.close()
    await server.stop()
  })

  const pid = async () => {
    const [row] = await database.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    return row?.pid
  }

  test('answers on other connections, and reads values as before', async () => {
    const before = await pid()
    database.renew()
    expect(await pid()).not.toBe(before)
    const rows = await database.query('SELECT 9007199254740993::bigint AS big, \'{"a":1}\'::jsonb AS json')
    expect(rows).toEqual([{ big: 9_007_199_254_740_993n, json: { a: 1 } }])
  })

  test('fails what was under way', async () => {
    const slow = database.query('SELECT pg_sleep(10)')
    const failed = expect(slow).rejects.toThrow('CONNECTION_')
    await pid()
    database.renew()
    await failed
  })
})
