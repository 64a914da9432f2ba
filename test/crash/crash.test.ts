import { expect, test } from 'vitest'
import { missing } from '../support/installation.ts'
import { crashRun } from './run.ts'

/**
 * The crash run in short; the long one is a command of its own. PostgreSQL stays: when it is stopped its
 * client may end the process, which the long run tells and a test would stumble over now and then.
 */
const minutes = 0.2
const rush = 6
const seed = Math.floor(Math.random() * 2 ** 31)

const why = missing('redis')
if (why !== undefined) console.warn(`the crash run is skipped: ${why}`)

test.skipIf(why !== undefined)(
  'three gateways and their Redis fall and come back, and the books hold what callers heard',
  async () => {
    const report = await crashRun({
      store: 'redis',
      gateways: 3,
      seed,
      minutes,
      rush,
      postgresStays: true,
      progress: () => {},
    })
    const { breaches, overcharges, doubleCharges, served, evidence } = report
    expect({ breaches, overcharges, doubleCharges }, `seed ${seed}, ${evidence ?? 'no evidence'}`).toEqual({
      breaches: [],
      overcharges: 0,
      doubleCharges: 0,
    })
    // The run was worth its while: calls were served, and something was broken.
    expect(served).toBeGreaterThan(0)
    expect(Object.keys(report.faults).length).toBeGreaterThan(0)
  },
  300_000,
)
