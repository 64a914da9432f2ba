import type { Profile } from './profiles.ts'
import { accounts, catalogWith, priceSets, type Slot, type State } from './scene.ts'
import { overflowOf } from './left-over.ts'
import { start } from './slots.ts'
import type { Owner } from './world.ts'

/** Breaks what the profile says, each second anew. */
export function faults(state: State): void {
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
export function keepHouse(state: State): void {
  const { books, redis, world, late, profile, problems } = state
  books.endGrants()
  for (const lease of books.leases) {
    const missing = lease.consumed - lease.amount
    if (lease.state === 'open' || missing <= 0n) continue
    const accountId = books.purseRows.get(lease.purse)?.accountId ?? 0
    if (isSeen(profile) && missing > overflowOf(state, accountId))
      problems.push(`lease ${lease.id} was given back too early, by ${missing}`)
    late.set(accountId, (late.get(accountId) ?? 0n) + missing)
  }
  books.rollup()
  redis?.remember()
  world.after(500, () => keepHouse(state))
}

/** Whether every process is heard of by the books all the time, so that no loan goes back before its last record. */
function isSeen({ kill, pause, booksOutage, lostAnswers }: Profile): boolean {
  return kill + pause + booksOutage + lostAnswers === 0
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

export function heal(state: State): void {
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
