import { AsyncLocalStorage } from 'node:async_hooks'
import { init, Tiktoken } from 'tiktoken/lite/init'
import wasm from 'tiktoken/lite/tiktoken_bg.wasm'
import ranks from 'tiktoken/encoders/o200k_base.json' with { type: 'json' }
import configText from '../../config/tollgate.yaml'
import { buildApp } from '../app.ts'
import { ConfigError, readConfig, type Config } from '../config.ts'
import { GatewayError } from '../core/errors.ts'
import { chat } from '../fronts/chat.ts'
import { buildCatalog } from '../gateway/catalog.ts'
import { sweep } from '../ledger/reaper.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { fetchClient } from '../platform/fetch-client.ts'
import { fetchSend } from '../platform/fetch.ts'
import { jsonLog } from '../platform/log.ts'
import { memoryBooks } from '../platform/memory-books.ts'
import { openMemory } from '../platform/memory.ts'
import { noJournal } from '../platform/no-journal.ts'
import { inlineTokenizer, tokenizerName } from '../platform/tokenizer-inline.ts'
import type { Log, Tokenizer } from '../ports.ts'
import { assemble, type Opened } from './assemble.ts'
import { trialAccount, trialKey } from './trial.ts'

/*
 * The gateway at the edge, with its books and its state in the memory of one isolate: for trying. Every isolate has the
 * starting balance anew, so a budget binds one isolate and not the whole edge.
 */

/** Variables and secrets of the deployment. */
type Bindings = Readonly<Record<string, unknown>>

interface Context {
  waitUntil(work: Promise<unknown>): void
}

/** For a record to reach the books. */
const storeMs = 5_000
const sweepEveryMs = 1_000
/** Where the text of the configuration comes from, for its faults. */
const configPath = 'config/tollgate.yaml'

/** Whose request is being served: what outlives its answer must be kept alive by its own context. */
const contexts = new AsyncLocalStorage<Context>()

interface Edge {
  fetch(request: Request): Response | Promise<Response>
  /** Ends holds whose requests were cut off by the platform. */
  tidy(): Promise<void>
}

/** Opened by the first request, because nothing may be read or drawn before there is one. */
let opening: Promise<Edge> | undefined

export default {
  async fetch(request: Request, bindings: Bindings, context: Context): Promise<Response> {
    return contexts.run(context, async () => {
      try {
        opening ??= open(bindings)
        const edge = await opening
        context.waitUntil(edge.tidy())
        return await edge.fetch(request)
      } catch (error) {
        opening = undefined
        return unusable(error)
      }
    })
  },
}

/** Nothing in here waits for the outside, so that a request which is cut off cannot leave it half open. */
async function open(bindings: Bindings): Promise<Edge> {
  const config = configFrom(bindings)
  const log = jsonLog((line) => console.log(line.trimEnd()), systemClock.now)
  const opened = await openGateway(config, log)
  const { gateway } = opened
  const app = buildApp({ gateway, checks: () => ({}), connect: (c) => fetchClient(c.req.raw) })
  let sweptMs = 0
  return {
    fetch: (request) => app.fetch(request),
    async tidy() {
      const now = systemClock.now()
      if (now - sweptMs < sweepEveryMs) return
      sweptMs = now
      await sweep(gateway.ledger).catch((error) => log('job_failed', { job: 'reaper', error: String(error) }))
    },
  }
}

async function openGateway(config: Config, log: Log): Promise<Opened> {
  const { accounts, masterKey } = config
  if (masterKey === undefined) throw new Unusable('It has no key: set the secret TOLLGATE_MASTER_KEY.')
  const seed = accounts.get('default')
  const account = { ...trialAccount, ...(seed && { currency: seed.currency, discountPpm: seed.discountPpm }) }
  const random = openCrypto('').secret(48)
  // Keys are hashed only in this memory, so a secret that goes with it is as good as any.
  const crypto = openCrypto(config.secret ?? random)
  const shared = openMemory({
    clock: systemClock,
    journal: noJournal,
    onAssertion: (assertion, accountId) => log('account_stopped', { accountId, rule: assertion.message }),
  })
  const opened: Opened = await assemble({
    config,
    shared,
    crypto,
    log,
    books: memoryBooks({
      account,
      keys: [trialKey(crypto.keyHash(masterKey))],
      balance: seed?.startingBalance ?? 0n,
    }),
    send: fetchSend,
    tokenizer: lazyTokenizer(),
    catalog: fixed(buildCatalog(config)),
    replica: `edge:${random.slice(0, 12)}`,
    // Also until the record is stored: a timer ends with the request that set it.
    keep: (work) => contexts.getStore()?.waitUntil(work.then(() => opened.gateway.ledger.batcher.drained(storeMs))),
  })
  return opened
}

function fixed<Value>(value: Value): () => Value {
  return () => value
}

function configFrom(bindings: Bindings): Config {
  const env = Object.fromEntries(
    Object.entries(bindings).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
  const config = readConfig({ text: configText, path: configPath, env })
  if (config.databaseUrl !== undefined || config.redisUrl !== undefined)
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
