import type { Nanos } from '../core/money.ts'
import { GatewayError } from '../core/errors.ts'
import { sqlFault, type Database, type Parameter, type Row } from './database.ts'

/*
 * Usage by the hour, added up. The records themselves are never read: what the rollup has not added yet is taken from
 * its queue. The text of a statement is put together from the words of this file alone.
 */

/** What sums may be grouped by: the expression, and the type that a page's end is compared as. */
const groups = {
  account: { sql: 'u.account_id', type: 'bigint' },
  key: { sql: `coalesce(k.public_id, '') COLLATE "C"`, type: 'text' },
  model: { sql: 'u.model COLLATE "C"', type: 'text' },
  vendor: { sql: 'u.vendor COLLATE "C"', type: 'text' },
  day: { sql: `to_char(u.hour AT TIME ZONE $3::text, 'YYYY-MM-DD') COLLATE "C"`, type: 'text' },
} as const
export type UsageGroup = keyof typeof groups
export const usageGroups = Object.keys(groups) as readonly UsageGroup[]

export interface UsageOf {
  /** Hours that begin at or after the first and before the second. */
  readonly fromMs: number
  readonly toMs: number
  /** IANA name: the zone whose days are counted. */
  readonly timeZone: string
  /** Each at most once; money is always kept apart by its currency. */
  readonly groups: readonly UsageGroup[]
  readonly accountId?: number | undefined
  /** The public id of a key. */
  readonly key?: string | undefined
  /** Only what was charged in it. */
  readonly currency?: string | undefined
  /** This key and every key below it. */
  readonly below?: number | undefined
  readonly limit: number
  /** Only what comes after this one: its values in the order of `groups`, then its currency. */
  readonly after?: readonly string[] | undefined
}

export interface UsageSum {
  /** In the order of the groups that were asked for. */
  readonly values: readonly string[]
  readonly currency: string
  readonly calls: bigint
  readonly input: bigint
  readonly output: bigint
  readonly charge: Nanos
  readonly cost: Nanos
}

interface SumRow extends Row {
  readonly currency: string
  readonly calls: bigint
  readonly input: bigint
  readonly output: bigint
  readonly charge: bigint
  readonly cost: bigint
}

/** Sums of usage in the order of their groups. GatewayError `invalid_value` for a zone that the database has not. */
export async function usageSums(database: Database, of: UsageOf): Promise<readonly UsageSum[]> {
  const { sql, parameters } = statementFor(of)
  const rows = await database.query<SumRow>(sql, parameters).catch((error: unknown) => {
    if (sqlFault(error)?.code !== '22023') throw error
    throw new GatewayError('invalid_value', 'time_zone is not known to the database.', { param: 'time_zone' })
  })
  return rows.map(({ currency, calls, input, output, charge, cost, ...row }) => ({
    values: of.groups.map((_, index) => String(row[`g${index}`])),
    currency,
    calls,
    input,
    output,
    charge,
    cost,
  }))
}

function statementFor(of: UsageOf): { readonly sql: string; readonly parameters: readonly Parameter[] } {
  const parameters: Parameter[] = [new Date(of.fromMs), new Date(of.toMs), of.timeZone]
  const bind = (value: Parameter, type: string): string => `$${parameters.push(value)}::${type}`
  const where = [
    '$3::text IS NOT NULL',
    ...(of.accountId === undefined ? [] : [`u.account_id = ${bind(of.accountId, 'bigint')}`]),
    ...(of.key === undefined ? [] : [`u.key_id IN (SELECT id FROM api_key WHERE public_id = ${bind(of.key, 'text')})`]),
    ...(of.currency === undefined ? [] : [`u.currency = ${bind(of.currency, 'text')}`]),
    ...(of.below === undefined ? [] : [`u.key_id IN (${keyTree(bind(of.below, 'bigint'))})`]),
  ].join(' AND ')
  const chosen = of.groups.map((group) => groups[group])
  const names = [...chosen.map((_, index) => `g${index}`), 'currency']
  const types = [...chosen.map(({ type }) => type), 'text']
  const page = of.after?.map((value, index) => bind(value, types[index] ?? 'text'))
  const sql = `WITH hours AS (${['usage_hourly', 'usage_delta']
    .map(
      (table) => `SELECT account_id, key_id, model, vendor, hour, currency, n, input, output, charge, cost
    FROM ${table} u WHERE u.hour >= $1::timestamptz AND u.hour < $2::timestamptz AND ${where}`,
    )
    .join('\n  UNION ALL\n  ')}),
sums AS (
  SELECT ${chosen.map((group, index) => `${group.sql} AS g${index}, `).join('')}u.currency COLLATE "C" AS currency, sum(u.n)::bigint AS calls,
    sum(u.input) AS input, sum(u.output) AS output, sum(u.charge) AS charge, sum(u.cost) AS cost
  FROM hours u LEFT JOIN api_key k ON k.id = u.key_id GROUP BY ${names.map((_, index) => index + 1).join(', ')})
SELECT * FROM sums ${page ? `WHERE (${names.join(', ')}) > (${page.join(', ')})` : ''}
ORDER BY ${names.join(', ')} LIMIT ${bind(of.limit, 'int')}`
  return { sql, parameters }
}

const keyTree = (root: string): string => `WITH RECURSIVE tree AS (
  SELECT ${root} AS id UNION SELECT c.id FROM tree t JOIN api_key c ON c.parent_id = t.id) SELECT id FROM tree`
