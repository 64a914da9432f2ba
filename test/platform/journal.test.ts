import fs, {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import { printLine } from '../../src/platform/journal-lines.ts'
import { type JournalFault, noJournal, openJournal, readJournal } from '../../src/platform/journal.ts'
import { testClock } from '../contracts/test-clock.ts'
import { admitCommand, metered, noon, usageRecord, wallet } from '../ledger/engine/sample.ts'

const folder = mkdtempSync(join(tmpdir(), 'tollgate-journal-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0
const newPath = () => join(folder, `journal-${files++}`)
const mib = 1024 * 1024

const live = (id: string, model = 'large'): HoldRecord => ({
  id,
  state: 'held',
  facts: { ...admitCommand().facts, model },
  parts: [wallet(9_007_199_254_740_993n)],
  estimate: 40n,
  budgets: [{ keyId: 5, budgets: [{ limit: 100n, window: 'day' }] }],
  metered,
  dueMs: noon,
})
const settled = (id: string): HoldRecord => ({
  ...live(id),
  state: 'settled',
  record: usageRecord([wallet(30n)], { id }),
})

function open(path: string) {
  const faults: JournalFault[] = []
  const clock = testClock(noon)
  return { faults, clock, journal: openJournal({ path, clock, onFault: (fault) => faults.push(fault) }) }
}

/** Leaves a file as a process does that is killed: nothing closes it in an orderly way. */
function written(holds: readonly (HoldRecord | string)[]): string {
  const path = newPath()
  const { journal } = open(path)
  for (const each of holds) {
    if (typeof each === 'string') journal.drop(each)
    else journal.append(each)
  }
  journal.close()
  return path
}

describe('reading', () => {
  test('gives every hold as it was written last, amounts exact', () => {
    expect(readJournal(written([live('a'), live('b'), settled('a')]))).toEqual([settled('a'), live('b')])
  })

  test('leaves out what was dropped', () => {
    expect(readJournal(written([live('a'), live('b'), 'a']))).toEqual([live('b')])
  })

  test('a file that is not there gives nothing', () => {
    expect(readJournal(newPath())).toEqual([])
  })

  test('after a kill at any byte gives just what was whole', () => {
    const steps = [live('a'), live('ü€😀'), settled('a'), 'ü€😀', live('c')]
    const bytes = readFileSync(written(steps))
    const expected = steps.map((_, count) => readJournal(written(steps.slice(0, count))))
    expected.push(readJournal(written(steps)))
    const path = newPath()
    for (let length = 0; length <= bytes.length; length++) {
      writeFileSync(path, bytes.subarray(0, length))
      const faults: unknown[] = []
      const whole = bytes.subarray(0, length).filter((byte) => byte === 0x0a).length
      expect(readJournal(path, (fault) => faults.push(fault))).toEqual(expected[whole])
      expect(faults).toEqual([])
    }
  })

  test('skips and reports a line that was changed', () => {
    const path = written([live('a'), live('b')])
    const bytes = readFileSync(path)
    bytes[30] = 0x21
    writeFileSync(path, bytes)
    const faults: unknown[] = []
    expect(readJournal(path, (fault) => faults.push(fault))).toEqual([live('b')])
    expect(faults).toEqual([{ reason: 'checksum', line: 1 }])
  })

  test('skips and reports a line that is longer than any hold', () => {
    const path = written([live('a')])
    appendFileSync(path, `${'x'.repeat(3 * mib)}\n`)
    appendFileSync(path, readFileSync(written([live('b')])))
    const faults: unknown[] = []
    expect(readJournal(path, (fault) => faults.push(fault))).toEqual([live('a'), live('b')])
    expect(faults).toEqual([{ reason: 'too_long', line: 2 }])
  })

  test('finds lines across the pieces in which a large file is read', () => {
    const holds = Array.from({ length: 900 }, (_, index) => live(`${index}`, 'm'.repeat(index)))
    const faults: unknown[] = []
    expect(readJournal(written(holds), (fault) => faults.push(fault))).toEqual(holds)
    expect(faults).toEqual([])
  })
})

describe('opening', () => {
  test('tells what an earlier process left', () => {
    expect(open(written([live('a'), settled('b')])).journal.holds).toEqual([live('a'), settled('b')])
  })

  test('a file with a torn end lets new lines follow', () => {
    const path = written([live('a'), live('b')])
    truncateSync(path, statSync(path).size - 5)
    const { journal, faults } = open(path)
    journal.append(live('c'))
    expect(readJournal(path)).toEqual([live('a'), live('c')])
    expect(faults).toEqual([])
    journal.close()
  })

  test('keeps a damaged file beside the new one', () => {
    const path = written([live('a')])
    appendFileSync(path, 'nonsense\n')
    const before = readFileSync(path)
    const { faults } = open(path)
    expect(faults).toEqual([{ reason: 'checksum', line: 2 }])
    expect(readFileSync(`${path}.damaged`)).toEqual(before)
  })

  test('makes a file that only its owner can read', () => {
    expect(statSync(written([live('a')])).mode & 0o777).toBe(0o600)
  })

  test('a folder that is not there fails at once', () => {
    expect(() => open(join(newPath(), 'journal'))).toThrow('ENOENT')
  })
})

describe('writing', () => {
  test('is done when append returns', () => {
    const path = newPath()
    const { journal } = open(path)
    journal.append(live('a'))
    expect(readJournal(path)).toEqual([live('a')])
    journal.close()
  })

  test('of a hold that is too large is refused, and the file stays whole', () => {
    const path = newPath()
    const { journal } = open(path)
    journal.append(live('a'))
    expect(() => journal.append(live('b', 'x'.repeat(2 * mib)))).toThrow(RangeError)
    journal.append(live('c'))
    expect(readJournal(path)).toEqual([live('a'), live('c')])
    journal.close()
  })

  test('after closing is refused', () => {
    const { journal } = open(newPath())
    journal.append(live('a'))
    journal.close()
    journal.close()
    expect(() => journal.append(live('a'))).toThrow('closed')
    expect(() => journal.drop('a')).toThrow('closed')
  })

  test('to the disk happens in the background while the file changes', async () => {
    const path = newPath()
    const { journal, clock, faults } = open(path)
    for (let round = 0; round < 5; round++) {
      journal.append(live('a', 'x'.repeat(700_000)))
      clock.pass(1_000)
      journal.append(live('a', 'x'.repeat(900_000)))
      journal.drop('a')
    }
    journal.close()
    await new Promise((resolve) => setImmediate(resolve))
    expect([faults, readJournal(path)]).toEqual([[], []])
  })

  test('drops of holds that were never written write nothing', () => {
    const path = written(['a'])
    expect(statSync(path).size).toBe(0)
  })
})

/** A disk that takes nothing, until what it returns is run. */
function fillDisk(): () => void {
  const full = vi.spyOn(fs, 'writeSync').mockImplementation(() => {
    throw new Error('ENOSPC')
  })
  syncBuiltinESMExports()
  return () => {
    full.mockRestore()
    syncBuiltinESMExports()
  }
}

describe('what was dropped', () => {
  const alive = (path: string) => readJournal(path).map(({ id }) => id)

  test('is written before the next hold is', () => {
    const path = newPath()
    const { journal } = open(path)
    journal.append(live('a'))
    journal.drop('a')
    expect(alive(path)).toEqual(['a'])
    journal.append(live('b'))
    expect(alive(path)).toEqual(['b'])
    journal.close()
  })

  test('and is written again lives', () => {
    const path = newPath()
    const { journal } = open(path)
    journal.append(live('a'))
    journal.drop('a')
    journal.append(live('a'))
    expect(alive(path)).toEqual(['a'])
    journal.close()
  })

  test('is written after the turn of the loop where no hold follows', () => {
    const path = newPath()
    const { journal, clock } = open(path)
    journal.append(live('a'))
    journal.drop('a')
    clock.pass(0)
    expect(alive(path)).toEqual([])
    journal.close()
  })

  test('is written at once where there is much of it', () => {
    const path = newPath()
    const { journal } = open(path)
    const ids = Array.from({ length: 1_000 }, (_, index) => `${index}`)
    for (const id of ids) journal.append(live(id))
    for (const id of ids) journal.drop(id)
    expect(alive(path)).toEqual([])
    journal.close()
  })

  test('is one name in a line of an earlier version', () => {
    const path = written([live('a'), live('b')])
    appendFileSync(path, printLine({ drop: 'a' }))
    expect(alive(path)).toEqual(['b'])
  })

  test('waits while the disk takes nothing, and is written once it does', () => {
    const path = newPath()
    const { journal, clock, faults } = open(path)
    for (const id of ['a', 'b']) journal.append(live(id))
    const empty = fillDisk()
    journal.drop('a')
    clock.pass(0)
    empty()
    expect(faults).toMatchObject([{ reason: 'write' }])
    journal.append(live('c'))
    expect(alive(path)).toEqual(['b', 'c'])
    journal.close()
  })
})

describe('the file', () => {
  const large = (id: string) => live(id, 'x'.repeat(600_000))

  test('is emptied when nothing is alive and it is above a mebibyte', () => {
    const path = written([large('a'), large('b'), 'a', 'b'])
    expect(statSync(path).size).toBe(0)
  })

  test('is left alone below that', () => {
    const path = written([large('a'), 'a'])
    expect(statSync(path).size).toBeGreaterThan(600_000)
    expect(readJournal(path)).toEqual([])
  })

  test('is written anew when less than half of a large one is alive', () => {
    const path = newPath()
    const { journal, faults } = open(path)
    journal.append(live('first'))
    for (let round = 0; round < 30; round++) journal.append(large('a'))
    journal.append(live('last'))
    expect(statSync(path).size).toBeLessThan(3 * mib)
    expect(readJournal(path)).toEqual([live('first'), large('a'), live('last')])
    expect([faults, existsSync(`${path}.new`)]).toEqual([[], false])
    expect(statSync(path).mode & 0o777).toBe(0o600)
    journal.close()
  })

  test('stays as it is while most of it is alive', () => {
    const path = newPath()
    const { journal } = open(path)
    const { ino } = statSync(path)
    const holds = Array.from({ length: 30 }, (_, index) => large(`${index}`))
    for (const hold of holds) journal.append(hold)
    expect(statSync(path).size).toBeGreaterThan(16 * mib)
    expect(statSync(path).ino).toBe(ino)
    expect(readJournal(path)).toEqual(holds)
    journal.close()
  })
})

test('a platform without files has a journal that keeps nothing', () => {
  noJournal.append(live('a'))
  noJournal.drop('a')
  expect(noJournal.close()).toBeUndefined()
})
