import { describe, expect, test } from 'vitest'
import { exposureOf } from './exposure.ts'
import type { Fault } from './faults.ts'

const call = { gateway: 1, fromMs: 100_000, toMs: 110_000 }
const kill = (atMs: number, at = 1): Fault => ({
  what: 'gateway',
  kind: 'gateway kill -9',
  at,
  killedMs: atMs,
  fromMs: atMs,
  toMs: atMs,
})
const away = (what: 'redis' | 'postgres', fromMs: number, toMs: number): Fault => ({ what, kind: what, fromMs, toMs })
const met = (...faults: readonly Fault[]) => {
  const { isKilled, isExposed } = exposureOf(faults, call)
  return `${isKilled ? 'killed' : 'served'}${isExposed ? ' and exposed' : ''}`
}

describe('what faults do to a call', () => {
  test('a call is killed with its gateway, and until a second after its end', () => {
    expect([99_999, 100_000, 111_000, 111_001].map((at) => met(kill(at)))).toEqual([
      'served',
      'killed',
      'killed',
      'served',
    ])
  })

  test('a gateway that is frozen before it is killed is dead from then on', () => {
    const frozen = (fromMs: number): Fault => ({ ...kill(fromMs + 10_000), fromMs })
    expect([frozen(89_999), frozen(90_000), frozen(111_000), frozen(111_001)].map((fault) => met(fault))).toEqual([
      'served',
      'killed',
      'killed',
      'served',
    ])
  })

  test('another gateway does not matter', () => {
    expect(met(kill(105_000, 2), away('redis', 105_000, 106_000))).toBe('served')
  })

  test('a call whose gateway lives is not exposed, whatever becomes of Redis and PostgreSQL', () => {
    expect(met(away('redis', 101_000, 109_000), away('postgres', 101_000, 109_000))).toBe('served')
  })

  test('a killed call is exposed to a Redis that loses its data before others have ended it, or has just lost it', () => {
    const at = (fromMs: number, toMs: number) => met(kill(105_000), { ...away('redis', fromMs, toMs), isLoss: true })
    expect([at(100_000, 100_999), at(100_000, 101_000), at(127_000, 128_000), at(127_001, 128_000)]).toEqual([
      'killed',
      'killed and exposed',
      'killed and exposed',
      'killed',
    ])
  })

  test('a Redis that keeps its data exposes those who are killed while it is away, or just after', () => {
    const at = (fromMs: number, toMs: number) => met(kill(105_000), away('redis', fromMs, toMs))
    expect([at(100_000, 100_999), at(100_000, 101_000), at(105_000, 106_000), at(105_001, 106_000)]).toEqual([
      'killed',
      'killed and exposed',
      'killed and exposed',
      'killed',
    ])
  })

  test('while PostgreSQL is away a call that has ended needs Redis still', () => {
    const outage = away('postgres', 108_000, 130_000)
    expect([met(outage, kill(120_000)), met(outage, kill(120_000), away('redis', 119_000, 121_000))]).toEqual([
      'served',
      'served and exposed',
    ])
  })

  test('a Redis that came back is of no use before PostgreSQL is', () => {
    const faults = [away('redis', 90_000, 91_000), away('postgres', 92_000, 103_000), kill(106_000)]
    expect(met(...faults)).toBe('killed and exposed')
  })
})
