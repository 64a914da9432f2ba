import { expect, test } from 'vitest'
import { mutants } from './mutants.ts'
import { profiles } from './profiles.ts'
import { simulate } from './run.ts'

const seeds = [1, 2, 3, 4, 5, 6]

test.each(profiles.map((profile) => [profile.name, profile] as const))(
  'in every world of "%s" the books equal what was seen from outside',
  async (_, profile) => {
    for (const seed of seeds) {
      const { wrong, overcharges, doubleCharges } = await simulate(seed, profile)
      expect({ seed, wrong, overcharges, doubleCharges }).toEqual({ seed, wrong: [], overcharges: 0, doubleCharges: 0 })
    }
  },
)

test('a seed is a world: run again it ends the same', async () => {
  const everything = profiles.at(-1)
  if (!everything) throw new Error('no profiles')
  expect(await simulate(7, everything)).toEqual(await simulate(7, everything))
})

test.each(mutants.map((mutant) => [mutant.name, mutant] as const))(
  'it is noticed when %s',
  async (_, { profile, hooks }) => {
    const weather = profiles.find(({ name }) => name === profile)
    if (!weather) throw new Error(`no profile ${profile}`)
    let wrong: readonly string[] = []
    for (let seed = 1; seed <= 40 && wrong.length === 0; seed++) ({ wrong } = await simulate(seed, weather, hooks))
    expect(wrong).not.toEqual([])
  },
)
