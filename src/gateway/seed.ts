import { and, eq, isNull, ne, sql } from 'drizzle-orm'
import { mintKey } from '../auth/mint.ts'
import type { Config } from '../config.ts'
import type { DurableBooks } from '../db/books.ts'
import type { Database } from '../db/database.ts'
import { account as accountTable, apiKey } from '../db/schema.ts'
import type { Crypto } from '../ports.ts'

/** The account that the first master key belongs to. */
const firstAccount = 'default'

export interface Seeded {
  /** Keys that were made just now, to be shown once. */
  readonly masterKey: string | undefined
  readonly managementKey: string | undefined
}

export interface SeedParts {
  readonly database: Database
  readonly books: DurableBooks
  readonly crypto: Crypto
  readonly config: Pick<Config, 'accounts' | 'masterKey' | 'managementKey'>
}

/**
 * Makes the accounts of the configuration with their starting balance, once, and sees to it that there is a master
 * and a management key: those of the environment, or else new ones where there are none at all.
 */
export async function seed(parts: SeedParts): Promise<Seeded> {
  const { config } = parts
  const accounts = new Map<string, number>()
  for (const name of new Set([firstAccount, ...config.accounts.keys()]))
    accounts.set(name, await accountNamed(parts, name))
  const accountId = accounts.get(firstAccount)
  return {
    masterKey: await ensureKey(parts, { kind: 'master', accountId, preset: config.masterKey }),
    managementKey: await ensureKey(parts, { kind: 'management', accountId: undefined, preset: config.managementKey }),
  }
}

async function accountNamed({ database, books, config }: SeedParts, name: string): Promise<number> {
  const [known] = await database.drizzle
    .select({ id: accountTable.id })
    .from(accountTable)
    .where(and(eq(accountTable.name, name), eq(accountTable.provisioned, true)))
  const seeded = config.accounts.get(name)
  const id =
    known?.id ??
    (
      await books.createAccount({
        name,
        currency: seeded?.currency ?? 'USD',
        provisioned: true,
        ...(seeded && { discountPpm: seeded.discountPpm }),
      })
    ).id
  // The reference makes it happen once, also when a first start was interrupted here.
  if (seeded && seeded.startingBalance > 0n)
    await books.recharge({
      accountId: id,
      amount: seeded.startingBalance,
      ref: `starting-balance:${id}`,
      memo: 'Starting balance',
    })
  return id
}

interface Wanted {
  readonly kind: 'master' | 'management'
  readonly accountId: number | undefined
  readonly preset: string | undefined
}

/** Returns a key only if it was made here. */
async function ensureKey(parts: SeedParts, wanted: Wanted): Promise<string | undefined> {
  if (wanted.preset !== undefined) {
    await presetKey(parts, wanted, wanted.preset)
    return undefined
  }
  const { database, crypto } = parts
  const [any] = await database.drizzle
    .select({ id: apiKey.id })
    .from(apiKey)
    .where(eq(apiKey.kind, wanted.kind))
    .limit(1)
  if (any) return undefined
  const minted = mintKey(crypto)
  await insertKey(parts, wanted, { ...minted, provisioned: false })
  return minted.key
}

/** The environment's key is there and active, and those that it named before are revoked: so it can be rotated. */
async function presetKey(parts: SeedParts, wanted: Wanted, key: string): Promise<void> {
  const { database, crypto } = parts
  const hash = crypto.keyHash(key)
  const earlier = and(
    eq(apiKey.kind, wanted.kind),
    eq(apiKey.provisioned, true),
    ne(apiKey.hash, hash),
    isNull(apiKey.revokedAt),
  )
  await database.drizzle
    .update(apiKey)
    .set({ revokedAt: sql`now()` })
    .where(earlier)
  const [known] = await database.drizzle.select({ id: apiKey.id }).from(apiKey).where(eq(apiKey.hash, hash))
  if (known) await database.drizzle.update(apiKey).set({ revokedAt: null }).where(eq(apiKey.id, known.id))
  else await insertKey(parts, wanted, { hash, publicId: crypto.secret(12), provisioned: true })
}

interface NewKey {
  readonly hash: string
  readonly publicId: string
  readonly provisioned: boolean
}

async function insertKey({ database }: SeedParts, { kind, accountId }: Wanted, key: NewKey): Promise<void> {
  await database.drizzle.insert(apiKey).values({
    kind,
    name: `first ${kind} key`,
    hash: key.hash,
    publicId: key.publicId,
    provisioned: key.provisioned,
    ...(accountId !== undefined && { accountId }),
  })
}
