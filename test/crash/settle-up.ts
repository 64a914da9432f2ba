import { setTimeout as wait } from 'node:timers/promises'
import { openBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { openReconciler } from '../../src/ledger/reconcile.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { readJournal } from '../../src/platform/journal.ts'
import { openRedis } from '../../src/platform/redis.ts'
import type { RealRedis } from '../support/real-redis.ts'
import type { Booked } from './truth.ts'
import type { Funded, World } from './world.ts'

/** The books after everything, and what is wrong with them in words. Money in nano-units. */
export interface Settled {
  readonly booked: readonly Booked[]
  readonly breaches: readonly string[]
  /** Beside the books: what the gateways would let be spent and nobody lent, and the other way round. */
  readonly driftOver: bigint
  readonly driftUnder: bigint
  /** Below nothing, by the account that is furthest. */
  readonly worstOverdraft: bigint
  /** From the end of the last fault until nothing was held and no loan frozen. */
  readonly settledMs: number
}

/** A hold's term, its claim, and the 45 s after which frozen loans come back at the latest. */
const settleMs = 150_000
const pollMs = 250

const openLoans = `SELECT state || ' lease of ' || spender || ' epoch ' || epoch AS loan FROM lease
  WHERE state = 'frozen' OR (state = 'open' AND spender LIKE 'replica:%') ORDER BY id`

/** Waits until nothing is held, stops the gateways, and reads the books. */
export async function settleUp(world: World): Promise<Settled> {
  const { installation, options } = world
  options.progress('waiting until nothing is held')
  const fromMs = performance.now()
  const breaches = [...(await settled(world))]
  const settledMs = performance.now() - fromMs
  const drift = installation.redis ? await driftOf(world, installation.redis) : { over: 0n, under: 0n, breaches: [] }
  const codes = await installation.stop()
  breaches.push(...drift.breaches)
  breaches.push(...codes.flatMap((code, at) => (code === 0 ? [] : [`gateway ${at} ended with ${code}`])))
  for (const { journal } of installation.gateways)
    breaches.push(...readJournal(journal).map(({ id }) => `the journal still has hold ${id}`))
  options.progress('reading the books')
  const database = await installation.open()
  try {
    const read = await readBooks(database, world)
    const { over: driftOver, under: driftUnder } = drift
    return { ...read, driftOver, driftUnder, settledMs, breaches: [...breaches, ...read.breaches] }
  } finally {
    await database.close()
  }
}

/** What is held or lent still when there was time enough for everything. */
async function settled({ installation, payers }: World): Promise<readonly string[]> {
  const database = installation.redis && (await installation.open())
  const left = async () => [
    ...(await installation.unsettled()),
    ...(await Promise.all(payers.map((payer) => stillHeld(installation, payer)))).flat(),
    ...((await database?.query<{ loan: string }>(openLoans))?.map(({ loan }) => loan) ?? []),
  ]
  try {
    for (const end = Date.now() + settleMs; ; await wait(pollMs)) {
      const found = await left()
      if (found.length === 0 || Date.now() > end) return found
    }
  } finally {
    await database?.close()
  }
}

async function stillHeld(installation: World['installation'], { key, account }: Funded): Promise<readonly string[]> {
  const { held } = await installation.standing(key)
  const { in_flight: inFlight } = await installation.get('/v1/key', key)
  if (held === 0n && inFlight === 0) return []
  return [`account ${account} has ${held} held and ${String(inFlight)} calls in flight`]
}

/** Compares the records in Redis with the books, as a gateway does each hour. */
async function driftOf({ installation }: World, redis: RealRedis) {
  const database = await installation.open()
  const log = () => {}
  const shared = await openRedis({ address: { url: redis.url }, clock: systemClock, log, onAssertion: () => {} })
  try {
    const { over, under, drifts } = await openReconciler({
      database,
      shared,
      log,
      clock: systemClock,
      books: openBooks(database),
      batcher: { unflushed: () => [] },
      isStopping: () => false,
    }).run()
    const breaches = drifts
      .filter(({ amount }) => amount > 0n)
      .map(
        ({ accountId, purse, amount }) =>
          `Redis has ${amount} more than was lent to it on purse ${purse} of account ${accountId}`,
      )
    return { over, under, breaches }
  } finally {
    shared.close()
    await database.close()
  }
}

const bookedCalls = `SELECT id, max(client_request_id) AS name, max(account_id)::int AS account,
  sum(charge) AS charge, min(outcome) FILTER (WHERE seq = 0) AS outcome,
  coalesce(sum(charge) FILTER (WHERE seq = 1), 0) AS late, count(*) FILTER (WHERE seq = 1) > 0 AS "isLate"
  FROM usage_record GROUP BY day, id`

async function readBooks(database: Database, { payers }: World) {
  const books = openBooks(database)
  const breaches = (await books.check()).map(({ rule, subject, detail }) => `${rule}: ${subject}: ${detail}`)
  const booked = await database.query<Booked>(bookedCalls)
  let worstOverdraft = 0n
  for (const { account, balance } of payers) {
    const rows = booked.filter((row) => row.account === account)
    const rest = balance - sum(rows.map(({ charge }) => charge))
    const posted = (await books.balance(account))?.posted
    if (posted !== rest) breaches.push(`account ${account} has ${posted}, and by its records ${rest}`)
    // Only what was found to be owed after another gateway had ended the call may be taken without being there.
    const late = sum(rows.map((row) => row.late ?? 0n).filter((amount) => amount > 0n))
    if (-rest > late) breaches.push(`account ${account} is overdrawn by ${-rest}, of which ${late} came late`)
    if (-rest > worstOverdraft) worstOverdraft = -rest
  }
  const own = new Set(payers.map(({ account }) => account))
  return { booked: booked.filter(({ account }) => own.has(account)), breaches, worstOverdraft }
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}
