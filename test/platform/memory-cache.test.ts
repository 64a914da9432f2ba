import { expect, test } from 'vitest'
import { systemClock } from '../../src/platform/clock.ts'
import { memoryCache } from '../../src/platform/memory-cache.ts'
import { cacheContract } from '../contracts/cache.ts'

cacheContract('a cache in memory', () =>
  Promise.resolve({ cache: memoryCache(systemClock, { bytes: 1_000_000, entries: 100 }), close() {} }),
)

const bytes = (size: number): Uint8Array => new Uint8Array(size)
const hourMs = 3_600_000

test('what was not asked for the longest goes first when there are too many', async () => {
  const cache = memoryCache(systemClock, { bytes: 1_000_000, entries: 2 })
  await cache.set('a', bytes(1), hourMs)
  await cache.set('b', bytes(1), hourMs)
  await cache.get('a')
  await cache.set('c', bytes(1), hourMs)
  const left = await Promise.all(['a', 'b', 'c'].map((name) => cache.get(name)))
  expect(left.map((entry) => entry?.length)).toEqual([1, undefined, 1])
})

test('its bytes are bounded, and what is larger than all of them is not kept', async () => {
  const cache = memoryCache(systemClock, { bytes: 10_000, entries: 1_000 })
  for (let at = 0; at < 100; at++) await cache.set(`small ${at}`, bytes(1_000), hourMs)
  await cache.set('large', bytes(10_001), hourMs)
  const kept = await Promise.all(
    [...Array.from({ length: 100 }, (_, at) => `small ${at}`), 'large'].map((name) => cache.get(name)),
  )
  expect(kept.map((entry) => entry !== undefined)).toEqual([
    ...Array<boolean>(94).fill(false),
    ...Array<boolean>(6).fill(true),
    false,
  ])
})

test('an entry that is written again is counted once', async () => {
  const cache = memoryCache(systemClock, { bytes: 5_000, entries: 10 })
  await cache.set('first', bytes(1_000), hourMs)
  for (let at = 0; at < 100; at++) await cache.set('again', bytes(1_000), hourMs)
  expect((await cache.get('first'))?.length).toBe(1_000)
})
