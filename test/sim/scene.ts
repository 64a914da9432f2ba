import type { Catalog, Policies } from '../../src/core/catalog.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import type { PriceSet } from '../../src/core/price.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import type { KeyRow, Settings } from '../../src/ports.ts'
import type { modelBooks } from './model-books.ts'
import type { Profile } from './profiles.ts'
import { type Link, type SimRedis, simRedis } from './redis.ts'
import type { Disk, Hooks, Replica, Weather } from './replica.ts'
import type { Plan, Truth } from './traffic.ts'
import type { World } from './world.ts'

/** What the vendors that count too much count too much, at the highest price of output. */
export const overflowNanos = 12_000n
/** An account whose key has a budget for the hour, in which all of it happens, and one whose key has few slots. */
export const budgeted = 2
export const budget = 1_000_000n
export const limited = 3
export const concurrency = 4
export const chaosMs = 60_000
export const healMs = 300_000
export const accounts = 3
/** What the model costs at one time or another. */
export const priceSets = [2n, 1n, 4n].map((output) =>
  priceSet({
    currency: 'USD',
    nanos: { input: 1_000_000_000n, output: output * 1_000_000_000n },
    discountPpm: fullPricePpm,
  }),
)
export const settings: Settings = {
  replica: 'sim',
  bodyLimit: 1_000_000,
  answerLimit: 10_000_000,
  firstOutputTokens: 32,
  termMs: 30_000,
  checkpointMs: 2_000,
  stallMs: 60_000,
}
export const catalogWith = (prices: PriceSet, policies: Partial<Policies> = {}): Catalog => ({
  models: new Map([
    [
      'sim',
      {
        name: 'sim',
        targets: [{ vendor: 'sim', model: 'sim' }],
        prices,
        maxOutputTokens: 400,
        policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free', ...policies },
        createdAtMs: 0,
        provisioned: true,
      },
    ],
  ]),
  vendors: new Map([
    [
      'sim',
      {
        id: 'sim',
        adapter: 'openai',
        baseUrl: 'http://sim',
        apiKeys: ['key'],
        limits: { connectMs: 1_000, firstByteMs: 10_000, idleMs: 10_000, totalMs: 120_000 },
      },
    ],
  ]),
})

/** The place of one process: what outlives it, and the process of this moment. */
export interface Slot {
  readonly name: string
  readonly disk: Disk
  readonly skew: { skewMs: number }
  readonly link: Link
  replica: Replica | undefined
  isStarting: boolean
  pausedAtMs: number
}

export interface State {
  readonly world: World
  readonly books: ReturnType<typeof modelBooks>
  readonly profile: Profile
  readonly weather: Weather
  readonly redis: SimRedis | undefined
  readonly slots: readonly Slot[]
  readonly truths: Map<string, Truth>
  readonly plans: Map<string, Plan>
  readonly problems: string[]
  readonly hooks: Hooks
  /** The price sets that were in force, and since when. */
  readonly prices: { readonly fromMs: number; readonly set: PriceSet }[]
  /** When what a killed process had in flight may have had no second home. */
  readonly troubles: { readonly fromMs: number; readonly toMs: number }[]
  /** What was charged to loans that had been given back, by account. */
  readonly late: Map<number, bigint>
  /** When the reaper of the shared store has ended a call. */
  readonly reaped: ReadonlyMap<string, number>
  catalog: Catalog
  made: number
  isChaos: boolean
}

type Opening = Pick<State, 'world' | 'books' | 'profile' | 'hooks'>

export function stateOf({ world, books, profile, hooks }: Opening): State {
  const [first] = priceSets
  if (!first) throw new Error('no prices')
  const reaped = new Map<string, number>()
  const engine = noting(world, reaped, hooks.engine?.(decide) ?? decide)
  const slot = (_: unknown, at: number): Slot => ({
    name: `sim${at}`,
    disk: new Map(),
    skew: { skewMs: 0 },
    link: {
      cutUntilMs: 0,
      cuts: 'commands',
      lost: profile.network,
      twice: profile.network,
      slow: profile.network,
    },
    replica: undefined,
    isStarting: false,
    pausedAtMs: 0,
  })
  return {
    world,
    books,
    profile,
    weather: { booksDown: false, lostAnswers: profile.lostAnswers, slowMs: 50 },
    redis: profile.replicas > 0 ? simRedis(world, engine, hooks.redis) : undefined,
    slots: Array.from({ length: Math.max(1, profile.replicas) }, slot),
    truths: new Map(),
    plans: new Map(),
    problems: [],
    hooks,
    prices: [{ fromMs: 0, set: first }],
    troubles: [],
    late: new Map(),
    reaped,
    catalog: catalogWith(first, hooks.policies),
    made: 0,
    isChaos: true,
  }
}

/** The engine, and beside it when it has ended a call for a process that did not. */
function noting(world: World, reaped: Map<string, number>, engine: typeof decide): typeof decide {
  return (records, command, nowMs) => {
    const decision = engine(records, command, nowMs)
    if (command.type === 'reap' && decision.reply.code === 'ok') reaped.set(command.id, world.nowMs)
    return decision
  }
}

export function keyRow(id: number): KeyRow {
  return {
    id,
    publicId: `key${id}`,
    kind: 'master',
    accountId: id,
    parentId: undefined,
    name: '',
    hash: `key-${id}`,
    version: 1,
    models: undefined,
    budgets: id === budgeted ? [{ limit: budget, window: 'hour' }] : [],
    requestsPerMinute: undefined,
    concurrency: id === limited ? concurrency : undefined,
    expiresAtMs: undefined,
    revokedAtMs: undefined,
  }
}
