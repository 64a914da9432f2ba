import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openRedisCache } from '../../src/platform/redis-cache.ts'
import { cacheContract } from '../contracts/cache.ts'
import { hasRedis, type RealCluster, type RealRedis, startCluster, startRedis } from '../support/real-redis.ts'

const hourMs = 3_600_000

describe.skipIf(!hasRedis)('in Redis', () => {
  cacheContract('a cache in one Redis', async () => {
    const redis = await startRedis()
    const cache = await openRedisCache({ address: { url: redis.url }, bytes: 16_000_000 })
    return {
      cache,
      async close() {
        cache.close()
        await redis.stop()
      },
    }
  })

  cacheContract('a cache in a cluster', async () => {
    const cluster: RealCluster = await startCluster()
    const cache = await openRedisCache({ address: { cluster: cluster.urls }, bytes: 16_000_000 })
    return {
      cache,
      async close() {
        cache.close()
        await cluster.stop()
      },
    }
  })

  describe('its bounds', () => {
    let redis: RealRedis
    beforeAll(async () => {
      redis = await startRedis()
    }, 60_000)
    afterAll(() => redis.stop())

    test('hold, however much is written', async () => {
      const limit = 1_600_000
      const cache = await openRedisCache({ address: { url: redis.url }, bytes: limit })
      const names = Array.from({ length: 400 }, (_, at) => `name ${at}`)
      for (const name of names) await cache.set(name, new Uint8Array(20_000), hourMs)
      const kept = await Promise.all(names.map((name) => cache.get(name)))
      const size = kept.filter((entry) => entry !== undefined).length * 20_000
      expect(size).toBeLessThanOrEqual(limit)
      expect(size).toBeGreaterThan(limit / 2)
      // One of a shard that is full took the place of another: the latest is there.
      expect(kept.at(-1)?.length).toBe(20_000)
      const keys = (await redis.send('KEYS', 'x:*')) as readonly string[]
      expect(keys).toHaveLength(size / 20_000)
      cache.close()
    })

    test('leave out what is larger than a share of it', async () => {
      const cache = await openRedisCache({ address: { url: redis.url }, bytes: 160_000 })
      await cache.set('large', new Uint8Array(10_001), hourMs)
      expect(await cache.get('large')).toBeUndefined()
      cache.close()
    })
  })

  test('it says so when Redis is not there', async () => {
    const cache = await openRedisCache({ address: { url: 'redis://127.0.0.1:1' }, bytes: 1_000_000 })
    await expect(cache.get('name')).rejects.toThrow('there is no connection')
    await expect(cache.set('name', Uint8Array.of(1), hourMs)).rejects.toThrow('there is no connection')
    cache.close()
  })
})
