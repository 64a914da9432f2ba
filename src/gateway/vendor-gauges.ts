import type { VendorGauges } from '../record/telemetry.ts'
import type { Gateway } from './gateway.ts'

/** What of our keys and targets at vendors is not well at this moment, as this process sees it. */
export function vendorGauges({ router, platform }: Pick<Gateway, 'router' | 'platform'>): VendorGauges {
  const { targets, vendors } = router.report(platform.catalog())
  const parked = vendors.flatMap(({ vendor, keys }) =>
    keys.flatMap(({ parked: reason }) => (reason === undefined ? [] : [{ vendor, reason }])),
  )
  const down = targets.filter(({ state }) => state !== 'closed')
  return {
    keysParked: [...Map.groupBy(parked, ({ vendor, reason }) => `${vendor} ${reason}`).values()].flatMap((same) =>
      same.slice(0, 1).map((first) => ({ ...first, count: same.length })),
    ),
    targetsDown: [...Map.groupBy(down, ({ target }) => target.vendor)].map(([vendor, same]) => ({
      vendor,
      count: same.length,
    })),
  }
}
