import { Cluster, Redis } from 'ioredis'
import type { Log, News } from '../ports.ts'
import type { RedisAddress } from './redis-connection.ts'

export interface RedisNewsOptions {
  readonly address: RedisAddress
  readonly log: Log
  /** Something has changed, here or elsewhere. */
  onNews(topic: string): void
  /** News may have been missed: whatever there is a copy of may be old. */
  onMissed(): void
  /** News is heard from now on, for the first time or again. */
  onHeard?(): void
}

export interface RedisNews extends News {
  close(): void
}

const channel = 'tollgate:news'
const longestRetryMs = 1_000
const connectMs = 1_000
/** Longer topics are none of ours. */
const maxTopic = 2_048
const retryMs = (times: number): number => Math.min(longestRetryMs, times * 50)

/** News over Redis. A subscription has a connection of its own, because nothing else may be asked on it. */
export function openRedisNews({ address, log, onNews, onMissed, onHeard }: RedisNewsOptions): RedisNews {
  const hears = connect(address)
  const tells = connect(address)
  let isAway = false
  let wasReady = false
  const away = (): void => {
    if (!isAway) log('news_away')
    isAway = true
  }
  // Each command hears of it; without a listener the client would print it.
  for (const client of [hears, tells]) client.on('error', () => {})
  hears.on('close', away)
  hears.on('ready', () => {
    hears.subscribe(channel).then(
      () => {
        if (isAway) log('news_back')
        // What was told meanwhile nobody will tell again.
        if (wasReady) onMissed()
        isAway = false
        wasReady = true
        onHeard?.()
      },
      () => away(),
    )
  })
  hears.on('message', (from: string, topic: string) => {
    if (from === channel && topic.length <= maxTopic) onNews(topic)
  })
  return {
    tell(topic) {
      tells.publish(channel, topic).catch((error) => {
        // That nobody can be told at all was said once.
        if (!isAway) log('news_lost', { error: String(error) })
      })
    },
    close() {
      hears.disconnect()
      tells.disconnect()
    },
  }
}

function connect(address: RedisAddress): Redis | Cluster {
  const options = { enableOfflineQueue: false, maxRetriesPerRequest: 0, connectTimeout: connectMs } as const
  if ('url' in address) return new Redis(address.url, { ...options, autoResubscribe: false, retryStrategy: retryMs })
  const urls = address.cluster.map((url) => new URL(url))
  const [first] = urls
  const nodes = urls.map((url) => ({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) }))
  return new Cluster(nodes, {
    enableOfflineQueue: false,
    clusterRetryStrategy: retryMs,
    redisOptions: {
      ...options,
      ...(first && first.username !== '' && { username: decodeURIComponent(first.username) }),
      ...(first && first.password !== '' && { password: decodeURIComponent(first.password) }),
      ...(first?.protocol === 'rediss:' && { tls: {} }),
    },
  })
}
