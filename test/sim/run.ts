import { fullPricePpm } from '../../src/core/price-set.ts'
import type { PriceSet } from '../../src/core/price.ts'
import { faults, heal, keepHouse } from './faults.ts'
import { leftOver, overBudget, overdraftOf, unfenced } from './left-over.ts'
import { modelBooks } from './model-books.ts'
import { type Findings, judge } from './oracle.ts'
import type { Profile } from './profiles.ts'
import type { Hooks } from './replica.ts'
import { accounts, chaosMs, healMs, keyRow, type State, stateOf } from './scene.ts'
import { start } from './slots.ts'
import { planCall, simClient, type Truth } from './traffic.ts'
import { beginningMs, createWorld } from './world.ts'

export interface Result extends Findings {
  readonly seed: number
  readonly profile: string
  readonly events: number
}

/** One seed: chaos, healing, then the books are held against the truth. */
export async function simulate(seed: number, profile: Profile, hooks: Hooks = {}): Promise<Result> {
  const world = createWorld(seed)
  const books = modelBooks({ now: () => world.nowMs })
  for (let id = 1; id <= accounts; id++) {
    books.addAccount(
      { id, currency: 'USD', discountPpm: fullPricePpm, status: 'open' },
      BigInt(world.random.whole(1, 40)) * 100_000n,
    )
    books.addKey(keyRow(id))
  }
  const state = stateOf({ world, books, profile, hooks })
  for (const slot of state.slots) start(state, slot)
  callers(state)
  faults(state)
  keepHouse(state)
  await world.runUntil(beginningMs + chaosMs)
  heal(state)
  await world.runUntil(beginningMs + chaosMs + healMs)
  const findings = judge({
    books,
    truths: state.truths,
    pricesOf: (truth) => pricesOf(state, truth),
    unbilledBound: (truth) => boundOf(state, truth),
    overflow: (accountId) => overdraftOf(state, accountId),
  })
  const left = await leftOver(state)
  findings.wrong.push(...state.problems, ...left, ...overBudget(state), ...unfenced(state))
  return { ...findings, seed, profile: profile.name, events: world.events }
}

/**
 * Two seconds of checkpoints, the tick that starts them, and what was under way; at the rate of the call's own vendor.
 * Where messages are lost, some checkpoints more. All of it where the process died while its holds had no second home.
 */
function boundOf({ profile, troubles }: State, truth: Truth): number {
  const { killedAtMs, startedAtMs, delivered, promptTokens, vendorUsage } = truth
  if (killedAtMs === undefined) return 0
  const all = Math.max(delivered, vendorUsage?.completion ?? 0) + promptTokens
  const isAlone = troubles.some(({ fromMs, toMs }) => fromMs <= killedAtMs + reapedMs && toMs >= startedAtMs)
  if (isAlone) return all
  const windowMs = profile.network > 0 ? 10_600 : profile.replicas > 0 ? 3_000 : 2_600
  const recent = truth.deliveries.filter(({ atMs }) => atMs > killedAtMs - windowMs)
  const tokens = recent.reduce((sum, one) => sum + one.tokens, 0)
  // A call that was never checkpointed is reaped at zero, prompt and all.
  return tokens === delivered ? all : tokens
}

/** By then another process has ended the calls of one that was killed. */
const reapedMs = 45_000

/** Sets that may be pinned by a call: those in force between its start and its admission. */
function pricesOf({ prices }: State, { startedAtMs }: Truth): readonly PriceSet[] {
  const admittedMs = startedAtMs + 90_000
  return prices
    .filter(({ fromMs }, at) => fromMs <= admittedMs && (prices[at + 1]?.fromMs ?? Infinity) >= startedAtMs)
    .map(({ set }) => set)
}

/** Callers come at random, more of them than the accounts can pay for. */
function callers(state: State): void {
  const { world } = state
  if (!state.isChaos) return
  call(state)
  world.after(world.random.whole(50, 2_500), () => callers(state))
}

function call(state: State): void {
  const { world, slots, profile } = state
  const { random } = world
  const { replica } = random.pick(slots)
  if (!replica?.owner.isAlive) return
  const accountId = random.whole(1, accounts)
  const id = replica.gateway.platform.crypto
    .uuidv7(world.nowMs)
    .replace(/.{6}$/, (++state.made).toString(16).padStart(6, '0'))
  const promptSize = random.whole(1, 60)
  const maxTokens = random.whole(1, 300)
  const stream = random.chance(0.7)
  const body = {
    model: 'sim',
    stream,
    max_tokens: maxTokens,
    messages: [{ role: 'user', content: `call ${id} ${'~p'.repeat(promptSize)}` }],
    ...(random.chance(0.5) && stream && { stream_options: { include_usage: true } }),
  }
  // Three for the message, three for the answer; the role has no tilde.
  const truth: Truth = {
    id,
    accountId,
    promptTokens: promptSize + 6,
    stream,
    maxTokens,
    startedAtMs: world.nowMs,
    delivered: 0,
    deliveries: [],
    vendorUsage: undefined,
    status: undefined,
    sawEnd: false,
    sawError: false,
    hungUpAtMs: undefined,
    disturbed: false,
    killedAtMs: undefined,
    servedBy: replica.owner,
    refusal: undefined,
    atVendor: false,
  }
  state.truths.set(id, truth)
  state.plans.set(id, planCall(random, maxTokens))
  const client = simClient(world, replica.owner, { headers: { authorization: `Bearer key-${accountId}` }, body, truth })
  if (random.chance(profile.hangUps)) world.after(random.whole(1, 8_000), () => client.hangUp(), replica.owner)
  void replica.serve(client, truth)
}
