import type { KeyFacts, Part, UsageRecord } from '../../../src/core/call.ts'
import type { Nanos } from '../../../src/core/money.ts'
import type {
  Admit,
  Assert,
  Command,
  Extend,
  Finalise,
  ReplyTo,
  Reap,
  Settle,
  Void,
} from '../../../src/ledger/engine/commands.ts'
import { decide } from '../../../src/ledger/engine/decide.ts'
import type { AccountRecord, HoldRecord, KeyRecord, Metered } from '../../../src/ledger/engine/records.ts'
import { sum } from '../../../src/ledger/engine/purses.ts'

/** Wednesday, 2025-06-11 10:30 UTC. */
export const noon = Date.UTC(2025, 5, 11, 10, 30)
export const accountId = 1
const prices = { id: 'prices', currency: 'USD', nanos: { input: 1n, output: 2n }, discountPpm: 1_000_000 }

export const metered: Metered = {
  started: false,
  inputTokens: 10,
  outputTokens: 0,
  vendor: 'acme',
  vendorModel: 'large',
}

/** A key without limits. */
export function keyFacts(id: number, limits: Partial<KeyFacts> = {}): KeyFacts {
  return { id, version: 1, budgets: [], ...limits }
}

export function keyRecord(id: number, counters: Partial<KeyRecord> = {}): KeyRecord {
  return { id, status: 'active', version: 1, inFlight: 0, held: 0n, windows: [], ...counters }
}

/** An account whose wallet, purse 7 on loan 70, has this much. */
export function accountRecord(available: Nanos, changes: Partial<AccountRecord> = {}): AccountRecord {
  return {
    id: accountId,
    epoch: 1,
    status: 'open',
    purses: [{ id: 7, lease: 70, lent: available, available, held: 0n }],
    ...changes,
  }
}

/** Asks for 40 of purse 7, for a call of key 5. */
export function admitCommand(changes: Partial<Admit> = {}): Admit {
  const keys = changes.keys ?? [keyFacts(5)]
  return {
    type: 'admit',
    id: 'call',
    accountId,
    epoch: 1,
    facts: {
      accountId,
      keyIds: keys.map(({ id }) => id),
      model: 'large',
      prices,
      free: false,
      stream: true,
      startedAtMs: noon,
      replica: 'r1',
    },
    keys,
    needs: [{ purse: 7, amount: 40n }],
    estimate: 40n,
    metered,
    termMs: 30_000,
    ...changes,
  }
}

export function usageRecord(parts: readonly Part[], changes: Partial<UsageRecord> = {}): UsageRecord {
  return {
    id: 'call',
    kind: 'settle',
    accountId,
    keyId: 5,
    outcome: 'complete',
    model: 'large',
    vendor: 'acme',
    vendorModel: 'large',
    prices,
    usage: { counts: { input: 10, output: 5 }, source: 'vendor' },
    priced: sum(parts),
    charge: sum(parts),
    parts,
    attempts: [],
    stream: true,
    startedAtMs: noon,
    endedAtMs: noon + 1_000,
    ...changes,
  }
}

/** A part of the wallet. */
export const wallet = (amount: Nanos): Part => ({ purse: 7, lease: 70, amount })

export const settleCommand = (parts: readonly Part[], id = 'call'): Settle => ({
  type: 'settle',
  id,
  accountId,
  record: usageRecord(parts, { id }),
  claimMs: 10_000,
})
export const voidCommand = (id = 'call'): Void => ({ type: 'void', id, accountId, claimMs: 10_000 })
export const reapCommand = (parts: readonly Part[], seen: Metered = metered, id = 'call'): Reap => ({
  type: 'reap',
  id,
  accountId,
  metered: seen,
  record: usageRecord(parts, { id, kind: 'reap', outcome: 'reaped' }),
  claimMs: 10_000,
})
export const finaliseCommand = (total: Nanos, id = 'call'): Finalise => ({ type: 'finalise', id, accountId, total })

/** A part of the wallet on a loan of another store, or of an earlier epoch. */
export const elsewhere = (amount: Nanos): Part => ({ purse: 7, lease: 60, amount })

/** Sets `amount` more of the wallet aside. */
export const extendCommand = (amount: Nanos, id = 'call'): Extend => ({
  type: 'extend',
  id,
  accountId,
  needs: [{ purse: 7, amount }],
  estimate: amount,
})

/** Brings a hold as its replica has it, 40 on a loan of elsewhere. */
export function assertCommand(changes: Partial<HoldRecord> = {}): Assert {
  const { id, facts, estimate } = admitCommand()
  const made: HoldRecord = { id, state: 'held', facts, estimate, metered, parts: [elsewhere(40n)], dueMs: noon - 1 }
  const hold = { ...made, ...changes }
  return { type: 'assert', id: hold.id, accountId, hold, termMs: 30_000 }
}

/** The engine over a few records, as a store would run it. */
export interface Machine {
  nowMs: number
  account: AccountRecord | undefined
  readonly keys: Map<number, KeyRecord>
  readonly holds: Map<string, HoldRecord>
  run<C extends Command>(command: C): ReplyTo<C>
}

export function machine(account?: AccountRecord, ...keys: KeyRecord[]): Machine {
  const self: Machine = {
    nowMs: noon,
    account,
    keys: new Map(keys.map((key) => [key.id, key])),
    holds: new Map(),
    run(command) {
      const hold = 'id' in command ? self.holds.get(command.id) : undefined
      const records = { ...(self.account && { account: self.account }), keys: self.keys, ...(hold && { hold }) }
      const decision = decide(records, command, self.nowMs)
      self.account = decision.account ?? self.account
      for (const key of decision.keys ?? []) self.keys.set(key.id, key)
      if (decision.hold) self.holds.set(decision.hold.id, decision.hold)
      if (decision.dropHold && 'id' in command) self.holds.delete(command.id)
      return decision.reply
    },
  }
  return self
}

/** A machine with 100 in the wallet and the hold `call` of 40 on it, counted at key 5. */
export function held(): Machine {
  const self = machine(accountRecord(100n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 3n }] }))
  self.run(admitCommand())
  return self
}

/** The one purse of the machine, shortly. */
export function purse(self: Machine, id = 7): { available: Nanos; held: Nanos } | undefined {
  const found = self.account?.purses.find((each) => each.id === id)
  return found && { available: found.available, held: found.held }
}
