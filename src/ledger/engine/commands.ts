import type { KeyFacts, Part, UsageRecord } from '../../core/call.ts'
import type { Nanos } from '../../core/money.ts'
import type { LimitWindow, TightestLimits } from '../../core/rate-limit.ts'
import type { TokenAsset } from '../../core/tokens.ts'
import type { AccountRecord, HoldFacts, HoldRecord, HoldState, KeyRecord, Metered } from './records.ts'

/** How much of the estimate a purse would have to give if it paid all of it, in what the purse counts in. */
export interface Need {
  readonly purse: number
  readonly amount: Nanos
  /** For a purse of tokens; its parts then say so too. */
  readonly asset?: TokenAsset
}

/** Checks every limit of the key chain and sets money aside, or changes nothing. */
export interface Admit {
  readonly type: 'admit'
  readonly id: string
  readonly accountId: number
  readonly epoch: number
  readonly facts: HoldFacts
  /** Leaf first. */
  readonly keys: readonly KeyFacts[]
  /** Candidate purses in burn order. Empty for a call that costs nothing. */
  readonly needs: readonly Need[]
  /** In money, against the budgets. */
  readonly estimate: Nanos
  /** Counted against limits of tokens until the end of the hold says how many it were. Absent: none. */
  readonly tokens?: number
  readonly metered: Metered
  readonly termMs: number
}

export type AdmitReply =
  | ({
      readonly code: 'ok'
      readonly parts: readonly Part[]
      readonly available: Nanos
    } & TightestLimits)
  | { readonly code: 'duplicate'; readonly state: HoldState }
  | { readonly code: 'load'; readonly account: boolean; readonly keys: readonly number[] } // records are missing: load them and try again
  | { readonly code: 'epoch'; readonly epoch: number }
  | { readonly code: 'key_changed'; readonly keyId: number } // the cached key is stale: authenticate again
  | { readonly code: 'denied'; readonly what: 'account' | 'key' }
  | ({
      readonly code: 'limit'
      readonly what: 'requests' | 'tokens' | 'concurrency' | 'budget'
      readonly keyId: number
      readonly limit: number | Nanos
      /** Of a limit by time. */
      readonly window?: LimitWindow
      readonly retryMs: number
    } & TightestLimits)
  | { readonly code: 'funds'; readonly available: Nanos; readonly held: Nanos } // money, over all purses that may pay

/**
 * Sets more aside for a running call: `needs` and `estimate` are the additional amounts. A recovered hold draws on the
 * loans that stand here like any other; where its account is not loaded yet it hears `funds` with nothing available.
 */
export interface Extend {
  readonly type: 'extend'
  readonly id: string
  readonly accountId: number
  readonly needs: readonly Need[]
  readonly estimate: Nanos
}
export type ExtendReply =
  | { readonly code: 'ok'; readonly parts: readonly Part[] } // all parts of the hold, the new ones included
  | { readonly code: 'funds'; readonly available: Nanos }
  | { readonly code: 'limit'; readonly what: 'budget'; readonly keyId: number }
  | Fenced

/** The hold is no longer ours to spend: nothing more may be forwarded on it. */
export type Fenced = { readonly code: 'gone' } | { readonly code: 'fenced'; readonly state: HoldState }

/** Stores what was delivered so far and moves the deadline. */
export interface Checkpoint {
  readonly type: 'checkpoint'
  readonly id: string
  readonly accountId: number
  readonly metered: Metered
  readonly termMs: number
}
export type CheckpointReply = { readonly code: 'ok' } | Fenced

/** Charges what was used. `record.parts` says what each purse pays; a part above what it holds is overflow. */
export interface Settle {
  readonly type: 'settle'
  readonly id: string
  readonly accountId: number
  readonly record: UsageRecord
  readonly claimMs: number
}
export type EndReply =
  | { readonly code: 'ok'; readonly overflow: Nanos }
  | { readonly code: 'duplicate'; readonly state: HoldState }
  | { readonly code: 'gone' }

/** Gives everything back: nothing was delivered. A record is kept where a vendor was called. */
export interface Void {
  readonly type: 'void'
  readonly id: string
  readonly accountId: number
  readonly record?: UsageRecord
  readonly claimMs: number
}

/** Ends a hold whose gateway died, if nothing was checkpointed since `metered` was read. */
export interface Reap {
  readonly type: 'reap'
  readonly id: string
  readonly accountId: number
  readonly metered: Metered
  readonly record: UsageRecord
  readonly claimMs: number
}
export type ReapReply = EndReply | { readonly code: 'moved' }

/** Drops records that Postgres has. `total` is what Postgres charged, over all rows of the id. */
export interface Finalise {
  readonly type: 'finalise'
  readonly id: string
  readonly accountId: number
  readonly total: Nanos
}
export type FinaliseReply = { readonly code: 'ok' } | { readonly code: 'gone' }

/** Holds whose deadline has passed. */
export interface ClaimReply {
  readonly code: 'ok'
  readonly holds: readonly HoldRecord[]
  /** Spenders for whom something is due and no epoch stands: it can be taken when one does. */
  readonly ownerless?: readonly string[]
}

/** Loans of Postgres arrive by total, so that a repeated one adds nothing. */
export interface Credit {
  readonly type: 'credit'
  readonly accountId: number
  readonly epoch: number
  readonly status: AccountRecord['status']
  /** All purses of the account, in burn order. */
  readonly purses: readonly {
    readonly id: number
    readonly lease: number
    readonly lent: Nanos
    readonly expiresAtMs?: number
  }[]
}
export interface CreditReply {
  readonly code: 'ok'
}

/** A key's counters, rebuilt from the books; ignored where a record with the same or a newer version is there, but for the version and status. */
export interface LoadKey {
  readonly type: 'load_key'
  readonly accountId: number
  readonly key: Omit<KeyRecord, 'inFlight' | 'held' | 'meters'>
}
export interface LoadKeyReply {
  readonly code: 'ok'
}

/**
 * Brings a hold to a store that does not have it: to a new epoch, or to another store while its own is away. What it
 * has set aside so far is on loans of elsewhere: no balance here is touched, neither now nor at its end. A store that
 * has the hold already learns of the parts that were drawn elsewhere since.
 */
export interface Assert {
  readonly type: 'assert'
  readonly id: string
  readonly accountId: number
  /** As its replica has it: live, or ended and not in the books yet. */
  readonly hold: HoldRecord
  readonly termMs: number
}
/** `duplicate`: it has ended there, or it is held there and ended here: then its end is to be sent. */
export type AssertReply =
  | { readonly code: 'ok' }
  | { readonly code: 'duplicate'; readonly state: HoldState }
  | { readonly code: 'fenced'; readonly state: HoldState }

/** Stops an account: it is closed, or an assertion failed. */
export interface Stop {
  readonly type: 'stop'
  readonly accountId: number
}
export interface StopReply {
  readonly code: 'ok'
}

/** Of a store that outlives epochs: another epoch stands for the account's cell, 0 for none, and nothing was changed. */
export interface OtherEpoch {
  readonly code: 'epoch'
  readonly epoch: number
}

export type Command = Admit | Extend | Checkpoint | Settle | Void | Reap | Finalise | Credit | LoadKey | Assert | Stop
export type ReplyTo<C extends Command> = C extends Admit
  ? AdmitReply
  : C extends Extend
    ? ExtendReply
    : C extends Checkpoint
      ? CheckpointReply
      : C extends Settle | Void
        ? EndReply
        : C extends Reap
          ? ReapReply
          : C extends Finalise
            ? FinaliseReply
            : C extends Credit
              ? CreditReply
              : C extends LoadKey
                ? LoadKeyReply
                : C extends Assert
                  ? AssertReply
                  : StopReply

/** What a command does: its reply, and the records as they are afterwards. `dropHold` removes the hold. */
export interface Decision<C extends Command = Command> {
  readonly reply: ReplyTo<C>
  readonly account?: AccountRecord
  readonly keys?: readonly KeyRecord[]
  readonly hold?: HoldRecord
  readonly dropHold?: true
}
