import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import { releaseSpareMemory } from './spare-memory.ts'

/** What the thread is opened with: the folder of the database, which is in memory without one. */
export interface ThreadSetup {
  readonly dataDir?: string
}

/** What the thread is told: bytes of PostgreSQL's wire protocol, whole messages; or to close. */
export type ToThread = Uint8Array<ArrayBuffer> | 'close'

/** What it says: that it is ready, or bytes of the same protocol. */
export type FromThread = 'ready' | Uint8Array<ArrayBuffer>

/**
 * Runs the embedded database in a thread of its own: a batch of records takes it tens of milliseconds, in which the
 * event loop of the gateway relays on.
 */
async function serve(port: NonNullable<typeof parentPort>, { dataDir }: ThreadSetup): Promise<void> {
  setPriority(5)
  const client = await PGlite.create({ ...(dataDir !== undefined && { dataDir }), extensions: { btree_gist } })
  // What the start has left over, of which the database keeps a copy.
  releaseSpareMemory()
  port.on('message', (message: ToThread) => {
    if (message === 'close') return void close(port, client)
    const answer = client.execProtocolRawSync(message) as Uint8Array<ArrayBuffer> // allowed -- made by `new Uint8Array`
    if (answer.length > 0) port.postMessage(answer satisfies FromThread, [answer.buffer])
  })
  port.postMessage('ready' satisfies FromThread)
}

async function close(port: NonNullable<typeof parentPort>, client: PGlite): Promise<void> {
  await client.close()
  port.close()
}

if (parentPort) await serve(parentPort, workerData as ThreadSetup)
