import type { Config } from '../config.ts'
import { databaseCache } from '../db/answers.ts'
import type { Database } from '../db/database.ts'
import { openRedisCache } from '../platform/redis-cache.ts'
import { openRedisNews } from '../platform/redis-news.ts'
import type { Cache, Log, News } from '../ports.ts'
import { addressOf } from './records.ts'

/** Where answers are kept beside the memory of this process. */
export interface AnswerStores {
  readonly caches: readonly Cache[]
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
    caches: [...(redis ? [redis] : []), ...(cache.isInDatabase ? [databaseCache(database)] : [])],
    close: () => redis?.close(),
  }
}

/** What this process does about changes, wherever they were made. */
export interface Copies {
  key(keyId: number | undefined): void
  account(accountId: number): void
  catalog(): void
}

/** Tells others of changes and hears of theirs. */
export interface Changes extends News {
  close(): void
}

/** Changes are told to all gateways on a Redis; without one there is nobody to tell. */
export function openChanges({ redisUrls }: Pick<Config, 'redisUrls'>, log: Log, copies: Copies): Changes {
  if (!redisUrls) return { tell() {}, close() {} }
  return openRedisNews({
    address: addressOf(redisUrls),
    log,
    onNews: (topic) => hear(copies, topic),
    onMissed() {
      copies.key(undefined)
      copies.catalog()
    },
  })
}

/** What changed, and which: `key 7`, `account 3`, `catalog`. What a newer version may say beside that is passed over. */
function hear(copies: Copies, topic: string): void {
  const [subject, digits = ''] = topic.split(' ')
  const id = /^\d{1,15}$/.test(digits) ? Number(digits) : undefined
  if (subject === 'key' && id !== undefined) copies.key(id)
  if (subject === 'account' && id !== undefined) copies.account(id)
  if (subject === 'catalog') copies.catalog()
}
