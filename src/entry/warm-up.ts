import { request } from 'node:http'
import type { Config } from '../config.ts'
import { openMemory } from '../platform/memory.ts'
import { noJournal } from '../platform/journal.ts'
import { memoryBooks } from '../platform/memory-books.ts'
import { openUndici } from '../platform/undici.ts'
import { releaseSpareMemory } from '../platform/spare-memory.ts'
import { systemClock } from '../platform/clock.ts'
import type { Crypto, Tokenizer } from '../ports.ts'
import { buildCatalog } from '../gateway/catalog.ts'
import { listen, openGateway } from './start.ts'
import { trialAccount, trialConfig, trialKey } from './trial.ts'

/** Enough for the compiler to see what is hot; the first second of a cold process costs five times as much a call. */
const rounds = 150

export interface WarmUpParts {
  readonly config: Config
  readonly tokenizer: Tokenizer
  readonly crypto: Crypto
}

/**
 * Runs calls through a gateway of its own, over loopback, with books in memory: the code that serves real calls is
 * compiled before the first one comes, and nothing of it reaches the real books.
 */
export async function warmUp({ config, tokenizer, crypto }: WarmUpParts): Promise<void> {
  // What the start has left over; after the warm-up some of what it has compiled would go with it.
  releaseSpareMemory()
  const shared = openMemory({ clock: systemClock, journal: noJournal, onAssertion: () => {} })
  const { send, close } = openUndici()
  const key = crypto.secret(40)
  const trial = trialConfig(config)
  const catalog = buildCatalog(trial)
  const books = memoryBooks({ account: trialAccount, keys: [trialKey(crypto.keyHash(key))], balance: 1_000_000_000n })
  const { gateway } = await openGateway({
    config: trial,
    books,
    shared,
    send,
    tokenizer,
    crypto,
    log: () => {},
    catalog: () => catalog,
  })
  const { server, port } = await listen({ gateway, checks: () => ({}), admin: [], host: '127.0.0.1', port: 0 })
  try {
    for (const round of Array.from({ length: rounds }).keys()) await call({ port, key, stream: round % 2 === 0 })
  } finally {
    server.close()
    server.closeAllConnections()
    await close()
  }
}

function call({ port, key, stream }: { port: number; key: string; stream: boolean }): Promise<void> {
  const body = JSON.stringify({
    model: 'sandbox/echo',
    stream,
    messages: [{ role: 'user', content: 'one two three four five' }],
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const sent = request({ host: '127.0.0.1', port, path: '/v1/chat/completions', method: 'POST', headers }, (answer) => {
    answer.resume()
    answer.once('end', resolve)
    answer.once('error', reject)
  })
  sent.once('error', reject)
  sent.end(body)
  return promise
}
