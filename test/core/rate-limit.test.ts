import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  advanced,
  capacityOf,
  corrected,
  counted,
  hasRoom,
  leftOf,
  limitAlgorithms,
  limitedThings,
  limitHeaders,
  levelOf,
  type LimitWindow,
  limitWindows,
  type Meter,
  meterAt,
  mostLimit,
  type RateLimit,
  tokensOf,
  waitMs,
} from '../../src/core/rate-limit.ts'

const noon = Date.UTC(2025, 5, 11, 12)
const perMinute = (algorithm: RateLimit['algorithm'], limit = 60): RateLimit => ({
  of: 'requests',
  window: 'minute',
  algorithm,
  limit,
})
const anyLimit: fc.Arbitrary<RateLimit> = fc.record({
  of: fc.constantFrom(...limitedThings),
  window: fc.constantFrom(...(Object.keys(limitWindows) as LimitWindow[])),
  algorithm: fc.constantFrom(...limitAlgorithms),
  limit: fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: mostLimit })),
})
/** Calls: how long after the one before, and how large beside the limit. */
const anyCalls = fc.array(
  fc.record({ passMs: fc.oneof(fc.nat(50), fc.nat(90_000_000)), share: fc.integer({ min: 1, max: 40 }) }),
  { maxLength: 60 },
)

/** A meter after calls that were let in where there was room. */
function after(limit: RateLimit, calls: readonly { passMs: number; share: number }[]): { meter: Meter; nowMs: number } {
  let nowMs = noon
  let meter = meterAt(limit, undefined, nowMs)
  for (const { passMs, share } of calls) {
    nowMs += passMs
    meter = advanced(meter, nowMs)
    const amount = Math.ceil((capacityOf(limit) * share) / 100)
    if (hasRoom(meter, amount, nowMs)) meter = counted(meter, amount)
  }
  return { meter, nowMs }
}

/** Calls let in, of ten times as many as there may be, at even distances. */
function admittedIn(limit: RateLimit, lengthMs: number): number {
  const everyMs = limitWindows[limit.window] / limit.limit / 10
  let meter = meterAt(limit, undefined, noon)
  let admitted = 0
  for (let at = 0; at < lengthMs; at += everyMs) {
    const nowMs = noon + Math.floor(at)
    meter = advanced(meter, nowMs)
    if (!hasRoom(meter, 1, nowMs)) continue
    meter = counted(meter, 1)
    admitted += 1
  }
  return admitted
}

describe('a limit by time', () => {
  test('as a token bucket lets in all of it at once, and then as much as time brings', () =>
    expect(admittedIn(perMinute('token_bucket'), 10 * 60_000)).toBe(60 + 10 * 60 - 1))

  test('as a leaky bucket lets in a tenth of it at once, and then as much as time brings', () =>
    expect(admittedIn(perMinute('leaky_bucket'), 10 * 60_000)).toBe(6 + 10 * 60 - 1))

  test.each([1, 2, 3, 7, 10, 60, 99, 600])('as a sliding window of %i lets in as much in every window', (limit) =>
    expect(admittedIn(perMinute('sliding_window', limit), 10 * 60_000)).toBe(10 * limit),
  )

  test('never counts more than its capacity, and never less than nothing', () =>
    fc.assert(
      fc.property(anyLimit, anyCalls, (limit, calls) => {
        const { meter, nowMs } = after(limit, calls)
        const level = levelOf(meter, nowMs)
        expect([level >= 0, level <= capacityOf(limit), Number.isSafeInteger(level)]).toEqual([true, true, true])
      }),
    ))

  test('says to the millisecond when there is room', () =>
    fc.assert(
      fc.property(anyLimit, anyCalls, fc.integer({ min: 1, max: 100 }), (limit, calls, share) => {
        const { meter, nowMs } = after(limit, calls)
        const amount = Math.ceil((capacityOf(limit) * share) / 100)
        const atMs = nowMs + waitMs(meter, amount, nowMs)
        const fits = (ms: number) => hasRoom(advanced(meter, ms), amount, ms)
        expect([fits(atMs), atMs > nowMs && fits(atMs - 1)]).toEqual([true, false])
      }),
    ))

  test('leaks as exactly in many steps as in one', () =>
    fc.assert(
      fc.property(anyLimit, anyCalls, fc.array(fc.nat(5_000_000), { maxLength: 20 }), (limit, calls, steps) => {
        const { meter, nowMs } = after(limit, calls)
        let [stepwise, atMs] = [meter, nowMs]
        for (const step of steps) {
          atMs += step
          stepwise = advanced(stepwise, atMs)
        }
        expect(levelOf(stepwise, atMs)).toBe(levelOf(advanced(meter, atMs), atMs))
      }),
    ))

  test('gives nothing for a clock that goes back, and loses nothing', () => {
    for (const algorithm of limitAlgorithms) {
      const full = counted(meterAt(perMinute(algorithm), undefined, noon + 500), capacityOf(perMinute(algorithm)))
      const back = advanced(full, noon - 20_000)
      expect([hasRoom(back, 1, noon - 20_000), advanced(back, noon + 500)]).toEqual([false, full])
    }
  })

  test('does not wait for a clock that was ahead by hours', () => {
    for (const algorithm of limitAlgorithms) {
      const ahead = counted(meterAt(perMinute(algorithm), undefined, noon + 7_200_000), 60)
      const now = advanced(ahead, noon)
      expect([waitMs(now, 1, noon) <= 120_000, hasRoom(advanced(now, noon + 120_000), 1, noon + 120_000)]).toEqual([
        true,
        true,
      ])
    }
  })

  test('lets in a call that is larger than all of it when nothing counts, and then waits for what it owes', () => {
    const limit = perMinute('token_bucket')
    const owing = counted(meterAt(limit, undefined, noon), 180)
    expect([hasRoom(meterAt(limit, undefined, noon), 180, noon), waitMs(owing, 1, noon)]).toEqual([true, 121_000])
  })
})

describe('what was reserved', () => {
  const reserved = { tokens: 50, atMs: noon }

  test('of a bucket is replaced by what was used', () => {
    const meter = counted(meterAt(perMinute('token_bucket'), undefined, noon), 50)
    expect([corrected(meter, reserved, 20).used, corrected(meter, reserved, 55).used]).toEqual([20, 55])
  })

  test('of an earlier window is given back in that window', () => {
    const meter = counted(meterAt(perMinute('sliding_window'), undefined, noon), 50)
    const next = advanced(meter, noon + 60_000)
    const { used, rest } = corrected(counted(next, 5), reserved, 20)
    expect({ used, rest }).toEqual({ used: 5, rest: 20 })
  })

  test('of a window that counts no more gives nothing back', () => {
    const later = counted(meterAt(perMinute('sliding_window'), undefined, noon + 180_000), 5)
    expect(corrected(later, reserved, 20)).toEqual(later)
  })
})

test('tokens of a call are all that is priced by the million', () =>
  expect(tokensOf({ input: 5, cached_input: 4, output: 3, reasoning: 2, image: 9, request: 1 })).toBe(14))

test('headers say the limit, what remains, and when all of it is back', () => {
  const meter = counted(meterAt(perMinute('token_bucket'), undefined, noon), 3)
  expect(limitHeaders({ requests: leftOf(meter, noon) })).toEqual({
    'x-ratelimit-limit-requests': '60',
    'x-ratelimit-remaining-requests': '57',
    'x-ratelimit-reset-requests': '3s',
  })
})
