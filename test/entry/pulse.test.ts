import { expect, test } from 'vitest'
import { openPulse } from '../../src/entry/pulse.ts'
import { testClock } from '../contracts/test-clock.ts'

test('what was heard of within 20 seconds is alive, and no longer', () => {
  const clock = testClock(0)
  const pulse = openPulse(clock)
  clock.pass(10_000)
  pulse.beat()
  clock.pass(19_999)
  const before = pulse.isAlive
  clock.pass(1)
  expect([before, pulse.isAlive]).toEqual([true, false])
})

test('what comes back is alive again', () => {
  const clock = testClock(0)
  const pulse = openPulse(clock)
  clock.pass(60_000)
  pulse.beat()
  expect(pulse.isAlive).toBe(true)
})
