import type { Catalog, Policies } from '../../src/core/catalog.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import type { KeyRow, Settings } from '../../src/ports.ts'
import { type Findings, judge } from './oracle.ts'
import { modelBooks } from './model-books.ts'
import { type Disk, type Hooks, type Replica, startReplica, type Weather } from './replica.ts'
import { type Plan, planCall, simClient, simSend, type Truth } from './traffic.ts'
import { beginningMs, createWorld, type World } from './world.ts'

/** Chances per virtual second that something breaks, and how badly. */
export interface Profile {
  readonly name: string
  readonly kill: number
  readonly pause: number
  readonly booksOutage: number
  readonly lostAnswers: number
  readonly hangUps: number
  readonly skew: number
  readonly topUps: number
  readonly revocations: number
}

const calm: Profile = {
  name: 'calm',
  kill: 0,
  pause: 0,
  booksOutage: 0,
  lostAnswers: 0,
  hangUps: 0,
  skew: 0,
  topUps: 0,
  revocations: 0,
}
export const profiles: readonly Profile[] = [
  calm,
  { ...calm, name: 'hang-ups', hangUps: 0.3 },
  { ...calm, name: 'kill', kill: 0.1, hangUps: 0.1 },
  { ...calm, name: 'pause', pause: 0.08, hangUps: 0.1 },
  { ...calm, name: 'outage', booksOutage: 0.05, hangUps: 0.1 },
  { ...calm, name: 'lost answers', lostAnswers: 0.1, hangUps: 0.1 },
  { ...calm, name: 'clock', skew: 0.1, hangUps: 0.1 },
  { ...calm, name: 'top-ups', topUps: 0.3, hangUps: 0.1 },
  { ...calm, name: 'revocations', revocations: 0.1, hangUps: 0.1 },
  { ...calm, name: 'kill and outage', kill: 0.1, booksOutage: 0.05, hangUps: 0.1 },
  {
    name: 'everything',
    kill: 0.1,
    pause: 0.05,
    booksOutage: 0.05,
    lostAnswers: 0.1,
    hangUps: 0.2,
    skew: 0.05,
    topUps: 0.1,
    revocations: 0.05,
  },
]

/** What the vendors that count too much count too much, at the price of output. */
const overflowNanos = 6_000n
/** An account whose key has a budget for the hour, in which all of it happens, and one whose key has few slots. */
const budgeted = 2
const budget = 1_000_000n
const limited = 3
const concurrency = 4
const chaosMs = 60_000
const healMs = 300_000
const accounts = 3
const prices = priceSet({
  currency: 'USD',
  nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
  discountPpm: fullPricePpm,
})
const settings: Settings = {
  replica: 'sim',
  bodyLimit: 1_000_000,
  answerLimit: 10_000_000,
  firstOutputTokens: 32,
  termMs: 30_000,
  checkpointMs: 2_000,
  stallMs: 60_000,
}
const catalogWith = (policies: Partial<Policies> = {}): Catalog => ({
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

export interface Result extends Findings {
  readonly seed: number
  readonly profile: string
  readonly events: number
}

/** One seed: chaos, healing, then the books are held against the truth. */
export async function simulate(seed: number, profile: Profile, hooks: Hooks = {}): Promise<Result> {
  const world = createWorld(seed)
  const books = modelBooks()
  for (let id = 1; id <= accounts; id++) {
    books.addAccount(
      { id, currency: 'USD', discountPpm: fullPricePpm, status: 'open' },
      BigInt(world.random.whole(1, 40)) * 100_000n,
    )
    books.addKey(keyRow(id))
  }
  const state: State = {
    world,
    books,
    profile,
    weather: { booksDown: false, lostAnswers: profile.lostAnswers, slowMs: 50 },
    disk: new Map(),
    skew: { skewMs: 0 },
    replica: undefined,
    truths: new Map(),
    plans: new Map(),
    problems: [],
    made: 0,
    pausedAtMs: 0,
    hooks,
    catalog: catalogWith(hooks.policies),
    isChaos: true,
    isStarting: false,
  }
  start(state)
  callers(state)
  faults(state)
  await world.runUntil(beginningMs + chaosMs)
  heal(state)
  await world.runUntil(beginningMs + chaosMs + healMs)
  const findings = judge({
    books,
    truths: state.truths,
    prices,
    unbilledBound: boundOf,
    overflow: (accountId) => overflowOf(state, accountId),
  })
  const left = await leftOver(state)
  findings.wrong.push(...state.problems, ...left, ...overBudget(state))
  return { ...findings, seed, profile: profile.name, events: world.events }
}

interface State {
  readonly world: World
  readonly books: ReturnType<typeof modelBooks>
  readonly profile: Profile
  readonly weather: Weather
  readonly disk: Disk
  readonly skew: { skewMs: number }
  replica: Replica | undefined
  readonly truths: Map<string, Truth>
  readonly plans: Map<string, Plan>
  readonly problems: string[]
  readonly hooks: Hooks
  readonly catalog: Catalog
  made: number
  pausedAtMs: number
  isChaos: boolean
  isStarting: boolean
}

function keyRow(id: number): KeyRow {
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

/** Two seconds of checkpoints, the tick that starts them, and what was under way; at the rate of the call's own vendor. */
function boundOf(truth: Truth): number {
  const { killedAtMs } = truth
  if (killedAtMs === undefined) return 0
  const recent = truth.deliveries.filter(({ atMs }) => atMs > killedAtMs - 2_600)
  const tokens = recent.reduce((sum, one) => sum + one.tokens, 0)
  // A call that was never checkpointed is reaped at zero, prompt and all.
  return tokens === truth.delivered ? tokens + truth.promptTokens : tokens
}

function start(state: State): void {
  const { world, books, weather, disk, skew, problems } = state
  if (state.isStarting) return
  state.isStarting = true
  const send = (owner: Parameters<typeof simSend>[1]) => simSend(world, owner, (body) => callOf(state, body))
  const onLog = (event: string, fields?: Readonly<Record<string, unknown>>) => {
    if (['assertion', 'unhandled', 'charge_failed', 'job_failed', 'internal_error'].includes(event))
      problems.push(`${event} ${JSON.stringify(fields)}`)
  }
  startReplica({
    world,
    books,
    weather,
    disk,
    send,
    catalog: () => state.catalog,
    settings,
    skew,
    onLog,
    hooks: state.hooks,
  }).then(
    (replica) => {
      state.isStarting = false
      state.replica = replica
    },
    () => {
      state.isStarting = false
      world.after(1_000, () => start(state))
    },
  )
}

function callOf({ truths, plans, problems }: State, body: string): { plan: Plan; truth: Truth } {
  const id = /call ([0-9a-f-]{36})/.exec(body)?.[1] ?? ''
  const plan = plans.get(id)
  const truth = truths.get(id)
  if (!plan || !truth) throw new Error('a vendor was called for nobody')
  if (truth.accountId === limited) {
    const busy = [...truths.values()].filter(({ accountId, atVendor }) => accountId === limited && atVendor).length
    if (busy >= concurrency) problems.push(`${busy + 1} calls at a time, of ${concurrency}`)
  }
  return { plan, truth }
}

/** Callers come at random, more of them than the accounts can pay for. */
function callers(state: State): void {
  const { world } = state
  if (!state.isChaos) return
  call(state)
  world.after(world.random.whole(50, 2_500), () => callers(state))
}

function call(state: State): void {
  const { world, replica, profile } = state
  const { random } = world
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
    refusal: undefined,
    atVendor: false,
  }
  state.truths.set(id, truth)
  state.plans.set(id, planCall(random, maxTokens))
  const client = simClient(world, replica.owner, { headers: { authorization: `Bearer key-${accountId}` }, body, truth })
  if (random.chance(profile.hangUps)) world.after(random.whole(1, 8_000), () => client.hangUp(), replica.owner)
  void replica.serve(client, truth)
}

function faults(state: State): void {
  const { world, profile } = state
  if (!state.isChaos) return
  const { random } = world
  if (random.chance(profile.kill)) kill(state)
  if (random.chance(profile.pause) && state.replica) {
    const { pausedUntilMs } = state.replica.owner
    if (pausedUntilMs <= world.nowMs) state.pausedAtMs = world.nowMs
    state.replica.owner.pausedUntilMs = Math.max(pausedUntilMs, world.nowMs + random.whole(100, 60_000))
    disturb(state)
  }
  if (random.chance(profile.booksOutage) && !state.weather.booksDown) {
    state.weather.booksDown = true
    world.after(random.whole(1_000, 40_000), () => {
      state.weather.booksDown = false
    })
  }
  if (random.chance(profile.skew)) state.skew.skewMs = random.whole(-5_000, 5_000)
  if (random.chance(profile.topUps)) topUp(state)
  if (random.chance(profile.revocations)) revoke(state)
  world.after(1_000, () => faults(state))
}

function topUp({ world, books, replica }: State): void {
  const accountId = world.random.whole(1, accounts)
  books.recharge(accountId, BigInt(world.random.whole(1, 20)) * 100_000n)
  replica?.gateway.ledger.spender.changed(accountId)
}

function revoke({ world, books, replica }: State): void {
  const id = world.random.whole(1, accounts)
  books.changeKey(id, { revokedAtMs: world.nowMs })
  replica?.gateway.auth.forget(id)
  world.after(world.random.whole(500, 5_000), () => {
    books.changeKey(id, { revokedAtMs: undefined })
    replica?.gateway.auth.forget(id)
  })
}

/** Every call that is not over when its process dies or stands still is disturbed. */
function disturb({ truths }: State): void {
  for (const truth of truths.values()) if (truth.refusal === undefined) truth.disturbed = true
}

function kill(state: State): void {
  const { world, replica } = state
  if (!replica?.owner.isAlive) return
  replica.kill()
  disturb(state)
  // A process that stood still when it was killed has done nothing since it was stopped.
  const lastMs = replica.owner.pausedUntilMs > world.nowMs ? state.pausedAtMs : world.nowMs
  for (const truth of state.truths.values()) {
    truth.killedAtMs ??= lastMs
    // Its connections broke with it.
    truth.atVendor = false
  }
  world.after(world.random.whole(100, 5_000), () => start(state))
}

function heal(state: State): void {
  state.isChaos = false
  state.weather.booksDown = false
  state.weather.lostAnswers = 0
  state.skew.skewMs = 0
  if (state.replica) state.replica.owner.pausedUntilMs = 0
  if (!state.replica?.owner.isAlive) start(state)
}

/** After healing nothing may be held, waiting, or unlike the books. */
async function leftOver(state: State): Promise<string[]> {
  const { replica, disk, books } = state
  if (!replica?.owner.isAlive) return ['no process came up again']
  const wrong: string[] = []
  if (disk.size > 0) wrong.push(`${disk.size} holds are left`)
  if (replica.gateway.ledger.live.size > 0) wrong.push(`${replica.gateway.ledger.live.size} calls still hold`)
  for (let id = 1; id <= accounts; id++) {
    const account = await replica.gateway.platform.shared.account(id)
    const purse = books.purseRows.get(id)
    for (const record of account?.purses ?? []) {
      if (record.held !== 0n) wrong.push(`account ${id} still holds ${record.held}`)
      const lease = books.leases.find((one) => one.id === record.lease)
      // A loan whose answer was lost is heard of with the next one: until then it lies idle.
      const isKnown = state.profile.lostAnswers === 0 && state.profile.booksOutage === 0
      const owed = lease && lease.amount - lease.consumed
      if (owed !== undefined && (isKnown ? owed !== record.available : owed < record.available))
        wrong.push(`account ${id}: engine has ${record.available}, the books ${owed}`)
    }
    const key = await replica.gateway.platform.shared.key(id, id)
    if (key && key.inFlight !== 0) wrong.push(`key ${id} still has ${key.inFlight} in flight`)
    if (purse && -purse.posted > overflowOf(state, id)) wrong.push(`account ${id} is overdrawn by ${-purse.posted}`)
  }
  return wrong
}

/** What a key has spent is within its budget, but for what vendors counted too much. */
function overBudget(state: State): string[] {
  const rows = [...state.books.rows.values()].flat().filter(({ record }) => record.accountId === budgeted)
  const spent = rows.reduce((sum, { charge }) => sum + charge, 0n)
  return spent > budget + overflowOf(state, budgeted) ? [`${spent} is spent of a budget of ${budget}`] : []
}

/** A vendor may count more than it was held for: the three tokens of "more", on the calls that were charged by it. */
function overflowOf({ truths, plans }: State, accountId: number): bigint {
  const over = [...truths.values()].filter(
    (truth) => truth.accountId === accountId && truth.vendorUsage && plans.get(truth.id)?.usage === 'more',
  )
  return BigInt(over.length) * overflowNanos
}
