import type { Part } from '../core/call.ts'
import { divideUp, type Nanos } from '../core/money.ts'
import { amountIn, type Bill } from './bill.ts'
import { sumMoney, unpaidShare, type Share } from './engine/purses.ts'

export { sumMoney }

export interface Beyond {
  /** What the parts do not cover is not charged. */
  readonly isCapped?: boolean
  /** Where a charge goes for which no money is set aside. */
  readonly fallback?: Omit<Part, 'amount' | 'asset'> | undefined
}

/**
 * Splits a bill over the parts that a hold has set aside, in their burn order: each pays what it can of the share that
 * is still unpaid. What is above all parts lands on the last one of money, as overflow, or on `fallback`. Parts of one
 * asset sum to the bill in it exactly; of several, each but the last pays its exact share and the last one's is rounded
 * up. Throws RangeError where there is no purse for what is left.
 */
export function splitCharge(
  bill: Bill,
  held: readonly Part[],
  { isCapped = false, fallback }: Beyond = {},
): readonly Part[] {
  if (bill.money === 0n) return []
  const used: Part[] = []
  let share: Share = { unpaid: 1n, whole: 1n }
  for (const part of held) {
    const total = amountIn(bill, part.asset)
    if (share.unpaid === 0n || total === undefined || total === 0n) continue
    const due = divideUp(total * share.unpaid, share.whole)
    const amount = due < part.amount ? due : part.amount
    if (amount > 0n) used.push({ ...part, amount })
    share = unpaidShare(share, amount, total)
  }
  if (share.unpaid === 0n || isCapped) return used
  return withOverflow(used, divideUp(bill.money * share.unpaid, share.whole), fallback)
}

function withOverflow(used: readonly Part[], rest: Nanos, fallback: Beyond['fallback']): readonly Part[] {
  const at = used.findLastIndex(({ asset }) => asset === undefined)
  if (at !== -1) return used.map((part, index) => (index === at ? { ...part, amount: part.amount + rest } : part))
  if (!fallback) throw new RangeError('a charge needs a purse')
  return [...used, { purse: fallback.purse, lease: fallback.lease, amount: rest }]
}

/** What is to be given back, in each asset. */
export interface Return {
  readonly money: Nanos
  readonly tokens: bigint
}

/** All that some parts have paid. */
export function paidBy(parts: readonly Part[]): Return {
  const money = sumMoney(parts)
  return { money, tokens: parts.reduce((sum, { amount }) => sum + amount, 0n) - money }
}

/**
 * Gives back what parts have paid, the last first: whatever paid last is the first to get its own again, however the
 * purses would be ordered today. The result holds what each part gets, in that order. What was given back before must
 * be taken off `parts` (see `lessParts`). Throws RangeError where more is to be given back than was paid.
 */
export function unwindParts(parts: readonly Part[], { money, tokens }: Return): readonly Part[] {
  if (money < 0n || tokens < 0n) throw new RangeError('less than nothing cannot be given back')
  const left = { money, tokens }
  const returned: Part[] = []
  for (const part of parts.toReversed()) {
    const asset = part.asset === undefined ? 'money' : 'tokens'
    const amount = left[asset] < part.amount ? left[asset] : part.amount
    if (amount > 0n) returned.push({ ...part, amount })
    left[asset] -= amount
  }
  if (left.money > 0n || left.tokens > 0n) throw new RangeError('no more can be given back than was paid')
  return returned
}

/** What is left of parts after some of it was given back; in the order of `parts`. */
export function lessParts(parts: readonly Part[], returned: readonly Part[]): readonly Part[] {
  const back = new Map<number, bigint>()
  for (const { purse, amount } of returned) back.set(purse, (back.get(purse) ?? 0n) + amount)
  const left: Part[] = []
  for (const part of parts.toReversed()) {
    const given = back.get(part.purse) ?? 0n
    const off = given < part.amount ? given : part.amount
    back.set(part.purse, given - off)
    if (part.amount > off) left.push({ ...part, amount: part.amount - off })
  }
  return left.toReversed()
}
