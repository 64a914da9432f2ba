import { describe, expect, test } from 'vitest'
import type { Credit, LoadKey } from '../../../src/ledger/engine/commands.ts'
import type { Metered } from '../../../src/ledger/engine/records.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  assertCommand,
  elsewhere,
  extendCommand as extension,
  held,
  keyFacts,
  keyRecord,
  machine,
  metered,
  noon,
  purse,
  reapCommand,
  settleCommand,
  voidCommand,
  wallet,
} from './sample.ts'

const ends = [
  ['settled', settleCommand([wallet(1n)])],
  ['voided', voidCommand()],
  ['reaped', reapCommand([wallet(1n)])],
] as const

describe('extend', () => {
  test('adds to the part on the same loan and to the estimate at the keys', () => {
    const self = held()
    expect(self.run(extension(25n))).toEqual({ code: 'ok', parts: [wallet(65n)] })
    expect(purse(self)).toEqual({ available: 35n, held: 65n })
    expect(self.keys.get(5)).toMatchObject({ inFlight: 1, held: 65n })
    expect(self.holds.get('call')).toMatchObject({ parts: [wallet(65n)], estimate: 65n })
  })

  test('adds a part of its own on a new loan', () => {
    const self = held()
    self.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses: [{ id: 7, lease: 71, lent: 50n }] })
    const parts = [wallet(40n), { purse: 7, lease: 71, amount: 25n }]
    expect(self.run(extension(25n))).toEqual({ code: 'ok', parts })
  })

  test('may take the last nano-unit', () => {
    expect(held().run(extension(60n))).toMatchObject({ code: 'ok' })
  })

  test('is refused for one more, and changes nothing', () => {
    const self = held()
    const before = structuredClone([self.account, self.keys, self.holds])
    expect(self.run(extension(61n))).toEqual({ code: 'funds', available: 60n })
    expect([self.account, self.keys, self.holds]).toEqual(before)
  })

  const budgeted = (limit: bigint) => {
    const self = machine(
      accountRecord(100n),
      keyRecord(5),
      keyRecord(6, { windows: [{ window: 'total', period: 0, spent: 3n }] }),
    )
    self.run(admitCommand({ keys: [keyFacts(5), keyFacts(6, { budgets: [{ limit, window: 'total' }] })] }))
    return self
  }
  test('may reach a budget of the chain', () => {
    expect(budgeted(63n).run(extension(20n))).toMatchObject({ code: 'ok' })
  })

  test('may not pass it', () => {
    expect(budgeted(63n).run(extension(21n))).toEqual({ code: 'limit', what: 'budget', keyId: 6 })
  })

  test('gets nothing more from a stopped account', () => {
    const self = held()
    self.run({ type: 'stop', accountId })
    expect(self.run(extension(1n))).toEqual({ code: 'funds', available: 0n })
  })

  test('of a hold that is not there is told so', () => {
    expect(machine(accountRecord(100n)).run(extension(1n))).toEqual({ code: 'gone' })
  })

  test.each(ends)('of a hold that is %s is fenced', (state, end) => {
    const self = held()
    self.run(end)
    expect(self.run(extension(1n))).toEqual({ code: 'fenced', state })
  })
})

describe('extend of a recovered hold', () => {
  const asserted = (changes: Parameters<typeof assertCommand>[0] = {}, spent = 0n) => {
    const self = machine(accountRecord(100n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent }] }))
    self.run(assertCommand(changes))
    return self
  }
  const budget = [{ keyId: 5, budgets: [{ window: 'total', limit: 70n }] }] as const

  test('draws on the loans that stand, and keeps its older parts', () => {
    const self = asserted()
    expect(self.run(extension(25n))).toEqual({ code: 'ok', parts: [elsewhere(40n), wallet(25n)] })
    expect(purse(self)).toEqual({ available: 75n, held: 25n })
    const grown = { parts: [elsewhere(40n), wallet(25n)], own: [wallet(25n)], estimate: 65n }
    expect(self.holds.get('call')).toMatchObject(grown)
  })

  test('adds to what it has drawn here before', () => {
    const self = asserted()
    self.run(extension(25n))
    expect(self.run(extension(5n))).toEqual({ code: 'ok', parts: [elsewhere(40n), wallet(30n)] })
    expect(self.holds.get('call')?.own).toEqual([wallet(30n)])
  })

  test('sets the whole of a part aside where an assertion named the loan that stands', () => {
    const self = asserted({ parts: [wallet(40n)] })
    expect(self.run(extension(25n))).toEqual({ code: 'ok', parts: [wallet(65n)] })
    expect([purse(self), self.holds.get('call')?.own]).toEqual([{ available: 75n, held: 25n }, [wallet(25n)]])
  })

  test('counts nothing at its keys', () => {
    const self = asserted()
    const before = self.keys.get(5)
    self.run(extension(25n))
    expect(self.keys.get(5)).toEqual(before)
  })

  test('may take the last nano-unit, and not one more', () => {
    expect(asserted().run(extension(101n))).toEqual({ code: 'funds', available: 100n })
    expect(asserted().run(extension(100n))).toMatchObject({ code: 'ok' })
  })

  test('hears that there is nothing while its account is not loaded', () => {
    const self = asserted()
    self.account = undefined
    expect(self.run(extension(1n))).toEqual({ code: 'funds', available: 0n })
  })

  test('may reach a budget together with what it is estimated at', () => {
    expect(asserted({ budgets: budget }, 10n).run(extension(20n))).toMatchObject({ code: 'ok' })
  })

  test('may not pass it', () => {
    const refused = { code: 'limit', what: 'budget', keyId: 5 }
    expect(asserted({ budgets: budget }, 10n).run(extension(21n))).toEqual(refused)
  })

  test('is not held to a budget whose key or counter is not loaded', () => {
    const self = asserted({ budgets: budget }, 70n)
    self.keys.set(5, keyRecord(5))
    expect(self.run(extension(1n))).toMatchObject({ code: 'ok' })
    self.keys.delete(5)
    expect(self.run(extension(1n))).toMatchObject({ code: 'ok' })
  })

  test.each(ends)('that is %s is fenced', (state, end) => {
    const self = asserted()
    self.run(end)
    expect(self.run(extension(1n))).toEqual({ code: 'fenced', state })
  })
})

describe('checkpoint', () => {
  const delivered = (outputTokens: number, changes: Partial<Metered> = {}) =>
    ({
      type: 'checkpoint',
      id: 'call',
      accountId,
      termMs: 30_000,
      metered: { ...metered, started: true, outputTokens, ...changes },
    }) as const

  test('stores what was delivered and moves the deadline', () => {
    const self = held()
    self.nowMs += 2_000
    expect(self.run(delivered(9))).toEqual({ code: 'ok' })
    expect(self.holds.get('call')).toMatchObject({
      metered: { ...metered, started: true, outputTokens: 9 },
      dueMs: noon + 32_000,
    })
  })

  test('that comes late shrinks nothing', () => {
    const self = held()
    self.run(delivered(9, { vendor: 'second', inputTokens: 12 }))
    self.run(delivered(4, { started: false }))
    expect(self.holds.get('call')?.metered).toEqual({
      ...metered,
      started: true,
      inputTokens: 12,
      outputTokens: 9,
      vendor: 'second',
    })
  })

  test('moves no money', () => {
    const self = held()
    self.run(delivered(9))
    expect(purse(self)).toEqual({ available: 60n, held: 40n })
  })

  test('of a hold that is not there is told so', () => {
    expect(machine(accountRecord(100n)).run(delivered(1))).toEqual({ code: 'gone' })
  })

  test.each(ends)('of a hold that is %s is fenced', (state, end) => {
    const self = held()
    self.run(end)
    expect(self.run(delivered(1))).toEqual({ code: 'fenced', state })
  })
})

describe('credit', () => {
  const lending = (lent: bigint, changes: Partial<Credit> = {}): Credit => ({
    type: 'credit',
    accountId,
    epoch: 1,
    status: 'open',
    purses: [{ id: 7, lease: 70, lent }],
    ...changes,
  })

  test('makes an account that was not there', () => {
    const self = machine()
    expect(self.run(lending(100n))).toEqual({ code: 'ok' })
    expect(self.account).toEqual(accountRecord(100n))
  })

  test('adds what is new of a larger total', () => {
    const self = held()
    self.run(lending(130n))
    expect(purse(self)).toEqual({ available: 90n, held: 40n })
  })

  test.each([100n, 99n])('of the same or a smaller total (%s) changes nothing', (lent) => {
    const self = held()
    self.run(lending(lent))
    expect(purse(self)).toEqual({ available: 60n, held: 40n })
  })

  test('on a new loan starts the purse anew', () => {
    const self = held()
    self.run(lending(0n, { purses: [{ id: 7, lease: 71, lent: 50n }] }))
    expect(self.account?.purses).toEqual([{ id: 7, lease: 71, lent: 50n, available: 50n, held: 0n }])
  })

  test('of a new epoch starts every purse anew', () => {
    const self = held()
    self.run(lending(0n, { epoch: 2, purses: [{ id: 8, lease: 81, lent: 5n }] }))
    expect(self.account).toEqual(
      accountRecord(0n, { epoch: 2, purses: [{ id: 8, lease: 81, lent: 5n, available: 5n, held: 0n }] }),
    )
  })

  test('of an old epoch is late and changes nothing', () => {
    const self = machine(accountRecord(100n, { epoch: 2 }))
    self.run(lending(500n))
    expect(self.account).toEqual(accountRecord(100n, { epoch: 2 }))
  })

  test('takes the status over', () => {
    const self = held()
    self.run(lending(100n, { status: 'stopped' }))
    expect(self.account?.status).toBe('stopped')
  })

  test('without a purse that was used keeps it, so that its loan is not lent again', () => {
    const self = held()
    self.run(settleCommand([wallet(40n)]))
    self.run(lending(0n, { purses: [{ id: 8, lease: 80, lent: 5n }] }))
    expect(self.account?.purses.map(({ id }) => id)).toEqual([8, 7])
    self.run(lending(100n))
    expect(purse(self)).toEqual({ available: 60n, held: 0n })
  })

  test('without a purse that was not used forgets it', () => {
    const self = machine(accountRecord(100n))
    self.run(lending(0n, { purses: [] }))
    expect(self.account?.purses).toEqual([])
  })
})

describe('load_key', () => {
  const day = Date.UTC(2025, 5, 11)
  const loading = (version: number, spent: bigint, status: 'active' | 'revoked' = 'active'): LoadKey => ({
    type: 'load_key',
    accountId,
    key: { id: 5, status, version, windows: [{ window: 'day', period: day, spent }] },
  })
  const counters = (version: number, spent: bigint) =>
    keyRecord(5, { version, windows: [{ window: 'day', period: day, spent }] })

  test('creates the counters of a key', () => {
    const self = machine()
    expect(self.run(loading(1, 8n))).toEqual({ code: 'ok' })
    expect(self.keys.get(5)).toEqual(counters(1, 8n))
  })

  test('of the same version keeps the counters', () => {
    const self = machine(undefined, counters(1, 20n))
    self.run(loading(1, 90n))
    expect(self.keys.get(5)).toEqual(counters(1, 20n))
  })

  test('of an older version changes nothing', () => {
    const self = machine(undefined, counters(3, 20n))
    self.run(loading(1, 90n, 'revoked'))
    expect(self.keys.get(5)).toEqual(counters(3, 20n))
  })

  test('of a newer version keeps the counters of a busy key and takes the version and status over', () => {
    const busy = { ...counters(1, 20n), inFlight: 2, held: 9n, requestsLeft: 60_000, requestsAtMs: noon }
    const self = machine(undefined, busy)
    self.run(loading(2, 90n, 'revoked'))
    expect(self.keys.get(5)).toEqual({ ...busy, version: 2, status: 'revoked' })
  })

  test('of a newer version brings an idle key up to what the books know', () => {
    const self = machine(undefined, counters(1, 20n))
    self.run(loading(2, 90n))
    expect(self.keys.get(5)).toEqual(counters(2, 90n))
  })

  test('forgets no charge that the books do not have yet', () => {
    const self = machine(undefined, counters(1, 20n))
    self.run(loading(2, 15n))
    expect(self.keys.get(5)).toEqual(counters(2, 20n))
  })

  test('adds the windows that the key lacks', () => {
    const self = machine(undefined, keyRecord(5, { inFlight: 1 }))
    self.run(loading(1, 8n))
    expect(self.keys.get(5)).toEqual({ ...counters(1, 8n), inFlight: 1 })
  })
})

describe('stop', () => {
  test('refuses new calls, and lets what runs end', () => {
    const self = held()
    expect(self.run({ type: 'stop', accountId })).toEqual({ code: 'ok' })
    expect(self.run(admitCommand({ id: 'next' }))).toEqual({ code: 'denied', what: 'account' })
    expect(self.run(settleCommand([wallet(1n)]))).toEqual({ code: 'ok', overflow: 0n })
  })

  test('of an account that is not loaded is heard', () => {
    expect(machine().run({ type: 'stop', accountId })).toEqual({ code: 'ok' })
  })
})
