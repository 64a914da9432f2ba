import { mostLimit } from './rate-limit.ts'

/**
 * Limits of calls at once over all replicas. Each replica is lent slots and decides by itself who has one. It says again
 * and again how many it has: what a replica had that died comes back by itself.
 */

/** A replica says what it has of a limit, and what it would have. Saying it twice changes nothing. */
export interface SlotAsk {
  /** What is limited: the same limit has the same id in every replica. */
  readonly id: string
  /** Calls at once. */
  readonly limit: number
  readonly replica: string
  /** How many it has and keeps: calls are under way in them, or may begin before it hears the answer. */
  readonly held: number
  /** How many it would have in all. */
  readonly want: number
}

export interface SlotShare {
  /** How many it has in all from now on; never fewer than it holds. */
  readonly granted: number
  /** How many it should have: what it has above that goes back as calls end. */
  readonly fair: number
  /** Others would have more: what is not needed goes back at once. */
  readonly isWanted: boolean
}

/** What one replica has, as it last said. */
export interface SlotHolder {
  readonly replica: string
  readonly slots: number
  readonly want: number
  readonly atMs: number
}

/** What a replica had that has said nothing for so long is lent to others; it says something every second. */
export const slotMs = 5_000
/** Replicas that are remembered; far above any installation. */
export const maxHolders = 256

/**
 * Lends slots. Where not all can have what they want, each that wants some has an equal part to begin with; what nobody
 * lays claim to goes to who asks. Who has had his part gives way to those who have not.
 */
export function lendSlots(
  holders: readonly SlotHolder[],
  ask: SlotAsk,
  nowMs: number,
): { readonly holders: readonly SlotHolder[]; readonly share: SlotShare } {
  const { limit, replica, held, want } = ask
  const living = holders.filter(({ atMs }) => Math.abs(nowMs - atMs) < slotMs)
  const own = living.find((one) => one.replica === replica)?.slots ?? 0
  const others = living.filter((one) => one.replica !== replica)
  const free = Math.max(0, limit - others.reduce((sum, { slots }) => sum + slots, 0))
  const wanting = others.filter((one) => one.want > 0).length + 1
  const part = Math.max(1, Math.floor(limit / wanting))
  const owed = others.reduce((sum, one) => sum + Math.max(0, Math.min(one.want, part) - one.slots), 0)
  const left = Math.max(0, free - owed)
  const most = own >= part ? left : Math.max(left, Math.min(free, part))
  const fair = Math.min(want, most)
  const granted = Math.max(held, fair)
  const isWanted = others.some((one) => one.want > one.slots)
  const asker = granted > 0 || want > 0 ? [{ replica, slots: granted, want, atMs: nowMs }] : []
  return { holders: [...others, ...asker].slice(-maxHolders), share: { granted, fair, isWanted } }
}

/** Throws RangeError for what cannot be counted exactly. */
export function checkSlots({ limit, held, want }: SlotAsk): void {
  for (const number of [limit, held, want]) {
    if (!Number.isSafeInteger(number) || number < 0 || number > mostLimit)
      throw new RangeError('slots are asked for in whole numbers')
  }
}

/** Limits remembered by one process that lends to itself. Those used longest ago go first; who is there says so again. */
const lentLimits = 100_000

/** Lends out of this process's own memory. */
export function openSlotLender(): { lend(ask: SlotAsk, nowMs: number): SlotShare } {
  const records = new Map<string, readonly SlotHolder[]>()
  return {
    lend(ask, nowMs) {
      checkSlots(ask)
      const { holders, share } = lendSlots(records.get(ask.id) ?? [], ask, nowMs)
      records.delete(ask.id)
      if (holders.length > 0) records.set(ask.id, holders)
      if (records.size > lentLimits) records.delete(records.keys().next().value ?? ask.id)
      return share
    },
  }
}
