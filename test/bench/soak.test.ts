import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { brokenAfter } from '../../bench/contest/wire.ts'
import { chargeOf, count, cycle, endingOf, type Kind, kinds, newTally } from '../../bench/soak/mix.ts'
import { soakPlanOf } from '../../bench/soak/plan.ts'
import { slopeOf, trendOf } from '../../bench/soak/slope.ts'

const kindOf = (name: string): Kind => {
  const found = kinds.find((kind) => kind.name === name)
  if (!found) throw new Error(`there is no kind ${name}`)
  return found
}
const events = (number: number) => 'data: {"choices":[{"delta":{"content":" token"}}]}\n\n'.repeat(number)
const usage = '"usage":{"prompt_tokens":57,"completion_tokens":200}'

describe('the mix of a soak', () => {
  test('is a hundred calls, of which 5 are hung up on, 2 break off and 1 is refused', () => {
    expect(cycle()).toHaveLength(100)
    const shareOf = (name: string) => cycle().filter((kind) => kind.name === name).length
    expect(shareOf('hung up')).toBe(5)
    // Every third of these goes wrong.
    expect([shareOf('flaky stream') / 3, shareOf('failing vendor') / 3]).toEqual([2, 1])
  })

  test('a whole answer is what its usage says', () => {
    expect(endingOf(kindOf('JSON 1 KB'), { status: 200, text: `{${usage}}` })).toEqual({
      kind: 'whole',
      inputTokens: 57,
      outputTokens: 200,
    })
  })

  test('a stream without its end is broken, unless the vendor may break off', () => {
    const text = events(brokenAfter)
    expect(endingOf(kindOf('fast stream'), { status: 200, text })).toMatchObject({ kind: 'broken' })
    expect(endingOf(kindOf('flaky stream'), { status: 200, text })).toEqual({ kind: 'partial', events: brokenAfter })
    expect(endingOf(kindOf('flaky stream'), { status: 200, text: events(brokenAfter - 1) }).kind).toBe('broken')
  })

  test('an error is a refusal where the vendor may fail', () => {
    expect(endingOf(kindOf('failing vendor'), { status: 502, text: '' })).toEqual({ kind: 'refused', status: 502 })
    expect(endingOf(kindOf('JSON 1 KB'), { status: 502, text: '' }).kind).toBe('broken')
  })

  test('charges whole answers by their usage and parts by what was heard', () => {
    const tally = newTally()
    count(tally, { kind: 'whole', inputTokens: 57, outputTokens: 200 }, 233)
    count(tally, { kind: 'partial', events: 8 }, 233)
    count(tally, { kind: 'refused', status: 502 }, 233)
    expect(tally).toEqual({ whole: 1, partial: 1, refused: 1, broken: 0, inputTokens: 290n, outputTokens: 208n })
    expect(chargeOf(tally)).toBe(290n * 1_000n + 208n * 2_000n)
  })
})

describe('a trend', () => {
  test('is the slope of a line, wherever it lies', () => {
    const number = fc.integer({ min: -1_000, max: 1_000 })
    fc.assert(
      fc.property(number, number, fc.integer({ min: 2, max: 50 }), (from, slope, length) => {
        const points = Array.from({ length }, (_, minute) => ({ minute, value: from + slope * minute }))
        expect(slopeOf(points)).toBeCloseTo(slope, 6)
      }),
    )
  })

  test.each([
    ['nothing', () => 0, 0, false],
    ['what stands still', () => 300, 0, false],
    ['what grows by 5 % after the warm-up', (minute: number) => 300 + minute * 0.2, 0.2, false],
    ['what grows by 20 % after the warm-up', (minute: number) => 300 + minute * 0.9, 0.9, true],
    ['what shrinks', (minute: number) => 300 - minute, -1, false],
    ['what grows in the warm-up alone', (minute: number) => Math.min(minute, 20) * 100, 0, false],
  ])('of %s', (_, value, slope, isRising) => {
    const points = Array.from({ length: 81 }, (__, minute) => ({ minute, value: value(minute) }))
    const trend = trendOf(points)
    expect([Number(trend.slope.toFixed(6)), trend.isRising]).toEqual([slope, isRising])
  })

  test('of one moment or none there is none', () => {
    expect([slopeOf([]), slopeOf([{ minute: 3, value: 9 }])]).toEqual([0, 0])
    expect(trendOf([])).toEqual({ slope: 0, isRising: false })
  })
})

describe('the plan of a soak', () => {
  test('is five minutes on PGlite', () => {
    expect(soakPlanOf([])).toEqual({ minutes: 5, calls: 1_000_000_000, store: 'pglite', rate: undefined, json: false })
  })

  test('with a number of calls ends by that', () => {
    expect(soakPlanOf(['--calls', '1000000', '--on', 'redis', '--rate', '200', '--json'])).toEqual({
      minutes: 10_080,
      calls: 1_000_000,
      store: 'redis',
      rate: 200,
      json: true,
    })
  })

  test.each([['--minutes', '0'], ['--minutes', 'x'], ['--calls', '2000000000'], ['--on', 'mysql'], ['--what']])(
    'refuses %s %s',
    (...args) => {
      expect(soakPlanOf(args)).toMatchObject({ code: 2 })
    },
  )
})
