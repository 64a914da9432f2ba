import { expect, test } from 'vitest'
import { missing } from '../support/installation.ts'
import { crashRun } from './run.ts'

/** The crash run in short; the long one is a command of its own. */
const minutes = 0.3
const rush = 4
const seed = Math.floor(Math.random() * 2 ** 31)

const why = missing('redis')
if (why !== undefined) console.warn(`the crash run is skipped: ${why}`)

test.skipIf(why !== undefined)(
  'three gateways, their Redis and their PostgreSQL fall and come back, and the books hold what callers heard',
  async () => {
    const report = await crashRun({ store: 'redis', gateways: 3, seed, minutes, rush, progress: () => {} })
    const { breaches, overcharges, doubleCharges, served, evidence } = report
    expect({ breaches, overcharges, doubleCharges }, `seed ${seed}, ${evidence ?? 'no evidence'}`).toEqual({
      breaches: [],
      overcharges: 0,
      doubleCharges: 0,
    })
    // The run was worth its while: calls were served, and something was broken.
    expect(served).toBeGreaterThan(0)
    expect(Object.keys(report.faults).length).toBeGreaterThan(1)
  },
  300_000,
)
