import { join } from 'node:path'
import type { Config } from '../config.ts'
import { openBooks, type DurableBooks } from '../db/books.ts'
import { type Database, sqlFault } from '../db/database.ts'
import { grantAppRole } from '../db/app-role.ts'
import { checkMigrated, migrate } from '../db/migrate.ts'
import { provision } from '../gateway/catalog.ts'
import { systemClock } from '../platform/clock.ts'
import { openPglite } from '../platform/pglite.ts'
import { isDriverFault, openPostgres, type Sole, soleGateway } from '../platform/postgres.ts'
import type { Log } from '../ports.ts'

const { now } = systemClock

/** The database, and whether calls may be admitted on it. */
export interface Store {
  readonly database: Database
  readonly books: DurableBooks
  /** Makes the connections anew where an error that nobody caught is of their driver; says whether it is. */
  mend(error: unknown): boolean
  /** False while another gateway may have come in. */
  readonly isOurs: () => boolean
  close(): Promise<void>
}

/**
 * Opens the database and brings it up to date. Without a Redis that replicas share, one gateway serves it: this one is
 * alone on it, or the start fails.
 */
export async function openStore(config: Config, log: Log): Promise<Store> {
  const { databaseUrl, dataDir, redisUrls } = config
  const right = { isOurs: true }
  const isAlone = databaseUrl !== undefined && redisUrls === undefined
  const sole = isAlone ? await soleOn(databaseUrl, right, log) : undefined
  const postgres = databaseUrl === undefined ? undefined : openPostgres(databaseUrl)
  const database = postgres ?? (await openPglite(join(dataDir, 'pglite')))
  await bringUpToDate(config, database)
  await provision(database, config)
  return {
    database,
    books: openBooks(database, { now }),
    mend(error) {
      if (!postgres || !isDriverFault(error)) return false
      log('database_driver_fault')
      postgres.renew()
      return true
    },
    isOurs: () => right.isOurs,
    async close() {
      await database.close()
      await sole?.release()
    },
  }
}

/** Of PostgreSQL: the role may not do this. */
const notPermitted = '42501'

/**
 * Applies the migrations that are missing; resolves to their names. With the owner of the tables named apart, in his
 * name, and the serving role gets what it needs. A role that may not migrate, alone, finds everything done or fails.
 */
export async function bringUpToDate(config: Config, database: Database): Promise<readonly string[]> {
  const { databaseUrl = '', migrationDatabaseUrl } = config
  if (migrationDatabaseUrl === undefined) {
    try {
      return await migrate(database, now())
    } catch (error) {
      if (sqlFault(error)?.code !== notPermitted) throw error
      await checkMigrated(database)
      return []
    }
  }
  const owner = openPostgres(migrationDatabaseUrl)
  try {
    const applied = await migrate(owner, now())
    await grantAppRole(owner, decodeURIComponent(new URL(databaseUrl).username))
    return applied
  } finally {
    await owner.close()
  }
}

/** The right to a database is lost with its connection: nothing is admitted until it is back. */
function soleOn(url: string, right: { isOurs: boolean }, log: Log): Promise<Sole> {
  return soleGateway(url, {
    onLost() {
      right.isOurs = false
      log('database_lock_lost')
    },
    onRegained() {
      right.isOurs = true
      log('database_lock_regained')
    },
    onGone() {
      log('database_lock_gone')
      process.kill(process.pid, 'SIGTERM')
    },
  })
}
