import { AsyncLocalStorage } from 'node:async_hooks'
import { WorkerEntrypoint } from 'cloudflare:workers'
import { init, Tiktoken } from 'tiktoken/lite/init'
import wasm from 'tiktoken/lite/tiktoken_bg.wasm'
import ranks from 'tiktoken/encoders/o200k_base.json' with { type: 'json' }
import configText from '../../config/tollgate.yaml'
import { buildApp } from '../app.ts'
import { ConfigError, readConfig, type Config } from '../config.ts'
import { networkName, parseAddress } from '../core/address.ts'
import { GatewayError } from '../core/errors.ts'
import { chat } from '../fronts/chat.ts'
import { buildCatalog } from '../gateway/catalog.ts'
import { openCheckpoints, tickMs } from '../ledger/checkpoints.ts'
import type { Hold, Ledger } from '../ledger/hold.ts'
import { sweep } from '../ledger/reaper.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { fetchClient } from '../platform/fetch-client.ts'
import { fetchSend } from '../platform/fetch.ts'
import { jsonLog } from '../platform/log.ts'
import { memoryBooks, type MemoryBooksOptions } from '../platform/memory-books.ts'
import { inlineTokenizer, tokenizerName } from '../platform/tokenizer-inline.ts'
import type { Books, Log, Shared, Tokenizer } from '../ports.ts'
import { assemble, type Opened } from './assemble.ts'
import { type EdgeStore, openEdgeStore } from './edge-store.ts'
import { trialAccount, trialKey } from './trial.ts'

export { LedgerCell } from '../platform/durable-object.ts'

/*
 * The gateway at the edge. Its books are in the memory of one isolate. Its holds are in Durable Objects where they are
 * bound as LEDGER: then all isolates spend one balance, and what a dead isolate held is reaped. Else they are in the
 * memory of the isolate too, and a budget binds that isolate and not the whole edge. See docs/edge.md.
 */

/** Variables, secrets and other bindings of the deployment. */
type Bindings = Readonly<Record<string, unknown>>

interface Context {
  waitUntil(work: Promise<unknown>): void
}

/** For a record to reach the books. */
const storeMs = 5_000
const sweepEveryMs = 1_000
/** Where the text of the configuration comes from, for its faults. */
const configPath = 'config/tollgate.yaml'

/** An event that is being served. Its timers and questions end with it, so what it holds is looked after in it. */
interface Serving {
  readonly context: Context
  /** Ids of the holds that it has asked for. */
  readonly holds: Set<string>
}

/** What outlives an answer must be kept alive by the context of its own request. */
const servings = new AsyncLocalStorage<Serving>()

const keep = (work: Promise<unknown>): void => servings.getStore()?.context.waitUntil(work)

function serve<T>(context: Context, work: () => Promise<T>): Promise<T> {
  return servings.run({ context, holds: new Set() }, work)
}

interface Edge {
  fetch(request: Request): Response | Promise<Response>
  /** Ends holds whose requests were cut off by the platform, where the store does not call for it. */
  tidy(): Promise<void>
  /** Ends the holds of a spender that are due. */
  sweep(spender: string): Promise<void>
}

/** Opened by the first event, because nothing may be read or drawn before there is one. */
let opening: Promise<Edge> | undefined

async function edgeOf(bindings: Bindings): Promise<Edge> {
  opening ??= open(bindings)
  try {
    return await opening
  } catch (error) {
    opening = undefined
    throw error
  }
}

export default {
  async fetch(request: Request, bindings: Bindings, context: Context): Promise<Response> {
    return serve(context, async () => {
      try {
        const edge = await edgeOf(bindings)
        context.waitUntil(edge.tidy())
        return await edge.fetch(request)
      } catch (error) {
        return unusable(error)
      }
    })
  },
}

/** Called by the objects of the ledger when holds are due; no address leads here. */
export class LedgerSweeper extends WorkerEntrypoint<Context, Bindings> {
  async sweep(spender: string): Promise<void> {
    await serve(this.ctx, async () => {
      const edge = await edgeOf(this.env)
      await edge.sweep(spender)
    })
  }
}

/** The platform itself says who asks; what a caller writes there it replaces. */
function addressOf({ headers }: Request): string | undefined {
  const address = parseAddress(headers.get('cf-connecting-ip') ?? '')
  return address && networkName(address)
}

/** Nothing in here waits for the outside, so that a request which is cut off cannot leave it half open. */
async function open(bindings: Bindings): Promise<Edge> {
  const config = configFrom(bindings)
  const log = jsonLog((line) => console.log(line.trimEnd()), systemClock.now)
  const store = openEdgeStore({ binding: bindings['LEDGER'], accountId: trialAccount.id, log, keep })
  const { gateway } = await openGateway({ config, log, store })
  const { ledger } = gateway
  const app = buildApp({
    gateway,
    checks: () => ({}),
    connect: (c) => ({ ...fetchClient(c.req.raw), address: () => addressOf(c.req.raw) }),
  })
  let sweptMs = 0
  return {
    fetch: (request) => app.fetch(request),
    async tidy() {
      const now = systemClock.now()
      if (store.sweepsItself || now - sweptMs < sweepEveryMs) return
      sweptMs = now
      await sweepDead(ledger, store.claimOf(undefined)).catch((error) =>
        log('job_failed', { job: 'reaper', error: String(error) }),
      )
    },
    async sweep(spender) {
      await sweepDead(ledger, store.claimOf(spender))
      await ledger.batcher.drained(storeMs)
    },
  }
}

/**
 * Whoever serves a call checkpoints its hold, so one that is due is nobody's: also where its request was cut off in
 * this isolate and could not take it off the list of those that live.
 */
async function sweepDead(ledger: Ledger, claim: Shared['claim']): Promise<void> {
  const { live, homes, onReaped } = ledger
  const [home] = homes.all
  await sweep({
    ...ledger,
    homes: { ...homes, all: [{ ...home, shared: { ...home.shared, claim } }] },
    live: new Set(),
    onReaped(record) {
      for (const hold of live) if (hold.id === record.id) live.delete(hold)
      onReaped?.(record)
    },
  })
}

interface Opening {
  readonly config: Config
  readonly log: Log
  readonly store: EdgeStore
}

async function openGateway({ config, log, store }: Opening): Promise<Opened> {
  const { accounts, masterKey } = config
  if (masterKey === undefined) throw new Unusable('It has no key: set the secret TOLLGATE_MASTER_KEY.')
  const seed = accounts.get('default')
  const account = { ...trialAccount, ...(seed && { currency: seed.currency, discountPpm: seed.discountPpm }) }
  const random = openCrypto('').secret(48)
  // Keys are hashed only in this memory, so a secret that goes with it is as good as any.
  const crypto = openCrypto(config.secret ?? random)
  const opened: Opened = await assemble({
    config,
    shared: watched(store.shared, () => opened.gateway.ledger),
    crypto,
    log,
    books: booksOf({
      account,
      keys: [trialKey(crypto.keyHash(masterKey))],
      balance: seed?.startingBalance ?? 0n,
    }),
    send: fetchSend,
    tokenizer: lazyTokenizer(),
    catalog: fixed(buildCatalog(config)),
    replica: `edge:${random.slice(0, 12)}`,
    // Also until the record is stored: a timer ends with the request that set it.
    keep: (work) => keep(work.then(() => opened.gateway.ledger.batcher.drained(storeMs))),
  })
  return opened
}

/** One loan for each epoch, under whichever isolate's books it began: so all of them together lend the balance once. */
function booksOf(options: MemoryBooksOptions): Books {
  const { balance } = options
  return { ...memoryBooks(options), lend: ({ epoch }) => Promise.resolve({ id: epoch, lent: balance }) }
}

/** Checkpoints the holds of each request from its first admission on. */
function watched(shared: Shared, ledger: () => Ledger): Shared {
  return {
    ...shared,
    run(command) {
      const serving = servings.getStore()
      if (command.type === 'admit' && serving && !serving.holds.has(command.id)) {
        serving.holds.add(command.id)
        if (serving.holds.size === 1) checkpointHolds(serving, ledger())
      }
      return shared.run(command)
    },
  }
}

/** Not of other requests: a hold of one that was cut off must come due. */
function checkpointHolds({ holds }: Serving, ledger: Ledger): void {
  const own = new Set<Hold>()
  const tick = openCheckpoints({ ...ledger, live: own })
  // It ends with its request, if it is not stopped before.
  const timer = setInterval(() => {
    const hadSome = own.size > 0
    own.clear()
    for (const hold of ledger.live) if (holds.has(hold.id)) own.add(hold)
    if (hadSome && own.size === 0) clearInterval(timer)
    else void tick()
  }, tickMs)
}

function fixed<Value>(value: Value): () => Value {
  return () => value
}

function configFrom(bindings: Bindings): Config {
  const env = Object.fromEntries(
    Object.entries(bindings).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
  const config = readConfig({ text: configText, path: configPath, env })
  if (config.databaseUrl !== undefined || config.redisUrls !== undefined)
    throw new Unusable('At the edge it keeps its books in memory only: unset DATABASE_URL and REDIS_URL.')
  return config
}

/** What an operator has to mend, in words that callers may read. */
class Unusable extends Error {}

function unusable(error: unknown): Response {
  // The faults of a configuration are the operator's business: they are in his log, without any value.
  console.error(error instanceof Unusable || error instanceof ConfigError ? error.message : error)
  const why = error instanceof Unusable ? error.message : 'What is wrong stands in its log.'
  const failure = chat.failure(new GatewayError('billing_unavailable', `This gateway cannot serve yet. ${why}`))
  return Response.json(failure.body, { status: failure.status, headers: { ...failure.headers } })
}

/** Loading takes most of a second of computing time, and calls whose vendors count need none of it. */
function lazyTokenizer(): Tokenizer {
  let loading: Promise<Tokenizer> | undefined
  return {
    name: tokenizerName,
    async count(text) {
      if (text === '') return 0
      loading ??= loadTokenizer()
      const tokenizer = await loading
      return tokenizer.count(text)
    },
    close: () => Promise.resolve(),
  }
}

async function loadTokenizer(): Promise<Tokenizer> {
  await init((imports) => Promise.resolve(new WebAssembly.Instance(wasm, imports)))
  const encoder = new Tiktoken(ranks.bpe_ranks, ranks.special_tokens, ranks.pat_str)
  const encode = (piece: string) => encoder.encode_ordinary(piece).length
  return inlineTokenizer({ name: tokenizerName, encode }, nextTurn)
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0))
}
