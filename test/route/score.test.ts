import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { rank, type Ranking, type Scored, settle, type Standing, tolerance, worthALook } from '../../src/route/score.ts'

const standing = (name: string, more: Partial<Standing> = {}): Standing => ({
  name,
  position: 0,
  cost: 1_000n,
  timeMs: 1_000,
  quality: 1,
  bestQuality: 1,
  inFlight: 0,
  weight: 1,
  ...more,
})

const standings = fc
  .uniqueArray(
    fc.record({
      name: fc.stringMatching(/^[a-z]{1,4}$/),
      position: fc.nat(9),
      cost: fc.option(fc.bigInt(0n, 10n ** 12n), { nil: undefined }),
      timeMs: fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: undefined }),
      quality: fc.double({ min: 0, max: 1, noNaN: true }),
      inFlight: fc.nat(50),
      weight: fc.nat(10),
      quota: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    { minLength: 1, maxLength: 8, selector: ({ name }) => name },
  )
  .map((all) => all.map((each): Standing => ({ ...each, bestQuality: 1 })))
const weight = fc.nat(100)
const weights = fc
  .record({ cost: weight, performance: weight, quality: weight })
  .filter(({ cost, performance, quality }) => cost + performance + quality > 0)
const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const names = (ranked: readonly Scored[]): string[] => ranked.map(({ standing: { name } }) => name)
const score = (given: Ranking['weights']): Ranking => ({ strategy: 'score', weights: given, draw: 0 })

/** Nowhere worse and somewhere better. A time that nobody knows may be any. */
function dominates(a: Standing, b: Standing): boolean {
  const [costA, costB] = [a.cost ?? 10n ** 30n, b.cost ?? 10n ** 30n]
  if (a.timeMs === undefined || b.timeMs === undefined) return false
  if ((a.quota ?? 1) < (b.quota ?? 1)) return false
  const isNowhereWorse = costA <= costB && a.timeMs <= b.timeMs && a.quality >= b.quality
  return isNowhereWorse && (costA < costB || a.timeMs < b.timeMs || a.quality > b.quality)
}

describe('a score', () => {
  test('never puts a target before one that is nowhere worse and somewhere better', () => {
    fc.assert(
      fc.property(standings, weights, (all, given) => {
        const ranked = rank(all, score(given)).map((each) => each.standing)
        for (const [at, one] of ranked.entries())
          for (const behind of ranked.slice(at + 1)) expect(dominates(behind, one)).toBe(false)
      }),
      { numRuns: 2_000 },
    )
  })

  test('with weights 1, 0 and 0 is the pure order of costs, the unknown last', () => {
    fc.assert(
      fc.property(standings, (every) => {
        const all = every.map((each) => ({ ...each, quota: 1 }))
        const costs = rank(all, score({ cost: 1, performance: 0, quality: 0 })).map((each) => each.standing.cost)
        const known = costs.filter((cost) => cost !== undefined)
        expect(known).toEqual(known.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)))
        expect(costs.slice(known.length).every((cost) => cost === undefined)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })

  test.each(['priority', 'score', 'cost', 'latency', 'quality', 'weighted', 'least-busy'] as const)(
    'under %s does not ask in which order the targets come',
    (strategy) => {
      const given = fc
        .tuple(standings, weights, draw)
        .chain(([all, each, chance]) =>
          fc.tuple(
            fc.constant(all),
            fc.shuffledSubarray(all, { minLength: all.length }),
            fc.constant({ weights: each, draw: chance }),
          ),
        )
      fc.assert(
        fc.property(given, ([all, mixed, ranking]) => {
          expect(names(rank(mixed, { strategy, ...ranking }))).toEqual(names(rank(all, { strategy, ...ranking })))
        }),
        { numRuns: 500 },
      )
    },
  )

  test('counts a target as dearer once a tenth of its vendor’s limits is left, and the more so the less', () => {
    const cost = { cost: 1, performance: 0, quality: 0 }
    const left = (quota: number) => rank([standing('a', { quota })], score(cost))[0]?.score
    expect([left(1), left(0.1), left(0.05), left(0)]).toEqual([1, 1, 0.5, 0])
    const all = [standing('cheap', { quota: 0.02 }), standing('dear', { cost: 2_000n })]
    expect(names(rank(all, score(cost)))).toEqual(['dear', 'cheap'])
  })

  test('is between 0 and 1', () => {
    fc.assert(
      fc.property(standings, weights, (all, given) => {
        for (const { score: each } of rank(all, score(given)))
          expect(each).toSatisfy((value: number) => value >= 0 && value <= 1)
      }),
    )
  })

  test('takes a target that nobody has called for a fast one', () => {
    const ranked = rank(
      [standing('known'), standing('new', { timeMs: undefined })],
      score({ cost: 0, performance: 1, quality: 0 }),
    )
    expect(ranked.map((each) => each.score)).toEqual([1, 1])
  })
})

describe('the order of', () => {
  test('priority is that of the list', () => {
    const all = [standing('b', { position: 1 }), standing('a', { position: 0 })]
    expect(names(rank(all, { ...score({ cost: 1, performance: 1, quality: 1 }), strategy: 'priority' }))).toEqual([
      'a',
      'b',
    ])
  })

  test('least-busy is by calls for what a target can carry', () => {
    const all = [standing('small', { inFlight: 2, weight: 1 }), standing('large', { inFlight: 6, weight: 10 })]
    const order = rank(all, { ...score({ cost: 1, performance: 1, quality: 1 }), strategy: 'least-busy' })
    expect(names(order)).toEqual(['large', 'small'])
  })

  test('weighted gives each target its share', () => {
    const all = [standing('three', { weight: 3 }), standing('one', { weight: 1 }), standing('none', { weight: 0 })]
    const firsts = Array.from(
      { length: 20_000 },
      (_, at) =>
        names(
          rank(all, { ...score({ cost: 1, performance: 1, quality: 1 }), strategy: 'weighted', draw: at / 20_000 }),
        )[0],
    )
    const share = (name: string) => firsts.filter((first) => first === name).length / firsts.length
    expect([Math.round(share('three') * 20), Math.round(share('one') * 20), share('none')]).toEqual([15, 5, 0])
  })
})

describe('a session', () => {
  const ranked: readonly Scored[] = [
    { standing: standing('best'), score: 1 },
    { standing: standing('near'), score: 0.95 },
    { standing: standing('far'), score: 0.5 },
  ]
  const settling = { within: 0.1, before: undefined, affinity: undefined }

  test('stays where it was while that is about as good', () => {
    expect(names(settle(ranked, { ...settling, before: 'near' }))).toEqual(['near', 'best', 'far'])
  })

  test('leaves what has become worse', () => {
    expect(names(settle(ranked, { ...settling, before: 'far' }))).toEqual(['best', 'near', 'far'])
  })

  test('begins at the same target on every replica, and sessions are spread', () => {
    const firsts = Array.from(
      { length: 1_000 },
      (_, at) => names(settle(ranked, { ...settling, affinity: `s${at}` }))[0],
    )
    expect(new Set(firsts)).toEqual(new Set(['best', 'near']))
    const share = firsts.filter((first) => first === 'best').length / firsts.length
    expect(Math.round(share * 10)).toBe(5)
    expect(names(settle(ranked, { ...settling, affinity: 's1' }))[0]).toBe(firsts[1])
  })

  test('is held more loosely the more a difference is noise', () => {
    const only = (part: 'cost' | 'performance' | 'quality') =>
      tolerance({ cost: 0, performance: 0, quality: 0, [part]: 7 })
    expect([only('cost'), only('quality'), only('performance')]).toEqual([0.01, 0.05, 0.25])
  })
})

describe('a look at another target', () => {
  const cost = { cost: 1, performance: 0, quality: 0 }

  test('is worth it only where it could be as good as the one chosen', () => {
    const ranked = rank([standing('cheap'), standing('dear', { cost: 5_000n })], score(cost))
    expect(worthALook(ranked, cost, 0)).toBeUndefined()
    const speed = { cost: 0, performance: 1, quality: 0 }
    const byTime = rank([standing('fast'), standing('slow', { timeMs: 9_000 })], score(speed))
    expect(worthALook(byTime, speed, 0)?.standing.name).toBe('slow')
  })
})
