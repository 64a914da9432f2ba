import { expect, test, vi } from 'vitest'
import { afterReads } from '../../src/platform/after-reads.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('work of one turn of the loop is done after it, in its order and side by side', async () => {
  const done: string[] = []
  const work = (name: string) => () => {
    done.push(`${name} 1`)
    void Promise.resolve().then(() => done.push(`${name} 2`))
  }
  for (const name of ['a', 'b']) afterReads(work(name))
  const before = [...done]
  await turn()
  expect([before, done]).toEqual([[], ['a 1', 'b 1', 'a 2', 'b 2']])
})

test('work that is asked for by other work has a turn of its own', async () => {
  const done: string[] = []
  afterReads(() => {
    done.push('first')
    afterReads(() => done.push('second'))
  })
  await turn()
  const after = [...done]
  await turn()
  expect([after, done]).toEqual([['first'], ['first', 'second']])
})

test('what one throws keeps no other from its turn', async () => {
  const caught = vi.fn<(error: unknown) => void>()
  const others = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.once('uncaughtException', caught)
  const done: string[] = []
  afterReads(() => done.push('before'))
  afterReads(() => {
    throw new Error('a fault of ours')
  })
  afterReads(() => done.push('after'))
  await turn()
  await turn()
  for (const listener of others) process.on('uncaughtException', listener)
  expect(done).toEqual(['before', 'after'])
  expect(caught).toHaveBeenCalledTimes(1)
})
