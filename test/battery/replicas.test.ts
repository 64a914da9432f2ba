import { beforeAll, describe, expect, test } from 'vitest'
import { missing } from '../support/installation.ts'
import { cases, type Row, runCase } from './cases.ts'
import { openScene } from './scene.ts'

/** Those of the battery's cases that several gateways make harder, on three of them, with a few customers only. */
const chosen = cases.filter(({ name }) =>
  ['at once on', 'at once through', 'Redis flushed', 'Redis started anew without', 'customers'].some((part) =>
    name.includes(part),
  ),
)
const size = { customers: 4 }
const seed = 1

const why = missing('redis')
if (why !== undefined) console.warn(`the battery on three gateways is skipped: ${why}`)

describe.skipIf(why !== undefined)('the battery on three gateways', () => {
  const rows: Row[] = []
  let faults: readonly string[]

  beforeAll(async () => {
    const scene = await openScene('redis', seed)
    // One after the other: the faults of a case are not those of the next.
    for (const one of chosen) rows.push(await runCase(one, scene, size))
    faults = await scene.close()
  }, 300_000)

  test.each(chosen.map(({ name }) => name))('no budget is overspent by %s', (name) => {
    const { verdict, why: broken, budget = 0n, spent = 0n } = rows.find((row) => row.name === name) ?? {}
    expect([verdict, broken, spent <= budget]).toEqual(['kept', undefined, true])
  })

  test.each(chosen.map(({ name }) => name).filter((name) => name.includes('at once')))(
    '%s: no more than four are served, whichever gateways they come to',
    (name) => {
      const { served = 0 } = rows.find((row) => row.name === name) ?? {}
      expect(served).toBeLessThanOrEqual(4)
    },
  )

  test('nothing is delivered that is not paid for', () => {
    expect(rows.filter(({ delivered, spent }) => delivered > spent)).toEqual([])
  })

  test('the books are right, nothing is held, and the gateways ended in order', () => {
    expect(faults).toEqual([])
  })
})
