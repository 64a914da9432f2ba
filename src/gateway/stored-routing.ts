import type { CachePolicy } from '../core/caching.ts'
import type { JsonObject, Target } from '../core/call.ts'
import type { RoutingPolicy } from '../core/routing.ts'
import { buildRouting } from '../config/build-routing.ts'
import { buildTarget } from '../config/build-target.ts'
import { buildCaching, caching } from '../config/cache-schema.ts'
import { routing, targetOptions } from '../config/routing-schema.ts'

interface Fault {
  readonly path: PropertyKey[]
  readonly message: string
  /** Fields that are not known. */
  readonly keys?: readonly string[]
}

/** A part of the configuration that the API takes in the words of the file and the database keeps as it came. */
export interface Checked {
  safeParse(value: unknown):
    | { readonly success: true }
    | {
        readonly success: false
        readonly error: { readonly issues: readonly Fault[] }
      }
}

/** What may be said of a model's routing, its cache, and of one of its targets, as in the configuration file. */
export const routingWords: Checked = routing
export const cacheWords: Checked = caching
export const targetWords: Checked = targetOptions

/** A stored policy. One that no longer reads, after a change of the rules, is as none. */
export function storedRouting(stored: JsonObject, defaults: RoutingPolicy | undefined): RoutingPolicy | undefined {
  if (Object.keys(stored).length === 0) return defaults
  const read = routing.safeParse(stored)
  return read.success ? buildRouting(read.data, defaults) : defaults
}

/** What is stored of a model's cache; likewise. */
export function storedCaching(stored: JsonObject, defaults: CachePolicy | undefined): CachePolicy | undefined {
  if (Object.keys(stored).length === 0) return defaults
  const read = caching.safeParse(stored)
  return read.success ? buildCaching(read.data, defaults) : defaults
}

export function storedTarget(stored: JsonObject): Omit<Target, 'vendor' | 'model' | 'region'> {
  const read = targetOptions.safeParse(stored)
  return read.success ? buildTarget(read.data) : {}
}
