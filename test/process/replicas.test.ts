import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../support/process.ts'
import { type FakeVendor, startVendor } from '../support/vendor.ts'
import { askForStory, costOf, type Estate, hasEstate, newEstate } from './estate.ts'
import { story, storyteller, unfinished } from './house.ts'

/** A call of it needs nearly as much as an account that nobody knows yet is lent. */
const dearModel = `  dear-model:
    targets: [{ vendor: fake, model: vendor-model }]
    prices: { input: 20000, output: 2 }`

/** Three gateways as an operator runs them, on one PostgreSQL and one Redis. */
describe.skipIf(!hasEstate)('three gateways on one Redis', () => {
  let vendor: FakeVendor
  let estate: Estate

  beforeAll(async () => {
    vendor = await startVendor(storyteller)
    estate = await newEstate(vendor.url, 3, { models: dearModel })
  })
  afterAll(async () => {
    await estate.remove()
    await vendor.close()
  })

  const gateway = (at: number) => estate.gateways[at]!
  const settled = (key: string) =>
    until('nothing held', async () => ((await estate.credits(key)).held === 0n ? true : undefined))
  /** The account's balance once nothing of it is held and everything is in the books. */
  const left = async (key: string) => {
    await settled(key)
    return (await estate.credits(key)).balance
  }

  test('they spend one balance: of calls that come to all of them at once only as many are served as it pays', async () => {
    const one = await estate.payer(1_000_000_000n)
    const probe = await askForStory(gateway(0), one, 10).over
    const { prompt_tokens: prompt } = (await until('a receipt', () => estate.receipt(one, probe.id)))['usage'] as {
      prompt_tokens: number
    }
    const cost = costOf(prompt, 10)
    const key = await estate.payer(cost * 4n)
    const calls = await Promise.all(Array.from({ length: 30 }, (_, at) => askForStory(gateway(at % 3), key, 10).over))
    const served = calls.filter(({ status }) => status === 200)
    expect(served.length).toBeLessThanOrEqual(4)
    expect(calls.filter(({ status }) => ![200, 402, 429].includes(status))).toEqual([])
    expect(await left(key)).toBeGreaterThanOrEqual(0n)
  })

  test('they let all calls of a rich account in that come at once, however little it was lent before', async () => {
    const key = await estate.payer(1_000_000_000_000n)
    const calls = await Promise.all(
      Array.from({ length: 30 }, (_, at) => askForStory(gateway(at % 3), key, 10, 'dear-model').over),
    )
    expect(calls.map(({ status }) => status)).toEqual(Array(30).fill(200))
  })

  test('the calls of a gateway that is killed are charged at their last checkpoint by another', async () => {
    const key = await estate.payer(1_000_000_000n)
    vendor.behave(unfinished)
    const call = askForStory(gateway(2), key, 40)
    await until('a whole story', () => (call.heard.text === story(40) ? true : undefined))
    await wait(1_500)
    vendor.behave(storyteller)
    await gateway(2).kill('SIGKILL')
    const { id } = await call.over
    const receipt = await until('a receipt', () => estate.receipt(key, id))
    expect(receipt['outcome']).toBe('reaped')
    const usage = receipt['usage'] as { prompt_tokens: number; completion_tokens: number }
    expect(usage.completion_tokens).toBeGreaterThan(0)
    expect(await left(key)).toBe(1_000_000_000n - costOf(usage.prompt_tokens, usage.completion_tokens))
    await estate.start(2)
  })

  test('a stream goes on while Redis is started anew without its data, and is charged in full', async () => {
    const key = await estate.payer(1_000_000_000n)
    const call = askForStory(gateway(0), key, 1_000)
    await until('a beginning', () => (call.heard.text.length > 100 ? true : undefined))
    await estate.redis.restart()
    const after = await until('a call that is served', async () => {
      const other = await askForStory(gateway(1), key, 10).over
      return other.status === 200 ? other : undefined
    })
    const heard = await call.over
    expect({ ...heard, text: heard.text === story(1_000) }).toMatchObject({ status: 200, done: true, text: true })
    expect(after.done).toBe(true)
    const receipts = [
      await until('a receipt', () => estate.receipt(key, heard.id)),
      await until('another', () => estate.receipt(key, after.id)),
    ]
    const cost = receipts.reduce((sum, { usage }) => {
      const { prompt_tokens: input, completion_tokens: output } = usage as {
        prompt_tokens: number
        completion_tokens: number
      }
      return sum + costOf(input, output)
    }, 0n)
    expect(receipts.map(({ outcome }) => outcome)).toEqual(['complete', 'complete'])
    expect(await left(key)).toBe(1_000_000_000n - cost)
  })

  test('while Redis does not answer, calls are served from loans of the gateways own, and those go back', async () => {
    const key = await estate.payer(1_000_000_000n)
    await askForStory(gateway(0), key, 10).over
    estate.redis.process.kill('SIGSTOP')
    await until('the state to be told', async () => {
      await askForStory(gateway(0), key, 10).over
      return ((await estate.ready(0))['states'] as { redis: string }).redis === 'away' ? true : undefined
    })
    const calls = await Promise.all([0, 1, 2].map((at) => askForStory(gateway(at), key, 10).over))
    expect(calls.map(({ status, done }) => ({ status, done }))).toEqual(Array(3).fill({ status: 200, done: true }))
    estate.redis.process.kill('SIGCONT')
    await until('the state to be told', async () =>
      ((await estate.ready(0))['states'] as { redis: string }).redis === 'shared' ? true : undefined,
    )
    await left(key)
    expect((await estate.ready(0))['status']).toBe('ready')
    await until('books that are right', async () =>
      (await estate.books.check({ all: true })).length === 0 ? true : undefined,
    )
  })

  test('while PostgreSQL is away, calls are served from what is lent', async () => {
    const key = await estate.payer(1_000_000_000n)
    const before = await askForStory(gateway(0), key, 10).over
    expect(before.status).toBe(200)
    await estate.postgres.crash()
    const during = await askForStory(gateway(0), key, 10).over
    expect(during).toMatchObject({ status: 200, done: true })
    await estate.postgres.restart()
    const receipt = await until('a receipt', () => estate.receipt(key, during.id))
    expect(receipt['outcome']).toBe('complete')
  })

  test('the books are right after all of it', async () => {
    expect(await estate.books.check({ all: true })).toEqual([])
  })
})
