import type { Part } from '../../core/call.ts'
import { assert } from './assert.ts'
import { amountOn, merge, sum } from './purses.ts'
import type { HoldRecord } from './records.ts'

/**
 * What of a hold's parts this store has set aside, and gives back at its end. One hold may live in two stores at once,
 * in Redis and in the process that serves it, each with loans of its own, and each must give back what it took and
 * nothing else. The loan alone does not tell them apart: an assertion that comes late, after its hold was dropped,
 * names loans that stand here and on which nothing is set aside for it any more.
 */
export function ownParts({ parts, own, recovered }: HoldRecord): readonly Part[] {
  return own ?? (recovered ? [] : parts)
}

/** The hold after this store has set `drawn` aside for it. */
export function withDrawn(hold: HoldRecord, drawn: readonly Part[]): HoldRecord {
  return withParts(hold, merge(hold.parts, drawn), merge(ownParts(hold), drawn))
}

/** The hold with parts that another store knows of: the larger amount on each loan. Nothing is set aside by that. */
export function withKnown(hold: HoldRecord, known: readonly Part[]): HoldRecord {
  const larger = hold.parts.map((part) => {
    const amount = on(known, part)
    return amount > part.amount ? { ...part, amount } : part
  })
  const added = known.filter((part) => on(hold.parts, part) === 0n)
  return withParts(hold, [...larger, ...added], ownParts(hold))
}

function withParts(hold: HoldRecord, parts: readonly Part[], own: readonly Part[]): HoldRecord {
  const { own: _, ...rest } = hold
  const ordered = parts.map((part) => ({ ...part, amount: on(own, part) })).filter(({ amount }) => amount > 0n)
  assert(sum(ordered) === sum(own), 'what is set aside here is of the parts')
  // Own parts are never above the parts, so equal sums are equal lists.
  const isPlain = hold.recovered ? ordered.length === 0 : sum(ordered) === sum(parts)
  return { ...rest, parts, ...(!isPlain && { own: ordered }) }
}

function on(parts: readonly Part[], { purse, lease }: Part) {
  return amountOn(parts, { id: purse, lease })
}
