import { expect, test } from 'vitest'
import { keepTickShape } from '../../src/platform/tick-shape.ts'

test("keeps one of Node's own objects of a tick, and the same one when it is asked again", async () => {
  const kept = keepTickShape()
  expect(kept).toMatchObject({ callback: expect.any(Function) })
  await new Promise((resolve) => setImmediate(resolve))
  expect(keepTickShape()).toBe(kept)
})
