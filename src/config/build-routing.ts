import { defaultRouting, plainKey, type RoutingPolicy, type VendorKey } from '../core/routing.ts'
import type { GivenRouting, GivenVendorKey } from './routing-schema.ts'
import type { Path } from './source.ts'

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

/** The canary of a raw model must be one of its targets: else it would never be called, and nobody would know why. */
export function checkCanary(path: Path, model: Raw, fail: (path: Path, text: string) => void): void {
  const { routing, targets } = model
  const canary = isMap(routing) ? routing['canary'] : undefined
  if (!isMap(canary) || !Array.isArray(targets)) return
  const names = targets.filter(isMap).map(({ vendor, model: own }) => `${String(vendor)}/${String(own)}`)
  const wanted = String(canary['target']).replace(/@[^@/]*$/, '')
  if (!names.includes(wanted)) fail([...path, 'routing', 'canary', 'target'], 'names no target of this model')
}

type Raw = Readonly<Record<string, unknown>>

function isMap(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
