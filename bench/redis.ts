import { Redis } from 'ioredis'
import { systemClock } from '../src/platform/clock.ts'
import { openRedis, type RedisShared } from '../src/platform/redis.ts'
import { admitCommand, finaliseCommand, metered, settleCommand, usageRecord } from '../test/ledger/engine/sample.ts'
import { type RealRedis, startRedis } from '../test/support/real-redis.ts'

/**
 * What a full call (admit, checkpoint, settle, finalise) costs Redis: two purses, a chain of two keys, one budget.
 * CPU is what `INFO cpu` says of the server, so it hangs little on what else the machine does; calls per second do.
 */
const accounts = 200
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
  const client = new Redis(redis.url, { enableAutoPipelining: true })
  const sets = 50_000
  const before = await cpuMicros(redis)
  for (let at = 0; at < sets; at += callers)
    await Promise.all(Array.from({ length: callers }, (_, index) => client.set(`s:${at + index}`, 'x'.repeat(120))))
  const after = await cpuMicros(redis)
  client.disconnect()
  return (after - before) / sets
}

async function measure(name: string, settings: readonly string[]): Promise<void> {
  const redis = await startRedis(settings)
  const address = { url: redis.url }
  const shared = await openRedis({ address, clock: systemClock, commandMs: 5_000, log() {}, onAssertion() {} })
  for (let id = 1; id <= accounts; id++) await load(shared, id)
  for (let n = 0; n < 500; n++) await call(shared, (n % accounts) + 1, `warm ${n}`)
  const before = await cpuMicros(redis)
  const started = performance.now()
  const calls = await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      let n = 0
      for (; performance.now() - started < seconds * 1_000; n++)
        await call(shared, ((caller + n * callers) % accounts) + 1, `019f5c1e-7a2b-7c3d-8e4f-${caller}-${n}`)
      return n
    }),
  )
  const total = calls.reduce((sum, each) => sum + each, 0)
  const perCall = ((await cpuMicros(redis)) - before) / total
  const perSecond = total / ((performance.now() - started) / 1_000)
  const perSet = await cpuOfSets(redis)
  console.log(
    `${name.padEnd(16)} ${perCall.toFixed(1)} µs of Redis CPU per call (${Math.round(1e6 / perCall)} calls/s per core), ` +
      `${Math.round(perSecond)} calls/s by one client, ${total} calls; a pipelined SET costs ${perSet.toFixed(1)} µs here`,
  )
  shared.close()
  await redis.stop()
}

await measure('no AOF', [])
await measure('AOF everysec', ['--appendonly', 'yes', '--appendfsync', 'everysec'])
