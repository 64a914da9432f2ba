import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FleetingMap, FleetingSet } from '../../src/core/fleeting.ts'

/** Few names, so that most steps meet a thing that is there. */
const steps = fc.array(fc.record({ does: fc.constantFrom('put', 'take'), name: fc.nat(5) }), { maxLength: 60 })

describe('what comes and goes', () => {
  test('is in a map as in a Map', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const [fleeting, plain] = [new FleetingMap<number, { at: number }>(), new Map<number, { at: number }>()]
        for (const [at, { does, name }] of all.entries()) {
          if (does === 'take') expect(fleeting.delete(name)).toBe(plain.delete(name))
          else {
            fleeting.set(name, { at })
            plain.set(name, { at })
          }
          expect([fleeting.size, fleeting.has(name), fleeting.get(name)]).toEqual([
            plain.size,
            plain.has(name),
            plain.get(name),
          ])
        }
        expect([[...fleeting], [...fleeting.keys()], [...fleeting.values()]]).toEqual([
          [...plain],
          [...plain.keys()],
          [...plain.values()],
        ])
      }),
    )
  })

  test('is in a set as in a Set', () => {
    const things = Array.from({ length: 6 }, (_, at) => ({ at }))
    fc.assert(
      fc.property(steps, (all) => {
        const [fleeting, plain] = [new FleetingSet<object>(), new Set<object>()]
        for (const { does, name } of all) {
          const thing = things[name] ?? things
          const change = does === 'take' ? 'delete' : 'add'
          fleeting[change](thing)
          plain[change](thing)
          expect([fleeting.size, fleeting.has(thing)]).toEqual([plain.size, plain.has(thing)])
        }
        expect([...fleeting]).toEqual([...plain])
      }),
    )
  })

  test('may be taken out while it is gone through', () => {
    const set = new FleetingSet<{ readonly at: number }>()
    for (let at = 0; at < 5; at++) set.add({ at })
    for (const thing of set) if (thing.at % 2 === 0) set.delete(thing)
    expect([...set]).toEqual([{ at: 1 }, { at: 3 }])
  })
})
