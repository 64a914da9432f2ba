import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { UsageRecord } from '../src/core/call.ts'
import { type DurableBooks, openBooks } from '../src/db/books.ts'
import type { Database } from '../src/db/database.ts'
import { migrate } from '../src/db/migrate.ts'
import { apiKey } from '../src/db/schema.ts'
import { openPglite } from '../src/platform/pglite.ts'
import { openPostgres } from '../src/platform/postgres.ts'
import { newId, record } from '../test/db/records.ts'
import { postgresPrograms, startPostgres } from '../test/db/real-postgres.ts'
import { printRows, readArgs } from './options.ts'

/** How many settled calls a second the books take: new records of many accounts, in batches, by one writer and by four. */
const options = readArgs('npm run bench:flush -- [--json]\n\nSettled rows per second into PostgreSQL and PGlite.\n')

const accounts = 200
const measureMs = 4_000
const warmUpBatches = 5
const sizes = [100, 500]
const writers = [1, 4]
const price = 1_000n
const balance = 1_000_000_000_000n

interface Payer {
  readonly accountId: number
  readonly keyId: number
  readonly purse: number
  readonly lease: number
}

async function newPayers({ drizzle }: Database, books: DurableBooks): Promise<readonly Payer[]> {
  const epoch = await books.openEpoch('bench')
  const payers: Payer[] = []
  for (let at = 0; at < accounts; at++) {
    const { id: accountId } = await books.createAccount({ name: `account ${at}`, currency: 'USD' })
    const key = { publicId: `key-${at}`, kind: 'master' as const, hash: `hash of key ${at}`, accountId }
    const [row] = await drizzle.insert(apiKey).values(key).returning({ id: apiKey.id })
    await books.recharge({ accountId, amount: balance, ref: `payment ${at}` })
    const [purse] = await books.purses(accountId)
    const { id: lease } = await books.lend({ purse: purse?.id ?? 0, spender: 'bench', epoch, want: 0n })
    payers.push({ accountId, keyId: row?.id ?? 0, purse: purse?.id ?? 0, lease })
  }
  return payers
}

function newBatch(payers: readonly Payer[], size: number): readonly UsageRecord[] {
  const now = Date.now()
  return Array.from({ length: size }, (_, at) => {
    const { accountId, keyId, purse, lease } = payers[at % payers.length] as Payer
    const parts = [{ purse, lease, amount: price }]
    const attempts = [{ vendor: 'openai', model: 'gpt-4o', startedAtMs: now, endedAtMs: now, status: 200 }]
    return record({ accountId, keyId, parts, attempts, id: newId(now), startedAtMs: now, endedAtMs: now })
  })
}

/** Rows a second, and the time of a batch in ms. */
async function measure(
  books: DurableBooks,
  payers: readonly Payer[],
  { size, writers: writing }: { size: number; writers: number },
): Promise<{ rows: number; batchMs: number }> {
  for (let at = 0; at < warmUpBatches; at++) await books.flush(newBatch(payers, size))
  const from = performance.now()
  let batches = 0
  const write = async () => {
    while (performance.now() - from < measureMs) {
      await books.flush(newBatch(payers, size))
      batches++
    }
  }
  await Promise.all(Array.from({ length: writing }, write))
  const tookMs = performance.now() - from
  while ((await books.rollup()) > 0);
  return { rows: Math.round((batches * size * 1_000) / tookMs), batchMs: Math.round((tookMs * writing) / batches) }
}

async function measureAll(name: string, database: Database): Promise<Record<string, string | number>[]> {
  await migrate(database, Date.now())
  const books = openBooks(database)
  const payers = await newPayers(database, books)
  const found = []
  for (const size of sizes) {
    for (const writing of writers) {
      const { rows, batchMs } = await measure(books, payers, { size, writers: writing })
      found.push({ database: name, batch: size, writers: writing, 'rows/s': rows, 'ms a batch': batchMs })
    }
  }
  const faults = await books.check({ all: true })
  if (faults.length > 0) throw new Error(`the books are wrong: ${JSON.stringify(faults)}`)
  await database.close()
  return found
}

async function onPostgres(): Promise<Record<string, string | number>[]> {
  if (!postgresPrograms) return []
  const postgres = await startPostgres(postgresPrograms, { durable: true })
  try {
    return await measureAll('PostgreSQL', openPostgres(await postgres.create()))
  } finally {
    await postgres.stop()
  }
}

async function onPglite(): Promise<Record<string, string | number>[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
  try {
    return await measureAll('PGlite', await openPglite(join(folder, 'pglite')))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

printRows([...(await onPostgres()), ...(await onPglite())], options)
