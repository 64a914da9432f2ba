import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { askerOf, configOf, type Limit, strangerOf } from '../limits/levels.ts'
import { type HoldingVendor, overload, startHoldingVendor } from '../limits/load.ts'
import { forgetShares, judged, patient } from '../limits/run.ts'
import { killHolder } from '../limits/slots.ts'
import { type Estate, hasEstate, newEstate } from './estate.ts'

const requests: Limit = { of: 'requests', window: 'minute', algorithm: 'token_bucket', limit: 100 }
const calls: Limit = { of: 'concurrency', limit: 4 }

/** A small part of what `npm run limits` does, for every algorithm and level, over minutes. */
describe.skipIf(!hasEstate)('three gateways on one Redis, asked for more than they may let in', () => {
  let vendor: HoldingVendor
  let estate: Estate

  beforeAll(async () => {
    vendor = await startHoldingVendor()
    estate = await newEstate(vendor.url, 3, { ...configOf(vendor.url, [requests, calls]), env: patient })
  }, 60_000)
  afterAll(async () => {
    await estate.remove()
    await vendor.close()
  })

  test('let in as many calls as a limit of a key, an address or a model says', async () => {
    const askers = await Promise.all((['key', 'ip', 'model'] as const).map((level) => askerOf(estate, level, requests)))
    const rows = await overload({
      gateways: estate.gateways,
      askers,
      stranger: await strangerOf(estate),
      limits: [requests],
      calls: 100,
      times: 30,
      windows: 0.05,
      forget: () => forgetShares(estate),
    })
    const missed = rows.map((row) => judged(row, 'token_bucket')).filter(({ isKept }) => !isKept)
    expect(missed).toEqual([])
  })

  test('have all calls at once of a key, a model and a vendor again after the gateway that had them was killed', async () => {
    const levels = ['key', 'model', 'vendor'] as const
    const askers = await Promise.all(levels.map((level) => askerOf(estate, level, calls)))
    const scene = { vendor, gateways: estate.gateways, limit: 4, times: 1 }
    const filled = await killHolder(estate, askers, scene)
    expect(filled.map(({ asker, held }) => [asker.level, held])).toEqual(levels.map((level) => [level, 4]))
  })
})
