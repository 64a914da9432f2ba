import type { Config } from '../config.ts'
import { databaseCache } from '../db/answers.ts'
import type { Database } from '../db/database.ts'
import { databaseRepeats } from '../db/repeats.ts'
import { openRedisCache } from '../platform/redis-cache.ts'
import type { Cache, Repeats } from '../ports.ts'
import { addressOf } from './records.ts'

/** Where answers are kept beside the memory of this process, and what calls that happen once have come to. */
interface AnswerStores {
  readonly parts: { readonly caches: readonly Cache[]; readonly repeats: Repeats }
  close(): void
}

/** Opens the caches that the configuration names: in Redis where replicas share one, in the database where it says so. */
export async function openAnswerStores(config: Config, database: Database): Promise<AnswerStores> {
  const { redisUrls, cache } = config
  const redis =
    redisUrls && cache.redisBytes > 0
      ? await openRedisCache({ address: addressOf(redisUrls), bytes: cache.redisBytes })
      : undefined
  return {
    parts: {
      caches: [...(redis ? [redis] : []), ...(cache.isInDatabase ? [databaseCache(database)] : [])],
      repeats: databaseRepeats(database),
    },
    close: () => redis?.close(),
  }
}
