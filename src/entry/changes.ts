import type { Config } from '../config.ts'
import { openRedisNews } from '../platform/redis-news.ts'
import type { Log } from '../ports.ts'
import { addressOf } from './records.ts'

/** What this process has copies of, and how each is made anew. */
export interface Copies {
  /** Without an id: all of them. */
  key(keyId?: number): void
  account(accountId: number): void
  catalog(): void
}

/** Changes that were made here: this process and all others make their copies anew. */
export interface Changes extends Copies {
  close(): void
}

/** Changes are told to all gateways on a Redis; without one there is nobody to tell. */
export function openChanges({ redisUrls }: Pick<Config, 'redisUrls'>, log: Log, copies: Copies): Changes {
  const news = redisUrls && newsOver(redisUrls, log, copies)
  return {
    key(keyId) {
      copies.key(keyId)
      if (keyId !== undefined) news?.tell(`key ${keyId}`)
    },
    account(accountId) {
      copies.account(accountId)
      news?.tell(`account ${accountId}`)
    },
    catalog() {
      copies.catalog()
      news?.tell('catalog')
    },
    close: () => news?.close(),
  }
}

function newsOver(redisUrls: readonly string[], log: Log, copies: Copies) {
  return openRedisNews({
    address: addressOf(redisUrls),
    log,
    onNews: (topic) => hear(copies, topic),
    onMissed() {
      copies.key()
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
