import type { Catalog, Policies } from '../../src/core/catalog.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import type { PriceSet } from '../../src/core/price.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import type { KeyRow, Settings } from '../../src/ports.ts'
import { type Findings, judge } from './oracle.ts'
import { modelBooks } from './model-books.ts'
import { isRedisShaky, type Profile } from './profiles.ts'
import { type Link, redisSpender, type SimRedis, simRedis } from './redis.ts'
import { type Disk, type Hooks, type Replica, startReplica, type Weather } from './replica.ts'
import { type Plan, planCall, simClient, simSend, type Truth } from './traffic.ts'
import { beginningMs, createWorld, type Owner, type World } from './world.ts'

/** What the vendors that count too much count too much, at the highest price of output. */
const overflowNanos = 12_000n
/** An account whose key has a budget for the hour, in which all of it happens, and one whose key has few slots. */
const budgeted = 2
const budget = 1_000_000n
const limited = 3
const concurrency = 4
const chaosMs = 60_000
const healMs = 300_000
const accounts = 3
/** What the model costs at one time or another. */
const priceSets = [2n, 1n, 4n].map((output) =>
  priceSet({
    currency: 'USD',
    nanos: { input: 1_000_000_000n, output: output * 1_000_000_000n },
    discountPpm: fullPricePpm,
  }),
)
const settings: Settings = {
  replica: 'sim',
  bodyLimit: 1_000_000,
  answerLimit: 10_000_000,
  firstOutputTokens: 32,
  termMs: 30_000,
  checkpointMs: 2_000,
  stallMs: 60_000,
}
const catalogWith = (prices: PriceSet, policies: Partial<Policies> = {}): Catalog => ({
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
  findings.wrong.push(...state.problems, ...left, ...overBudget(state))
  return { ...findings, seed, profile: profile.name, events: world.events }
}

/** The place of one process: what outlives it, and the process of this moment. */
interface Slot {
  readonly name: string
  readonly disk: Disk
  readonly skew: { skewMs: number }
  readonly link: Link
  replica: Replica | undefined
  isStarting: boolean
  pausedAtMs: number
}

interface State {
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
  catalog: Catalog
  made: number
  isChaos: boolean
}

type Opening = Pick<State, 'world' | 'books' | 'profile' | 'hooks'>

function stateOf({ world, books, profile, hooks }: Opening): State {
  const [first] = priceSets
  if (!first) throw new Error('no prices')
  const engine = hooks.engine?.(decide) ?? decide
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
    redis: profile.replicas > 0 ? simRedis(world, engine) : undefined,
    slots: Array.from({ length: Math.max(1, profile.replicas) }, slot),
    truths: new Map(),
    plans: new Map(),
    problems: [],
    hooks,
    prices: [{ fromMs: 0, set: first }],
    troubles: [],
    late: new Map(),
    catalog: catalogWith(first, hooks.policies),
    made: 0,
    isChaos: true,
  }
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

/**
 * Two seconds of checkpoints, the tick that starts them, and what was under way; at the rate of the call's own vendor.
 * Where messages are lost, some checkpoints more. All of it where the process died while its holds had no second home.
 */
function boundOf({ profile, troubles }: State, truth: Truth): number {
  const { killedAtMs, startedAtMs, delivered, promptTokens } = truth
  if (killedAtMs === undefined) return 0
  const isAlone = troubles.some(({ fromMs, toMs }) => fromMs <= killedAtMs + reapedMs && toMs >= startedAtMs)
  if (isAlone) return delivered + promptTokens
  const windowMs = profile.network > 0 ? 10_600 : profile.replicas > 0 ? 3_000 : 2_600
  const recent = truth.deliveries.filter(({ atMs }) => atMs > killedAtMs - windowMs)
  const tokens = recent.reduce((sum, one) => sum + one.tokens, 0)
  // A call that was never checkpointed is reaped at zero, prompt and all.
  return tokens === delivered ? tokens + promptTokens : tokens
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

/** What the log may say in some weathers, and what it must never say. */
const outOfReach: readonly unknown[] = ['heartbeat', 'frozen leases', 'own leases']

function start(state: State, slot: Slot): void {
  const { world, books, weather, problems, redis } = state
  if (slot.isStarting) return
  slot.isStarting = true
  const send = (owner: Parameters<typeof simSend>[1]) => simSend(world, owner, (body) => callOf(state, body))
  const onLog = (event: string, fields?: Readonly<Record<string, unknown>>) => {
    if (event === 'job_failed' && outOfReach.includes(fields?.['job'])) return
    if (['assertion', 'unhandled', 'charge_failed', 'job_failed', 'internal_error'].includes(event))
      problems.push(`${event} ${JSON.stringify(fields)}`)
  }
  startReplica({
    world,
    books,
    weather,
    disk: slot.disk,
    send,
    catalog: () => state.catalog,
    settings: { ...settings, replica: slot.name },
    skew: slot.skew,
    onLog,
    hooks: state.hooks,
    ...(redis && { redis: { server: redis, link: slot.link } }),
  }).then(
    (replica) => {
      slot.isStarting = false
      slot.replica = replica
    },
    () => {
      slot.isStarting = false
      world.after(1_000, () => start(state, slot))
    },
  )
}

function callOf({ truths, plans, problems, profile }: State, body: string): { plan: Plan; truth: Truth } {
  const id = /call ([0-9a-f-]{36})/.exec(body)?.[1] ?? ''
  const plan = plans.get(id)
  const truth = truths.get(id)
  if (!plan || !truth) throw new Error('a vendor was called for nobody')
  // Of holds that a lost Redis or a stopped process leaves behind no slot is kept.
  const isExact = profile.replicas === 0 || !(isRedisShaky(profile) || profile.pause > 0)
  if (truth.accountId === limited && isExact) {
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

function faults(state: State): void {
  const { world, profile } = state
  if (!state.isChaos) return
  const { random } = world
  for (const slot of state.slots) {
    if (random.chance(profile.kill)) kill(state, slot)
    if (random.chance(profile.pause)) pause(state, slot)
    if (random.chance(profile.skew)) slot.skew.skewMs = random.whole(-5_000, 5_000)
    if (random.chance(profile.partition)) cut(state, slot)
  }
  if (random.chance(profile.booksOutage) && !state.weather.booksDown) {
    state.weather.booksDown = true
    world.after(random.whole(1_000, 40_000), () => {
      state.weather.booksDown = false
    })
  }
  if (random.chance(profile.topUps)) topUp(state)
  if (random.chance(profile.revocations)) revoke(state)
  if (random.chance(profile.grants)) grant(state)
  if (random.chance(profile.priceChanges)) changePrices(state)
  redisFaults(state)
  world.after(1_000, () => faults(state))
}

/** How long after a fault of Redis what runs may not have been asserted again. */
const uncertainMs = 4_000

function redisFaults({ world, profile, redis, troubles }: State): void {
  const { random, nowMs } = world
  if (!redis || redis.isDown) return
  const fail = (what: 'kept' | 'rolled back' | 'wiped', downMs: number) => {
    redis.isDown = true
    troubles.push({ fromMs: nowMs - uncertainMs, toMs: nowMs + downMs + uncertainMs })
    world.after(downMs, () => {
      redis.restart(what)
      redis.isDown = false
    })
  }
  if (random.chance(profile.redisKilled)) fail('kept', random.whole(50, 3_000))
  else if (random.chance(profile.redisRolledBack)) fail('rolled back', random.whole(50, 3_000))
  else if (random.chance(profile.redisWiped)) fail('wiped', random.whole(50, 3_000))
  else if (random.chance(profile.redisOutage)) {
    const downMs = random.whole(1_000, 40_000)
    redis.isDown = true
    troubles.push({ fromMs: nowMs, toMs: nowMs + downMs + uncertainMs })
    world.after(downMs, () => {
      redis.isDown = false
    })
  }
}

/** Cuts one replica off from Redis, in one direction. */
function cut({ world, troubles }: State, { link }: Slot): void {
  const { random, nowMs } = world
  if (link.cutUntilMs > nowMs) return
  link.cutUntilMs = nowMs + random.whole(500, 40_000)
  link.cuts = random.pick(['commands', 'answers'] as const)
  troubles.push({ fromMs: nowMs, toMs: link.cutUntilMs + uncertainMs })
}

/** What the books and Redis do by themselves. */
function keepHouse(state: State): void {
  const { books, redis, world, late } = state
  books.endGrants()
  for (const lease of books.leases) {
    const missing = lease.consumed - lease.amount
    if (lease.state === 'open' || missing <= 0n) continue
    const accountId = books.purseRows.get(lease.purse)?.accountId ?? 0
    late.set(accountId, (late.get(accountId) ?? 0n) + missing)
  }
  books.rollup()
  redis?.remember()
  world.after(500, () => keepHouse(state))
}

function tellOfMoney({ slots }: State, accountId: number): void {
  for (const { replica } of slots)
    for (const { spender } of replica?.gateway.ledger.homes.all ?? []) spender.changed(accountId)
}

function topUp(state: State): void {
  const { world, books } = state
  const accountId = world.random.whole(1, accounts)
  books.recharge(accountId, BigInt(world.random.whole(1, 20)) * 100_000n)
  tellOfMoney(state, accountId)
}

function grant(state: State): void {
  const { world, books } = state
  const accountId = world.random.whole(1, accounts)
  books.grant({
    accountId,
    kind: 'credit',
    amount: BigInt(world.random.whole(1, 10)) * 100_000n,
    price: 0n,
    priority: 10,
    models: [],
    expiresAtMs: world.nowMs + world.random.whole(2_000, 40_000),
    source: 'sim',
    ref: `grant ${++state.made}`,
  })
  tellOfMoney(state, accountId)
}

function changePrices(state: State): void {
  const { world, prices, hooks } = state
  const set = world.random.pick(priceSets)
  prices.push({ fromMs: world.nowMs, set })
  state.catalog = catalogWith(set, hooks.policies)
}

function revoke({ world, books, slots }: State): void {
  const id = world.random.whole(1, accounts)
  const forget = () => slots.forEach(({ replica }) => replica?.gateway.auth.forget(id))
  books.changeKey(id, { revokedAtMs: world.nowMs })
  forget()
  world.after(world.random.whole(500, 5_000), () => {
    books.changeKey(id, { revokedAtMs: undefined })
    forget()
  })
}

function pause(state: State, slot: Slot): void {
  const { world } = state
  const { replica } = slot
  if (!replica) return
  const { pausedUntilMs } = replica.owner
  if (pausedUntilMs <= world.nowMs) slot.pausedAtMs = world.nowMs
  replica.owner.pausedUntilMs = Math.max(pausedUntilMs, world.nowMs + world.random.whole(100, 60_000))
  disturb(state, replica.owner)
}

/** Every call that is not over when its process dies or stands still is disturbed. */
function disturb({ truths }: State, owner: Owner): void {
  for (const truth of truths.values())
    if (truth.refusal === undefined && truth.servedBy === owner) truth.disturbed = true
}

function kill(state: State, slot: Slot): void {
  const { world } = state
  const { replica } = slot
  if (!replica?.owner.isAlive) return
  replica.kill()
  disturb(state, replica.owner)
  // A process that stood still when it was killed has done nothing since it was stopped.
  const lastMs = replica.owner.pausedUntilMs > world.nowMs ? slot.pausedAtMs : world.nowMs
  for (const truth of state.truths.values()) {
    if (truth.servedBy !== replica.owner) continue
    truth.killedAtMs ??= lastMs
    // Its connections broke with it.
    truth.atVendor = false
  }
  world.after(world.random.whole(100, 5_000), () => start(state, slot))
}

function heal(state: State): void {
  state.isChaos = false
  state.weather.booksDown = false
  state.weather.lostAnswers = 0
  for (const slot of state.slots) {
    slot.skew.skewMs = 0
    slot.link.cutUntilMs = 0
    if (slot.replica) slot.replica.owner.pausedUntilMs = 0
    if (!slot.replica?.owner.isAlive) start(state, slot)
  }
}

/** After healing nothing may be held, waiting, or unlike the books. */
async function leftOver(state: State): Promise<string[]> {
  const wrong: string[] = []
  for (const slot of state.slots) wrong.push(...leftAt(slot))
  for (let id = 1; id <= accounts; id++) {
    wrong.push(...(await leftOf(state, id)))
    const overdraft = overdraftOf(state, id)
    for (const purse of state.books.purseRows.values())
      if (purse.accountId === id && -purse.posted > overdraft)
        wrong.push(`account ${id} is overdrawn by ${-purse.posted}, at most by ${overdraft}`)
  }
  const left = [...(state.redis?.holds.values() ?? [])].filter(({ facts }) => isStanding(state, facts.accountId))
  if (left.length > 0) wrong.push(`${left.length} holds are left in Redis`)
  for (const lease of state.books.leases) {
    const rest = lease.amount - lease.consumed
    const isIdle = lease.state === 'frozen' || (lease.state === 'open' && lease.spender.startsWith('replica:'))
    if (isIdle && rest > 0n) wrong.push(`lease ${lease.id} of ${lease.spender} keeps ${rest}`)
  }
  return wrong
}

function leftAt({ replica, disk, name }: Slot): string[] {
  if (!replica?.owner.isAlive) return [`${name} did not come up again`]
  const { live, batcher } = replica.gateway.ledger
  return [
    ...(disk.size > 0 ? [`${disk.size} holds are left on the disk of ${name}`] : []),
    ...(live.size > 0 ? [`${live.size} calls of ${name} still hold`] : []),
    ...(batcher.waiting > 0 ? [`${batcher.waiting} records of ${name} are not in the books`] : []),
  ]
}

/** What was written under an epoch that a new start ended is dropped when its cell is next used. */
function isStanding({ redis }: State, accountId: number): boolean {
  return redis === undefined || redis.standing(redisSpender(accountId)) > 0
}

async function leftOf(state: State, id: number): Promise<string[]> {
  const { redis, slots, books, profile } = state
  if (!isStanding(state, id)) return []
  const wrong: string[] = []
  const own = slots[0]?.replica?.gateway.ledger.homes.of(id).shared
  const account = redis ? redis.accounts.get(id) : await own?.account(id)
  for (const record of account?.purses ?? []) {
    if (record.held !== 0n) wrong.push(`account ${id} still holds ${record.held}`)
    const lease = books.leases.find((one) => one.id === record.lease)
    // A loan whose answer was lost is heard of with the next one: until then it lies idle.
    const isKnown = profile.lostAnswers === 0 && profile.booksOutage === 0 && profile.kill === 0 && !redis
    const isEnded = lease?.state !== 'open'
    const owed = lease && lease.amount - lease.consumed
    if (owed !== undefined && !isEnded && (isKnown ? owed !== record.available : owed < record.available))
      wrong.push(`account ${id}: engine has ${record.available} of lease ${lease?.id}, the books ${owed}`)
  }
  const key = redis ? redis.keys.get(id) : await own?.key(id, id)
  if (key && key.inFlight !== 0) wrong.push(`key ${id} still has ${key.inFlight} in flight`)
  return wrong
}

/** What a key has spent is within its budget, but for what vendors counted too much and what came late. */
function overBudget(state: State): string[] {
  // A budget is counted where the hold is: what a lost Redis had counted the books bring back without what runs.
  if (isRedisShaky(state.profile)) return []
  const rows = [...state.books.rows.values()].flat().filter(({ record }) => record.accountId === budgeted)
  const spent = rows.reduce((sum, { charge }) => sum + charge, 0n)
  return spent > budget + overdraftOf(state, budgeted) ? [`${spent} is spent of a budget of ${budget}`] : []
}

/**
 * By how much an account may be overdrawn. A vendor may count more than it was held for: the three tokens of "more", on
 * the calls that were charged by it. And what comes late, after the reaper or after its loan was given back, is charged
 * whatever is left.
 */
function overdraftOf({ truths, plans, books, late }: State, accountId: number): bigint {
  const over = [...truths.values()].filter(
    (truth) => truth.accountId === accountId && truth.vendorUsage && plans.get(truth.id)?.usage === 'more',
  )
  const adjusted = [...books.rows.values()]
    .flat()
    .filter(({ kind, charge, record }) => kind === 'adjust' && charge > 0n && record.accountId === accountId)
    .reduce((sum, { charge }) => sum + charge, 0n)
  return BigInt(over.length) * overflowNanos + adjusted + (late.get(accountId) ?? 0n)
}
