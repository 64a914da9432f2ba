import { assert } from './assert.ts'
import type { Assert, Checkpoint, Credit, Decision, Extend, Fenced, LoadKey, Stop } from './commands.ts'
import { checkHold, maxKept } from './invariants.ts'
import { brokenBudget } from './keys.ts'
import { withDrawn, withKnown } from './own.ts'
import { draw, expired, setAside } from './purses.ts'
import type { Nanos } from '../../core/money.ts'
import type {
  AccountRecord,
  HoldRecord,
  KeyBudgets,
  KeyRecord,
  Metered,
  PurseRecord,
  Records,
  WindowRecord,
} from './records.ts'

/** Sets more aside for a running call, within the budgets that it was admitted under; or changes nothing. */
export function extend(records: Records, command: Extend, nowMs: number): Decision<Extend> {
  const { account, hold } = records
  const fence = fenced(hold)
  if (fence || !hold) return { reply: fence ?? { code: 'gone' } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  assert(command.estimate >= 0n, 'an estimate cannot be negative')
  // Whoever hears that there is nothing borrows, which loads the account, and asks again.
  if (hold.recovered && !account) return { reply: { code: 'funds', available: 0n } }
  assert(account !== undefined, 'the account of a live hold is loaded')
  const broken = hold.budgets?.find((ofKey) => breaks({ records, hold, ofKey }, command.estimate, nowMs))
  if (broken) return { reply: { code: 'limit', what: 'budget', keyId: broken.keyId } }
  // A stopped account is closed or in doubt: what runs may use what it has, and gets no more.
  if (account.status !== 'open') return { reply: { code: 'funds', available: 0n } }
  const drawn = draw(account, command.needs, nowMs)
  if (drawn.short) return { reply: { code: 'funds', available: drawn.available } }
  const grown = withDrawn(hold, drawn.parts)
  const counted = hold.recovered ? [] : hold.facts.keyIds.map((id) => keyOf(records, id))
  return {
    reply: { code: 'ok', parts: grown.parts },
    account: setAside(account, drawn.parts),
    keys: counted.map((key) => ({ ...key, held: key.held + command.estimate })),
    hold: { ...grown, estimate: hold.estimate + command.estimate },
  }
}

/** Whether a key's budgets, as they were at admission, refuse an extension by `more`. */
function breaks(
  { records, hold, ofKey }: { records: Records; hold: HoldRecord; ofKey: KeyBudgets },
  more: Nanos,
  nowMs: number,
): boolean {
  const { keyId, budgets } = ofKey
  if (!hold.recovered) return brokenBudget({ key: keyOf(records, keyId), budgets }, more, nowMs) !== undefined
  // No key counts a recovered hold, so its own estimate comes on top. What is not loaded cannot refuse: a call that
  // runs is not cut for it, and its charge is in what the books rebuild the counters from.
  const key = records.keys.get(keyId)
  if (!key) return false
  const counted = budgets.filter((budget) => key.windows.some(({ window }) => window === budget.window))
  return brokenBudget({ key, budgets: counted }, hold.estimate + more, nowMs) !== undefined
}

function keyOf(records: Records, id: number): KeyRecord {
  const key = records.keys.get(id)
  assert(key !== undefined, 'the keys of a live hold are loaded')
  assert(key.inFlight > 0, 'a live hold is in flight at its keys')
  return key
}

/** Stores what was delivered and moves the deadline. What is metered never shrinks, in whatever order it arrives. */
export function checkpoint({ hold }: Records, command: Checkpoint, nowMs: number): Decision<Checkpoint> {
  const fence = fenced(hold)
  if (fence || !hold) return { reply: fence ?? { code: 'gone' } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  assert(command.termMs > 0, 'a hold has a term')
  return {
    reply: { code: 'ok' },
    hold: { ...hold, metered: furthest(hold.metered, command.metered), dueMs: nowMs + command.termMs },
  }
}

function fenced(hold: HoldRecord | undefined): Fenced | undefined {
  if (!hold) return { code: 'gone' }
  return hold.state === 'held' ? undefined : { code: 'fenced', state: hold.state }
}

function furthest(before: Metered, now: Metered): Metered {
  assert(Number.isSafeInteger(now.inputTokens) && now.inputTokens >= 0, 'input tokens are a whole number, zero or more')
  assert(
    Number.isSafeInteger(now.outputTokens) && now.outputTokens >= 0,
    'output tokens are a whole number, zero or more',
  )
  // An older checkpoint that comes late must not bring back the vendor that was given up.
  const latest = now.outputTokens >= before.outputTokens ? now : before
  return {
    ...latest,
    started: before.started || now.started,
    inputTokens: Math.max(before.inputTokens, now.inputTokens),
    outputTokens: latest.outputTokens,
  }
}

/**
 * Brings a hold back that a replica has and this store has not. One that is there and live is confirmed, with the
 * larger metered and with the parts that were drawn elsewhere; one that has ended says so.
 */
export function assertHold({ hold }: Records, command: Assert, nowMs: number): Decision<Assert> {
  // What another store has set aside, or an earlier epoch of this one, is not set aside here.
  const { own: _, ...asserted } = command.hold
  checkHold(asserted)
  assert(asserted.id === command.id, 'a hold is asserted under its own id')
  assert(asserted.facts.accountId === command.accountId, 'a command names the account of its hold')
  assert(command.termMs > 0, 'a hold has a term')
  const dueMs = nowMs + command.termMs
  if (!hold) return { reply: { code: 'ok' }, hold: { ...asserted, recovered: true, dueMs } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  const isLive = asserted.state === 'held'
  if (hold.state !== 'held') return { reply: { code: isLive ? 'fenced' : 'duplicate', state: hold.state } }
  return {
    reply: isLive ? { code: 'ok' } : { code: 'duplicate', state: 'held' },
    hold: { ...withKnown(hold, asserted.parts), metered: furthest(hold.metered, asserted.metered), dueMs },
  }
}

/**
 * Takes over the loans of the books. Loans come by total, so that a repeated one adds nothing. A purse on a new loan,
 * and every purse of a new epoch, starts anew; a credit of an older epoch is late and changes nothing.
 */
export function credit({ account }: Records, command: Credit, nowMs: number): Decision<Credit> {
  assert(
    command.purses.every(({ lent }) => lent >= 0n),
    'a loan cannot be negative',
  )
  assert(new Set(command.purses.map(({ id }) => id)).size === command.purses.length, 'a purse is credited once')
  if (account && account.epoch > command.epoch) return { reply: { code: 'ok' } }
  const known = account?.purses ?? []
  const purses = command.purses.map((loan) =>
    lentTo(
      known.find(({ id }) => id === loan.id),
      loan,
    ),
  )
  const listed = new Set(command.purses.map(({ id }) => id))
  const unlisted = account?.epoch === command.epoch ? known.filter((purse) => !listed.has(purse.id)) : []
  const kept = bounded(unlisted.filter((purse) => used(purse, nowMs)))
  const credited: AccountRecord = {
    id: command.accountId,
    epoch: command.epoch,
    status: command.status,
    purses: [...purses, ...kept],
  }
  return { reply: { code: 'ok' }, account: credited }
}

function lentTo(before: PurseRecord | undefined, loan: Credit['purses'][number]): PurseRecord {
  const expiry = loan.expiresAtMs === undefined ? {} : { expiresAtMs: loan.expiresAtMs }
  if (before?.lease !== loan.lease) {
    return { id: loan.id, lease: loan.lease, lent: loan.lent, available: loan.lent, held: 0n, ...expiry }
  }
  const lent = loan.lent > before.lent ? loan.lent : before.lent
  const available = before.available + lent - before.lent
  assert(available >= before.available, 'a credit takes nothing')
  assert(lent - available === before.lent - before.available, 'a credit changes nothing that is held or spent')
  return { id: before.id, lease: before.lease, lent, available, held: before.held, ...expiry }
}

/**
 * Whether forgetting the purse would lose something: a later credit on the same loan would lend the used part again.
 * An expired purse on which nothing is held may go, because whatever is lent on it again cannot be drawn on.
 */
function used(purse: PurseRecord, nowMs: number): boolean {
  return purse.held !== 0n || (purse.available !== purse.lent && !expired(purse, nowMs))
}

/** The oldest of those that are used up go first; far fewer are ever used up within one epoch. */
function bounded(kept: readonly PurseRecord[]): readonly PurseRecord[] {
  let surplus = kept.length - maxKept
  return kept.filter((purse) => {
    const goes = surplus > 0 && purse.held === 0n && purse.available <= 0n
    if (goes) surplus -= 1
    return !goes
  })
}

/** Creates a key's counters, or brings its version and status up to date. Counters of a busy or current key stay. */
export function loadKey({ keys }: Records, { key: loaded }: LoadKey): Decision<LoadKey> {
  assert(Number.isSafeInteger(loaded.version), 'a version is a whole number')
  assert(new Set(loaded.windows.map(({ window }) => window)).size === loaded.windows.length, 'a window is counted once')
  const before = keys.get(loaded.id)
  if (!before) return { reply: { code: 'ok' }, keys: [{ ...loaded, inFlight: 0, held: 0n }] }
  const newer = loaded.version > before.version
  const { version, status } = newer ? loaded : before
  const rebuild = newer && before.inFlight === 0
  const windows = rebuild ? before.windows.map((window) => further(window, loaded.windows)) : before.windows
  const added = loaded.windows.filter(({ window }) => !before.windows.some((counter) => counter.window === window))
  return { reply: { code: 'ok' }, keys: [{ ...before, version, status, windows: [...windows, ...added] }] }
}

/** The later period, and in the same period the larger amount: the books may lack charges that are not flushed yet. */
function further(before: WindowRecord, loaded: readonly WindowRecord[]): WindowRecord {
  const books = loaded.find(({ window }) => window === before.window)
  if (!books || books.period < before.period) return before
  return books.period > before.period || books.spent > before.spent ? books : before
}

/** Refuses new holds and extensions of an account from now on; what is held ends as it would. */
export function stop({ account }: Records, command: Stop): Decision<Stop> {
  if (!account) return { reply: { code: 'ok' } }
  assert(account.id === command.accountId, 'a command finds the account that it names')
  return { reply: { code: 'ok' }, account: { ...account, status: 'stopped' } }
}
