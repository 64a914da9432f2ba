import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Comparison, neighbour, openComparison } from '../differential/compare.ts'
import { histories } from '../differential/steps.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'

describe.skipIf(!hasRedis)('the scripts of Redis and the engine', () => {
  let redis: RealRedis
  let comparison: Comparison
  beforeAll(async () => {
    redis = await startRedis()
    comparison = await openComparison(redis.url)
  })
  afterAll(async () => {
    comparison?.close()
    await redis?.stop()
  })

  // Thousands of histories: npm run differential -- --runs 10000
  test('answer any history alike and leave the same records', async () => {
    const property = fc.asyncProperty(histories(neighbour()), async (steps) => {
      await comparison.play(steps)
    })
    await fc.assert(property, { numRuns: 200 })
  })

  test('are both brought to every kind of reply by those histories', () => {
    const replies = new Set([...comparison.seen.keys()].map((name) => name.split(' ')[1]))
    const kinds = [
      'ok',
      'duplicate',
      'load',
      'epoch',
      'key_changed',
      'denied',
      'limit',
      'funds',
      'gone',
      'fenced',
      'moved',
    ]
    expect(kinds.filter((kind) => !replies.has(kind))).toEqual([])
  })
})
