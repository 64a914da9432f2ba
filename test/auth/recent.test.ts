import { expect, test } from 'vitest'
import { createRecent } from '../../src/auth/recent.ts'
import { handClock } from './books.ts'

const names = ['a', 'b', 'c']

test('the oldest value goes when there are too many, and writing one anew makes it young', () => {
  const recent = createRecent<number>(handClock(), { entries: 2, lifeMs: 10 })
  recent.set('a', 1)
  recent.set('b', 2)
  recent.set('a', 3)
  recent.set('c', 4)
  expect(names.map((name) => recent.get(name))).toEqual([3, undefined, 4])
})

test('a value lives for its time and not a moment longer', () => {
  const clock = handClock()
  const recent = createRecent<number>(clock, { entries: 2, lifeMs: 10 })
  recent.set('a', 1)
  clock.nowMs += 9
  const before = recent.get('a')
  clock.nowMs += 1
  expect([before, recent.get('a')]).toEqual([1, undefined])
})
