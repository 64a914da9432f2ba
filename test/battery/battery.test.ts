import { beforeAll, describe, expect, test } from 'vitest'
import { cases, type Row, runCase } from './cases.ts'
import { openScene } from './scene.ts'

/** The battery on the embedded database, with a few customers only. */
const size = { customers: 15 }
const seed = 1

let rows: readonly Row[]
let faults: readonly string[]

beforeAll(async () => {
  const scene = await openScene('pglite', seed)
  const played: Row[] = []
  // One after the other: the faults of a case are not those of the next.
  for (const one of cases) played.push(await runCase(one, scene, size))
  rows = played
  faults = await scene.close()
  for (const { name, verdict, why } of rows) if (verdict === 'skipped') console.warn(`skipped: ${name}: ${why}`)
}, 180_000)

const named = (name: string) => rows.find((row) => row.name === name)
describe('the battery', () => {
  test.each(cases.map(({ name }) => name))('no budget is overspent by %s', (name) => {
    const { verdict, why, budget = 0n, spent = 0n } = named(name) ?? {}
    expect([verdict === 'BROKEN', why, spent <= budget]).toEqual([false, verdict === 'skipped' ? why : undefined, true])
  })

  test.each(cases.filter(({ name }) => name.includes('at once')).map(({ name }) => name))(
    '%s: four are served, and the budget is spent to the last nano-dollar',
    (name) => {
      const { served, spent, budget, refused } = named(name) ?? {}
      expect([served, refused, spent]).toEqual([4, { credit_held: 16 }, budget])
    },
  )

  test.each(cases.filter(({ name }) => !name.includes('kill -9')).map(({ name }) => name))(
    '%s: nothing is delivered that is not paid for',
    (name) => {
      const { delivered = 0n, spent = 0n } = named(name) ?? {}
      expect(delivered <= spent).toBe(true)
    },
  )

  test('a call that outgrows the balance is served until it is spent', () => {
    const { spent = 0n, budget = 0n, refused } = named('max_tokens beyond the balance, streamed') ?? {}
    expect(refused).toEqual({ 'insufficient_quota after content': 1, insufficient_quota: 1 })
    expect(spent * 100n >= budget * 99n).toBe(true)
  })

  test('the books are right, nothing is held, and the gateway ended in order', () => {
    expect(faults).toEqual([])
  })
})
