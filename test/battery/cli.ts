import { parseArgs } from 'node:util'
import { printMoney } from '../../src/core/money.ts'
import { missing, type Store } from '../support/installation.ts'
import { table } from '../support/table.ts'
import { cases, type Row, runCase } from './cases.ts'
import { openScene } from './scene.ts'

const help = `npm run battery -- [--on pglite|postgres|redis] [--json] [--customers N] [--seed N]

Starts a gateway in a process of its own, or three on one Redis, and a fake vendor, spends budgets in every way that is
known to overspend them elsewhere, and prints what became of each.

  --on KIND      what they run on: pglite, postgres, or redis for three gateways on one PostgreSQL and one Redis
                 (default: pglite)
  --customers N  customers with 0.05 USD each (default 250)
  --seed N       of everything random (default 1)
  --json         the rows as JSON, money in nano-units as text

spent is what the books took, delivered what callers heard at the same prices. After a kill -9 the latter may be more,
by at most 2 s and a tick of each stream that was under way. Exit code: 0 if no budget was overspent and the books are
right, 1 if not, 2 if the arguments cannot be used or the database is missing.
`

const stores: readonly Store[] = ['pglite', 'postgres', 'redis']

class UsageError extends Error {}

interface Options {
  readonly store: Store
  readonly customers: number
  readonly seed: number
  readonly json: boolean
}

function read(args: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      on: { ...text, default: 'pglite' },
      customers: { ...text, default: '250' },
      seed: { ...text, default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const store = stores.find((one) => one === values.on)
  if (!store) throw new UsageError(`--on takes ${stores.join(', ')}`)
  const why = missing(store)
  if (why !== undefined) throw new UsageError(why)
  return {
    store,
    customers: whole('customers', values.customers, 10_000),
    seed: whole('seed', values.seed, 2 ** 31),
    json: values.json,
  }
}

function whole(name: string, value: string, most: number): number {
  const number = /^[1-9]\d{0,9}$/.test(value) ? Number(value) : 0
  if (number < 1 || number > most) throw new UsageError(`--${name} takes a whole number from 1 to ${most}`)
  return number
}

async function run({ store, customers, seed, json }: Options): Promise<boolean> {
  const say = (line: string) => process.stderr.write(`${line}\n`)
  say(`starting on ${store}`)
  const scene = await openScene(store, seed)
  const rows: Row[] = []
  for (const one of cases) {
    const from = Date.now()
    const row = await runCase(one, scene, { customers })
    rows.push(row)
    say(`${row.verdict.padEnd(7)} ${row.name} (${((Date.now() - from) / 1_000).toFixed(1)} s)`)
  }
  const faults = await scene.close()
  process.stdout.write(json ? `${printJson(rows, faults)}\n` : `${printTable(rows)}\n`)
  for (const fault of faults) process.stdout.write(`the books: ${fault}\n`)
  const broken = rows.filter(({ verdict }) => verdict === 'BROKEN').length
  if (!json)
    process.stdout.write(
      `${rows.length - broken} kept or skipped, ${broken} broken, ${faults.length} faults in the books\n`,
    )
  return broken === 0 && faults.length === 0
}

function printJson(rows: readonly Row[], faults: readonly string[]): string {
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)
  return JSON.stringify({ rows, faults }, text, 2)
}

function printTable(rows: readonly Row[]): string {
  const head = ['case', 'budget USD', 'spent USD', 'spent ÷ budget', 'delivered USD', 'served', 'refused', 'verdict']
  return table(head, rows.map(cells))
}

function cells(row: Row): readonly string[] {
  const refused = Object.entries(row.refused).map(([code, count]) => `${count} ${code}`)
  const verdict = row.why === undefined ? row.verdict : `${row.verdict}: ${row.why}`
  if (row.verdict === 'skipped') return [row.name, '', '', '', '', '', '', verdict]
  const { budget, spent, delivered } = row
  const share = budget === 0n ? '' : `${(Number((spent * 100_000n) / budget) / 1_000).toFixed(3)} %`
  const money = [printMoney(budget), printMoney(spent), share, printMoney(delivered)]
  return [row.name, ...money, String(row.served), refused.join(', '), verdict]
}

try {
  const options = read(process.argv.slice(2))
  if (options === 'help') process.stdout.write(help)
  else process.exitCode = (await run(options)) ? 0 : 1
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  if (isUsage) process.stderr.write('Try --help.\n')
  process.exitCode = isUsage ? 2 : 1
}
