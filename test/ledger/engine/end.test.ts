import { describe, expect, test } from 'vitest'
import { LedgerAssertion } from '../../../src/ledger/engine/assert.ts'
import type { Command } from '../../../src/ledger/engine/commands.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  assertCommand,
  elsewhere,
  extendCommand,
  finaliseCommand,
  held,
  keyRecord,
  machine,
  type Machine,
  metered,
  noon,
  purse,
  reapCommand,
  settleCommand,
  usageRecord,
  voidCommand,
  wallet,
} from './sample.ts'

const ends = [
  ['settled', settleCommand([wallet(30n)])],
  ['voided', voidCommand()],
  ['reaped', reapCommand([wallet(30n)])],
] as const
const idle = (spent: bigint) => keyRecord(5, { windows: [{ window: 'total', period: 0, spent }] })
const state = (self: Machine) => structuredClone([self.account, self.keys, self.holds])

describe('settle', () => {
  test('takes what was used and gives the rest back', () => {
    const self = held()
    expect(self.run(settleCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(purse(self)).toEqual({ available: 70n, held: 0n })
  })

  test('gives the slot and the estimate back and counts the charge at every key', () => {
    const self = held()
    self.run(settleCommand([wallet(30n)]))
    expect(self.keys.get(5)).toEqual(idle(33n))
  })

  test('counts the charge in every window, those of a past period from nothing', () => {
    const past = Date.UTC(2025, 5, 10)
    const self = machine(
      accountRecord(100n),
      keyRecord(5, {
        windows: [
          { window: 'day', period: past, spent: 9n },
          { window: 'total', period: 0, spent: 9n },
        ],
      }),
    )
    self.run(admitCommand())
    self.run(settleCommand([wallet(30n)]))
    expect(self.keys.get(5)?.windows).toEqual([
      { window: 'day', period: Date.UTC(2025, 5, 11), spent: 30n },
      { window: 'total', period: 0, spent: 39n },
    ])
  })

  test('keeps the record with the hold until it is due to be sent again', () => {
    const self = held()
    const command = settleCommand([wallet(30n)])
    self.run(command)
    expect(self.holds.get('call')).toMatchObject({ state: 'settled', record: command.record, dueMs: noon + 10_000 })
  })

  test('may use exactly what was held', () => {
    const self = held()
    expect(self.run(settleCommand([wallet(40n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(purse(self)).toEqual({ available: 60n, held: 0n })
  })

  test('takes what is above from what is free, and reports it', () => {
    const self = held()
    expect(self.run(settleCommand([wallet(41n)]))).toEqual({ code: 'ok', overflow: 1n })
    expect(purse(self)).toEqual({ available: 59n, held: 0n })
  })

  test('may take more than is free, because the answer was delivered', () => {
    const self = held()
    expect(self.run(settleCommand([wallet(130n)]))).toEqual({ code: 'ok', overflow: 90n })
    expect(purse(self)).toEqual({ available: -30n, held: 0n })
  })

  test('touches no balance where the purse stands on another loan by now', () => {
    const self = held()
    self.run({ type: 'credit', accountId, epoch: 2, status: 'open', purses: [{ id: 7, lease: 71, lent: 50n }] })
    expect(self.run(settleCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(purse(self)).toEqual({ available: 50n, held: 0n })
    expect(self.keys.get(5)).toEqual(idle(33n))
  })

  test('of a charge that is not the sum of its parts is a broken rule', () => {
    const command = settleCommand([wallet(30n)])
    const wrong = { ...command, record: { ...command.record, charge: 31n } }
    expect(() => held().run(wrong)).toThrow(new LedgerAssertion('a charge is the sum of its parts'))
  })

  test('with the record of another call is a broken rule', () => {
    const wrong = { ...settleCommand([]), record: usageRecord([], { id: 'other' }) }
    expect(() => held().run(wrong)).toThrow(LedgerAssertion)
  })
})

describe('a part that was drawn in another store', () => {
  test('touches no balance here when it is charged', () => {
    const self = held()
    expect(self.run(settleCommand([wallet(30n), elsewhere(20n)]))).toEqual({ code: 'ok', overflow: 20n })
    expect([purse(self), self.keys.get(5)]).toEqual([{ available: 70n, held: 0n }, idle(53n)])
  })

  test('is not given back here', () => {
    const self = held()
    self.run(assertCommand({ parts: [wallet(40n), elsewhere(20n)] }))
    self.run(voidCommand())
    expect(purse(self)).toEqual({ available: 100n, held: 0n })
  })
})

describe('void', () => {
  test('gives everything back', () => {
    const self = held()
    expect(self.run(voidCommand())).toEqual({ code: 'ok', overflow: 0n })
    expect([purse(self), self.keys.get(5)]).toEqual([{ available: 100n, held: 0n }, idle(3n)])
  })

  test('keeps the record of vendors that were called', () => {
    const self = held()
    const record = usageRecord([], { kind: 'void', outcome: 'vendor_failed' })
    self.run({ ...voidCommand(), record })
    expect(self.holds.get('call')).toMatchObject({ state: 'voided', record, dueMs: noon + 10_000 })
  })

  test('with a charge is a broken rule', () => {
    const command = { ...voidCommand(), record: usageRecord([wallet(1n)]) }
    expect(() => held().run(command)).toThrow(new LedgerAssertion('a void charges nothing'))
  })
})

describe('reap', () => {
  test('charges what was last proven, like a settle', () => {
    const self = held()
    const command = reapCommand([wallet(30n)])
    expect(self.run(command)).toEqual({ code: 'ok', overflow: 0n })
    expect([purse(self), self.keys.get(5)]).toEqual([{ available: 70n, held: 0n }, idle(33n)])
    expect(self.holds.get('call')).toMatchObject({ state: 'reaped', record: command.record, dueMs: noon + 10_000 })
  })

  test('of a hold that has checkpointed since moves nothing', () => {
    const self = held()
    self.run({ type: 'checkpoint', id: 'call', accountId, metered: { ...metered, outputTokens: 1 }, termMs: 30_000 })
    const before = state(self)
    expect(self.run(reapCommand([wallet(30n)]))).toEqual({ code: 'moved' })
    expect(state(self)).toEqual(before)
  })

  test('hears of a service tier that it did not see, because the tier prices the call', () => {
    const self = held()
    const tier = { ...metered, serviceTier: 'flex' }
    self.run({ type: 'checkpoint', id: 'call', accountId, metered: tier, termMs: 30_000 })
    expect(self.run(reapCommand([wallet(30n)]))).toEqual({ code: 'moved' })
    expect(self.run(reapCommand([wallet(30n)], tier))).toEqual({ code: 'ok', overflow: 0n })
  })
})

describe('a hold that has ended', () => {
  const second: readonly Command[] = ends.map(([, command]) => command)
  test.each(ends.flatMap(([name, first]) => second.map((then) => [name, then.type, first, then] as const)))(
    '%s is not ended again by %s',
    (name, _, first, then) => {
      const self = held()
      self.run(first)
      const before = state(self)
      expect(self.run(then)).toEqual({ code: 'duplicate', state: name })
      expect(state(self)).toEqual(before)
    },
  )
})

test.each([...ends.map(([, command]) => command), finaliseCommand(30n)])(
  '$type of a hold that is not there is told so',
  (command) => {
    const self = machine(accountRecord(100n), keyRecord(5))
    expect(self.run(command)).toEqual({ code: 'gone' })
    expect(purse(self)).toEqual({ available: 100n, held: 0n })
  },
)

describe('finalise', () => {
  const charged = (name: string) => (name === 'voided' ? 0n : 30n)

  test.each(ends)('drops a hold that is %s and changes nothing else', (name, end) => {
    const self = held()
    self.run(end)
    const before = purse(self)
    expect(self.run(finaliseCommand(charged(name)))).toEqual({ code: 'ok' })
    expect([self.holds.size, purse(self), self.keys.get(5)]).toEqual([0, before, idle(3n + charged(name))])
  })

  test.each(ends)('takes what the books charged above a hold that is %s', (name, end) => {
    const self = held()
    self.run(end)
    const before = purse(self)?.available ?? 0n
    self.run(finaliseCommand(charged(name) + 12n))
    expect(purse(self)).toEqual({ available: before - 12n, held: 0n })
    expect(self.keys.get(5)).toEqual(idle(15n + charged(name)))
  })

  test('gives nothing back where the books charged less: their return is not part of the loan', () => {
    const self = held()
    self.run(reapCommand([wallet(30n)]))
    self.run(finaliseCommand(10n))
    expect(purse(self)).toEqual({ available: 70n, held: 0n })
  })

  test('ends a hold that still runs here, at the total of the books', () => {
    const self = held()
    expect(self.run(finaliseCommand(25n))).toEqual({ code: 'ok' })
    expect([self.holds.size, purse(self), self.keys.get(5)]).toEqual([0, { available: 75n, held: 0n }, idle(28n)])
  })

  test('ends a hold that still runs here above what it held', () => {
    const self = held()
    self.run(finaliseCommand(45n))
    expect(purse(self)).toEqual({ available: 55n, held: 0n })
  })
})

describe('a recovered hold', () => {
  const recovered = () => {
    const self = held()
    const hold = self.holds.get('call')
    const after = machine(
      accountRecord(50n, { epoch: 2, purses: [{ id: 7, lease: 71, lent: 50n, available: 50n, held: 0n }] }),
      keyRecord(5),
    )
    if (hold) after.holds.set('call', { ...hold, recovered: true })
    return after
  }

  test('ends without giving back what this process never set aside', () => {
    const self = recovered()
    expect(self.run(reapCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect([purse(self), self.keys.get(5)]).toEqual([{ available: 50n, held: 0n }, keyRecord(5)])
  })

  test('ends where neither its account nor its keys are loaded', () => {
    const self = recovered()
    self.account = undefined
    self.keys.clear()
    expect(self.run(reapCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(self.run(finaliseCommand(30n))).toEqual({ code: 'ok' })
  })

  describe('that has grown here', () => {
    /** 40 on a loan of elsewhere, 20 on the one that stands. */
    const grown = () => {
      const self = machine(accountRecord(100n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 3n }] }))
      self.run(assertCommand())
      self.run(extendCommand(20n))
      return self
    }
    const after = (available: bigint, spent: bigint) => [{ available, held: 0n }, idle(spent)]

    test.each([
      ['settle', settleCommand([elsewhere(40n), wallet(15n)]), after(85n, 58n)],
      ['settle above all that is set aside', settleCommand([elsewhere(40n), wallet(25n)]), after(75n, 68n)],
      ['reap', reapCommand([elsewhere(40n), wallet(15n)]), after(85n, 58n)],
      ['void', voidCommand(), after(100n, 3n)],
      ['finalise', finaliseCommand(55n), after(85n, 58n)],
    ] as const)('ends by %s: what was set aside here is back, and its charge is counted', (_, command, expected) => {
      const self = grown()
      expect(self.run(command)).toMatchObject({ code: 'ok' })
      expect([purse(self), self.keys.get(5)]).toEqual(expected)
    })

    test('gives back only what is on loans that stand', () => {
      const self = grown()
      self.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses: [{ id: 7, lease: 71, lent: 50n }] })
      self.run(settleCommand([elsewhere(40n), wallet(15n)]))
      expect(purse(self)).toEqual({ available: 50n, held: 0n })
    })

    test('cannot end without the account that the money is back to', () => {
      const self = grown()
      self.account = undefined
      expect(() => self.run(voidCommand())).toThrow(new LedgerAssertion('the account of what is set aside is loaded'))
    })
  })
})
