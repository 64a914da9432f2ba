import { describe, expect, test } from 'vitest'
import { affinityFigures, costFigures, deathFigures, type Figure } from '../support/routing-figures.ts'

/** Short runs of what `bench:routing` prints; the bounds are the same. */
const missed = (figures: readonly Figure[]): readonly string[] =>
  figures.filter(({ isKept }) => !isKept).map(({ what, value, bound }) => `${what}: ${value}, bound ${bound}`)

describe('in virtual time', () => {
  test('the strategy cost stays within two percent of the optimum', async () => {
    expect(missed(await costFigures(1_000, 11))).toEqual([])
  })

  test.each([
    ['fails', 25],
    ['is silent', 25],
  ] as const)('traffic leaves a target that %s and comes back to it', async (how, perSecond) => {
    expect(missed(await deathFigures(how, { seed: 12, perSecond }))).toEqual([])
  })

  test('sessions keep their vendors’ caches warm', async () => {
    expect(missed(await affinityFigures(200, 13))).toEqual([])
  })
})
