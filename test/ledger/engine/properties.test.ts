import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Part } from '../../../src/core/call.ts'
import type { Command } from '../../../src/ledger/engine/commands.ts'
import { maxChain } from '../../../src/ledger/engine/invariants.ts'
import type { HoldRecord, HoldState } from '../../../src/ledger/engine/records.ts'
import { splitCharge } from '../../../src/ledger/purses.ts'
import {
  accountId,
  admitCommand,
  finaliseCommand,
  keyFacts,
  keyRecord,
  machine,
  type Machine,
  metered,
  reapCommand,
  settleCommand,
  voidCommand,
} from './sample.ts'

const ids = ['a', 'b', 'c', 'd']
const budget = 2_000n

/** One step of a random history; a charge is a share of what the hold has, above 100 % for an overflow. */
type Step =
  | { readonly do: 'admit' | 'extend'; readonly id: string; readonly amount: bigint; readonly ratio: bigint }
  | { readonly do: 'settle' | 'reap' | 'finalise'; readonly id: string; readonly percent: bigint }
  | { readonly do: 'void' | 'checkpoint'; readonly id: string; readonly tokens: number }
  | { readonly do: 'credit'; readonly more: bigint; readonly renew: boolean }

const id = fc.constantFrom(...ids)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('admit', 'extend'), id, amount: fc.bigInt(0n, 300n), ratio: fc.bigInt(1n, 7n) }),
  fc.record({ do: fc.constantFrom('settle', 'reap', 'finalise'), id, percent: fc.bigInt(0n, 160n) }),
  fc.record({ do: fc.constantFrom('void', 'checkpoint'), id, tokens: fc.integer({ min: 0, max: 50 }) }),
  fc.record({ do: fc.constant('credit'), more: fc.bigInt(0n, 200n), renew: fc.boolean() }),
)

/** What an outside observer writes down: loans, and what was charged on each. */
interface Notes {
  lease: number
  lent: bigint
  readonly charged: Map<string, bigint>
  spent: bigint
}

const place = ({ purse, lease }: Omit<Part, 'amount'>) => `${purse}/${lease}`
const total = (parts: readonly Part[]) => parts.reduce((sum, { amount }) => sum + amount, 0n)

function note(notes: Notes, parts: readonly Part[]): void {
  for (const part of parts) notes.charged.set(place(part), (notes.charged.get(place(part)) ?? 0n) + part.amount)
}

function toCommand(self: Machine, notes: Notes, at: Step): Command {
  if (at.do === 'credit') {
    notes.lease += at.renew ? 1 : 0
    notes.lent += at.more
    const purses = [8, 7].map((purse) => ({ id: purse, lease: purse * 1_000 + notes.lease, lent: notes.lent }))
    return { type: 'credit', accountId, epoch: 1, status: 'open', purses }
  }
  const hold = self.holds.get(at.id)
  const parts =
    'percent' in at ? splitCharge({ money: (total(hold?.parts ?? []) * at.percent) / 100n }, hold?.parts ?? []) : []
  switch (at.do) {
    case 'admit':
    case 'extend': {
      const needs = [
        { purse: 8, amount: at.amount * at.ratio },
        { purse: 7, amount: at.amount },
      ]
      if (at.do === 'extend') return { type: 'extend', id: at.id, accountId, needs, estimate: at.amount }
      const keys = [keyFacts(5), keyFacts(6, { concurrency: 3, budgets: [{ limit: budget, window: 'total' }] })]
      return admitCommand({ id: at.id, needs, estimate: at.amount, keys })
    }
    case 'settle':
      return settleCommand(parts, at.id)
    case 'reap':
      return reapCommand(parts, hold?.metered, at.id)
    case 'finalise':
      return finaliseCommand(total(parts), at.id)
    case 'void':
      return voidCommand(at.id)
    case 'checkpoint':
      return {
        type: 'checkpoint',
        id: at.id,
        accountId,
        metered: { ...metered, outputTokens: at.tokens },
        termMs: 30_000,
      }
  }
}

/** What a finalise takes above what the hold's record took, by the words of the rule. */
function finalCharge(hold: HoldRecord, charged: bigint): readonly Part[] {
  if (hold.state === 'held') return splitCharge({ money: charged }, hold.parts)
  const took = total(hold.record?.parts ?? [])
  const last = hold.record?.parts.at(-1) ?? hold.parts.at(-1)
  return charged > took && last ? [{ ...last, amount: charged - took }] : []
}

function observe(notes: Notes, command: Command, hold: HoldRecord | undefined): void {
  if ((command.type === 'settle' || command.type === 'reap') && hold?.state === 'held') {
    note(notes, command.record.parts)
    notes.spent += command.record.charge
  }
  if (command.type === 'finalise' && hold) {
    const parts = finalCharge(hold, command.total)
    note(notes, parts)
    notes.spent += total(parts)
  }
}

function check(self: Machine, notes: Notes): void {
  const live = [...self.holds.values()].filter(({ state }) => state === 'held')
  const estimates = live.reduce((sum, { estimate }) => sum + estimate, 0n)
  for (const purse of self.account?.purses ?? []) {
    const name = place({ purse: purse.id, lease: purse.lease })
    const held = total(live.flatMap(({ parts }) => parts).filter((part) => place(part) === name))
    expect(purse.held).toBe(held)
    expect(purse.available + purse.held + (notes.charged.get(name) ?? 0n)).toBe(purse.lent)
  }
  for (const key of self.keys.values()) {
    expect([key.inFlight, key.held, key.windows[0]?.spent]).toEqual([live.length, estimates, notes.spent])
  }
}

function start(): Machine {
  const windows = [{ window: 'total', period: 0, spent: 0n }] as const
  return machine(undefined, keyRecord(5, { windows }), keyRecord(6, { windows }))
}

function play(
  steps: readonly Step[],
  after: (self: Machine, step: { notes: Notes; command: Command; reply: { code: string } }) => void,
): void {
  const self = start()
  const notes: Notes = { lease: 0, lent: 500n, charged: new Map(), spent: 0n }
  for (const at of [{ do: 'credit', more: 0n, renew: false } as const, ...steps]) {
    const command = toCommand(self, notes, at)
    const hold = 'id' in command ? self.holds.get(command.id) : undefined
    const reply = self.run(command)
    observe(notes, command, hold)
    after(self, { notes, command, reply })
  }
}

const histories = fc.array(step, { minLength: 1, maxLength: 60 })

test('any history conserves the money of every purse, and keys count just the holds in flight', () => {
  fc.assert(
    fc.property(histories, (steps) => play(steps, (self, { notes }) => check(self, notes))),
    { numRuns: 400 },
  )
})

test('only a charge takes a purse below nothing', () => {
  const property = fc.property(histories, (steps) => {
    let before = new Map<number, bigint>()
    play(steps, (self, { command }) => {
      const now = new Map(self.account?.purses.map(({ id: purse, available }) => [purse, available]))
      if (command.type === 'admit' || command.type === 'extend') {
        for (const [purse, available] of now) if (available < 0n) expect(available).toBe(before.get(purse))
      }
      before = now
    })
  })
  fc.assert(property, { numRuns: 200 })
})

test('a budget is never passed by what is let in', () => {
  const property = fc.property(histories, (steps) =>
    play(steps, (self, { command, reply }) => {
      const key = self.keys.get(6)
      if ((command.type === 'admit' || command.type === 'extend') && reply.code === 'ok' && key) {
        expect((key.windows[0]?.spent ?? 0n) + key.held <= budget).toBe(true)
        expect(key.inFlight).toBeLessThanOrEqual(3)
      }
    }),
  )
  fc.assert(property, { numRuns: 200 })
})

test('every hold ends at most once', () => {
  const property = fc.property(histories, (steps) => {
    let before = new Map<string, HoldState>()
    play(steps, (self) => {
      const now = new Map([...self.holds].map(([name, { state }]) => [name, state]))
      for (const [name, state] of before) if (state !== 'held' && now.has(name)) expect(now.get(name)).toBe(state)
      before = now
    })
  })
  fc.assert(property, { numRuns: 200 })
})

test('a refusal changes nothing', () => {
  const property = fc.property(histories, (steps) => {
    let before: unknown
    play(steps, (self, { reply }) => {
      const now = structuredClone([self.account, self.keys, self.holds])
      if (reply.code !== 'ok') expect(now).toEqual(before)
      before = now
    })
  })
  fc.assert(property, { numRuns: 100 })
})

test('a request limit lets in no more than its bucket and its refill', () => {
  const limits = fc.integer({ min: 1, max: 20 })
  const pauses = fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 80 })
  const property = fc.property(limits, pauses, (limit, waits) => {
    const self = start()
    self.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses: [] })
    const startMs = self.nowMs
    let letIn = 0
    waits.forEach((wait, index) => {
      self.nowMs += wait
      const reply = self.run(
        admitCommand({ id: `${index}`, needs: [], estimate: 0n, keys: [keyFacts(5, { requestsPerMinute: limit })] }),
      )
      if (reply.code === 'ok') letIn += 1
      expect(letIn * 60_000).toBeLessThanOrEqual(limit * (60_000 + self.nowMs - startMs))
    })
  })
  fc.assert(property, { numRuns: 200 })
})

test('a chain of the greatest depth is counted at every key', () => {
  const keys = Array.from({ length: maxChain }, (_, index) => keyFacts(index + 1))
  const self = machine(undefined, ...keys.map((key) => keyRecord(key.id)))
  self.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses: [{ id: 7, lease: 70, lent: 40n }] })
  self.run(admitCommand({ keys }))
  expect([...self.keys.values()].map(({ inFlight }) => inFlight)).toEqual(keys.map(() => 1))
})
