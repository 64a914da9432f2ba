import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { stayWarm, warmFlag } from '../../src/platform/stay-warm.ts'

test("keeps one of Node's own objects of a tick, and the same one when it is asked again", async () => {
  const kept = stayWarm()
  expect(kept).toMatchObject({ callback: expect.any(Function) })
  await new Promise((resolve) => setImmediate(resolve))
  expect(stayWarm()).toBe(kept)
})

test('V8 knows its flag', () => {
  const { status, stderr } = spawnSync(process.execPath, [warmFlag, '-e', ''], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
})
