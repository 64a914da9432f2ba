import type { Caller, KeyFacts } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import { periodStart } from '../core/period.ts'
import type { Purse } from '../ports.ts'
import type { Bill } from './bill.ts'
import { openEpochs } from './epochs.ts'
import { ask, type Loan, type Loans, type SpenderOptions, never, nothing, renewal } from './loans.ts'
import { openTargets } from './targets.ts'
import { topUp, topUpSoon } from './top-ups.ts'

/** Who spends for the accounts served here: it borrows their money from Postgres and loads their keys' counters. */
export interface Spender {
  /** Under which an account's money is spent now; 0 where that is not known yet. */
  epochOf(accountId: number): number
  /** Finds out which epoch stands for an account, and opens a new one where none does. */
  enter(accountId: number): Promise<void>
  /** The same for one who spends here, by his name in the books. */
  enterAs(spender: string): Promise<void>
  /** The purses of a loaded account, in burn order. */
  purses(accountId: number): readonly Purse[] | undefined
  /**
   * Reads the purses of a loaded account again where a grant has ended or changed, so that its successor pays; undefined
   * where the list is good. It never rejects: while the books are away, what is lent may still be spent.
   */
  renewal(accountId: number): Promise<void> | undefined
  /** What an account had available when it was last seen, in nano-units; undefined before. A hint, never a decision. */
  seen(accountId: number): Nanos | undefined
  /** Tells what is available now; where that is little of what an account burns, more is borrowed ahead of need. */
  saw(accountId: number, available: Nanos): void
  /** An account was charged so much. */
  charged(accountId: number, amount: Nanos): void
  /** Borrows for an account and hands its records to the engine. Calls for one account are made one after another. */
  loadAccount(accountId: number): Promise<void>
  /** Rebuilds the counters of keys from the books. */
  loadKeys(caller: Caller, keyIds: readonly number[]): Promise<void>
  /**
   * Borrows more, of each purse at least what the bills of all who ask meanwhile come to in it, if the account has it.
   * False where nothing came of it; then the books are not asked again for half a second.
   */
  topUp(accountId: number, want: Bill): Promise<boolean>
  /**
   * Calls are let in with ease where so much is available: it is borrowed behind their backs, if the account has it, at
   * most twice a second.
   */
  topUpAhead(accountId: number, amount: Nanos): void
  /** Money was added or the account changed: the next call borrows at once. */
  changed(accountId: number): void
  /**
   * Gives back all that is lent here, under the name of `spender`. Only for a store of this process alone, on which
   * nothing is held and of which no record is outstanding.
   */
  giveBack(spender: string): Promise<void>
  /** Whether a loan was borrowed here since all was last given back. */
  owes(lease: number): boolean
  /** Whether anything may have been borrowed since then: an answer may have been lost. */
  readonly mayOwe: boolean
}

/** A spender over one store. Its epochs are entered when the first account of each is served. */
export function openSpender(options: SpenderOptions): Spender {
  const { clock, shared } = options
  const loans = new Map<number, Loan>()
  const epochs = openEpochs({ ...options, onEpoch: (spender) => options.onEpoch?.(spender) })
  const targets = options.borrowsAll ? undefined : openTargets(clock)
  const state: Loans = {
    options,
    epochs,
    targets,
    loans,
    asking: new Map(),
    next: new Map(),
    leases: new Set(),
    mayOwe: false,
  }
  return {
    epochOf: (accountId) => epochs.known(shared.spenderOf(accountId)),
    enter: (accountId) => epochs.enter(shared.spenderOf(accountId)),
    enterAs: (spender) => epochs.enter(spender),
    purses: (accountId) => loans.get(accountId)?.purses,
    renewal: (accountId) => renewal(state, accountId),
    seen: (accountId) => loans.get(accountId)?.available,
    saw: (accountId, available) => saw(state, accountId, available),
    charged: (accountId, amount) => targets?.charged(accountId, amount),
    loadAccount: (accountId) => ask(state, accountId, nothing),
    async loadKeys(caller, keyIds) {
      for (const key of caller.chain) if (keyIds.includes(key.id)) await loadKey(options, caller, key)
    },
    topUp: (accountId, want) => topUp(state, accountId, want),
    topUpAhead(accountId, amount) {
      if (!targets) return
      targets.wanted(accountId, amount)
      topUpSoon(state, accountId)
    },
    changed(accountId) {
      const loan = loans.get(accountId)
      if (!loan) return
      loan.isStale = true
      loan.askedAtMs = never
      loan.toppedUpAtMs = never
      loan.dryAtMs = never
    },
    giveBack: (spender) => giveBack(state, spender),
    owes: (lease) => state.leases.has(lease),
    // allowed -- one object for the process
    get mayOwe() {
      return state.mayOwe
    },
  }
}

async function giveBack(state: Loans, spender: string): Promise<void> {
  const { loans, leases, epochs, options } = state
  const owed = [...leases]
  loans.clear()
  state.mayOwe = false
  try {
    // Nothing is admitted on the old loans from here on, and nothing borrowed before the new epoch stands.
    await epochs.renew(spender)
    await options.books.closeLeases(spender)
    for (const lease of owed) leases.delete(lease)
  } catch (error) {
    state.mayOwe = true
    throw error
  }
}

function saw(state: Loans, accountId: number, available: Nanos): void {
  const loan = state.loans.get(accountId)
  if (!loan) return
  loan.available = available
  if (state.targets?.isLow(accountId, available)) topUpSoon(state, accountId)
}

async function loadKey({ books, shared, clock }: SpenderOptions, caller: Caller, key: KeyFacts): Promise<void> {
  const now = clock.now()
  const windows = []
  for (const window of new Set(key.budgets.map((budget) => budget.window))) {
    const period = periodStart(window, now)
    windows.push({ window, period, spent: await books.spent(key.id, window, period) })
  }
  await shared.run({
    type: 'load_key',
    accountId: caller.accountId,
    key: { id: key.id, status: 'active', version: key.version, windows },
  })
}
