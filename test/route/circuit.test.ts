import { describe, expect, test } from 'vitest'
import { openHealth, type Health } from '../../src/route/health.ts'
import type { Sighting } from '../../src/route/sightings.ts'
import { virtualTime } from '../support/virtual-time.ts'

const target = 'v/m'

function scene() {
  const time = virtualTime()
  const log: string[] = []
  const told: Sighting[] = []
  const health = openHealth({
    clock: time.clock,
    random: () => 0.5,
    tell: (sighting) => void told.push(sighting),
    log: (_, fields) => void log.push(`${String(fields?.['from'])} → ${String(fields?.['to'])}`),
  })
  return { time, health, log, told }
}

const enter = (health: Health, isLastResort = false) => health.enter(target, { isLastResort, slowMs: undefined })
const down = { code: 'vendor_error', status: 500, counts: true }

function fail(health: Health, times: number): void {
  for (let at = 0; at < times; at++) enter(health, true)?.failed(down)
}

function succeed(health: Health, times: number): void {
  for (let at = 0; at < times; at++) {
    const visit = enter(health)
    visit?.answered()
    visit?.ended({ paced: true })
  }
}

describe('a circuit', () => {
  test('opens with the fifth failure in a row, not with the fourth', () => {
    const { health, log } = scene()
    fail(health, 4)
    expect(health.of(target).state).toBe('closed')
    fail(health, 1)
    expect([health.of(target).state, enter(health), log]).toEqual(['open', undefined, ['closed → open']])
  })

  test('opens where half of ten calls fail, though never five in a row', () => {
    const { health } = scene()
    for (let at = 0; at < 4; at++) {
      fail(health, 1)
      succeed(health, 1)
    }
    fail(health, 1)
    expect(health.of(target).state).toBe('closed')
    fail(health, 1)
    expect(health.of(target).state).toBe('open')
  })

  test('is half open after a second, lets one probe in at a time and closes with the second that goes well', async () => {
    const { health, time, log } = scene()
    fail(health, 5)
    await time.runUntil(999)
    expect([health.of(target).state, health.of(target).retryInMs]).toEqual(['open', 1])
    await time.runUntil(1_000)
    const probe = enter(health)
    expect([health.of(target).isReady, enter(health)]).toEqual([false, undefined])
    probe?.ended({ paced: true })
    expect(health.of(target).state).toBe('half_open')
    succeed(health, 1)
    expect([health.of(target).state, log.at(-1), health.of(target).errorRate]).toEqual([
      'closed',
      'half_open → closed',
      0,
    ])
  })

  test('waits twice as long after each probe that fails, at most a minute', async () => {
    const { health, time } = scene()
    fail(health, 5)
    const pauses: number[] = []
    for (let at = 0; at < 8; at++) {
      const { retryInMs } = health.of(target)
      pauses.push(retryInMs)
      await time.runUntil(time.clock.elapsed() + retryInMs)
      enter(health)?.failed(down)
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
  })

  test('of the last target lets ten calls in at once, and no more', () => {
    const { health } = scene()
    fail(health, 5)
    const visits = Array.from({ length: 11 }, () => enter(health, true))
    expect(visits.map((visit) => visit !== undefined)).toEqual([...Array.from({ length: 10 }, () => true), false])
    visits[0]?.left()
    expect(enter(health, true)).toBeDefined()
  })

  test('does not count what is not the fault of the vendor', () => {
    const { health } = scene()
    for (let at = 0; at < 20; at++) enter(health)?.failed({ code: 'vendor_busy', status: 429, counts: false })
    expect([health.of(target).state, health.of(target).errors.length]).toEqual(['closed', 5])
  })

  test('opens with the tenth slow call in a row', async () => {
    const { health, time } = scene()
    const visits = Array.from({ length: 10 }, () => health.enter(target, { isLastResort: false, slowMs: 100 }))
    await time.runUntil(100)
    for (const visit of visits.slice(0, 9)) visit?.slow()
    expect(health.of(target).state).toBe('closed')
    visits[9]?.slow()
    expect(health.of(target).state).toBe('open')
  })
})

describe('the figures of a target', () => {
  test('are its first content, its pace, its cached prompts and its calls under way', async () => {
    const { health, time } = scene()
    const visit = enter(health)
    await time.runUntil(200)
    visit?.answered()
    await time.runUntil(1_200)
    expect(health.of(target).inFlight).toBe(1)
    visit?.ended({ counts: { input: 25, cached_input: 75, output: 101 }, paced: true })
    const { firstContentMs, tokenMs, cacheShare, inFlight, calls } = health.of(target)
    expect([firstContentMs, tokenMs, cacheShare.sum / cacheShare.weight, inFlight, calls]).toEqual([
      200, 10, 0.75, 0, 1,
    ])
  })

  test('say nothing of the pace where a slow caller held the vendor up', async () => {
    const { health, time } = scene()
    const visit = enter(health)
    visit?.answered()
    await time.runUntil(60_000)
    visit?.ended({ counts: { input: 1, output: 10 }, paced: false })
    expect(health.of(target).tokenMs).toBeUndefined()
  })

  test('count a call once, however often it is said to be over', () => {
    const { health } = scene()
    const visit = enter(health)
    visit?.failed(down)
    visit?.ended({ paced: true })
    visit?.left()
    expect([health.of(target).inFlight, health.of(target).errors.length]).toEqual([0, 1])
  })

  test('forget: a minute of calls that go well outweighs old errors', async () => {
    const { health, time } = scene()
    fail(health, 4)
    const before = health.of(target).errorRate
    await time.runUntil(120_000)
    expect(health.of(target).errorRate).toBeLessThan(before / 4)
  })

  test('hold what users say', () => {
    const { health } = scene()
    expect(health.of(target).feedback).toBeUndefined()
    for (let at = 0; at < 5; at++) health.rated(target, 0)
    expect(health.of(target).feedback).toBeCloseTo(0.5)
  })
})

describe('what another replica has seen', () => {
  const open = { kind: 'circuit_open', target, forMs: 4_000 } as const

  test('opens our circuit for as long, where we have not seen otherwise', async () => {
    const { health, time, log, told } = scene()
    health.heard(open)
    expect([health.of(target).state, health.of(target).retryInMs, log, told]).toEqual([
      'open',
      4_000,
      ['closed → open'],
      [],
    ])
    await time.runUntil(4_000)
    expect(health.of(target).state).toBe('half_open')
    succeed(health, 2)
    expect([health.of(target).state, told]).toEqual(['closed', [{ kind: 'circuit_closed', target }]])
  })

  test('waits for one failure of our own, where our own calls go well', () => {
    const { health } = scene()
    succeed(health, 12)
    health.heard(open)
    expect(health.of(target).state).toBe('closed')
    fail(health, 1)
    expect(health.of(target).state).toBe('open')
  })

  test('lets a probe in at once where it is well again', () => {
    const { health, told } = scene()
    fail(health, 5)
    expect(told).toEqual([{ kind: 'circuit_open', target, forMs: 1_000 }])
    health.heard({ kind: 'circuit_closed', target })
    expect(health.of(target).state).toBe('half_open')
  })

  test('counts what users think there too', () => {
    const { health } = scene()
    health.heard({ kind: 'rated', target, score: 0 })
    expect(health.of(target).feedback).toBeLessThan(1)
  })

  test('is told anew to a replica that has just come, as long as it holds', async () => {
    const { health, time } = scene()
    expect(health.sightings(target)).toEqual([])
    fail(health, 5)
    await time.runUntil(400)
    expect(health.sightings(target)).toEqual([{ kind: 'circuit_open', target, forMs: 600 }])
  })
})
