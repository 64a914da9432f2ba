import { parseArgs } from 'node:util'
import { printMoney } from '../../src/core/money.ts'
import { missing, type Store } from '../support/installation.ts'
import type { Report } from './report.ts'
import { crashRun } from './run.ts'

const help = `npm run crash -- [--minutes M] [--gateways N] [--seed N] [--on postgres|pglite]

Runs gateways on one PostgreSQL and one Redis, a vendor and callers, and breaks them at random times: gateways are killed
and paused, some for longer than a hold's term; the vendor is killed; Redis is killed with its data and without, paused
and flushed; PostgreSQL is stopped at once and started again. At the end all is healed, and the books are held against
what callers heard and the vendor told: no call is charged for more than was delivered, none twice, no stream loses more
than 2 s and a tick when its gateway is killed, unless Redis fails in the same seconds, nothing else is lost, nothing
stays held, and all that was lent comes back.

  --minutes M   how long faults are made (default 5)
  --gateways N  how many (default 3); one runs without Redis
  --seed N      of the faults and the calls (default: the time); when they fall is the machine's matter all the same
  --on KIND     the database of a single gateway: postgres or pglite (default: postgres)

Exit code: 0 if every guarantee held, 1 if one did not (what is needed to look into it is printed and kept), 2 if the
arguments cannot be used or a server is missing.
`

/** Breaches that are printed in full. */
const shown = 30
const mostGateways = 9

class UsageError extends Error {}

interface Options {
  readonly store: Store
  readonly gateways: number
  readonly minutes: number
  readonly seed: number
}

function read(args: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      on: { ...text, default: 'postgres' },
      gateways: { ...text, default: '3' },
      minutes: { ...text, default: '5' },
      seed: { ...text, default: String(Date.now() % 2 ** 31) },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.on !== 'pglite' && values.on !== 'postgres') throw new UsageError('--on takes postgres or pglite')
  const gateways = /^[1-9]$/.test(values.gateways) ? Number(values.gateways) : 0
  if (gateways < 1) throw new UsageError(`--gateways takes a whole number from 1 to ${mostGateways}`)
  if (gateways > 1 && values.on === 'pglite') throw new UsageError('PGlite serves one gateway: add --gateways 1')
  const store = gateways > 1 ? 'redis' : values.on
  const why = missing(store)
  if (why !== undefined) throw new UsageError(why)
  const minutes = /^\d{1,4}(?:\.\d{1,3})?$/.test(values.minutes) ? Number(values.minutes) : 0
  if (minutes <= 0) throw new UsageError('--minutes takes a number above 0, at most 9999')
  if (!/^\d{1,10}$/.test(values.seed)) throw new UsageError('--seed takes a whole number')
  return { store, gateways, minutes, seed: Number(values.seed) }
}

const names: Readonly<Record<Store, string>> = {
  pglite: 'PGlite',
  postgres: 'PostgreSQL',
  redis: 'PostgreSQL and Redis',
}

function list(counts: Readonly<Record<string, number>>): string {
  const told = Object.entries(counts)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${count} ${name}`)
  return told.length === 0 ? 'none' : told.join(', ')
}

function print(report: Report, { store, gateways, minutes, seed }: Options): string {
  const usd = (nanos: bigint) => `${printMoney(nanos)} USD`
  const lines: readonly (readonly [string, string])[] = [
    ['run', `${minutes} min, ${gateways} ${gateways === 1 ? 'gateway' : 'gateways'} on ${names[store]}, seed ${seed}`],
    ['faults', list(report.faults)],
    ['gateway processes', String(report.starts)],
    ['calls', String(report.calls)],
    ['served', String(report.served)],
    ['refused', list(report.refused)],
    ['other endings', list(report.endings)],
    ['delivered tokens', String(report.deliveredTokens)],
    ['charged', usd(report.charged)],
    ['overcharges', String(report.overcharges)],
    ['double charges', String(report.doubleCharges)],
    ['unbilled', `${usd(report.unbilled)} of ${report.unbilledCalls} calls of killed gateways`],
    ['worst unbilled', `${usd(report.worstUnbilled)}, ${Math.round(report.worstUnbilledMs)} ms of a stream`],
    ['killed beside Redis', `${usd(report.exposed)} unbilled of ${report.exposedCalls} calls`],
    ['charged, answer lost', String(report.lostAnswers)],
    ['late adjustments', `${usd(report.late)} of ${report.lateCalls} calls`],
    ['worst overdraft', usd(report.worstOverdraft)],
    ['drift of Redis', `${usd(report.driftOver)} over, ${usd(report.driftUnder)} under`],
    ['settled', `${(report.settledMs / 1_000).toFixed(1)} s after the last call`],
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
    if (report.evidence !== undefined) process.stdout.write(`Calls, faults and logs are in ${report.evidence}.\n`)
    process.exitCode = report.breaches.length === 0 ? 0 : 1
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  if (isUsage) process.stderr.write('Try --help.\n')
  process.exitCode = isUsage ? 2 : 1
}
