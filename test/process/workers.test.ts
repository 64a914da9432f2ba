import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runProgram, until } from '../support/process.ts'
import { type FakeVendor, startVendor } from '../support/vendor.ts'
import { askForStory, costOf, type Estate, hasEstate, newEstate } from './estate.ts'
import { story, storyteller } from './house.ts'

const managementKey = 'management-key-of-an-estate'

describe('WORKERS without a Redis', () => {
  test.each(['2', 'auto'])('with %s is refused with what must be set', async (workers) => {
    const { code, error } = await runProgram(['src/entry/node.ts'], { WORKERS: workers })
    expect(code).toBe(1)
    expect(error).toContain('environment WORKERS: needs REDIS_URL and DATABASE_URL')
  })
})

/** A gateway of two processes on one port, as an operator runs it, over one PostgreSQL and one Redis. */
describe.skipIf(!hasEstate)('two workers on one port', () => {
  let vendor: FakeVendor
  let estate: Estate

  beforeAll(async () => {
    vendor = await startVendor(storyteller)
    estate = await newEstate(vendor.url, 1, { env: { WORKERS: '2' } })
  })
  afterAll(async () => {
    await estate.remove()
    await vendor.close()
  })

  const gateway = () => estate.gateways[0]!
  /** The newest process of each worker. */
  const pids = () => {
    const started = gateway()
      .out()
      .matchAll(/"worker_started","worker":(\d+),"pid":(\d+)/g)
    return new Map([...started].map(([, worker, pid]) => [Number(worker), Number(pid)]))
  }
  const metrics = async () => {
    const headers = { authorization: `Bearer ${managementKey}` }
    return (await fetch(`${gateway().url}/metrics`, { headers })).text()
  }
  /** Calls of each worker that have ended well. */
  const calls = async () =>
    [1, 2].map(async (worker) =>
      Number(
        new RegExp(`^tollgate_calls_total\\{worker="${worker}",outcome="complete"\\} (\\d+)$`, 'm').exec(
          await metrics(),
        )?.[1] ?? 0,
      ),
    )
  const settled = (key: string) =>
    until('nothing held', async () => ((await estate.credits(key)).held === 0n ? true : undefined))
  const costsOf = async (key: string, ids: readonly string[]) => {
    const receipts = await Promise.all(ids.map((id) => until('a receipt', () => estate.receipt(key, id))))
    return receipts.map(({ outcome, usage }) => {
      const { prompt_tokens: input, completion_tokens: output } = usage as Record<string, number>
      return { outcome, cost: costOf(input ?? 0, output ?? 0) }
    })
  }

  test('is ready when both are, and both serve calls', async () => {
    expect(await estate.ready(0)).toMatchObject({ status: 'ready', checks: { workers: true, warm: true } })
    const key = await estate.payer(1_000_000_000n)
    await until('calls of both', async () => {
      await Promise.all(Array.from({ length: 16 }, () => askForStory(gateway(), key, 2).over))
      return (await Promise.all(await calls())).every((count) => count > 0) || undefined
    })
  })

  test('gives the figures of both, each metric described once', async () => {
    const text = await metrics()
    expect(text.match(/^tollgate_holds_live\{worker="\d"\} \d+$/gm)).toHaveLength(2)
    expect(text.match(/^# TYPE tollgate_holds_live gauge$/gm)).toHaveLength(1)
  })

  test('when each is told to stop in turn no stream breaks and every new call is served', async () => {
    const key = await estate.payer(10_000_000_000n)
    const before = pids()
    const streams = Array.from({ length: 20 }, () => askForStory(gateway(), key, 300))
    await until('beginnings', () => streams.every(({ heard }) => heard.text.length > 20) || undefined)
    const refused: number[] = []
    const state = { isOver: false }
    const calling = (async () => {
      while (!state.isOver) {
        const { status } = await askForStory(gateway(), key, 2).over
        if (status !== 200) refused.push(status)
        await wait(20)
      }
    })()
    for (const worker of [1, 2]) {
      process.kill(pids().get(worker)!, 'SIGTERM')
      await until('another in its place', () => readies(worker) > 1 || undefined)
    }
    const heard = await Promise.all(streams.map(({ over }) => over))
    state.isOver = true
    await calling
    expect(heard.filter(({ done, text }) => !done || text !== story(300))).toEqual([])
    expect(refused).toEqual([])
    expect([1, 2].filter((worker) => pids().get(worker) === before.get(worker))).toEqual([])
    const costs = await costsOf(
      key,
      heard.map(({ id }) => id),
    )
    expect(costs.map(({ outcome }) => outcome)).toEqual(Array(20).fill('complete'))
  })

  /** How often a worker has said that it is ready. */
  const readies = (worker: number) =>
    [
      ...gateway()
        .out()
        .matchAll(new RegExp(`"event":"ready","worker":${worker},`, 'g')),
    ].length

  test('when one is killed the other serves, another comes in its place, and the books are exact', async () => {
    const key = await estate.payer(1_000_000_000n)
    const streams = Array.from({ length: 16 }, () => askForStory(gateway(), key, 200))
    await until('beginnings', () => streams.every(({ heard }) => heard.text.length > 20) || undefined)
    const known = readies(2)
    process.kill(pids().get(2)!, 'SIGKILL')
    const during = await askForStory(gateway(), key, 4).over
    expect(during).toMatchObject({ status: 200, done: true })
    const heard = await Promise.all(streams.map(({ over }) => over))
    expect(heard.some(({ done }) => done)).toBe(true)
    await until('another in its place', () => readies(2) > known || undefined)
    await settled(key)
    const costs = await costsOf(
      key,
      [...heard, during].map(({ id }) => id),
    )
    const charged = costs.reduce((sum, { cost }) => sum + cost, 0n)
    expect((await estate.credits(key)).balance).toBe(1_000_000_000n - charged)
    expect(await estate.books.check({ all: true })).toEqual([])
  })

  test('the lines of both are whole', () => {
    const lines = gateway().out().split('\n')
    const objects = lines.filter((line) => line.startsWith('{'))
    expect(objects.length).toBeGreaterThan(50)
    for (const line of objects.slice(0, -1)) expect(JSON.parse(line)).toHaveProperty('event')
  })

  test('told to stop as a whole, they let a stream finish and end with 0', async () => {
    const key = await estate.payer(1_000_000_000n)
    const streams = Array.from({ length: 6 }, () => askForStory(gateway(), key, 200))
    await until('beginnings', () => streams.every(({ heard }) => heard.text.length > 20) || undefined)
    const code = await gateway().kill('SIGTERM')
    const heard = await Promise.all(streams.map(({ over }) => over))
    expect(heard.map(({ done, text }) => [done, text === story(200)])).toEqual(Array(6).fill([true, true]))
    expect(code).toBe(0)
    expect([...pids().values()].filter(isAlive)).toEqual([])
  })
})

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
