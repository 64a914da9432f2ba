import { mostLimit } from '../core/rate-limit.ts'
import type { SlotLimit } from '../core/shared-limit.ts'
import type { SlotAsk, SlotShare as Lent } from '../core/shared-slots.ts'
import type { Bound } from './shares.ts'

/** This replica's slots of one limit of calls at once. Times are of the clock that never goes back. */
export interface SlotShare {
  readonly kind: 'slots'
  readonly bound: Bound
  readonly limit: SlotLimit
  /** Lent: how many calls may run here. */
  granted: number
  /** Calls under way. */
  used: number
  /** The most that were under way at once since the last request. */
  peak: number
  /** Calls since then for which there was none left. */
  short: number
  usedAtMs: number
  askedAtMs: number
  /** What the last answer said, and what was wanted then. */
  share: Lent | undefined
  wanted: number
  asking: Promise<void> | undefined
}

/** Where nothing more was to be had, it is asked for so often. */
const everyMs = 20
/** A full limit of calls at once has no time of its own; most calls end within seconds. */
export const slotRetryMs = 1_000

export function openSlotShare(bound: Bound, limit: SlotLimit): SlotShare {
  return {
    kind: 'slots',
    bound,
    limit,
    granted: 0,
    used: 0,
    peak: 0,
    short: 0,
    usedAtMs: 0,
    askedAtMs: 0,
    share: undefined,
    wanted: 0,
    asking: undefined,
  }
}

export function demandSlot(share: SlotShare): void {
  if (!fitsSlot(share)) share.short = Math.min(mostLimit, share.short + 1)
}

export function fitsSlot(share: SlotShare): boolean {
  return share.used < mineOf(share)
}

/** What this replica may use: where others wait, no more than is its part. */
function mineOf({ granted, share }: SlotShare): number {
  return share?.isWanted ? Math.min(granted, share.fair) : granted
}

export function mayAskSlot({ asking, share, wanted, askedAtMs }: SlotShare, nowMs: number): boolean {
  if (asking || share === undefined || share.granted >= wanted) return true
  return nowMs - askedAtMs >= everyMs
}

export function takeSlot(share: SlotShare): void {
  share.used += 1
  share.peak = Math.max(share.peak, share.used)
}

/** Whether what a call has left is to go back at once: others wait for it. */
export function leaveSlot(share: SlotShare): boolean {
  share.used -= 1
  return share.share?.isWanted === true && Math.max(share.used, mineOf(share)) < share.granted
}

/** What was used at most since the last request is kept ready; what is above that goes back. */
export function askSlot(entry: SlotShare, replica: string, nowMs: number): SlotAsk {
  const { limit, used, bound, short } = entry
  const want = Math.min(limit.limit, Math.max(entry.peak, used) + short)
  const held = Math.max(used, Math.min(mineOf(entry), want))
  Object.assign(entry, { granted: held, peak: used, short: 0, wanted: want, askedAtMs: nowMs })
  return { id: bound.id, limit: limit.limit, replica, held, want }
}
