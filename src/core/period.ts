import type { BudgetWindow } from './call.ts'

export const budgetWindows = ['total', 'hour', 'day', 'week', 'month'] as const satisfies readonly BudgetWindow[]

/** The start of the UTC period that `nowMs` lies in; weeks start on Monday. */
export function periodStart(window: BudgetWindow, nowMs: number): number {
  const at = new Date(nowMs)
  const year = at.getUTCFullYear()
  const month = at.getUTCMonth()
  const day = at.getUTCDate()
  switch (window) {
    case 'total':
      return 0
    case 'hour':
      return Date.UTC(year, month, day, at.getUTCHours())
    case 'day':
      return Date.UTC(year, month, day)
    case 'week':
      return Date.UTC(year, month, day - ((at.getUTCDay() + 6) % 7))
    case 'month':
      return Date.UTC(year, month, 1)
  }
}

/** The first moment of the next period; Infinity for `total`. */
export function periodEnd(window: BudgetWindow, nowMs: number): number {
  const start = new Date(periodStart(window, nowMs))
  switch (window) {
    case 'total':
      return Number.POSITIVE_INFINITY
    case 'hour':
      return start.getTime() + 3_600_000
    case 'day':
      return start.getTime() + 86_400_000
    case 'week':
      return start.getTime() + 7 * 86_400_000
    case 'month':
      return Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1, 1)
  }
}
