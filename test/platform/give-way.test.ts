import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { expect, test } from 'vitest'
import { giveWay } from '../../src/platform/give-way.ts'

const isLinux = process.platform === 'linux'
if (!isLinux) console.warn('skipped the priority of threads: only Linux names them')

function nicenessOf(name: string): readonly number[] {
  const ids = readdirSync('/proc/self/task')
  const named = ids.filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'latin1').trimEnd() === name)
  return named.map((id) => getPriority(Number(id)))
}

test.skipIf(!isLinux)('the threads of V8 give way to the event loop, which stays as it was', () => {
  const before = getPriority()
  const given = giveWay()
  expect(given).toBeGreaterThan(0)
  expect(nicenessOf('V8Worker')).toEqual(Array.from({ length: given }, () => 10))
  expect(getPriority()).toBe(before)
})

test.skipIf(isLinux)('where the system does not name its threads nothing happens', () => {
  expect(giveWay()).toBe(0)
})
