import type { Caller, KeyFacts } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import type { Platform, Purse } from '../ports.ts'
import { periodStart } from '../core/period.ts'

/** A refused top-up is not asked for again sooner than this, so that a poor account cannot hammer Postgres. */
const topUpPauseMs = 500
/** Accounts remembered at most; the least recently loaded go first. */
const accountLimit = 100_000

/** Who spends for the accounts served here: it borrows their money from Postgres and loads their keys' counters. */
export interface Spender {
  readonly epoch: number
  /** The purses of a loaded account, in burn order. */
  purses(accountId: number): readonly Purse[] | undefined
  /** What an account had available when it was last seen, in nano-units; undefined before. A hint, never a decision. */
  seen(accountId: number): Nanos | undefined
  saw(accountId: number, available: Nanos): void
  /** Borrows for an account and hands its records to the engine. Calls for one account are made one after another. */
  loadAccount(accountId: number): Promise<void>
  /** Rebuilds the counters of keys from the books. */
  loadKeys(caller: Caller, keyIds: readonly number[]): Promise<void>
  /** Borrows more, at least `want` if the account has it. At most twice a second per account. */
  topUp(accountId: number, want: Nanos): Promise<void>
  /** Money was added or the account changed: the next call borrows at once. */
  changed(accountId: number): void
}

interface Loan {
  purses: readonly Purse[]
  askedAtMs: number
  available?: Nanos
}

/**
 * Opens a new epoch for this spender and gives back what was lent in earlier ones. What those still owe must be in
 * the books by then: see `recover`.
 */
export async function openSpender(
  platform: Pick<Platform, 'books' | 'shared' | 'clock'>,
  name: string,
): Promise<Spender> {
  const { books, shared, clock } = platform
  const epoch = await books.openEpoch(name)
  await books.closeLeases(name)
  const loans = new Map<number, Loan>()
  const asking = new Map<number, Promise<void>>()

  async function borrow(accountId: number, want: Nanos): Promise<void> {
    const purses = await books.purses(accountId)
    const lent = []
    for (const purse of purses) {
      const lease = await books.lend({ purse: purse.id, spender: name, epoch, want })
      lent.push({
        id: purse.id,
        lease: lease.id,
        lent: lease.lent,
        ...(purse.expiresAtMs === undefined ? {} : { expiresAtMs: purse.expiresAtMs }),
      })
    }
    await shared.run({ type: 'credit', accountId, epoch, status: 'open', purses: lent })
    loans.delete(accountId)
    loans.set(accountId, { purses, askedAtMs: clock.now() })
    if (loans.size > accountLimit) loans.delete(loans.keys().next().value ?? accountId)
  }

  /** One request per account at a time: those who come meanwhile share it. */
  function ask(accountId: number, want: Nanos): Promise<void> {
    const running = asking.get(accountId)
    if (running) return running
    const started = borrow(accountId, want).finally(() => asking.delete(accountId))
    asking.set(accountId, started)
    return started
  }

  async function loadKey(caller: Caller, key: KeyFacts): Promise<void> {
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

  return {
    epoch,
    purses: (accountId) => loans.get(accountId)?.purses,
    seen: (accountId) => loans.get(accountId)?.available,
    saw(accountId, available) {
      const loan = loans.get(accountId)
      if (loan) loan.available = available
    },
    loadAccount: (accountId) => ask(accountId, 0n),
    async loadKeys(caller, keyIds) {
      for (const key of caller.chain) if (keyIds.includes(key.id)) await loadKey(caller, key)
    },
    async topUp(accountId, want) {
      const loan = loans.get(accountId)
      if (loan && clock.now() - loan.askedAtMs < topUpPauseMs) return
      await ask(accountId, want)
    },
    changed(accountId) {
      const loan = loans.get(accountId)
      if (loan) loan.askedAtMs = 0
    },
  }
}
