import { openShares } from '../admit/shares.ts'
import { createAuthenticator } from '../auth/authenticate.ts'
import { openAnswerCache } from '../call/answer-cache.ts'
import { openIdempotency } from '../call/idempotency.ts'
import { provingSend } from '../call/proving-send.ts'
import type { Config } from '../config.ts'
import type { Catalog } from '../core/catalog.ts'
import { FleetingSet } from '../core/fleeting.ts'
import type { Gateway } from '../gateway/gateway.ts'
import { openBatcher } from '../ledger/batcher.ts'
import type { Ledger } from '../ledger/hold.ts'
import { openLedgerHomes } from '../ledger/open-homes.ts'
import { openTelemetry } from '../record/telemetry.ts'
import { openRouter } from '../route/router.ts'
import { systemClock } from '../platform/clock.ts'
import { memoryCache } from '../platform/memory-cache.ts'
import { systemProving } from '../platform/proving.ts'
import { systemRandom } from '../platform/random.ts'
import type { Books, Cache, Crypto, Log, Platform, Repeats, Send, Settings, Shared, Tokenizer } from '../ports.ts'
import { sandboxSend } from '../vendors/sandbox.ts'

/** Largest unstreamed answer of a vendor: images in base64 and long answers fit. */
const answerLimit = 64 * 1024 * 1024
/** A caller who reads nothing for so long is taken as gone. */
const stallMs = 60_000

export interface Parts {
  readonly config: Config
  readonly books: Books
  /** This process's own records. */
  readonly shared: Shared
  /** The store that several replicas share; then their own records are for when it is away. */
  readonly common?: Shared
  readonly send: Send
  readonly tokenizer: Tokenizer
  readonly crypto: Crypto
  readonly log: Log
  catalog(): Catalog
  /** Names this process in holds and heartbeats. */
  readonly replica: string
  /** False while no call may be admitted. */
  readonly mayAdmit?: () => boolean
  /** Where answers are kept beside the memory of this process, nearest first. */
  readonly caches?: readonly Cache[]
  /** What calls with an `Idempotency-Key` have come to; absent: it means nothing. */
  readonly repeats?: Repeats
  /** By how much the process is late with what it does; absent: nobody can tell, and no call is refused for it. */
  readonly lagMs?: () => number
  /** What the next call has to wait for before it begins; absent: nothing. */
  readonly turn?: () => Promise<void>
  /** Hears of work that outlives its answer, where the platform must be asked to let it live. */
  readonly keep?: (work: Promise<unknown>) => void
}

/** A gateway and the work that outlives its answers. */
export interface Opened {
  readonly gateway: Gateway
  /** Resolves when nothing that was put off is running. */
  idle(): Promise<void>
}

/** Of a hash: enough to tell two keys of one name apart. */
const markLength = 16

/** Puts a gateway together from its parts, on any platform; a new epoch of lending begins. */
export async function assemble(parts: Parts): Promise<Opened> {
  const { books, crypto, log, tokenizer } = parts
  const later = new Set<Promise<unknown>>()
  const sandbox = sandboxSend({ clock: systemClock, countTokens: (text) => tokenizer.count(text) })
  const send = provingSend({ send: parts.send, clock: systemClock, log, proving: systemProving })
  const platform: Platform = {
    clock: systemClock,
    log,
    books,
    crypto,
    tokenizer,
    send: (request, receiver) => (request.url.startsWith('sandbox:') ? sandbox : send)(request, receiver),
    settings: settingsOf(parts),
    catalog: parts.catalog,
    later(work) {
      later.add(work)
      void work.finally(() => later.delete(work))
      parts.keep?.(work)
    },
  }
  const telemetry = openTelemetry()
  const live: Ledger['live'] = new FleetingSet()
  const { shared: own, common } = parts
  const homes = await openLedgerHomes({ books, clock: systemClock, log, own, live, ...(common && { common }) })
  const ledger: Ledger = {
    platform,
    homes,
    batcher: openBatcher({ ...platform, homes }),
    live,
    ...(parts.mayAdmit && { mayAdmit: parts.mayAdmit }),
    onReaped: (record) => telemetry.ended(record, 0n),
  }
  const auth = createAuthenticator({ books, crypto, clock: systemClock })
  const isShared = parts.config.limits.shared.length > 0
  const shares = isShared && openShares({ shared: common ?? own, clock: systemClock, log, replica: parts.replica })
  const router = openRouter({
    clock: systemClock,
    random: systemRandom,
    log,
    // The same on all replicas, which have one secret, and of no use to anybody without it.
    mark: (secret) => crypto.keyHash(`vendor key ${secret}`).slice(0, markLength),
  })
  const gateway: Gateway = {
    platform,
    ledger,
    auth,
    telemetry,
    router,
    ...answering(parts),
    ...(shares && { shares }),
    ...(parts.turn && { turn: parts.turn }),
    ...(parts.lagMs && { shedding: { lagMs: parts.lagMs, rules: parts.config.limits.shedding } }),
    running: new FleetingSet(),
    isStopping: false,
  }
  return {
    gateway,
    async idle() {
      await Promise.allSettled(later)
    },
  }
}

/** What is kept of answers, and for whom. */
function answering({ config, log, repeats, caches = [] }: Parts): Pick<Gateway, 'answers' | 'idempotency'> {
  const { cache, idempotency: rules } = config
  const near = memoryCache(systemClock, { bytes: cache.memoryBytes, entries: cache.memoryEntries })
  return {
    answers: openAnswerCache({ clock: systemClock, log, near, far: caches }),
    ...(repeats && { idempotency: openIdempotency({ repeats, rules, clock: systemClock, log }) }),
  }
}

function settingsOf({ config: { server, holds, limits, keepAlive }, replica }: Parts): Settings {
  return {
    limits,
    replica,
    bodyLimit: server.bodyLimitBytes,
    answerLimit,
    firstOutputTokens: holds.firstOutputTokens,
    ...(holds.cap !== undefined && { holdCap: holds.cap }),
    termMs: holds.termMs,
    checkpointMs: holds.checkpointMs,
    stallMs,
    keepAlive,
    trustedProxies: server.trustedProxies,
  }
}
