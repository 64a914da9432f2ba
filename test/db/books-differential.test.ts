import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { compareBooks } from '../differential/books-compare.ts'
import type { Side } from '../differential/books-side.ts'
import { sqlSide } from '../differential/books-sql.ts'
import { booksHistories } from '../differential/books-steps.ts'
import { postgresPrograms, startPostgres, type RealPostgres } from './real-postgres.ts'

const clock = { nowMs: 0 }
const sides: Side[] = []
let server: RealPostgres | undefined

beforeAll(async () => {
  server = postgresPrograms ? await startPostgres(postgresPrograms) : undefined
  sides.push(await sqlSide('PGlite', await openPglite(), clock))
  if (server) sides.push(await sqlSide('PostgreSQL', openPostgres(await server.create()), clock))
})
afterAll(async () => {
  for (const side of sides) await side.close()
  await server?.stop()
})

// Thousands of histories: npm run differential -- --only books --runs 10000
test('the SQL on every database replies to any history as the model does, and leaves the same books', async () => {
  const comparison = compareBooks(sides, clock)
  const property = fc.asyncProperty(booksHistories, async (steps) => {
    await comparison.play(steps)
  })
  await fc.assert(property, { numRuns: 30 })
  await comparison.check()
  expect(comparison.seen.size).toBeGreaterThan(0)
}, 120_000)
