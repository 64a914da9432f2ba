import { assert } from './assert.ts'
import type { Assert, Checkpoint, Credit, Decision, Extend, Fenced, LoadKey, Stop } from './commands.ts'
import { maxKept } from './invariants.ts'
import { brokenBudget } from './keys.ts'
import { draw, expired, merge, setAside } from './purses.ts'
import type { AccountRecord, HoldRecord, KeyRecord, Metered, PurseRecord, Records, WindowRecord } from './records.ts'

/** Sets more aside for a running call, within the budgets that it was admitted under; or changes nothing. */
export function extend(records: Records, command: Extend, nowMs: number): Decision<Extend> {
  const { account, hold } = records
  // The process that a recovered hold was made by is gone: nobody may spend on it any more.
  if (!hold || hold.recovered) return { reply: { code: 'gone' } }
  if (hold.state !== 'held') return { reply: { code: 'fenced', state: hold.state } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  assert(command.estimate >= 0n, 'an estimate cannot be negative')
  assert(account !== undefined, 'the account of a live hold is loaded')
  const broken = hold.budgets?.find(({ keyId, budgets }) =>
    brokenBudget({ key: keyOf(records, keyId), budgets }, command.estimate, nowMs),
  )
  if (broken) return { reply: { code: 'limit', what: 'budget', keyId: broken.keyId } }
  // A stopped account is closed or in doubt: what runs may use what it has, and gets no more.
  if (account.status !== 'open') return { reply: { code: 'funds', available: 0n } }
  const drawn = draw(account, command.needs, nowMs)
  if (drawn.short) return { reply: { code: 'funds', available: drawn.available } }
  const parts = merge(hold.parts, drawn.parts)
  return {
    reply: { code: 'ok', parts },
    account: setAside(account, drawn.parts),
    keys: hold.facts.keyIds.map((id) => {
      const key = keyOf(records, id)
      return { ...key, held: key.held + command.estimate }
    }),
    hold: { ...hold, parts, estimate: hold.estimate + command.estimate },
  }
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
 * Brings back a hold that a replica has and this epoch has not. One that is there keeps what it has, but for the larger
 * metered: a live one is confirmed, and one that has ended says so.
 */
export function assertHold({ hold }: Records, command: Assert, nowMs: number): Decision<Assert> {
  const { hold: asserted } = command
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
    hold: { ...hold, metered: furthest(hold.metered, asserted.metered), dueMs },
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
