import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { createDatabase, type Database } from '../db/database.ts'
import * as schema from '../db/schema.ts'
import { lockFolder } from './folder-lock.ts'
import { type PgliteConnection, startPglite } from './pglite-socket.ts'
import { runRaw, valueOptions } from './postgres-client.ts'

/** A start that makes the folder takes some seconds, on a busy machine many. */
const startSeconds = 120
const closeSeconds = 30

/**
 * Opens the embedded database in a folder (or in memory, without one) and keeps every other process out of it:
 * PGlite itself would let two in, and one's writes would vanish. Throws if another gateway has the folder.
 * It survives a killed process, not a power cut: PGlite never calls fsync. It runs in a thread, which `start` starts.
 */
export async function openPglite(dataDir?: string, start = startPglite): Promise<Database> {
  const unlock = dataDir === undefined ? () => {} : lockFolder(dataDir)
  try {
    // PGlite makes its files readable for everybody, so the folder above must not be.
    if (dataDir !== undefined) chmodSync(dataDir, 0o700)
    const open = () => start(dataDir === undefined ? {} : { dataDir: join(dataDir, 'books') })
    const first = open()
    await first.ready
    const client = connect([first], open)
    return createDatabase({
      kind: 'pglite',
      drizzle: drizzle({ client, schema }),
      raw: (inside, sql, parameters) => runRaw({ inside, prepare: true }, sql, parameters),
      wait: (ms) => wait(ms),
      async close() {
        await client.end({ timeout: closeSeconds })
        unlock()
      },
    })
  } catch (error) {
    unlock()
    throw error
  }
}

/**
 * One connection, as long as its thread lives: PGlite has one session. Where a thread has died, the next one finds in
 * the folder what was written.
 */
function connect(opened: PgliteConnection[], open: () => PgliteConnection): Sql {
  const socket = () => (opened.pop() ?? open()).socket
  const options = { ...valueOptions, max: 1, max_lifetime: null, connect_timeout: startSeconds, socket }
  // The option stands in the driver's README and not in its types.
  return postgres(options as Parameters<typeof postgres>[0] & object)
}
