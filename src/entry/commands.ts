import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import type { Database } from '../db/database.ts'
import { migrate } from '../db/migrate.ts'
import { issueKey, type WantedKey } from '../gateway/issue-key.ts'
import { resealKeys } from '../gateway/vendor-key-rows.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { openPglite } from '../platform/pglite.ts'
import { openPostgres } from '../platform/postgres.ts'
import { configFrom, secretOf, secretPath } from './configuration.ts'
import { bringUpToDate } from './store.ts'
import { importPrices, importUsage } from './prices-import.ts'
import { openVendorSeal } from './vendor-seal.ts'

/** What a command says, and whether it ended well. */
export interface Said {
  readonly text: string
  readonly isWell: boolean
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Brings the database up to date; names what was applied. */
export function migrateDatabase(env: Environment): Promise<Said> {
  return withDatabase(env, async (database, config) => {
    const applied = await bringUpToDate(config, database)
    const lines = applied.map((name) => `applied ${name}\n`).join('')
    return { text: lines || 'The database was up to date.\n', isWell: true }
  })
}

/** Makes a key; its text is shown here and never again. */
export function issue(env: Environment, wanted: WantedKey): Promise<Said> {
  return withDatabase(env, async (database, config) => {
    const crypto = openCrypto(knownSecret(config))
    await migrate(database, systemClock.now())
    return { text: `${await issueKey({ database, crypto }, wanted)}\n`, isWell: true }
  })
}

/** Encrypts the vendor keys of the database with what is used now; some may not open with any secret that is here. */
export function resealVendorKeys(env: Environment): Promise<Said> {
  return withDatabase(env, async (database, config) => {
    knownSecret(config)
    const { resealed, current, unreadable } = await resealKeys(database, await openVendorSeal(config))
    const text = `${resealed} encrypted anew, ${current} were already, ${unreadable} cannot be opened.\n`
    return { text, isWell: unreadable === 0 }
  })
}

/** Proposes or plans prices from public lists; resolves to the exit status. */
export async function importPriceLists(env: Environment, args: readonly string[]): Promise<number> {
  const write = (text: string) => void process.stdout.write(`${text}\n`)
  if (args.includes('--help') || args.includes('-h')) {
    write(importUsage)
    return 0
  }
  return importPrices({
    args,
    nowMs: systemClock.now(),
    config: configFrom(env),
    write,
    warn: (text) => void process.stderr.write(`${text}\n`),
    open: (work) => withDatabase(env, work),
  })
}

/** A gateway that keeps its secret elsewhere would never accept a key that was hashed with a new one. */
function knownSecret(config: Config): string {
  const { secret, databaseUrl, dataDir } = config
  if (secret === undefined && databaseUrl !== undefined && !existsSync(secretPath(dataDir)))
    throw new Error(
      `There is no secret to hash the key with: set TOLLGATE_SECRET to the gateway's, or TOLLGATE_DATA_DIR to its folder.`,
    )
  return secretOf(config)
}

/** Does work on the database of the configuration, which is closed in any case. */
export async function withDatabase<Result>(
  env: Environment,
  work: (database: Database, config: Config) => Promise<Result>,
): Promise<Result> {
  const config = configFrom(env)
  const { databaseUrl, dataDir } = config
  const database = databaseUrl === undefined ? await openPglite(join(dataDir, 'pglite')) : openPostgres(databaseUrl)
  try {
    return await work(database, config)
  } finally {
    await database.close()
  }
}
