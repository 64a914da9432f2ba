import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseMoney, printMoney } from '../../src/core/money.ts'
import type { Database } from '../../src/db/database.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { hasRedis, type RealRedis, startRedis } from './real-redis.ts'
import { type Supervised, superviseGateway } from './supervised.ts'

/** What an installation is on: the embedded database, PostgreSQL, or PostgreSQL and a Redis that several gateways share. */
export type Store = 'pglite' | 'postgres' | 'redis'

const managementKey = 'management-key-of-an-installation'
/** An answer is waited for no longer: a frozen process gives none. */
const askMs = 20_000

export interface InstallationOptions {
  readonly store: Store
  /** The whole configuration. */
  readonly yaml: string
  /** Only on a Redis can there be more than one. */
  readonly gateways?: number
}

/** A master key and its account. */
export interface Payer {
  readonly account: number
  /** The public id of the key. */
  readonly id: string
  readonly key: string
}

/** What an account has, and what calls in flight have set aside of it; nano-units. */
export interface Standing {
  readonly balance: bigint
  readonly held: bigint
}

/** Gateways as an operator runs them, on one database. */
export interface Installation {
  readonly gateways: readonly [Supervised, ...Supervised[]]
  /** The servers below them; undefined where there is none. */
  readonly postgres: RealPostgres | undefined
  readonly redis: RealRedis | undefined
  /** Resolves when all of them serve calls. */
  up(): Promise<void>
  /** Asks the first gateway. */
  admin(path: string, body: unknown): Promise<Readonly<Record<string, unknown>>>
  get(path: string, key: string): Promise<Readonly<Record<string, unknown>>>
  /** A new account with this much in nano-units. */
  payer(nanos: bigint): Promise<Payer>
  /** What any of them says is held, and the balance when all have written what they had to. */
  standing(key: string): Promise<Standing>
  /** What is not over yet: holds, and records on their way to the books. Empty when all is. */
  unsettled(): Promise<readonly string[]>
  /** Told to stop, and not started again; resolves to how each ended. */
  stop(): Promise<readonly (number | string)[]>
  /** The database; an embedded one only when nobody else has it. */
  open(): Promise<Database>
  /** Ends whatever still runs and removes everything. */
  remove(): Promise<void>
}

/** Undefined where this kind of installation can be used here, else why not. */
export function missing(store: Store): string | undefined {
  if (store === 'pglite') return undefined
  if (!postgresPrograms) return 'there is no PostgreSQL of version 15 or newer here'
  return store === 'redis' && !hasRedis ? 'there is no redis-server on the path' : undefined
}

/** What is written before a command is answered survives the process. */
const kept = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction']

/** Starts an installation and waits until it serves. Takes some seconds. */
export async function install({ store, yaml, gateways: count = 1 }: InstallationOptions): Promise<Installation> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-installation-'))
  const config = join(home, 'tollgate.yaml')
  const dataOf = (at: number) => join(home, `data-${at}`)
  writeFileSync(config, yaml)
  const postgres = store === 'pglite' ? undefined : await startPostgres(postgresPrograms ?? '')
  const redis = store === 'redis' ? await startRedis(kept) : undefined
  const databaseUrl = await postgres?.create()
  const env = {
    TOLLGATE_CONFIG: config,
    TOLLGATE_MANAGEMENT_KEY: managementKey,
    TOLLGATE_SECRET: 'the secret of an installation',
    ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
    ...(redis && { REDIS_URL: redis.url }),
  }
  const gateways: [Supervised, ...Supervised[]] = [await superviseGateway(dataOf(0), env)]
  const remove = async () => {
    await Promise.all(gateways.map((gateway) => gateway.end()))
    await Promise.all([postgres?.stop(), redis?.stop()])
    rmSync(home, { recursive: true, force: true })
  }
  try {
    // The first brings the database up to date.
    await gateways[0].up()
    for (let at = 1; at < count; at++) gateways.push(await superviseGateway(dataOf(at), env))
    const open = () =>
      databaseUrl === undefined ? openPglite(join(dataOf(0), 'pglite')) : Promise.resolve(openPostgres(databaseUrl))
    const installation = installationOf({ gateways, postgres, redis, open, remove })
    await installation.up()
    return installation
  } catch (error) {
    await remove()
    throw error
  }
}

type Built = Pick<Installation, 'gateways' | 'postgres' | 'redis' | 'open' | 'remove'>

function installationOf(built: Built): Installation {
  const { gateways, redis } = built
  const [{ url }] = gateways
  const installation: Installation = {
    ...built,
    up: async () => void (await Promise.all(gateways.map((gateway) => gateway.up()))),
    admin: (path, body) => ask(url + path, managementKey, body),
    get: (path, key) => ask(url + path, key),
    payer: (nanos) => newPayer(installation, nanos),
    async standing(key) {
      // Each brings to the books what it still has before it answers, but not what the others have.
      const told = await Promise.all(gateways.map((gateway) => ask(`${gateway.url}/v1/credits`, key)))
      const { balance } = await installation.get('/v1/credits', key)
      const held = told.map((credits) => nanosOf(credits['held']))
      return { balance: nanosOf(balance), held: held.reduce((most, one) => (one > most ? one : most), 0n) }
    },
    unsettled: async () => [
      ...(await Promise.all(gateways.map(({ url: of }, at) => busyAt(of, at)))).flat(),
      ...(redis ? await heldIn(redis) : []),
    ],
    stop: () => Promise.all(gateways.map((gateway) => gateway.stop())),
  }
  return installation
}

/** Figures of a gateway that are 0 when nothing is under way. */
const busyFigures = ['tollgate_holds_live', 'tollgate_batcher_waiting', 'tollgate_books_failing'] as const

async function busyAt(url: string, at: number): Promise<readonly string[]> {
  const answer = await fetch(`${url}/metrics`, {
    headers: { authorization: `Bearer ${managementKey}` },
    signal: AbortSignal.timeout(askMs),
  }).catch(() => undefined)
  if (answer?.status !== 200) return [`gateway ${at} does not answer`]
  const text = await answer.text()
  return busyFigures.flatMap((name) => {
    const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]
    return value === '0' ? [] : [`gateway ${at}: ${name} is ${value}`]
  })
}

/** A hold leaves its cell's list of deadlines when its record is in the books. */
async function heldIn(redis: RealRedis): Promise<readonly string[]> {
  const cells = (await redis.send('KEYS', 'd:*')) as readonly string[]
  const holds = await Promise.all(cells.map((cell) => redis.send('ZRANGE', cell, '0', '9') as Promise<string[]>))
  return holds.flat().map((id) => `Redis still has hold ${id}`)
}

async function ask(url: string, key: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(url, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(askMs),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${text}`)
  return JSON.parse(text) as Record<string, unknown>
}

let payers = 0

async function newPayer({ admin }: Installation, nanos: bigint): Promise<Payer> {
  const name = `payer ${process.pid}-${++payers}`
  const { id: account } = await admin('/admin/v1/accounts', { name })
  const recharge = { amount: printMoney(nanos), reference: name }
  await admin(`/admin/v1/accounts/${String(account)}/recharges`, recharge)
  const { id, key } = await admin('/admin/v1/keys', { kind: 'master', account, name })
  return { account: account as number, id: id as string, key: key as string }
}

/** The API's decimal text in nano-units. */
function nanosOf(amount: unknown): bigint {
  const nanos = parseMoney(String(amount))
  if (nanos === undefined) throw new Error(`${String(amount)} is no amount of money`)
  return nanos
}
