import { setTimeout as wait } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { createDatabase, type Database } from '../db/database.ts'
import * as schema from '../db/schema.ts'
import { runRaw, valueOptions } from './postgres-client.ts'

/** Connections per replica: four batches under way, and room for what calls ask. */
const poolSize = 10
const connectSeconds = 5
/** The server stops a statement after this long, and one that waits for a lock sooner. */
const statementMs = 15_000
const lockMs = 10_000
/** When a server does not answer at all. Longer than a migration's wait for another gateway's. */
const answerMs = 90_000
const closeSeconds = 5
const longestRetrySeconds = 0.5

export interface PostgresOptions {
  /**
   * Set behind a pooler that changes sessions between transactions (PgBouncer before 1.21, Hyperdrive): no prepared
   * statements, and the time limits are the pooler's to set, because it refuses ours.
   */
  readonly pooler?: boolean
}

/** A database whose connections can all be made anew. */
export interface PostgresDatabase extends Database {
  /** Statements that are under way fail; whether they were done is not known. */
  renew(): void
}

/** Opens PostgreSQL 15 or newer. Connects when first used; a server that is away is an error of each statement. */
export function openPostgres(url: string, { pooler = false }: PostgresOptions = {}): PostgresDatabase {
  const { client, renew } = renewable(() => connect(url, { max: poolSize, pooler }))
  const database = drizzle({ client, schema })
  const opened = createDatabase({
    kind: 'postgres',
    drizzle: database,
    raw: (inside, sql, parameters) => inTime(runRaw({ inside, prepare: !pooler }, sql, parameters)),
    wait: (ms) => wait(ms),
    close: () => client.end({ timeout: closeSeconds }),
  })
  return { ...opened, renew }
}

/**
 * Whether an error that nobody caught is the driver's own: postgres 3.4.9 writes on a connection that the server has
 * just closed (https://github.com/porsager/postgres/issues/1066). That connection is of no use afterwards, so the
 * database is to be renewed.
 */
export function isDriverFault(error: unknown): boolean {
  return error instanceof TypeError && /nextWrite.*[\\/]postgres[\\/]/s.test(error.stack ?? '')
}

/** A client that stands for the pool of this moment, and what puts another pool in its place. */
function renewable(make: () => Sql): { readonly client: Sql; readonly renew: () => void } {
  let current = make()
  const client = new Proxy(current, {
    get: (_, name) => Reflect.get(current, name) as unknown,
    apply: (_, self, args) => Reflect.apply(current as unknown as () => unknown, self, args),
  })
  return {
    client,
    renew() {
      const before = current
      current = make()
      // What was set on the client since it was made is what its values are read with.
      Object.assign(current.options, { parsers: before.options.parsers, serializers: before.options.serializers })
      before.end({ timeout: 0 }).catch(() => {})
    },
  }
}

/**
 * From a connection that failed to the next try. All connections count their failures together, and the client's own
 * pause grows to 20 s with them: for so long a server that is back would not be used, and what is charged be in memory.
 */
export const retrySeconds = (failures: number): number => Math.min(longestRetrySeconds, 2 ** failures / 100)

interface Connection {
  readonly max: number
  readonly pooler: boolean
  /** Sole connections must not be renewed now and then, as those of a pool are: their lock goes with them. */
  readonly onClose?: () => void
}

function connect(url: string, { max, pooler, onClose }: Connection): Sql {
  return postgres(url, {
    ...valueOptions,
    max,
    connect_timeout: connectSeconds,
    backoff: retrySeconds,
    prepare: !pooler,
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

/** A statement whose answer never comes (the network is gone) fails; whether it was done is not known. */
async function inTime<T>(answer: PromiseLike<T>, limitMs = answerMs): Promise<T> {
  const stop = new AbortController()
  const late = wait(limitMs, undefined, { signal: stop.signal, ref: false }).then(() => {
    throw new Error(`the database gave no answer in ${limitMs / 1000} s`)
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

/** What becomes of that right. */
export interface SoleEvents {
  /** Its connection broke, and it is being asked for again. Another gateway may come in: nothing may be admitted. */
  onLost(): void
  /**
   * It is back, and may be lost again. If another gateway had it in between, that one has opened new epochs, and
   * lending under ours fails.
   */
  onRegained(): void
  /** Another gateway has it, or it did not come back in time: this one has to stop. Nothing follows. */
  onGone(): void
}

/** Any number that migrations do not use. */
const soleLock = '7460100'
/** A server that restarts is back sooner; and callers do not wait much longer. */
const soleMs = 10_000
const soleTryMs = 3_000
const solePauseMs = 200

/**
 * Takes a database for one gateway that has no shared state with others, for as long as its connection lives, and takes
 * it again where that breaks, for at most `regainMs`. Throws if another gateway has it, or the address is wrong.
 */
export async function soleGateway(url: string, events: SoleEvents, regainMs = soleMs): Promise<Sole> {
  let isReleased = false
  let held: SoleSession | undefined
  let regaining = Promise.resolve()
  const hold = (session: SoleSession): boolean => {
    held = session
    return session.watch()
  }
  const lost = (before: SoleSession): void => {
    events.onLost()
    regaining = regainAfter(before)
  }
  async function regainAfter(before: SoleSession): Promise<void> {
    await before.end()
    const untilMs = performance.now() + regainMs
    const next = await regain({ url, before, untilMs, isReleased: () => isReleased, lost })
    if (isReleased) return next?.end()
    if (!next) return events.onGone()
    const isHeld = hold(next)
    events.onRegained()
    if (!isHeld) lost(next)
  }
  const first = await takeSole({ url, lost, tryMs: answerMs })
  if (typeof first === 'string')
    throw new Error(
      'Another gateway is running on this database, and one database serves one gateway. Stop the other one, or give ' +
        'this one a database of its own (DATABASE_URL).',
    )
  if (!hold(first)) lost(first)
  return {
    async release() {
      isReleased = true
      await regaining
      await held?.end()
    },
  }
}

/** A connection that has the lock. */
interface SoleSession {
  /** Of the server's process, and when that began, as text. */
  readonly pid: number
  readonly since: string
  /** From here on its end is told; false where it has ended already. */
  watch(): boolean
  end(): Promise<void>
}

interface SoleTry {
  readonly url: string
  readonly tryMs: number
  lost(session: SoleSession): void
  /** Which had the lock before. */
  readonly before?: SoleSession
}

interface Regaining extends Omit<SoleTry, 'tryMs' | 'before'> {
  readonly before: SoleSession
  readonly untilMs: number
  isReleased(): boolean
}

/** Undefined where another gateway has it or time is over. */
async function regain({ untilMs, isReleased, ...parts }: Regaining): Promise<SoleSession | undefined> {
  // Seen twice: our own connection may have ended between the two statements of a try.
  let isTaken = false
  while (!isReleased() && performance.now() < untilMs) {
    const tryMs = Math.min(soleTryMs, untilMs - performance.now())
    // A server that is away or starting: it is asked again while there is time.
    const taken = await takeSole({ ...parts, tryMs }).catch(() => 'away' as const)
    if (typeof taken === 'object') return taken
    if (isTaken && taken === 'taken') return undefined
    isTaken = taken === 'taken'
    await wait(solePauseMs)
  }
  return undefined
}

interface SoleRow {
  readonly locked: boolean
  readonly pid: number
  readonly since: string
}

/**
 * One try, on a connection of its own. `ghost`: the server still had our connection, of which it had not heard that it
 * broke, and has ended it now.
 */
async function takeSole({ url, tryMs, lost, before }: SoleTry): Promise<SoleSession | 'taken' | 'ghost'> {
  let [isWatched, isOpen] = [false, true]
  const onClose = () => {
    if (isWatched && isOpen) lost(session)
    isOpen = false
  }
  const client = connect(url, { max: 1, pooler: false, onClose })
  const end = (): Promise<void> => {
    isWatched = false
    return client.end({ timeout: closeSeconds })
  }
  const watch = (): boolean => {
    isWatched = true
    return isOpen
  }
  const session = { pid: 0, since: '', watch, end }
  try {
    const [row] = await inTime(client.unsafe<SoleRow[]>(soleSql), tryMs)
    if (row?.locked) return Object.assign(session, { pid: row.pid, since: row.since })
    const ghosts = before ? await inTime(client.unsafe(ghostSql, [before.pid, before.since]), tryMs) : []
    await end()
    return ghosts.length > 0 ? 'ghost' : 'taken'
  } catch (error) {
    // Not waited for: where the server does not answer, neither does its end.
    void end().catch(() => {})
    const why = error instanceof Error ? error.message : String(error)
    throw new Error(`The database of DATABASE_URL cannot be used: ${why}`, { cause: error })
  }
}

/** The first statement of a start, so it is the one that finds out whether the address is right. */
const soleSql = `SELECT pg_try_advisory_lock(${soleLock}) AS locked, a.pid, extract(epoch FROM a.backend_start)::text AS since
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()`

const ghostSql = `SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
WHERE a.pid = $1::int AND extract(epoch FROM a.backend_start)::text = $2::text`
