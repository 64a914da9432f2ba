import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { root } from '../test/source.ts'
import { nodeProgram } from '../test/support/process.ts'
import { table } from '../test/support/table.ts'
import { type Contestant, entryOf, type Name } from './contest/contestants.ts'
import { canCount, familyOf, residentMb } from './contest/gauge.ts'
import { firstLoad, orderOf } from './contest/loads.ts'
import { type Plan, planOf } from './contest/plan.ts'
import { type Cores, partCores, pin, startProgram } from './contest/programs.ts'
import { costOf, printTables, ratiosOf, rowsOf } from './contest/report.ts'
import {
  call,
  type Generator,
  measure,
  type NoResult,
  type Runner,
  type Sample,
  startGenerator,
} from './contest/run.ts'
import { machine } from './options.ts'

/** The contest: what a billed call costs, next to calls that nobody bills, on one core of the same machine. */

const startMs = 20_000
const warmConnections = 16
/** Characters of what a contestant printed that are shown where it fails. */
const saidText = 1_000
/** What a run takes beside its calls: the books' check, and the memory. */
const besideMs = 300
const leastRunMs = 300
/** Of the load that most ratios are about. */
const leastFirstRunMs = 900

/** What is said for people goes to the output too, before the object that is its last line. */
function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

interface Started {
  readonly runners: readonly Runner[]
  /** Why those that were left out were. */
  readonly missing: ReadonlyMap<Name, string>
  /** Resolves when those that came too late are gone again. */
  readonly tidied: Promise<unknown>
}

interface Place {
  readonly generator: Generator
  readonly vendorUrl: string
  readonly cores: Cores
}

/** Starts all at once and warms each up. Who does not come up is left out. */
async function startAll(plan: Plan, { generator, vendorUrl, cores }: Place): Promise<Started> {
  const { fetchMs } = plan
  const runners = new Map<Name, Runner>()
  const missing = new Map<Name, string>()
  const tidying: Promise<void>[] = []
  await Promise.all(
    plan.names.map(async (name) => {
      try {
        const starting = entryOf(name).start({ vendorUrl, fetchMs, cores: cores.all })
        const contestant = await (entryOf(name).isNeeded ? starting : inTime(starting, plan.startWithinMs, tidying))
        const { pid } = contestant
        const idleMb = pid === undefined ? undefined : residentMb(pid)
        const runner: Runner = { name, contestant, idleMb, calls: 0, nanos: 0n }
        runners.set(name, runner)
        if (pid === undefined) return
        if (cores.alone !== undefined) pin(familyOf(pid), cores.alone)
        const order = { ...orderOf(firstLoad, plan.firstWarmUpMs), connections: warmConnections }
        const { calls, faults } = await call(generator, runner, order)
        if (calls === 0) throw new Error(`its first calls failed: ${faults[0]} ${contestant.said?.().slice(-saidText)}`)
      } catch (error) {
        missing.set(name, error instanceof Error ? error.message : String(error))
        await runners.get(name)?.contestant.stop()
        runners.delete(name)
      }
    }),
  )
  return { runners: plan.names.flatMap((name) => runners.get(name) ?? []), missing, tidied: Promise.all(tidying) }
}

/** Rejects when there is no contestant in time; one that comes later is stopped at once. */
async function inTime(starting: Promise<Contestant>, withinMs: number, tidying: Promise<void>[]): Promise<Contestant> {
  const end = new AbortController()
  const late = wait(withinMs, undefined, { signal: end.signal }).then(
    () => undefined,
    () => undefined,
  )
  const found = await Promise.race([starting, late]).finally(() => end.abort())
  if (found) return found
  const stopped = starting.then(
    (contestant) => contestant.stop(),
    () => undefined,
  )
  tidying.push(stopped)
  throw new Error(`it was not ready after ${withinMs / 1_000} s`)
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal))

interface Measured {
  readonly samples: Sample[]
  readonly none: NoResult[]
  /** Runs that there was no time for. */
  readonly late: string[]
}

interface Slot {
  readonly round: number
  readonly load: Plan['loads'][number]
  readonly runner: Runner
}

/** Every run, in its order: in each round another contestant comes first. */
function slotsOf(plan: Plan, runners: readonly Runner[]): readonly Slot[] {
  return Array.from({ length: plan.rounds }, (_, round) => round).flatMap((round) =>
    plan.loads.flatMap((load) => {
      const called = runners.filter(({ contestant }) => contestant.pid !== undefined || load.isTimed)
      const first = round % Math.max(1, called.length)
      return [...called.slice(first), ...called.slice(0, first)].map((runner) => ({ round, load, runner }))
    }),
  )
}

/** One line for each run, for who waits; apart from the output. */
function tell(found: Sample | NoResult): void {
  const { name, load, round } = found
  const what = 'why' in found ? found.why : `${found.figures.calls} calls, ${found.cpuUs?.toFixed(1) ?? '-'} µs`
  process.stderr.write(`round ${round + 1}, ${load.name}, ${name}: ${what}\n`)
}

async function measureAll(
  plan: Plan,
  { runners, generator, endMs }: { runners: readonly Runner[]; generator: Generator; endMs: number },
): Promise<Measured> {
  const counts = canCount()
  const slots = slotsOf(plan, runners)
  const measured: Measured = { samples: [], none: [], late: [] }
  for (const [at, { round, load, runner }] of slots.entries()) {
    if (stop.signal.aborted) break
    const leftMs = endMs - performance.now()
    const share = leftMs / (slots.length - at) - besideMs
    const isShort = share < plan.runMs + plan.warmUpMs
    const least = Math.min(plan.runMs, load === firstLoad ? leastFirstRunMs : leastRunMs)
    const runMs = isShort ? Math.max(least, Math.min(plan.runMs, share * 0.75)) : plan.runMs
    if (leftMs < runMs + besideMs + (load.streamMs ?? 0)) {
      measured.late.push(`${runner.name} under ${load.name}`)
      continue
    }
    // A stream that is paced lasts as long as it lasts: where time is short, each connection has one.
    const isOnce = load.streamMs !== undefined && plan.measureWithinMs !== undefined
    const found = await measure({
      generator,
      runner,
      round,
      counts,
      runMs,
      load: isOnce ? { ...load, isOnce: true } : load,
      warmUpMs: isShort ? runMs / 3 : plan.warmUpMs,
    })
    if ('why' in found) measured.none.push(found)
    else measured.samples.push(found)
    tell(found)
  }
  return measured
}

/** Asks the books of each that bills, when it has stopped, for all that was called. Gives what does not agree. */
async function settleUp(runners: readonly Runner[]): Promise<readonly string[]> {
  const told = await Promise.all(
    runners.map(async ({ name, contestant, calls, nanos }) => {
      if (!contestant.books) return []
      const found = await contestant.books.read()
      say(`${name}: ${found.calls} calls in the books, ${found.charged} nano-units, ${found.violations} violations`)
      return found.calls === BigInt(calls) && found.charged === nanos && found.violations === 0
        ? []
        : [`${name}: ${calls} calls were counted, ${nanos} nano-units`]
    }),
  )
  return told.flat()
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: root, encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

interface Outcome extends Measured {
  readonly started: Started
  /** The machine, and which of its cores are whose. */
  readonly on: string
  readonly pinning: string
  readonly after: ReadonlyMap<Name, number>
  readonly faults: readonly string[]
}

function memoryOf({ started, after }: Outcome): readonly { name: Name; idle_mb: number; after_mb: number }[] {
  return started.runners.flatMap(({ name, idleMb }) => {
    const afterMb = after.get(name)
    return idleMb === undefined || afterMb === undefined
      ? []
      : [{ name, idle_mb: Math.round(idleMb), after_mb: Math.round(afterMb) }]
  })
}

/** Whether all that is needed was there, and every run that bills agreed with the books. */
function report(plan: Plan, outcome: Outcome): boolean {
  const { samples, none, late, started, on, pinning, faults } = outcome
  const rows = rowsOf(samples, plan.loads, plan.names)
  const ratios = ratiosOf(samples)
  const { unit } = costOf(samples)
  const memory = memoryOf(outcome)
  say(`\n${printTables(rows, plan.loads)}`)
  say(
    table(
      ['resident memory', 'idle MB', 'after MB'],
      memory.map(({ name, idle_mb: idle, after_mb: after }) => [name, String(idle), String(after)]),
    ),
  )
  say(`\nratios of ${unit === 'cpu_us' ? 'CPU time' : 'instructions'}, the books' work included`)
  for (const [name, value] of Object.entries(ratios)) say(`  ${name.padEnd(26)} ${value ?? 'not measured'}`)
  for (const [name, why] of started.missing) say(`left out: ${name}: ${why}`)
  for (const { name, load, round, why } of none)
    say(`no result: ${name} under ${load.name}, round ${round + 1}: ${why}`)
  if (late.length > 0) say(`no time for: ${late.join(', ')}`)
  for (const fault of faults) say(`DRIFT: ${fault}`)
  const drift = none.filter(({ isDrift }) => isDrift).length + faults.length
  const isWell = drift === 0 && ![...started.missing.keys()].some((name) => entryOf(name).isNeeded)
  if (plan.json)
    say(
      JSON.stringify({
        ratios,
        ratios_of: unit,
        drift,
        machine: on,
        commit: commit(),
        pinning,
        memory,
        rows,
        left_out: Object.fromEntries(started.missing),
        no_result: none.map(({ name, load, round, why }) => ({ contestant: name, load: load.name, round, why })),
        late,
      }),
    )
  return isWell
}

async function contest(plan: Plan): Promise<boolean> {
  const on = machine()
  const cores = partCores()
  say(`${on}, commit ${commit()}; ${cores.why}`)
  const path = fileURLToPath(new URL('vendor.ts', import.meta.url))
  const vendor = startProgram({ command: nodeProgram, args: [path] })
  const generator = startGenerator()
  const [, port] = await vendor.says(/listening (\d+)/, startMs)
  const started = await startAll(plan, { generator, cores, vendorUrl: `http://127.0.0.1:${port}` })
  const { runners } = started
  say(`${runners.map(({ name }) => name).join(', ')} after ${(performance.now() / 1_000).toFixed(1)} s`)
  try {
    const endMs = plan.measureWithinMs ?? Number.MAX_SAFE_INTEGER
    const measured = await measureAll(plan, { runners, generator, endMs })
    await wait(plan.restMs)
    const after = new Map(
      runners.flatMap(({ name, contestant: { pid } }) => (pid === undefined ? [] : [[name, residentMb(pid)] as const])),
    )
    const isLate = performance.now() > (plan.readWithinMs ?? Number.MAX_SAFE_INTEGER)
    if (isLate) measured.late.push('another look at the books')
    const faults = isLate ? [] : await settleUp(runners)
    return report(plan, { ...measured, started, on, pinning: cores.why, after, faults })
  } finally {
    await Promise.all(runners.map(({ contestant }) => contestant.stop()))
    await Promise.all([generator.stop(), vendor.stop(), started.tidied])
  }
}

const plan = planOf(process.argv.slice(2))
if ('text' in plan) {
  ;(plan.code === 0 ? process.stdout : process.stderr).write(plan.text)
  process.exitCode = plan.code
} else process.exitCode = (await contest(plan)) ? 0 : 1
