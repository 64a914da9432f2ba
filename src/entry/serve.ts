import type { Hono } from 'hono'
import type { Config } from '../config.ts'
import type { DurableBooks } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { ensurePartitions } from '../db/migrate.ts'
import { loadCatalog } from '../gateway/catalog.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { openCatalog, type LiveCatalog } from '../gateway/live-catalog.ts'
import { seed, type Seeded } from '../gateway/seed.ts'
import { adminAccounts } from '../http/admin-accounts.ts'
import { adminCatalog } from '../http/admin-catalog.ts'
import { adminGrants } from '../http/admin-grants.ts'
import { adminKeys, requireManagement } from '../http/admin-keys.ts'
import { adminRefunds } from '../http/admin-refunds.ts'
import { adminUsage } from '../http/admin-usage.ts'
import { selfUsage } from '../http/self-usage.ts'
import type { Metrics } from '../http/ops.ts'
import { type Job, startJobs } from '../jobs.ts'
import { openCheckpoints, tickMs } from '../ledger/checkpoints.ts'
import { beatMs, openHeartbeat } from '../ledger/heartbeat.ts'
import type { Ledger } from '../ledger/hold.ts'
import { sweep } from '../ledger/reaper.ts'
import { openReconciler, type Reconciler } from '../ledger/reconcile.ts'
import { recover } from '../ledger/recover.ts'
import { openSpare } from '../ledger/spare.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { lockFolder } from '../platform/folder-lock.ts'
import { jsonLog } from '../platform/log.ts'
import { openTokenizer } from '../platform/tokenizer.ts'
import { openUndici } from '../platform/undici.ts'
import type { RedisShared } from '../platform/redis.ts'
import type { Crypto } from '../ports.ts'
import { banner, newKeys } from './banner.ts'
import { configFrom, secretOf } from './configuration.ts'
import { openPulse, type Pulse } from './pulse.ts'
import { type EngineRecords, openRecords } from './records.ts'
import { drain, listen, openGateway } from './start.ts'
import { openStore, type Store } from './store.ts'
import { warmUp } from './warm-up.ts'

const { now } = systemClock
const dayMs = 86_400_000
/** Nothing is drawn on a grant once it has ended, so only its entry in the books waits for this. */
const grantsMs = 600_000
const reconcileMs = 3_600_000
/** An answer about money waits so long for what was just charged to reach the books. */
const freshMs = 2_000

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
  const log = jsonLog(write, now)
  // Also beside a PostgreSQL: the journal of the holds lies here, and two gateways would destroy each other's.
  const unlock = lockFolder(config.dataDir)
  const [store, tokenizer] = await Promise.all([openStore(config, log), openTokenizer({ log })])
  const crypto = openCrypto(secretOf(config))
  const { database, books } = store
  const seeded = await seed({ database, books, crypto, config })
  // At once: whatever fails from here on, the books know these keys and nobody else does.
  write(newKeys(seeded))
  const catalog = await openCatalog(() => loadCatalog(database, config))
  const records = await openRecords(config, log)
  const { shared, journal, common, replica } = records
  await recover({ books, shared, holds: journal.holds, log, clock: systemClock })
  const { send, close: closeConnections } = openUndici()
  const opened = await openGateway({
    ...{ config, books, shared, send, tokenizer, crypto, log, catalog: catalog.current, mayAdmit: store.isOurs },
    ...(common && { common }),
    ...(replica !== undefined && { replica }),
  })
  const { gateway } = opened

  const pulse = openPulse(systemClock)
  const ready = { tokenizer: true, warm: false }
  const { ledger } = gateway
  const reconciler = reconcilerOf(gateway, store)
  const admin = adminRoutes({ config, database, books, crypto, gateway, catalog })
  const listening = await listen({
    gateway,
    checks: () => ({
      database: pulse.isAlive,
      ...ready,
      books: !ledger.batcher.failing,
      accepting: !gateway.isStopping && store.isOurs(),
    }),
    ...(common && { states: () => ({ redis: common.away().length === 0 ? 'shared' : 'away' }) }),
    metrics: metricsOf(gateway, reconciler, common),
    admin,
    host: config.server.host,
    port: config.server.port,
  })
  const jobs = jobsOf({ ledger, database, books, catalog, reconciler, pulse, records })
  const stopJobs = startJobs(systemClock, log, jobs)
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
      common?.close()
      journal.close()
      await store.close()
      unlock()
      log('stopped')
    },
  }
}

interface JobParts {
  readonly ledger: Ledger
  readonly database: Database
  readonly books: DurableBooks
  readonly catalog: LiveCatalog
  readonly reconciler: Reconciler
  /** Beats as long as the database answers. */
  readonly pulse: Pulse
  readonly records: EngineRecords
}

function jobsOf({ ledger, database, books, catalog, reconciler, pulse, records }: JobParts): readonly Job[] {
  return [
    ...(records.common ? replicaJobs(ledger, records) : []),
    { name: 'checkpoints', everyMs: tickMs, run: openCheckpoints(ledger) },
    { name: 'reaper', everyMs: 1_000, run: () => sweep(ledger) },
    { name: 'rollup', everyMs: 1_000, run: () => books.rollup().then(pulse.beat) },
    { name: 'grants', everyMs: grantsMs, run: () => books.endGrants() },
    { name: 'reconciliation', everyMs: reconcileMs, isDueAtStart: true, run: () => reconciler.run() },
    { name: 'partitions', everyMs: dayMs / 4, run: () => ensurePartitions(database, now()) },
    { name: 'catalog', everyMs: 2_000, run: () => catalog.reload() },
  ]
}

/** What one of several replicas does beside: it vouches for what it owes, and gives back what it borrowed for itself. */
function replicaJobs(ledger: Ledger, { shared }: EngineRecords): readonly Job[] {
  const { books } = ledger.platform
  return [
    { name: 'heartbeat', everyMs: beatMs, isDueAtStart: true, run: openHeartbeat(ledger) },
    { name: 'frozen leases', everyMs: beatMs, run: () => books.closeFrozen() },
    { name: 'own leases', everyMs: 1_000, run: openSpare(ledger, () => shared.size().holds) },
  ]
}

function reconcilerOf(gateway: Gateway, { database, books }: Store): Reconciler {
  const { platform, ledger } = gateway
  const { clock, log } = platform
  const { batcher, homes } = ledger
  const [{ shared }] = homes.all
  return openReconciler({ database, books, shared, batcher, clock, log, isStopping: () => gateway.isStopping })
}

/** Sums of money are the operator's business, so they are told to management keys alone. */
function metricsOf({ auth, ledger, telemetry }: Gateway, reconciler: Reconciler, common?: RedisShared): Metrics {
  return async (request) => {
    await requireManagement({ auth }, request, 'Metrics are')
    const found = reconciler.last()
    return telemetry.print({
      holdsLive: ledger.live.size,
      batcherWaiting: ledger.batcher.waiting,
      booksFailing: ledger.batcher.failing,
      ...(common && { redisAway: common.away().length }),
      reconciliation: found && { ...found, violations: found.violations.length },
    })
  }
}

interface AdminParts {
  readonly config: Config
  readonly database: Database
  readonly books: DurableBooks
  readonly crypto: Crypto
  readonly gateway: Awaited<ReturnType<typeof openGateway>>['gateway']
  readonly catalog: LiveCatalog
}

function adminRoutes({ config, database, books, crypto, gateway, catalog }: AdminParts): readonly Hono[] {
  const { auth, ledger } = gateway
  const deps = {
    database,
    books,
    crypto,
    clock: systemClock,
    auth,
    changed: (keyId: number) => auth.forget(keyId),
    recharged(accountId: number) {
      for (const { spender } of ledger.homes.all) spender.changed(accountId)
    },
    fresh: () => ledger.batcher.drained(freshMs),
    policies: config.policies,
    catalog: catalog.current,
    catalogChanged: () => catalog.reload(),
  }
  return [
    adminKeys(deps),
    adminAccounts(deps),
    adminGrants(deps),
    adminCatalog(deps),
    adminRefunds(deps),
    adminUsage(deps),
    selfUsage(deps),
  ]
}

export type { Seeded }
