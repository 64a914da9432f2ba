import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { StaleEpoch } from '../core/stale-epoch.ts'
import { tokenAsset } from '../core/tokens.ts'
import type { Platform, Purse, Shared } from '../ports.ts'
import { amountIn, type Bill } from './bill.ts'
import type { Epochs } from './epochs.ts'
import type { Targets } from './targets.ts'

/** A top-up that brought nothing is not asked for again sooner than this, so that a poor account cannot hammer Postgres. */
export const topUpPauseMs = 500
/** Accounts remembered at most; the least recently loaded go first. */
const accountLimit = 100_000
/** A list of purses is read again after this: another replica may have been told of a grant that begins or was voided. */
const listMs = 60_000
/** Epochs may change while money is borrowed; more often than that is a fault. */
const borrowRounds = 4

/** What the books have lent under a lease by now, spent or not. */
export interface Lent {
  readonly lease: number
  readonly amount: bigint
}

/** What a spender has borrowed for one account. */
export interface Loan {
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
export interface TopUp {
  want: Bill
  readonly done: Promise<boolean>
}

/** Everything that a spender remembers beside the engine's records. */
export interface Loans {
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

/** One request per account at a time: those who come meanwhile share it. Nothing wanted: the list is read anew. */
export function ask(state: Loans, accountId: number, want: Bill | undefined): Promise<void> {
  const { asking } = state
  const running = asking.get(accountId)
  if (running) return running
  const started = borrow(state, accountId, want).finally(() => asking.delete(accountId))
  asking.set(accountId, started)
  return started
}

async function borrow(state: Loans, accountId: number, want: Bill | undefined): Promise<void> {
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

async function readAndBorrow(state: Loans, accountId: number, want: Bill | undefined): Promise<void> {
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
async function lentOf(state: Loans, borrowing: Borrowing, purses: readonly Purse[]) {
  const lent = []
  try {
    for (const purse of purses) lent.push(await lentBy(state, borrowing, purse))
  } catch (error) {
    if (error instanceof StaleEpoch) return undefined
    throw error
  }
  return lent
}

async function lentBy(state: Loans, { accountId, spender, epoch, want }: Borrowing, purse: Purse) {
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

/** Reads the purses of a loaded account again where that is due. Undefined: nothing has to be waited for. It never rejects. */
export function renewal(state: Loans, accountId: number): Promise<void> | undefined {
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

/** Of something that has not been done yet. */
export const never = Number.NEGATIVE_INFINITY

export const nothing: Bill = { money: 0n, tokens: 0n }

function firstEnd(purses: readonly Purse[]): number {
  return Math.min(...purses.map(({ expiresAtMs = Number.POSITIVE_INFINITY }) => expiresAtMs))
}
