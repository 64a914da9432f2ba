import type { Nanos } from '../core/money.ts'
import type { TokenAsset } from '../core/tokens.ts'
import type { Clock } from '../ports.ts'

/** A loan should last so long at the account's present burn. */
const coverMs = 600_000
/** Burn is measured over windows of this length. */
const windowMs = 60_000
/** A loan is no smaller than this, in nano-units of its currency. */
const floor: Nanos = 1_000_000_000n
/** With less than this share of its target left, in percent, an account is lent more ahead of need. */
const lowPercent = 30n
/** Accounts whose burn is remembered; the least recently charged go first. */
const accountLimit = 100_000
/** For packages: as much as the books will lend at once, which is half of what is free. */
const most: Nanos = 2n ** 62n

/**
 * How much of an account's money to borrow. What is lent is out of reach of every other spender, and frozen for a while
 * when the store of the records is lost; what is not lent cannot be spent while Postgres is away.
 */
export interface Targets {
  charged(accountId: number, amount: Nanos): void
  /** With so much at hand a call that came would have been let in with ease. */
  wanted(accountId: number, amount: Nanos): void
  /** What a loan should be filled up to, in nano-units; of a package in micro-tokens. */
  of(accountId: number, asset?: TokenAsset): Nanos
  /** So little is left that more should be borrowed before it is needed. */
  isLow(accountId: number, available: Nanos): boolean
}

/** Of one window: what was charged, and the most that was wanted at hand. */
interface Sums {
  readonly charged: Nanos
  readonly wanted: Nanos
}

interface Burn {
  readonly fromMs: number
  readonly now: Sums
  /** The window before. */
  readonly before: Sums
}

const none: Sums = { charged: 0n, wanted: 0n }

export function openTargets(clock: Clock): Targets {
  const burns = new Map<number, Burn>()

  function targetOf(accountId: number): Nanos {
    const burn = burns.get(accountId)
    if (!burn) return floor
    const { now, before } = turned(burn, clock.elapsed())
    const fastest = larger(now.charged, before.charged)
    return larger(floor, larger(fastest * BigInt(coverMs / windowMs), larger(now.wanted, before.wanted)))
  }
  function change(accountId: number, how: (sums: Sums) => Sums): void {
    const nowMs = clock.elapsed()
    const burn = turned(burns.get(accountId) ?? { fromMs: nowMs, now: none, before: none }, nowMs)
    burns.delete(accountId)
    burns.set(accountId, { ...burn, now: how(burn.now) })
    if (burns.size > accountLimit) burns.delete(burns.keys().next().value ?? accountId)
  }
  return {
    charged: (accountId, amount) => change(accountId, ({ charged, wanted }) => ({ charged: charged + amount, wanted })),
    wanted: (accountId, amount) =>
      change(accountId, ({ charged, wanted }) => ({ charged, wanted: larger(wanted, amount) })),
    of: (accountId, asset) => (asset === undefined ? targetOf(accountId) : most),
    isLow: (accountId, available) => available * 100n < targetOf(accountId) * lowPercent,
  }
}

/** The burn as it stands at a moment: a window that is over becomes the one before. */
function turned(burn: Burn, nowMs: number): Burn {
  const passed = Math.floor((nowMs - burn.fromMs) / windowMs)
  if (passed <= 0) return burn
  return { fromMs: burn.fromMs + passed * windowMs, now: none, before: passed === 1 ? burn.now : none }
}

function larger(one: Nanos, other: Nanos): Nanos {
  return one > other ? one : other
}
