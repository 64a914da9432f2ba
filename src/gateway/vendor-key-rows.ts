import { and, asc, eq, gt } from 'drizzle-orm'
import type { VendorEntry } from '../core/catalog.ts'
import { keysOf, type VendorKey } from '../core/routing.ts'
import type { Session } from '../db/database.ts'
import { vendorKey } from '../db/schema.ts'
import type { Log, Seal } from '../ports.ts'

/** Keys of the database that are read, over all vendors. */
const maxRows = 100_000

/** Opens a key of the database; undefined for one that cannot be opened. */
export type OpenKey = (row: {
  readonly vendor: string
  readonly name: string
  readonly sealed: string
}) => string | undefined

/** Tells once of each key that cannot be opened: the catalog is read every few seconds. */
export function keyOpener(seal: Pick<Seal, 'open'>, log: Log): OpenKey {
  const told = new Set<string>()
  return ({ vendor, name, sealed }) => {
    const secret = seal.open(sealed, sealedFor(vendor, name))
    if (secret === undefined && !told.has(sealed) && told.size < maxRows) {
      told.add(sealed)
      log('vendor_key_unreadable', { vendor, key: name })
    }
    return secret
  }
}

/** What a key is sealed for: the same text under another vendor or name does not open. */
export function sealedFor(vendor: string, name: string): string {
  return `vendor_key ${vendor} ${name}`
}

/** The vendors with the keys of the database behind those of the file. One that cannot be opened is left out. */
export async function withStoredKeys(
  { drizzle }: Session,
  vendors: ReadonlyMap<string, VendorEntry>,
  openKey: OpenKey,
): Promise<ReadonlyMap<string, VendorEntry>> {
  const rows = await drizzle
    .select()
    .from(vendorKey)
    .where(eq(vendorKey.disabled, false))
    .orderBy(asc(vendorKey.id))
    .limit(maxRows)
  if (rows.length === 0) return vendors
  const opened = rows.flatMap((row) => {
    const { vendor, name, models, scenarios, priority, region } = row
    const secret = openKey(row)
    const key = { id: name, models, scenarios, priority, ...(region !== null && { region }) }
    return secret === undefined ? [] : [{ vendor, key: { ...key, secret } satisfies VendorKey }]
  })
  const byVendor = Map.groupBy(opened, ({ vendor }) => vendor)
  return new Map(
    [...vendors].map(([id, entry]) => [
      id,
      extended(
        entry,
        byVendor.get(id)?.map(({ key }) => key),
      ),
    ]),
  )
}

/** Keys of the database that are read at once. */
const resealRows = 500

export interface ResealReport {
  readonly resealed: number
  /** Sealed with what is used now already. */
  readonly current: number
  /** Sealed with a secret that is not here: they have to be entered anew. */
  readonly unreadable: number
}

/**
 * Seals all keys of the database with what is used now. A key that changes meanwhile stays as it was changed: whoever
 * changed it has sealed it.
 */
export async function resealKeys({ drizzle }: Session, seal: Pick<Seal, 'reseal'>): Promise<ResealReport> {
  const counts = { resealed: 0, current: 0, unreadable: 0 }
  for (let after = 0; ;) {
    const rows = await drizzle
      .select()
      .from(vendorKey)
      .where(gt(vendorKey.id, after))
      .orderBy(asc(vendorKey.id))
      .limit(resealRows)
    for (const { id, vendor, name, sealed } of rows) {
      const made = seal.reseal(sealed, sealedFor(vendor, name))
      counts[made.state]++
      if (made.state !== 'resealed') continue
      const unchanged = and(eq(vendorKey.id, id), eq(vendorKey.sealed, sealed))
      await drizzle.update(vendorKey).set({ sealed: made.sealed }).where(unchanged)
    }
    const last = rows.at(-1)
    if (!last || rows.length < resealRows) return counts
    after = last.id
  }
}

function extended(entry: VendorEntry, stored: readonly VendorKey[] = []): VendorEntry {
  if (stored.length === 0) return entry
  // A name of the file comes first: what is written there is what its operator sees.
  const own = keysOf(entry)
  const keys = [...own, ...stored.filter(({ id }) => own.every((key) => key.id !== id))]
  return Object.freeze({ ...entry, keys, apiKeys: keys.map(({ secret }) => secret) })
}
