import { expect, test } from 'vitest'
import { periodEnd, periodStart } from '../../src/core/period.ts'

const sunday = Date.UTC(2025, 10, 30, 23, 59, 59, 999)

test.each([
  ['total', 0, Number.POSITIVE_INFINITY],
  ['hour', Date.UTC(2025, 10, 30, 23), Date.UTC(2025, 11, 1)],
  ['day', Date.UTC(2025, 10, 30), Date.UTC(2025, 11, 1)],
  ['week', Date.UTC(2025, 10, 24), Date.UTC(2025, 11, 1)],
  ['month', Date.UTC(2025, 10, 1), Date.UTC(2025, 11, 1)],
] as const)('the last millisecond of November lies in its own %s', (window, start, end) => {
  expect([periodStart(window, sunday), periodEnd(window, sunday)]).toEqual([start, end])
})

test.each(['hour', 'day', 'week', 'month'] as const)('a new %s starts at the end of the one before', (window) => {
  expect(periodStart(window, sunday + 1)).toBe(periodEnd(window, sunday))
})

test('the month after December is January', () => {
  expect(periodEnd('month', Date.UTC(2025, 11, 31))).toBe(Date.UTC(2026, 0, 1))
})
