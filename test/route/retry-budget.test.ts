import { expect, test } from 'vitest'
import { openRetryBudget } from '../../src/route/retry-budget.ts'
import { virtualTime } from '../support/virtual-time.ts'

test('a hundred tries are saved up, then ten come back with each second', async () => {
  const time = virtualTime()
  const budget = openRetryBudget(time.clock)
  const spent = () => {
    let count = 0
    while (budget.spend()) count++
    return count
  }
  expect(spent()).toBe(100)
  await time.runUntil(1_000)
  expect(spent()).toBe(10)
})

test('every fifth call pays for one more try', () => {
  const budget = openRetryBudget({ elapsed: () => 0 })
  while (budget.spend());
  for (let call = 0; call < 6; call++) budget.called()
  expect([budget.spend(), budget.spend()]).toEqual([true, false])
})
