import { parseArgs } from 'node:util'
import { limitAlgorithms } from '../../src/core/rate-limit.ts'
import { missing } from '../support/installation.ts'
import { table } from '../support/table.ts'
import { levels, wideLevels } from './levels.ts'
import { type Plan, type Row, runPlan, wholePlan } from './run.ts'

const help = `npm run limits -- [--only WORD,...] [--times N] [--json]

Starts three gateways in processes of their own on one PostgreSQL and one Redis, and a fake vendor, asks for many times
what each limit allows, and prints what was let in beside what should be: for every algorithm and every level, requests
and tokens by time, and calls at once; then a gateway that holds every slot is killed with kill -9, and the others must
get all of them. Takes about half an hour.

  --only WORD    algorithms and levels, with commas between them (default: all)
                 ${limitAlgorithms.join(', ')}
                 ${[...levels, ...wideLevels].join(', ')}
  --times N      calls for each that is allowed (default ${wholePlan.times})
  --json         the rows as JSON

Exit code: 0 if every limit held within 1 % or one call, 1 if not, 2 if the arguments cannot be used or a server is
missing.
`

class UsageError extends Error {}

function read(args: readonly string[]): { readonly plan: Plan; readonly json: boolean } | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: '' },
      times: { type: 'string', default: String(wholePlan.times) },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const why = missing('redis')
  if (why !== undefined) throw new UsageError(why)
  const times = /^[1-9]\d?$/.test(values.times) ? Number(values.times) : 0
  if (times < 2) throw new UsageError('--times takes a whole number from 2 to 99')
  const words = values.only.split(',').flatMap((word) => word.trim() || [])
  const known: readonly string[] = [...limitAlgorithms, ...wholePlan.levels]
  const unknown = words.find((word) => !known.includes(word))
  if (unknown !== undefined) throw new UsageError(`--only takes ${known.join(', ')}`)
  const some = <Word extends string>(all: readonly Word[]): readonly Word[] => {
    const chosen = all.filter((word) => words.includes(word))
    return chosen.length > 0 ? chosen : all
  }
  const plan = { ...wholePlan, algorithms: some(limitAlgorithms), levels: some(wholePlan.levels), times }
  return { plan, json: values.json }
}

function cells({ level, of, algorithm, offered, admitted, allowed, isKept, why = '' }: Row): readonly string[] {
  const share = `${((100 * admitted) / allowed).toFixed(2)} %`
  return [
    level,
    of,
    algorithm,
    String(offered),
    String(allowed),
    String(admitted),
    share,
    isKept ? 'kept' : 'MISSED',
    why,
  ]
}

async function run(plan: Plan, json: boolean): Promise<boolean> {
  const rows = await runPlan(plan, (row) => process.stderr.write(`${cells(row).join('  ')}\n`))
  const head = ['level', 'of', 'algorithm', 'offered', 'allowed', 'admitted', 'share', 'verdict', '']
  process.stdout.write(json ? `${JSON.stringify(rows, undefined, 2)}\n` : `${table(head, rows.map(cells))}\n`)
  const missed = rows.filter(({ isKept }) => !isKept).length
  if (!json) process.stdout.write(`${rows.length - missed} kept, ${missed} missed\n`)
  return missed === 0
}

try {
  const asked = read(process.argv.slice(2))
  if (asked === 'help') process.stdout.write(help)
  else process.exitCode = (await run(asked.plan, asked.json)) ? 0 : 1
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  if (isUsage) process.stderr.write('Try --help.\n')
  process.exitCode = isUsage ? 2 : 1
}
