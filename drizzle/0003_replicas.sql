CREATE TABLE "replica" (
	"id" text PRIMARY KEY NOT NULL,
	"last_seen" timestamp (3) with time zone NOT NULL,
	"vouched_at" timestamp (3) with time zone,
	"outstanding" jsonb DEFAULT '{}'::jsonb NOT NULL
);
--> statement-breakpoint
ALTER TABLE "lease" ADD COLUMN "opened_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "lease" ALTER COLUMN "opened_at" SET DEFAULT now();--> statement-breakpoint
CREATE INDEX "journal_at" ON "journal" USING btree ("at");--> statement-breakpoint
CREATE INDEX "usage_hourly_latest" ON "usage_hourly" USING brin ("hour");--> statement-breakpoint
CREATE INDEX "lease_frozen" ON "lease" USING btree ("id") WHERE state = 'frozen';--> statement-breakpoint
-- ------------------------------------------------------------------------------------------- completed by hand
-- As before, and a grant that has ended by p_now lends nothing more, voided or expired: whoever asks had read his list
-- before that, and hears what he was lent already.
DROP FUNCTION lease_grant(bigint, text, int, bigint, bigint);
--> statement-breakpoint
CREATE FUNCTION lease_grant(p_purse bigint, p_spender text, p_epoch int, p_want bigint, p_target bigint, p_now timestamptz DEFAULT NULL)
	RETURNS TABLE (lease_id bigint, lent bigint) LANGUAGE plpgsql AS $$
DECLARE
	v_epoch int;
	v_free numeric;
	v_more numeric;
	v_ended boolean;
	v_lease lease;
BEGIN
	SELECT s.epoch INTO v_epoch FROM spender_epoch s WHERE s.spender = p_spender FOR SHARE;
	IF v_epoch IS DISTINCT FROM p_epoch THEN
		RAISE EXCEPTION 'spender % is in epoch %, not %', p_spender, v_epoch, p_epoch USING ERRCODE = 'TG001';
	END IF;
	SELECT a.free + a.credit_limit INTO v_free FROM ledger_account a WHERE a.id = p_purse FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no purse %', p_purse USING ERRCODE = 'TG002';
	END IF;
	-- A statement of its own, and so a snapshot after the lock: what the rollup has added is not seen here again.
	v_free := v_free + coalesce((SELECT sum(d.free) FROM posting_delta d WHERE d.ledger_account_id = p_purse AND d.free <> 0), 0);
	v_ended := EXISTS (SELECT 1 FROM ledger_account a JOIN credit_grant g ON g.id = a.ref
		WHERE a.id = p_purse AND a.kind = 'grant'
			AND (g.voided_at IS NOT NULL OR g.closed_at IS NOT NULL OR g.expires_at <= coalesce(p_now, clock_timestamp())));
	IF v_ended THEN
		v_free := 0;
	END IF;
	INSERT INTO lease (ledger_account_id, spender, epoch) VALUES (p_purse, p_spender, p_epoch) ON CONFLICT DO NOTHING;
	SELECT l.* INTO v_lease FROM lease l
		WHERE l.ledger_account_id = p_purse AND l.spender = p_spender AND l.epoch = p_epoch FOR UPDATE;
	IF v_lease.state <> 'open' AND NOT v_ended THEN
		RAISE EXCEPTION 'the lease of spender % is %', p_spender, v_lease.state USING ERRCODE = 'TG001';
	END IF;
	v_more := CASE WHEN p_target IS NULL THEN v_free ELSE least(p_target, floor(v_free / 2)) END;
	-- 9 · 10^18 nano-units: the total under a lease stays an int8.
	v_more := greatest(0, least(v_free, greatest(p_want, v_more), 9000000000000000000 - v_lease.amount));
	IF v_more > 0 THEN
		UPDATE ledger_account a SET free = a.free - v_more WHERE a.id = p_purse;
		UPDATE lease l SET amount = l.amount + v_more WHERE l.id = v_lease.id;
	END IF;
	RETURN QUERY SELECT v_lease.id, (v_lease.amount + v_more)::bigint;
END $$;
--> statement-breakpoint
-- Adds up to p_rows of what waits in lease_delta to the leases, and gives how many rows that were. What a lease that is
-- no longer open was charged above what it has, because its money was given back before the record came, its purse
-- bears. One worker at a time; another takes 0.
-- Locks are taken in one order everywhere: spender_epoch, ledger_account, lease.
CREATE FUNCTION lease_rollup(p_rows int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	v_taken bigint;
	v_leases bigint[];
	v_sums numeric[];
BEGIN
	IF NOT pg_try_advisory_xact_lock(7460012) THEN
		RETURN 0;
	END IF;
	WITH taken AS (DELETE FROM lease_delta WHERE ctid = ANY (ARRAY(SELECT ctid FROM lease_delta LIMIT p_rows)) RETURNING *),
	sums AS (SELECT lease_id, sum(amount) AS amount, count(*) AS n FROM taken GROUP BY 1)
	SELECT coalesce(sum(n), 0), array_agg(lease_id), array_agg(amount) INTO v_taken, v_leases, v_sums FROM sums;
	PERFORM 1 FROM ledger_account a WHERE a.id IN (SELECT l.ledger_account_id FROM lease l WHERE l.id = ANY (v_leases))
		ORDER BY a.id FOR NO KEY UPDATE;
	PERFORM 1 FROM lease l WHERE l.id = ANY (v_leases) ORDER BY l.id FOR NO KEY UPDATE;
	WITH sums AS (SELECT s.id, s.amount FROM unnest(v_leases, v_sums) AS s (id, amount)),
	moves AS (
		SELECT l.id, l.ledger_account_id, s.amount,
			CASE WHEN l.state = 'open' THEN 0 ELSE greatest(0, l.consumed + s.amount - l.amount) END AS missing
		FROM lease l JOIN sums s ON s.id = l.id),
	used AS (UPDATE lease l SET consumed = l.consumed + m.amount, amount = l.amount + m.missing FROM moves m WHERE l.id = m.id)
	UPDATE ledger_account a SET free = a.free - p.missing
		FROM (SELECT ledger_account_id, sum(missing) AS missing FROM moves GROUP BY 1) p
		WHERE a.id = p.ledger_account_id AND p.missing <> 0;
	RETURN v_taken;
END $$;
--> statement-breakpoint
-- Gives back what is left of frozen leases after p_after, at most p_rows of them in the order of their ids, and says how
-- many it looked at and which was the last. A lease is ripe when every replica that was seen within p_dead has looked
-- what is outstanding since it was frozen, or p_wait after that. What living replicas say is outstanding stays; where
-- that is nothing, the lease is closed, and what it was charged above what it has its purse bears.
-- Doing it again changes nothing. One worker at a time; another looks at none.
CREATE FUNCTION lease_give_back(p_after bigint, p_rows int, p_wait interval, p_dead interval)
	RETURNS TABLE (looked bigint, latest bigint) LANGUAGE plpgsql AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_leases bigint[];
BEGIN
	IF pg_try_advisory_xact_lock(7460014) THEN
		SELECT array_agg(r.id ORDER BY r.id) INTO v_leases FROM (
			SELECT l.id FROM lease l
			WHERE l.state = 'frozen' AND l.id > p_after AND (l.frozen_at <= v_now - p_wait OR NOT EXISTS (
				SELECT 1 FROM replica s
				WHERE s.last_seen > v_now - p_dead AND (s.vouched_at IS NULL OR s.vouched_at <= l.frozen_at)))
			ORDER BY l.id LIMIT p_rows) r;
		PERFORM 1 FROM ledger_account a WHERE a.id IN (SELECT l.ledger_account_id FROM lease l WHERE l.id = ANY (v_leases))
			ORDER BY a.id FOR NO KEY UPDATE;
		PERFORM 1 FROM lease l WHERE l.id = ANY (v_leases) ORDER BY l.id FOR NO KEY UPDATE;
		-- Statements of their own after the locks, and so snapshots that have all which was waited for.
		WITH waiting AS (SELECT d.lease_id AS id, sum(d.amount) AS amount FROM lease_delta d WHERE d.lease_id = ANY (v_leases) GROUP BY 1),
		owed AS (
			SELECT o.key::bigint AS id, sum(o.value::numeric) AS amount
			FROM replica s CROSS JOIN jsonb_each_text(s.outstanding) o
			WHERE s.last_seen > v_now - p_dead AND o.key::bigint = ANY (v_leases) GROUP BY 1),
		rests AS (
			SELECT l.id, l.ledger_account_id, o.id IS NULL AS is_last,
				l.amount - l.consumed - coalesce(w.amount, 0) - coalesce(o.amount, 0) AS rest
			FROM lease l LEFT JOIN waiting w ON w.id = l.id LEFT JOIN owed o ON o.id = l.id
			WHERE l.id = ANY (v_leases) AND l.state = 'frozen'),
		moves AS (SELECT id, ledger_account_id, is_last, CASE WHEN is_last THEN rest ELSE greatest(0, rest) END AS amount FROM rests),
		given AS (
			UPDATE lease l SET amount = l.amount - m.amount, state = CASE WHEN m.is_last THEN 'closed' ELSE l.state END
			FROM moves m WHERE l.id = m.id AND (m.is_last OR m.amount <> 0))
		UPDATE ledger_account a SET free = a.free + p.amount
			FROM (SELECT ledger_account_id, sum(amount) AS amount FROM moves GROUP BY 1) p
			WHERE a.id = p.ledger_account_id AND p.amount <> 0;
	END IF;
	RETURN QUERY SELECT coalesce(cardinality(v_leases), 0)::bigint, coalesce(v_leases[cardinality(v_leases)], p_after);
END $$;
--> statement-breakpoint
-- Partitions are made by whoever owns the tables, also for a role that may only add rows to them.
ALTER FUNCTION usage_partitions_ensure(date) SECURITY DEFINER SET search_path = public, pg_temp;
--> statement-breakpoint
REVOKE ALL ON FUNCTION usage_partitions_ensure(date) FROM PUBLIC;
