import type { Config } from '../config.ts'
import type { Peers } from '../gateway/peers.ts'
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
export function openChanges({ redisUrls }: Pick<Config, 'redisUrls'>, log: Log, told: Told): Changes {
  const { copies, peers } = told
  const news = redisUrls && newsOver(redisUrls, log, told)
  if (news) peers.join((text) => news.tell(`${seen} ${text}`))
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

/** What hears of changes, and of vendors. */
interface Told {
  readonly copies: Copies
  readonly peers: Peers
}

/** Begins news of vendors. */
const seen = 'seen'

function newsOver(redisUrls: readonly string[], log: Log, { copies, peers }: Told) {
  return openRedisNews({
    address: addressOf(redisUrls),
    log,
    onNews(topic) {
      if (topic.startsWith(`${seen} `)) peers.hear(topic.slice(seen.length + 1))
      else hear(copies, topic)
    },
    onHeard: peers.listening,
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
