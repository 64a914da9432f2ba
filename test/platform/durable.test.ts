import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import type { Assert, Command, Credit } from '../../src/ledger/engine/commands.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openDurable } from '../../src/platform/durable.ts'
import type { Clock } from '../../src/ports.ts'
import { sharedContract } from '../contracts/shared.ts'
import { testClock } from '../contracts/test-clock.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  finaliseCommand,
  keyFacts,
  keyRecord,
  metered,
  noon,
  settleCommand,
  usageRecord,
  voidCommand,
  wallet,
} from '../ledger/engine/sample.ts'
import { type Cells, startCells } from '../runtime/cells.ts'

/** Long enough for a busy machine. Tests of the limit itself say so. */
const patientMs = 20_000

let cells: Cells
beforeAll(async () => {
  cells = await startCells()
})
afterAll(() => cells?.stop())

interface Opening {
  /** Objects of the same place are the same objects. */
  readonly place?: string
  readonly clock?: Pick<Clock, 'now'> | undefined
  readonly commandMs?: number
}

/** A worker: what it asks the objects, and what it has logged and been told. */
function openWorker({ place = randomUUID(), clock, commandMs = patientMs }: Opening = {}) {
  const events: string[] = []
  const epochs: [string, number][] = []
  const broken: [string, number][] = []
  const shared = openDurable({
    stub: (spender) => cells.stub(`${place}/${spender}`),
    clock: systemClock,
    ...(clock && { testClock: clock }),
    commandMs,
    log: (event) => events.push(event),
    onAssertion: ({ message }, id) => broken.push([message, id]),
    onEpoch: (spender, epoch) => epochs.push([spender, epoch]),
  })
  return { shared, events, epochs, broken, place }
}

type Shared = ReturnType<typeof openWorker>['shared']

const credit = (epoch: number, lease = 70): Credit => ({
  type: 'credit',
  accountId,
  epoch,
  status: 'open',
  purses: [{ id: 7, lease, lent: 1_000n }],
})
const loadKey: Command = {
  type: 'load_key',
  accountId,
  key: { id: 5, status: 'active', version: 1, windows: [{ window: 'total', period: 0, spent: 0n }] },
}

async function load(shared: Shared, epoch = 1): Promise<void> {
  await shared.begin(shared.spenderOf(accountId), epoch)
  await shared.run(credit(epoch, 69 + epoch))
  await shared.run(loadKey)
}

const { facts } = admitCommand()
const hold = { id: 'call', state: 'held', facts, parts: [wallet(40n)], estimate: 40n, metered } as const
const asserted: Assert = {
  type: 'assert',
  id: 'call',
  accountId,
  hold: { ...hold, dueMs: noon + 30_000 },
  termMs: 30_000,
}

sharedContract('a Durable Object', async (clock) => {
  const { shared } = openWorker({ clock })
  await shared.begin(shared.spenderOf(accountId), 1)
  return { shared, close: () => Promise.resolve() }
})

describe('epochs', () => {
  test('before one begins every command says so and nothing is stored', async () => {
    const { shared } = openWorker()
    const commands = [admitCommand(), credit(1), loadKey, settleCommand([wallet(1n)]), finaliseCommand(0n), asserted]
    for (const command of commands) expect(await shared.run(command)).toEqual({ code: 'epoch', epoch: 0 })
    await shared.begin(shared.spenderOf(accountId), 1)
    expect(await shared.run(admitCommand())).toEqual({ code: 'load', account: true, keys: [5] })
  })

  test('who begins hears which one stands: none, its own, or a later one', async () => {
    const { shared } = openWorker()
    const spender = shared.spenderOf(accountId)
    const standing = []
    for (const epoch of [0, 2, 0, 1, 3]) standing.push(await shared.begin(spender, epoch))
    expect(standing).toEqual([0, 2, 2, 2, 3])
  })

  test('a worker hears of one that another began, whatever it asks', async () => {
    const one = openWorker()
    const other = openWorker({ place: one.place })
    const spender = one.shared.spenderOf(accountId)
    await load(one.shared)
    await other.shared.begin(spender, 2)
    expect(await one.shared.run(finaliseCommand(0n))).toEqual({ code: 'epoch', epoch: 2 })
    expect(await one.shared.run(credit(1))).toEqual({ code: 'epoch', epoch: 2 })
    expect(one.epochs).toEqual([[spender, 2]])
  })

  test('a worker that knows none learns the one that stands', async () => {
    const one = openWorker()
    const other = openWorker({ place: one.place })
    await load(one.shared)
    await one.shared.run(admitCommand())
    expect(await other.shared.run(finaliseCommand(40n))).toEqual({ code: 'ok' })
    expect(other.epochs).toEqual([])
  })

  test('a later one forgets accounts and keys, and keeps the holds as those of another time', async () => {
    const clock = testClock(noon)
    const { shared } = openWorker({ clock })
    await load(shared)
    await shared.run(admitCommand())
    await shared.begin(shared.spenderOf(accountId), 2)
    expect([await shared.account(accountId), await shared.key(accountId, 5)]).toEqual([undefined, undefined])
    clock.pass(30_000)
    const { holds } = await shared.claim(10, 10_000)
    expect(holds).toEqual([{ ...asserted.hold, recovered: true }])
  })

  test('a call in flight over a later one ends there, and its end touches no balance of it', async () => {
    const { shared } = openWorker({ clock: testClock(noon) })
    await load(shared)
    await shared.run(admitCommand())
    await load(shared, 2)
    expect(await shared.run(asserted)).toEqual({ code: 'ok' })
    expect(await shared.run(settleCommand([wallet(30n)]))).toMatchObject({ code: 'ok' })
    const purses = [{ id: 7, lease: 71, lent: 1_000n, available: 1_000n, held: 0n }]
    expect(await shared.account(accountId)).toEqual(accountRecord(0n, { epoch: 2, purses }))
    expect(await shared.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n, windows: [{ spent: 30n }] })
  })

  test('what was set aside for a call in one epoch is not asked back in the next', async () => {
    const { shared } = openWorker({ clock: testClock(noon) })
    await load(shared)
    await shared.run(admitCommand())
    await load(shared, 2)
    const needs = [{ purse: 7, amount: 20n }]
    expect(await shared.run({ type: 'extend', id: 'call', accountId, needs, estimate: 20n })).toMatchObject({
      code: 'ok',
    })
    await shared.begin(shared.spenderOf(accountId), 3)
    expect(await shared.run(settleCommand([wallet(30n)]))).toMatchObject({ code: 'ok' })
    await load(shared, 3)
    const purses = [{ id: 7, lease: 72, lent: 1_000n, available: 1_000n, held: 0n }]
    expect(await shared.account(accountId)).toEqual(accountRecord(0n, { epoch: 3, purses }))
  })

  test('the name of another kind of spender is refused', async () => {
    const { shared } = openWorker()
    for (const spender of ['redis:v1', 'durable:v1024', 'durable:v', 'local'])
      await expect(shared.begin(spender, 1)).rejects.toBeInstanceOf(RangeError)
  })
})

describe('accounts', () => {
  test('each lies in the object of its cell, and one sweep finds the holds of all that were spoken to', async () => {
    const clock = testClock(noon)
    const { shared } = openWorker({ clock })
    const ids = Array.from({ length: 30 }, (_, index) => index + 1)
    for (const id of ids) {
      await shared.begin(shared.spenderOf(id), 1)
      await shared.run({ ...credit(1), accountId: id })
      const its = { ...facts, accountId: id, keyIds: [] }
      const command = admitCommand({ id: `of ${id}`, accountId: id, facts: its, keys: [], termMs: 1 })
      expect(await shared.run(command)).toMatchObject({ code: 'ok' })
    }
    expect(new Set(ids.map((id) => shared.spenderOf(id))).size).toBeGreaterThan(25)
    clock.pass(1)
    const { holds } = await shared.claim(100, 10_000)
    expect(holds.map((one) => one.facts.accountId).toSorted((a, b) => a - b)).toEqual(ids)
  })

  test('the holds of one spender are found by whoever never spoke to it', async () => {
    const clock = testClock(noon)
    const one = openWorker({ clock })
    await load(one.shared)
    await one.shared.run(admitCommand())
    clock.pass(30_000)
    const other = openWorker({ place: one.place, clock })
    expect(await other.shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [] })
    const { holds } = await other.shared.claimOf(other.shared.spenderOf(accountId), 10, 10_000)
    expect(holds).toMatchObject([{ id: 'call', state: 'held' }])
  })

  test('holds are claimed by their deadlines, and by their names where these are the same', async () => {
    const clock = testClock(noon)
    const { shared } = openWorker({ clock })
    await load(shared)
    for (const [id, termMs] of [
      ['d', 1_000],
      ['a', 3_000],
      ['c', 2_000],
      ['b', 2_000],
    ] as const)
      await shared.run(admitCommand({ id, termMs }))
    clock.pass(3_000)
    expect((await shared.claim(10, 10_000)).holds.map(({ id }) => id)).toEqual(['d', 'b', 'c', 'a'])
  })

  test('keys and accounts on which nothing hangs are forgotten after an hour, others are kept', async () => {
    const clock = testClock(noon)
    const { shared } = openWorker({ clock })
    await load(shared)
    clock.pass(3_600_001)
    expect(await shared.run(admitCommand())).toEqual({ code: 'load', account: true, keys: [5] })
    await load(shared)
    await shared.run(admitCommand())
    await shared.run(settleCommand([wallet(30n)]))
    clock.pass(3_600_001)
    await shared.run(loadKey)
    expect(await shared.key(accountId, 5)).toMatchObject({ windows: [{ spent: 30n }] })
    await shared.run(finaliseCommand(30n))
    clock.pass(3_600_001)
    // The books lend by total alone, so how much of a loan is used stays known; a key's counters they can tell anew.
    expect(await shared.run(admitCommand({ id: 'next' }))).toEqual({ code: 'load', account: false, keys: [5] })
    expect((await shared.account(accountId))?.purses).toMatchObject([{ lent: 1_000n, available: 970n }])
  })
})

describe('an assertion that fails', () => {
  /** A settle whose charge is not the sum of its parts. */
  const wrong = { ...settleCommand([]), record: usageRecord([wallet(1n)], { charge: 2n }) }

  test('is answered as billing that is away, and reported', async () => {
    const { shared, broken } = openWorker()
    await load(shared)
    await shared.run(admitCommand())
    await expect(shared.run(wrong)).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(broken).toEqual([['a charge is the sum of its parts', accountId]])
  })

  test('stops its account for this epoch, and the books cannot open it again', async () => {
    const { shared } = openWorker()
    await load(shared)
    await shared.run(admitCommand())
    await shared.run(wrong).catch(() => {})
    await load(shared)
    expect(await shared.run(admitCommand({ id: 'next' }))).toEqual({ code: 'denied', what: 'account' })
    await load(shared, 2)
    expect(await shared.run(admitCommand({ id: 'next', epoch: 2 }))).toMatchObject({ code: 'ok' })
  })
})

describe('faults', () => {
  test('a runtime that is killed has every hold and balance that it had answered for', async () => {
    const { shared } = openWorker()
    await load(shared)
    await shared.run(admitCommand())
    await shared.run(settleCommand([wallet(30n)]))
    const second = admitCommand({ id: 'second', keys: [keyFacts(5)] })
    await shared.run(second)
    const before = [await shared.account(accountId), await shared.key(accountId, 5)]
    await cells.restart()
    expect([await shared.account(accountId), await shared.key(accountId, 5)]).toEqual(before)
    expect(before[1]).toEqual(
      keyRecord(5, { inFlight: 1, held: 40n, windows: [{ window: 'total', period: 0, spent: 30n }] }),
    )
    expect(await shared.run(settleCommand([wallet(5n)]))).toEqual({ code: 'duplicate', state: 'settled' })
    expect(await shared.run(voidCommand('second'))).toMatchObject({ code: 'ok' })
  })

  test('the alarm of an object calls for a sweep when a hold is due, also after the runtime was killed', async () => {
    // The sweeper finds the object by the name that it spends under.
    const spender = randomUUID()
    const cell = cells.stub(spender)
    await cell.begin(spender, 1)
    await cell.run({ command: credit(1) })
    await cell.run({ command: loadKey })
    expect(await cell.run({ command: admitCommand({ termMs: 1_500 }) })).toMatchObject({ reply: { code: 'ok' } })
    await cells.restart()
    // The sweeper of this runtime stops the account of whatever is due.
    const status = async () => (await cell.account(accountId))?.status
    await expect.poll(status, { timeout: patientMs }).toBe('stopped')
    expect(await cell.claim({ limit: 10, hideMs: 0 })).toEqual({ code: 'ok', holds: [] })
  })

  test('a runtime that hangs is told of once, and once when it is back', async () => {
    const place = randomUUID()
    const { shared, events } = openWorker({ place, commandMs: 300 })
    await load(openWorker({ place }).shared)
    cells.freeze()
    const calls = Array.from({ length: 5 }, () => shared.run(credit(1)))
    const ends = await Promise.allSettled(calls)
    expect(ends.every((end) => end.status === 'rejected' && end.reason instanceof SharedUnavailable)).toBe(true)
    expect(shared.reaches(accountId)).toBe(false)
    await expect(shared.claim(10, 10_000)).rejects.toBeInstanceOf(SharedUnavailable)
    expect(events).toEqual(['object_unreachable'])
    cells.thaw()
    await expect.poll(() => shared.run(credit(1)).then(({ code }) => code, String), { timeout: patientMs }).toBe('ok')
    expect(events).toEqual(['object_unreachable', 'object_reachable'])
  })

  test('a hold that is too large to be kept changes nothing', async () => {
    const { shared } = openWorker()
    await load(shared)
    const large = admitCommand({ facts: { ...facts, model: 'm'.repeat(1_000_001) } })
    await expect(shared.run(large)).rejects.toBeInstanceOf(SharedUnavailable)
    expect(await shared.account(accountId)).toEqual(
      accountRecord(0n, { purses: [{ id: 7, lease: 70, lent: 1_000n, available: 1_000n, held: 0n }] }),
    )
    expect(await shared.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n })
  })
})
