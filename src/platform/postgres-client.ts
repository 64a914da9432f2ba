import { setTimeout as wait } from 'node:timers/promises'
import type { PostgresJsSession } from 'drizzle-orm/postgres-js'
import type { Sql } from 'postgres'
import type { Drizzle, RawResult } from '../db/database.ts'
import type * as schema from '../db/schema.ts'

/** When a server does not answer at all. Longer than a migration's wait for another gateway's. */
export const answerMs = 90_000

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
  const result = await inTime(
    session.client.unsafe(sql, [...parameters], { prepare: prepare && parameters.length > 0 }),
  )
  return { rows: result, columns: result.columns?.map(({ name, type }) => ({ name, type })) ?? [] }
}

/** A statement whose answer never comes (the network is gone) fails; whether it was done is not known. */
export async function inTime<T>(answer: PromiseLike<T>, limitMs = answerMs): Promise<T> {
  const stop = new AbortController()
  const late = wait(limitMs, undefined, { signal: stop.signal, ref: false }).then(() => {
    throw new Error(`the database gave no answer in ${limitMs / 1000} s`)
  })
  // Aborted when the answer was in time: then nobody looks at it.
  late.catch(() => {})
  try {
    return await Promise.race([answer, late])
  } finally {
    stop.abort()
  }
}
