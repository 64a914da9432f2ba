import { expect, test } from 'vitest'
import { type Bound, openShares } from '../../src/admit/shares.ts'
import { openLender, type ShareAsk } from '../../src/core/shared-limit.ts'
import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import { testClock } from '../contracts/test-clock.ts'

const bound: Bound = {
  id: 'global',
  whose: 'this gateway',
  limit: { of: 'requests', window: 'minute', algorithm: 'token_bucket', limit: 60 },
}
const ofTokens: Bound = { ...bound, id: 'tokens', limit: { ...bound.limit, of: 'tokens', limit: 100 } }

/** A replica over a store of its own, which may be away. */
function open() {
  const clock = testClock(1_000_000)
  const lender = openLender()
  const asked: ShareAsk[] = []
  const store = { isAway: false }
  const events: string[] = []
  const shares = openShares({
    clock,
    replica: 'r1',
    log: (event) => events.push(event),
    shared: {
      async shares(asks) {
        if (store.isAway) throw new SharedUnavailable(new Error('away'))
        asked.push(...asks)
        return asks.map((ask) => lender.lend(ask, clock.now()))
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
  return { shares, clock, lender, asked, store, events, takes, pass }
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
  const other = { id: bound.id, limit: bound.limit, replica: 'r2', want: 100, back: 0 }
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
