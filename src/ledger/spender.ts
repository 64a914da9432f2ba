import type { Caller, KeyFacts } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { periodStart } from '../core/period.ts'
import { StaleEpoch } from '../core/stale-epoch.ts'
import { tokenAsset } from '../core/tokens.ts'
import type { Platform, Purse, Shared } from '../ports.ts'
import { amountIn, type Bill, sumOfBills } from './bill.ts'
import { openEpochs, type Epochs } from './epochs.ts'
import { openTargets, type Targets } from './targets.ts'

/** A top-up that brought nothing is not asked for again sooner than this, so that a poor account cannot hammer Postgres. */
const topUpPauseMs = 500
/** Accounts remembered at most; the least recently loaded go first. */
const accountLimit = 100_000
/** A list of purses is read again after this: another replica may have been told of a grant that begins or was voided. */
const listMs = 60_000
/** Epochs may change while money is borrowed; more often than that is a fault. */
const borrowRounds = 4

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

/** What the books have lent under a lease by now, spent or not. */
interface Lent {
  readonly lease: number
  readonly amount: bigint
}

interface Loan {
  purses: readonly Purse[]
  /** The first moment at which one of them has ended. */
  endsAtMs: number
  lent: readonly Lent[]
  /** When they were last asked for, more ahead of need, and more in vain, by the clock that never goes back. */
  askedAtMs: number
  toppedUpAtMs: number
  dryAtMs: number
  /** The account was changed since the purses were read. */
  isStale: boolean
  available?: Nanos
}

export interface SpenderOptions {
  readonly books: Platform['books']
  readonly clock: Platform['clock']
  readonly shared: Shared
  /** Everything that is free is borrowed at once: right where one process serves one database. */
  readonly borrowsAll: boolean
  /** Only this process spends here, and it gives back what it does not need. */
  readonly givesBack?: true
  /** A new epoch stands for a spender: what runs must be asserted in it. */
  readonly onEpoch?: (spender: string) => void
}

/** One top-up for all who have run short meanwhile. */
interface TopUp {
  want: Bill
  readonly done: Promise<boolean>
}

/** Everything that a spender remembers beside the engine's records. */
interface State {
  readonly options: SpenderOptions
  readonly epochs: Epochs
  readonly targets: Targets | undefined
  readonly loans: Map<number, Loan>
  readonly asking: Map<number, Promise<void>>
  /** Top-ups that wait for what is being asked. */
  readonly next: Map<number, TopUp>
  /** Kept only by a spender that may give all of them back. */
  readonly leases: Set<number>
  mayOwe: boolean
}

/** A spender over one store. Its epochs are entered when the first account of each is served. */
export function openSpender(options: SpenderOptions): Spender {
  const { clock, shared } = options
  const loans = new Map<number, Loan>()
  const epochs = openEpochs({ ...options, onEpoch: (spender) => options.onEpoch?.(spender) })
  const targets = options.borrowsAll ? undefined : openTargets(clock)
  const state: State = {
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

async function giveBack(state: State, spender: string): Promise<void> {
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

function saw(state: State, accountId: number, available: Nanos): void {
  const loan = state.loans.get(accountId)
  if (!loan) return
  loan.available = available
  if (state.targets?.isLow(accountId, available)) topUpSoon(state, accountId)
}

/** Nobody waits for it: where the books are away, what is lent may still be spent. */
function topUpSoon(state: State, accountId: number): void {
  const loan = state.loans.get(accountId)
  const now = state.options.clock.elapsed()
  if (!loan || now - loan.toppedUpAtMs < topUpPauseMs) return
  loan.toppedUpAtMs = now
  void ask(state, accountId, nothing).catch(() => {})
}

/** Those who run short in one moment share a top-up: one for each would serve them one by one. */
function topUp(state: State, accountId: number, want: Bill): Promise<boolean> {
  const { next, loans, options } = state
  const { dryAtMs = never } = loans.get(accountId) ?? {}
  if (options.clock.elapsed() - dryAtMs < topUpPauseMs) return Promise.resolve(false)
  const waiting = next.get(accountId)
  if (waiting) {
    waiting.want = sumOfBills(waiting.want, want)
    return waiting.done
  }
  const mine: TopUp = { want, done: toppedUp(state, accountId) }
  next.set(accountId, mine)
  return mine.done
}

/** Whether the books lent more than before: what is asked meanwhile may have been asked for less. */
async function toppedUp(state: State, accountId: number): Promise<boolean> {
  const { next, asking, loans, options } = state
  await Promise.resolve()
  while (asking.has(accountId)) await asking.get(accountId)?.catch(() => {})
  const { want = nothing } = next.get(accountId) ?? {}
  next.delete(accountId)
  const before = loans.get(accountId)?.lent ?? []
  await ask(state, accountId, want)
  const loan = loans.get(accountId)
  if (!loan || loan.lent.some((now) => now.amount > amountOf(before, now.lease))) return true
  // Of money that was added meanwhile nothing was seen yet.
  if (!loan.isStale) loan.dryAtMs = options.clock.elapsed()
  return false
}

function amountOf(lent: readonly Lent[], lease: number): bigint {
  return lent.find((one) => one.lease === lease)?.amount ?? 0n
}

/** One request per account at a time: those who come meanwhile share it. Nothing wanted: the list is read anew. */
function ask(state: State, accountId: number, want: Bill | undefined): Promise<void> {
  const { asking } = state
  const running = asking.get(accountId)
  if (running) return running
  const started = borrow(state, accountId, want).finally(() => asking.delete(accountId))
  asking.set(accountId, started)
  return started
}

async function borrow(state: State, accountId: number, want: Bill | undefined): Promise<void> {
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

async function readAndBorrow(state: State, accountId: number, want: Bill | undefined): Promise<void> {
  const { options, epochs, loans } = state
  const { books, shared, clock } = options
  const spender = shared.spenderOf(accountId)
  for (let round = 0; round < borrowRounds; round++) {
    if (epochs.known(spender) === 0) await epochs.enter(spender)
    const epoch = epochs.known(spender)
    const purses = await books.purses(accountId)
    const lent = await lentOf(state, { accountId, spender, epoch, want }, purses)
    if (!lent) {
      await epochs.renew(spender, epoch)
      continue
    }
    const reply = await shared.run({ type: 'credit', accountId, epoch, status: 'open', purses: lent })
    if (reply.code === 'epoch') {
      await epochs.enter(spender)
      continue
    }
    const { isStale = false, toppedUpAtMs = never, dryAtMs = never } = loans.get(accountId) ?? {}
    const times = { askedAtMs: clock.elapsed(), toppedUpAtMs, dryAtMs }
    loans.delete(accountId)
    loans.set(accountId, {
      purses,
      lent: lent.map(({ lease, lent: amount }) => ({ lease, amount })),
      endsAtMs: firstEnd(purses),
      ...times,
      isStale,
    })
    if (loans.size > accountLimit) loans.delete(loans.keys().next().value ?? accountId)
    return
  }
  throw new GatewayError('billing_unavailable', 'Calls cannot be billed at the moment. Try again shortly.', {
    retryAfterMs: 2_000,
    cause: new Error(`no epoch of ${spender} lasts`),
  })
}

interface Borrowing {
  readonly accountId: number
  readonly spender: string
  readonly epoch: number
  /** Undefined: no more than is lent already. */
  readonly want: Bill | undefined
}

/** What each purse has lent; undefined where another replica has opened a later epoch meanwhile. */
async function lentOf(state: State, borrowing: Borrowing, purses: readonly Purse[]) {
  const lent = []
  try {
    for (const purse of purses) lent.push(await lentBy(state, borrowing, purse))
  } catch (error) {
    if (error instanceof StaleEpoch) return undefined
    throw error
  }
  return lent
}

async function lentBy(state: State, { accountId, spender, epoch, want }: Borrowing, purse: Purse) {
  const { options, targets, leases } = state
  const asset = purse.asset === tokenAsset ? tokenAsset : undefined
  state.mayOwe = true
  const { id: lease, lent } = await options.books.lend({
    purse: purse.id,
    spender,
    epoch,
    want: (want && amountIn(want, asset)) ?? 0n,
    ...(targets && { target: want ? targets.of(accountId, asset) : 0n }),
    ...(asset && { asset }),
  })
  if (options.givesBack) leases.add(lease)
  return { id: purse.id, lease, lent, ...(purse.expiresAtMs !== undefined && { expiresAtMs: purse.expiresAtMs }) }
}

function renewal(state: State, accountId: number): Promise<void> | undefined {
  const loan = state.loans.get(accountId)
  if (!loan) return undefined
  const { clock } = state.options
  const now = clock.elapsed()
  const isDue = loan.isStale || clock.now() >= loan.endsAtMs
  if (now - loan.askedAtMs < (isDue ? topUpPauseMs : listMs)) return undefined
  loan.askedAtMs = now
  const asked = ask(state, accountId, isDue ? nothing : undefined).catch(() => {
    // The list that is there still holds: what has expired in it the engine refuses.
  })
  return isDue ? asked : undefined
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

/** Of something that has not been done yet. */
const never = Number.NEGATIVE_INFINITY

const nothing: Bill = { money: 0n, tokens: 0n }

function firstEnd(purses: readonly Purse[]): number {
  return Math.min(...purses.map(({ expiresAtMs = Number.POSITIVE_INFINITY }) => expiresAtMs))
}
