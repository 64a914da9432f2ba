import { describe, expect, test } from 'vitest'
import { memoryBooks } from '../../src/platform/memory-books.ts'
import { noJournal } from '../../src/platform/no-journal.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { openSpender } from '../../src/ledger/spender.ts'
import type { Books, LeaseRequest, Purse } from '../../src/ports.ts'
import { testClock } from '../contracts/test-clock.ts'

const startMs = Date.UTC(2026, 0, 1)
const account = { id: 1, currency: 'USD', discountPpm: 1_000_000, status: 'open' } as const
const wallet: Purse = { id: 1, kind: 'wallet', asset: 'USD', models: [], expiresAtMs: undefined, posted: 10n }

/** A spender whose books list what the test says, and how often they were asked. */
async function setUp(first: readonly Purse[], { borrowsAll = true } = {}) {
  const clock = testClock(startMs)
  const asked = { times: 0, purses: first, fails: false, wanted: [] as LeaseRequest[], lent: 10n, free: 0n }
  const books: Books = {
    ...memoryBooks({ account, keys: [], balance: 10n }),
    async purses() {
      asked.times += 1
      if (asked.fails) throw new Error('the books are away')
      return asked.purses
    },
    async lend(request) {
      asked.wanted.push(request)
      const more = request.want < asked.free ? request.want : asked.free
      asked.free -= more
      asked.lent += more
      return { id: request.purse * 10, lent: asked.lent }
    },
  }
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {} })
  const spender = openSpender({ books, shared, clock, borrowsAll })
  const listed = () => spender.purses(1)?.map(({ id }) => id)
  return { clock, asked, spender, listed, shared }
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const quota = (id: number, expiresAtMs: number): Purse => ({ ...wallet, id, kind: 'quota', expiresAtMs })

describe('the purses of a spender', () => {
  test('are read again when one of them ends, before the next call', async () => {
    const { clock, asked, spender, listed } = await setUp([quota(2, startMs + 10_000), wallet])
    await spender.loadAccount(1)
    clock.pass(9_999)
    expect(spender.renewal(1)).toBeUndefined()
    clock.pass(1)
    asked.purses = [quota(3, startMs + 20_000), wallet]
    await spender.renewal(1)
    expect(listed()).toEqual([3, 1])
  })

  test('are read again when the account was changed, before the next call', async () => {
    const { asked, spender, listed } = await setUp([wallet])
    await spender.loadAccount(1)
    asked.purses = [quota(2, startMs + 10_000), wallet]
    spender.changed(1)
    await spender.renewal(1)
    expect(listed()).toEqual([2, 1])
    expect(spender.renewal(1)).toBeUndefined()
  })

  test('are read again after a minute, without holding a call up', async () => {
    const { clock, asked, spender, listed } = await setUp([wallet])
    await spender.loadAccount(1)
    asked.purses = [quota(2, startMs + 1e9), wallet]
    clock.pass(60_000)
    expect(spender.renewal(1)).toBeUndefined()
    await new Promise((resolve) => setImmediate(resolve))
    expect(listed()).toEqual([2, 1])
  })

  test('stay as they are while the books are away, which are asked twice a second at most', async () => {
    const { clock, asked, spender, listed } = await setUp([quota(2, startMs + 1_000), wallet])
    await spender.loadAccount(1)
    asked.fails = true
    clock.pass(1_000)
    await spender.renewal(1)
    expect([listed(), asked.times]).toEqual([[2, 1], 2])
    clock.pass(499)
    expect(spender.renewal(1)).toBeUndefined()
    clock.pass(1)
    asked.fails = false
    asked.purses = [wallet]
    await spender.renewal(1)
    expect([listed(), asked.times]).toEqual([[1], 3])
  })

  test('are asked for what a bill comes to in each of their assets', async () => {
    const { asked, spender } = await setUp([{ ...wallet, id: 2, kind: 'package', asset: 'TOK' }, wallet])
    await spender.topUp(1, { money: 5n, tokens: 7n })
    expect(asked.wanted).toEqual([
      { purse: 2, spender: 'local', epoch: 1, want: 7n, asset: 'TOK' },
      { purse: 1, spender: 'local', epoch: 1, want: 5n },
    ])
  })

  test('are topped up at most twice a second where nothing comes of it, a load apart', async () => {
    const { clock, asked, spender } = await setUp([wallet])
    await spender.loadAccount(1)
    expect(await spender.topUp(1, { money: 5n })).toBe(false)
    expect(await spender.topUp(1, { money: 5n })).toBe(false)
    expect(asked.times).toBe(2)
    clock.pass(500)
    await spender.topUp(1, { money: 5n })
    expect(asked.times).toBe(3)
  })

  test('are topped up as often as calls run short, while more comes of it', async () => {
    const { asked, spender } = await setUp([wallet])
    await spender.loadAccount(1)
    asked.free = 15n
    for (const isMore of [true, true, true, false]) expect(await spender.topUp(1, { money: 5n })).toBe(isMore)
    expect(asked.times).toBe(5)
  })

  test('are topped up again at once where money was added while nothing came', async () => {
    const { asked, spender } = await setUp([wallet])
    await spender.loadAccount(1)
    const first = spender.topUp(1, { money: 5n })
    await Promise.resolve()
    spender.changed(1)
    expect(await first).toBe(false)
    asked.free = 5n
    expect(await spender.topUp(1, { money: 5n })).toBe(true)
  })

  test('are topped up once for all who run short together, by what all of them need', async () => {
    const { asked, spender } = await setUp([wallet])
    await spender.loadAccount(1)
    asked.free = 100n
    const bills = [5n, 6n, 7n].map((money) => spender.topUp(1, { money }))
    expect(await Promise.all(bills)).toEqual([true, true, true])
    expect(asked.wanted.map(({ want }) => want)).toEqual([0n, 18n])
  })

  test('are not taken for dry by who ran short while the list was read anew', async () => {
    const { clock, asked, spender } = await setUp([quota(2, startMs + 1_000), wallet])
    await spender.loadAccount(1)
    clock.pass(1_000)
    const renewal = spender.renewal(1)
    asked.free = 20n
    expect(await spender.topUp(1, { money: 5n })).toBe(true)
    await renewal
  })

  test('are topped up ahead of need by what lets calls in with ease, twice a second at most', async () => {
    const { clock, asked, spender } = await setUp([wallet], { borrowsAll: false })
    await spender.loadAccount(1)
    spender.topUpAhead(1, 7_000_000_000n)
    await settled()
    spender.topUpAhead(1, 9_000_000_000n)
    await settled()
    clock.pass(500)
    spender.topUpAhead(1, 3_000_000_000n)
    await settled()
    // A dollar at first, and then the most that was wanted.
    expect(asked.wanted.map(({ want, target }) => [want, target])).toEqual([
      [0n, 1_000_000_000n],
      [0n, 7_000_000_000n],
      [0n, 9_000_000_000n],
    ])
  })

  test('are not topped up ahead of need where all that is free is borrowed anyway', async () => {
    const { asked, spender } = await setUp([wallet])
    await spender.loadAccount(1)
    spender.topUpAhead(1, 7_000_000_000n)
    await settled()
    expect(asked.times).toBe(1)
  })

  test('that nobody loaded need no renewal', async () => {
    const { spender } = await setUp([wallet])
    spender.changed(1)
    expect(spender.renewal(1)).toBeUndefined()
  })
})
