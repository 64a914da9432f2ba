import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import postgres from 'postgres'

/** A PostgreSQL cluster of our own for one test file. */
export interface RealPostgres {
  /** Makes an empty database and gives its URL. */
  create(): Promise<string>
  /** Ends it at once, as `pg_ctl stop -m immediate` does: no connection is closed in order, nothing is written first. */
  crash(): Promise<void>
  /** Starts it again after a crash, on the same port and folder; resolves when it answers. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface PostgresSettings {
  /** Syncs to the disk as a server in service does; without it a power cut would lose what a crash does not. */
  readonly durable?: boolean
}

const installed = '/usr/lib/postgresql'
const startMs = 60_000

/** The folder of PostgreSQL's programs, oldest version from 15 on; undefined, with the reason printed, where absent. */
function programs(): string | undefined {
  const versions = existsSync(installed) ? readdirSync(installed).filter((version) => Number(version) >= 15) : []
  const found = versions
    .sort((a, b) => Number(a) - Number(b))
    .map((version) => join(installed, version, 'bin'))
    .find((folder) => existsSync(join(folder, 'initdb')))
  if (!found) console.warn(`PostgreSQL tests are skipped: no server of version 15 or newer in ${installed}`)
  return found
}

export const postgresPrograms = programs()

/** PostgreSQL refuses to run as root, so root hands over to the user that the package made. */
function owner(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A port of this machine that nobody listens on just now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

async function answers(url: string, server: ChildProcess): Promise<void> {
  for (const end = Date.now() + startMs; Date.now() < end; await wait(100)) {
    if (server.exitCode !== null) throw new Error(`PostgreSQL ended with ${server.exitCode}`)
    const client = postgres(url, { max: 1, connect_timeout: 5 })
    const up = await client`select 1`.then(
      () => true,
      () => false,
    )
    await client.end({ timeout: 1 })
    if (up) return
  }
  throw new Error(`PostgreSQL was not ready after ${startMs} ms`)
}

/** Starts PostgreSQL on a free port of this machine, in a folder that goes with it. */
export async function startPostgres(folder: string, { durable = false }: PostgresSettings = {}): Promise<RealPostgres> {
  const user = owner()
  const home = mkdtempSync(join(tmpdir(), 'tollgate-postgres-'))
  if (user) chownSync(home, user.uid, user.gid)
  chmodSync(home, 0o700)
  const run = { cwd: home, ...user, env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' } }
  execFileSync(join(folder, 'initdb'), ['-D', 'data', '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'], {
    ...run,
    stdio: 'ignore',
  })
  const port = await freePort()
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    `unix_socket_directories=`,
    `fsync=${durable ? 'on' : 'off'}`,
    'max_connections=120',
  ]
  const url = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`
  const start = async () => {
    const args = ['-D', 'data', ...settings.flatMap((setting) => ['-c', setting])]
    const started = spawn(join(folder, 'postgres'), args, { ...run, stdio: 'ignore' })
    await answers(url('postgres'), started)
    return started
  }
  let server = await start()
  const end = async (signal: 'SIGINT' | 'SIGQUIT') => {
    if (server.exitCode !== null || server.signalCode !== null) return
    const ended = new Promise((resolve) => server.once('exit', resolve))
    server.kill(signal)
    await ended
  }
  let databases = 0
  return {
    crash: () => end('SIGQUIT'),
    async restart() {
      server = await start()
    },
    async create() {
      const name = `books_${++databases}`
      const client = postgres(url('postgres'), { max: 1 })
      await client.unsafe(`create database ${name}`)
      await client.end()
      return url(name)
    },
    async stop() {
      // SIGINT: break off whatever still runs and end at once, in order.
      await end('SIGINT')
      rmSync(home, { recursive: true, force: true })
    },
  }
}
