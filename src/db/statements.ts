import { attemptTypes, rowsFrom, usageTypes } from './flush-rows.ts'

/**
 * The ledger's SQL as text: single statements that a query builder cannot write. No caller's text is ever part of them.
 *
 * The flush only inserts (an `UPDATE` of balances here would deadlock and be ten times slower) and inserts in the order
 * of (day, id), so that two flushes with overlapping batches wait for each other but never in a circle. What it means
 * for ledger accounts, leases and hours goes into three delta tables, which the rollup drains.
 */

/** The rows of usage-row.ts, and after their parameters those of the attempts and one of price sets. */
const usageRows = rowsFrom(usageTypes, 'r', 1)
const attemptsAt = 1 + Object.keys(usageTypes).length
const attemptRows = rowsFrom(attemptTypes, 't', attemptsAt)
const idsAt = 1 + Object.keys(usageTypes).indexOf('id')
const priceSetsAt = attemptsAt + Object.keys(attemptTypes).length

export const usageColumns = `day, id, seq, batch_id, kind, account_id, key_id, outcome, model, vendor, vendor_model,
  served_model, service_tier, length_tier, price_set_id, counts, input_tokens, output_tokens, source, tokenizer, anomalies, priced, charge,
  currency, lease, purse, amount, stream, started_at, ended_at, first_byte_ms, finish, error, client_request_id`

/** What `consequences` needs of new rows. */
const freshColumns = `day, id, seq, batch_id, account_id, key_id, model, vendor, ended_at, currency, input_tokens, output_tokens,
  charge, lease, purse, amount`

const keepPriceSets = `sets AS (
  INSERT INTO price_set (id, currency, nanos, rates, conversion, discount_ppm)
  SELECT id, currency, nanos, rates, conversion, discount_ppm
  FROM jsonb_to_recordset($${priceSetsAt}::jsonb) AS s (id text, currency text, nanos jsonb, rates jsonb, conversion jsonb, discount_ppm int)
  ORDER BY id ON CONFLICT (id) DO NOTHING)`

/** The tries of fresh rows. */
const keepAttempts = `tried AS (
  INSERT INTO attempt (day, id, n, vendor, model, status, error, started_at, ended_at, cost, cost_currency, reported_cost)
  SELECT t.day, t.id, t.n, t.vendor, t.model, t.status, t.error, t.started_at, t.ended_at, t.cost, t.cost_currency, t.reported_cost
  FROM ${attemptRows} JOIN fresh f ON f.day = t.day AND f.id = t.id
  ORDER BY t.day, t.id, t.n ON CONFLICT (day, id, n) DO NOTHING
  RETURNING day, id, vendor, cost, cost_currency)`

/**
 * Everything that follows from `fresh`, the rows that are really new, and from `tried`: a resent batch has none and
 * changes nothing. `entry` names the batch in the journal.
 * Money goes from its purse to revenue. Tokens go from their package to those consumed, and of what the package was
 * sold for as much becomes revenue as they are worth, rounded down: never more than the price.
 */
export const consequences = (entry: string) => `
parts AS (
  SELECT f.batch_id, coalesce(l.asset, f.currency) AS asset, l.kind, l.ref, p.lease, p.purse, p.amount
  FROM fresh f CROSS JOIN unnest(f.lease, f.purse, f.amount) AS p (lease, purse, amount)
  LEFT JOIN ledger_account l ON l.id = p.purse WHERE p.amount <> 0),
released AS (
  SELECT p.batch_id, d.id AS sale, d.asset, div(sum(p.amount) * g.unit_value, 1000000000000) AS amount
  FROM parts p JOIN credit_grant g ON g.id = p.ref
  JOIN ledger_account d ON d.account_id IS NULL AND d.kind = 'deferred' AND d.ref = g.id
  WHERE p.kind = 'grant' AND p.asset = 'TOK' GROUP BY 1, 2, 3, g.unit_value),
lines AS (
  SELECT batch_id, purse AS ledger_account_id, asset, -sum(amount) AS amount,
    -coalesce(sum(amount) FILTER (WHERE lease = 0), 0) AS free, count(*)::int AS n
  FROM parts GROUP BY 1, 2, 3
  UNION ALL
  SELECT p.batch_id, h.id, p.asset, sum(p.amount), 0, count(*)::int
  FROM parts p JOIN ledger_account h ON h.account_id IS NULL AND h.asset = p.asset AND h.ref = 0
    AND h.kind = CASE p.asset WHEN 'TOK' THEN 'units_consumed' ELSE 'revenue' END
  GROUP BY 1, 2, 3
  UNION ALL
  SELECT batch_id, sale, asset, -amount, 0, 1 FROM released WHERE amount <> 0
  UNION ALL
  SELECT r.batch_id, h.id, r.asset, sum(r.amount), 0, count(*)::int
  FROM released r JOIN ledger_account h ON h.account_id IS NULL AND h.kind = 'package_revenue' AND h.asset = r.asset AND h.ref = 0
  WHERE r.amount <> 0 GROUP BY 1, 2, 3),
entry AS (${entry}),
posted AS (
  INSERT INTO posting (batch_id, ledger_account_id, asset, amount, n)
  SELECT batch_id, ledger_account_id, asset, amount, n FROM lines),
accounts AS (
  INSERT INTO posting_delta (ledger_account_id, amount, free) SELECT ledger_account_id, amount, free FROM lines),
leases AS (
  INSERT INTO lease_delta (lease_id, amount) SELECT lease, sum(amount) FROM parts WHERE lease <> 0 GROUP BY 1),
hours AS (
  INSERT INTO usage_delta (account_id, key_id, model, vendor, hour, currency, n, input, output, charge, cost)
  SELECT account_id, key_id, model, vendor, date_trunc('hour', ended_at, 'UTC'), currency,
    count(*) FILTER (WHERE seq = 0), sum(input_tokens), sum(output_tokens), sum(charge), 0
  FROM fresh GROUP BY 1, 2, 3, 4, 5, 6
  UNION ALL
  SELECT f.account_id, f.key_id, f.model, t.vendor, date_trunc('hour', f.ended_at, 'UTC'), t.cost_currency,
    0, 0, 0, 0, sum(t.cost)
  FROM tried t JOIN fresh f ON f.day = t.day AND f.id = t.id
  WHERE t.cost <> 0 AND t.cost_currency IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6)`

const post = (kind: 'usage' | 'late') =>
  `${keepAttempts},${consequences(`INSERT INTO journal (batch_id, kind) SELECT DISTINCT batch_id, '${kind}' FROM lines`)}`

/**
 * Stores records as seq 0, an id at most once. Parameters: the columns of the usage rows, those of the attempts, JSON of
 * price sets. Gives the ids of those that were there before.
 */
export const flush = `WITH
b AS (SELECT nextval('batch_seq') AS batch_id),
${keepPriceSets},
fresh AS (
  INSERT INTO usage_record (${usageColumns})
  SELECT r.day, r.id, 0, b.batch_id, r.kind, r.account_id, r.key_id, r.outcome, r.model, r.vendor, r.vendor_model,
    r.served_model, r.service_tier, r.length_tier, r.price_set_id, r.counts, r.input_tokens, r.output_tokens, r.source, r.tokenizer, r.anomalies,
    r.priced, r.charge, r.currency, r.lease, r.purse, r.amount, r.stream, r.started_at, r.ended_at, r.first_byte_ms,
    r.finish, r.error, r.client_request_id
  FROM ${usageRows} CROSS JOIN b ORDER BY r.day, r.id
  ON CONFLICT (day, id, seq) DO NOTHING RETURNING ${freshColumns}),
${post('usage')}
SELECT id FROM unnest($${idsAt}::uuid[]) AS r (id) EXCEPT SELECT id FROM fresh`

/**
 * For ids that were there already, in a snapshot of its own because a statement does not see the row it waited for.
 * A settle or a void that comes after the reaper becomes seq 1: the difference, of money charged to the wallet
 * directly, of tokens to the packages that paid.
 * Anything else is ignored. Model, vendor and times stay the reaper's, so that sums by the hour net out.
 *
 * OFFSET 0 keeps the planner from turning the look-ups round. Its plan is kept, and it may be made while a day's
 * partition is empty: then it would read all that the partition has an hour later.
 */
export const adjust = `WITH
b AS (SELECT nextval('batch_seq') AS batch_id),
${keepPriceSets},
late AS (
  SELECT r.*, u.account_id AS payer, u.key_id AS payer_key, u.model AS base_model, u.vendor AS base_vendor,
    u.vendor_model AS base_vendor_model, u.price_set_id AS base_prices, u.currency AS base_currency,
    u.started_at AS base_started, u.ended_at AS base_ended, r.charge - u.charge AS more, r.priced - u.priced AS more_priced,
    r.input_tokens - u.input_tokens AS more_input, r.output_tokens - u.output_tokens AS more_output, w.id AS wallet,
    u.purse AS base_purse, u.amount AS base_amount
  FROM ${usageRows}
  CROSS JOIN LATERAL (
    SELECT * FROM usage_record e WHERE e.day = r.day AND e.id = r.id AND e.seq = 0 AND e.kind = 2 OFFSET 0) u
  CROSS JOIN LATERAL (
    SELECT a.id FROM ledger_account a
    WHERE a.account_id = u.account_id AND a.kind = 'wallet' AND a.asset = u.currency AND a.ref = 0 OFFSET 0) w
  WHERE r.kind IN (1, 5)),
apart AS (
  SELECT day, id, purse, sum(amount) AS amount FROM (
    SELECT day, id, wallet AS purse, more AS amount FROM late
    UNION ALL
    SELECT l.day, l.id, p.purse, p.amount FROM late l CROSS JOIN unnest(l.purse, l.amount) AS p (purse, amount)
    WHERE (SELECT a.asset FROM ledger_account a WHERE a.id = p.purse) = 'TOK'
    UNION ALL
    SELECT l.day, l.id, p.purse, -p.amount FROM late l CROSS JOIN unnest(l.base_purse, l.base_amount) AS p (purse, amount)
    WHERE (SELECT a.asset FROM ledger_account a WHERE a.id = p.purse) = 'TOK') x
  GROUP BY 1, 2, 3 HAVING sum(amount) <> 0),
differences AS (
  SELECT day, id, array_agg(0::bigint) AS lease, array_agg(purse ORDER BY purse) AS purse,
    array_agg(amount::bigint ORDER BY purse) AS amount
  FROM apart GROUP BY 1, 2),
fresh AS (
  INSERT INTO usage_record (${usageColumns})
  SELECT day, id, 1, b.batch_id, 3, payer, payer_key, outcome, base_model, base_vendor, base_vendor_model, served_model,
    service_tier, length_tier, base_prices, counts, more_input, more_output, source, tokenizer, anomalies, more_priced, more, base_currency,
    coalesce(d.lease, '{}'), coalesce(d.purse, '{}'), coalesce(d.amount, '{}'),
    stream, base_started, base_ended, first_byte_ms, finish, error, client_request_id
  FROM late LEFT JOIN differences d USING (day, id) CROSS JOIN b ORDER BY day, id
  ON CONFLICT (day, id, seq) DO NOTHING RETURNING ${freshColumns}),
${post('late')}
SELECT id, charge FROM fresh`

/**
 * What the books have charged for ids, over all their rows but refunds: what was given back went to the purses, and the
 * engine, which asks for this, must not give it once more. $1: JSON of day and id.
 */
export const totals = `SELECT u.id, sum(u.charge) AS total FROM jsonb_to_recordset($1::jsonb) AS r (day date, id uuid)
CROSS JOIN LATERAL (SELECT e.id, e.charge FROM usage_record e WHERE e.day = r.day AND e.id = r.id AND e.kind <> 4 OFFSET 0) u
GROUP BY u.id`

/**
 * The rollup: each drains one queue by at most $1 rows and gives how many it took. Deleting makes it safe: it sees only
 * what is committed and can skip nothing, as a mark of "done up to here" would. One worker at a time; another gets 0.
 */
export const rollups: readonly string[] = [
  `WITH mine AS (SELECT pg_try_advisory_xact_lock(7460011) AS ok),
taken AS (DELETE FROM posting_delta WHERE ctid = ANY (ARRAY(SELECT ctid FROM posting_delta LIMIT $1::int))
  AND (SELECT ok FROM mine) RETURNING *),
sums AS (SELECT ledger_account_id, sum(amount) AS amount, sum(free) AS free FROM taken GROUP BY 1),
locked AS (SELECT a.id FROM ledger_account a JOIN sums s ON s.ledger_account_id = a.id ORDER BY a.id FOR NO KEY UPDATE OF a),
done AS (UPDATE ledger_account a SET posted = a.posted + s.amount, free = a.free + s.free
  FROM sums s JOIN locked ON locked.id = s.ledger_account_id WHERE a.id = s.ledger_account_id)
SELECT count(*) AS taken FROM taken`,

  'SELECT lease_rollup($1::int) AS taken',

  `WITH mine AS (SELECT pg_try_advisory_xact_lock(7460013) AS ok),
taken AS (DELETE FROM usage_delta WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage_delta LIMIT $1::int))
  AND (SELECT ok FROM mine) RETURNING *),
done AS (INSERT INTO usage_hourly AS u (account_id, key_id, model, vendor, hour, currency, n, input, output, charge, cost)
  SELECT account_id, key_id, model, vendor, hour, currency, sum(n), sum(input), sum(output), sum(charge), sum(cost)
  FROM taken GROUP BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (account_id, key_id, model, vendor, hour, currency) DO UPDATE SET n = u.n + excluded.n,
    input = u.input + excluded.input, output = u.output + excluded.output, charge = u.charge + excluded.charge,
    cost = u.cost + excluded.cost)
SELECT count(*) AS taken FROM taken`,
]

/**
 * Puts money into the wallet of an account ($1): $2 nano-units, $3 the entry's reference, $4 memo. Once for each
 * reference. Gives no row where there is no such account.
 */
export const recharge = `WITH
w AS (SELECT l.id, l.asset FROM ledger_account l JOIN account a ON a.id = l.account_id AND a.currency = l.asset
  WHERE a.id = $1::bigint AND l.kind = 'wallet' AND l.ref = 0),
entry AS (INSERT INTO journal (batch_id, kind, memo, ref) SELECT nextval('batch_seq'), 'recharge', $4::text, $3::text FROM w
  ON CONFLICT (ref) DO NOTHING RETURNING batch_id),
lines AS (
  SELECT e.batch_id, w.id AS ledger_account_id, w.asset, $2::numeric AS amount FROM entry e CROSS JOIN w
  UNION ALL
  SELECT e.batch_id, h.id, w.asset, -$2::numeric FROM entry e CROSS JOIN w
  JOIN ledger_account h ON h.account_id IS NULL AND h.kind = 'clearing' AND h.asset = w.asset AND h.ref = 0),
posted AS (INSERT INTO posting (batch_id, ledger_account_id, asset, amount) SELECT batch_id, ledger_account_id, asset, amount FROM lines),
accounts AS (INSERT INTO posting_delta (ledger_account_id, amount) SELECT ledger_account_id, amount FROM lines),
spendable AS (UPDATE ledger_account l SET free = l.free + $2::numeric FROM entry CROSS JOIN w WHERE l.id = w.id)
SELECT EXISTS (SELECT 1 FROM entry) AS applied FROM w`

/** What was recharged under a reference ($1). */
export const recharged = `SELECT l.account_id, p.amount FROM journal j JOIN posting p ON p.batch_id = j.batch_id
JOIN ledger_account l ON l.id = p.ledger_account_id AND l.kind = 'wallet' WHERE j.ref = $1::text`

/** The wallet of an account ($1). */
export const balance = `SELECT l.asset AS currency,
  l.posted + coalesce((SELECT sum(d.amount) FROM posting_delta d WHERE d.ledger_account_id = l.id), 0) AS posted,
  l.free + coalesce((SELECT sum(d.free) FROM posting_delta d WHERE d.ledger_account_id = l.id AND d.free <> 0), 0) AS free,
  coalesce((SELECT sum(e.amount - e.consumed) FROM lease e WHERE e.ledger_account_id = l.id), 0)
    - coalesce((SELECT sum(x.amount) FROM lease_delta x JOIN lease e ON e.id = x.lease_id WHERE e.ledger_account_id = l.id), 0)
    AS leased, l.credit_limit
FROM ledger_account l JOIN account a ON a.id = l.account_id AND a.currency = l.asset
WHERE a.id = $1::bigint AND l.kind = 'wallet' AND l.ref = 0`

/** The key with this hash ($1) and all keys above it, leaf first, each with its account. */
export const keyChain = `WITH RECURSIVE chain AS (
  SELECT k.*, 0 AS level FROM api_key k WHERE k.hash = $1::text
  UNION ALL
  SELECT k.*, c.level + 1 FROM chain c JOIN api_key k ON k.id = c.parent_id WHERE c.level < 7)
SELECT c.id, c.public_id, c.kind, c.account_id, c.parent_id, c.name, c.hash, c.version, to_jsonb(c.models) AS models,
  c.budgets, c.requests_per_minute, c.concurrency, c.limits, c.routing, c.expires_at, c.revoked_at, a.currency,
  a.discount_ppm, a.status, a.tier, a.limits AS account_limits, a.concurrency AS account_concurrency, a.version AS account_version,
  a.budgets AS account_budgets
FROM chain c LEFT JOIN account a ON a.id = c.account_id ORDER BY c.level`

/** What all keys of an account ($1) were charged since the start of an hour ($2). */
export const spentByAccount = `
SELECT coalesce((SELECT sum(u.charge) FROM usage_hourly u JOIN api_key k ON k.id = u.key_id
    WHERE k.account_id = $1::bigint AND u.hour >= $2::timestamptz), 0)
  + coalesce((SELECT sum(d.charge) FROM usage_delta d WHERE d.account_id = $1::bigint AND d.hour >= $2::timestamptz), 0) AS spent`

/** What a key ($1) and all keys below it were charged since the start of an hour ($2). */
export const spent = `WITH RECURSIVE tree AS (
  SELECT $1::bigint AS id UNION SELECT k.id FROM tree t JOIN api_key k ON k.parent_id = t.id)
SELECT coalesce((SELECT sum(u.charge) FROM usage_hourly u JOIN tree t ON t.id = u.key_id WHERE u.hour >= $2::timestamptz), 0)
  + coalesce((SELECT sum(d.charge) FROM usage_delta d JOIN tree t ON t.id = d.key_id WHERE d.hour >= $2::timestamptz), 0) AS spent`
