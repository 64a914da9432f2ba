import type { Part, UsageRecord } from '../core/call.ts'
import type { Database } from './database.ts'
import { dayOf } from './usage-row.ts'

/** What the books say is left of one open lease: lent, less all that is charged to it. */
export interface OpenLease {
  readonly id: number
  readonly purse: number
  readonly asset: string
  readonly rest: bigint
}

export interface LentTo {
  readonly leases: readonly OpenLease[]
  /** Parts of the records asked about that the books do not have. */
  readonly unbooked: readonly Part[]
}

const accountsSql = `SELECT DISTINCT a.account_id AS id FROM lease l JOIN ledger_account a ON a.id = l.ledger_account_id
WHERE l.state = 'open' AND a.account_id > $1::bigint ORDER BY 1 LIMIT $2::int`

/** Both from one snapshot: a record is either charged to its leases or not in the books. */
const lentSql = `WITH mine AS (
  SELECT l.id, l.ledger_account_id AS purse, a.asset, l.amount - l.consumed AS rest
  FROM lease l JOIN ledger_account a ON a.id = l.ledger_account_id WHERE a.account_id = $1::bigint AND l.state = 'open'),
waiting AS (SELECT d.lease_id AS id, sum(d.amount) AS amount FROM lease_delta d JOIN mine m ON m.id = d.lease_id GROUP BY 1)
SELECT coalesce((SELECT jsonb_agg(jsonb_build_object('id', m.id, 'purse', m.purse, 'asset', m.asset,
    'rest', (m.rest - coalesce(w.amount, 0))::text)) FROM mine m LEFT JOIN waiting w ON w.id = m.id), '[]'::jsonb) AS leases,
  coalesce((SELECT jsonb_agg(r.id) FROM jsonb_to_recordset($2::jsonb) AS r (day date, id uuid)
    WHERE EXISTS (SELECT 1 FROM usage_record u WHERE u.day = r.day AND u.id = r.id AND u.seq = 0)), '[]'::jsonb) AS booked`

/** Accounts that something is lent to, by id: those after `after`. */
export async function lentAccounts(database: Database, after: number, limit: number): Promise<readonly number[]> {
  const rows = await database.query<{ id: bigint }>(accountsSql, [after, limit])
  return rows.map(({ id }) => Number(id))
}

interface LentRow {
  readonly leases: readonly {
    readonly id: number
    readonly purse: number
    readonly asset: string
    readonly rest: string
  }[]
  readonly booked: readonly string[]
}

/** What an account has on loan, as of one moment, and which of these records were not in the books then. */
export async function lentTo(database: Database, accountId: number, records: readonly UsageRecord[]): Promise<LentTo> {
  const ids = records.map(({ id }) => ({ day: dayOf(id), id }))
  const [row] = await database.query<LentRow>(lentSql, [accountId, JSON.stringify(ids)])
  const booked = new Set(row?.booked)
  return {
    leases: (row?.leases ?? []).map(({ rest, ...lease }) => ({ ...lease, rest: BigInt(rest) })),
    unbooked: records.filter(({ id }) => !booked.has(id.toLowerCase())).flatMap(({ parts }) => parts),
  }
}
