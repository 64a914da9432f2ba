import { parseArgs } from 'node:util'
import { printMoney } from '../../src/core/money.ts'
import { missing, type Store } from '../support/installation.ts'
import { crashRun, type Report } from './run.ts'

const help = `npm run crash -- [--minutes M] [--seed N] [--on postgres|pglite]

Runs a gateway, a vendor and callers, each gateway and vendor in a process of its own, and breaks them at random times:
the gateway is killed and paused, the vendor is killed, PostgreSQL is stopped at once and started again. At the end all
is healed, and the books are held against what callers heard and the vendor told: no call is charged for more than was
delivered, none twice, no stream loses more than 2 s and a tick when its gateway is killed, nothing else is lost, and
nothing stays held.

  --minutes M  how long faults are made (default 5)
  --seed N     of the faults and the calls (default: the time); when they fall is the machine's matter all the same
  --on KIND    the database: postgres or pglite (default: postgres)

Exit code: 0 if every guarantee held, 1 if one did not, 2 if the arguments cannot be used or the database is missing.
`

/** Breaches that are printed in full. */
const shown = 30

class UsageError extends Error {}

interface Options {
  readonly store: Store
  readonly minutes: number
  readonly seed: number
}

function read(args: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      on: { ...text, default: 'postgres' },
      minutes: { ...text, default: '5' },
      seed: { ...text, default: String(Date.now() % 2 ** 31) },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.on !== 'pglite' && values.on !== 'postgres') throw new UsageError('--on takes postgres or pglite')
  const why = missing(values.on)
  if (why !== undefined) throw new UsageError(why)
  const minutes = /^\d{1,4}(?:\.\d{1,3})?$/.test(values.minutes) ? Number(values.minutes) : 0
  if (minutes <= 0) throw new UsageError('--minutes takes a number above 0, at most 9999')
  if (!/^\d{1,10}$/.test(values.seed)) throw new UsageError('--seed takes a whole number')
  return { store: values.on, minutes, seed: Number(values.seed) }
}

function print(report: Report, { store, minutes, seed }: Options): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')
  const worst = `${printMoney(report.worstUnbilled)} USD, ${Math.round(report.worstUnbilledMs)} ms of a stream`
  const lines: readonly (readonly [string, string])[] = [
    ['run', `${minutes} min on ${store}, seed ${seed}`],
    ['faults', list(report.faults)],
    ['gateway processes', String(report.starts)],
    ['calls', String(report.calls)],
    ['endings', list(report.endings)],
    ['delivered tokens', String(report.deliveredTokens)],
    ['charged', `${printMoney(report.charged)} USD`],
    ['unbilled', `${printMoney(report.unbilled)} USD of ${report.unbilledStreams} killed streams`],
    ['worst unbilled', worst],
    ['charged, answer lost', String(report.lostAnswers)],
    ['overcharges', String(report.overcharges)],
    ['double charges', String(report.doubleCharges)],
    ['violations', String(report.breaches.length)],
  ]
  return lines.map(([name, value]) => `${name.padEnd(22)}${value}\n`).join('')
}

try {
  const options = read(process.argv.slice(2))
  if (options === 'help') process.stdout.write(help)
  else {
    const report = await crashRun({ ...options, progress: (line) => void process.stderr.write(`${line}\n`) })
    process.stdout.write(print(report, options))
    for (const breach of report.breaches.slice(0, shown)) process.stdout.write(`  ${breach}\n`)
    process.exitCode = report.breaches.length === 0 ? 0 : 1
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  if (isUsage) process.stderr.write('Try --help.\n')
  process.exitCode = isUsage ? 2 : 1
}
