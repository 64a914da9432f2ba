import { describe, expect, test } from 'vitest'
import type { LedgerAssertion } from '../../src/ledger/engine/assert.ts'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import { type Journal, noJournal } from '../../src/platform/journal.ts'
import { type Memory, openMemory } from '../../src/platform/memory.ts'
import { sharedContract } from '../contracts/shared.ts'
import { testClock } from '../contracts/test-clock.ts'
import {
  accountId,
  admitCommand,
  finaliseCommand,
  keyFacts,
  metered,
  noon,
  reapCommand,
  settleCommand,
  usageRecord,
  voidCommand,
  wallet,
} from '../ledger/engine/sample.ts'

const hourMs = 3_600_000

sharedContract('memory', (clock) =>
  Promise.resolve({
    shared: openMemory({ clock, journal: noJournal, onAssertion() {} }),
    close: () => Promise.resolve(),
  }),
)

function opened(journal: Journal = noJournal) {
  const clock = testClock(noon)
  const failed: { rule: string; accountId: number }[] = []
  const onAssertion = (assertion: LedgerAssertion, id: number) =>
    failed.push({ rule: assertion.message, accountId: id })
  return { clock, failed, memory: openMemory({ clock, journal, onAssertion }) }
}

async function load(memory: Memory, account = accountId): Promise<void> {
  await memory.run({
    type: 'credit',
    accountId: account,
    epoch: 1,
    status: 'open',
    purses: [{ id: 7, lease: 70, lent: 100n }],
  })
  await memory.run({ type: 'load_key', accountId: account, key: { id: 5, status: 'active', version: 1, windows: [] } })
}

/** A journal that says what it was told. */
function listening(): Journal & { readonly lines: string[] } {
  const lines: string[] = []
  return {
    lines,
    append: ({ id, state }) => lines.push(`${id} ${state}`),
    drop: (id) => lines.push(`${id} dropped`),
    close() {},
  }
}

/** A settle whose charge is not the sum of its parts. */
const wrong = { ...settleCommand([]), record: usageRecord([wallet(1n)], { charge: 2n }) }

describe('an assertion that fails', () => {
  test('is answered as billing that is away, and reported', async () => {
    const { memory, failed } = opened()
    await load(memory)
    await memory.run(admitCommand())
    await expect(memory.run(wrong)).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(failed).toEqual([{ rule: 'a charge is the sum of its parts', accountId }])
  })

  test('stops its account, and the books cannot open it again', async () => {
    const { memory } = opened()
    await load(memory)
    await memory.run(admitCommand())
    await memory.run(wrong).catch(() => {})
    await load(memory)
    expect(await memory.run(admitCommand({ id: 'next' }))).toEqual({ code: 'denied', what: 'account' })
  })

  test('is not forgotten when its account is idle', async () => {
    const { memory, clock } = opened()
    await load(memory)
    await memory.run({ ...admitCommand(), estimate: -1n }).catch(() => {})
    clock.pass(2 * hourMs)
    await memory.claim(1, 1)
    await load(memory)
    expect(await memory.run(admitCommand())).toEqual({ code: 'denied', what: 'account' })
  })

  test('changes nothing but that', async () => {
    const { memory } = opened()
    await load(memory)
    await memory.run(admitCommand())
    const before = await memory.account(accountId)
    await memory.run(wrong).catch(() => {})
    expect(await memory.account(accountId)).toEqual({ ...before, status: 'stopped' })
    expect(await memory.run(settleCommand([wallet(1n)]))).toEqual({ code: 'ok', overflow: 0n })
  })

  test('leaves other accounts alone', async () => {
    const { memory } = opened()
    await load(memory)
    await load(memory, 2)
    await memory.run(admitCommand())
    await memory.run(wrong).catch(() => {})
    const { facts } = admitCommand()
    expect(await memory.run(admitCommand({ id: 'b', accountId: 2, facts: { ...facts, accountId: 2 } }))).toMatchObject({
      code: 'ok',
    })
  })
})

describe('the journal', () => {
  test('is told of every change of a hold, and of nothing else', async () => {
    const journal = listening()
    const { memory } = opened(journal)
    await load(memory)
    await memory.run(admitCommand())
    await memory.run({ type: 'extend', id: 'call', accountId, needs: [], estimate: 0n })
    await memory.run({ type: 'checkpoint', id: 'call', accountId, metered, termMs: 30_000 })
    await memory.run(settleCommand([wallet(1n)]))
    await memory.run(settleCommand([wallet(1n)]))
    await memory.run(finaliseCommand(1n))
    expect(journal.lines).toEqual(['call held', 'call held', 'call held', 'call settled', 'call dropped'])
  })

  test('that cannot be written lets no call in', async () => {
    const full: Journal = {
      ...noJournal,
      append: () => {
        throw new Error('no space')
      },
    }
    const { memory } = opened(full)
    await load(memory)
    await expect(memory.run(admitCommand())).rejects.toMatchObject({ code: 'billing_unavailable' })
    expect(memory.size().holds).toBe(0)
    expect(await memory.account(accountId)).toMatchObject({ purses: [{ available: 100n, held: 0n }] })
  })

  test('that cannot be written keeps no call from ending', async () => {
    let isFull = false
    const journal: Journal = {
      ...noJournal,
      append: () => {
        if (isFull) throw new Error('no space')
      },
    }
    const { memory } = opened(journal)
    await load(memory)
    await memory.run(admitCommand())
    isFull = true
    expect(await memory.run(settleCommand([wallet(30n)]))).toEqual({ code: 'ok', overflow: 0n })
    expect(await memory.account(accountId)).toMatchObject({ purses: [{ available: 70n, held: 0n }] })
  })
})

describe('holds of an earlier process', () => {
  const left: HoldRecord = {
    id: 'call',
    state: 'held',
    facts: admitCommand().facts,
    parts: [{ purse: 7, lease: 60, amount: 40n }],
    estimate: 40n,
    metered,
    dueMs: noon + 30_000,
  }

  test('are due at once', async () => {
    const { memory } = opened()
    memory.recover([left])
    expect(await memory.claim(10, 10_000)).toEqual({ code: 'ok', holds: [{ ...left, recovered: true, dueMs: noon }] })
  })

  test('are outstanding until they are final', async () => {
    const { memory } = opened()
    memory.recover([left])
    await memory.run(reapCommand([{ purse: 7, lease: 60, amount: 30n }]))
    expect(memory.recovering()).toBe(1)
    await memory.run(finaliseCommand(30n))
    expect([memory.recovering(), memory.size().holds]).toEqual([0, 0])
  })

  test('take nothing from this process’s loans or slots', async () => {
    const { memory } = opened()
    memory.recover([left])
    await load(memory)
    await memory.run(reapCommand([{ purse: 7, lease: 60, amount: 30n }]))
    await memory.run(finaliseCommand(30n))
    expect(await memory.account(accountId)).toMatchObject({ purses: [{ available: 100n, held: 0n }] })
    expect(await memory.key(accountId, 5)).toMatchObject({ inFlight: 0, held: 0n })
  })
})

describe('idle records', () => {
  test('are dropped after an hour', async () => {
    const { memory, clock } = opened()
    await load(memory)
    clock.pass(hourMs - 1)
    await memory.claim(1, 1)
    expect(memory.size()).toEqual({ accounts: 1, keys: 1, holds: 0 })
    clock.pass(1_000)
    await memory.claim(1, 1)
    expect(memory.size()).toEqual({ accounts: 0, keys: 0, holds: 0 })
  })

  test('stay while a hold is not final', async () => {
    const { memory, clock } = opened()
    await load(memory)
    await memory.run(admitCommand())
    await memory.run(voidCommand())
    clock.pass(2 * hourMs)
    await memory.claim(1, 1)
    expect(memory.size()).toEqual({ accounts: 1, keys: 1, holds: 1 })
  })

  test('stay while a part of a loan is used, because the books would lend it again', async () => {
    const { memory, clock } = opened()
    await load(memory)
    await memory.run(admitCommand())
    await memory.run(settleCommand([wallet(1n)]))
    await memory.run(finaliseCommand(1n))
    clock.pass(2 * hourMs)
    await memory.claim(1, 1)
    expect(memory.size()).toEqual({ accounts: 1, keys: 0, holds: 0 })
  })

  test('are used again by the next call and stay', async () => {
    const { memory, clock } = opened()
    await load(memory)
    clock.pass(hourMs - 1)
    const free = { needs: [], estimate: 0n, keys: [keyFacts(5)] }
    await memory.run(admitCommand(free))
    await memory.run(voidCommand())
    await memory.run(finaliseCommand(0n))
    clock.pass(hourMs - 1)
    await memory.claim(1, 1)
    expect(memory.size()).toEqual({ accounts: 1, keys: 1, holds: 0 })
  })
})
