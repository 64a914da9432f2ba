import { describe, expect, test } from 'vitest'
import { openBatcher } from '../../src/ledger/batcher.ts'
import { memoryBooks } from '../../src/platform/memory-books.ts'
import { homesOf } from '../support/homes.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { noJournal } from '../../src/platform/no-journal.ts'
import type { Books } from '../../src/ports.ts'
import { testClock } from '../contracts/test-clock.ts'
import { newId, noon, record } from '../db/records.ts'

const account = { id: 1, currency: 'USD', discountPpm: 1_000_000, status: 'open' } as const

/** A batcher over books that refuse some ids for good, or are away as a whole. */
function setUp() {
  const clock = testClock(noon)
  const stored: string[] = []
  const batches: number[] = []
  const weather = { isAway: false, refused: new Set<string>() }
  const books: Books = {
    ...memoryBooks({ account, keys: [], balance: 10n }),
    async flush(records) {
      batches.push(records.length)
      if (weather.isAway || records.some(({ id }) => weather.refused.has(id))) throw new Error('refused')
      stored.push(...records.map(({ id }) => id))
      return records.map(({ id, charge }) => ({ id, total: charge }))
    },
  }
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {} })
  const events: string[] = []
  const batcher = openBatcher({ books, homes: homesOf(shared), clock, log: (event) => events.push(event) })
  return { clock, batcher, stored, batches, weather, events }
}

/** Lets time pass in steps, and in each of them everything happen that follows without waiting. */
async function pass(clock: { pass(ms: number): void }, ms: number): Promise<void> {
  for (let at = 0; at < ms; at += 25) {
    clock.pass(25)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const some = (count: number) => Array.from({ length: count }, () => record({ id: newId(), accountId: 1, keyId: 1 }))

describe('the batcher', () => {
  test('sends what came within 100 ms as one batch', async () => {
    const { clock, batcher, stored, batches } = setUp()
    const records = some(5)
    for (const one of records) batcher.add(one)
    await pass(clock, 100)
    expect([batches, stored.toSorted()]).toEqual([[5], records.map(({ id }) => id).toSorted()])
  })

  test('adds a record once, however often it is given', async () => {
    const { clock, batcher, stored } = setUp()
    const [one] = some(1)
    if (!one) throw new Error('no record')
    for (let times = 0; times < 3; times++) batcher.add(one)
    await pass(clock, 100)
    expect(stored).toEqual([one.id])
  })

  test('keeps everything while the books are away, says so once, and brings it when they are back', async () => {
    const { clock, batcher, stored, weather, events } = setUp()
    const records = some(20)
    weather.isAway = true
    for (const one of records) batcher.add(one)
    await pass(clock, 20_000)
    expect([stored, batcher.failing, events]).toEqual([[], true, ['books_unreachable']])
    weather.isAway = false
    await pass(clock, 20_000)
    expect([stored.length, batcher.failing, events]).toEqual([20, false, ['books_unreachable', 'books_reachable']])
  })

  test('keeps a record that is refused for good from holding others back', async () => {
    const { clock, batcher, stored, weather } = setUp()
    const records = some(40)
    const [bad, ...good] = records
    if (!bad) throw new Error('no record')
    weather.refused.add(bad.id)
    for (const one of records) batcher.add(one)
    await pass(clock, 60_000)
    expect(stored.toSorted()).toEqual(good.map(({ id }) => id).toSorted())
    expect(batcher.pending(bad.id)).toBe(bad)
  })
})
