import { getTableName, isTable } from 'drizzle-orm'
import type { Database, Session } from './database.ts'
import * as schema from './schema.ts'

/**
 * What the role of a gateway may do that does not own the tables: nobody who gets hold of its connection can change or
 * remove what is in the books, not even by the triggers that refuse it, which an owner could drop.
 */

/** Rows that are only ever added. */
const kept: readonly string[] = ['usage_record', 'attempt', 'journal', 'posting', 'price_set', 'credit_grant']
/** Of these a few columns change afterwards. */
const changing: Readonly<Record<string, readonly string[]>> = { credit_grant: ['voided_at', 'closed_at'] }
/** Not of the schema, and only looked at. */
const read = ['tollgate_migration']
const tables = Object.values(schema).flatMap((value) => (isTable(value) ? getTableName(value) : []))

const roleSql = `SELECT r.rolsuper OR pg_has_role(r.oid, c.relowner, 'USAGE') AS is_owner
FROM pg_roles r CROSS JOIN pg_class c WHERE r.rolname = $1::text AND c.oid = 'usage_record'::regclass`

/** Partitions on which a role ($1) has been given something: they are reached through their table alone. */
const openPartitionsSql = `SELECT c.oid::regclass::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent IN ('usage_record'::regclass, 'attempt'::regclass)
  AND has_table_privilege($1::text, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')`

/**
 * Gives a role all that a gateway needs, and takes everything else on our tables from it: what is booked it can read
 * and add to, not change. Run it as the owner of the tables after each migration; again it changes nothing. The role
 * must be there. Throws where it is not, or where it owns the tables, because then nothing could be kept from it.
 */
export function grantAppRole(database: Database, role: string): Promise<void> {
  return database.transaction(async (session) => {
    await checkRole(session, role)
    const partitions = await session.query<{ name: string }>(openPartitionsSql, [role])
    for (const statement of appRoleStatements(role)) await session.query(statement)
    for (const { name } of partitions) await session.query(`REVOKE ALL ON ${name} FROM ${quoted(role)}`)
  })
}

/** The statements that `grantAppRole` runs, for an operator who runs them by hand. */
export function appRoleStatements(role: string): readonly string[] {
  const to = quoted(role)
  const free = tables.filter((table) => !kept.includes(table))
  const list = (names: readonly string[]) => names.map(quoted).join(', ')
  const columns = Object.entries(changing).map(([table, names]) => `UPDATE (${list(names)}) ON ${quoted(table)}`)
  return [
    `REVOKE ALL ON ${list([...tables, ...read])} FROM ${to}`,
    `GRANT USAGE ON SCHEMA public TO ${to}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ${list(free)} TO ${to}`,
    `GRANT SELECT, INSERT ON ${list(kept)} TO ${to}`,
    ...columns.map((update) => `GRANT ${update} TO ${to}`),
    `GRANT SELECT ON ${list(read)} TO ${to}`,
    `GRANT USAGE ON SEQUENCE batch_seq TO ${to}`,
    `GRANT EXECUTE ON FUNCTION usage_partitions_ensure(date) TO ${to}`,
  ]
}

async function checkRole(session: Session, role: string): Promise<void> {
  const [found] = await session.query<{ is_owner: boolean }>(roleSql, [role])
  if (!found) throw new Error(`There is no role ${role} in the database. Make it first: CREATE ROLE … LOGIN.`)
  if (found.is_owner)
    throw new Error(`The role ${role} may do what the owner of the tables may. Serve with a role that is not theirs.`)
}

/** PostgreSQL keeps 63 bytes of a name. */
const nameBytes = 63

function quoted(name: string): string {
  if (name === '' || name.includes('\0') || new TextEncoder().encode(name).byteLength > nameBytes)
    throw new RangeError(`the name of a role has 1 to ${nameBytes} bytes`)
  return `"${name.replaceAll('"', '""')}"`
}
