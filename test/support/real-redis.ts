import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'

/** A Redis server of our own, in a folder that goes with it. */
export interface RealRedis {
  readonly url: string
  readonly port: number
  /** The process; another one after `restart`. */
  readonly process: ChildProcess
  /** Runs one command. */
  send(...command: readonly string[]): Promise<unknown>
  /** Ends the process at once, as kill -9 does, and starts it again on the same port and files. */
  restart(): Promise<void>
  /** Ends the process at once, as kill -9 does. */
  crash(): Promise<void>
  /** Starts it again after a crash, on the same port, and on its files or on none; resolves when it answers. */
  revive(files: 'kept' | 'lost'): Promise<void>
  stop(): Promise<void>
}

const startMs = 20_000

/** Whether there is a redis-server; prints why tests are skipped where there is none. */
function installed(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('skipped Redis: there is no redis-server on the path')
    return false
  }
}

export const hasRedis = installed()

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** A cluster's nodes also listen 10,000 above their port. */
async function freeNodePort(): Promise<number> {
  for (;;) {
    const port = await freePort()
    if (port < 55_000) return port
  }
}

async function answers(port: number, server: ChildProcess): Promise<Redis> {
  const client = new Redis({ port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => 20 })
  client.on('error', () => {})
  await client.connect().catch(() => {})
  for (const end = Date.now() + startMs; Date.now() < end; await wait(10)) {
    if (server.exitCode !== null) throw new Error(`Redis ended with ${server.exitCode}`)
    if (client.status === 'ready') return client
  }
  throw new Error(`Redis was not ready after ${startMs} ms`)
}

/** Starts Redis on a free port of this machine. Further settings as on its command line. */
export async function startRedis(settings: readonly string[] = []): Promise<RealRedis> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-redis-'))
  const port = settings.includes('--cluster-enabled') ? await freeNodePort() : await freePort()
  const start = () =>
    spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', home, '--save', '', ...settings], {
      stdio: 'ignore',
    })
  let server = start()
  let client = await answers(port, server)
  const end = async () => {
    client.disconnect()
    if (server.exitCode !== null || server.signalCode !== null) return
    const ended = new Promise((resolve) => server.once('exit', resolve))
    server.kill('SIGKILL')
    await ended
  }
  const revive = async (files: 'kept' | 'lost') => {
    if (files === 'lost') for (const name of readdirSync(home)) rmSync(join(home, name), { recursive: true })
    server = start()
    client = await answers(port, server)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    get process() {
      return server
    },
    send: (name = '', ...args) => client.call(name, ...args),
    async restart() {
      await end()
      await revive('kept')
    },
    crash: end,
    revive,
    async stop() {
      await end()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

export interface RealCluster {
  readonly urls: readonly string[]
  readonly nodes: readonly RealRedis[]
  flush(): Promise<void>
  stop(): Promise<void>
}

const slotCount = 16_384

/** Masters that share the slots evenly: three, as a cluster in service has at least. */
export async function startCluster(masters = 3): Promise<RealCluster> {
  const settings = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '2000']
  const nodes = await Promise.all(Array.from({ length: masters }, () => startRedis(settings)))
  const [first] = nodes
  const slotOf = (index: number): number => Math.round((slotCount * index) / masters)
  for (const [index, node] of nodes.entries()) {
    await node.send('CLUSTER', 'ADDSLOTSRANGE', `${slotOf(index)}`, `${slotOf(index + 1) - 1}`)
    if (first && node !== first) await node.send('CLUSTER', 'MEET', '127.0.0.1', `${first.port}`)
  }
  const isWhole = async (node: RealRedis) => {
    const info = String(await node.send('CLUSTER', 'INFO'))
    return info.includes('cluster_state:ok') && info.includes(`cluster_size:${masters}`)
  }
  for (const end = Date.now() + startMs; Date.now() < end; await wait(50)) {
    if ((await Promise.all(nodes.map(isWhole))).every(Boolean)) break
  }
  return {
    urls: nodes.map(({ url }) => url),
    nodes,
    flush: async () => void (await Promise.all(nodes.map((node) => node.send('FLUSHALL')))),
    stop: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
  }
}
