import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Part } from '../../../src/core/call.ts'
import type { Command } from '../../../src/ledger/engine/commands.ts'
import type { HoldRecord } from '../../../src/ledger/engine/records.ts'
import { ownParts } from '../../../src/ledger/engine/own.ts'
import { sum } from '../../../src/ledger/engine/purses.ts'
import { splitCharge } from '../../../src/ledger/purses.ts'
import {
  accountId,
  admitCommand,
  finaliseCommand,
  keyRecord,
  machine,
  type Machine,
  reapCommand,
  settleCommand,
  voidCommand,
} from './sample.ts'

/**
 * Calls that move between two stores, a shared one and that of their own process, each with loans of its own. A replica
 * asserts what it remembers, and that may come late; whatever happens, each store gives back what it took and no more.
 */
type Place = 'shared' | 'own'
const places = ['shared', 'own'] as const

interface Step {
  readonly do: 'admit' | 'move' | 'move late' | 'extend' | 'settle' | 'void' | 'reap' | 'finalise' | 'lend' | 'renew'
  readonly id: string
  readonly at: Place
  readonly amount: bigint
}

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom<Step['do'][]>(
    ...([
      'admit',
      'move',
      'move late',
      'extend',
      'extend',
      'settle',
      'void',
      'reap',
      'finalise',
      'lend',
      'renew',
    ] as const),
  ),
  id: fc.constantFrom('a', 'b', 'c'),
  at: fc.constantFrom(...places),
  amount: fc.bigInt(0n, 150n),
})

/** A store, and what an outside observer writes down of it. */
interface Store {
  readonly self: Machine
  readonly charged: Map<string, bigint>
  lease: number
  lent: bigint
}

interface World {
  readonly stores: Readonly<Record<Place, Store>>
  /** The last that a replica heard of each hold, and all that it ever sent. */
  readonly known: Map<string, HoldRecord>
  readonly sent: HoldRecord[]
}

function newStore(lease: number): Store {
  const windows = [{ window: 'total', period: 0, spent: 0n }] as const
  return { self: machine(undefined, keyRecord(5, { windows })), charged: new Map(), lease, lent: 500n }
}

const nameOf = ({ purse, lease }: Omit<Part, 'amount'>) => `${purse}/${lease}`

function lend(store: Store): Command {
  const purses = [7, 8].map((id) => ({ id, lease: 10 * store.lease + id, lent: store.lent }))
  return { type: 'credit', accountId, epoch: 1, status: 'open', purses }
}

function needsOf(amount: bigint) {
  return [
    { purse: 7, amount },
    { purse: 8, amount },
  ]
}

function commandOf({ stores, known, sent }: World, at: Step): Command | undefined {
  const store = stores[at.at]
  const hold = known.get(at.id)
  const charge = splitCharge({ money: at.amount }, hold?.parts ?? [], { fallback: { purse: 7, lease: 1 } })
  switch (at.do) {
    case 'admit':
      return hold ? undefined : admitCommand({ id: at.id, needs: needsOf(at.amount), estimate: at.amount })
    case 'move':
      return hold && { type: 'assert', id: at.id, accountId, hold, termMs: 30_000 }
    case 'move late': {
      const late = sent.find(({ id }) => id === at.id)
      return late && { type: 'assert', id: at.id, accountId, hold: late, termMs: 30_000 }
    }
    case 'extend':
      return { type: 'extend', id: at.id, accountId, needs: needsOf(at.amount), estimate: at.amount }
    case 'settle':
      return settleCommand(charge, at.id)
    case 'reap':
      return reapCommand(charge, store.self.holds.get(at.id)?.metered, at.id)
    case 'void':
      return voidCommand(at.id)
    case 'finalise':
      return finaliseCommand(at.amount, at.id)
    case 'lend':
      store.lent += at.amount
      return lend(store)
    case 'renew':
      store.lease += 2
      return lend(store)
  }
}

/** What an end took of each loan, by the words of the state table; a finalise is told by what the account says. */
function note(store: Store, before: Machine['account'], command: Command, hold: HoldRecord | undefined): void {
  const add = (name: string, amount: bigint) => store.charged.set(name, (store.charged.get(name) ?? 0n) + amount)
  if ((command.type === 'settle' || command.type === 'reap') && hold?.state === 'held')
    for (const part of command.record.parts) add(nameOf(part), part.amount)
  if (command.type !== 'finalise') return
  for (const purse of before?.purses ?? []) {
    const after = store.self.account?.purses.find(({ id, lease }) => id === purse.id && lease === purse.lease)
    if (after)
      add(nameOf({ purse: purse.id, lease: purse.lease }), purse.available + purse.held - after.available - after.held)
  }
}

function check(store: Store): void {
  const live = [...store.self.holds.values()].filter(({ state }) => state === 'held')
  const own = live.flatMap(ownParts)
  for (const purse of store.self.account?.purses ?? []) {
    const name = nameOf({ purse: purse.id, lease: purse.lease })
    expect(purse.held).toBe(sum(own.filter((part) => nameOf(part) === name)))
    expect(purse.available + purse.held + (store.charged.get(name) ?? 0n)).toBe(purse.lent)
  }
  const counted = live.filter(({ recovered }) => !recovered)
  const estimates = counted.reduce((total, { estimate }) => total + estimate, 0n)
  const key = store.self.keys.get(5)
  expect([key?.inFlight, key?.held]).toEqual([counted.length, estimates])
}

function play(steps: readonly Step[], after: (world: World) => void): void {
  const world: World = { stores: { shared: newStore(100), own: newStore(101) }, known: new Map(), sent: [] }
  for (const place of places) world.stores[place].self.run(lend(world.stores[place]))
  for (const at of steps) {
    const store = world.stores[at.at]
    const command = commandOf(world, at)
    if (!command) continue
    const [account, hold] = [store.self.account, store.self.holds.get(at.id)]
    const reply = store.self.run(command)
    note(store, account, command, hold)
    const now = store.self.holds.get(at.id)
    if (reply.code === 'ok' && now?.state === 'held') {
      world.known.set(at.id, now)
      world.sent.push(now)
    }
    after(world)
  }
}

const histories = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' })

test('each store holds what it set aside itself, and conserves the money of every loan', () => {
  fc.assert(
    fc.property(histories, (steps) => play(steps, ({ stores }) => places.forEach((place) => check(stores[place])))),
    { numRuns: 600 },
  )
})

test('such histories do let calls grow in both stores', () => {
  let both = 0
  const property = fc.property(histories, (steps) =>
    play(steps, ({ stores }) => {
      const drawn = (place: Place) => [...stores[place].self.holds.values()].filter((hold) => ownParts(hold).length > 0)
      const ids = new Set(drawn('own').map(({ id }) => id))
      if (drawn('shared').some(({ id }) => ids.has(id))) both += 1
    }),
  )
  fc.assert(property, { numRuns: 200 })
  expect(both).toBeGreaterThan(0)
})
