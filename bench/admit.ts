import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { UsageRecord } from '../src/core/call.ts'
import { systemClock } from '../src/platform/clock.ts'
import { type Journal, noJournal, openJournal } from '../src/platform/journal.ts'
import { type Memory, openMemory } from '../src/platform/memory.ts'
import { newId, prices, record } from '../test/db/records.ts'
import { printRows, readArgs } from './options.ts'

/** What a call costs the engine: its admission, its settling, and that it is forgotten once the books have it. */
const options = readArgs(
  'npm run bench:admit -- [--json]\n\nMicroseconds of CPU per command of the engine in memory.\n',
)

const calls = 60_000
const warmUpCalls = 10_000
/** Calls in flight at once; CPU time is read once for each step of so many. */
const inFlight = 1_000
const accounts = 100
const estimate = 2_000_000n
const charge = 1_000_000n
const lent = 1_000_000_000_000_000n

const steps = ['admit', 'settle', 'finalise'] as const
type Spent = Record<(typeof steps)[number], number>

async function load(shared: Memory): Promise<void> {
  for (let id = 1; id <= accounts; id++) {
    const purses = [{ id, lease: id, lent }]
    await shared.run({ type: 'credit', accountId: id, epoch: 1, status: 'open', purses })
    const windows = [{ window: 'total', period: 0, spent: 0n }] as const
    await shared.run({ type: 'load_key', accountId: id, key: { id, status: 'active', version: 1, windows } })
  }
}

function admitOf(id: string, accountId: number) {
  const now = Date.now()
  return {
    type: 'admit',
    id,
    accountId,
    epoch: 1,
    facts: {
      accountId,
      keyIds: [accountId],
      model: 'gpt-4o',
      prices,
      free: false,
      stream: true,
      startedAtMs: now,
      replica: 'bench',
    },
    keys: [{ id: accountId, version: 1, budgets: [{ limit: lent, window: 'total' }], requestsPerMinute: 1_000_000 }],
    needs: [{ purse: accountId, amount: estimate }],
    estimate,
    metered: { started: false, inputTokens: 0, outputTokens: 0, vendor: '', vendorModel: '' },
    termMs: 30_000,
  } as const
}

function recordOf(id: string, accountId: number): UsageRecord {
  return record({ id, accountId, keyId: accountId, parts: [{ purse: accountId, lease: accountId, amount: charge }] })
}

/** Microseconds of CPU that all the work took, in user and kernel. */
async function cpuOf(work: () => Promise<void>): Promise<number> {
  const from = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(from)
  return user + system
}

async function round(shared: Memory): Promise<Spent> {
  const made = Array.from({ length: inFlight }, (_, at) => ({ id: newId(Date.now()), accountId: 1 + (at % accounts) }))
  const admits = made.map(({ id, accountId }) => admitOf(id, accountId))
  const records = made.map(({ id, accountId }) => recordOf(id, accountId))
  const admit = await cpuOf(async () => {
    for (const command of admits) {
      const { code } = await shared.run(command)
      if (code !== 'ok') throw new Error(`a call was not admitted: ${code}`)
    }
  })
  const settle = await cpuOf(async () => {
    for (const one of records)
      await shared.run({ type: 'settle', id: one.id, accountId: one.accountId, record: one, claimMs: 10_000 })
  })
  const finalise = await cpuOf(async () => {
    for (const { id, accountId } of made) await shared.run({ type: 'finalise', id, accountId, total: charge })
  })
  return { admit, settle, finalise }
}

async function measure(name: string, journal: Journal): Promise<Record<string, string | number>> {
  const shared = openMemory({
    clock: systemClock,
    journal,
    onAssertion: (assertion) => {
      throw assertion
    },
  })
  await load(shared)
  for (let done = 0; done < warmUpCalls; done += inFlight) await round(shared)
  const spent: Spent = { admit: 0, settle: 0, finalise: 0 }
  for (let done = 0; done < calls; done += inFlight) {
    const more = await round(shared)
    for (const step of steps) spent[step] += more[step]
  }
  const each = (step: keyof Spent) => (spent[step] / calls).toFixed(1)
  const both = ((spent.admit + spent.settle) / calls).toFixed(1)
  return {
    journal: name,
    'admit µs': each('admit'),
    'settle µs': each('settle'),
    'admit + settle µs': both,
    'finalise µs': each('finalise'),
  }
}

const folder = mkdtempSync(join(tmpdir(), 'tollgate-bench-'))
try {
  const without = await measure('none', noJournal)
  const journal = openJournal({
    path: join(folder, 'holds.journal'),
    clock: systemClock,
    onFault: ({ reason }) => {
      throw new Error(`the journal failed: ${reason}`)
    },
  })
  const within = await measure('file', journal)
  journal.close()
  printRows([without, within], options)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
