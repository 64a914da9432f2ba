import { parseArgs } from 'node:util'
import { contestants, entryOf, type Name, names } from './contestants.ts'
import { type Load, loads } from './loads.ts'

/** What a contest is to do. */
export interface Plan {
  readonly names: readonly Name[]
  readonly loads: readonly Load[]
  readonly rounds: number
  /** Of a measured run; a quick contest takes shorter ones where the time is short. */
  readonly runMs: number
  /** How long each contestant is called before anything is measured, and before each of its runs. */
  readonly firstWarmUpMs: number
  readonly warmUpMs: number
  /** How long a contestant may take to come from its registry. */
  readonly fetchMs: number
  /** One that starts later than this after it was told to is left out, if the contest can do without it. */
  readonly startWithinMs: number
  /** No run begins so many ms after the start; undefined for no bound. */
  readonly measureWithinMs: number | undefined
  /** Later than this the books are not read once more after the gateways have stopped. */
  readonly readWithinMs: number | undefined
  /** How long all is left alone before the memory is read that it keeps. */
  readonly restMs: number
  readonly json: boolean
}

const most = { rounds: 50, seconds: 120 } as const

const usage = `npm run bench -- [options]

Calls gateways and proxies over loopback with the same loads, one after another in each of several rounds, and prints
the medians and how they compare. After each run the books are held against what the load generator counted: a run
with drift is no result, and ends the command with 1.

  --quick          one short round of the loads that matter most; ends within 60 s
  --only NAMES     of the contestants, with commas between them
  --loads NAMES    of the loads, with commas between them
  --rounds N       how often each is measured (3, quick 1)
  --seconds N      how long each measured run lasts (4, quick 1 at most)
  --json           one object as the last line
  --help

contestants
${names.map((name) => `  ${name.padEnd(16)} ${contestants[name].about}\n`).join('')}
loads
${loads.map(({ name, about }) => `  ${name.padEnd(16)} ${about}\n`).join('')}`

const options = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  loads: { type: 'string' },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** Text to print in place of a contest. */
export interface Refusal {
  readonly text: string
  readonly code: number
}

/** What the arguments ask for. */
export function planOf(args: readonly string[]): Plan | Refusal {
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true })
    return values.help ? { text: usage, code: 0 } : planned(values)
  } catch (error) {
    return { text: `${error instanceof Error ? error.message : String(error)}\n\n${usage}`, code: 2 }
  }
}

interface Asked {
  readonly quick: boolean
  readonly json: boolean
  readonly only?: string
  readonly loads?: string
  readonly rounds?: string
  readonly seconds?: string
}

function planned({ quick, json, ...asked }: Asked): Plan {
  const usual = names.filter((name) => !quick || !entryOf(name).isExtra)
  const usualLoads = loads.filter(({ isLong }) => !quick || !isLong)
  const runMs = number('seconds', asked.seconds ?? (quick ? '1' : '4'), { pattern: /^\d{1,3}(\.\d{1,3})?$/ }) * 1_000
  return {
    names: asked.only === undefined ? usual : picked('contestant', names, asked.only),
    loads: asked.loads === undefined ? usualLoads : pickedLoads(asked.loads),
    rounds: number('rounds', asked.rounds ?? (quick ? '1' : '3'), { pattern: /^[1-9]\d?$/ }),
    runMs,
    // Below some 20,000 calls a process of Node is not as fast as it gets.
    firstWarmUpMs: Math.min(quick ? 1_500 : 10_000, runMs * 3),
    warmUpMs: Math.min(1_000, runMs / 4),
    fetchMs: quick ? 15_000 : 120_000,
    startWithinMs: quick ? 30_000 : 180_000,
    measureWithinMs: quick ? 44_000 : undefined,
    readWithinMs: quick ? 50_000 : undefined,
    restMs: Math.min(quick ? 500 : 10_000, runMs * 3),
    json,
  }
}

function number(name: keyof typeof most, text: string, { pattern }: { pattern: RegExp }): number {
  const value = Number(text)
  if (!pattern.test(text) || value === 0 || value > most[name])
    throw new RangeError(`--${name} must be a number above 0 and at most ${most[name]}`)
  return value
}

function picked<T extends string>(what: string, known: readonly T[], text: string): readonly T[] {
  const asked = text.split(',')
  const unknown = asked.filter((name) => !known.some((one) => one === name))
  if (unknown.length > 0) throw new RangeError(`there is no ${what} ${unknown.join(', ')}`)
  return known.filter((name) => asked.includes(name))
}

function pickedLoads(text: string): readonly Load[] {
  const chosen = picked(
    'load',
    loads.map(({ name }) => name),
    text,
  )
  return loads.filter(({ name }) => chosen.includes(name))
}
