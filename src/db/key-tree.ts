import { sql, type SQL } from 'drizzle-orm'
import { apiKey } from './schema.ts'

/** True for the rows of `api_key` that lie below a key, at any depth. The key itself is not among them. */
export function keysBelow(keyId: number): SQL {
  return sql`${apiKey.id} in (
    with recursive below(id) as (
      select k.id from api_key k where k.parent_id = ${keyId}
      union all select k.id from below b join api_key k on k.parent_id = b.id)
    select id from below)`
}

/** True for a key and every key above it. Ordered by `depth`, descending, they are its chain, leaf first. */
export function keyAndAbove(keyId: number): SQL {
  return sql`${apiKey.id} in (
    with recursive above(id, parent_id) as (
      select k.id, k.parent_id from api_key k where k.id = ${keyId}
      union all select k.id, k.parent_id from above a join api_key k on k.id = a.parent_id)
    select id from above)`
}
