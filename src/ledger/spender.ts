import type { Caller, KeyFacts } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import type { Platform, Purse } from '../ports.ts'
import { periodStart } from '../core/period.ts'
import { tokenAsset } from '../core/tokens.ts'
import { amountIn, type Bill } from './bill.ts'

/** A refused top-up is not asked for again sooner than this, so that a poor account cannot hammer Postgres. */
const topUpPauseMs = 500
/** Accounts remembered at most; the least recently loaded go first. */
const accountLimit = 100_000
/** A list of purses is read again after this: another replica may have been told of a grant that begins or was voided. */
const listMs = 60_000

/** Who spends for the accounts served here: it borrows their money from Postgres and loads their keys' counters. */
export interface Spender {
  readonly epoch: number
  /** The purses of a loaded account, in burn order. */
  purses(accountId: number): readonly Purse[] | undefined
  /**
   * Reads the purses of a loaded account again where a grant has ended or changed, so that its successor pays; undefined
   * where the list is good. It never rejects: while the books are away, what is lent may still be spent.
   */
  renewal(accountId: number): Promise<void> | undefined
  /** What an account had available when it was last seen, in nano-units; undefined before. A hint, never a decision. */
  seen(accountId: number): Nanos | undefined
  saw(accountId: number, available: Nanos): void
  /** Borrows for an account and hands its records to the engine. Calls for one account are made one after another. */
  loadAccount(accountId: number): Promise<void>
  /** Rebuilds the counters of keys from the books. */
  loadKeys(caller: Caller, keyIds: readonly number[]): Promise<void>
  /** Borrows more, of each purse at least what a bill comes to in it if the account has it. At most twice a second per account. */
  topUp(accountId: number, want: Bill): Promise<void>
  /** Money was added or the account changed: the next call borrows at once. */
  changed(accountId: number): void
}

interface Loan {
  purses: readonly Purse[]
  /** The first moment at which one of them has ended. */
  endsAtMs: number
  /** When they were last asked for, and when more was, by the clock that never goes back. */
  askedAtMs: number
  toppedUpAtMs: number
  /** The account was changed since the purses were read. */
  isStale: boolean
  available?: Nanos
}

type SpenderParts = Pick<Platform, 'books' | 'shared' | 'clock'>

/** Everything that a spender remembers beside the engine's records. */
interface State {
  readonly parts: SpenderParts
  readonly name: string
  readonly epoch: number
  readonly loans: Map<number, Loan>
  readonly asking: Map<number, Promise<void>>
}

/**
 * Opens a new epoch for this spender and gives back what was lent in earlier ones. What those still owe must be in
 * the books by then: see `recover`.
 */
export async function openSpender(parts: SpenderParts, name: string): Promise<Spender> {
  const { books, clock } = parts
  const epoch = await books.openEpoch(name)
  await books.closeLeases(name)
  const loans = new Map<number, Loan>()
  const state: State = { parts, name, epoch, loans, asking: new Map() }
  return {
    epoch,
    purses: (accountId) => loans.get(accountId)?.purses,
    renewal: (accountId) => renewal(state, accountId),
    seen: (accountId) => loans.get(accountId)?.available,
    saw(accountId, available) {
      const loan = loans.get(accountId)
      if (loan) loan.available = available
    },
    loadAccount: (accountId) => ask(state, accountId, nothing),
    async loadKeys(caller, keyIds) {
      for (const key of caller.chain) if (keyIds.includes(key.id)) await loadKey(parts, caller, key)
    },
    async topUp(accountId, want) {
      const loan = loans.get(accountId)
      const now = clock.elapsed()
      if (loan && now - loan.toppedUpAtMs < topUpPauseMs) return
      if (loan) loan.toppedUpAtMs = now
      await ask(state, accountId, want)
    },
    changed(accountId) {
      const loan = loans.get(accountId)
      if (!loan) return
      loan.isStale = true
      loan.askedAtMs = never
      loan.toppedUpAtMs = never
    },
  }
}

/** One request per account at a time: those who come meanwhile share it. */
function ask(state: State, accountId: number, want: Bill): Promise<void> {
  const { asking } = state
  const running = asking.get(accountId)
  if (running) return running
  const started = borrow(state, accountId, want).finally(() => asking.delete(accountId))
  asking.set(accountId, started)
  return started
}

async function borrow(state: State, accountId: number, want: Bill): Promise<void> {
  const before = state.loans.get(accountId)
  const wasStale = before?.isStale ?? false
  // Before it is read: what changes meanwhile is read again.
  if (before) before.isStale = false
  try {
    await readAndBorrow(state, accountId, want)
  } catch (error) {
    if (before) before.isStale ||= wasStale
    throw error
  }
}

async function readAndBorrow(state: State, accountId: number, want: Bill): Promise<void> {
  const { parts, epoch, loans } = state
  const purses = await parts.books.purses(accountId)
  const lent = []
  for (const purse of purses) lent.push(await lentBy(state, purse, want))
  await parts.shared.run({ type: 'credit', accountId, epoch, status: 'open', purses: lent })
  const { isStale = false, toppedUpAtMs = never } = loans.get(accountId) ?? {}
  loans.delete(accountId)
  loans.set(accountId, { purses, endsAtMs: firstEnd(purses), askedAtMs: parts.clock.elapsed(), toppedUpAtMs, isStale })
  if (loans.size > accountLimit) loans.delete(loans.keys().next().value ?? accountId)
}

async function lentBy({ parts, name, epoch }: State, purse: Purse, want: Bill) {
  const asset = purse.asset === tokenAsset ? tokenAsset : undefined
  const wanted = { purse: purse.id, spender: name, epoch, want: amountIn(want, asset) ?? 0n, ...(asset && { asset }) }
  const { id: lease, lent } = await parts.books.lend(wanted)
  return { id: purse.id, lease, lent, ...(purse.expiresAtMs !== undefined && { expiresAtMs: purse.expiresAtMs }) }
}

function renewal(state: State, accountId: number): Promise<void> | undefined {
  const loan = state.loans.get(accountId)
  if (!loan) return undefined
  const { clock } = state.parts
  const now = clock.elapsed()
  const isDue = loan.isStale || clock.now() >= loan.endsAtMs
  if (now - loan.askedAtMs < (isDue ? topUpPauseMs : listMs)) return undefined
  loan.askedAtMs = now
  const asked = ask(state, accountId, nothing).catch(() => {
    // The list that is there still holds: what has expired in it the engine refuses.
  })
  return isDue ? asked : undefined
}

async function loadKey({ books, shared, clock }: SpenderParts, caller: Caller, key: KeyFacts): Promise<void> {
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

/** Of something that has not been done yet. */
const never = Number.NEGATIVE_INFINITY

const nothing: Bill = { money: 0n, tokens: 0n }

function firstEnd(purses: readonly Purse[]): number {
  return Math.min(...purses.map(({ expiresAtMs = Number.POSITIVE_INFINITY }) => expiresAtMs))
}
