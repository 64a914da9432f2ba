import { describe, expect, test } from 'vitest'
import { SharedUnavailable } from '../../src/core/shared-unavailable.ts'
import { openEpochs } from '../../src/ledger/epochs.ts'

const spender = 'redis:v1'
/** Time that goes by at once. */
const clock = {
  after(_: number, run: () => void) {
    const timer = setImmediate(run)
    return () => clearImmediate(timer)
  },
}

/** The books' epochs and the one that stands in a store, each asked over a network. */
function scene(epoch = 0) {
  const state = { epoch, standing: 0, opened: 0 }
  const way = () => new Promise<void>((resolve) => setImmediate(resolve))
  const books = {
    async openEpoch(_: string, after?: number) {
      await way()
      if (after !== undefined && after !== state.epoch) return 0
      state.opened++
      return ++state.epoch
    },
    async epochOf() {
      await way()
      return state.epoch
    },
  }
  const shared = {
    async begin(_: string, wanted: number) {
      await way()
      if (wanted > state.standing) state.standing = wanted
      return state.standing
    },
  }
  const replica = () => {
    const heard: string[] = []
    return { heard, epochs: openEpochs({ books, clock, shared, onEpoch: (name) => heard.push(name) }) }
  }
  return { state, books, shared, replica }
}

describe('replicas that find no epoch at the same moment', () => {
  test.each([
    ['a new spender', 0],
    ['a store that was started anew', 7],
  ])('open one of them together: %s', async (_, before) => {
    const { state, replica } = scene(before)
    const replicas = Array.from({ length: 5 }, replica)
    await Promise.all(replicas.map(({ epochs }) => epochs.enter(spender)))
    expect([state.opened, ...replicas.map(({ epochs }) => epochs.known(spender))]).toEqual([
      1,
      ...replicas.map(() => before + 1),
    ])
    expect(replicas.map(({ heard }) => heard)).toEqual(replicas.map(() => [spender]))
  })

  test('open another where whoever opened one is gone before it begins', async () => {
    const { state, books, replica } = scene()
    await books.openEpoch(spender)
    const { epochs } = replica()
    await epochs.enter(spender)
    expect([epochs.known(spender), state.standing, state.epoch]).toEqual([2, 2, 2])
  })

  test('take the one that another has opened when theirs grew old', async () => {
    const { state, books, shared, replica } = scene()
    const replicas = [replica(), replica()]
    for (const { epochs } of replicas) await epochs.enter(spender)
    await shared.begin(spender, await books.openEpoch(spender))
    await Promise.all(replicas.map(({ epochs }) => epochs.renew(spender, 1)))
    expect([state.epoch, ...replicas.map(({ epochs }) => epochs.known(spender))]).toEqual([2, 2, 2])
  })

  test('give up where epochs follow each other without an end', async () => {
    const { state, shared, replica } = scene()
    const begin = shared.begin
    shared.begin = async () => {
      state.epoch++
      return begin(spender, 0)
    }
    await expect(replica().epochs.enter(spender)).rejects.toThrow(SharedUnavailable)
  })
})
