import { defaultRouting, plainKey, type RoutingPolicy, type VendorKey } from '../core/routing.ts'
import type { GivenRouting, GivenVendorKey } from './routing-schema.ts'

/** The policy of a model: what it says itself, then the defaults; undefined where neither says anything. */
export function buildRouting(
  given: GivenRouting | undefined,
  defaults: RoutingPolicy | undefined,
): RoutingPolicy | undefined {
  if (given === undefined) return defaults
  const { strategy, weights, canary, mirror, retries, fallbacks } = given
  const { explore_percent: explorePercent, hedge_ms: hedgeMs, slow_ms: slowMs } = given
  return {
    ...(defaults ?? defaultRouting),
    ...(strategy !== undefined && { strategy }),
    ...(weights !== undefined && { weights }),
    ...(canary !== undefined && { canary }),
    ...(mirror !== undefined && { mirror }),
    ...(explorePercent !== undefined && { explorePercent }),
    ...(retries !== undefined && { retries }),
    ...(hedgeMs !== undefined && { hedgeMs }),
    ...(slowMs !== undefined && { slowMs }),
    ...(fallbacks !== undefined && { fallbacks }),
  }
}

/** All keys of a vendor of the file, with what each is for; undefined where none is for anything in particular. */
export function buildKeys(
  plain: readonly string[],
  classed: readonly GivenVendorKey[],
): readonly VendorKey[] | undefined {
  const given = classed.filter(({ key }) => key !== '')
  if (given.length === 0) return undefined
  return [
    ...plain.map((secret, at) => plainKey(`key-${at + 1}`, secret)),
    ...given.map(({ name, key, models, scenarios, priority, region }) => ({
      ...plainKey(name, key),
      ...(models !== undefined && { models }),
      ...(scenarios !== undefined && { scenarios }),
      ...(priority !== undefined && { priority }),
      ...(region !== undefined && { region }),
    })),
  ]
}
