import { createHash } from 'node:crypto'
import { cellCount, tagOf } from '../core/cell.ts'
import type { Cache } from '../ports.ts'
import { connectRedis, writeTogether, type RedisAddress, type RedisServer } from './redis-connection.ts'

export interface RedisCacheOptions {
  readonly address: RedisAddress
  /** All entries together; beyond it those go first that end first. */
  readonly bytes: number
  /** A command that is not answered by then is given up. */
  readonly commandMs?: number
}

export interface RedisCache extends Cache {
  close(): void
}

/** The cache is in so many parts, each on one server of a cluster and with its share of the bytes. */
const shards = 16
const defaultCommandMs = 250
/** The start waits no longer: without Redis the gateway runs on. */
const startMs = 1_000

/*
 * One shard: its entries, `names` with when each ends, `sizes` with what each takes, `total` with the sum. All of it has
 * the shard's tag, so that one script may touch it. Nothing in here is worth keeping: what is lost is asked for anew.
 */
const setText = `
local entry, names, sizes, total = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, bytes, ttl, limit, prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local sum = tonumber(redis.call('GET', total) or '0')
local function drop(gone)
  sum = sum - tonumber(redis.call('HGET', sizes, gone) or '0')
  redis.call('HDEL', sizes, gone)
  redis.call('ZREM', names, gone)
  redis.call('DEL', prefix .. gone)
end
local size = #bytes + 512
drop(name)
if size <= limit then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', names, '-inf', now, 'LIMIT', 0, 100)) do drop(gone) end
  for _ = 1, 1000 do
    if sum + size <= limit then break end
    local first = redis.call('ZRANGE', names, 0, 0)[1]
    if not first then
      sum = 0
      break
    end
    drop(first)
  end
  if sum + size <= limit then
    redis.call('SET', entry, bytes, 'PX', ttl)
    redis.call('ZADD', names, now + ttl, name)
    redis.call('HSET', sizes, name, size)
    sum = sum + size
  end
end
redis.call('SET', total, string.format('%.0f', sum))
return 1
`
const setHash = createHash('sha1').update(setText).digest('hex')

/** Answers in Redis, for all gateways on it. It has a connection of its own: large answers do not stand before holds. */
export async function openRedisCache({ address, bytes, commandMs }: RedisCacheOptions): Promise<RedisCache> {
  const connection = connectRedis(address, commandMs ?? defaultCommandMs)
  const limit = Math.floor(bytes / shards)
  await connection.ready(startMs)

  function serverOf(cell: number): RedisServer['client'] {
    const server = connection.serverOf(cell)
    if (!server) {
      connection.refresh(cell)
      throw new Error('there is no connection')
    }
    writeTogether(server.client)
    return server.client
  }

  return {
    kind: 'redis',
    async get(name) {
      const cell = shardOf(name)
      return (await serverOf(cell).getBuffer(prefixOf(cell) + name)) ?? undefined
    },
    async set(name, value, ttlMs) {
      if (value.length > limit || ttlMs < 1) return
      const cell = shardOf(name)
      const prefix = prefixOf(cell)
      const keys = [prefix + name, `xn:{${tagOf(cell)}}`, `xs:{${tagOf(cell)}}`, `xt:{${tagOf(cell)}}`]
      const args = [name, Buffer.from(value), Math.floor(ttlMs), limit, prefix]
      const client = serverOf(cell)
      try {
        await client.evalsha(setHash, keys.length, ...keys, ...args)
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        await client.eval(setText, keys.length, ...keys, ...args)
      }
    },
    close: () => connection.close(),
  }
}

/** Cells are slots of a cluster; these are spread over all of them. */
function shardOf(name: string): number {
  const shard = createHash('sha1').update(name).digest().readUInt16BE(0) % shards
  return shard * (cellCount / shards)
}

function prefixOf(cell: number): string {
  return `x:{${tagOf(cell)}}:`
}
