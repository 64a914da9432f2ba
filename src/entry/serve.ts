import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hono } from 'hono'
import { type Config, ConfigError, configPath, readConfig } from '../config.ts'
import type { Catalog } from '../core/catalog.ts'
import { openBooks, type DurableBooks } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { ensurePartitions, migrate } from '../db/migrate.ts'
import { loadCatalog, provision } from '../gateway/catalog.ts'
import { seed, type Seeded } from '../gateway/seed.ts'
import { adminAccounts } from '../http/admin-accounts.ts'
import { adminKeys } from '../http/admin-keys.ts'
import { startJobs } from '../jobs.ts'
import { openCheckpoints, tickMs } from '../ledger/checkpoints.ts'
import { sweep } from '../ledger/reaper.ts'
import { recover } from '../ledger/recover.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { openJournal } from '../platform/journal.ts'
import { jsonLog } from '../platform/log.ts'
import { openMemory } from '../platform/memory.ts'
import { openPglite } from '../platform/pglite.ts'
import { openPostgres, soleGateway } from '../platform/postgres.ts'
import { openTokenizer } from '../platform/tokenizer.ts'
import { openUndici } from '../platform/undici.ts'
import type { Crypto, Log } from '../ports.ts'
import { banner } from './banner.ts'
import { drain, listen, openGateway } from './start.ts'
import { warmUp } from './warm-up.ts'

const { now } = systemClock
const dayMs = 86_400_000

export interface Running {
  readonly url: string
  readonly port: number
  /** Drains and closes; the process may end then. */
  close(): Promise<void>
}

/** Runs a gateway with this environment. Throws an Error whose message tells the operator what to do. */
export async function run(
  env: Readonly<Record<string, string | undefined>>,
  write: (line: string) => void,
): Promise<Running> {
  const config = configFrom(env)
  if (config.redisUrl !== undefined)
    throw new Error(
      'REDIS_URL is set, but this version keeps shared state in one process only. Unset it, and run one gateway per database.',
    )
  const log = jsonLog(write, now)
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
  const [store, tokenizer] = await Promise.all([openStore(config, log), openTokenizer()])
  const crypto = openCrypto(secretOf(config))
  const { database, books } = store
  const seeded = await seed({ database, books, crypto, config })
  let catalog: Catalog = await loadCatalog(database, config)

  const journal = openJournal({
    path: join(config.dataDir, 'holds.journal'),
    clock: systemClock,
    onFault: (fault) => log('journal_fault', { reason: fault.reason }),
  })
  const shared = openMemory({
    clock: systemClock,
    journal,
    onAssertion: (assertion, accountId) => log('account_stopped', { accountId, rule: assertion.message }),
  })
  await recover({ books, shared, holds: journal.holds, log, clock: systemClock })
  const { send, close: closeConnections } = openUndici()
  const opened = await openGateway({ config, books, shared, send, tokenizer, crypto, log, catalog: () => catalog })
  const { gateway } = opened

  const ready = { database: true, tokenizer: true, warm: false }
  const admin = adminRoutes({ database, books, crypto, gateway })
  const listening = await listen({
    gateway,
    checks: () => ({ ...ready, books: !gateway.ledger.batcher.failing }),
    admin,
    host: config.server.host,
    port: config.server.port,
  })
  const checkpoints = openCheckpoints(gateway.ledger)
  const stopJobs = startJobs(systemClock, log, [
    { name: 'checkpoints', everyMs: tickMs, run: checkpoints },
    { name: 'reaper', everyMs: 1_000, run: () => sweep(gateway.ledger) },
    { name: 'rollup', everyMs: 1_000, run: () => books.rollup() },
    { name: 'partitions', everyMs: dayMs / 4, run: () => ensurePartitions(database, now()) },
    { name: 'catalog', everyMs: 2_000, run: async () => void (catalog = await loadCatalog(database, config)) },
  ])
  write(banner({ config, seeded, url: listening.url, kind: database.kind }))
  await warmUp({ config, tokenizer, crypto })
  ready.warm = true
  log('ready', { url: listening.url })

  return {
    url: listening.url,
    port: listening.port,
    async close() {
      await drain(opened, listening.server, config.server.shutdownGraceMs)
      await stopJobs()
      await closeConnections()
      await tokenizer.close()
      journal.close()
      await store.close()
      log('stopped')
    },
  }
}

function configFrom(env: Readonly<Record<string, string | undefined>>): Config {
  const path = configPath(env)
  if (!existsSync(path))
    throw new ConfigError(path, [`${path}: there is no such file. TOLLGATE_CONFIG names the configuration.`])
  return readConfig({ text: readFileSync(path, 'utf8'), path, env })
}

interface Store {
  readonly database: Database
  readonly books: DurableBooks
  close(): Promise<void>
}

/** Opens the database, alone on it, and brings it up to date. */
async function openStore(config: Config, log: Log): Promise<Store> {
  const { databaseUrl, dataDir } = config
  const sole = databaseUrl === undefined ? undefined : await soleGateway(databaseUrl, () => lostLock(log))
  const database = databaseUrl === undefined ? await openPglite(join(dataDir, 'pglite')) : openPostgres(databaseUrl)
  await migrate(database, now())
  await provision(database, config)
  return {
    database,
    books: openBooks(database),
    async close() {
      await database.close()
      await sole?.release()
    },
  }
}

/** Another gateway may open the books now, so this one must not go on. */
function lostLock(log: Log): void {
  log('database_lock_lost')
  process.kill(process.pid, 'SIGTERM')
}

/** What keys are hashed with: given, or made at the first start and kept beside the data. */
function secretOf({ secret, dataDir }: Config): string {
  if (secret !== undefined) return secret
  const path = join(dataDir, 'secret')
  if (!existsSync(path)) writeFileSync(path, openCrypto('').secret(48), { mode: 0o600, flag: 'wx' })
  return readFileSync(path, 'utf8').trim()
}

interface AdminParts {
  readonly database: Database
  readonly books: DurableBooks
  readonly crypto: Crypto
  readonly gateway: Awaited<ReturnType<typeof openGateway>>['gateway']
}

function adminRoutes({ database, books, crypto, gateway }: AdminParts): readonly Hono[] {
  const { auth, ledger } = gateway
  const deps = {
    database,
    books,
    crypto,
    clock: systemClock,
    auth,
    changed: (keyId: number) => auth.forget(keyId),
    recharged: (accountId: number) => ledger.spender.changed(accountId),
  }
  return [adminKeys(deps), adminAccounts(deps)]
}

export type { Seeded }
