import { consequences, usageColumns } from './statements.ts'

/**
 * The SQL of refunds and adjustments as text, see statements.ts: single statements, no caller's text ever part of them.
 * They run one after another in a transaction: a statement that waited for a lock does not see what it waited for, the
 * next one does.
 */

/** What was used of a grant that has ended comes back as a new grant, for seven days. */
const givenBackFor = "interval '7 days'"

/** Refunds of one reference ($1), and then of one call ($2), are made one after another. */
export const lockReference = 'SELECT pg_advisory_xact_lock(7460021, hashtext($1::text))'
export const lockCall = 'SELECT pg_advisory_xact_lock(7460022, hashtext($1::text))'

/** The refund that was made under an entry's reference ($1), if it was of the call $3 of the day $2. */
export const refundOf = `SELECT j.batch_id, u.seq FROM journal j
LEFT JOIN usage_record u ON u.day = $2::date AND u.id = $3::uuid AND u.batch_id = j.batch_id WHERE j.ref = $1::text`

/**
 * Whoever gives back has the last word: a call ($1 day, $2 id) that was reaped is closed with a seq 1 of nothing, so
 * that a settle which comes later still cannot charge less than was given back.
 */
export const closeReaped = `WITH b AS (SELECT nextval('batch_seq') AS batch_id)
INSERT INTO usage_record (${usageColumns})
SELECT day, id, 1, b.batch_id, 3, account_id, key_id, outcome, model, vendor, vendor_model, served_model, service_tier,
  length_tier, price_set_id, counts, 0, 0, source, tokenizer, anomalies, 0, 0, currency, '{}', '{}', '{}', stream,
  started_at, ended_at, first_byte_ms, finish, error, client_request_id
FROM usage_record CROSS JOIN b WHERE day = $1::date AND id = $2::uuid AND seq = 0 AND kind = 2
ON CONFLICT (day, id, seq) DO NOTHING`

/** All rows of a call ($1 day, $2 id), the parts of each with what they count in, in burn order. */
export const callRows = `SELECT r.seq, r.account_id, r.charge, r.currency,
  coalesce((SELECT jsonb_agg(jsonb_build_object('purse', p.purse, 'lease', p.lease, 'amount', p.amount::text, 'asset', l.asset) ORDER BY p.n)
    FROM unnest(r.purse, r.lease, r.amount) WITH ORDINALITY AS p (purse, lease, amount, n)
    LEFT JOIN ledger_account l ON l.id = p.purse), '[]'::jsonb) AS parts
FROM usage_record r WHERE r.day = $1::date AND r.id = $2::uuid ORDER BY r.seq`

/**
 * Gives back: $1 day, $2 id, $3 seq, $4 charge below zero, $5 JSON of purse and amount below zero, $6 the entry's
 * reference, $7 memo. Model, vendor and hour are those of the call, so that sums by the hour net out.
 */
export const refund = `WITH
b AS (SELECT nextval('batch_seq') AS batch_id),
tried AS (SELECT day, id, vendor, cost, cost_currency FROM attempt WHERE false),
given AS (
  SELECT array_agg(0::bigint) AS lease, array_agg((p ->> 'purse')::bigint ORDER BY n) AS purse,
    array_agg((p ->> 'amount')::bigint ORDER BY n) AS amount
  FROM jsonb_array_elements($5::jsonb) WITH ORDINALITY AS x (p, n)),
fresh AS (
  INSERT INTO usage_record (${usageColumns})
  SELECT u.day, u.id, $3::smallint, b.batch_id, 4, u.account_id, u.key_id, u.outcome, u.model, u.vendor, u.vendor_model,
    u.served_model, u.service_tier, u.length_tier, u.price_set_id, u.counts, 0, 0, u.source, u.tokenizer, u.anomalies, 0,
    $4::bigint, u.currency, g.lease, g.purse, g.amount, u.stream, u.started_at, u.ended_at, u.first_byte_ms, u.finish,
    u.error, u.client_request_id
  FROM usage_record u CROSS JOIN b CROSS JOIN given g WHERE u.day = $1::date AND u.id = $2::uuid AND u.seq = 0
  RETURNING *),
${consequences(`INSERT INTO journal (batch_id, kind, memo, ref) SELECT batch_id, 'refund', $7::text, $6::text FROM fresh`)}
SELECT batch_id FROM fresh`

/** Those of some purses ($1, JSON) that belong to a grant which has ended by a moment ($2). */
export const endedPurses = `SELECT l.id FROM jsonb_array_elements_text($1::jsonb) AS p (id)
JOIN ledger_account l ON l.id = p.id::bigint AND l.kind = 'grant' JOIN credit_grant g ON g.id = l.ref
WHERE g.closed_at IS NOT NULL OR least(g.expires_at, g.voided_at) <= $2::timestamptz ORDER BY l.id`

/**
 * Moves what was given back to the purse of an ended grant ($1), $2 of it, into a new grant that may pay for the same
 * and ends seven days after a moment ($5); of a package with as much of its price as those tokens are worth. $3 source,
 * $4 reference.
 */
export const grantAgain = `WITH
old AS (SELECT g.*, l.id AS line FROM ledger_account l JOIN credit_grant g ON g.id = l.ref WHERE l.id = $1::bigint AND l.kind = 'grant'),
worth AS (
  SELECT d.id AS sale, d.asset, div($2::numeric * o.unit_value, 1000000000000) AS amount
  FROM old o JOIN ledger_account d ON d.account_id IS NULL AND d.kind = 'deferred' AND d.ref = o.id WHERE o.asset = 'TOK'),
made AS (
  INSERT INTO credit_grant (account_id, kind, asset, amount, priority, models, effective_at, expires_at, price, unit_value, source, ref)
  SELECT o.account_id, CASE o.kind WHEN 'package' THEN 'package' ELSE 'credit' END, o.asset, $2::bigint, o.priority,
    o.models, $5::timestamptz, $5::timestamptz + ${givenBackFor}, coalesce(w.amount, 0),
    div(coalesce(w.amount, 0) * 1000000000000, $2::numeric), $3::text, $4::text
  FROM old o LEFT JOIN worth w ON true RETURNING *),
purse AS (
  INSERT INTO ledger_account (account_id, kind, asset, ref, free)
  SELECT account_id, 'grant', asset, id, amount FROM made RETURNING id),
sale AS (
  INSERT INTO ledger_account (account_id, kind, asset, ref)
  SELECT NULL, 'deferred', w.asset, m.id FROM made m CROSS JOIN worth w WHERE w.amount > 0 RETURNING id),
entry AS (INSERT INTO journal (batch_id, kind, memo) SELECT nextval('batch_seq'), 'grant', source FROM made RETURNING batch_id),
lines AS (
  SELECT e.batch_id, o.line AS ledger_account_id, o.asset, -$2::numeric AS amount, -$2::numeric AS free
  FROM entry e CROSS JOIN old o
  UNION ALL
  SELECT e.batch_id, p.id, m.asset, $2::numeric, 0 FROM entry e CROSS JOIN made m CROSS JOIN purse p
  UNION ALL
  SELECT e.batch_id, w.sale, w.asset, -w.amount, 0 FROM entry e CROSS JOIN worth w WHERE w.amount > 0
  UNION ALL
  SELECT e.batch_id, s.id, w.asset, w.amount, 0 FROM entry e CROSS JOIN worth w CROSS JOIN sale s),
posted AS (INSERT INTO posting (batch_id, ledger_account_id, asset, amount) SELECT batch_id, ledger_account_id, asset, amount FROM lines),
accounts AS (INSERT INTO posting_delta (ledger_account_id, amount, free) SELECT ledger_account_id, amount, free FROM lines)
SELECT id FROM made`

/** The grants that were made under a source ($2) for an account ($1). */
export const grantsFrom = `SELECT id FROM credit_grant WHERE account_id = $1::bigint AND source = $2::text ORDER BY id`

/** The wallet of an account ($1), which nobody else adjusts until the transaction ends. */
export const lockWallet = `SELECT l.id, l.asset FROM ledger_account l JOIN account a ON a.id = l.account_id AND a.currency = l.asset
WHERE a.id = $1::bigint AND l.kind = 'wallet' AND l.ref = 0 FOR NO KEY UPDATE OF l`

export const openWriteoff = `INSERT INTO ledger_account (account_id, kind, asset) VALUES (NULL, 'writeoff', $1::text) ON CONFLICT DO NOTHING`

/** Puts $2 nano-units, of either sign, into a wallet ($1) against what the house writes off: $3 reference, $4 memo. */
export const adjustWallet = `WITH
w AS (SELECT id, asset FROM ledger_account WHERE id = $1::bigint),
entry AS (INSERT INTO journal (batch_id, kind, memo, ref) SELECT nextval('batch_seq'), 'adjustment', $4::text, $3::text FROM w
  ON CONFLICT (ref) DO NOTHING RETURNING batch_id),
lines AS (
  SELECT e.batch_id, w.id AS ledger_account_id, w.asset, $2::numeric AS amount, $2::numeric AS free FROM entry e CROSS JOIN w
  UNION ALL
  SELECT e.batch_id, h.id, w.asset, -$2::numeric, 0 FROM entry e CROSS JOIN w
  JOIN ledger_account h ON h.account_id IS NULL AND h.kind = 'writeoff' AND h.asset = w.asset AND h.ref = 0),
posted AS (INSERT INTO posting (batch_id, ledger_account_id, asset, amount) SELECT batch_id, ledger_account_id, asset, amount FROM lines),
accounts AS (INSERT INTO posting_delta (ledger_account_id, amount, free) SELECT ledger_account_id, amount, free FROM lines)
SELECT batch_id FROM entry`
