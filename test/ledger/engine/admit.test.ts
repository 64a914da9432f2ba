import { describe, expect, test } from 'vitest'
import type { Budget } from '../../../src/core/call.ts'
import { LedgerAssertion } from '../../../src/ledger/engine/assert.ts'
import {
  accountRecord,
  admitCommand,
  finaliseCommand,
  keyFacts,
  keyRecord,
  machine,
  metered,
  noon,
  purse,
  settleCommand,
  voidCommand,
  wallet,
} from './sample.ts'

const minuteMs = 60_000

describe('a call that is let in', () => {
  test('sets money aside and takes a slot and its estimate at every key of the chain', () => {
    const self = machine(accountRecord(100n), keyRecord(5), keyRecord(6))
    const reply = self.run(admitCommand({ keys: [keyFacts(5), keyFacts(6)] }))
    expect(reply).toEqual({ code: 'ok', parts: [wallet(40n)], available: 60n })
    expect(purse(self)).toEqual({ available: 60n, held: 40n })
    expect([...self.keys.values()]).toEqual([
      keyRecord(5, { inFlight: 1, held: 40n }),
      keyRecord(6, { inFlight: 1, held: 40n }),
    ])
  })

  test('becomes a hold with a deadline', () => {
    const self = machine(accountRecord(100n), keyRecord(5))
    const command = admitCommand()
    self.run(command)
    expect(self.holds.get('call')).toEqual({
      id: 'call',
      state: 'held',
      facts: command.facts,
      parts: [wallet(40n)],
      estimate: 40n,
      metered,
      dueMs: noon + 30_000,
    })
  })

  test('keeps the budgets that it was let in under', () => {
    const budgets: Budget[] = [{ limit: 100n, window: 'total' }]
    const self = machine(accountRecord(100n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 0n }] }))
    self.run(admitCommand({ keys: [keyFacts(5, { budgets })] }))
    expect(self.holds.get('call')?.budgets).toEqual([{ keyId: 5, budgets }])
  })

  test('takes no money where nothing is needed, but its slot', () => {
    const self = machine(accountRecord(0n), keyRecord(5))
    expect(self.run(admitCommand({ needs: [], estimate: 0n }))).toEqual({ code: 'ok', parts: [], available: 0n })
    expect(self.keys.get(5)?.inFlight).toBe(1)
  })

  test('takes no money where every need is zero', () => {
    const self = machine(accountRecord(0n), keyRecord(5))
    const reply = self.run(admitCommand({ needs: [{ purse: 7, amount: 0n }], estimate: 0n }))
    expect(reply).toEqual({ code: 'ok', parts: [], available: 0n })
  })
})

describe('records that are missing or stale', () => {
  test('an account that is not loaded is named with the keys that are not', () => {
    const self = machine(undefined, keyRecord(5))
    const reply = self.run(admitCommand({ keys: [keyFacts(5), keyFacts(6)] }))
    expect(reply).toEqual({ code: 'load', account: true, keys: [6] })
  })

  test('a missing key of a loaded account is named alone', () => {
    expect(machine(accountRecord(100n)).run(admitCommand())).toEqual({ code: 'load', account: false, keys: [5] })
  })

  test('another epoch than the record’s is told the record’s', () => {
    const self = machine(accountRecord(100n, { epoch: 4 }), keyRecord(5))
    expect(self.run(admitCommand())).toEqual({ code: 'epoch', epoch: 4 })
  })

  test('a copy of a key that is older than the record is stale', () => {
    const self = machine(accountRecord(100n), keyRecord(5, { version: 2 }))
    expect(self.run(admitCommand())).toEqual({ code: 'key_changed', keyId: 5 })
  })

  test('records that are older than the copies are loaded anew, all at once', () => {
    const self = machine(accountRecord(100n), keyRecord(5), keyRecord(6), keyRecord(7))
    const keys = [keyFacts(5, { version: 2 }), keyFacts(6), keyFacts(7, { version: 3 })]
    expect(self.run(admitCommand({ keys }))).toEqual({ code: 'load', account: false, keys: [5, 7] })
  })

  test('a key that lacks the counter of one of its budgets is loaded anew', () => {
    const self = machine(accountRecord(100n), keyRecord(5))
    const keys = [keyFacts(5, { budgets: [{ limit: 100n, window: 'day' }] })]
    expect(self.run(admitCommand({ keys }))).toEqual({ code: 'load', account: false, keys: [5] })
  })
})

describe('a call that is denied', () => {
  test('is one of a stopped account', () => {
    const self = machine(accountRecord(100n, { status: 'stopped' }), keyRecord(5))
    expect(self.run(admitCommand())).toEqual({ code: 'denied', what: 'account' })
  })

  test('is one below a revoked key', () => {
    const self = machine(accountRecord(100n), keyRecord(5), keyRecord(6, { status: 'revoked' }))
    expect(self.run(admitCommand({ keys: [keyFacts(5), keyFacts(6)] }))).toEqual({ code: 'denied', what: 'key' })
  })
})

describe('a call that was admitted before', () => {
  test.each([
    ['held', () => undefined],
    ['settled', settleCommand([wallet(1n)])],
    ['voided', voidCommand()],
  ] as const)('hears that it is %s, and changes nothing', (state, end) => {
    const self = machine(accountRecord(100n), keyRecord(5))
    self.run(admitCommand())
    if (typeof end !== 'function') self.run(end)
    const before = structuredClone([self.account, self.keys, self.holds])
    expect(self.run(admitCommand())).toEqual({ code: 'duplicate', state })
    expect([self.account, self.keys, self.holds]).toEqual(before)
  })

  test('may be admitted again when its hold is final', () => {
    const self = machine(accountRecord(100n), keyRecord(5))
    self.run(admitCommand())
    self.run(voidCommand())
    self.run(finaliseCommand(0n))
    expect(self.run(admitCommand())).toMatchObject({ code: 'ok' })
  })
})

describe('concurrency', () => {
  const keys = [keyFacts(5, { concurrency: 3 })]

  test('the last slot is given', () => {
    const self = machine(accountRecord(100n), keyRecord(5, { inFlight: 2 }))
    expect(self.run(admitCommand({ keys }))).toMatchObject({ code: 'ok' })
  })

  test('the first call without a slot is refused for a second', () => {
    const self = machine(accountRecord(100n), keyRecord(5, { inFlight: 3 }))
    const refused = { code: 'limit', what: 'concurrency', keyId: 5, limit: 3, retryMs: 1_000 }
    expect(self.run(admitCommand({ keys }))).toEqual(refused)
  })

  test('a key above that is full refuses too, and the key below counts nothing', () => {
    const self = machine(accountRecord(100n), keyRecord(4), keyRecord(5, { inFlight: 3 }))
    expect(self.run(admitCommand({ keys: [keyFacts(4), ...keys] }))).toMatchObject({ what: 'concurrency', keyId: 5 })
    expect(self.keys.get(4)).toEqual(keyRecord(4))
  })
})

describe('requests per minute', () => {
  const keys = [keyFacts(5, { requestsPerMinute: 2 })]
  const full = () => machine(accountRecord(100n), keyRecord(5))
  const free = { keys, needs: [], estimate: 0n }

  test('as many as the limit are let in at once, and each hears what is left', () => {
    const self = full()
    expect(self.run(admitCommand({ ...free, id: 'a' }))).toMatchObject({
      requests: { limit: 2, remaining: 1, resetMs: 30_000 },
    })
    expect(self.run(admitCommand({ ...free, id: 'b' }))).toMatchObject({
      requests: { limit: 2, remaining: 0, resetMs: minuteMs },
    })
  })

  test('one more is refused until the next is there', () => {
    const self = full()
    self.run(admitCommand({ ...free, id: 'a' }))
    self.run(admitCommand({ ...free, id: 'b' }))
    const requests = { limit: 2, remaining: 0, resetMs: minuteMs }
    const refused = { code: 'limit', what: 'requests', keyId: 5, limit: 2, retryMs: 30_000, requests }
    expect(self.run(admitCommand({ ...free, id: 'c' }))).toEqual(refused)
  })

  test('the next is let in at the moment that was told, and not a millisecond before', () => {
    const self = full()
    self.run(admitCommand({ ...free, id: 'a' }))
    self.run(admitCommand({ ...free, id: 'b' }))
    self.nowMs += 29_999
    expect(self.run(admitCommand({ ...free, id: 'c' }))).toMatchObject({ code: 'limit', retryMs: 1 })
    self.nowMs += 1
    expect(self.run(admitCommand({ ...free, id: 'c' }))).toMatchObject({ code: 'ok' })
  })

  test('a bucket never holds more than the limit, however long nobody calls', () => {
    const self = full()
    self.run(admitCommand({ ...free, id: 'a' }))
    self.nowMs += 600 * minuteMs
    expect(self.run(admitCommand({ ...free, id: 'b' }))).toMatchObject({ requests: { remaining: 1 } })
  })

  test('a clock that goes back refills nothing', () => {
    const self = full()
    self.run(admitCommand({ ...free, id: 'a' }))
    self.run(admitCommand({ ...free, id: 'b' }))
    self.nowMs -= 30_000
    expect(self.run(admitCommand({ ...free, id: 'c' }))).toMatchObject({ code: 'limit', retryMs: 30_000 })
  })

  test('a clock that went back and comes forward again refills that time once', () => {
    const self = full()
    self.run(admitCommand({ ...free, id: 'a' }))
    self.nowMs -= 30_000
    self.run(admitCommand({ ...free, id: 'b' }))
    self.nowMs += 30_000
    expect(self.run(admitCommand({ ...free, id: 'c' }))).toMatchObject({ code: 'limit', retryMs: 30_000 })
  })

  test('the tightest limit of the chain is told', () => {
    const self = machine(accountRecord(100n), keyRecord(5), keyRecord(6))
    const chain = [keyFacts(5, { requestsPerMinute: 10 }), keyFacts(6, { requestsPerMinute: 3 })]
    const requests = { limit: 3, remaining: 2, resetMs: 20_000 }
    expect(self.run(admitCommand({ keys: chain }))).toMatchObject({ requests })
  })

  test('a refused call takes no request', () => {
    const self = machine(accountRecord(0n), keyRecord(5))
    self.run(admitCommand({ keys }))
    expect(self.keys.get(5)).toEqual(keyRecord(5))
  })
})

describe('a budget', () => {
  const day = Date.UTC(2025, 5, 11)
  const untilMidnightMs = 13.5 * 3_600_000
  const spending = (spent: bigint, held = 0n) =>
    machine(
      accountRecord(1_000n),
      keyRecord(5, { inFlight: 1, held, windows: [{ window: 'day', period: day, spent }] }),
    )
  const keys = [keyFacts(5, { budgets: [{ limit: 100n, window: 'day' }] })]

  test('lets in what reaches it exactly, with what is held', () => {
    expect(spending(50n, 10n).run(admitCommand({ keys }))).toMatchObject({ code: 'ok' })
  })

  test('refuses one nano-unit more until its period ends', () => {
    const refused = { code: 'limit', what: 'budget', keyId: 5, limit: 100n, retryMs: untilMidnightMs }
    expect(spending(50n, 11n).run(admitCommand({ keys }))).toEqual(refused)
  })

  test('starts from nothing in a new period', () => {
    const self = spending(100n)
    expect(self.run(admitCommand({ keys }))).toMatchObject({ code: 'limit' })
    self.nowMs += untilMidnightMs
    expect(self.run(admitCommand({ keys }))).toMatchObject({ code: 'ok' })
  })

  test('without an end says that waiting does not help', () => {
    const self = machine(accountRecord(1_000n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 61n }] }))
    const refused = { code: 'limit', what: 'budget', keyId: 5, limit: 100n, retryMs: 0 }
    expect(self.run(admitCommand({ keys: [keyFacts(5, { budgets: [{ limit: 100n, window: 'total' }] })] }))).toEqual(
      refused,
    )
  })
})

describe('the purses', () => {
  const two = (grant: bigint, money: bigint, expiresAtMs?: number) =>
    machine(
      accountRecord(0n, {
        purses: [
          {
            id: 8,
            lease: 80,
            lent: grant,
            available: grant,
            held: 0n,
            ...(expiresAtMs !== undefined && { expiresAtMs }),
          },
          { id: 7, lease: 70, lent: money, available: money, held: 0n },
        ],
      }),
      keyRecord(5),
    )
  const needs = [
    { purse: 8, amount: 40n },
    { purse: 7, amount: 40n },
  ]

  test('pay the last call that they can', () => {
    expect(machine(accountRecord(40n), keyRecord(5)).run(admitCommand())).toMatchObject({ code: 'ok', available: 0n })
  })

  test('refuse the first that they cannot, and tell what they have', () => {
    const self = machine(accountRecord(79n), keyRecord(5))
    self.run(admitCommand({ id: 'before' }))
    expect(self.run(admitCommand())).toEqual({ code: 'funds', available: 39n, held: 40n })
  })

  test('are emptied in order', () => {
    const reply = two(15n, 100n).run(admitCommand({ needs }))
    expect(reply).toMatchObject({ parts: [{ purse: 8, lease: 80, amount: 15n }, wallet(25n)] })
  })

  test('each give by their own unit, rounded up', () => {
    // 10 of 30 units pay a third; two thirds of 100 nano-units are 66.7.
    const reply = two(10n, 100n).run(
      admitCommand({
        needs: [
          { purse: 8, amount: 30n },
          { purse: 7, amount: 100n },
        ],
      }),
    )
    expect(reply).toMatchObject({ parts: [{ purse: 8, lease: 80, amount: 10n }, wallet(67n)] })
  })

  test('that expire pay until then', () => {
    expect(two(50n, 100n, noon + 1).run(admitCommand({ needs }))).toMatchObject({ parts: [{ purse: 8 }] })
  })

  test('that have expired are passed over', () => {
    expect(two(50n, 100n, noon).run(admitCommand({ needs }))).toEqual({
      code: 'ok',
      parts: [wallet(40n)],
      available: 60n,
    })
  })

  test('that are not the account’s are passed over', () => {
    const reply = two(0n, 100n).run(admitCommand({ needs: [{ purse: 99, amount: 40n }, ...needs] }))
    expect(reply).toMatchObject({ parts: [wallet(40n)] })
  })
})

test('a hold that names other keys than it is counted at is a broken rule', () => {
  const self = machine(accountRecord(100n), keyRecord(5))
  const command = admitCommand()
  expect(() => self.run({ ...command, facts: { ...command.facts, keyIds: [6] } })).toThrow(LedgerAssertion)
})
