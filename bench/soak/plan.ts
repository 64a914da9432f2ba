import { parseArgs } from 'node:util'
import type { Store } from '../contest/tollgate.ts'

/** What a soak is to do. */
export interface SoakPlan {
  /** It ends after so long, or after so many calls, whichever comes first. */
  readonly minutes: number
  readonly calls: number
  readonly store: Store
  /** Calls a second; undefined: a share of what the machine is found to sustain. */
  readonly rate: number | undefined
  readonly json: boolean
}

export interface Refusal {
  readonly text: string
  readonly code: number
}

const stores: readonly Store[] = ['pglite', 'postgres', 'redis']
const most = { minutes: 7 * 24 * 60, calls: 1_000_000_000, rate: 100_000 } as const

const usage = `npm run soak -- [options]

Calls one gateway for a long time at 70 % of what this machine sustains: JSON, long prompts, fast and paced streams, 5 %
of calls whose callers hang up, 2 % that the vendor breaks off, 1 % that it refuses. Prints memory, handles, open holds
and the delay of the event loop each minute, and at the end their slope and the drift of the books against what the
callers counted. Ends with 1 where there is drift, a call broke that should not, or memory goes on growing.

  --minutes N    how long (5)
  --calls N      ends when so many calls were made
  --on STORE     pglite, postgres or redis (pglite)
  --rate N       calls a second, in place of the 70 %
  --json         one object as the last line
  --help
`

const options = {
  minutes: { type: 'string' },
  calls: { type: 'string' },
  on: { type: 'string', default: 'pglite' },
  rate: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

/** What the arguments ask for, or a text to print in place of a soak. */
export function soakPlanOf(args: readonly string[]): SoakPlan | Refusal {
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true })
    if (values.help) return { text: usage, code: 0 }
    const { minutes, calls, rate, on, json } = values
    const store = stores.find((name) => name === on)
    if (!store) throw new RangeError(`--on must be one of ${stores.join(', ')}`)
    return {
      minutes: minutes === undefined ? (calls === undefined ? 5 : most.minutes) : number('minutes', minutes),
      calls: calls === undefined ? most.calls : number('calls', calls),
      store,
      rate: rate === undefined ? undefined : number('rate', rate),
      json,
    }
  } catch (error) {
    return { text: `${error instanceof Error ? error.message : String(error)}\n\n${usage}`, code: 2 }
  }
}

function number(name: keyof typeof most, text: string): number {
  const value = Number(text)
  if (!/^\d{1,10}(\.\d{1,3})?$/.test(text) || value === 0 || value > most[name])
    throw new RangeError(`--${name} must be a number above 0 and at most ${most[name]}`)
  return value
}
