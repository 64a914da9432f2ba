import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type * as schema from './schema.ts'

/** Drizzle over either driver. */
export type Drizzle = PgDatabase<PgQueryResultHKT, typeof schema>

/** What may stand for `$1`. JSON goes as text, into `$1::jsonb`; a list goes as JSON too. */
export type Parameter = string | number | bigint | boolean | Date | null
export type Row = Readonly<Record<string, unknown>>

/** One session's view of the database: what it does inside a transaction and outside of one. */
export interface Session {
  readonly drizzle: Drizzle
  /**
   * Runs one statement; its text is ours, never a caller's. Both drivers give the same values: int8 and numeric are
   * bigint, timestamptz is Date, json is parsed, date and uuid are strings. Lists must be selected as json.
   */
  query<R = Row>(sql: string, parameters?: readonly Parameter[]): Promise<readonly R[]>
}

/**
 * The books' database. A statement or a transaction that lost to another (deadlock, serialisation) is run again.
 * Inside `transaction` use only the session that it gives: PGlite has one connection, and asking the database itself
 * there waits for ever.
 */
export interface Database extends Session {
  readonly kind: 'postgres' | 'pglite'
  /** Runs all or nothing. `run` may be called again after a deadlock, so it must do nothing else but SQL. */
  transaction<T>(run: (session: Session) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** A driver's answer, before its values are made equal. */
export interface RawResult {
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  readonly columns: readonly { readonly name: string; readonly type: number }[]
}

/** What a platform gives to make a `Database` of a driver. */
export interface Driver {
  readonly kind: Database['kind']
  readonly drizzle: Drizzle
  /** Runs text and parameters on the session that `drizzle` stands for. int8, numeric, json and times come as text. */
  raw(drizzle: Drizzle, sql: string, parameters: readonly (string | number | boolean | null)[]): Promise<RawResult>
  /** Resolves after `ms`. */
  wait(ms: number): Promise<void>
  close(): Promise<void>
}

/** PostgreSQL's type numbers, by how their text becomes a value. */
const bigintTypes = new Set([20, 1700])
const jsonTypes = new Set([114, 3802])
const momentType = 1184
const voidType = 2278
/** bool, char, name, int2, int4, oid, text, float4, float8, unknown, bpchar, varchar, date, uuid */
const plainTypes = new Set([16, 18, 19, 21, 23, 26, 25, 700, 701, 705, 1042, 1043, 1082, 2950])

function decode(value: unknown, column: RawResult['columns'][number]): unknown {
  if (value === null || column.type === voidType) return null
  if (plainTypes.has(column.type)) return value
  if (bigintTypes.has(column.type)) return BigInt(String(value))
  if (column.type === momentType) return value instanceof Date ? value : new Date(String(value))
  if (jsonTypes.has(column.type)) return JSON.parse(String(value))
  throw new TypeError(
    `column "${column.name}" has type ${column.type}, which the drivers give differently: cast it in the SQL`,
  )
}

/** A parameter as both drivers take it for any type of column. */
function encode(parameter: Parameter): string | number | boolean | null {
  if (typeof parameter === 'bigint') return parameter.toString()
  return parameter instanceof Date ? parameter.toISOString() : parameter
}

function sessionOf(driver: Driver, drizzle: Drizzle): Session {
  return {
    drizzle,
    async query<R>(sql: string, parameters: readonly Parameter[] = []) {
      const { rows, columns } = await driver.raw(drizzle, sql, parameters.map(encode)).catch(rethrow)
      return rows.map((row) =>
        Object.fromEntries(columns.map((column) => [column.name, decode(row[column.name], column)])),
      ) as R[]
    },
  }
}

/** Drizzle wraps once; more than this is no chain of ours. */
const causeDepth = 5

/** A statement that the database refused. Without its text and parameters, which hold what no log may. */
export class DatabaseError extends Error {
  /** SQLSTATE. */
  readonly code: string
  readonly constraint: string | undefined

  constructor(message: string, fault: { readonly code: string; readonly constraint?: string }) {
    super(message)
    this.name = 'DatabaseError'
    this.code = fault.code
    this.constraint = fault.constraint
  }
}

/** Drivers and drizzle put statements and parameters into what they throw; we keep the message of the innermost. */
function rethrow(error: unknown): never {
  const fault = sqlFault(error)
  let at = error
  for (let depth = 0; depth < causeDepth && at instanceof Error && at.cause !== undefined; depth++) at = at.cause
  const message = at instanceof Error ? at.message : 'the database gave no reason'
  throw fault ? new DatabaseError(message, fault) : new Error(message)
}

/** What a failed statement says: the SQLSTATE and the constraint, wherever in the chain of causes it stands. */
export function sqlFault(error: unknown): { readonly code: string; readonly constraint?: string } | undefined {
  let at: unknown = error
  for (let depth = 0; depth < causeDepth && at instanceof Error; depth++, at = at.cause) {
    const { code, constraint_name: postgres, constraint: pglite } = at as Error & Record<string, unknown>
    const constraint = postgres ?? pglite
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code))
      return { code, ...(typeof constraint === 'string' && { constraint }) }
  }
  return undefined
}

/** Deadlock and serialisation failure: nothing was done, and the same may succeed. */
const lostCodes: readonly string[] = ['40P01', '40001']
/** Six tries wait 10 + 20 + 40 + 80 + 160 ms: longer than any of our statements holds its locks. */
const tryLimit = 6
const firstWaitMs = 10

async function retrying<T>(run: () => Promise<T>, wait: (ms: number) => Promise<void>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run()
    } catch (error) {
      if (tries === tryLimit || !lostCodes.includes(sqlFault(error)?.code ?? '')) throw error
      await wait(firstWaitMs * 2 ** (tries - 1))
    }
  }
}

/** The one adapter over both drivers. */
export function createDatabase(driver: Driver): Database {
  const outside = sessionOf(driver, driver.drizzle)
  return {
    kind: driver.kind,
    drizzle: driver.drizzle,
    query: (sql, parameters) => retrying(() => outside.query(sql, parameters), driver.wait),
    transaction: (run) =>
      retrying(() => driver.drizzle.transaction((inside) => run(sessionOf(driver, inside))), driver.wait),
    close: () => driver.close(),
  }
}
