import type { Hono } from 'hono'
import type { Config } from '../config.ts'
import type { DurableBooks } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { ensurePartitions } from '../db/migrate.ts'
import { forgetAnswers } from '../db/repeats.ts'
import { loadCatalog } from '../gateway/catalog.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { openPeers } from '../gateway/peers.ts'
import { probe } from '../gateway/probes.ts'
import { openCatalog, type LiveCatalog } from '../gateway/live-catalog.ts'
import { keyOpener } from '../gateway/vendor-key-rows.ts'
import { seed, type Seeded } from '../gateway/seed.ts'
import { adminAccounts } from '../http/admin-accounts.ts'
import { adminCatalog } from '../http/admin-catalog.ts'
import { adminGrants } from '../http/admin-grants.ts'
import { adminHealth } from '../http/admin-health.ts'
import { adminKeys } from '../http/admin-keys.ts'
import { adminRefunds } from '../http/admin-refunds.ts'
import { adminUsage } from '../http/admin-usage.ts'
import { adminVendorKeys } from '../http/admin-vendor-keys.ts'
import { feedback } from '../http/feedback.ts'
import { selfUsage } from '../http/self-usage.ts'
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
import type { Crypto, Log, Seal, Send, Tokenizer } from '../ports.ts'
import { openAlerting } from './alerting.ts'
import { openAnswerStores } from './answer-stores.ts'
import { banner, newKeys } from './banner.ts'
import { type Changes, type Copies, openChanges } from './changes.ts'
import { configFrom, secretOf } from './configuration.ts'
import { type MetricsParts, openMetrics } from './metrics.ts'
import { openPulse, type Pulse } from './pulse.ts'
import { type EngineRecords, openRecords } from './records.ts'
import { drain, listen, type ListenOptions, openGateway } from './start.ts'
import { openStore, type Store } from './store.ts'
import { openVendorSeal } from './vendor-seal.ts'
import { warmUp } from './warm-up.ts'
import type { WorkerLink } from './worker-link.ts'

const { now } = systemClock
const dayMs = 86_400_000
/** Nothing is drawn on a grant once it has ended, so only its entry in the books waits for this. */
const grantsMs = 600_000
const reconcileMs = 3_600_000
/** What is kept no longer is not given either: only its room waits for this. */
const forgetMs = 10_000
/** An answer about money waits so long for what was just charged to reach the books. */
const freshMs = 2_000

export interface Running {
  readonly url: string
  readonly port: number
  /** Goes on after an error that nobody caught, where it is one that can be mended; says whether it is. */
  mend(error: unknown): boolean
  /** Drains and closes; the process may end then. */
  close(): Promise<void>
}

/**
 * Runs a gateway with this environment, alone or as one of the workers of a supervisor. Throws an Error whose message
 * tells the operator what to do.
 */
export async function run(
  env: Readonly<Record<string, string | undefined>>,
  write: (line: string) => void,
  link?: WorkerLink,
): Promise<Running> {
  const config = configFrom(env)
  const log = logOf(jsonLog(write, now), link)
  // Also beside a PostgreSQL: the journal of the holds lies here, and two gateways would destroy each other's.
  const unlock = lockFolder(config.dataDir)
  const [store, tokenizer] = await Promise.all([openStore(config, log), openTokenizer({ log })])
  const crypto = openCrypto(secretOf(config))
  const { database, books } = store
  const seeded = await seed({ database, books, crypto, config })
  // At once: whatever fails from here on, the books know these keys and nobody else does.
  write(newKeys(seeded))
  const seal = await openVendorSeal(config)
  const openKey = keyOpener(seal, log)
  const catalog = await openCatalog(() => loadCatalog(database, config, openKey))
  const records = await openRecords(config, log)
  const { shared, journal, common } = records
  await recover({ books, shared, holds: journal.holds, log, clock: systemClock })
  const { send, close: closeConnections } = openUndici()
  const answers = await openAnswerStores(config, database)
  const opened = await openGateway({
    config,
    books,
    shared,
    send,
    tokenizer,
    crypto,
    log,
    catalog: catalog.current,
    mayAdmit: store.isOurs,
    ...answers.parts,
    ...sharedBy(records),
  })
  const { gateway } = opened
  const changes = openTidings({ config, gateway, catalog, send })
  const pulse = openPulse(systemClock)
  const ready = { tokenizer: true, warm: false }
  const reconciler = reconcilerOf(gateway, store)
  const warm = () => warmUp({ config, tokenizer, crypto })
  // What shares its port gets calls as soon as it listens.
  if (link) await warm()
  const { url, port, server } = await listen({
    gateway,
    ...operatorsView({ gateway, reconciler, common, link, store, pulse, ready }),
    admin: adminRoutes({ config, database, books, crypto, seal, gateway, catalog, changes }),
    ...placeOf(config, link),
  })
  const jobs = jobsOf({ gateway, config, database, books, catalog, reconciler, pulse, records })
  const stopJobs = startJobs(systemClock, log, jobs)
  if (!link || link.isFirst) write(banner({ config, seeded, url, kind: database.kind }))
  link?.listening({ url, port })
  if (!link) await warm()
  ready.warm = true
  log('ready', { url })
  link?.ready()

  return {
    url,
    port,
    mend: store.mend,
    async close() {
      const isAlone = (await link?.howToStop()) === 'alone'
      await drain(opened, { server, graceMs: config.server.shutdownGraceMs, isAlone })
      await stopJobs()
      await closeConnections()
      await closeStores({ tokenizer, records, store, answering: [changes, answers] })
      unlock()
      log('stopped')
    },
  }
}

interface Closing {
  readonly answering: readonly { close(): void }[]
  readonly tokenizer: Tokenizer
  readonly records: EngineRecords
  readonly store: Store
}

/** The books last: what else there is may still have a record for them. */
async function closeStores({ tokenizer, records, store, answering }: Closing): Promise<void> {
  for (const { close } of answering) close()
  await tokenizer.close()
  records.common?.close()
  records.journal.close()
  await store.close()
}

function checksOf({ ledger, isStopping }: Gateway, store: Store): Readonly<Record<string, boolean>> {
  return { books: !ledger.batcher.failing, accepting: !isStopping && store.isOurs() }
}

/** What a gateway has beside where it is one of several. */
function sharedBy({ common, replica }: EngineRecords) {
  return { ...(common && { common }), ...(replica !== undefined && { replica }) }
}

interface JobParts {
  readonly gateway: Gateway
  readonly config: Pick<Config, 'probeMs'>
  readonly database: Database
  readonly books: DurableBooks
  readonly catalog: LiveCatalog
  readonly reconciler: Reconciler
  /** Beats as long as the database answers. */
  readonly pulse: Pulse
  readonly records: EngineRecords
}

function jobsOf({ gateway, config, database, books, catalog, ...parts }: JobParts): readonly Job[] {
  const { reconciler, pulse, records } = parts
  const { ledger } = gateway
  const { probeMs } = config
  return [
    ...(probeMs === undefined ? [] : [{ name: 'probes', everyMs: probeMs, run: () => probe(gateway) }]),
    ...(records.common ? replicaJobs(ledger, records) : []),
    { name: 'checkpoints', everyMs: tickMs, run: openCheckpoints(ledger) },
    { name: 'reaper', everyMs: 1_000, run: () => sweep(ledger) },
    { name: 'rollup', everyMs: 1_000, run: () => books.rollup().then(pulse.beat) },
    { name: 'grants', everyMs: grantsMs, run: () => books.endGrants() },
    { name: 'reconciliation', everyMs: reconcileMs, isDueAtStart: true, run: () => reconciler.run() },
    { name: 'kept answers', everyMs: forgetMs, run: () => forgetAnswers(database) },
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

interface Viewed extends MetricsParts {
  readonly store: Store
  readonly pulse: Pulse
  readonly ready: Readonly<Record<string, boolean>>
}

/** What an operator is told of the gateway. */
function operatorsView(viewed: Viewed): Pick<ListenOptions, 'checks' | 'states' | 'metrics'> {
  const { gateway, store, pulse, ready, common, link } = viewed
  return {
    checks: () => ({ ...ready, ...checksOf(gateway, store), database: pulse.isAlive, ...workersOf(link) }),
    ...(common && { states: () => ({ redis: common.away().length === 0 ? 'shared' : 'away' }) }),
    metrics: openMetrics(viewed),
  }
}

function placeOf({ server: { host, port } }: Config, link: WorkerLink | undefined) {
  return { host, port, isShared: link !== undefined }
}

/** A worker is ready when all of them have been: until then the machine serves less than it is asked for. */
function workersOf(link: WorkerLink | undefined): Readonly<Record<string, boolean>> {
  return link ? { workers: link.areAllReady } : {}
}

function logOf(log: Log, link: WorkerLink | undefined): Log {
  return link ? (event, fields) => log(event, { worker: link.number, ...fields }) : log
}

interface AdminParts {
  readonly config: Config
  readonly database: Database
  readonly books: DurableBooks
  readonly crypto: Crypto
  readonly seal: Seal
  readonly gateway: Awaited<ReturnType<typeof openGateway>>['gateway']
  readonly catalog: LiveCatalog
  readonly changes: Changes
}

/** What this process has copies of, and how each is made anew. */
function copiesOf({ auth, ledger, platform }: Gateway, catalog: LiveCatalog): Copies {
  return {
    key: (keyId) => auth.forget(keyId),
    account(accountId) {
      for (const { spender } of ledger.homes.all) spender.changed(accountId)
    },
    catalog() {
      platform.later(catalog.reload().catch((error) => platform.log('catalog_stale', { error: String(error) })))
    },
  }
}

interface TidingsParts {
  readonly config: Config
  readonly gateway: Gateway
  readonly catalog: LiveCatalog
  readonly send: Send
}

/** What the other gateways and the operator hear of this one. */
function openTidings({ config, gateway, catalog, send }: TidingsParts): Changes {
  const { clock, log, settings } = gateway.platform
  const peers = openPeers({ router: gateway.router, clock, catalog: catalog.current, replica: settings.replica })
  const changes = openChanges(config, log, { copies: copiesOf(gateway, catalog), peers })
  const alerting = openAlerting(config, gateway, send)
  return {
    ...changes,
    close() {
      changes.close()
      alerting.close()
    },
  }
}

function adminRoutes({ config, database, books, crypto, ...parts }: AdminParts): readonly Hono[] {
  const { gateway, catalog, changes, seal } = parts
  const { auth, ledger } = gateway
  const deps = {
    database,
    books,
    crypto,
    seal,
    clock: systemClock,
    auth,
    router: gateway.router,
    replica: gateway.platform.settings.replica,
    changed: changes.key,
    recharged: changes.account,
    fresh: () => ledger.batcher.drained(freshMs),
    policies: config.policies,
    catalog: catalog.current,
    catalogChanged() {
      changes.catalog()
      return catalog.reload()
    },
  }
  return [
    adminKeys(deps),
    adminAccounts(deps),
    adminGrants(deps),
    adminCatalog(deps),
    adminVendorKeys(deps),
    adminHealth(deps),
    feedback(gateway),
    adminRefunds(deps),
    adminUsage(deps),
    selfUsage(deps),
  ]
}

export type { Seeded }
