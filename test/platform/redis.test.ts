import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cellOf } from '../../src/core/cell.ts'
import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import type { Assert, Command, Credit } from '../../src/ledger/engine/commands.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { type RedisAddress, slotOf } from '../../src/platform/redis-connection.ts'
import { openRedis, type RedisShared } from '../../src/platform/redis.ts'
import type { Clock } from '../../src/ports.ts'
import { sharedContract } from '../contracts/shared.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  extendCommand,
  finaliseCommand,
  keyFacts,
  metered,
  settleCommand,
  wallet,
} from '../ledger/engine/sample.ts'
import { hasRedis, type RealCluster, type RealRedis, startCluster, startRedis } from '../support/real-redis.ts'

/** Long enough for a busy machine. Tests of the limit itself say so. */
const patientMs = 10_000
/** Bounds the waits of tests for something that comes by itself. */
const eventuallyMs = 15_000

interface Opening {
  readonly testClock?: Clock
  readonly commandMs?: number
}

/** A replica: its connection, and what it has logged and been told. */
async function openReplica(address: RedisAddress, { testClock, commandMs = patientMs }: Opening = {}) {
  const events: string[] = []
  const epochs: [string, number][] = []
  const broken: [string, number][] = []
  const shared = await openRedis({
    address,
    clock: systemClock,
    ...(testClock && { testClock }),
    commandMs,
    log: (event) => events.push(event),
    onAssertion: ({ message }, id) => broken.push([message, id]),
    onEpoch: (spender, epoch) => epochs.push([spender, epoch]),
  })
  return { shared, events, epochs, broken }
}

/** One replica for a whole suite: each test empties the store and moves a clock of its own. */
function contractOn(name: string, place: () => { address: RedisAddress; flush(): Promise<unknown> }): void {
  let shared: RedisShared
  let clock: Pick<Clock, 'now'>
  beforeAll(async () => {
    const testClock = { ...systemClock, now: () => clock.now() }
    const replica = await openReplica(place().address, { testClock })
    shared = replica.shared
  })
  afterAll(() => shared?.close())
  sharedContract(name, async (testClock) => {
    clock = testClock
    await place().flush()
    await shared.begin(shared.spenderOf(accountId), 1)
    return { shared, close: () => Promise.resolve() }
  })
}

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
const { facts, estimate } = admitCommand()
const asserted: Assert = {
  type: 'assert',
  id: 'call',
  accountId,
  hold: { id: 'call', state: 'held', facts, estimate, metered, parts: [wallet(40n)], dueMs: 0 },
  termMs: 30_000,
}

async function begin(shared: RedisShared, epoch: number): Promise<void> {
  await shared.begin(shared.spenderOf(accountId), epoch)
}

/** Begins an epoch, lends 1,000, loads the key. */
async function load(shared: RedisShared, epoch: number): Promise<void> {
  await begin(shared, epoch)
  await shared.run(credit(epoch, 69 + epoch))
  await shared.run(loadKey)
}

async function eventually<T>(find: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + eventuallyMs; ; await wait(20)) {
    try {
      return await find()
    } catch (error) {
      if (Date.now() > end) throw error
    }
  }
}

describe.skipIf(!hasRedis)('one server', () => {
  let redis: RealRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis?.stop())
  contractOn('Redis', () => ({ address: { url: redis.url }, flush: () => redis.send('FLUSHALL') }))
})

describe.skipIf(!hasRedis)('a cluster', () => {
  let cluster: RealCluster
  beforeAll(async () => {
    cluster = await startCluster()
  })
  afterAll(() => cluster?.stop())
  contractOn('A cluster of Redis', () => ({ address: { cluster: cluster.urls }, flush: () => cluster.flush() }))

  test('accounts live on every node, and one sweep finds the holds of all', async () => {
    await cluster.flush()
    const { shared } = await openReplica({ cluster: cluster.urls.slice(0, 1) })
    const ids = Array.from({ length: 30 }, (_, index) => index + 1)
    // It was told of one node and finds the others by itself.
    for (const id of ids) await eventually(() => shared.begin(shared.spenderOf(id), 1))
    for (const id of ids) {
      await shared.run({ ...credit(1), accountId: id })
      const itsFacts = { ...facts, accountId: id, keyIds: [] }
      const hold = admitCommand({ id: `of ${id}`, accountId: id, facts: itsFacts, keys: [], termMs: 1 })
      expect(await shared.run(hold)).toMatchObject({ code: 'ok' })
    }
    const counts = await Promise.all(cluster.nodes.map((node) => node.send('DBSIZE')))
    expect(counts.every((count) => Number(count) > 0)).toBe(true)
    const found = await eventually(async () => {
      const { holds } = await shared.claim(100, 0)
      expect(holds).toHaveLength(30)
      return holds
    })
    expect(found.map((hold) => hold.facts.accountId).toSorted((a, b) => a - b)).toEqual(ids)
    shared.close()
  })

  test('a node that was killed stops the accounts of its cells alone', async () => {
    await cluster.flush()
    const { shared } = await openReplica({ cluster: cluster.urls }, { commandMs: 1_000 })
    const ids = Array.from({ length: 12 }, (_, index) => index + 1)
    for (const id of ids) await shared.begin(shared.spenderOf(id), 1)
    await cluster.nodes[2]?.restart()
    const codes = await eventually(async () => {
      const replies = await Promise.all(ids.map((id) => shared.run({ ...credit(1), accountId: id })))
      return replies.map(({ code }) => code)
    })
    expect(new Set(codes)).toEqual(new Set(['ok', 'epoch']))
    shared.close()
  })
})

describe.skipIf(!hasRedis)('faults', () => {
  let redis: RealRedis
  beforeAll(async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'everysec'])
  })
  afterAll(() => redis?.stop())
  beforeEach(() => redis.send('FLUSHALL'))

  const open = (opening?: Opening) => openReplica({ url: redis.url }, opening)

  test('before an epoch begins every command says so and nothing is stored', async () => {
    const { shared } = await open()
    const commands = [admitCommand(), credit(1), loadKey, settleCommand([wallet(1n)]), finaliseCommand(0n), asserted]
    for (const command of commands) expect(await shared.run(command)).toEqual({ code: 'epoch', epoch: 0 })
    expect(await redis.send('DBSIZE')).toBe(0)
    shared.close()
  })

  test('a server that was killed and kept its data answers with no epoch, and keeps the money as it was', async () => {
    const { shared, epochs } = await open()
    await load(shared, 1)
    await shared.run(admitCommand())
    await redis.restart()
    expect(await eventually(() => shared.run(settleCommand([wallet(30n)])))).toEqual({ code: 'epoch', epoch: 0 })
    expect(await shared.account(accountId)).toBeUndefined()
    expect(epochs).toEqual([[shared.spenderOf(accountId), 0]])
    shared.close()
  })

  test('an epoch does not begin twice: after a restart only a later one does', async () => {
    const { shared } = await open()
    await load(shared, 1)
    await redis.restart()
    await eventually(() => begin(shared, 1))
    expect(await shared.run(credit(1))).toEqual({ code: 'epoch', epoch: 0 })
    await begin(shared, 2)
    expect(await shared.run(credit(2))).toEqual({ code: 'ok' })
    shared.close()
  })

  test('a call in flight over a restart is asserted, and its end touches no balance of the new epoch', async () => {
    const { shared } = await open()
    await load(shared, 1)
    await shared.run(admitCommand())
    await redis.restart()
    await eventually(() => load(shared, 2))
    expect(await shared.run(settleCommand([wallet(30n)]))).toEqual({ code: 'gone' })
    expect(await shared.run(asserted)).toEqual({ code: 'ok' })
    expect(await shared.run(settleCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    const purses = [{ id: 7, lease: 71, lent: 1_000n, available: 1_000n, held: 0n }]
    expect(await shared.account(accountId)).toEqual(accountRecord(0n, { epoch: 2, purses }))
    expect(await shared.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n, windows: [{ spent: 30n }] })
    shared.close()
  })

  test('a call in flight over a restart is asserted, and grows on the money of the new epoch', async () => {
    const { shared } = await open()
    await load(shared, 1)
    await shared.run(admitCommand())
    await redis.restart()
    await eventually(() => load(shared, 2))
    expect(await shared.run(extendCommand(25n))).toEqual({ code: 'gone' })
    await shared.run(asserted)
    const more = { purse: 7, lease: 71, amount: 25n }
    expect(await shared.run(extendCommand(25n))).toEqual({ code: 'ok', parts: [wallet(40n), more] })
    await shared.run(settleCommand([wallet(40n), { ...more, amount: 5n }]))
    const purses = [{ id: 7, lease: 71, lent: 1_000n, available: 995n, held: 0n }]
    expect(await shared.account(accountId)).toEqual(accountRecord(0n, { epoch: 2, purses }))
    shared.close()
  })

  test('what had grown in an epoch that is over is claimed with nothing set aside in the next', async () => {
    let nowMs = 1_000_000
    const { shared } = await open({ testClock: { ...systemClock, now: () => nowMs } })
    await load(shared, 1)
    await shared.run(asserted)
    await shared.run(extendCommand(25n))
    await begin(shared, 2)
    nowMs += 30_000
    const { holds } = await shared.claim(10, 10_000)
    const grown = { ...asserted.hold, parts: [wallet(65n)], estimate: 65n, dueMs: 1_030_000, recovered: true }
    expect(holds).toEqual([grown])
    shared.close()
  })

  test('nothing of a hold is left once it is final', async () => {
    const { shared } = await open()
    await load(shared, 1)
    const before = await redis.send('DBSIZE')
    await shared.run(admitCommand())
    await shared.run(settleCommand([wallet(30n)]))
    await shared.run(finaliseCommand(30n))
    expect(await redis.send('DBSIZE')).toBe(before)
    shared.close()
  })

  test('a hold of an older epoch that nobody asserts is claimed when its term is over', async () => {
    let nowMs = 1_000_000
    const { shared } = await open({ testClock: { ...systemClock, now: () => nowMs } })
    await load(shared, 1)
    await shared.run(admitCommand())
    await begin(shared, 2)
    expect(await shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [] })
    nowMs += 30_000
    const { holds } = await shared.claim(10, 10_000)
    expect(holds).toEqual([{ ...asserted.hold, dueMs: 1_030_000, recovered: true }])
    shared.close()
  })

  test('what is due in a cell that a process has not served is found by its eighth claim, and from then on by each', async () => {
    let nowMs = 1_000_000
    const testClock = { ...systemClock, now: () => nowMs }
    const { shared } = await open({ testClock })
    await load(shared, 1)
    await shared.run(admitCommand())
    shared.close()
    nowMs += 30_000
    const { shared: other } = await open({ testClock })
    const found = async (): Promise<number> => (await other.claim(10, 0)).holds.length
    let claims = 1
    while ((await found()) === 0) expect(++claims).toBeLessThanOrEqual(8)
    expect([await found(), await found()]).toEqual([1, 1])
    other.close()
  })

  test('what is due in a cell that nobody has entered since a restart is told by its spender, and taken in a new epoch', async () => {
    let nowMs = 1_000_000
    const { shared } = await open({ testClock: { ...systemClock, now: () => nowMs } })
    await load(shared, 1)
    await shared.run(admitCommand())
    await redis.restart()
    nowMs += 30_000
    const spender = shared.spenderOf(accountId)
    await eventually(async () => {
      expect(await shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [], ownerless: [spender] })
    })
    await begin(shared, 2)
    const { holds, ownerless } = await shared.claim(10, 10_000)
    expect([holds.map(({ id }) => id), ownerless]).toEqual([[asserted.hold.id], undefined])
    shared.close()
  })

  test('an emptied server answers with no epoch', async () => {
    const { shared } = await open()
    await load(shared, 1)
    await redis.send('FLUSHALL')
    expect(await shared.run(admitCommand())).toEqual({ code: 'epoch', epoch: 0 })
    shared.close()
  })

  test('scripts that were flushed are sent again', async () => {
    const { shared } = await open()
    await load(shared, 1)
    await redis.send('SCRIPT', 'FLUSH')
    expect(await shared.run(admitCommand())).toMatchObject({ code: 'ok' })
    await redis.send('SCRIPT', 'FLUSH')
    expect(await shared.claim(10, 10_000)).toEqual({ code: 'ok', holds: [] })
    shared.close()
  })

  test('a replica hears of an epoch that another one began, whatever it asks', async () => {
    const [one, other] = [await open(), await open()]
    await load(one.shared, 1)
    await begin(other.shared, 2)
    expect(await one.shared.run(finaliseCommand(0n))).toEqual({ code: 'epoch', epoch: 2 })
    expect(one.epochs).toEqual([[one.shared.spenderOf(accountId), 2]])
    await begin(one.shared, 1)
    expect(await one.shared.run(credit(1))).toEqual({ code: 'epoch', epoch: 2 })
    one.shared.close()
    other.shared.close()
  })

  test('a replica that knows no epoch learns the one that stands', async () => {
    const [one, other] = [await open(), await open()]
    await load(one.shared, 1)
    await one.shared.run(admitCommand())
    expect(await other.shared.run(finaliseCommand(40n))).toEqual({ code: 'ok' })
    expect(other.epochs).toEqual([])
    one.shared.close()
    other.shared.close()
  })

  test('a server that hangs is told of once, and once when it is back', async () => {
    const { shared, events } = await open({ commandMs: 100 })
    await eventually(() => load(shared, 1))
    const before = events.length
    redis.process.kill('SIGSTOP')
    const calls = Array.from({ length: 5 }, () => shared.run(credit(1)))
    const ends = await Promise.allSettled(calls)
    expect(ends.every((end) => end.status === 'rejected' && end.reason instanceof SharedUnavailable)).toBe(true)
    await expect(shared.run(credit(1))).rejects.toBeInstanceOf(SharedUnavailable)
    expect(events.slice(before)).toEqual(['redis_unreachable'])
    redis.process.kill('SIGCONT')
    await eventually(() => shared.run(credit(1)))
    expect(events[before + 1]).toBe('redis_reachable')
    shared.close()
  })

  test('without Redis the start goes on and every command says that it is away', async () => {
    const { shared, events } = await openReplica({ url: 'redis://127.0.0.1:1' })
    await expect(shared.run(admitCommand())).rejects.toBeInstanceOf(SharedUnavailable)
    await expect(shared.claim(10, 10_000)).rejects.toBeInstanceOf(SharedUnavailable)
    expect(events).toEqual(['redis_unreachable'])
    shared.close()
  })

  test('an amount that doubles cannot hold is refused before it is sent', async () => {
    const { shared, broken } = await open()
    await load(shared, 1)
    const tooLarge = 9_000_000_000_000_001n
    const commands: readonly Command[] = [
      admitCommand({ estimate: tooLarge }),
      admitCommand({ needs: [{ purse: 7, amount: tooLarge }] }),
      admitCommand({ keys: [keyFacts(5, { budgets: [{ window: 'total', limit: tooLarge }] })] }),
      settleCommand([wallet(tooLarge)]),
      { ...credit(1), purses: [7, 8].map((id) => ({ id, lease: 70, lent: 5_000_000_000_000_000n })) },
    ]
    for (const command of commands)
      await expect(shared.run(command)).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(broken).toEqual([])
    expect(await shared.account(accountId)).toEqual(accountRecord(1_000n))
    shared.close()
  })

  test('a broken rule stops the account until the next epoch, whatever the books say', async () => {
    const { shared, broken } = await open()
    await load(shared, 1)
    await shared.run(admitCommand())
    const command = settleCommand([wallet(30n)])
    const wrong = { ...command, record: { ...command.record, charge: 31n } }
    await expect(shared.run(wrong)).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(broken).toEqual([['a charge is the sum of its money parts', accountId]])
    await shared.run(credit(1))
    expect(await shared.account(accountId)).toMatchObject({ status: 'stopped' })
    await begin(shared, 2)
    await shared.run(credit(2))
    expect(await shared.account(accountId)).toMatchObject({ status: 'open' })
    shared.close()
  })

  test('a rule that a script finds broken is named, and nothing of the command is stored', async () => {
    const { shared, broken } = await open()
    await load(shared, 1)
    await shared.run(admitCommand())
    let neighbour = accountId + 1
    while (cellOf(neighbour) !== cellOf(accountId)) neighbour += 1
    const command: Command = { type: 'checkpoint', id: 'call', accountId: neighbour, metered, termMs: 30_000 }
    await expect(shared.run(command)).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(broken).toEqual([['a command names the account of its hold', neighbour]])
    expect(await shared.account(accountId)).toMatchObject({ status: 'open', purses: [{ held: 40n }] })
    shared.close()
  })

  test('a key that counts nothing in flight may go when nobody uses it; one that does may not', async () => {
    const { shared } = await open()
    await load(shared, 1)
    const name = `k:{v${cellOf(accountId)}}:5`
    const leftMs = async () => Number(await redis.send('PTTL', name))
    expect(await leftMs()).toBeGreaterThan(0)
    await shared.run(admitCommand())
    expect(await leftMs()).toBe(-1)
    await shared.run(settleCommand([wallet(1n)]))
    expect(await leftMs()).toBeGreaterThan(0)
    shared.close()
  })
})

test('an address that is no URL of Redis is refused without repeating it', async () => {
  const opening = openReplica({ url: 'http://secret@host' })
  await expect(opening).rejects.toThrow('A Redis address is redis://host:port or rediss://host:port')
})

test('a name has the slot that clusters give it', () => {
  // 0x31c3 is the check value of the specification.
  expect([slotOf('123456789'), slotOf('v0'), slotOf('v183')]).toEqual([0x31c3, 5_292, 7_541])
})
