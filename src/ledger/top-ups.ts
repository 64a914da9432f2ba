import { type Bill, sumOfBills } from './bill.ts'
import { ask, type Lent, type Loans, never, nothing, type TopUp, topUpPauseMs } from './loans.ts'

/** Borrows more ahead of need, at most twice a second. Nobody waits for it: where the books are away, what is lent may still be spent. */
export function topUpSoon(state: Loans, accountId: number): void {
  const loan = state.loans.get(accountId)
  const now = state.options.clock.elapsed()
  if (!loan || now - loan.toppedUpAtMs < topUpPauseMs) return
  loan.toppedUpAtMs = now
  void ask(state, accountId, nothing).catch(() => {})
}

/**
 * Borrows more for a call that is short of it; false where nothing came of it. Those who run short in one moment share a
 * top-up: one for each would serve them one by one.
 */
export function topUp(state: Loans, accountId: number, want: Bill): Promise<boolean> {
  const { next, loans, options } = state
  const { dryAtMs = never } = loans.get(accountId) ?? {}
  if (options.clock.elapsed() - dryAtMs < topUpPauseMs) return Promise.resolve(false)
  const waiting = next.get(accountId)
  if (waiting) {
    waiting.want = sumOfBills(waiting.want, want)
    return waiting.done
  }
  const mine: TopUp = { want, done: toppedUp(state, accountId) }
  next.set(accountId, mine)
  return mine.done
}

/** Whether the books lent more than before: what is asked meanwhile may have been asked for less. */
async function toppedUp(state: Loans, accountId: number): Promise<boolean> {
  const { next, asking, loans, options } = state
  await Promise.resolve()
  while (asking.has(accountId)) await asking.get(accountId)?.catch(() => {})
  const { want = nothing } = next.get(accountId) ?? {}
  next.delete(accountId)
  const before = loans.get(accountId)?.lent ?? []
  await ask(state, accountId, want)
  const loan = loans.get(accountId)
  if (!loan || loan.lent.some((now) => now.amount > amountOf(before, now.lease))) return true
  // Of money that was added meanwhile nothing was seen yet.
  if (!loan.isStale) loan.dryAtMs = options.clock.elapsed()
  return false
}

function amountOf(lent: readonly Lent[], lease: number): bigint {
  return lent.find((one) => one.lease === lease)?.amount ?? 0n
}
