import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LedgerAssertion } from '../../../src/ledger/engine/assert.ts'
import type { Assert } from '../../../src/ledger/engine/commands.ts'
import { maxParts } from '../../../src/ledger/engine/invariants.ts'
import type { HoldRecord } from '../../../src/ledger/engine/records.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
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

/** A hold as its replica remembers it from an epoch that is over. */
function remembered(changes: Partial<HoldRecord> = {}): HoldRecord {
  const { id, facts, estimate } = admitCommand()
  return { id, state: 'held', facts, estimate, metered, parts: [wallet(40n)], dueMs: noon - 1, ...changes }
}
const ended = remembered({ state: 'settled', record: usageRecord([wallet(30n)]) })
const assertion = (hold: HoldRecord = remembered()): Assert => ({
  type: 'assert',
  id: hold.id,
  accountId,
  hold,
  termMs: 30_000,
})
/** A new epoch: money on another loan, and nothing in flight. */
const renewed = () => machine(accountRecord(100n, { epoch: 2 }), keyRecord(5))
const state = (self: Machine) => structuredClone([self.account, self.keys, self.holds])

describe('assert', () => {
  test.each([
    ['live', remembered()],
    ['ended', ended],
  ])('brings a %s hold back and touches no balance', (_, hold) => {
    const self = renewed()
    expect(self.run(assertion(hold))).toEqual({ code: 'ok' })
    expect([...self.holds.values()]).toEqual([{ ...hold, recovered: true, dueMs: noon + 30_000 }])
    expect([self.account, self.keys.get(5)]).toEqual([accountRecord(100n, { epoch: 2 }), keyRecord(5)])
  })

  test('confirms a hold that is there, with the larger metered', () => {
    const self = held()
    const before = self.account
    const further = { ...metered, started: true, outputTokens: 9 }
    expect(self.run(assertion(remembered({ metered: further })))).toEqual({ code: 'ok' })
    expect(self.holds.get('call')).toMatchObject({ metered: further, parts: [wallet(40n)] })
    expect(self.holds.get('call')?.recovered).toBeUndefined()
    expect(self.account).toEqual(before)
  })

  test('tells a hold that is there of parts that were drawn elsewhere', () => {
    const self = held()
    self.run(assertion(remembered({ parts: [wallet(40n), elsewhere(15n)] })))
    expect(self.holds.get('call')).toMatchObject({ parts: [wallet(40n), elsewhere(15n)], own: [wallet(40n)] })
    self.run(assertion(remembered({ parts: [elsewhere(20n), wallet(40n)] })))
    expect(self.holds.get('call')).toMatchObject({ parts: [wallet(40n), elsewhere(20n)], own: [wallet(40n)] })
  })

  test('that comes late takes no part away', () => {
    const self = held()
    self.run(extendCommand(20n))
    self.run(assertion())
    expect(self.holds.get('call')?.parts).toEqual([wallet(60n)])
    expect(self.holds.get('call')?.own).toBeUndefined()
  })

  test('of what another store has set aside sets nothing aside here', () => {
    const self = renewed()
    self.run(assertion(remembered({ own: [wallet(40n)], recovered: true })))
    expect(self.holds.get('call')?.own).toBeUndefined()
  })

  test('of a hold that was final long ago gives back nothing at its end', () => {
    const self = held()
    self.run(settleCommand([wallet(30n)]))
    self.run(finaliseCommand(30n))
    self.run(admitCommand({ id: 'other' }))
    self.run(assertion())
    expect(self.run(voidCommand())).toEqual({ code: 'ok', overflow: 0n })
    expect(purse(self)).toEqual({ available: 30n, held: 40n })
  })

  test('of parts beyond their bound is a broken rule', () => {
    const parts = Array.from({ length: maxParts + 1 }, (_, lease) => ({ purse: 7, lease, amount: 1n }))
    const bounded = assertion(remembered({ parts: parts.slice(1) }))
    expect(renewed().run(bounded)).toEqual({ code: 'ok' })
    expect(() => renewed().run(assertion(remembered({ parts })))).toThrow(
      new LedgerAssertion('a hold stands on a bounded number of loans'),
    )
  })

  test('of a live hold is fenced where the hold has ended', () => {
    const self = held()
    self.run(reapCommand([wallet(10n)]))
    const before = state(self)
    expect(self.run(assertion())).toEqual({ code: 'fenced', state: 'reaped' })
    expect(state(self)).toEqual(before)
  })

  test('of an ended hold says how it has ended there', () => {
    const self = held()
    self.run(voidCommand())
    expect(self.run(assertion(ended))).toEqual({ code: 'duplicate', state: 'voided' })
  })

  test('of an ended hold that is held there leaves the end to its own command', () => {
    const self = renewed()
    self.run(assertion())
    expect(self.run(assertion(ended))).toEqual({ code: 'duplicate', state: 'held' })
    expect(self.run(settleCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(self.run(finaliseCommand(30n))).toEqual({ code: 'ok' })
    expect(self.holds.size).toBe(0)
  })

  test('twice changes nothing more than once', () => {
    const property = fc.property(
      fc.constantFrom('none', 'held', 'settled', 'voided', 'reaped'),
      fc.boolean(),
      fc.record({ inputTokens: fc.nat(20), outputTokens: fc.nat(20), started: fc.boolean() }),
      (there, isLive, tokens) => {
        const self = there === 'none' ? renewed() : held()
        if (there === 'settled') self.run(settleCommand([wallet(1n)]))
        if (there === 'voided') self.run(voidCommand())
        if (there === 'reaped') self.run(reapCommand([wallet(1n)]))
        const hold = { ...(isLive ? remembered() : ended), metered: { ...metered, ...tokens } }
        self.run(assertion(hold))
        const once = state(self)
        self.run(assertion(hold))
        expect(state(self)).toEqual(once)
      },
    )
    fc.assert(property, { numRuns: 200 })
  })

  test('of a hold of another account is a broken rule', () => {
    const self = held()
    expect(() => self.run({ ...assertion(), accountId: 2 })).toThrow(LedgerAssertion)
  })
})
