import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lendSlots, type SlotHolder } from '../../src/core/shared-slots.ts'

const replicas = ['r1', 'r2', 'r3']

/** Replicas that each keep to what they were lent, as they say what they want in any order. */
const anySteps = fc.array(
  fc.record({
    replica: fc.constantFrom(...replicas),
    want: fc.nat(40),
    /** Of what it has, in percent, it keeps so much. */
    keeps: fc.integer({ min: 0, max: 100 }),
    passMs: fc.nat(900),
  }),
  { maxLength: 80 },
)

test('replicas together never have more than the limit', () =>
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), anySteps, (limit, steps) => {
      let nowMs = 1_000_000
      let holders: readonly SlotHolder[] = []
      const has = new Map<string, number>()
      for (const { replica, want, keeps, passMs } of steps) {
        nowMs += passMs
        // Each says something every second, so none is forgotten here.
        holders = holders.map((one) => ({ ...one, atMs: nowMs }))
        const held = Math.floor(((has.get(replica) ?? 0) * keeps) / 100)
        const lent = lendSlots(holders, { id: 'x', limit, replica, held, want }, nowMs)
        holders = lent.holders
        has.set(replica, lent.share.granted)
        const sum = [...has.values()].reduce((all, one) => all + one, 0)
        expect([sum <= limit, lent.share.granted >= held]).toEqual([true, true])
      }
    }),
  ))

test('replicas that all want more come to equal parts, whatever they began with', () =>
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 40 }), anySteps, (limit, steps) => {
      const nowMs = 1_000_000
      let holders: readonly SlotHolder[] = []
      for (const { replica, want, keeps } of steps) {
        const held = Math.floor(((holders.find((one) => one.replica === replica)?.slots ?? 0) * keeps) / 100)
        holders = lendSlots(holders, { id: 'x', limit, replica, held, want }, nowMs).holders
      }
      for (let round = 0; round < 4; round++) {
        for (const replica of replicas)
          holders = lendSlots(holders, { id: 'x', limit, replica, held: 0, want: 100 }, nowMs).holders
      }
      const slots = holders.map((one) => one.slots)
      expect([Math.min(...slots) >= Math.floor(limit / 3), slots.reduce((all, one) => all + one, 0)]).toEqual([
        true,
        limit,
      ])
    }),
  ))

test('what nobody else wants goes to the one that asks', () => {
  const idle: SlotHolder = { replica: 'r2', slots: 2, want: 2, atMs: 0 }
  expect(lendSlots([idle], { id: 'x', limit: 10, replica: 'r1', held: 0, want: 30 }, 0).share).toEqual({
    granted: 8,
    fair: 8,
    isWanted: false,
  })
})

test('of one slot that two want, who has had it gives way', () => {
  const waiting: SlotHolder = { replica: 'r2', slots: 0, want: 1, atMs: 0 }
  const had: SlotHolder = { replica: 'r1', slots: 1, want: 1, atMs: 0 }
  const given = lendSlots([waiting, had], { id: 'x', limit: 1, replica: 'r1', held: 0, want: 1 }, 0)
  const taken = lendSlots(given.holders, { id: 'x', limit: 1, replica: 'r2', held: 0, want: 1 }, 0)
  expect([given.share, taken.share]).toEqual([
    { granted: 0, fair: 0, isWanted: true },
    { granted: 1, fair: 1, isWanted: true },
  ])
})

test('what a replica had that has said nothing for five seconds is free', () => {
  const dead: SlotHolder = { replica: 'r2', slots: 10, want: 10, atMs: 0 }
  const ask = { id: 'x', limit: 10, replica: 'r1', held: 0, want: 4 }
  expect([lendSlots([dead], ask, 4_999).share.granted, lendSlots([dead], ask, 5_000).share.granted]).toEqual([0, 4])
})
