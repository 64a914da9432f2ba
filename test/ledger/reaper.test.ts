import { expect, test } from 'vitest'
import { openBatcher } from '../../src/ledger/batcher.ts'
import { decide } from '../../src/ledger/engine/decide.ts'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import type { Ledger } from '../../src/ledger/hold.ts'
import { sweep } from '../../src/ledger/reaper.ts'
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
    books: {} as Books,
    log: (event: string, fields?: object) => log.push({ event, ...fields }),
  } as unknown as Platform
  const homes = homesOf(shared)
  const batcher = openBatcher({ ...platform, homes })
  await sweep({ platform, homes, batcher, live: new Set() } as unknown as Ledger)
  expect(['first', 'second', 'third'].map((id) => batcher.pending(id)?.kind)).toEqual([undefined, 'reap', 'reap'])
  expect(log[0]).toEqual({ event: 'sweep_failed', id: 'first', error: 'Error: a record that nobody can read' })
})
