import { openBooks } from '../../src/db/books.ts'
import type { Database } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { quota as quotaTable } from '../../src/db/schema.ts'
import { refund } from '../../src/ledger/refund.ts'
import { noon } from '../db/records.ts'
import type { Side, SideClock, SidePayer, SidePurse, SideState } from './books-side.ts'

/** The books in SQL. Histories have accounts of their own, so that one database serves thousands of them. */
export async function sqlSide(name: string, database: Database, clock: SideClock): Promise<Side> {
  await migrate(database, noon)
  const books = openBooks(database, { now: () => clock.nowMs })
  let made = 0
  return {
    name,
    books,
    async newPayers(creditLimits) {
      const wanted = creditLimits.map((limit) => ({ name: `account ${++made}`, limit: limit.toString() }))
      await database.query(accounts, [JSON.stringify(wanted)])
      return database.query<SidePayer>(keys, [JSON.stringify(wanted)])
    },
    async addQuota({ anchorMs, ...quota }) {
      const calendar = { period: 'day' as const, anchor: new Date(anchorMs), timeZone: 'UTC' }
      await database.drizzle.insert(quotaTable).values({ ...quota, ...calendar })
    },
    pay: (payment) => books.recharge(payment),
    grant: (wanted) => books.grant(wanted),
    voidGrant: (accountId, id) => books.voidGrant(accountId, id),
    endGrants: () => books.endGrants(),
    refund: (wanted) => refund(database, wanted, clock.nowMs),
    wallet: (accountId) => books.balance(accountId),
    rollup: () => books.rollup(),
    async purses(accounts) {
      const rows = await database.query<{ purses: readonly SidePurse[] }>(purses, [JSON.stringify(accounts)])
      return rows[0]?.purses ?? []
    },
    async state(accounts) {
      const [row] = await database.query<{ state: SideState }>(stateOf, [JSON.stringify(accounts)])
      if (!row) throw new Error('the database has no state')
      return row.state
    },
    // Histories overdraw leases on purpose.
    faults: async () => (await books.check({ all: true })).filter(({ rule }) => !rule.startsWith('I6')),
    close: () => database.close(),
  }
}

/** In two statements, for there are thousands of histories: the trigger of the first opens the wallets. */
const accounts = `WITH made AS (
  INSERT INTO account (name, currency) SELECT name, 'USD' FROM jsonb_to_recordset($1::jsonb) AS w (name text) RETURNING id, name),
master AS (
  INSERT INTO api_key (public_id, kind, hash, account_id) SELECT name, 'master', name, id FROM made RETURNING id, account_id, public_id)
INSERT INTO api_key (public_id, kind, hash, account_id, parent_id, depth)
SELECT public_id || ' below', 'sub', public_id || ' below', account_id, id, 1 FROM master`
const keys = `WITH payer AS (
  SELECT a.id, w.limit FROM jsonb_to_recordset($1::jsonb) AS w (name text, "limit" numeric) JOIN account a ON a.name = w.name),
lent AS (
  UPDATE ledger_account l SET credit_limit = p.limit FROM payer p WHERE l.account_id = p.id AND l.kind = 'wallet')
SELECT p.id::int AS "accountId", (SELECT jsonb_agg(k.id ORDER BY k.id) FROM api_key k WHERE k.account_id = p.id) AS keys
FROM payer p ORDER BY p.id`

const own = 'SELECT value::bigint AS id FROM jsonb_array_elements_text($1::jsonb)'

const purses = `SELECT jsonb_agg(jsonb_build_object('id', l.id, 'accountId', l.account_id, 'asset', l.asset,
  'grantId', nullif(l.ref, 0)) ORDER BY l.id) AS purses FROM ledger_account l WHERE l.account_id IN (${own})`

/** What is in the tables and what waits in the queues, together. */
const stateOf = `WITH own AS MATERIALIZED (${own}),
purse AS MATERIALIZED (
  SELECT l.*, g.kind AS grant_kind, g.voided_at, g.closed_at FROM ledger_account l
  LEFT JOIN credit_grant g ON l.kind = 'grant' AND g.id = l.ref WHERE l.account_id IN (SELECT id FROM own)),
lent AS MATERIALIZED (SELECT e.* FROM lease e WHERE e.ledger_account_id IN (SELECT id FROM purse)),
hour AS (
  SELECT account_id, key_id, model, vendor, hour, currency, concat_ws(' ', sum(n), sum(input), sum(output), sum(charge), sum(cost)) AS sums
  FROM (SELECT * FROM usage_hourly WHERE account_id IN (SELECT id FROM own)
    UNION ALL SELECT * FROM usage_delta WHERE account_id IN (SELECT id FROM own)) u GROUP BY 1, 2, 3, 4, 5, 6),
waiting AS MATERIALIZED (SELECT ledger_account_id AS id, sum(amount) AS amount, sum(free) AS free FROM posting_delta GROUP BY 1),
used AS MATERIALIZED (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1)
SELECT jsonb_build_object(
  'purses', (SELECT jsonb_agg(jsonb_build_object('id', p.id, 'accountId', p.account_id, 'asset', p.asset,
      'grantId', nullif(p.ref, 0), 'kind', coalesce(p.grant_kind, p.kind),
      'posted', (p.posted + coalesce(w.amount, 0))::text, 'free', (p.free + coalesce(w.free, 0))::text,
      'deferred', coalesce((SELECT d.posted + coalesce(x.amount, 0) FROM ledger_account d LEFT JOIN waiting x ON x.id = d.id
        WHERE p.kind = 'grant' AND d.kind = 'deferred' AND d.ref = p.ref), 0)::text,
      'isVoided', p.voided_at IS NOT NULL, 'isClosed', p.closed_at IS NOT NULL) ORDER BY p.id)
    FROM purse p LEFT JOIN waiting w ON w.id = p.id),
  'leases', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', e.id, 'purse', e.ledger_account_id, 'spender', e.spender,
      'epoch', e.epoch, 'amount', e.amount::text, 'consumed', (e.consumed + coalesce(u.amount, 0))::text, 'state', e.state)
      ORDER BY e.id), '[]'::jsonb) FROM lent e LEFT JOIN used u ON u.id = e.id),
  'rows', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'seq', r.seq, 'kind', r.kind, 'charge', r.charge::text,
      'priced', r.priced::text, 'input', r.input_tokens::text, 'output', r.output_tokens::text,
      'parts', (SELECT coalesce(jsonb_agg(jsonb_build_object('purse', x.purse, 'lease', x.lease, 'amount', x.amount::text)
        ORDER BY x.n), '[]'::jsonb) FROM unnest(r.purse, r.lease, r.amount) WITH ORDINALITY AS x (purse, lease, amount, n)))
      ORDER BY r.id, r.seq), '[]'::jsonb) FROM usage_record r WHERE r.account_id IN (SELECT id FROM own)),
  'hours', (SELECT coalesce(jsonb_agg(jsonb_build_object('account', h.account_id, 'key', h.key_id, 'model', h.model,
      'vendor', h.vendor, 'hourMs', (extract(epoch FROM h.hour) * 1000)::bigint, 'currency', h.currency, 'sums', h.sums)),
      '[]'::jsonb) FROM hour h)) AS state`
