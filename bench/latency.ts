import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { KeyFacts } from '../src/core/call.ts'
import { openBooks } from '../src/db/books.ts'
import { migrate } from '../src/db/migrate.ts'
import { openBatcher } from '../src/ledger/batcher.ts'
import { admitHold, type Hold, type Ledger } from '../src/ledger/hold.ts'
import { openLedgerHomes } from '../src/ledger/open-homes.ts'
import { systemClock } from '../src/platform/clock.ts'
import { openJournal } from '../src/platform/journal.ts'
import { openMemory } from '../src/platform/memory.ts'
import { openPostgres } from '../src/platform/postgres.ts'
import { openRedis } from '../src/platform/redis.ts'
import type { Platform, Shared } from '../src/ports.ts'
import { newId, prices, record } from '../test/db/records.ts'
import { postgresPrograms, startPostgres } from '../test/db/real-postgres.ts'
import { startRedis } from '../test/support/real-redis.ts'
import { printRows, readArgs } from './options.ts'

/** What a caller waits longer for because the call is billed: before the vendor is asked, and before the last byte. */
const options = readArgs(
  'npm run bench:latency -- [--json]\n\nMilliseconds that the admission and the settling of a call take, at a steady rate.\n',
)

const calls = 4_000
const warmUpCalls = 400
/** Between the starts of two calls: 200 a second. */
const everyMs = 5
/** The vendor's part of the call. */
const vendorMs = 20

interface Waited {
  readonly admit: number
  readonly settle: number
}

async function call(ledger: Ledger, accountId: number, key: KeyFacts): Promise<Waited> {
  const id = newId(Date.now())
  const caller = {
    accountId,
    currency: 'USD',
    discountPpm: 1_000_000,
    keyId: key.id,
    publicId: 'bench',
    kind: 'master' as const,
    chain: [key],
    models: [],
  }
  const asked = { model: 'gpt-4o', publicModel: 'gpt-4o', prices, free: false, stream: true }
  const startedAt = performance.now()
  const hold: Hold = await admitHold(ledger, {
    ...asked,
    id,
    caller,
    startedAtMs: Date.now(),
    inputTokens: 100,
    outputTokens: 1_000,
    mostOutputTokens: 4_000,
  })
  const admitted = performance.now()
  await wait(vendorMs)
  const ended = performance.now()
  const parts = hold.parts().map((part) => ({ ...part, amount: part.amount / 2n }))
  // A store that is late is not waited for longer than that: the record is with the batcher.
  await hold.settle(record({ id, accountId, keyId: key.id, parts })).catch(() => {})
  return { admit: admitted - startedAt, settle: performance.now() - ended }
}

function percentile(sorted: readonly number[], share: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(2)
}

async function measure(name: string, ledger: Ledger, accountId: number): Promise<Record<string, string>> {
  const key: KeyFacts = { id: 1, version: 1, budgets: [{ limit: 8n * 10n ** 15n, window: 'total' }] }
  const made: Promise<Waited>[] = []
  for (let at = 0; at < warmUpCalls + calls; at++) {
    made.push(call(ledger, accountId, key))
    await wait(everyMs)
  }
  const waited = (await Promise.all(made)).slice(warmUpCalls)
  await ledger.batcher.drained(10_000)
  const column = (step: keyof Waited, share: number) =>
    percentile(
      waited.map((each) => each[step]).toSorted((a, b) => a - b),
      share,
    )
  return {
    records: name,
    'admit p50': column('admit', 0.5),
    'admit p99': column('admit', 0.99),
    'settle p50': column('settle', 0.5),
    'settle p99': column('settle', 0.99),
  }
}

if (postgresPrograms === undefined) throw new Error('there is no PostgreSQL of version 15 or newer here')
const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
const [postgres, redis] = await Promise.all([startPostgres(postgresPrograms, { durable: true }), startRedis()])
const database = openPostgres(await postgres.create())
const fail = (error: unknown): never => {
  throw error
}
try {
  await migrate(database, Date.now())
  const books = openBooks(database)
  const settings = { replica: 'bench', termMs: 30_000, checkpointMs: 2_000 } as Platform['settings']
  const platform = { clock: systemClock, log: () => {}, books, settings } as unknown as Platform
  const ledgerOn = async (own: Shared, common?: Shared): Promise<Ledger> => {
    const live: Ledger['live'] = new Set()
    const homes = await openLedgerHomes({ ...platform, own, live, ...(common && { common }) })
    return { platform, homes, batcher: openBatcher({ ...platform, homes }), live }
  }
  const journal = openJournal({ path: join(folder, 'holds.journal'), clock: systemClock, onFault: fail })
  const memory = () => openMemory({ clock: systemClock, journal, onAssertion: fail, spender: `replica:${newId(0)}` })
  const common = await openRedis({ address: { url: redis.url }, clock: systemClock, log: () => {}, onAssertion: fail })
  const rows = []
  for (const [name, ledger] of [
    ['memory and a journal', await ledgerOn(memory())],
    ['Redis', await ledgerOn(memory(), common)],
  ] as const) {
    const { id } = await books.createAccount({ name, currency: 'USD' })
    await books.recharge({ accountId: id, amount: 10n ** 15n, ref: name })
    rows.push(await measure(name, ledger, id))
  }
  printRows(rows, options)
  common.close()
  journal.close()
} finally {
  await database.close()
  await Promise.all([postgres.stop(), redis.stop()])
  rmSync(folder, { recursive: true, force: true })
}
