import { describe, expect, test } from 'vitest'
import type { Part } from '../../../src/core/call.ts'
import { LedgerAssertion } from '../../../src/ledger/engine/assert.ts'
import { maxKept } from '../../../src/ledger/engine/invariants.ts'
import type { PurseRecord } from '../../../src/ledger/engine/records.ts'
import { unpaidShare } from '../../../src/ledger/engine/purses.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  finaliseCommand,
  keyRecord,
  machine,
  noon,
  purse,
  reapCommand,
  settleCommand,
  usageRecord,
  voidCommand,
  wallet,
} from './sample.ts'

/** A package, purse 3 on loan 30, before the wallet, purse 7. */
const pack: PurseRecord = { id: 3, lease: 30, lent: 10n, available: 10n, held: 0n }
const inTokens = (amount: bigint): Part => ({ purse: 3, lease: 30, amount, asset: 'TOK' })

/** The call takes 40 of money or 20 of tokens. */
const needs = [
  { purse: 3, amount: 20n, asset: 'TOK' as const },
  { purse: 7, amount: 40n },
]

function account(tokens = 10n, money = 100n) {
  const { purses, ...rest } = accountRecord(money)
  return { ...rest, purses: [{ ...pack, lent: tokens, available: tokens }, ...purses] }
}
function held(tokens = 10n) {
  const self = machine(account(tokens), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 0n }] }))
  self.run(admitCommand({ needs }))
  return self
}
const settle = (parts: readonly Part[], charge: bigint) => ({
  ...settleCommand([]),
  record: usageRecord(parts, { charge }),
})

describe('a hold on tokens and money', () => {
  test('takes of each its share, and its parts say what is tokens', () => {
    const self = machine(account(), keyRecord(5))
    expect(self.run(admitCommand({ needs }))).toEqual({
      code: 'ok',
      parts: [inTokens(10n), wallet(20n)],
      available: 80n,
    })
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 0n, held: 10n },
      { available: 80n, held: 20n },
    ])
  })

  test('that tokens cover takes no money', () => {
    expect(held(50n).holds.get('call')?.parts).toEqual([inTokens(20n)])
  })

  test('that is short names money alone', () => {
    const self = machine(account(10n, 19n), keyRecord(5))
    expect(self.run(admitCommand({ needs }))).toEqual({ code: 'funds', available: 19n, held: 0n })
  })

  test('grows in both', () => {
    const self = held(15n)
    const more = [
      { purse: 3, amount: 10n, asset: 'TOK' as const },
      { purse: 7, amount: 20n },
    ]
    expect(self.run({ type: 'extend', id: 'call', accountId, needs: more, estimate: 20n })).toEqual({
      code: 'ok',
      parts: [inTokens(15n), wallet(30n)],
    })
  })
})

describe('the end of a hold on tokens and money', () => {
  test('charges the money alone', () => {
    const self = held()
    expect(self.run(settle([inTokens(8n), wallet(5n)], 5n))).toEqual({ code: 'ok', overflow: 0n })
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 2n, held: 0n },
      { available: 95n, held: 0n },
    ])
    expect(self.keys.get(5)?.windows).toEqual([{ window: 'total', period: 0, spent: 5n }])
  })

  test('is a broken rule where tokens are charged as money', () => {
    expect(() => held().run(settle([inTokens(8n), wallet(5n)], 13n))).toThrow(
      new LedgerAssertion('a charge is the sum of its parts'),
    )
  })

  test('by voiding gives both back', () => {
    const self = held()
    self.run(voidCommand())
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 10n, held: 0n },
      { available: 100n, held: 0n },
    ])
  })

  test('by reaping charges what was checkpointed', () => {
    const self = held()
    const reap = reapCommand([])
    self.run({ ...reap, record: usageRecord([inTokens(1n)], { kind: 'reap', charge: 0n }) })
    expect(purse(self, 3)).toEqual({ available: 9n, held: 0n })
  })

  test('that the books charged more than the record takes the difference off the wallet', () => {
    const self = held()
    self.run(settle([inTokens(8n), wallet(5n)], 5n))
    self.run(finaliseCommand(9n))
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 2n, held: 0n },
      { available: 91n, held: 0n },
    ])
  })

  test('that tokens alone paid takes nothing more here: the books have charged the wallet directly', () => {
    const self = held(50n)
    self.run(settle([inTokens(20n)], 0n))
    self.run(finaliseCommand(9n))
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 30n, held: 0n },
      { available: 100n, held: 0n },
    ])
  })

  test('that only the books know counts its tokens as used up', () => {
    const self = held()
    self.run(finaliseCommand(0n))
    expect([purse(self, 3), purse(self)]).toEqual([
      { available: 0n, held: 0n },
      { available: 100n, held: 0n },
    ])
  })
})

describe('a credit without a purse that was used', () => {
  const credit = {
    type: 'credit',
    accountId,
    epoch: 1,
    status: 'open',
    purses: [{ id: 7, lease: 70, lent: 100n }],
  } as const
  const used = (id: number, over: Partial<PurseRecord> = {}): PurseRecord => ({
    id,
    lease: id,
    lent: 10n,
    available: 0n,
    held: 0n,
    ...over,
  })
  const kept = (purses: readonly PurseRecord[]) => {
    const self = machine({ ...accountRecord(100n), purses: [...accountRecord(100n).purses, ...purses] })
    self.run(credit)
    return self.account?.purses.map(({ id }) => id)
  }

  test('remembers it, so that it is not lent again', () => {
    expect(kept([used(1)])).toEqual([7, 1])
  })

  test('forgets it once it has expired and nothing is held on it', () => {
    expect(
      kept([
        used(1, { expiresAtMs: noon }),
        used(2, { expiresAtMs: noon + 1 }),
        used(3, { expiresAtMs: noon, held: 1n }),
      ]),
    ).toEqual([7, 2, 3])
  })

  test('forgets the oldest that are used up beyond a bound', () => {
    const many = Array.from({ length: maxKept + 2 }, (_, index) => used(100 + index))
    expect(kept([used(1, { available: 5n }), used(2, { held: 1n }), ...many])).toEqual([
      7,
      1,
      2,
      ...many.slice(4).map(({ id }) => id),
    ])
  })
})

describe('a share', () => {
  test('of one unit keeps its denominator', () => {
    const first = unpaidShare({ unpaid: 1n, whole: 1n }, 3n, 10n)
    expect(first).toEqual({ unpaid: 7n, whole: 10n })
    expect(unpaidShare(first, 4n, 10n)).toEqual({ unpaid: 3n, whole: 10n })
  })

  test('of two units is exact', () => {
    expect(unpaidShare({ unpaid: 7n, whole: 10n }, 1n, 3n)).toEqual({ unpaid: 11n, whole: 30n })
  })

  test('that is overpaid is paid', () => {
    expect(unpaidShare({ unpaid: 1n, whole: 3n }, 4n, 10n)).toEqual({ unpaid: 0n, whole: 1n })
  })
})
