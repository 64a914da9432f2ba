import type { Violation } from './books.ts'
import type { Session } from './database.ts'

/*
 * What is always true of the books, as queries that find where it is not. Each reads only committed rows of one
 * snapshot, so they hold at any moment, with flushes and the rollup under way. Every row is (subject, detail).
 */

/** What of the books is looked at: conditions on columns. */
interface Scope {
  /** On the day of a record. */
  days(column: string): string
  /** On an hour of usage. */
  hours(column: string): string
  /** On the batch of an entry; `slack` where it belongs to records of such days. */
  entries(column: string, slack?: boolean): string
  /** On when a lease was opened and on its purse: all records that were charged to it are looked at. */
  leases(opened: string, purse: string): string
  /** The query of I2. */
  readonly lines: string
}

const everyLine = `SELECT a.id::text, a.posted + coalesce(d.amount, 0) || ' is not ' || coalesce(p.amount, 0)
  FROM ledger_account a
  LEFT JOIN (SELECT ledger_account_id AS id, sum(amount) AS amount FROM posting GROUP BY 1) p USING (id)
  LEFT JOIN (SELECT ledger_account_id AS id, sum(amount) AS amount FROM posting_delta GROUP BY 1) d USING (id)
  WHERE a.posted + coalesce(d.amount, 0) <> coalesce(p.amount, 0)`

/** Entries sum to zero, and so do all ledger accounts of an asset: that reads no posting. Of a purse I3 says the rest. */
const everyAsset = `SELECT asset, 'all are ' || sum(amount) FROM (
    SELECT asset, posted AS amount FROM ledger_account
    UNION ALL
    SELECT a.asset, d.amount FROM posting_delta d JOIN ledger_account a ON a.id = d.ledger_account_id) x
  GROUP BY 1 HAVING sum(amount) <> 0`

const everything: Scope = {
  days: () => 'true',
  hours: () => 'true',
  entries: () => 'true',
  leases: () => 'true',
  lines: everyLine,
}

const dayMs = 86_400_000
/** Hours before those that are read, at most; the rest waits for its rollup. */
const waitingLimit = 1_000

/** The start of the day in which it was 48 hours before $1, or before now; and older hours that are not rolled up. */
const recentSql = `WITH t AS (SELECT date_trunc('day', coalesce($1::timestamptz, now()) - interval '48 hours', 'UTC') AS since)
SELECT since, coalesce((SELECT jsonb_agg(hour) FROM (
    SELECT DISTINCT d.hour FROM usage_delta d WHERE d.hour < since ORDER BY 1 DESC LIMIT ${waitingLimit}) x), '[]'::jsonb) AS waiting
FROM t`

/**
 * The last 48 hours by whole days, and every hour before that has something which is not rolled up. The moments stand in
 * the text, because partitions are left out only by what is known when a statement is planned.
 */
function recentScope(since: Date, waiting: readonly Date[]): Scope {
  // A call ends within a day of its beginning, which is the day of its record.
  const firstDay = since.getTime() - dayMs
  const moment = (at: Date | number) => `timestamptz '${new Date(at).toISOString()}'`
  const date = (at: number) => `date '${new Date(at).toISOString().slice(0, 10)}'`
  const starts = waiting.flatMap((hour) => [hour.getTime(), hour.getTime() - dayMs]).filter((at) => at < firstDay)
  const isFrom = (column: string, ms: number) =>
    `${column} >= (SELECT min(batch_id) FROM journal WHERE at >= ${moment(ms)})`
  const olderDays = [...new Set(starts.map(date))].join(', ')
  const olderHours = waiting.map(moment).join(', ')
  const days = (column: string) =>
    olderDays ? `(${column} >= ${date(firstDay)} OR ${column} IN (${olderDays}))` : `${column} >= ${date(firstDay)}`
  const entries = (column: string, slack = false) => isFrom(column, since.getTime() - (slack ? 2 * dayMs : 0))
  return {
    days,
    entries,
    hours: (column) =>
      olderHours ? `(${column} >= ${moment(since)} OR ${column} IN (${olderHours}))` : `${column} >= ${moment(since)}`,
    leases: (opened, purse) => `${opened} >= ${moment(since)} AND ${purse} NOT IN (${partlySeen(days, entries)})`,
    lines: everyAsset,
  }
}

/** Purses that were charged by records of other days: the lines of entries count the parts that they stand for. */
const partlySeen = (days: Scope['days'], entries: Scope['entries']) => `SELECT id FROM (
    SELECT p.ledger_account_id AS id, p.n FROM posting p
    JOIN journal j ON j.batch_id = p.batch_id AND j.kind IN ('usage', 'late', 'refund') WHERE ${entries('p.batch_id')}
    UNION ALL
    SELECT x.purse, -1 FROM usage_record r CROSS JOIN unnest(r.purse, r.amount) AS x (purse, amount)
    WHERE x.amount <> 0 AND ${days('r.day')} AND ${entries('r.batch_id')}) y
  GROUP BY id HAVING sum(n) <> 0`

interface Rule {
  readonly rule: string
  readonly sql: string
}

const entryRules = ({ days, entries, lines }: Scope): readonly Rule[] => [
  {
    rule: 'I1 the lines of an entry sum to zero',
    sql: `SELECT batch_id::text, sum(amount)::text FROM posting WHERE ${entries('batch_id')}
      GROUP BY batch_id, asset HAVING sum(amount) <> 0`,
  },
  { rule: 'I2 a ledger account is the sum of its postings', sql: lines },
  {
    rule: 'I3 a purse is what is free and what is left of its leases',
    sql: `SELECT a.id::text, a.posted + coalesce(d.amount, 0) || ' is not ' || a.free + coalesce(d.free, 0) + coalesce(l.rest, 0)
      FROM ledger_account a
      LEFT JOIN (SELECT ledger_account_id AS id, sum(amount) AS amount, sum(free) AS free FROM posting_delta GROUP BY 1) d USING (id)
      LEFT JOIN (SELECT e.ledger_account_id AS id, sum(e.amount - e.consumed - coalesce(x.amount, 0)) AS rest FROM lease e
        LEFT JOIN (SELECT lease_id, sum(amount) AS amount FROM lease_delta GROUP BY 1) x ON x.lease_id = e.id GROUP BY 1) l USING (id)
      WHERE a.account_id IS NOT NULL AND a.posted + coalesce(d.amount, 0) <> a.free + coalesce(d.free, 0) + coalesce(l.rest, 0)`,
  },
  {
    // A line counts the parts it stands for: where fewer are in scope, a late record of another day is among them.
    rule: 'I4 what records take from a purse is posted',
    sql: `SELECT u.batch_id || '/' || u.purse, u.amount || ' is not ' || coalesce((-p.amount)::text, 'posted')
      FROM (SELECT r.batch_id, x.purse, sum(x.amount) AS amount, count(*) AS n FROM usage_record r
        CROSS JOIN unnest(r.purse, r.amount) AS x (purse, amount) WHERE x.amount <> 0 AND ${days('r.day')} GROUP BY 1, 2) u
      LEFT JOIN posting p ON p.batch_id = u.batch_id AND p.ledger_account_id = u.purse AND ${entries('p.batch_id', true)}
      WHERE p.amount IS DISTINCT FROM -u.amount AND coalesce(u.n >= p.n, true)`,
  },
  {
    rule: 'I4 a charge is the sum of its parts',
    sql: `SELECT id || '/' || seq, charge::text FROM usage_record r
      WHERE ${days('r.day')} AND charge <> (SELECT coalesce(sum(x.amount), 0) FROM unnest(r.purse, r.amount) AS x (purse, amount)
        LEFT JOIN ledger_account l ON l.id = x.purse WHERE coalesce(l.asset, r.currency) = r.currency)`,
  },
]

const leaseRules = ({ days, leases }: Scope): readonly Rule[] => [
  {
    rule: 'I5 what a lease consumed is what records took from it',
    sql: `SELECT l.id::text, l.consumed + coalesce(x.amount, 0) || ' is not ' || coalesce(u.amount, 0) FROM lease l
      LEFT JOIN (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1) x USING (id)
      LEFT JOIN (SELECT y.lease AS id, sum(y.amount) AS amount FROM usage_record r
        CROSS JOIN unnest(r.lease, r.amount) AS y (lease, amount) WHERE ${days('r.day')} GROUP BY 1) u USING (id)
      WHERE ${leases('l.opened_at', 'l.ledger_account_id')} AND l.consumed + coalesce(x.amount, 0) <> coalesce(u.amount, 0)`,
  },
  {
    // Where money was given back before a record came, the rollup of that record makes up for it.
    rule: 'I6 a lease is not overdrawn',
    sql: `SELECT l.id::text, l.consumed + coalesce(x.amount, 0) || ' of ' || l.amount FROM lease l
      LEFT JOIN (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1) x USING (id)
      WHERE l.consumed + CASE WHEN l.state = 'open' THEN coalesce(x.amount, 0) ELSE 0 END > l.amount`,
  },
]

const usageRules = ({ days, hours }: Scope): readonly Rule[] => [
  {
    rule: 'I7 usage by the hour is that of the records',
    sql: `SELECT account_id::text, coalesce(h.sums, 'nothing') || ' is not ' || coalesce(r.sums, 'nothing')
      FROM (SELECT account_id, concat_ws(' ', sum(n), sum(input), sum(output), sum(charge)) AS sums
        FROM (SELECT * FROM usage_hourly UNION ALL SELECT * FROM usage_delta) z WHERE ${hours('hour')} GROUP BY 1) h
      FULL JOIN (SELECT account_id, concat_ws(' ', count(*) FILTER (WHERE seq = 0), sum(input_tokens), sum(output_tokens), sum(charge)) AS sums
        FROM usage_record WHERE ${days('day')} AND ${hours("date_trunc('hour', ended_at, 'UTC')")} GROUP BY 1) r USING (account_id)
      WHERE h.sums IS DISTINCT FROM r.sums`,
  },
  {
    rule: 'I7 cost by the hour is that of the attempts',
    sql: `SELECT currency, coalesce(h.cost, 0) || ' is not ' || coalesce(t.cost, 0)
      FROM (SELECT currency, sum(cost) AS cost
        FROM (SELECT hour, currency, cost FROM usage_hourly UNION ALL SELECT hour, currency, cost FROM usage_delta) z
        WHERE ${hours('hour')} GROUP BY 1) h
      FULL JOIN (SELECT a.cost_currency AS currency, sum(a.cost) AS cost FROM attempt a
        LEFT JOIN usage_record r ON r.day = a.day AND r.id = a.id AND r.seq = 0 AND ${days('r.day')}
        WHERE a.cost_currency IS NOT NULL AND ${days('a.day')} AND ${hours("date_trunc('hour', r.ended_at, 'UTC')")}
        GROUP BY 1) t USING (currency)
      WHERE coalesce(h.cost, 0) <> coalesce(t.cost, 0)`,
  },
  {
    rule: 'I8 an adjustment has a record that it adjusts',
    sql: `SELECT r.id || '/' || r.seq, r.day::text FROM usage_record r WHERE ${days('r.day')} AND r.seq > 0
      AND NOT EXISTS (SELECT 1 FROM usage_record b WHERE ${days('b.day')} AND b.day = r.day AND b.id = r.id AND b.seq = 0)`,
  },
  {
    rule: 'I9 no call is charged less than nothing',
    sql: `SELECT id::text, sum(charge)::text FROM usage_record WHERE ${days('day')} GROUP BY day, id HAVING sum(charge) < 0`,
  },
]

const rulesIn = (scope: Scope): readonly Rule[] => [...entryRules(scope), ...leaseRules(scope), ...usageRules(scope)]

/** Violations listed at most; more would say the same. */
const listed = 200
/** One rule over all records takes longer than any statement of a call, but an answer is not waited for longer. */
const wholeMs = 80_000

/** What is wrong in all of the books. Inside a transaction, whose statements may take longer from then on. */
export async function checkAll(session: Session): Promise<readonly Violation[]> {
  await session.query(`SET LOCAL statement_timeout = ${wholeMs}`)
  return violations(session, everything)
}

/**
 * What is wrong in the records and entries of the last 48 hours, by whole days, before a moment (null: now), in what is
 * not rolled up yet, and in the balances of all ledger accounts and leases as they stand.
 */
export async function checkRecent(session: Session, at: Date | null): Promise<readonly Violation[]> {
  const [row] = await session.query<{ since: Date; waiting: readonly string[] }>(recentSql, [at])
  if (!row) throw new Error('the database gave no time')
  const waiting = row.waiting.map((hour) => new Date(hour))
  return violations(session, recentScope(row.since, waiting))
}

async function violations(session: Session, scope: Scope): Promise<readonly Violation[]> {
  const found: Violation[] = []
  for (const { rule, sql } of rulesIn(scope)) {
    const rows = await session.query<Omit<Violation, 'rule'>>(
      `SELECT v.subject, v.detail FROM (${sql}) AS v (subject, detail) LIMIT ${listed - found.length}`,
    )
    found.push(...rows.map(({ subject, detail }) => ({ rule, subject, detail })))
    if (found.length >= listed) break
  }
  return found
}
