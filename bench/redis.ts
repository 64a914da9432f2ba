import { once } from 'node:events'
import { Redis } from 'ioredis'
import { systemClock } from '../src/platform/clock.ts'
import { openRedis, type RedisShared } from '../src/platform/redis.ts'
import { type RedisAddress, writeTogether } from '../src/platform/redis-connection.ts'
import { admitCommand, finaliseCommand, metered, settleCommand, usageRecord } from '../test/ledger/engine/sample.ts'
import { type RealRedis, startCluster, startRedis } from '../test/support/real-redis.ts'
import { machine } from './options.ts'

/**
 * What a full call (admit, checkpoint, settle, finalise) costs Redis: two purses, a chain of two keys, one budget.
 * CPU is what `INFO cpu` says of the server, so it hangs little on what else the machine does; calls per second do.
 * With `--cluster`: the same over clusters of one, two and three masters, and how many calls the busiest of them could
 * serve if it had a core of its own.
 */
const accounts = 200
/** Over a cluster they have to spread over all cells. */
const manyAccounts = 2_000
const callers = 64
const seconds = 5

const prices = {
  id: 'b1946ac92492d2347c6235b4d2611184',
  currency: 'USD',
  nanos: { input: 2_500_000_000n, cached_input: 1_250_000_000n, output: 10_000_000_000n },
  discountPpm: 1_000_000,
}
const budgets = [{ limit: 8_000_000_000_000_000n, window: 'month' as const }]

async function load(shared: RedisShared, accountId: number): Promise<void> {
  await shared.begin(shared.spenderOf(accountId), 1)
  const purses = [1, 2].map((id) => ({ id, lease: id, lent: 2_000_000_000_000_000n }))
  await shared.run({ type: 'credit', accountId, epoch: 1, status: 'open', purses })
  for (const id of [2 * accountId, 2 * accountId + 1]) {
    const windows = [{ window: 'month' as const, period: 0, spent: 0n }]
    await shared.run({ type: 'load_key', accountId, key: { id, status: 'active', version: 1, windows } })
  }
}

async function call(shared: RedisShared, accountId: number, id: string): Promise<void> {
  const keys = [2 * accountId, 2 * accountId + 1].map((keyId) => ({ id: keyId, version: 1, budgets }))
  const facts = { ...admitCommand().facts, accountId, keyIds: keys.map((key) => key.id), prices, model: 'gpt-large' }
  const estimate = 12_345_678n
  const needs = [1, 2].map((purse) => ({ purse, amount: estimate }))
  const admitted = await shared.run(admitCommand({ id, accountId, facts, keys, needs, estimate }))
  if (admitted.code !== 'ok') throw new Error(`a call was not admitted: ${admitted.code}`)
  const delivered = { ...metered, started: true, outputTokens: 400 }
  await shared.run({ type: 'checkpoint', id, accountId, metered: delivered, termMs: 30_000 })
  const parts = [{ purse: 1, lease: 1, amount: 9_876_543n }]
  const record = usageRecord(parts, { id, accountId, prices, model: 'gpt-large' })
  await shared.run({ ...settleCommand(parts, id), accountId, record })
  await shared.run({ ...finaliseCommand(record.charge, id), accountId })
}

async function cpuMicros(redis: RealRedis): Promise<number> {
  const info = String(await redis.send('INFO', 'cpu'))
  const used = ['used_cpu_sys', 'used_cpu_user'].map((name) => Number(new RegExp(`${name}:([0-9.]+)`).exec(info)?.[1]))
  return used.reduce((sum, each) => sum + each, 0) * 1_000_000
}

/** A yardstick: what the same machine takes for the plainest write, sent in the same way. */
async function cpuOfSets(redis: RealRedis): Promise<number> {
  const client = new Redis(redis.url)
  const sets = 50_000
  const before = await cpuMicros(redis)
  await once(client, 'ready')
  for (let at = 0; at < sets; at += callers) {
    writeTogether(client)
    await Promise.all(Array.from({ length: callers }, (_, index) => client.set(`s:${at + index}`, 'x'.repeat(120))))
  }
  const after = await cpuMicros(redis)
  client.disconnect()
  return (after - before) / sets
}

interface Measured {
  readonly total: number
  readonly perSecond: number
  /** Microseconds of each server's CPU, of all calls together. */
  readonly cpus: readonly number[]
  /** Of this process, which is the client. */
  readonly clientUs: number
}

async function cpusOf(servers: readonly RealRedis[]): Promise<readonly number[]> {
  return Promise.all(servers.map(cpuMicros))
}

interface Measuring {
  readonly address: RedisAddress
  readonly servers: readonly RealRedis[]
  readonly accounts: number
}

/** Calls from all callers for a while, after a warm-up. */
async function callAll({ address, servers, accounts: count }: Measuring): Promise<Measured> {
  const shared = await openRedis({ address, clock: systemClock, commandMs: 5_000, log() {}, onAssertion() {} })
  for (let id = 1; id <= count; id += callers)
    await Promise.all(Array.from({ length: Math.min(callers, count - id + 1) }, (_, at) => load(shared, id + at)))
  for (let n = 0; n < 500; n++) await call(shared, (n % count) + 1, `warm ${n}`)
  const before = await cpusOf(servers)
  const client = process.cpuUsage()
  const started = performance.now()
  const calls = await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      let n = 0
      for (; performance.now() - started < seconds * 1_000; n++)
        await call(shared, ((caller + n * callers) % count) + 1, `019f5c1e-7a2b-7c3d-8e4f-${caller}-${n}`)
      return n
    }),
  )
  const perMs = 1 / (performance.now() - started)
  const { user, system } = process.cpuUsage(client)
  const after = await cpusOf(servers)
  const total = calls.reduce((sum, each) => sum + each, 0)
  shared.close()
  return {
    total,
    perSecond: total * perMs * 1_000,
    cpus: after.map((cpu, at) => cpu - (before[at] ?? 0)),
    clientUs: user + system,
  }
}

async function measure(name: string, settings: readonly string[]): Promise<void> {
  const redis = await startRedis(settings)
  const { total, perSecond, cpus, clientUs } = await callAll({
    address: { url: redis.url },
    servers: [redis],
    accounts,
  })
  const perCall = (cpus[0] ?? 0) / total
  const perSet = await cpuOfSets(redis)
  console.log(
    `${name.padEnd(16)} ${perCall.toFixed(1)} µs of Redis CPU per call (${Math.round(1e6 / perCall)} calls/s per core), ` +
      `${(clientUs / total).toFixed(1)} µs of the client's, ${Math.round(perSecond)} calls/s by one client, ${total} calls; ` +
      `a pipelined SET costs ${perSet.toFixed(1)} µs here`,
  )
  await redis.stop()
}

/** What a cluster could serve is what its busiest master could. */
async function measureCluster(masters: number): Promise<void> {
  // A node that has met no other does not know its own address, so one master is a server without a cluster.
  const alone = masters === 1 ? await startRedis() : undefined
  const cluster = alone ? undefined : await startCluster(masters)
  const servers = alone ? [alone] : (cluster?.nodes ?? [])
  const address: RedisAddress = alone ? { url: alone.url } : { cluster: cluster?.urls ?? [] }
  const { total, perSecond, cpus } = await callAll({ address, servers, accounts: manyAccounts })
  const sum = cpus.reduce((all, cpu) => all + cpu, 0)
  const busiest = Math.max(...cpus)
  console.log(
    `${masters} masters: ${(sum / total).toFixed(1)} µs of Redis CPU per call; the busiest has ` +
      `${((busiest / sum) * 100).toFixed(1)} % of it and could serve ${Math.round((total * 1e6) / busiest)} calls/s of all, ` +
      `with a core each; ${Math.round(perSecond)} calls/s by one client here, ${total} calls`,
  )
  await (alone ?? cluster)?.stop()
}

console.log(machine())
if (process.argv.includes('--cluster')) for (const masters of [1, 2, 3]) await measureCluster(masters)
else {
  await measure('no AOF', [])
  await measure('AOF everysec', ['--appendonly', 'yes', '--appendfsync', 'everysec'])
}
