import fc from 'fast-check'
import { startRedis } from '../support/real-redis.ts'
import { neighbour, openComparison } from './compare.ts'
import { histories } from './steps.ts'

/** Plays random histories on the engine and on the scripts: `npm run differential -- --runs 10000 --seed 7`. */
function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  const value = at < 0 ? fallback : Number(process.argv[at + 1])
  if (!Number.isSafeInteger(value)) throw new RangeError(`--${name} takes a whole number`)
  return value
}

const numRuns = option('runs', 1_000)
const seed = option('seed', Date.now() % 2 ** 31)
const redis = await startRedis()
const comparison = await openComparison(redis.url)
let commands = 0
try {
  const property = fc.asyncProperty(histories(neighbour()), async (steps) => {
    const played = await comparison.play(steps)
    commands += played
  })
  await fc.assert(property, { numRuns, seed, endOnFailure: process.argv.includes('--no-shrink') })
  const seen = [...comparison.seen].toSorted(([a], [b]) => (a < b ? -1 : 1))
  for (const [name, count] of seen) console.log(`${String(count).padStart(8)}  ${name}`)
  console.log(`${numRuns} histories, ${commands} commands, seed ${seed}: no difference`)
} finally {
  comparison.close()
  await redis.stop()
}
