import { describe, expect, test } from 'vitest'
import { type Bound, openShares } from '../../src/admit/shares.ts'
import { GatewayError } from '../../src/core/errors.ts'
import type { RateLimit } from '../../src/core/rate-limit.ts'
import { openLender, type ShareAsk } from '../../src/core/shared-limit.ts'
import { openSlotLender, type SlotAsk } from '../../src/core/shared-slots.ts'
import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import { testClock } from '../contracts/test-clock.ts'

const limit: RateLimit = { of: 'requests', window: 'minute', algorithm: 'token_bucket', limit: 60 }
const bound: Bound = { id: 'global', whose: 'this gateway', limit }
const ofTokens: Bound = { ...bound, id: 'tokens', limit: { ...limit, of: 'tokens', limit: 100 } }
const ofCalls: Bound = { id: 'slots', whose: 'model "large"', limit: { of: 'concurrency', limit: 10 } }

/** A replica over a store of its own, which may be away; or over one that it shares with another replica. */
function open({ clock = testClock(1_000_000), slots = openSlotLender(), replica = 'r1' } = {}) {
  const lender = openLender()
  const asked: ShareAsk[] = []
  const askedSlots: SlotAsk[] = []
  const store = { isAway: false }
  const events: string[] = []
  const shares = openShares({
    clock,
    replica,
    log: (event) => events.push(event),
    shared: {
      async shares(asks) {
        if (store.isAway) throw new SharedUnavailable(new Error('away'))
        asked.push(...asks)
        return asks.map((ask) => lender.lend(ask, clock.now()))
      },
      async slots(asks) {
        if (store.isAway) throw new SharedUnavailable(new Error('away'))
        askedSlots.push(...asks)
        return asks.map((ask) => slots.lend(ask, clock.now()))
      },
    },
  })
  const takes = async (count: number, bounds: readonly Bound[] = [bound]) => {
    const ends = await Promise.allSettled(Array.from({ length: count }, () => shares.take(bounds, 10)))
    return ends.filter(({ status }) => status === 'fulfilled').length
  }
  const pass = async (ms: number) => {
    clock.pass(ms)
    await new Promise(setImmediate)
  }
  return { shares, clock, lender, slots, asked, askedSlots, store, events, takes, pass }
}

test('a limit lets in as many calls as it says, and then as time brings', async () => {
  const { takes, pass } = open()
  expect(await takes(100)).toBe(60)
  await pass(5_000)
  expect(await takes(100)).toBe(5)
})

test('many calls ask the store once', async () => {
  const { takes, asked } = open()
  await takes(50)
  expect(asked.length).toBeLessThanOrEqual(3)
})

test('a refused call is told when there is room, and which limit it was', async () => {
  const { shares, takes } = open()
  await takes(60)
  await expect(shares.take([bound], 10)).rejects.toMatchObject({
    code: 'rate_limit_exceeded',
    message: 'The limit of 60 requests per minute of this gateway is reached.',
    retryAfterMs: 1_000,
  })
})

test('a call that one limit refuses counts against none', async () => {
  const { takes } = open()
  expect([await takes(20, [bound, ofTokens]), await takes(100)]).toEqual([10, 50])
})

test('tokens that were not used let others in', async () => {
  const { shares, takes } = open()
  const taken = await shares.take([ofTokens], 90)
  expect(await takes(5, [ofTokens])).toBe(1)
  taken.settle(20)
  expect(await takes(20, [ofTokens])).toBe(7)
})

test('what nobody uses any more is given back', async () => {
  const { takes, lender, clock, pass } = open()
  await takes(10)
  await pass(1_000)
  await takes(1)
  for (let second = 0; second < 3; second++) await pass(1_000)
  const other = { id: bound.id, limit, replica: 'r2', want: 100, back: 0 }
  // Four seconds have brought four of the eleven back.
  expect(lender.lend(other, clock.now()).granted).toBe(60 - 11 + 4)
})

test('while the store is away the replica counts alone, and says so once', async () => {
  const { store, takes, events, pass } = open()
  store.isAway = true
  expect(await takes(100)).toBe(60)
  await pass(1_000)
  store.isAway = false
  await pass(1_000)
  await takes(1)
  await pass(1_000)
  expect(events).toEqual(['limits_alone', 'limits_shared'])
})

describe('calls at once', () => {
  /** Takes as many slots as there are, of so many asked for. */
  const hold = async ({ shares }: ReturnType<typeof open>, count: number) => {
    const ends = await Promise.allSettled(Array.from({ length: count }, () => shares.take([ofCalls], 0)))
    return ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []))
  }

  test('are let in up to the limit, and again as they end', async () => {
    const one = open()
    const held = await hold(one, 30)
    for (const taken of held.slice(0, 4)) taken.settle(7)
    expect([held.length, (await hold(one, 30)).length]).toEqual([10, 4])
  })

  test('a refused one is told whose limit it was', async () => {
    const one = open()
    await hold(one, 10)
    await expect(one.shares.take([ofCalls], 0)).rejects.toMatchObject({
      code: 'rate_limit_exceeded',
      message: 'The limit of 10 calls at the same time of model "large" is reached.',
      retryAfterMs: 1_000,
    })
  })

  test('cost no question while as many end as begin', async () => {
    const one = open()
    for (let at = 0; at < 50; at++) for (const taken of await hold(one, 3)) taken.settle(0)
    expect(one.askedSlots.length).toBeLessThanOrEqual(3)
  })

  test('of a replica that gives up its calls go to the other that waits, and together are never more', async () => {
    const one = open()
    const two = open({ clock: one.clock, slots: one.slots, replica: 'r2' })
    const first = await hold(one, 30)
    const second = await hold(two, 30)
    let most = first.length + second.length
    for (let at = 0; at < 40; at++) {
      first.shift()?.settle(0)
      await one.pass(25)
      first.push(...(await hold(one, 5)))
      second.push(...(await hold(two, 5)))
      most = Math.max(most, first.length + second.length)
    }
    expect([first.length, second.length, most]).toEqual([5, 5, 10])
  })

  test('of a replica that died are free again after some seconds', async () => {
    const one = open()
    const two = open({ clock: one.clock, slots: one.slots, replica: 'r2' })
    await hold(one, 30)
    one.shares.stop()
    await one.pass(4_900)
    const early = await hold(two, 30)
    await one.pass(200)
    expect([early.length, (await hold(two, 30)).length]).toEqual([0, 10])
  })

  test('that another limit refuses give their slot back', async () => {
    const one = open()
    const taken = await one.shares.take([ofCalls], 0)
    taken.undo()
    expect((await hold(one, 30)).length).toBe(10)
  })

  test('are counted alone while the store is away, and those that run count when it is back', async () => {
    const one = open()
    one.store.isAway = true
    const held = await hold(one, 30)
    one.store.isAway = false
    await one.pass(1_000)
    const other = { id: ofCalls.id, limit: 10, replica: 'r2', held: 0, want: 5 }
    expect([held.length, one.slots.lend(other, one.clock.now())]).toEqual([
      10,
      { granted: 0, fair: 0, isWanted: false },
    ])
  })
})

describe('what is asked at once', () => {
  test('is answered by what is here, and says whose limit has none', async () => {
    const { shares } = open()
    const before = shares.tryTake([bound], 0)
    await shares.prepare([bound], 0)
    const after = shares.tryTake([bound], 0)
    expect([before instanceof GatewayError && before.code, after instanceof GatewayError]).toEqual([
      'rate_limit_exceeded',
      false,
    ])
  })

  test('counts nothing where it only looks', async () => {
    const { shares, takes } = open()
    await shares.prepare([bound], 0)
    const seen = [shares.refusal([bound], 0), shares.refusal([bound], 0)]
    expect([seen, await takes(100)]).toEqual([[undefined, undefined], 60])
  })
})
