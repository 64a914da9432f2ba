import type { Nanos } from '../core/money.ts'
import type { Database, Parameter, Row } from './database.ts'
import { dayOf } from './usage-row.ts'

export interface CallsOf {
  readonly accountId?: number | undefined
  /** The public id of a key. */
  readonly key?: string | undefined
  /** Calls that began at or after the first moment and before the second. */
  readonly fromMs: number
  readonly toMs: number
  readonly limit: number
  /** Only calls before this one. */
  readonly before?: string | undefined
}

/** One call with what all its rows say together. */
export interface ListedCall {
  readonly id: string
  readonly accountId: number
  readonly key: string | undefined
  readonly outcome: string
  readonly model: string
  readonly vendor: string
  readonly vendorModel: string
  readonly source: string
  readonly input: bigint
  readonly output: bigint
  readonly priced: Nanos
  /** After adjustments and refunds. */
  readonly charge: Nanos
  readonly refunded: Nanos
  readonly currency: string
  /** What we owe vendors for it, by currency: decimal strings of nano-units. */
  readonly costs: Readonly<Record<string, string>>
  readonly stream: boolean
  readonly startedAt: Date
  readonly endedAt: Date
  readonly firstByteMs: number | undefined
  readonly error: string | undefined
}

interface CallRow extends Row {
  readonly id: string
  readonly account_id: bigint
  readonly key: string | null
  readonly outcome: string
  readonly model: string
  readonly vendor: string
  readonly vendor_model: string
  readonly source: string
  readonly input: bigint
  readonly output: bigint
  readonly priced: bigint
  readonly charge: bigint
  readonly refunded: bigint
  readonly currency: string
  readonly costs: Readonly<Record<string, string>>
  readonly stream: boolean
  readonly started_at: Date
  readonly ended_at: Date
  readonly first_byte_ms: number | null
  readonly error: string | null
}

/** The least UUIDv7 of a moment. */
function firstId(ms: number): string {
  const time = ms.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`
}

/** Calls, the latest first: ids grow with the moment at which their call began. */
export async function listCalls(database: Database, of: CallsOf): Promise<readonly ListedCall[]> {
  const [first, end] = [firstId(of.fromMs), of.before ?? firstId(of.toMs)]
  const parameters: Parameter[] = [dayOf(first), dayOf(end), first, end, of.limit]
  const bind = (value: Parameter, type: string): string => `$${parameters.push(value)}::${type}`
  // Of a key the account too: there is an index for that.
  const ofKey = (column: string, at: string) => `(SELECT ${column} FROM api_key WHERE public_id = ${at})`
  const key = of.key === undefined ? undefined : bind(of.key, 'text')
  const where = [
    ...(of.accountId === undefined ? [] : [`account_id = ${bind(of.accountId, 'bigint')}`]),
    ...(key === undefined ? [] : [`account_id = ${ofKey('account_id', key)}`, `key_id = ${ofKey('id', key)}`]),
  ].map((condition) => ` AND ${condition}`)
  const rows = await database.query<CallRow>(
    `WITH page AS MATERIALIZED (
  SELECT * FROM usage_record WHERE day >= $1::date AND day <= $2::date AND id >= $3::uuid AND id < $4::uuid AND seq = 0${where.join('')}
  ORDER BY day DESC, id DESC LIMIT $5::int)
SELECT p.id, p.account_id, k.public_id AS key, p.outcome, p.model, p.vendor, p.vendor_model, p.source, r.input, r.output,
  r.priced, r.charge, r.refunded, p.currency, coalesce(c.costs, '{}'::jsonb) AS costs, p.stream, p.started_at, p.ended_at, p.first_byte_ms, p.error
FROM page p LEFT JOIN api_key k ON k.id = p.key_id
CROSS JOIN LATERAL (
  SELECT sum(u.input_tokens)::bigint AS input, sum(u.output_tokens)::bigint AS output, sum(u.priced) AS priced,
    sum(u.charge) AS charge, -coalesce(sum(u.charge) FILTER (WHERE u.kind = 4), 0) AS refunded
  FROM usage_record u WHERE u.day = p.day AND u.id = p.id) r
LEFT JOIN LATERAL (
  SELECT jsonb_object_agg(a.cost_currency, a.cost::text) AS costs
  FROM (SELECT cost_currency, sum(cost) AS cost FROM attempt WHERE day = p.day AND id = p.id AND cost_currency IS NOT NULL GROUP BY 1) a) c ON true
ORDER BY p.day DESC, p.id DESC`,
    parameters,
  )
  return rows.map(callOf)
}

function callOf({ account_id: accountId, vendor_model: vendorModel, key, error, ...row }: CallRow): ListedCall {
  const { started_at: startedAt, ended_at: endedAt, first_byte_ms: firstByteMs, ...rest } = row
  return {
    ...rest,
    accountId: Number(accountId),
    vendorModel,
    key: key ?? undefined,
    startedAt,
    endedAt,
    firstByteMs: firstByteMs ?? undefined,
    error: error ?? undefined,
  }
}
