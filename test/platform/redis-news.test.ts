import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { RedisAddress } from '../../src/platform/redis-connection.ts'
import { openRedisNews, type RedisNews } from '../../src/platform/redis-news.ts'
import { hasRedis, type RealCluster, type RealRedis, startCluster, startRedis } from '../support/real-redis.ts'

interface Listener {
  readonly news: RedisNews
  readonly heard: string[]
  missed: number
}

function listen(address: RedisAddress): Listener {
  const heard: string[] = []
  const listener: Listener = {
    heard,
    missed: 0,
    news: openRedisNews({
      address,
      log: () => {},
      onNews: (topic) => heard.push(topic),
      onMissed: () => (listener.missed += 1),
    }),
  }
  return listener
}

const soon = { timeout: 15_000, interval: 20 }

/** Tells until all have heard it: whoever has just come hears nothing of what was told before. */
async function toldTo(teller: Listener, topic: string, listeners: readonly Listener[]): Promise<void> {
  await vi.waitFor(() => {
    teller.news.tell(topic)
    for (const { heard } of listeners) expect(heard).toContain(topic)
  }, soon)
}

describe.skipIf(!hasRedis)('news', () => {
  describe('over one Redis', () => {
    let redis: RealRedis
    beforeAll(async () => {
      redis = await startRedis()
    }, 60_000)
    afterAll(() => redis.stop())

    test('is heard by all, the one who tells it too', async () => {
      const all = [listen({ url: redis.url }), listen({ url: redis.url })] as const
      await toldTo(all[0], 'key 7', all)
      expect(all.map(({ missed }) => missed)).toEqual([0, 0])
      for (const { news } of all) news.close()
    })

    test('may be missed while Redis is away, which is said once it is back', async () => {
      const one = listen({ url: redis.url })
      await toldTo(one, 'before', [one])
      await redis.restart()
      await vi.waitFor(() => expect(one.missed).toBe(1), soon)
      await toldTo(one, 'after', [one])
      one.news.close()
    })

    test('is lost without harm where nobody is there', () => {
      const one = listen({ url: 'redis://127.0.0.1:1' })
      one.news.tell('key 7')
      one.news.close()
      expect(one.heard).toEqual([])
    })
  })

  describe('over a cluster', () => {
    let cluster: RealCluster
    beforeAll(async () => {
      cluster = await startCluster()
    }, 60_000)
    afterAll(() => cluster.stop())

    test('is heard by all', async () => {
      const all = [listen({ cluster: cluster.urls }), listen({ cluster: cluster.urls })] as const
      await toldTo(all[0], 'catalog', all)
      for (const { news } of all) news.close()
    })
  })
})
