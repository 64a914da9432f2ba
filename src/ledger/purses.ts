import type { Part } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'

/**
 * Splits a charge over the parts that a hold has set aside, in their burn order. What is above all parts lands on the
 * last one, as overflow; a charge without parts lands on `fallback`. The amounts always sum to `total`.
 */
export function splitCharge(
  total: Nanos,
  held: readonly Part[],
  fallback: Omit<Part, 'amount'> | undefined,
): readonly Part[] {
  if (total === 0n) return []
  const used: Part[] = []
  let rest = total
  for (const part of held) {
    const amount = rest < part.amount ? rest : part.amount
    if (amount > 0n) used.push({ ...part, amount })
    rest -= amount
  }
  if (rest === 0n) return used
  const last = used.at(-1)
  if (last) return [...used.slice(0, -1), { ...last, amount: last.amount + rest }]
  const first = held[0] ?? fallback
  if (!first) throw new RangeError('a charge needs a purse')
  return [{ purse: first.purse, lease: first.lease, amount: rest }]
}

/** The sum of all parts. */
export function sumParts(parts: readonly Part[]): Nanos {
  return parts.reduce((sum, part) => sum + part.amount, 0n)
}
