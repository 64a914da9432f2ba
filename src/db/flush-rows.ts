import type { attemptRows, usageRow } from './usage-row.ts'

/*
 * How the rows of a flush travel: each column as one array, which `unnest` puts side by side again. Of the ways to send
 * many rows in one statement it is the cheapest to read for the server, which takes names and nesting apart in JSON for
 * longer than it then inserts; bench/results.md has the figures.
 */

/** A row's own list is text here: arrays in an array would have to be of one length. */
type ColumnType =
  | 'date'
  | 'uuid'
  | 'smallint'
  | 'int'
  | 'bigint'
  | 'text'
  | 'boolean'
  | 'jsonb'
  | 'timestamptz'
  | 'text[]'
  | 'bigint[]'

type Types<Name extends string> = Readonly<Record<Name, ColumnType>>

/** The columns of `usageRow`. */
export const usageTypes = {
  day: 'date',
  id: 'uuid',
  kind: 'smallint',
  account_id: 'bigint',
  key_id: 'bigint',
  outcome: 'text',
  model: 'text',
  vendor: 'text',
  vendor_model: 'text',
  served_model: 'text',
  service_tier: 'text',
  length_tier: 'bigint',
  price_set_id: 'text',
  counts: 'jsonb',
  input_tokens: 'bigint',
  output_tokens: 'bigint',
  source: 'text',
  tokenizer: 'text',
  anomalies: 'text[]',
  priced: 'bigint',
  charge: 'bigint',
  currency: 'text',
  lease: 'bigint[]',
  purse: 'bigint[]',
  amount: 'bigint[]',
  stream: 'boolean',
  started_at: 'timestamptz',
  ended_at: 'timestamptz',
  first_byte_ms: 'int',
  finish: 'text',
  error: 'text',
  client_request_id: 'text',
} as const satisfies Types<keyof ReturnType<typeof usageRow>>

/** The columns of `attemptRows`. */
export const attemptTypes = {
  day: 'date',
  id: 'uuid',
  n: 'smallint',
  vendor: 'text',
  model: 'text',
  status: 'int',
  error: 'text',
  started_at: 'timestamptz',
  ended_at: 'timestamptz',
  cost: 'bigint',
  cost_currency: 'text',
  reported_cost: 'bigint',
} as const satisfies Types<keyof ReturnType<typeof attemptRows>[number]>

/** A table of what `columnsOf` makes, for FROM: its parameters are $`first` and those after it. */
export function rowsFrom(types: Types<string>, alias: string, first: number): string {
  const names = Object.keys(types)
  const isList = (name: string) => types[name]?.endsWith('[]')
  const arrays = names.map((name, at) => `$${first + at}::${isList(name) ? 'text' : types[name]}[]`)
  const columns = names.map((name) => (isList(name) ? `${name}::${types[name]} AS ${name}` : name))
  return `(SELECT ${columns.join(', ')} FROM unnest(${arrays.join(', ')}) AS x (${names.join(', ')})) AS ${alias}`
}

/** The parameters of `rowsFrom`, one for each column. */
export function columnsOf<Name extends string>(
  types: Types<Name>,
  rows: readonly Readonly<Record<Name, unknown>>[],
): readonly string[] {
  const names = Object.keys(types) as Name[] // allowed -- the keys of a record of these names
  return names.map((name) => arrayOf(rows.map((row) => row[name])))
}

/** Values as PostgreSQL writes an array. One string that grows: half the time of a list of pieces that is joined. */
function arrayOf(values: readonly unknown[]): string {
  let text = ''
  for (const value of values) text += text === '' ? element(value) : `,${element(value)}`
  return `{${text}}`
}

function element(value: unknown): string {
  if (value === null) return 'NULL'
  if (typeof value === 'string') return quoted(value)
  if (Array.isArray(value)) return quoted(arrayOf(value))
  return typeof value === 'object' ? quoted(JSON.stringify(value)) : String(value)
}

function quoted(text: string): string {
  return `"${text.includes('"') || text.includes('\\') ? text.replaceAll(/["\\]/g, '\\$&') : text}"`
}
