import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { parseMoney, printMoney } from '../../src/core/money.ts'
import type { Database } from '../../src/db/database.ts'
import { openPglite } from '../../src/platform/pglite.ts'
import { openPostgres } from '../../src/platform/postgres.ts'
import { freePort, postgresPrograms, type RealPostgres, startPostgres } from '../db/real-postgres.ts'
import { type Program, startProgram, until } from './process.ts'

export type Store = 'pglite' | 'postgres'

const managementKey = 'management-key-of-an-installation'
/** A process that does not come up is started again after this long. */
const againMs = 250
const pollMs = 50

export interface InstallationOptions {
  readonly store: Store
  /** The whole configuration. */
  readonly yaml: string
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

/** A gateway as an operator runs it: a process that is started again whenever it ends, on one port and one database. */
export interface Installation {
  readonly url: string
  /** The server below it; undefined with PGlite. */
  readonly postgres: RealPostgres | undefined
  /** The process of this moment; it may be on its way up. */
  readonly process: Program
  /** How many processes there have been. */
  readonly starts: number
  /** Resolves when a process serves calls. */
  up(): Promise<void>
  admin(path: string, body: unknown): Promise<Readonly<Record<string, unknown>>>
  get(path: string, key: string): Promise<Readonly<Record<string, unknown>>>
  /** A new account with this much in nano-units. */
  payer(nanos: bigint): Promise<Payer>
  standing(key: string): Promise<Standing>
  /** Told to stop, and not started again; resolves to how it ended. */
  stop(): Promise<number | string>
  /** The database, once nobody else has it. */
  open(): Promise<Database>
  /** Where the journal of holds lies. */
  readonly journal: string
  /** Ends whatever still runs and removes everything. */
  remove(): Promise<void>
}

/** Undefined where this kind of database can be used here, else why not. */
export function missing(store: Store): string | undefined {
  return store === 'postgres' && !postgresPrograms ? 'there is no PostgreSQL of version 15 or newer here' : undefined
}

/** Starts an installation and waits until it serves. Takes some seconds. */
export async function install({ store, yaml }: InstallationOptions): Promise<Installation> {
  const home = mkdtempSync(join(tmpdir(), 'tollgate-installation-'))
  const config = join(home, 'tollgate.yaml')
  const data = join(home, 'data')
  writeFileSync(config, yaml)
  const postgres = store === 'postgres' ? await startPostgres(postgresPrograms ?? '') : undefined
  const databaseUrl = await postgres?.create()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const supervised = supervise({
    HOST: '127.0.0.1',
    PORT: String(port),
    TOLLGATE_CONFIG: config,
    TOLLGATE_DATA_DIR: data,
    TOLLGATE_MANAGEMENT_KEY: managementKey,
    ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
  })
  const installation: Installation = {
    url,
    postgres,
    get process() {
      return supervised.process()
    },
    get starts() {
      return supervised.starts()
    },
    up: () => isUp(url, supervised.process),
    admin: (path, body) => ask(url + path, managementKey, body),
    get: (path, key) => ask(url + path, key),
    payer: (nanos) => newPayer(installation, nanos),
    async standing(key) {
      const { balance, held } = await installation.get('/v1/credits', key)
      return { balance: nanosOf(balance), held: nanosOf(held) }
    },
    stop: supervised.stop,
    open: async () =>
      databaseUrl === undefined ? openPglite(join(data, 'pglite')) : Promise.resolve(openPostgres(databaseUrl)),
    journal: join(data, 'holds.journal'),
    async remove() {
      await supervised.end()
      await postgres?.stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
  await installation.up()
  return installation
}

/** Keeps one gateway running, as a process manager does. */
function supervise(env: Readonly<Record<string, string>>) {
  let isOver = false
  let starts = 0
  let current = start()
  const done = keep()

  function start(): Program {
    starts++
    return startProgram(['src/entry/node.ts'], env)
  }
  async function keep(): Promise<void> {
    for (;;) {
      await current.ended
      if (isOver) return
      await wait(againMs)
      if (isOver) return
      current = start()
    }
  }
  async function finish(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string> {
    isOver = true
    const code = await current.kill(signal)
    await done
    return code
  }
  return {
    process: () => current,
    starts: () => starts,
    stop: () => finish('SIGTERM'),
    end: () => finish('SIGKILL'),
  }
}

async function isUp(url: string, process: () => Program): Promise<void> {
  const ready = async () => {
    const answer = await fetch(`${url}/readyz`).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer?.status === 200) return true
    await wait(pollMs)
    return undefined
  }
  await until('a gateway that is ready', ready).catch((error: unknown) => {
    throw new Error(`the gateway did not come up: ${process().out().slice(-2_000)}${process().error()}`, {
      cause: error,
    })
  })
}

async function ask(url: string, key: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(url, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
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
