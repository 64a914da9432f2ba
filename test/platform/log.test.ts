import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { gatherWrites } from '../../src/platform/log.ts'

test('lines that come together go out in one piece', async () => {
  const written: string[] = []
  const output = gatherWrites((text) => written.push(text))
  for (const line of ['a\n', 'b\n', 'c\n']) output.write(line)
  expect(written).toEqual([])
  while (written.length === 0) await wait(5)
  expect(written).toEqual(['a\nb\nc\n'])
})

test('what waits can be written at once, and only once', async () => {
  const written: string[] = []
  const output = gatherWrites((text) => written.push(text))
  output.write('a\n')
  output.flush()
  output.flush()
  await wait(40)
  expect(written).toEqual(['a\n'])
})

test('much of it does not wait', () => {
  const written: number[] = []
  const output = gatherWrites((text) => written.push(text.length))
  const line = 'x'.repeat(1_024)
  for (let count = 0; count < 64; count++) output.write(line)
  expect(written).toEqual([64 * 1_024])
})
