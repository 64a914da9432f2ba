import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { systemClock } from '../platform/clock.ts'
import { openCrypto } from '../platform/crypto.ts'
import { type Journal, openJournal } from '../platform/journal.ts'
import { type Memory, openMemory } from '../platform/memory.ts'
import { openRedis, type RedisShared } from '../platform/redis.ts'
import type { Log } from '../ports.ts'

/** Where the engine keeps its records. */
export interface EngineRecords {
  /** This process's own, and the journal that its holds survive in. */
  readonly shared: Memory
  readonly journal: Journal & { readonly holds: Parameters<Memory['recover']>[0] }
  /** What several replicas share; absent where one process serves the database. */
  readonly common: RedisShared | undefined
  /** Names this process among the replicas; kept with its data, so that it finds its loans again. */
  readonly replica: string | undefined
}

const replicaLength = 16

/** Opens the records of this process, and those that it shares with others where the configuration names a Redis. */
export async function openRecords(
  { dataDir, redisUrls, redisCommandMs: commandMs }: Config,
  log: Log,
): Promise<EngineRecords> {
  const onAssertion = (assertion: Error, accountId: number) =>
    log('account_stopped', { accountId, rule: assertion.message })
  const journal = openJournal({
    path: join(dataDir, 'holds.journal'),
    clock: systemClock,
    onFault: (fault) => log('journal_fault', { reason: fault.reason }),
  })
  const replica = redisUrls ? replicaOf(dataDir) : undefined
  const shared = openMemory({
    clock: systemClock,
    journal,
    onAssertion,
    ...(replica !== undefined && { spender: `replica:${replica}` }),
  })
  const options = { clock: systemClock, log, onAssertion, ...(commandMs !== undefined && { commandMs }) }
  const common = redisUrls && (await openRedis({ address: addressOf(redisUrls), ...options }))
  return { shared, journal, common, replica }
}

/** The address of one server, or of the nodes of a cluster. */
export function addressOf(urls: readonly string[]) {
  const [first = ''] = urls
  return urls.length > 1 ? { cluster: urls } : { url: first }
}

function replicaOf(dataDir: string): string {
  const path = join(dataDir, 'replica')
  if (!existsSync(path)) {
    writeFileSync(`${path}.new`, openCrypto('').secret(replicaLength), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
  const name = readFileSync(path, 'utf8').trim()
  if (/^[A-Za-z0-9]{16}$/.test(name)) return name
  throw new Error(`${path} is damaged. Delete it: this gateway then gets a new name.`)
}
