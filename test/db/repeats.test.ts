import { afterAll, beforeAll, describe } from 'vitest'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, type RealPostgres, startPostgres } from './real-postgres.ts'
import { repeatsContract } from './repeats-contract.ts'

repeatsContract('in PGlite', () => openPglite())

describe.skipIf(!postgresPrograms)('with a server', () => {
  let postgres: RealPostgres
  beforeAll(async () => {
    postgres = await startPostgres(postgresPrograms ?? '')
  }, 90_000)
  afterAll(() => postgres?.stop())

  repeatsContract('in PostgreSQL', async () => openPostgres(await postgres.create()))
})
