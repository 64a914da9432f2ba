import { limitAlgorithms, type LimitAlgorithm, type RateLimit } from '../../src/core/rate-limit.ts'
import { type Estate, newEstate } from '../process/estate.ts'
import { askerOf, configOf, strangerOf, type Level, levels, type Limit, wideLevels } from './levels.ts'
import { type HoldingVendor, overload, type Overloaded, startHoldingVendor, tokensOfCall } from './load.ts'
import { fill, type Filled, killHolder } from './slots.ts'

/** Every limit under ten times what it allows, over three gateways in processes of their own on one Redis. */

const gatewayCount = 3
/** Without it a gateway that is late on a busy machine takes Redis for away and counts alone, as it is meant to. */
export const patient = { REDIS_COMMAND_MS: '10000' }
/** A limit may be missed by so much, or by one call where that is more. */
const tolerance = 0.01

export interface Plan {
  readonly algorithms: readonly LimitAlgorithm[]
  readonly levels: readonly Level[]
  /** Calls in a window of the levels that are tried together, and of those that are tried alone. */
  readonly calls: number
  readonly wideCalls: number
  /** How many times as many are sent. */
  readonly times: number
  /**
   * For how many windows; of sliding ones it must be whole ones. At the end each gateway may have too little for a call:
   * only among some hundreds of calls are three of them less than one in a hundred.
   */
  readonly windows: Readonly<Record<LimitAlgorithm, number>>
  readonly wideWindows: Readonly<Record<LimitAlgorithm, number>>
  readonly slots: number
}

export const wholePlan: Plan = {
  algorithms: limitAlgorithms,
  levels: [...levels, ...wideLevels],
  calls: 150,
  wideCalls: 400,
  times: 10,
  windows: { token_bucket: 3, leaky_bucket: 4, sliding_window: 4 },
  wideWindows: { token_bucket: 0.25, leaky_bucket: 1, sliding_window: 1 },
  slots: 12,
}

export interface Row {
  readonly level: Level
  readonly of: string
  /** Or what was done with calls at once. */
  readonly algorithm: string
  readonly offered: number
  readonly admitted: number
  readonly allowed: number
  readonly isKept: boolean
  readonly why?: string
}

/** Tries a plan; `say` hears of each row as it comes. */
export async function runPlan(plan: Plan, say: (row: Row) => void): Promise<readonly Row[]> {
  const vendor = await startHoldingVendor()
  const estate = await newEstate(vendor.url, 0, { env: patient })
  const rows: Row[] = []
  const note = (more: readonly Row[]): void => {
    rows.push(...more)
    more.forEach(say)
  }
  try {
    const narrow = plan.levels.filter((level) => !isWide(level))
    const wide = plan.levels.filter(isWide)
    const stage: Stage = { plan, estate, vendor }
    const parts = [...(narrow.length > 0 ? [narrow] : []), ...wide.map((level) => [level])]
    for (const algorithm of plan.algorithms) {
      for (const part of parts) note(await undisturbed(stage, () => tryRates(stage, algorithm, part)))
    }
    for (const part of parts) note(await undisturbed(stage, () => trySlots(stage, part)))
  } finally {
    await estate.remove()
    await vendor.close()
  }
  return rows
}

const isWide = (level: Level): boolean => wideLevels.some((each) => each === level)

interface Stage {
  readonly plan: Plan
  readonly estate: Estate
  readonly vendor: HoldingVendor
}

/** What a gateway says when it takes Redis for away: from then on it counts alone, as it is meant to. */
const alone = /"event":"(?:redis_unreachable|limits_alone)"/g
const mostTries = 3

/** How often gateways have counted alone. */
function timesAlone({ gateways }: Estate): number {
  return gateways.reduce((sum, { out }) => sum + (out().match(alone)?.length ?? 0), 0)
}

/** On a machine that is too busy to answer in time nothing is learnt about limits: then it is tried again. */
async function undisturbed({ estate }: Stage, attempt: () => Promise<readonly Row[]>): Promise<readonly Row[]> {
  for (let n = 1; ; n++) {
    const rows = await attempt()
    const times = timesAlone(estate)
    if (rows.every(({ isKept }) => isKept) || times === 0) return rows
    if (n === mostTries) return rows.map((row) => ({ ...row, why: `Redis was late ${times} times` }))
  }
}

/** Starts the gateways anew, with these limits. */
async function restart({ estate, vendor }: Stage, limits: readonly Limit[], wide: Level | undefined): Promise<void> {
  await Promise.all(estate.gateways.map((gateway) => gateway.kill('SIGTERM')))
  await estate.redis.send('FLUSHALL')
  estate.configure(configOf(vendor.url, limits, wide))
  for (let at = 0; at < gatewayCount; at++) await estate.start(at)
}

async function tryRates(stage: Stage, algorithm: LimitAlgorithm, tried: readonly Level[]): Promise<readonly Row[]> {
  const { plan, estate } = stage
  const wide = tried.find(isWide)
  const calls = wide ? plan.wideCalls : plan.calls
  const rows: Overloaded[] = []
  // What binds every call is tried for requests and for tokens apart.
  for (const things of wide ? ([['requests'], ['tokens']] as const) : ([['requests', 'tokens']] as const)) {
    const limits = things.map((of) => rateOf(algorithm, of, calls))
    await restart(stage, limits, wide)
    const pairs = tried.flatMap((level) => limits.map((limit) => ({ level, limit })))
    const askers = await Promise.all(pairs.map(({ level, limit }) => askerOf(estate, level, limit)))
    const windows = (wide ? plan.wideWindows : plan.windows)[algorithm]
    const { gateways } = estate
    const stranger = await strangerOf(estate)
    const forget = () => forgetShares(estate)
    rows.push(...(await overload({ gateways, askers, stranger, limits, calls, times: plan.times, windows, forget })))
  }
  return rows.map((row) => judged(row, algorithm))
}

/** The shares that are lent of limits over accounts lie under these names, see core/cell.ts. */
export async function forgetShares({ redis }: Estate): Promise<void> {
  const names = (await redis.send('KEYS', 's:*')) as readonly string[]
  if (names.length > 0) await redis.send('DEL', ...names)
}

function rateOf(algorithm: LimitAlgorithm, of: RateLimit['of'], calls: number): RateLimit {
  // A call reserves a little more than it has: without that much to spare the last one would never fit.
  const limit = of === 'tokens' ? calls * tokensOfCall + tokensOfCall / 4 : calls
  return { of, window: 'minute', algorithm, limit }
}

export function judged(overloaded: Overloaded, algorithm: string): Row {
  const { asker, offered, admitted, allowed, mostAllowed, grain, odd } = overloaded
  const { level, of } = asker
  const spare = Math.max(allowed * tolerance, grain)
  const isKept = odd.length === 0 && admitted >= allowed - spare && admitted <= mostAllowed + spare
  const why = odd.length > 0 ? { why: `also answered: ${[...new Set(odd)].join(', ')}` } : {}
  return { level, of, algorithm, offered: offered * grain, admitted, allowed, isKept, ...why }
}

async function trySlots(stage: Stage, tried: readonly Level[]): Promise<readonly Row[]> {
  const { plan, estate, vendor } = stage
  const limit: Limit = { of: 'concurrency', limit: plan.slots }
  await restart(stage, [limit], tried.find(isWide))
  const { gateways } = estate
  const askers = await Promise.all(tried.map((level) => askerOf(estate, level, limit)))
  const scene = { vendor, gateways, limit: plan.slots, times: plan.times }
  const rows: Row[] = []
  for (const asker of askers) rows.push(judgedSlots(await fill(asker, scene), 'at once', scene))
  const killed = await killHolder(estate, askers, { ...scene, times: 1 })
  return [...rows, ...killed.map((filled) => judgedSlots(filled, 'after kill -9', scene))]
}

function judgedSlots(
  { asker, held, most, ms }: Filled,
  algorithm: string,
  { limit, times }: { readonly limit: number; readonly times: number },
): Row {
  const isKept = held === limit && most === limit
  const why = ms === undefined ? 'never used up' : `used up after ${(ms / 1_000).toFixed(1)} s`
  return {
    level: asker.level,
    of: asker.of,
    algorithm,
    offered: limit * times,
    admitted: most,
    allowed: limit,
    isKept,
    why,
  }
}
