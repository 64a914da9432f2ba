import type { Nanos } from '../core/money.ts'
import type { Counts } from '../core/price.ts'
import type { Receipt, ReceiptOf } from '../ports.ts'
import type { Database } from './database.ts'
import { dayOf } from './usage-row.ts'

interface ReceiptRow {
  readonly key_id: bigint
  readonly outcome: string
  readonly model: string
  readonly vendor: string
  readonly vendor_model: string
  readonly served_model: string | null
  readonly service_tier: string | null
  readonly length_tier: bigint | null
  readonly counts: Counts
  readonly source: string
  readonly tokenizer: string | null
  readonly anomalies: readonly string[]
  readonly priced: Nanos
  readonly charge: Nanos
  readonly currency: string
  readonly stream: boolean
  readonly started_at: Date
  readonly ended_at: Date
  readonly first_byte_ms: number | null
  readonly finish: string | null
  readonly error: string | null
  readonly client_request_id: string | null
  readonly attempts: readonly {
    readonly vendor: string
    readonly model: string
    readonly status: number
    readonly error: string | null
    readonly ms: number
  }[]
}

/** The base row with the latest counts over it, what all rows charge, and the tries. A key sees itself and what is below. */
const receiptSql = `
WITH RECURSIVE below AS (
  SELECT id, kind, account_id FROM api_key WHERE id = $4
  UNION SELECT k.id, k.kind, k.account_id FROM api_key k JOIN below b ON k.parent_id = b.id),
rows AS (SELECT * FROM usage_record WHERE day = $1::date AND id = $2::uuid AND account_id = $3),
latest AS (SELECT counts, source, tokenizer, service_tier, length_tier FROM rows WHERE kind IN (1, 2, 3, 5) ORDER BY seq DESC LIMIT 1)
SELECT r.key_id, r.outcome, r.model, r.vendor, r.vendor_model, r.served_model, l.service_tier, l.length_tier, l.counts, l.source, l.tokenizer,
  to_jsonb(r.anomalies) AS anomalies, r.priced, (SELECT sum(charge) FROM rows) AS charge, r.currency, r.stream,
  r.started_at, r.ended_at, r.first_byte_ms, r.finish, r.error, r.client_request_id,
  coalesce((SELECT jsonb_agg(jsonb_build_object('vendor', a.vendor, 'model', a.model, 'status', a.status, 'error', a.error,
      'ms', (extract(epoch FROM a.ended_at - a.started_at) * 1000)::int) ORDER BY a.n)
    FROM attempt a WHERE a.day = r.day AND a.id = r.id), '[]'::jsonb) AS attempts
FROM rows r CROSS JOIN latest l
WHERE r.seq = 0 AND (r.key_id IN (SELECT id FROM below) OR EXISTS (SELECT 1 FROM below WHERE id = $4 AND kind = 'master'))`

/** Reads one call as its caller may see it; undefined where there is none, or where it is not his. */
export async function readReceipt(database: Database, of: ReceiptOf): Promise<Receipt | undefined> {
  const [row] = await database.query<ReceiptRow>(receiptSql, [dayOf(of.id), of.id, of.accountId, of.keyId])
  if (!row) return undefined
  return {
    id: of.id,
    keyId: Number(row.key_id),
    outcome: row.outcome,
    model: row.model,
    vendor: row.vendor,
    vendorModel: row.vendor_model,
    servedModel: row.served_model ?? undefined,
    serviceTier: row.service_tier ?? undefined,
    lengthTier: row.length_tier === null ? undefined : Number(row.length_tier),
    counts: row.counts,
    source: row.source,
    tokenizer: row.tokenizer ?? undefined,
    anomalies: row.anomalies,
    priced: row.priced,
    charge: row.charge,
    currency: row.currency,
    stream: row.stream,
    startedAtMs: row.started_at.getTime(),
    endedAtMs: row.ended_at.getTime(),
    firstByteMs: row.first_byte_ms ?? undefined,
    finish: row.finish ?? undefined,
    error: row.error ?? undefined,
    clientRequestId: row.client_request_id ?? undefined,
    attempts: row.attempts.map(({ error, ...attempt }) => ({ ...attempt, error: error ?? undefined })),
  }
}
