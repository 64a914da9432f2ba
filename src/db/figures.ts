import type { Nanos } from '../core/money.ts'
import type { Database } from './database.ts'

/** How the wallets and grants of one asset stand together. */
export interface Figures {
  /** A currency, or TOK for micro-tokens. */
  readonly asset: string
  readonly purses: bigint
  readonly posted: bigint
  /** Lent to gateways and not charged yet. */
  readonly leased: bigint
  /** Purses below zero, and by how much together. */
  readonly overdrawn: bigint
  readonly below: Nanos
}

const figuresSql = `WITH waiting AS (SELECT ledger_account_id AS id, sum(amount) AS amount FROM posting_delta GROUP BY 1),
used AS (SELECT lease_id AS id, sum(amount) AS amount FROM lease_delta GROUP BY 1),
loans AS (SELECT l.ledger_account_id AS id, sum(l.amount - l.consumed - coalesce(u.amount, 0)) AS rest FROM lease l LEFT JOIN used u USING (id) GROUP BY 1),
purse AS (SELECT a.asset, a.posted + coalesce(w.amount, 0) AS posted, coalesce(l.rest, 0) AS rest
  FROM ledger_account a LEFT JOIN waiting w USING (id) LEFT JOIN loans l USING (id) WHERE a.account_id IS NOT NULL)
SELECT asset, count(*) AS purses, sum(posted) AS posted, sum(rest) AS leased, count(*) FILTER (WHERE posted < 0) AS overdrawn,
  -coalesce(sum(posted) FILTER (WHERE posted < 0), 0) AS below
FROM purse GROUP BY 1 ORDER BY 1`

export function figures(database: Database): Promise<readonly Figures[]> {
  return database.query<Figures>(figuresSql)
}
