import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseMoney } from '../../src/core/money.ts'
import { openBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, type RealPostgres, startPostgres } from '../../test/db/real-postgres.ts'
import { root } from '../../test/source.ts'
import { nodeProgram } from '../../test/support/process.ts'
import { hasRedis, type RealRedis, startRedis } from '../../test/support/real-redis.ts'
import type { Contestant, Setting } from './contestants.ts'
import { models as loadModels } from './loads.ts'
import { type Program, startProgram } from './programs.ts'

/** Where the books are: PGlite in the process, PostgreSQL, or PostgreSQL with the holds in a Redis. */
export type Store = 'pglite' | 'postgres' | 'redis'

const startMs = 90_000
const askMs = 20_000
/** What was charged is in the books by then. */
const settleMs = 60_000
const pollMs = 100
const managementKey = 'management-key-of-the-contest'
const balance = '1000000000'

/** Nano-units that a token costs: whole numbers, so that the charge of many calls is the charge of all their tokens. */
export const tokenPrice = { input: 1_000n, output: 2_000n } as const

function yamlOf(vendorUrl: string, names: readonly string[]): string {
  const lines = names.map(
    (model) => `  ${model}:
    targets: [{ vendor: bench, model: ${model} }]
    prices: { input: '1', output: '2' }
    max_output_tokens: 4096
`,
  )
  return `vendors:
  bench:
    adapter: openai
    base_url: ${vendorUrl}/v1
    api_keys: [secret-of-the-vendor]
limits:
  # A core with no time left is what is measured, and nobody else in the contest refuses calls then.
  shedding: { event_loop_ms: 60000, calls: 1000000 }
models:
${lines.join('')}`
}

export interface Books {
  /** What was charged so far, in nano-units, when nothing is under way any more. */
  charged(): Promise<bigint>
  /** Read when the gateway has stopped: calls in the books, what they were charged, and rules that the books break. */
  read(): Promise<{ readonly calls: bigint; readonly charged: bigint; readonly violations: number }>
}

/** Why this machine cannot have such a gateway; undefined where it can. */
function missing(store: Store): string | undefined {
  if (store !== 'pglite' && postgresPrograms === undefined) return 'there is no PostgreSQL of version 15 or newer here'
  return store === 'redis' && !hasRedis ? 'there is no redis-server on the path' : undefined
}

interface Servers {
  readonly home: string
  readonly postgres: RealPostgres | undefined
  readonly redis: RealRedis | undefined
  readonly databaseUrl: string | undefined
  readonly stop: () => Promise<void>
}

const redisSettings = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction']

async function startServers(store: Store): Promise<Servers> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-contest-'))
  const [postgres, redis] = await Promise.all([
    store === 'pglite' ? undefined : startPostgres(postgresPrograms ?? '', { durable: true }),
    store === 'redis' ? startRedis(redisSettings) : undefined,
  ])
  const stop = async () => {
    await Promise.all([postgres?.stop(), redis?.stop()])
    rmSync(home, { recursive: true, force: true })
  }
  return { home, postgres, redis, databaseUrl: await postgres?.create(), stop }
}

/** Starts a gateway as an operator would, with one account and its key. Throws where this machine cannot. */
export async function startTollgate(store: Store, setting: Setting): Promise<Contestant> {
  const { vendorUrl, cores, nodeArgs = [], models = loadModels, folder = root } = setting
  const reason = missing(store)
  if (reason !== undefined) throw new Error(reason)
  const servers = await startServers(store)
  const { home, databaseUrl, redis } = servers
  const config = join(home, 'tollgate.yaml')
  writeFileSync(config, yamlOf(vendorUrl, models))
  const program = startProgram({
    command: nodeProgram,
    args: [...nodeArgs, 'src/entry/node.ts'],
    cwd: folder,
    cores,
    env: {
      HOST: '127.0.0.1',
      PORT: '0',
      TOLLGATE_CONFIG: config,
      TOLLGATE_DATA_DIR: join(home, 'data'),
      TOLLGATE_MANAGEMENT_KEY: managementKey,
      TOLLGATE_SECRET: 'the secret of the contest',
      ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
      ...(redis && { REDIS_URL: redis.url }),
    },
  })
  const stop = async () => {
    await program.stop()
    await servers.stop()
  }
  try {
    return await contestantOf(program, servers, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

async function contestantOf(program: Program, servers: Servers, stop: () => Promise<void>): Promise<Contestant> {
  const [, url = ''] = await program.says(/^Tollgate serves (\S+)$/m, startMs)
  await program.says(/"ready"/, startMs)
  const key = await newKey(url)
  const { databaseUrl, home } = servers
  return {
    port: Number(new URL(url).port),
    pid: program.pid,
    headers: [`authorization: Bearer ${key}`],
    stop,
    said: program.text,
    metrics: () => ask(`${url}/metrics`, managementKey),
    books: {
      charged: () => chargedBy(url, key),
      async read() {
        await program.stop()
        const open = databaseUrl === undefined ? openPglite(join(home, 'data', 'pglite')) : openPostgres(databaseUrl)
        return readBooks(await open)
      },
    },
  }
}

async function readBooks(database: Database): Promise<Awaited<ReturnType<Books['read']>>> {
  try {
    const books = openBooks(database)
    while ((await books.rollup()) > 0);
    const violations = await books.check({ all: true })
    const [row] = await database.query<{ calls: bigint; charged: bigint }>(
      'SELECT count(*) AS calls, coalesce(sum(charge), 0) AS charged FROM usage_record',
    )
    return { calls: row?.calls ?? 0n, charged: row?.charged ?? 0n, violations: violations.length }
  } finally {
    await database.close()
  }
}

async function ask(url: string, key: string, body?: unknown): Promise<string> {
  const answer = await fetch(url, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(askMs),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`)
  return text
}

async function newKey(url: string): Promise<string> {
  const made = async (path: string, body: unknown): Promise<Record<string, unknown>> =>
    JSON.parse(await ask(`${url}/admin/v1/${path}`, managementKey, body)) as Record<string, unknown>
  const { id: account } = await made('accounts', { name: 'the contest' })
  await made(`accounts/${String(account)}/recharges`, { amount: balance, reference: 'the contest' })
  const { key } = await made('keys', { kind: 'master', account, name: 'the contest' })
  return String(key)
}

/** Figures of a gateway that are 0 when nothing is under way. */
const busyFigures = ['tollgate_holds_live', 'tollgate_batcher_waiting', 'tollgate_books_failing'] as const

async function chargedBy(url: string, key: string): Promise<bigint> {
  for (const until = Date.now() + settleMs; ; await wait(pollMs)) {
    const text = await ask(`${url}/metrics`, managementKey)
    const busy = busyFigures.filter((name) => new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] !== '0')
    if (busy.length === 0) break
    if (Date.now() > until) throw new Error(`after ${settleMs} ms there still is ${busy.join(', ')}`)
  }
  const { balance: left, held } = JSON.parse(await ask(`${url}/v1/credits`, key)) as Record<string, string>
  const [before, now, set] = [balance, left ?? '', held ?? ''].map(parseMoney)
  if (before === undefined || now === undefined || set !== 0n) throw new Error(`the credits are ${left}, held ${held}`)
  return before - now
}
