import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { PGlite } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import { drizzle } from 'drizzle-orm/pglite'
import { createDatabase, type Database, type Drizzle, type RawResult } from '../db/database.ts'
import * as schema from '../db/schema.ts'
import { lockFolder } from './folder-lock.ts'

/** int8, numeric, json, jsonb and times: handed on as text, so that nothing is rounded or parsed twice. */
const textTypes = [20, 1700, 114, 3802, 1184, 1082]
const asText = Object.fromEntries(textTypes.map((type) => [type, (text: string) => text]))

/**
 * Opens the embedded database in a folder (or in memory, without one) and keeps every other process out of it:
 * PGlite itself would let two in, and one's writes would vanish. Throws if another gateway has the folder.
 * It survives a killed process, not a power cut: PGlite never calls fsync.
 */
export async function openPglite(dataDir?: string): Promise<Database> {
  const unlock = dataDir === undefined ? () => {} : lockFolder(dataDir)
  try {
    // PGlite makes its files readable for everybody, so the folder above must not be.
    if (dataDir !== undefined) chmodSync(dataDir, 0o700)
    const client = await PGlite.create({
      ...(dataDir !== undefined && { dataDir: join(dataDir, 'books') }),
      extensions: { btree_gist },
      parsers: asText,
    })
    const database = drizzle({ client, schema })
    return createDatabase({
      kind: 'pglite',
      drizzle: database,
      raw,
      wait: (ms) => wait(ms),
      async close() {
        if (!client.closed) await client.close()
        unlock()
      },
    })
  } catch (error) {
    unlock()
    throw error
  }
}

interface PgliteAnswer {
  readonly rows: RawResult['rows']
  readonly fields: readonly { readonly name: string; readonly dataTypeID: number }[]
}

async function raw(database: Drizzle, sql: string, params: readonly unknown[]): Promise<RawResult> {
  // The session of a transaction runs on the transaction, so drizzle's own way to the driver is the right one.
  const prepared = database._.session.prepareQuery({ sql, params: [...params] }, undefined, undefined, false)
  const { rows, fields } = (await prepared.execute()) as PgliteAnswer
  return { rows, columns: fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID })) }
}
