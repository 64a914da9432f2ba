import { PassThrough, Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { forwardLines } from '../../src/entry/forward-lines.ts'

/** A reader who notes each write by itself. */
function reader() {
  const writes: string[] = []
  const to = new Writable({
    write(chunk: Buffer, _, done) {
      writes.push(chunk.toString())
      done()
    },
  })
  return { writes, to }
}

test('lines are passed on whole, whatever the pieces they come in', async () => {
  const { writes, to } = reader()
  const from = new PassThrough()
  forwardLines(from, to)
  for (const piece of ['{"a":1}\n{"b', '":2}', '\n{"c":3}\n', '{"d":4']) {
    from.write(piece)
    await turn()
  }
  expect(writes).toEqual(['{"a":1}\n', '{"b":2}\n{"c":3}\n'])
  from.end()
  await turn()
  await turn()
  expect(writes.join('')).toBe('{"a":1}\n{"b":2}\n{"c":3}\n{"d":4')
})

test('a line that never ends is passed on in pieces', async () => {
  const { writes, to } = reader()
  const from = new PassThrough({ highWaterMark: 4 * 1024 * 1024 })
  forwardLines(from, to)
  const piece = 'x'.repeat(600_000)
  from.write(piece)
  await turn()
  expect(writes).toEqual([])
  from.write(piece)
  await turn()
  expect(writes.join('')).toHaveLength(1_200_000)
})

test('a reader who is slow holds up who is read', async () => {
  const from = new PassThrough()
  const held: (() => void)[] = []
  const to = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => void held.push(done) })
  forwardLines(from, to)
  from.write('a\n')
  await turn()
  expect(from.isPaused()).toBe(true)
  held.shift()?.()
  await turn()
  expect(from.isPaused()).toBe(false)
})
