import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createDeadlines } from '../../src/platform/deadlines.ts'

test('what is due comes earliest first, and even ones by name', () => {
  const deadlines = createDeadlines()
  for (const [id, dueMs] of [
    ['d', 4],
    ['b', 2],
    ['a', 2],
    ['c', 3],
  ] as const)
    deadlines.set(id, dueMs)
  expect(deadlines.take(10, 3, 9)).toEqual(['a', 'b', 'c'])
})

test('one that stays due is taken once in one sweep', () => {
  const deadlines = createDeadlines()
  deadlines.set('a', 1)
  expect(deadlines.take(10, 5, 5)).toEqual(['a'])
})

test('any history of moves and removals agrees with a sorted list', () => {
  const id = fc.constantFrom(...Array.from('abcdefghijkl'))
  const move = fc.oneof(fc.tuple(id, fc.nat(30)), fc.tuple(id, fc.constant(undefined)), fc.nat(30))
  const property = fc.property(fc.array(move, { maxLength: 80 }), (moves) => {
    const deadlines = createDeadlines()
    const model = new Map<string, number>()
    for (const at of moves) {
      if (typeof at === 'number') {
        const due = [...model]
          .filter(([, dueMs]) => dueMs <= at)
          .sort(([a, dueA], [b, dueB]) => dueA - dueB || (a < b ? -1 : 1))
        const taken = due.slice(0, 4).map(([name]) => name)
        expect(deadlines.take(4, at, at + 7)).toEqual(taken)
        for (const name of taken) model.set(name, at + 7)
      } else if (at[1] === undefined) {
        deadlines.delete(at[0])
        model.delete(at[0])
      } else {
        deadlines.set(at[0], at[1])
        model.set(at[0], at[1])
      }
      expect(deadlines.size).toBe(model.size)
    }
  })
  fc.assert(property, { numRuns: 300 })
})
