/**
 * What is always true of the books, as queries that find where it is not. Each reads only committed rows of one
 * snapshot, so they hold at any moment, with flushes and the rollup under way. Every row is (subject, detail).
 */
const rules: readonly { readonly rule: string; readonly sql: string }[] = [
  {
    rule: 'I1 the lines of an entry sum to zero',
    sql: `SELECT batch_id::text, sum(amount)::text FROM posting GROUP BY batch_id, asset HAVING sum(amount) <> 0`,
  },
  {
    rule: 'I2 a ledger account is the sum of its postings',
    sql: `SELECT a.id::text, a.posted + coalesce(d.amount, 0) || ' is not ' || coalesce(p.amount, 0)
      FROM ledger_account a
      LEFT JOIN (SELECT ledger_account_id AS id, sum(amount) AS amount FROM posting GROUP BY 1) p USING (id)
      LEFT JOIN (SELECT ledger_account_id AS id, sum(amount) AS amount FROM posting_delta GROUP BY 1) d USING (id)
      WHERE a.posted + coalesce(d.amount, 0) <> coalesce(p.amount, 0)`,
  },
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
    rule: 'I4 what records take from a purse is posted',
    sql: `SELECT u.batch_id || '/' || u.purse, u.amount || ' is not ' || coalesce((-p.amount)::text, 'posted')
      FROM (SELECT r.batch_id, x.purse, sum(x.amount) AS amount FROM usage_record r
        CROSS JOIN unnest(r.purse, r.amount) AS x (purse, amount) WHERE x.amount <> 0 GROUP BY 1, 2) u
      LEFT JOIN posting p ON p.batch_id = u.batch_id AND p.ledger_account_id = u.purse
      WHERE p.amount IS DISTINCT FROM -u.amount`,
  },
  {
    rule: 'I4 a charge is the sum of its parts',
    sql: `SELECT id || '/' || seq, charge::text FROM usage_record r
      WHERE charge <> (SELECT coalesce(sum(x.amount), 0) FROM unnest(r.purse, r.amount) AS x (purse, amount)
        LEFT JOIN ledger_account l ON l.id = x.purse WHERE coalesce(l.asset, r.currency) = r.currency)`,
  },
  {
    rule: 'I5 what a lease consumed is what records took from it',
    sql: `SELECT l.id::text, l.consumed + coalesce(x.amount, 0) || ' is not ' || coalesce(u.amount, 0) FROM lease l
      LEFT JOIN (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1) x USING (id)
      LEFT JOIN (SELECT y.lease AS id, sum(y.amount) AS amount FROM usage_record r
        CROSS JOIN unnest(r.lease, r.amount) AS y (lease, amount) GROUP BY 1) u USING (id)
      WHERE l.consumed + coalesce(x.amount, 0) <> coalesce(u.amount, 0)`,
  },
  {
    rule: 'I6 a lease is not overdrawn',
    sql: `SELECT l.id::text, l.consumed + coalesce(x.amount, 0) || ' of ' || l.amount FROM lease l
      LEFT JOIN (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1) x USING (id)
      WHERE l.consumed + coalesce(x.amount, 0) > l.amount`,
  },
  {
    rule: 'I7 usage by the hour is that of the records',
    sql: `SELECT account_id::text, coalesce(h.sums, 'nothing') || ' is not ' || coalesce(r.sums, 'nothing')
      FROM (SELECT account_id, concat_ws(' ', sum(n), sum(input), sum(output), sum(charge)) AS sums
        FROM (SELECT * FROM usage_hourly UNION ALL SELECT * FROM usage_delta) z GROUP BY 1) h
      FULL JOIN (SELECT account_id, concat_ws(' ', count(*) FILTER (WHERE seq = 0), sum(input_tokens), sum(output_tokens), sum(charge)) AS sums
        FROM usage_record GROUP BY 1) r USING (account_id)
      WHERE h.sums IS DISTINCT FROM r.sums`,
  },
  {
    rule: 'I7 cost by the hour is that of the attempts',
    sql: `SELECT currency, coalesce(h.cost, 0) || ' is not ' || coalesce(t.cost, 0)
      FROM (SELECT currency, sum(cost) AS cost FROM (SELECT currency, cost FROM usage_hourly UNION ALL SELECT currency, cost FROM usage_delta) z GROUP BY 1) h
      FULL JOIN (SELECT cost_currency AS currency, sum(cost) AS cost FROM attempt WHERE cost_currency IS NOT NULL GROUP BY 1) t USING (currency)
      WHERE coalesce(h.cost, 0) <> coalesce(t.cost, 0)`,
  },
  {
    rule: 'I8 an adjustment has a record that it adjusts',
    sql: `SELECT r.id || '/' || r.seq, r.day::text FROM usage_record r WHERE r.seq > 0
      AND NOT EXISTS (SELECT 1 FROM usage_record b WHERE b.day = r.day AND b.id = r.id AND b.seq = 0)`,
  },
  {
    rule: 'I9 no call is charged less than nothing',
    sql: `SELECT id::text, sum(charge)::text FROM usage_record GROUP BY day, id HAVING sum(charge) < 0`,
  },
]

/** Violations listed at most; more would say the same. */
const listed = 200

/** One statement for all rules: (rule, subject, detail). No row means that the books are right. */
export const checks = `${rules
  .map(({ rule, sql }) => `(SELECT '${rule}'::text AS rule, v.subject, v.detail FROM (${sql}) AS v (subject, detail))`)
  .join('\nUNION ALL\n')}\nLIMIT ${listed}`
