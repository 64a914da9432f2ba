import { setTimeout as wait } from 'node:timers/promises'
import { drizzle, type PostgresJsSession } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { createDatabase, type Database, type Drizzle, type RawResult } from '../db/database.ts'
import * as schema from '../db/schema.ts'

/** Connections per replica: four batches under way, and room for what calls ask. */
const poolSize = 10
const connectSeconds = 5
/** The server stops a statement after this long, and one that waits for a lock sooner. */
const statementMs = 15_000
const lockMs = 10_000
/** When a server does not answer at all. Longer than a migration's wait for another gateway's. */
const answerMs = 90_000
const closeSeconds = 5

export interface PostgresOptions {
  /**
   * Set behind a pooler that changes sessions between transactions (PgBouncer before 1.21, Hyperdrive): no prepared
   * statements, and the time limits are the pooler's to set, because it refuses ours.
   */
  readonly pooler?: boolean
}

/** Opens PostgreSQL 15 or newer. Connects when first used; a server that is away is an error of each statement. */
export function openPostgres(url: string, { pooler = false }: PostgresOptions = {}): Database {
  const client = connect(url, { max: poolSize, pooler })
  // drizzle sets parsers on the client so that times stay text; json it parses itself.
  const database = drizzle({ client, schema })
  return createDatabase({
    kind: 'postgres',
    drizzle: database,
    raw: (inside, sql, parameters) => raw({ inside, prepare: !pooler }, sql, parameters),
    wait: (ms) => wait(ms),
    close: () => client.end({ timeout: closeSeconds }),
  })
}

interface Connection {
  readonly max: number
  readonly pooler: boolean
  /** Sole connections must not be renewed now and then, as those of a pool are: their lock goes with them. */
  readonly onClose?: () => void
}

function connect(url: string, { max, pooler, onClose }: Connection): Sql {
  return postgres(url, {
    max,
    connect_timeout: connectSeconds,
    prepare: !pooler,
    // Lists are selected as json and drizzle reads them from text: nothing needs the catalog's types.
    fetch_types: false,
    onnotice: () => {},
    types: { json: { to: 114, from: [114, 3802], serialize: String, parse: (text: string) => text } },
    connection: {
      application_name: 'tollgate',
      ...(!pooler && {
        statement_timeout: statementMs,
        lock_timeout: lockMs,
        idle_in_transaction_session_timeout: statementMs,
      }),
    },
    ...(onClose && { onclose: onClose, max_lifetime: null }),
  })
}

async function raw(
  { inside, prepare }: { readonly inside: Drizzle; readonly prepare: boolean },
  sql: string,
  parameters: readonly (string | number | boolean | null)[],
): Promise<RawResult> {
  // drizzle never prepares; the ledger's statements are few and their plans dear, so they are.
  const session = inside._.session as unknown as PostgresJsSession<Sql, typeof schema, never>
  const result = await inTime(
    session.client.unsafe(sql, [...parameters], { prepare: prepare && parameters.length > 0 }),
  )
  return { rows: result, columns: result.columns?.map(({ name, type }) => ({ name, type })) ?? [] }
}

/** A statement whose answer never comes (the network is gone) fails; whether it was done is not known. */
async function inTime<T>(answer: PromiseLike<T>): Promise<T> {
  const stop = new AbortController()
  const late = wait(answerMs, undefined, { signal: stop.signal, ref: false }).then(() => {
    throw new Error(`the database gave no answer in ${answerMs / 1000} s`)
  })
  // Aborted when the answer was in time: then nobody looks at it.
  late.catch(() => {})
  try {
    return await Promise.race([answer, late])
  } finally {
    stop.abort()
  }
}

/** The right to be the only gateway of a database. */
export interface Sole {
  release(): Promise<void>
}

/** Any number that migrations do not use. */
const soleLock = '7460100'

/**
 * Takes a database for one gateway that has no shared state with others, for as long as its connection lives. Throws
 * if another gateway has it. `onLost` is called if the connection breaks: another gateway may then come in, so this
 * one has to stop admitting calls.
 */
export async function soleGateway(url: string, onLost: () => void): Promise<Sole> {
  let held = false
  const lost = () => {
    if (!held) return
    held = false
    onLost()
  }
  const client = connect(url, { max: 1, pooler: false, onClose: lost })
  try {
    if (!(await tryLock(client)))
      throw new Error(
        'Another gateway is running on this database, and one database serves one gateway. Stop the other one, or give ' +
          'this one a database of its own (DATABASE_URL).',
      )
    held = true
  } catch (error) {
    await client.end({ timeout: closeSeconds })
    throw error
  }
  return {
    release() {
      held = false
      return client.end({ timeout: closeSeconds })
    },
  }
}

/** The first statement of a start, so it is the one that finds out whether the address is right. */
async function tryLock(client: Sql): Promise<boolean> {
  const statement = `SELECT pg_try_advisory_lock(${soleLock}) AS locked`
  try {
    const [row] = await inTime(client.unsafe<{ locked: boolean }[]>(statement))
    return row?.locked === true
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`The database of DATABASE_URL cannot be used: ${why}`, { cause: error })
  }
}
