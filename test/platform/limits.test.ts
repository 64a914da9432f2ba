import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Bound, openShares, type Shares } from '../../src/admit/shares.ts'
import { accountKeyId } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { capacityOf, limitAlgorithms, type LimitAlgorithm, type RateLimit } from '../../src/core/rate-limit.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openRedis, type RedisShared } from '../../src/platform/redis.ts'
import { testClock, type TestClock } from '../contracts/test-clock.ts'
import { admitCommand, keyFacts, noon, usageRecord } from '../ledger/engine/sample.ts'
import { hasRedis, type RealRedis, startRedis } from '../support/real-redis.ts'

/*
 * Three replicas on one Redis, which together ask for ten times a limit, in time that the test moves: what passes is to be
 * within one in a hundred of what should, and never above it.
 */
const replicas = ['r1', 'r2', 'r3']
const minutes = { keys: 2, shares: 6 }
const perMinute = 200
const tokensOfCall = 7
/** In which the replicas together ask for as many calls as they have fingers. */
const stepMs = 300
const callsOfStep = 10

const levels = ['key', 'key above', 'account', 'global'] as const

/** The most that a limit may let pass: what a bucket has at the start, and what time brings. */
function most(limit: RateLimit, minutes: number): number {
  const start = limit.algorithm === 'sliding_window' ? 0 : capacityOf(limit)
  return start + limit.limit * minutes
}

describe.skipIf(!hasRedis)('three replicas on one Redis, asked for ten times the limit', () => {
  let redis: RealRedis
  let shared: RedisShared[]
  let clock: TestClock
  beforeAll(async () => {
    redis = await startRedis()
    clock = testClock(noon)
    const open = () =>
      openRedis({
        address: { url: redis.url },
        clock: systemClock,
        commandMs: 10_000,
        testClock: clock,
        log() {},
        onAssertion() {},
      })
    shared = await Promise.all(replicas.map(open))
  })
  afterAll(async () => {
    for (const each of shared ?? []) each.close()
    await redis?.stop()
  })

  async function load(accountId: number): Promise<void> {
    const [first] = shared
    await first!.begin(first!.spenderOf(accountId), 1)
    await first!.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses: [] })
    for (const id of [10 * accountId, 10 * accountId + 1, accountKeyId(accountId)])
      await first!.run({ type: 'load_key', accountId, key: { id, status: 'active', version: 1, windows: [] } })
  }

  /** Asks ten times as often as the limit allows; gives what has passed of what is limited. */
  async function overload(
    { of }: RateLimit,
    minutes: number,
    one: (replica: number, n: number) => Promise<boolean>,
  ): Promise<number> {
    let calls = 0
    let passed = 0
    for (let atMs = 0; atMs < minutes * 60_000; atMs += stepMs) {
      const asked = await Promise.all(Array.from({ length: callsOfStep }, () => one(calls % replicas.length, calls++)))
      passed += asked.filter(Boolean).length
      clock.pass(stepMs)
      // What timers have sent is answered before what is sent after it.
      await Promise.all(shared.map((each) => each.account(1)))
    }
    return of === 'requests' ? passed : passed * tokensOfCall
  }

  async function throughKeys(limit: RateLimit, level: (typeof levels)[number], accountId: number): Promise<number> {
    await load(accountId)
    const limits = [limit]
    const keys = [
      keyFacts(10 * accountId, level === 'key' ? { limits } : {}),
      keyFacts(10 * accountId + 1, level === 'key above' ? { limits } : {}),
      keyFacts(accountKeyId(accountId), level === 'account' ? { limits } : {}),
    ]
    const facts = { ...admitCommand({ keys }).facts, accountId }
    return overload(limit, minutes.keys, async (replica, n) => {
      const id = `${accountId} ${replica} ${n}`
      // Half of what is reserved comes back at the end.
      const asked = {
        ...admitCommand({ id, keys, needs: [], estimate: 0n }),
        accountId,
        facts,
        tokens: 2 * tokensOfCall,
      }
      const reply = await shared[replica]!.run(asked)
      if (reply.code !== 'ok') return false
      const usage = { counts: { input: tokensOfCall }, source: 'vendor' } as const
      const record = usageRecord([], { id, accountId, usage })
      await shared[replica]!.run({ type: 'settle', id, accountId, record, claimMs: 60_000 })
      return true
    })
  }

  const openEach = (): Shares[] =>
    shared.map((store, index) => openShares({ shared: store, clock, log() {}, replica: replicas[index] ?? '' }))

  async function isIn(shares: Shares, bound: Bound): Promise<boolean> {
    try {
      const taken = await shares.take([bound], 2 * tokensOfCall)
      taken.settle(tokensOfCall)
      return true
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'rate_limit_exceeded') return false
      throw error
    }
  }

  async function throughShares(limit: RateLimit, id: string): Promise<number> {
    const each = openEach()
    const passed = await overload(limit, minutes.shares, (replica) => isIn(each[replica]!, { id, whose: 'all', limit }))
    for (const one of each) one.stop()
    return passed
  }

  const cases = limitAlgorithms.flatMap((algorithm) =>
    (['requests', 'tokens'] as const).flatMap((of) => levels.map((level) => [algorithm, of, level] as const)),
  )

  test.each(cases)('a %s of %s of the %s lets pass what it should', async (algorithm: LimitAlgorithm, of, level) => {
    clock.pass(60_000 - (clock.now() % 60_000))
    const limit: RateLimit = { of, window: 'minute', algorithm, limit: of === 'requests' ? perMinute : 7 * perMinute }
    const at = cases.findIndex((one) => one[0] === algorithm && one[1] === of && one[2] === level)
    const isGlobal = level === 'global'
    const passed = isGlobal
      ? await throughShares(limit, `${algorithm} ${of}`)
      : await throughKeys(limit, level, 100 + at)
    expectWithin(passed, most(limit, isGlobal ? minutes.shares : minutes.keys))
  })

  test('what a replica had that died goes to the others', async () => {
    clock.pass(60_000 - (clock.now() % 60_000))
    const limit: RateLimit = { of: 'requests', window: 'minute', algorithm: 'token_bucket', limit: perMinute }
    const each = openEach()
    let calls = 0
    const passed = await overload(limit, minutes.shares, async (replica) => {
      // After a minute the last one asks no more, and gives nothing back.
      const isDead = calls++ > (60_000 / stepMs) * callsOfStep
      if (isDead && replica === 2) each[2]!.stop()
      return isIn(each[isDead && replica === 2 ? 0 : replica]!, { id: 'of the dead', whose: 'all', limit })
    })
    for (const one of each) one.stop()
    expectWithin(passed, most(limit, minutes.shares))
  })

  function expectWithin(passed: number, wanted: number): void {
    expect(passed / wanted, `${passed} of ${wanted}`).toBeLessThanOrEqual(1)
    expect(passed / wanted, `${passed} of ${wanted}`).toBeGreaterThan(0.99)
  }
})
