import { availableParallelism, cpus, totalmem } from 'node:os'
import { table } from '../test/support/table.ts'

/** `--json` prints the rows as JSON; anything else but `--help` is refused. */
export function readArgs(help: string): { readonly json: boolean } {
  const args = process.argv.slice(2)
  if (args.includes('--help')) {
    process.stdout.write(help)
    process.exit(0)
  }
  if (args.some((arg) => arg !== '--json')) {
    process.stderr.write(help)
    process.exit(2)
  }
  return { json: args.includes('--json') }
}

/** What the figures were taken on. */
export function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${memory} GB, node ${process.version}`
}

/** Prints rows whose columns all have the same names. */
export function printRows(
  rows: readonly Readonly<Record<string, string | number>>[],
  { json }: { json: boolean },
): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ machine: machine(), rows }, null, 2)}\n`)
    return
  }
  const head = Object.keys(rows[0] ?? {})
  const cells = rows.map((row) => head.map((name) => String(row[name] ?? '')))
  process.stdout.write(`${machine()}\n${table(head, cells)}\n`)
}
