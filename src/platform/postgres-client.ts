import type { PostgresJsSession } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import type { Drizzle, RawResult } from '../db/database.ts'
import type * as schema from '../db/schema.ts'

/** How the driver reads values, of whichever server. Drizzle sets parsers on the client so that times stay text. */
export const valueOptions = {
  // Lists are selected as json and drizzle reads them from text: nothing needs the catalog's types.
  fetch_types: false,
  onnotice: () => {},
  types: { json: { to: 114, from: [114, 3802], serialize: String, parse: (text: string) => text } },
}

/** Runs one statement on the session that `inside` stands for. */
export async function runRaw(
  { inside, prepare }: { readonly inside: Drizzle; readonly prepare: boolean },
  sql: string,
  parameters: readonly (string | number | boolean | null)[],
): Promise<RawResult> {
  // drizzle never prepares; the ledger's statements are few and their plans dear, so they are.
  const session = inside._.session as unknown as PostgresJsSession<Sql, typeof schema, never>
  const result = await session.client.unsafe(sql, [...parameters], { prepare: prepare && parameters.length > 0 })
  return { rows: result, columns: result.columns?.map(({ name, type }) => ({ name, type })) ?? [] }
}
