import type { Budget, BudgetWindow, Part, UsageRecord } from '../../core/call.ts'
import type { Nanos } from '../../core/money.ts'
import type { PriceSet } from '../../core/price.ts'
import type { Meter, Reserved } from '../../core/rate-limit.ts'
import type { TokenWeights } from '../../core/tokens.ts'

/** What the engine knows of a purse: its share of the lease that is free, and what holds have set aside. */
export interface PurseRecord {
  readonly id: number
  /** The loan of Postgres that this money stands on. */
  readonly lease: number
  /** Total lent so far under this lease; a repeated `credit` with the same total changes nothing. */
  readonly lent: Nanos
  readonly available: Nanos
  readonly held: Nanos
  /** Holds made at or after this moment may not draw on the purse. */
  readonly expiresAtMs?: number
}

export interface AccountRecord {
  readonly id: number
  readonly epoch: number
  /** `stopped` refuses every new hold: the account is closed, or an assertion failed and its books need a look. */
  readonly status: 'open' | 'stopped'
  /** In burn order. */
  readonly purses: readonly PurseRecord[]
}

/** A counter that carries the period it counts in, so that a rollover needs no invalidation. */
export interface WindowRecord {
  readonly window: BudgetWindow
  /** Start of the period, ms since 1970; 0 for `total`. */
  readonly period: number
  readonly spent: Nanos
}

export interface KeyRecord {
  /** Below zero for the counters of an account itself: see `accountKeyId`. */
  readonly id: number
  readonly status: 'active' | 'revoked'
  readonly version: number
  readonly inFlight: number
  /** Estimates of the holds in flight, counted against every budget of the key. */
  readonly held: Nanos
  readonly windows: readonly WindowRecord[]
  /**
   * Token bucket of requests: what is left at `requestsAtMs`, in 60,000ths of a request. In that unit a limit of n per
   * minute refills n each millisecond, so the bucket is whole numbers and never drifts. Absent until the first limited call.
   */
  readonly requestsLeft?: number
  readonly requestsAtMs?: number
  /** Of the further limits by time, as of the last admission. Absent until the first one of a key that has any. */
  readonly meters?: readonly Meter[]
}

/** What the reaper needs to charge a call whose gateway died, and what a receipt shows of it. */
export interface HoldFacts {
  readonly accountId: number
  readonly keyIds: readonly number[]
  readonly model: string
  readonly prices: PriceSet
  /** What packages count; absent: money alone can pay. */
  readonly tokenWeights?: TokenWeights
  /** The sandbox is priced but never charged. */
  readonly free: boolean
  readonly stream: boolean
  readonly startedAtMs: number
  /** The replica that serves the call. */
  readonly replica: string
}

/** What has been delivered so far, as of the last checkpoint. */
export interface Metered {
  /** True once content was forwarded to the caller: from then on the prompt is charged too. */
  readonly started: boolean
  readonly inputTokens: number
  readonly outputTokens: number
  readonly vendor: string
  readonly vendorModel: string
  readonly tokenizer?: string
  /** The service tier that the vendor says it serves with. */
  readonly serviceTier?: string
}

export type HoldState = 'held' | 'settled' | 'voided' | 'reaped'

/** The budgets of one key as they were at admission, so that an extension is held to them too. */
export interface KeyBudgets {
  readonly keyId: number
  readonly budgets: readonly Budget[]
}

/** A hold is a record with a deadline: every way out of `held` happens exactly once. */
export interface HoldRecord {
  readonly id: string
  readonly state: HoldState
  readonly facts: HoldFacts
  /** What is set aside, in burn order. Empty for a free call. */
  readonly parts: readonly Part[]
  /** Counted against the budgets of `facts.keyIds` while held. */
  readonly estimate: Nanos
  /** Absent where no key of the chain has a budget. */
  readonly budgets?: readonly KeyBudgets[]
  /** The tokens that were counted at admission. Absent where no key of the chain limits tokens. */
  readonly reserved?: Reserved
  readonly metered: Metered
  /** When the reaper may take it (held) or must send it to Postgres again (settled, voided, reaped). */
  readonly dueMs: number
  /** Present in `settled` and `reaped`. */
  readonly record?: UsageRecord
  /**
   * Brought back from a journal or by an assertion: it was admitted by another store, or in another epoch of this one.
   * No key here counts it while it is held, and of its money this store has set aside only what `own` says.
   */
  readonly recovered?: true
  /**
   * What of `parts` this store has set aside, in their order. Absent where that goes without saying: all of them, or
   * of a recovered hold nothing.
   */
  readonly own?: readonly Part[]
}

/** The records one command works on. Those that do not exist are absent. */
export interface Records {
  readonly account?: AccountRecord
  readonly keys: ReadonlyMap<number, KeyRecord>
  readonly hold?: HoldRecord
}
