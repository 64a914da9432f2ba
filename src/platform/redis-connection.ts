import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { tagOf } from '../core/cell.ts'

/** One server, or the nodes of a cluster, as `redis://[user:password@]host:port[/database]` or `rediss://…`. */
export type RedisAddress = { readonly url: string } | { readonly cluster: readonly string[] }

/** One server that can be spoken to. Everything about it is of one connection, and of one life of the server. */
export interface RedisServer {
  readonly client: Redis
  /** As `INFO` named it on this connection: another one after every start of the server. */
  readonly runId: string
}

export interface RedisConnection {
  /** The name of the server that a cell lives on, for the log. */
  nameOf(cell: number): string
  /** The server that a cell lives on; undefined while it cannot be spoken to. */
  serverOf(cell: number): RedisServer | undefined
  /** A cell was not where it should be, or its server does not answer: look again. */
  refresh(cell: number): void
  /** Drops a connection on which nothing comes back, with all that waits on it. */
  renew(cell: number): void
  /** Resolves when every server is there, or after `timeoutMs`. */
  ready(timeoutMs: number): Promise<void>
  close(): void
}

const connectMs = 1_000
const longestRetryMs = 1_000
const slotsRefreshMs = 5_000
const readyPollMs = 5

/** Nothing is queued and nothing is sent twice: a command that fails is the caller's to send again, or not. */
const baseOptions = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  connectTimeout: connectMs,
  stringNumbers: true,
} as const satisfies RedisOptions

/** The client times a command by itself as well, and would give it up before a busy process has read the answer. */
const patience = 4

type Options = typeof baseOptions & { readonly commandTimeout: number }

const retryMs = (times: number): number => Math.min(longestRetryMs, times * 50)

/** Connects, and keeps connecting for ever. A command that is not answered after `commandMs` is given up. Throws TypeError where an address is no URL of Redis. */
export function connectRedis(address: RedisAddress, commandMs: number): RedisConnection {
  const options = { ...baseOptions, commandTimeout: commandMs * patience }
  if ('url' in address) return connectOne(checked(address.url), options)
  return connectCluster(address.cluster.map(checked), options)
}

/**
 * What is sent to a server from here to the end of this turn of the loop goes out in one write. The client's own
 * automatic pipelines have a getter each, which V8 keeps with all that their commands hold until its next full
 * collection: they cost a tenth of a call (bench/profile.md).
 */
export function writeTogether({ stream }: Redis): void {
  if (stream.writableCorked > 0) return
  stream.cork()
  setImmediate(() => stream.uncork())
}

function checked(text: string): URL {
  const url = URL.parse(text)
  // The text may hold a password, so it is not repeated.
  if (!url || !['redis:', 'rediss:'].includes(url.protocol))
    throw new TypeError('A Redis address is redis://host:port or rediss://host:port')
  return url
}

/** Follows a client through its connections; what it gives is the server of the present one. */
function follow(client: Redis): () => RedisServer | undefined {
  let server: RedisServer | undefined
  let connections = 0
  const ask = async (connection: number): Promise<void> => {
    const info = await client.info('server')
    const runId = /^run_id:([0-9a-f]+)/m.exec(info)?.[1]
    if (runId && connection === connections) server = { client, runId }
  }
  client.on('close', () => {
    connections += 1
    server = undefined
  })
  client.on('ready', () => {
    // Without its run id a server is not spoken to; a connection that cannot even tell that is made anew.
    ask(connections).catch(() => client.disconnect(true))
  })
  // Each command hears of it; without a listener the client would print it.
  client.on('error', () => {})
  return () => (client.status === 'ready' ? server : undefined)
}

function connectOne(url: URL, options: Options): RedisConnection {
  const client = new Redis(url.href, { ...options, retryStrategy: retryMs })
  const server = follow(client)
  return {
    nameOf: () => url.host,
    serverOf: server,
    refresh() {},
    renew: () => client.disconnect(true),
    ready: (timeoutMs) => until(() => server() !== undefined, timeoutMs),
    close: () => client.disconnect(),
  }
}

function connectCluster(urls: readonly URL[], options: Options): RedisConnection {
  const [first] = urls
  if (!first) throw new TypeError('A Redis cluster needs the address of a node')
  const servers = new Map<string, () => RedisServer | undefined>()
  const cluster = new Cluster(
    urls.map((url) => ({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) })),
    {
      enableOfflineQueue: false,
      clusterRetryStrategy: retryMs,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      slotsRefreshInterval: slotsRefreshMs,
      // The client itself counts through the slots, and must not be given their numbers as text. Nothing is lost: every
      // number of the scripts is below 2^53.
      redisOptions: { ...options, stringNumbers: false, ...credentialsOf(first) },
    },
  )
  const keyOf = ({ options: { host, port } }: Redis) => `${host}:${port}`
  cluster.on('error', () => {})
  // The cluster gives the map; commands go to the nodes themselves, so that the run id sent is that of the receiver.
  cluster.on('+node', (node: Redis) => {
    servers.set(keyOf(node), follow(node))
    if (node.status === 'wait') node.connect().catch(() => {}) // the next look at the map makes another one
  })
  cluster.on('-node', (node: Redis) => void servers.delete(keyOf(node)))
  const nameOf = (cell: number) => cluster.slots[slotOf(tagOf(cell))]?.[0] ?? first.host
  const all = () => [...new Set(cluster.slots.map((keys) => keys[0] ?? ''))]
  const serverOf = (cell: number) => servers.get(nameOf(cell))?.()
  return {
    nameOf,
    serverOf,
    refresh: () => cluster.refreshSlotsCache(() => {}),
    renew: (cell) => serverOf(cell)?.client.disconnect(),
    ready: (timeoutMs) =>
      until(() => all().length > 0 && all().every((name) => servers.get(name)?.() !== undefined), timeoutMs),
    close: () => cluster.disconnect(),
  }
}

function credentialsOf({ protocol, username, password }: URL): { username?: string; password?: string; tls?: object } {
  return {
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' && { tls: {} }),
  }
}

function until(isSo: () => boolean, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (leftMs: number): void => {
      if (isSo() || leftMs <= 0) resolve()
      else setTimeout(look, readyPollMs, leftMs - readyPollMs)
    }
    look(timeoutMs)
  })
}

/** The slot of a name: CRC16 (XMODEM) modulo 16,384, as clusters define it. */
export function slotOf(name: string): number {
  let crc = 0
  for (const byte of new TextEncoder().encode(name)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  return crc % 16_384
}
