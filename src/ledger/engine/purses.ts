import type { Part } from '../../core/call.ts'
import { divideUp, type Nanos } from '../../core/money.ts'
import { assert } from './assert.ts'
import type { Need } from './commands.ts'
import { areDistinct, maxPurses } from './invariants.ts'
import type { AccountRecord, PurseRecord } from './records.ts'

/** What the purses can set aside for some needs. Nothing is moved yet. */
export interface Drawn {
  readonly parts: readonly Part[]
  /** The purses together cannot give it all. */
  readonly short: boolean
  /** Free and held money over every purse that may pay, before anything is taken. Tokens are no money. */
  readonly available: Nanos
  readonly held: Nanos
}

/**
 * Walks the needs in burn order. Each purse gives what it can of the share that is still unpaid; the share is an
 * exact fraction, because the purses may count in different units and a rounded share would lose money.
 * Expired and empty purses are passed over. Needs that are all zero draw nothing and are never short.
 */
export function draw(account: AccountRecord | undefined, needs: readonly Need[], nowMs: number): Drawn {
  assert(needs.length <= maxPurses, 'needs are bounded')
  assert(areDistinct(needs.map(({ purse }) => purse)), 'a purse is needed once')
  assert(
    needs.every(({ amount }) => amount >= 0n),
    'a need cannot be negative',
  )
  const parts: Part[] = []
  let share: Share = { unpaid: needs.some(({ amount }) => amount > 0n) ? 1n : 0n, whole: 1n }
  let available = 0n
  let held = 0n
  for (const need of needs) {
    const purse = account?.purses.find(({ id }) => id === need.purse)
    if (!purse || expired(purse, nowMs)) continue
    if (need.asset === undefined) {
      available += purse.available
      held += purse.held
    }
    if (purse.available <= 0n || need.amount === 0n || share.unpaid === 0n) continue
    const wanted = divideUp(need.amount * share.unpaid, share.whole)
    const amount = wanted < purse.available ? wanted : purse.available
    parts.push({ purse: purse.id, lease: purse.lease, amount, ...(need.asset && { asset: need.asset }) })
    share = unpaidShare(share, amount, need.amount)
  }
  return { parts, short: share.unpaid > 0n, available, held }
}

/** Moves the parts of a new hold from what is free to what is held. */
export function setAside(account: AccountRecord, parts: readonly Part[]): AccountRecord {
  const taken = account.purses.map((purse) => {
    const amount = amountOn(parts, purse)
    assert(amount <= 0n || amount <= purse.available, 'a hold takes no more than a purse has')
    return amount === 0n ? purse : { ...purse, available: purse.available - amount, held: purse.held + amount }
  })
  assert(sum(parts) === sum(parts.filter((part) => stands(account, part))), 'a hold draws on loans that stand')
  return { ...account, purses: taken }
}

/**
 * Ends a hold's parts: what was set aside is free again, less what is paid; more than was set aside may be paid,
 * and then what is free may go below zero. A part whose purse stands on another loan by now touches nothing: that
 * money is settled by the books alone.
 */
export function payOut(account: AccountRecord, aside: readonly Part[], paid: readonly Part[]): AccountRecord {
  assert(
    paid.every(({ amount }) => amount >= 0n),
    'a charge cannot be negative',
  )
  const purses = account.purses.map((purse) => {
    const back = amountOn(aside, purse)
    const used = amountOn(paid, purse)
    assert(back <= purse.held, 'a purse holds what its holds have set aside')
    return back === 0n && used === 0n
      ? purse
      : { ...purse, available: purse.available + back - used, held: purse.held - back }
  })
  return { ...account, purses }
}

/**
 * How much of what is paid is above what was set aside for it, over each loan of each purse. A part that was drawn in
 * another store, and that this one never heard of, counts whole.
 */
export function overflow(aside: readonly Part[], paid: readonly Part[]): Nanos {
  assert(
    paid.every(({ amount }) => amount >= 0n),
    'a charge cannot be negative',
  )
  let above = 0n
  for (const part of merge(paid, [])) {
    const over = part.amount - amountOn(aside, { id: part.purse, lease: part.lease })
    if (over > 0n) above += over
  }
  assert(above <= sum(paid), 'an overflow is part of the charge')
  return above
}

/** Joins parts on the same loan of the same purse; the order of first appearance stays. */
export function merge(parts: readonly Part[], more: readonly Part[]): readonly Part[] {
  const merged = new Map<string, Part>()
  for (const part of [...parts, ...more]) {
    const name = `${part.purse}/${part.lease}`
    merged.set(name, { ...part, amount: part.amount + (merged.get(name)?.amount ?? 0n) })
  }
  assert(merged.size <= parts.length + more.length, 'merging adds no part')
  assert(sum([...merged.values()]) === sum(parts) + sum(more), 'merging moves no money')
  return [...merged.values()]
}

/** A share of a charge as an exact fraction: purses may count in different units, and a rounded share loses money. */
export interface Share {
  readonly unpaid: bigint
  /** More than zero. */
  readonly whole: bigint
}

/** What is left of a share after a purse that would pay all of the charge with `total` has paid `amount`. */
export function unpaidShare({ unpaid, whole }: Share, amount: bigint, total: bigint): Share {
  assert(total > 0n && whole > 0n, 'a share is of something')
  const isMultiple = whole % total === 0n
  // Purses of one unit share a denominator: then it is a plain subtraction, and the numbers do not grow.
  const left = isMultiple ? unpaid - amount * (whole / total) : unpaid * total - amount * whole
  if (left <= 0n) return { unpaid: 0n, whole: 1n }
  return { unpaid: left, whole: isMultiple ? whole : whole * total }
}

/** The total of those parts that are money. */
export function sumMoney(parts: readonly Part[]): Nanos {
  return sum(parts.filter(({ asset }) => asset === undefined))
}

/** The total of some parts, in whatever they count. */
export function sum(parts: readonly Part[]): Nanos {
  return parts.reduce((total, { amount }) => total + amount, 0n)
}

/** What some parts are on one loan of a purse. */
export function amountOn(parts: readonly Part[], purse: Pick<PurseRecord, 'id' | 'lease'>): Nanos {
  return sum(parts.filter((part) => part.purse === purse.id && part.lease === purse.lease))
}

function stands(account: AccountRecord, part: Part): boolean {
  return account.purses.some(({ id, lease }) => id === part.purse && lease === part.lease)
}

/** From its expiry on nothing new is drawn on a purse; what is held on it settles from it. */
export function expired(purse: PurseRecord, nowMs: number): boolean {
  return purse.expiresAtMs !== undefined && nowMs >= purse.expiresAtMs
}
