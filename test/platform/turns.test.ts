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
      for (const call of calls) void turns.next().then(() => begun.push({ call, turn: now }))
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
  test('begin together, once the loop has read all that came', async () => {
    const { come, of, pass } = openCalls()
    come(...named(16))
    const atOnce = of(0)
    await pass()
    expect([atOnce, of(1)]).toEqual([[], named(16)])
  })

  test('go on side by side, each a step at a time', async () => {
    const { turns, pass } = openCalls()
    const steps: string[] = []
    const walk = async (call: string) => {
      await turns.next()
      for (const step of [1, 2]) {
        steps.push(`${call} ${step}`)
        await Promise.resolve()
      }
    }
    const walks = ['a', 'b'].map(walk)
    await pass()
    await Promise.all(walks)
    expect(steps).toEqual(['a 1', 'b 1', 'a 2', 'b 2'])
  })

  test('begin sixteen in each turn of the loop where they are many, in the order in which they came', async () => {
    const { come, of, pass } = openCalls()
    come(...named(40))
    for (let at = 0; at < 4; at++) await pass()
    expect([1, 2, 3, 4].map((at) => of(at))).toEqual([named(16), named(16, 16), named(8, 32), []])
  })

  test('do not overtake those that wait', async () => {
    const { come, begun, pass } = openCalls()
    come(...named(20))
    await pass()
    come(...named(20, 20))
    for (let at = 0; at < 4; at++) await pass()
    expect(begun.map(({ call }) => call)).toEqual(named(40))
  })

  test('wait for one turn only when the burst is over', async () => {
    const { come, of, pass } = openCalls()
    come(...named(40))
    for (let at = 0; at < 5; at++) await pass()
    come('late')
    await pass()
    expect(of(6)).toEqual(['late'])
  })
})

describe('lateness', () => {
  /** So many calls come in each of some turns, each of which takes so long; how late they were at the end of each second. */
  async function lateness(
    seconds: number,
    { calls, turnMs }: { calls: (turnNumber: number) => number; turnMs: number },
  ) {
    let now = 0
    const { turns, come, pass } = openCalls(() => now)
    const late: number[] = []
    for (let at = 0; at * turnMs < seconds * 1_000; at++) {
      come(...named(calls(at)))
      await pass()
      now += turnMs
      if (now % 1_000 === 0) late.push(turns.lateMs())
    }
    return late
  }

  test('is nothing where each call begins in the next turn', async () => {
    expect(await lateness(3, { calls: () => 16, turnMs: 10 })).toEqual([0, 0, 0])
  })

  test('is nothing in a burst that is over within a second', async () => {
    expect(await lateness(3, { calls: (at) => (at === 0 ? 1_000 : 1), turnMs: 10 })).toEqual([0, 0, 0])
  })

  test('grows where more calls come than can begin', async () => {
    const [first = 0, second = 0, third = 0, fourth = 0] = await lateness(4, { calls: () => 32, turnMs: 10 })
    expect(first).toBe(0)
    expect([second > 400, third > second, fourth > third]).toEqual([true, true, true])
  })

  test('is over as soon as a call begins in the turn after its coming', async () => {
    let now = 0
    const { turns, come, pass } = openCalls(() => now)
    for (let at = 0; at < 250; at++) {
      come(...named(32))
      await pass()
      now += 10
    }
    expect(turns.lateMs()).toBeGreaterThan(200)
    for (let at = 0; at < 251; at++) await pass()
    come('late')
    await pass()
    expect(turns.lateMs()).toBe(0)
  })

  test('is over a second after the last call has waited', async () => {
    const late = await lateness(8, { calls: (at) => (at < 200 ? 32 : 0), turnMs: 10 })
    expect(Math.max(...late)).toBeGreaterThan(1_000)
    expect(late.at(-1)).toBe(0)
  })
})
