import type { DurableBooks } from '../../src/db/books.ts'
import type { NewGrant } from '../../src/db/grants.ts'
import type { Refund, RefundRequest } from '../../src/ledger/refund.ts'
import type { Books } from '../../src/ports.ts'
import type { ModelQuota } from '../sim/model-state.ts'

/** Who pays in a history, with a master key and one below it. Ids are a side's own. */
export interface SidePayer {
  readonly accountId: number
  readonly keys: readonly number[]
}

export interface SidePurse {
  readonly id: number
  readonly accountId: number
  readonly asset: string
  /** Null for a wallet. */
  readonly grantId: number | null
}

/** What a history has left, of the accounts that are asked for. Amounts are decimals, so that all sides write them alike. */
export interface SideState {
  /** In the order in which they came into being. */
  readonly purses: readonly (SidePurse & {
    readonly kind: string
    readonly posted: string
    readonly free: string
    readonly deferred: string
    readonly isVoided: boolean
    readonly isClosed: boolean
  })[]
  readonly leases: readonly {
    readonly id: number
    readonly purse: number
    readonly spender: string
    readonly epoch: number
    readonly amount: string
    readonly consumed: string
    readonly state: string
  }[]
  readonly rows: readonly {
    readonly id: string
    readonly seq: number
    readonly kind: number
    readonly charge: string
    readonly priced: string
    readonly input: string
    readonly output: string
    readonly parts: readonly { readonly purse: number; readonly lease: number; readonly amount: string }[]
  }[]
  readonly hours: readonly {
    readonly account: number
    readonly key: number
    readonly model: string
    readonly vendor: string
    readonly hourMs: number
    readonly currency: string
    readonly sums: string
  }[]
}

/** One keeper of the books: the model, or the SQL on a database. */
export interface Side {
  readonly name: string
  readonly books: Pick<Books, 'openEpoch' | 'closeLeases' | 'lend' | 'flush' | 'purses' | 'spent'>
  /** One for each credit limit. */
  newPayers(creditLimits: readonly bigint[]): Promise<readonly SidePayer[]>
  addQuota(quota: Omit<ModelQuota, 'id'> & { readonly ref: string }): Promise<void>
  pay(payment: { readonly accountId: number; readonly amount: bigint; readonly ref: string }): Promise<unknown>
  grant(wanted: NewGrant): ReturnType<DurableBooks['grant']>
  voidGrant(accountId: number, id: number): Promise<void>
  endGrants(): Promise<unknown>
  refund(wanted: RefundRequest): Promise<Refund>
  wallet(accountId: number): ReturnType<DurableBooks['balance']>
  rollup(): Promise<unknown>
  /** In the order in which they came into being. */
  purses(accounts: readonly number[]): Promise<readonly SidePurse[]>
  state(accounts: readonly number[]): Promise<SideState>
  /** What the side itself finds wrong with all that it keeps. */
  faults(): Promise<readonly unknown[]>
  close(): Promise<void>
}

/** The time of a history, for all sides. */
export interface SideClock {
  nowMs: number
}
