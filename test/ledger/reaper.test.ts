import { expect, test } from 'vitest'
import { openBatcher } from '../../src/ledger/batcher.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import type { Ledger } from '../../src/ledger/hold.ts'
import { reapRecord, sweep } from '../../src/ledger/reaper.ts'
import { homesOf } from '../support/homes.ts'
import { openMemory } from '../../src/platform/memory.ts'
import { noJournal } from '../../src/platform/no-journal.ts'
import type { Books, Platform } from '../../src/ports.ts'
import { testClock } from '../contracts/test-clock.ts'

const startMs = Date.UTC(2026, 0, 1)

function holdOf(id: string): HoldRecord {
  const prices = { id: 'p', currency: 'USD', nanos: { input: 1n, output: 2n }, discountPpm: 1_000_000 }
  return {
    id,
    state: 'held',
    facts: {
      accountId: 1,
      keyIds: [1],
      model: 'm',
      prices,
      free: false,
      stream: true,
      startedAtMs: startMs,
      replica: 'r',
    },
    parts: [],
    estimate: 0n,
    metered: { started: false, inputTokens: 0, outputTokens: 0, vendor: '', vendorModel: '' },
    dueMs: startMs,
  }
}

/** A reaper with one hold that is due, over books that answer as they are told. */
function dueHold(booked: Books['booked']) {
  const clock = testClock(startMs)
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {} })
  shared.recover([holdOf('due')])
  const platform = { clock, books: { booked } as unknown as Books, log: () => {} } as unknown as Platform
  const homes = homesOf(shared)
  const batcher = openBatcher({ ...platform, homes })
  return { shared, batcher, sweep: () => sweep({ platform, homes, batcher, live: new Set() } as unknown as Ledger) }
}

test('a call that the books know is ended at what they charge, and not reaped', async () => {
  const { shared, batcher, sweep: once } = dueHold((ids) => Promise.resolve(ids.map((id) => ({ id, total: 5n }))))
  await once()
  expect([batcher.pending('due'), shared.size().holds]).toEqual([undefined, 0])
})

test('nothing is reaped while the books are away', async () => {
  const { shared, batcher, sweep: once } = dueHold(() => Promise.reject(new Error('the books are away')))
  await once()
  expect([batcher.pending('due'), shared.size().holds]).toEqual([undefined, 1])
})

test('a hold that cannot be ended does not keep the reaper from those after it', async () => {
  const clock = testClock(startMs)
  const engine: typeof decide = (records, command, nowMs) => {
    if (command.type === 'reap' && command.id === 'first') throw new Error('a record that nobody can read')
    return decide(records, command, nowMs)
  }
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {}, engine })
  shared.recover(['first', 'second', 'third'].map(holdOf))
  const log: unknown[] = []
  const platform = {
    clock,
    books: { booked: () => Promise.resolve([]) } as unknown as Books,
    log: (event: string, fields?: object) => log.push({ event, ...fields }),
  } as unknown as Platform
  const homes = homesOf(shared)
  const batcher = openBatcher({ ...platform, homes })
  await sweep({ platform, homes, batcher, live: new Set() } as unknown as Ledger)
  expect(['first', 'second', 'third'].map((id) => batcher.pending(id)?.kind)).toEqual([undefined, 'reap', 'reap'])
  expect(log[0]).toEqual({ event: 'sweep_failed', id: 'first', error: 'Error: a record that nobody can read' })
})

test('what is due under no epoch has one entered for its spender', async () => {
  const clock = testClock(startMs)
  const shared = openMemory({ clock, journal: noJournal, onAssertion: () => {} })
  const entered: string[] = []
  const home = {
    shared: { ...shared, claim: async () => ({ code: 'ok' as const, holds: [], ownerless: ['redis:v1', 'redis:v2'] }) },
    spender: { enterAs: async (spender: string) => void entered.push(spender) },
  }
  const platform = { clock, books: {}, log: () => {} }
  await sweep({ platform, homes: { all: [home] }, live: new Set() } as unknown as Ledger)
  expect(entered).toEqual(['redis:v1', 'redis:v2'])
})

test('a call that is priced by pieces is ended too, and pays for its request alone', () => {
  const hold = holdOf('pieces')
  const prices = { ...hold.facts.prices, nanos: { character: 15n, request: 3n } }
  const metered = { ...hold.metered, started: true, inputTokens: 9, outputTokens: 9 }
  const { usage, priced } = reapRecord({ ...hold, facts: { ...hold.facts, prices }, metered }, startMs)
  expect([usage.counts, priced]).toEqual([{ request: 1 }, 3n])
})
