import { expect, test } from 'vitest'
import { cellCount, cellKeys, cellOf, cellOfSpender, spenderOfCell } from '../../src/core/cell.ts'

test('an account stays in its cell, whatever version runs', () => {
  expect([1, 2, 3, 1_000_000, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1].map(cellOf)).toEqual([183, 774, 39, 137, 183, 0, 369])
})

test('accounts spread evenly over all cells', () => {
  const counts = new Map<number, number>()
  for (let id = 1; id <= 100 * cellCount; id++) counts.set(cellOf(id), (counts.get(cellOf(id)) ?? 0) + 1)
  const all = [...counts.values()]
  expect([counts.size, Math.min(...all) > 50, Math.max(...all) < 150]).toEqual([cellCount, true, true])
})

test('a spender names its cell, and nothing else does', () => {
  expect(cellOfSpender(spenderOfCell(1_023))).toBe(1_023)
  expect(['redis:v1024', 'redis:v', 'redis:v-1', 'redis:v1x', 'local'].map(cellOfSpender)).toEqual(
    Array.from({ length: 5 }, () => undefined),
  )
})

test('all names of a cell carry its tag, so that they lie in one slot', () => {
  expect([
    cellKeys.mark(7),
    cellKeys.deadlines(7),
    cellKeys.account(7, 1),
    cellKeys.key(7, 2),
    cellKeys.hold(7, 'x'),
  ]).toEqual(['m:{v7}', 'd:{v7}', 'a:{v7}:1', 'k:{v7}:2', 'h:{v7}:x'])
})
