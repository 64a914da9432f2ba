import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { mutants } from './mutants.ts'
import { profiles } from './profiles.ts'
import { type Result, simulate } from './run.ts'

const help = `npm run sim -- [--seeds N] [--first S] [--profile NAME] [--mutants]

Runs the gateway's own core against simulated vendors, callers and a database, under virtual time and every kind of
fault, and holds the books against what was seen from outside. A seed is a world: it always ends the same.

  --seeds N       worlds, spread over the profiles (default 200)
  --first S       the first seed (default 1)
  --profile NAME  only this one: ${profiles.map(({ name }) => name).join(', ')}
  --mutants       breaks the protocol in ${mutants.length} ways, and fails unless each is noticed
`

/** Seeds that a mutant has to be noticed in. */
const mutantSeeds = 40
/** Failures that are printed in full. */
const shown = 10

interface Task {
  readonly seed: number
  readonly profile: string
}

const profileNamed = (name: string) => {
  const profile = profiles.find((one) => one.name === name)
  if (!profile) throw new RangeError(`there is no profile "${name}"`)
  return profile
}

async function work(tasks: readonly Task[], report: (result: Result) => void): Promise<void> {
  for (const { seed, profile } of tasks) report(await simulate(seed, profileNamed(profile)))
}

/** Shares the worlds out to one thread a core. */
function runAll(tasks: readonly Task[], report: (result: Result) => void): Promise<unknown> {
  const threads = Math.max(1, Math.min(availableParallelism(), tasks.length))
  const shares = Array.from({ length: threads }, (_, at) => tasks.filter((__, index) => index % threads === at))
  return Promise.all(
    shares.map(
      (share) =>
        new Promise<void>((resolve, reject) => {
          const worker = new Worker(new URL(import.meta.url), { workerData: share })
          worker.on('message', report)
          worker.once('error', reject)
          worker.once('exit', () => resolve())
        }),
    ),
  )
}

interface Row {
  worlds: number
  calls: number
  served: number
  tokens: number
  unbilled: number
  worst: number
  over: number
  twice: number
  bad: number
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    // Outside of a checkout there is no commit to name.
    return 'unknown'
  }
}

async function runSeeds(tasks: readonly Task[]): Promise<boolean> {
  const rows = new Map<string, Row>()
  let failures = 0
  let done = 0
  const startedAt = Date.now()
  await runAll(tasks, (result) => {
    const row = rows.get(result.profile) ?? {
      worlds: 0,
      calls: 0,
      served: 0,
      tokens: 0,
      unbilled: 0,
      worst: 0,
      over: 0,
      twice: 0,
      bad: 0,
    }
    rows.set(result.profile, row)
    row.worlds++
    row.calls += result.calls
    row.served += result.served
    row.tokens += result.deliveredTokens
    row.unbilled += Number(result.unbilled)
    row.worst = Math.max(row.worst, result.worstUnbilledTokens)
    row.over += result.overcharges
    row.twice += result.doubleCharges
    if (result.wrong.length > 0) {
      row.bad++
      if (++failures <= shown)
        console.log(
          `FAILED seed ${result.seed}, profile "${result.profile}", commit ${commit()}\n  ${result.wrong.slice(0, 5).join('\n  ')}\n  again: npm run sim -- --seeds 1 --first ${result.seed} --profile "${result.profile}"`,
        )
    }
    if (++done % 200 === 0)
      process.stderr.write(`${done} of ${tasks.length} worlds, ${Math.round((Date.now() - startedAt) / 1000)} s\n`)
  })
  const columns = [
    'profile',
    'worlds',
    'calls',
    'served',
    'tokens delivered',
    'unbilled nano',
    'worst call, tokens',
    'overcharges',
    'double charges',
    'worlds that failed',
  ]
  console.log(
    [
      columns,
      ...[...rows]
        .toSorted(([a], [b]) => a.localeCompare(b))
        .map(([name, row]) => [
          name,
          row.worlds,
          row.calls,
          row.served,
          row.tokens,
          row.unbilled,
          row.worst,
          row.over,
          row.twice,
          row.bad,
        ]),
    ]
      .map((cells) => cells.join('\t'))
      .join('\n'),
  )
  console.log(`${tasks.length - failures} passed, ${failures} failed`)
  return failures === 0
}

async function runMutants(): Promise<boolean> {
  let survived = 0
  for (const { name, profile, hooks } of mutants) {
    let caught: string | undefined
    for (let seed = 1; seed <= mutantSeeds && caught === undefined; seed++) {
      const { wrong } = await simulate(seed, profileNamed(profile), hooks)
      if (wrong[0] !== undefined) caught = `seed ${seed}: ${wrong[0].slice(0, 100)}`
    }
    if (caught === undefined) survived++
    console.log(
      `${caught === undefined ? 'SURVIVED' : 'caught  '} ${name}${caught === undefined ? '' : ` (${caught})`}`,
    )
  }
  console.log(`${mutants.length - survived} passed, ${survived} failed`)
  return survived === 0
}

function wholeNumber(text: string, name: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new RangeError(`--${name} takes a whole number from 1`)
  return Number(text)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '200' },
      first: { type: 'string', default: '1' },
      profile: { type: 'string' },
      mutants: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return
  }
  const chosen = values.profile === undefined ? profiles : [profileNamed(values.profile)]
  const count = wholeNumber(values.seeds, 'seeds')
  const first = wholeNumber(values.first, 'first')
  const tasks = Array.from({ length: count }, (_, at) => ({
    seed: first + Math.floor(at / chosen.length),
    profile: chosen[at % chosen.length]?.name ?? 'calm',
  }))
  const isGood = values.mutants ? await runMutants() : await runSeeds(tasks)
  process.exitCode = isGood ? 0 : 1
}

if (isMainThread) {
  try {
    await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    console.error(help)
    process.exitCode = 2
  }
} else {
  await work(workerData as Task[], (result) => parentPort?.postMessage(result))
}
