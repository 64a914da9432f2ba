import { describe, expect, test } from 'vitest'
import { openTurns } from '../../src/platform/turns.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Calls that come together, and in which turn of the loop each of them has begun. */
function openCalls(elapsed = () => 0) {
  const turns = openTurns(elapsed)
  const begun: { readonly call: string; readonly turn: number }[] = []
  let now = 0
  return {
    turns,
    begun,
    come(...calls: readonly string[]) {
      for (const call of calls) {
        const wait = turns.next()
        if (wait) void wait.then(() => begun.push({ call, turn: now }))
        else begun.push({ call, turn: now })
      }
    },
    async pass() {
      now += 1
      await turn()
    },
    of: (at: number) => begun.filter((each) => each.turn === at).map(({ call }) => call),
  }
}

const named = (count: number, from = 0) => Array.from({ length: count }, (_, at) => `call ${from + at}`)

describe('calls that come all at once', () => {
  test('begin at once where they are few', () => {
    const { come, of } = openCalls()
    come(...named(16))
    expect(of(0)).toEqual(named(16))
  })

  test('begin sixteen in each turn of the loop where they are many, in the order in which they came', async () => {
    const { come, of, pass } = openCalls()
    come(...named(40))
    for (let at = 0; at < 4; at++) await pass()
    expect([0, 1, 2, 3].map((at) => of(at))).toEqual([named(16), named(16, 16), named(8, 32), []])
  })

  test('do not overtake those that wait', async () => {
    const { come, begun, pass } = openCalls()
    come(...named(20))
    await pass()
    come(...named(20, 20))
    for (let at = 0; at < 4; at++) await pass()
    expect(begun.map(({ call }) => call)).toEqual(named(40))
  })

  test('begin at once again when the burst is over', async () => {
    const { come, of, pass } = openCalls()
    come(...named(40))
    for (let at = 0; at < 5; at++) await pass()
    come('late')
    expect(of(5)).toEqual(['late'])
  })

  test('say how late they are', async () => {
    let now = 1_000
    const { turns, come, pass } = openCalls(() => now)
    expect(turns.lateMs()).toBe(0)
    come(...named(16))
    expect(turns.lateMs()).toBe(0)
    come('seventeenth')
    now += 250
    expect(turns.lateMs()).toBe(250)
    await pass()
    expect(turns.lateMs()).toBe(0)
  })
})
