/**
 * The SQL of grants and quotas as text, see statements.ts: single statements, no caller's text ever part of them.
 */

/** Purses that an account may spend from at once, beside its wallet; those after them in the order wait. */
const purseLimit = 100
/** Quotas looked at for one account. */
const quotaLimit = 100

/**
 * Makes a grant with its purse and its entry, once for each reference or period; gives its id where it is new. A
 * package is sold: its price is deferred until its tokens are used.
 * $1 account, $2 kind, $3 asset or null for the account's currency, $4 amount, $5 priority, $6 JSON of model patterns,
 * $7 effective from, or null for now, $8 expires at, $9 quota, $10 start of its period, $11 price, $12 source, $13 reference.
 */
export const openGrant = `WITH
payer AS (SELECT id, currency FROM account WHERE id = $1::bigint),
made AS (
  INSERT INTO credit_grant (account_id, kind, asset, amount, priority, models, effective_at, expires_at, quota_id,
    period_start, price, unit_value, source, ref)
  SELECT p.id, $2::text, coalesce($3::text, p.currency), $4::bigint, $5::smallint,
    ARRAY(SELECT jsonb_array_elements_text($6::jsonb)), coalesce($7::timestamptz, now()), $8::timestamptz, $9::bigint, $10::timestamptz,
    $11::bigint, div($11::numeric * 1000000000000, $4::numeric), $12::text, $13::text
  FROM payer p ON CONFLICT DO NOTHING RETURNING *),
purse AS (
  INSERT INTO ledger_account (account_id, kind, asset, ref, free)
  SELECT account_id, 'grant', asset, id, amount FROM made RETURNING id, asset),
sale AS (
  INSERT INTO ledger_account (account_id, kind, asset, ref)
  SELECT NULL, 'deferred', p.currency, m.id FROM made m CROSS JOIN payer p WHERE m.price > 0 RETURNING id, asset),
entry AS (
  INSERT INTO journal (batch_id, kind, memo)
  SELECT nextval('batch_seq'), CASE kind WHEN 'package' THEN 'package' ELSE 'grant' END, source FROM made
  RETURNING batch_id),
lines AS (
  SELECT e.batch_id, p.id AS ledger_account_id, m.asset, m.amount::numeric AS amount
  FROM entry e CROSS JOIN made m CROSS JOIN purse p
  UNION ALL
  SELECT e.batch_id, h.id, m.asset, -m.amount FROM entry e CROSS JOIN made m
  JOIN ledger_account h ON h.account_id IS NULL AND h.asset = m.asset AND h.ref = 0
    AND h.kind = CASE m.asset WHEN 'TOK' THEN 'units_issued' ELSE 'promo_expense' END
  UNION ALL
  SELECT e.batch_id, s.id, s.asset, m.price FROM entry e CROSS JOIN made m CROSS JOIN sale s
  UNION ALL
  SELECT e.batch_id, h.id, s.asset, -m.price FROM entry e CROSS JOIN made m CROSS JOIN sale s
  JOIN ledger_account h ON h.account_id IS NULL AND h.kind = 'clearing' AND h.asset = s.asset AND h.ref = 0),
posted AS (INSERT INTO posting (batch_id, ledger_account_id, asset, amount) SELECT batch_id, ledger_account_id, asset, amount FROM lines),
accounts AS (INSERT INTO posting_delta (ledger_account_id, amount) SELECT ledger_account_id, amount FROM lines)
SELECT id FROM made`

/** Quotas of an open account ($1) that renew, each with the latest period that it has; $2 is the moment, or null for now. */
export const quotas = `SELECT q.id, q.asset, q.amount, q.period, q.anchor, q.time_zone, q.priority, to_jsonb(q.models) AS models,
  (SELECT max(g.period_start) FROM credit_grant g WHERE g.quota_id = q.id) AS latest,
  coalesce($2::timestamptz, now()) AS now
FROM quota q JOIN account a ON a.id = q.account_id AND a.status = 'open'
WHERE q.account_id = $1::bigint AND q.active ORDER BY q.id LIMIT ${quotaLimit}`

/**
 * The purses of an account ($1) that can pay at a moment ($2, or null for now), in burn order: priority, expiry with
 * none last, credit and quota before packages before the wallet, the earlier effective, the earlier made. The wallet
 * has the last priority and no expiry, so it is always last.
 */
export const purses = `WITH
line AS MATERIALIZED (
  SELECT l.id, g.kind, l.asset, g.models, g.expires_at, l.posted, row_number() OVER (
    ORDER BY g.priority, g.expires_at NULLS LAST, g.kind = 'package', g.effective_at, g.id) AS n
  FROM credit_grant g JOIN ledger_account l ON l.kind = 'grant' AND l.ref = g.id
  WHERE g.account_id = $1::bigint AND g.closed_at IS NULL AND g.voided_at IS NULL
    AND g.effective_at <= coalesce($2::timestamptz, now())
    AND (g.expires_at IS NULL OR g.expires_at > coalesce($2::timestamptz, now()))
  UNION ALL
  SELECT l.id, 'wallet', l.asset, '{}', NULL, l.posted, NULL
  FROM ledger_account l JOIN account a ON a.id = l.account_id AND a.currency = l.asset
  WHERE a.id = $1::bigint AND l.kind = 'wallet'),
waiting AS (
  SELECT d.ledger_account_id AS id, sum(d.amount) AS amount FROM posting_delta d JOIN line ON line.id = d.ledger_account_id GROUP BY 1),
paying AS (
  SELECT line.id, kind, asset, models, expires_at, posted + coalesce(w.amount, 0) AS posted, n,
    row_number() OVER (ORDER BY n NULLS LAST) AS place
  FROM line LEFT JOIN waiting w ON w.id = line.id
  WHERE kind IN ('wallet', 'quota') OR posted + coalesce(w.amount, 0) > 0)
SELECT id, kind, asset, to_jsonb(models) AS models, expires_at, posted FROM paying
WHERE kind = 'wallet' OR place <= ${purseLimit} ORDER BY n NULLS LAST, id`

/** A grant as it was asked for, by its reference ($1). */
export const grantOf = `SELECT id, account_id, kind, asset, amount, priority, to_jsonb(models) AS models, effective_at, expires_at, price
FROM credit_grant WHERE ref = $1::text`

/** Voids a grant ($1) of an account ($2) at a moment ($3, or null for now); gives no row where there is none. */
export const voidGrant = `WITH found AS (SELECT id, voided_at FROM credit_grant WHERE id = $1::bigint AND account_id = $2::bigint),
done AS (UPDATE credit_grant g SET voided_at = coalesce($3::timestamptz, now()) FROM found f
  WHERE g.id = f.id AND g.voided_at IS NULL AND g.closed_at IS NULL RETURNING g.id)
SELECT f.id FROM found f LEFT JOIN done ON done.id = f.id`

/** Takes what is left of a grant ($1) that ended by a moment ($2), for good where that is longer ago than $3 ms. */
export const endGrant = `SELECT grant_end($1::bigint, coalesce($2::timestamptz, now()), $3::int * interval '1 millisecond') AS taken`

/** Grants that have ended at a moment ($1) and of which something lies free, or that ended $2 ms ago. At most $3, oldest first. */
export const endedGrants = `WITH at AS (SELECT coalesce($1::timestamptz, now()) AS now, $2::int * interval '1 millisecond' AS grace)
SELECT g.id FROM credit_grant g CROSS JOIN at JOIN ledger_account l ON l.kind = 'grant' AND l.ref = g.id
WHERE g.closed_at IS NULL AND least(g.expires_at, g.voided_at) <= at.now
  AND (l.free > 0 OR least(g.expires_at, g.voided_at) <= at.now - at.grace)
ORDER BY least(g.expires_at, g.voided_at), g.id LIMIT $3::int`

/** Grants of an account ($1) with what is left of each, newest first: those before an id ($2, or null), at most $3. */
export const grantList = `SELECT g.id, g.kind, g.asset, g.amount, g.priority, to_jsonb(g.models) AS models, g.effective_at,
  g.expires_at, g.voided_at, g.quota_id, g.period_start, g.price, g.source, g.ref, g.created_at,
  l.posted + coalesce((SELECT sum(d.amount) FROM posting_delta d WHERE d.ledger_account_id = l.id), 0) AS "left"
FROM credit_grant g JOIN ledger_account l ON l.kind = 'grant' AND l.ref = g.id
WHERE g.account_id = $1::bigint AND ($2::bigint IS NULL OR g.id < $2::bigint) AND ($4::bigint IS NULL OR g.id = $4::bigint)
ORDER BY g.id DESC LIMIT $3::int`
