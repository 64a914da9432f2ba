import { createAuthenticator } from '../../src/auth/authenticate.ts'
import type { Catalog, Policies } from '../../src/core/catalog.ts'
import { chat } from '../../src/fronts/chat.ts'
import { exchange } from '../../src/gateway/exchange.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { startJobs } from '../../src/jobs.ts'
import { openBatcher } from '../../src/ledger/batcher.ts'
import { openCheckpoints, tickMs } from '../../src/ledger/checkpoints.ts'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import { beatMs, openHeartbeat } from '../../src/ledger/heartbeat.ts'
import type { Ledger } from '../../src/ledger/hold.ts'
import { sweep } from '../../src/ledger/reaper.ts'
import { recover } from '../../src/ledger/recover.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import { openLedgerHomes } from '../../src/ledger/open-homes.ts'
import { openSpare } from '../../src/ledger/spare.ts'
import type { Journal } from '../../src/platform/journal.ts'
import { type Memory, openMemory } from '../../src/platform/memory.ts'
import { openTelemetry } from '../../src/record/telemetry.ts'
import { openRouter } from '../../src/route/router.ts'
import type { Books, Crypto, Platform, Send, Settings, Shared, Tokenizer } from '../../src/ports.ts'
import { type Link, type RedisBugs, type SimRedis, simShared } from './redis.ts'
import { type Truth, tokenizer } from './traffic.ts'
import type { Owner, World } from './world.ts'

/** What survives a killed process: its journal. */
export type Disk = Map<string, HoldRecord>

/** The state of the network between the gateway and Postgres. */
export interface Weather {
  booksDown: boolean
  /** Share of the calls to Postgres whose answer is lost although it did what was asked. */
  lostAnswers: number
  slowMs: number
}

export interface Replica {
  readonly owner: Owner
  readonly gateway: Gateway
  serve(client: Parameters<typeof exchange>[1]['client'], truth: Truth): Promise<void>
  kill(): void
}

/** Places where a test may break the protocol on purpose. */
export interface Hooks {
  readonly engine?: (engine: typeof decide) => typeof decide
  readonly books?: (books: Books) => Books
  readonly journal?: (journal: Journal) => Journal
  readonly tokenizer?: Tokenizer
  readonly policies?: Partial<Policies>
  readonly skipsRecovery?: true
  /** Of replicas that share a Redis. */
  readonly shared?: (shared: Shared) => Shared
  readonly redis?: RedisBugs
  readonly keepsOwnLoans?: true
}

export interface ReplicaParts {
  readonly hooks: Hooks
  readonly world: World
  readonly books: Books
  readonly weather: Weather
  readonly disk: Disk
  readonly send: (owner: Owner) => Send
  catalog(): Catalog
  readonly settings: Settings
  readonly skew: { skewMs: number }
  /** What this replica shares with others; absent where one process serves the books. */
  readonly redis?: { readonly server: SimRedis; readonly link: Link }
  readonly onLog: (event: string, fields?: Readonly<Record<string, unknown>>) => void
}

/** Hashes of keys in the simulation are the keys themselves. */
function simCrypto(world: World): Crypto {
  let made = 0
  return {
    keyHash: (key) => key,
    equal: (a, b) => a === b,
    uuidv7(nowMs) {
      const time = Math.floor(nowMs).toString(16).padStart(12, '0')
      const count = (++made).toString(16).padStart(12, '0')
      const random = world.random.whole(0, 0xfff).toString(16).padStart(3, '0')
      return `${time.slice(0, 8)}-${time.slice(8)}-7${random}-8000-${count}`
    },
    secret: (length) => 'x'.repeat(length),
  }
}

/** Starts a process on a disk that an earlier one may have left; rejects while Postgres is away. */
export async function startReplica(parts: ReplicaParts): Promise<Replica> {
  const { world, disk, settings, onLog } = parts
  const owner: Owner = { isAlive: true, pausedUntilMs: 0 }
  const clock = world.clockOf(owner, parts.skew)
  const { hooks } = parts
  const books = distant({ ...parts, books: hooks.books?.(parts.books) ?? parts.books }, owner)
  const onDisk: Journal = {
    append: (hold) => void disk.set(hold.id, hold),
    drop: (id) => void disk.delete(id),
    close() {},
  }
  const onAssertion = (assertion: Error) => onLog('assertion', { rule: assertion.message })
  const left = hooks.skipsRecovery ? [] : [...disk.values()]
  const shared = openMemory({
    clock,
    journal: hooks.journal?.(onDisk) ?? onDisk,
    onAssertion,
    engine: hooks.engine?.(decide) ?? decide,
    ...(parts.redis && { spender: `replica:${settings.replica}` }),
  })
  await recover({ books, shared, holds: left, log: onLog, clock })
  const platform: Platform = {
    clock,
    log: onLog,
    books,
    send: parts.send(owner),
    tokenizer: hooks.tokenizer ?? tokenizer,
    crypto: simCrypto(world),
    settings,
    catalog: parts.catalog,
    later: () => {},
  }
  const common = parts.redis && (hooks.shared ?? same)(simShared(world, owner, { ...parts.redis, onAssertion }))
  const live: Ledger['live'] = new Set()
  const homes = await openLedgerHomes({ books, clock, log: onLog, own: shared, live, ...(common && { common }) })
  const ledger: Ledger = {
    platform,
    homes,
    batcher: openBatcher({ ...platform, homes }),
    live,
  }
  const gateway: Gateway = {
    platform,
    ledger,
    auth: createAuthenticator({ books, crypto: platform.crypto, clock }),
    telemetry: openTelemetry(),
    router: openRouter({ clock, random: () => 0.5, log: onLog }),
    running: new Set(),
    isStopping: false,
  }
  startJobs(clock, onLog, [
    { name: 'checkpoints', everyMs: tickMs, run: openCheckpoints(ledger) },
    { name: 'reaper', everyMs: 1_000, run: () => sweep(ledger) },
    ...(common ? replicaJobs(ledger, shared, hooks) : []),
  ])
  return {
    owner,
    gateway,
    async serve(client, truth) {
      try {
        await exchange(gateway, { front: chat, client, id: truth.id, path: '/', query: () => undefined })
      } catch (error) {
        if (!owner.isAlive) return
        const { status, code } = error as { status?: number; code?: string }
        if (code === undefined) onLog('unhandled', { error: String(error), stack: (error as Error).stack })
        truth.status = status ?? 500
        truth.refusal = code ?? 'unhandled'
      }
    },
    kill() {
      owner.isAlive = false
    },
  }
}

const same = (shared: Shared): Shared => shared

/** As the entry has them. */
function replicaJobs(ledger: Ledger, own: Memory, { keepsOwnLoans }: Hooks) {
  const { books } = ledger.platform
  return [
    { name: 'heartbeat', everyMs: beatMs, isDueAtStart: true, run: openHeartbeat(ledger) },
    { name: 'frozen leases', everyMs: beatMs, run: () => books.closeFrozen() },
    ...(keepsOwnLoans ? [] : [{ name: 'own leases', everyMs: 1_000, run: openSpare(ledger, () => own.size().holds) }]),
  ]
}

/** The books over a network: a request may be late, refused, or done without an answer; a dead process hears nothing. */
function distant({ world, books, weather }: ReplicaParts, owner: Owner): Books {
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    const delay = () => world.random.whole(1, 4) + (world.random.chance(0.1) ? weather.slowMs : 0)
    await world.wait(delay())
    if (weather.booksDown) {
      await world.wait(delay(), owner)
      throw new Error('the database is away')
    }
    const answer = await run()
    const isLost = world.random.chance(weather.lostAnswers)
    await world.wait(delay(), owner)
    if (isLost) throw new Error('the answer was lost')
    return answer
  }
  return {
    findKey: (hash) => call(() => books.findKey(hash)),
    purses: (accountId) => call(() => books.purses(accountId)),
    spent: (keyId, window, sinceMs) => call(() => books.spent(keyId, window, sinceMs)),
    openEpoch: (spender, after) => call(() => books.openEpoch(spender, after)),
    epochOf: (spender) => call(() => books.epochOf(spender)),
    closeLeases: (spender) => call(() => books.closeLeases(spender)),
    closeFrozen: () => call(() => books.closeFrozen()),
    beat: (beat) => call(() => books.beat(beat)),
    lend: (request) => call(() => books.lend(request)),
    flush: (records) => call(() => books.flush(records)),
    booked: (ids) => call(() => books.booked(ids)),
    balance: (accountId) => call(() => books.balance(accountId)),
    receipt: (of) => call(() => books.receipt(of)),
  }
}
