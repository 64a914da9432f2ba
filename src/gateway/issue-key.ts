import { eq } from 'drizzle-orm'
import { mintKey } from '../auth/mint.ts'
import { GatewayError } from '../core/errors.ts'
import type { Database } from '../db/database.ts'
import { account as accountTable, apiKey } from '../db/schema.ts'
import type { Crypto } from '../ports.ts'

export interface IssueParts {
  readonly database: Pick<Database, 'drizzle'>
  readonly crypto: Crypto
}

export interface WantedKey {
  readonly kind: 'master' | 'management'
  /** The name of the account that a master key spends for; a management key has none. */
  readonly account: string
}

/**
 * Makes a key for somebody who has the database, and returns its text, which is kept nowhere. Throws GatewayError
 * where the name stands for no open account or for several.
 */
export async function issueKey({ database, crypto }: IssueParts, { kind, account }: WantedKey): Promise<string> {
  const accountId = kind === 'master' ? await accountNamed(database, account) : undefined
  const { key, publicId, hash } = mintKey(crypto)
  await database.drizzle
    .insert(apiKey)
    .values({ kind, name: `issued ${kind} key`, hash, publicId, ...(accountId !== undefined && { accountId }) })
  return key
}

async function accountNamed({ drizzle }: IssueParts['database'], name: string): Promise<number> {
  const rows = await drizzle
    .select({ id: accountTable.id, status: accountTable.status })
    .from(accountTable)
    .where(eq(accountTable.name, name))
    .limit(2)
  const [row] = rows
  if (row === undefined) throw new GatewayError('not_found', `There is no account named "${name}".`)
  if (rows.length > 1)
    throw new GatewayError(
      'conflict',
      `Several accounts are named "${name}". The admin API takes an account by its id.`,
    )
  if (row.status === 'closed') throw new GatewayError('conflict', `The account "${name}" is closed.`)
  return row.id
}
