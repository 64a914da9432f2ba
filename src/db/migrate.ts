import type { Database, Session } from './database.ts'
import { migrations, type Migration } from './migrations.ts'

/** Any number will do, so long as nothing else in this database locks it. */
const migrationLock = 7_460_000n
/** Replicas that start together wait for the first of them to finish. */
const lockMs = 60_000
const dayMs = 86_400_000
const daysAhead = 7
const breakpoint = '--> statement-breakpoint'

/**
 * Brings the database up to date, in one transaction, and prepares the partitions of the days around `nowMs`.
 * Any number of gateways may do so at once. Returns the names that were applied; throws, and changes nothing, if an
 * applied migration is not what it was.
 */
export async function migrate(
  database: Database,
  nowMs: number,
  wanted: readonly Migration[] = migrations,
): Promise<readonly string[]> {
  const applied = await database.transaction(async (session) => {
    await lock(session)
    const missing = await pending(session, wanted)
    for (const migration of missing) await apply(session, migration)
    return missing.map(({ name }) => name)
  })
  await ensurePartitions(database, nowMs)
  return applied
}

/**
 * For a gateway whose role may not migrate: throws where this database lacks a migration of this version, or has one
 * with another text.
 */
export async function checkMigrated(database: Session, wanted: readonly Migration[] = migrations): Promise<void> {
  const [made] = await database.query<{ there: boolean }>(
    "SELECT to_regclass('tollgate_migration') IS NOT NULL AS there",
  )
  const missing = made?.there ? await pending(database, wanted) : wanted
  if (missing.length > 0)
    throw new Error(
      `The database lacks ${missing.map(({ name }) => name).join(', ')}. Run "tollgate migrate" of this version first.`,
    )
}

/** Makes the partitions from yesterday to a week ahead. Call it daily; days that are there cost nothing. */
export async function ensurePartitions(database: Session, nowMs: number): Promise<void> {
  for (let day = -1; day <= daysAhead; day++)
    await database.query('SELECT usage_partitions_ensure($1::date)', [
      new Date(nowMs + day * dayMs).toISOString().slice(0, 10),
    ])
}

async function lock(session: Session): Promise<void> {
  // A migration may take longer than any statement of a call, and so may waiting for another gateway's.
  await session.query('SET LOCAL statement_timeout = 0')
  await session.query(`SET LOCAL lock_timeout = ${lockMs}`)
  await session.query('SELECT pg_advisory_xact_lock($1::bigint)', [migrationLock])
  await session.query(
    'CREATE TABLE IF NOT EXISTS tollgate_migration (name text PRIMARY KEY, hash text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
  )
}

/** Those that are not applied yet, in order. */
async function pending(session: Session, wanted: readonly Migration[]): Promise<readonly Migration[]> {
  const rows = await session.query<{ name: string; changed: boolean | null }>(
    `SELECT w.name, m.hash <> encode(sha256(convert_to(w.sql, 'UTF8')), 'hex') AS changed
     FROM jsonb_to_recordset($1::jsonb) AS w(name text, sql text) LEFT JOIN tollgate_migration m USING (name)`,
    [JSON.stringify(wanted)],
  )
  const changed = rows.find((row) => row.changed)
  if (changed)
    throw new Error(
      `Migration ${changed.name} was applied to this database with another text than this version of Tollgate has. ` +
        'Run the version that made the database, or restore the migration and put the change into a new one.',
    )
  const known = new Set(rows.filter((row) => row.changed !== null).map((row) => row.name))
  return wanted.filter(({ name }) => !known.has(name))
}

async function apply(session: Session, { name, sql }: Migration): Promise<void> {
  for (const statement of sql.split(breakpoint)) if (statement.trim()) await session.query(statement)
  await session.query(
    "INSERT INTO tollgate_migration (name, hash) VALUES ($1::text, encode(sha256(convert_to($2::text, 'UTF8')), 'hex'))",
    [name, sql],
  )
}
