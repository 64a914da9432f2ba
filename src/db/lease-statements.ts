/**
 * The SQL of leases and epochs as text, see statements.ts: no caller's text is ever part of it. Locks are taken in one
 * order everywhere: replica, spender_epoch, ledger_account, lease; several of one table by their ids.
 */

/**
 * A new epoch for a spender ($1), where $2 is null or its latest. Grants under the old one wait for this row and then
 * fail.
 */
export const openEpoch = `INSERT INTO spender_epoch AS s (spender, epoch) VALUES ($1::text, 1)
ON CONFLICT (spender) DO UPDATE SET epoch = s.epoch + 1 WHERE $2::int IS NULL OR s.epoch = $2::int RETURNING epoch`
export const latestEpoch = 'SELECT epoch FROM spender_epoch WHERE spender = $1::text'

/**
 * Freezes the leases of a spender ($1) before an epoch ($2). After openEpoch, so that none is granted meanwhile. By the
 * clock of now, not of when the transaction began: who looked what is outstanding while it waited looked too early.
 */
export const freezeLeases = `WITH old AS (
  SELECT id FROM lease WHERE spender = $1::text AND epoch < $2::int AND state = 'open' ORDER BY id FOR NO KEY UPDATE)
UPDATE lease l SET state = 'frozen', frozen_at = clock_timestamp() FROM old WHERE l.id = old.id`

export const frozenLeases = `SELECT id FROM lease WHERE spender = $1::text AND state = 'frozen' ORDER BY id`
export const closeLease = 'SELECT lease_close($1::bigint) AS returned'
/** $1 purse, $2 spender, $3 epoch, $4 wanted, $5 target or null for all, $6 the moment, or null for now. */
export const grantLease =
  'SELECT lease_id, lent FROM lease_grant($1::bigint, $2::text, $3::int, $4::bigint, $5::bigint, $6::timestamptz)'

/**
 * Where no replica at all was seen for $1 ms, none could be: that time does not count against those who lived then.
 * Two at once may move a row twice, but never beyond now.
 */
export const passSilence = `WITH newest AS (SELECT max(last_seen) AS at FROM replica),
old AS (
  SELECT r.id, n.at FROM replica r CROSS JOIN newest n WHERE n.at < now() - $1::int * interval '1 millisecond'
  ORDER BY r.id FOR NO KEY UPDATE OF r)
UPDATE replica r SET last_seen = least(now(), r.last_seen + (now() - old.at)) FROM old WHERE r.id = old.id`

/** A replica ($1) lives; it has not said what is outstanding. */
export const seeReplica = `INSERT INTO replica AS r (id, last_seen) VALUES ($1::text, now())
ON CONFLICT (id) DO UPDATE SET last_seen = greatest(r.last_seen, now())`

/**
 * A replica ($1) lives, and $2 is outstanding: JSON of decimal strings by lease, summed after a moment ($3, ms since
 * 1970, or null). Gives the time, ms since 1970, rounded down.
 */
export const beat = `INSERT INTO replica AS r (id, last_seen, vouched_at, outstanding)
VALUES ($1::text, now(), CASE WHEN $3::bigint IS NOT NULL THEN least(now(), to_timestamp($3::bigint / 1000.0)) END, $2::jsonb)
ON CONFLICT (id) DO UPDATE SET last_seen = greatest(r.last_seen, now()), vouched_at = excluded.vouched_at, outstanding = excluded.outstanding
RETURNING floor(extract(epoch FROM now()) * 1000)::bigint AS now`

const openOf = (replica: string) =>
  `SELECT 1 FROM lease l WHERE l.spender = 'replica:' || ${replica}.id AND l.state = 'open'`

/** Replicas that were not seen for $1 ms and still have money on loan of their own; at most $2. */
export const deadReplicas = `SELECT r.id FROM replica r
WHERE r.last_seen <= now() - $1::int * interval '1 millisecond' AND EXISTS (${openOf('r')}) ORDER BY r.id LIMIT $2::int`

/** Locks a replica ($1) where it is dead still. */
export const lockDead = `SELECT r.id FROM replica r
WHERE r.id = $1::text AND r.last_seen <= clock_timestamp() - $2::int * interval '1 millisecond' FOR NO KEY UPDATE`

/** Forgets replicas that were not seen for $1 ms; at most $2. */
export const forgetReplicas = `WITH gone AS (
  SELECT r.id FROM replica r
  WHERE r.last_seen <= now() - $1::int * interval '1 millisecond' AND NOT EXISTS (${openOf('r')})
  ORDER BY r.id LIMIT $2::int FOR UPDATE OF r)
DELETE FROM replica r USING gone WHERE r.id = gone.id`

/** $1 the lease to begin after, $2 leases at most, $3 ms to wait for replicas, $4 ms after which one is dead. */
export const giveBack = `SELECT looked, latest FROM lease_give_back($1::bigint, $2::int,
  $3::int * interval '1 millisecond', $4::int * interval '1 millisecond')`
