import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, startPostgres } from '../db/real-postgres.ts'
import { startRedis } from '../support/real-redis.ts'
import { compareBooks } from './books-compare.ts'
import { sqlSide } from './books-sql.ts'
import { booksHistories } from './books-steps.ts'
import { neighbour, openComparison } from './compare.ts'
import { histories } from './steps.ts'

/**
 * Plays random histories to two makes of one thing and compares every answer: the engine and the scripts of Redis, and
 * the model of the books and their SQL on PGlite and PostgreSQL.
 */
const help = `npm run differential -- [--only engine|books] [--runs 1000] [--seed N] [--no-shrink]\n`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    'no-shrink': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const numRuns = whole('runs', values.runs)
const seed = whole('seed', values.seed)
const choice = { numRuns, seed, endOnFailure: values['no-shrink'] }

function whole(name: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new RangeError(`--${name} takes a whole number`)
  return Number.parseInt(text, 10)
}

function printSeen(seen: ReadonlyMap<string, number>): void {
  for (const [name, count] of [...seen].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${String(count).padStart(8)}  ${name}`)
}

async function engine(): Promise<void> {
  const redis = await startRedis()
  const comparison = await openComparison(redis.url)
  let commands = 0
  try {
    const property = fc.asyncProperty(histories(neighbour()), async (steps) => {
      const played = await comparison.play(steps)
      commands += played
    })
    await fc.assert(property, choice)
    printSeen(comparison.seen)
    console.log(`${numRuns} histories, ${commands} commands, seed ${seed}: no difference`)
  } finally {
    comparison.close()
    await redis.stop()
  }
}

async function books(): Promise<void> {
  const clock = { nowMs: 0 }
  const server = postgresPrograms ? await startPostgres(postgresPrograms) : undefined
  const sides = [await sqlSide('PGlite', await openPglite(), clock)]
  if (server) sides.push(await sqlSide('PostgreSQL', openPostgres(await server.create()), clock))
  const comparison = compareBooks(sides, clock)
  let steps = 0
  try {
    const property = fc.asyncProperty(booksHistories, async (history) => {
      const played = await comparison.play(history)
      steps += played
    })
    await fc.assert(property, choice)
    await comparison.check()
    printSeen(comparison.seen)
    const names = sides.map(({ name }) => name).join(' and ')
    console.log(`${numRuns} histories of the books on ${names}, ${steps} steps, seed ${seed}: no difference`)
  } finally {
    for (const side of sides) await side.close()
    await server?.stop()
  }
}

if (values.help || (values.only !== undefined && !['engine', 'books'].includes(values.only))) {
  console.log(help)
  process.exit(values.help ? 0 : 2)
}
if (values.only !== 'books') await engine()
if (values.only !== 'engine') await books()
