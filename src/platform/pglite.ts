import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
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
    const threads = startThreads(() => start(dataDir === undefined ? {} : { dataDir: join(dataDir, 'books') }))
    await threads.ready
    const client = connect(threads.socket)
    return createDatabase({
      kind: 'pglite',
      drizzle: drizzle({ client, schema }),
      raw: (inside, sql, parameters) => runRaw({ inside, prepare: true }, sql, parameters),
      wait: (ms) => wait(ms),
      async close() {
        await client.end({ timeout: closeSeconds })
        await threads.end()
        unlock()
      },
    })
  } catch (error) {
    unlock()
    throw error
  }
}

/** One thread after the other: where one has died, the next one finds in the folder what was written. */
function startThreads(start: () => PgliteConnection) {
  let current = start()
  let isFirst = true
  return {
    ready: current.ready,
    socket(): Duplex {
      if (!isFirst) current = start()
      isFirst = false
      return current.socket
    },
    /** The driver's end is not that of a thread: that still writes what a start would read, or was never spoken to. */
    end(): Promise<void> {
      const { socket, over } = current
      if (!socket.destroyed && !socket.writableEnded) socket.end()
      return over
    },
  }
}

/** One connection, as long as its thread lives: PGlite has one session. */
function connect(socket: () => Duplex): Sql {
  const options = { ...valueOptions, max: 1, max_lifetime: null, connect_timeout: startSeconds, socket }
  // The option stands in the driver's README and not in its types.
  return postgres(options as Parameters<typeof postgres>[0] & object)
}
