import { expect, test } from 'vitest'
import { admitHold, type Ledger } from '../../src/ledger/hold.ts'
import { openHomes } from '../../src/ledger/homes.ts'
import { openSpender } from '../../src/ledger/spender.ts'
import { memoryBooks } from '../../src/platform/memory-books.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { noJournal } from '../../src/platform/no-journal.ts'
import type { Books, Platform } from '../../src/ports.ts'
import { testClock } from '../contracts/test-clock.ts'

const startMs = Date.UTC(2026, 0, 1)
const account = { id: 1, currency: 'USD', discountPpm: 1_000_000, status: 'open' } as const
const caller = {
  accountId: 1,
  currency: 'USD',
  discountPpm: 1_000_000,
  keyId: 1,
  publicId: 'p',
  kind: 'master',
  chain: [{ id: 1, version: 1, budgets: [] }],
  models: [],
} as const

/** A call of a thousand nano-units, on books whose loan is `lent` after so many top-ups. */
async function admitted(lent: (topUps: number) => bigint) {
  const clock = testClock(startMs)
  let loans = 0
  const books: Books = {
    ...memoryBooks({ account, keys: [], balance: 10n }),
    lend: ({ purse }) => Promise.resolve({ id: purse, lent: lent(loans++) }),
  }
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {} })
  const homes = openHomes({ shared, spender: openSpender({ books, shared, clock, borrowsAll: false }) })
  const settings = { termMs: 30_000, replica: 'r' }
  const batcher = { accepting: true }
  const platform = { clock, books, settings, log: () => {} } as unknown as Platform
  const hold = admitHold({ platform, homes, batcher, live: new Set() } as unknown as Ledger, {
    id: 'call',
    caller,
    model: 'm',
    publicModel: 'm',
    prices: { id: 'p', currency: 'USD', nanos: { input: 1_000_000n, output: 1_000_000n }, discountPpm: 1_000_000 },
    free: false,
    stream: true,
    startedAtMs: startMs,
    inputTokens: 1_000,
    outputTokens: 0,
    mostOutputTokens: 0,
  })
  const said = await hold.then(
    () => 'admitted',
    (error: { code: string }) => error.code,
  )
  return { said, topUps: loans - 1 }
}

test('a call that runs short is let in once the books have lent enough', async () =>
  expect(await admitted((topUps) => BigInt(topUps) * 500n)).toMatchObject({ said: 'admitted' }))

test('a call is told that money is short where each top-up brings a little and never enough', async () =>
  expect(await admitted((topUps) => BigInt(topUps))).toEqual({ said: 'insufficient_quota', topUps: 3 }))

test('a call for which nothing comes asks once', async () =>
  expect(await admitted(() => 10n)).toEqual({ said: 'insufficient_quota', topUps: 1 }))
