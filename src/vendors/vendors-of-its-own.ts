import type { Json, JsonObject, Target } from '../core/call.ts'
import { setMember } from '../core/json-bytes.ts'
import { isList, isObject } from '../core/wire.ts'
import type { Vendor } from './vendor.ts'

/*
 * A vendor that is a gateway itself takes a `provider` much like ours. Names of this gateway are not for it, and names
 * that nobody here has are its own: who may read a prompt is nothing to be lost on the way.
 */

const encoder = new TextEncoder()
const lists = ['order', 'only', 'ignore'] as const
/** Its words for `sort`; ours have no meaning there. */
const sorts: ReadonlySet<Json | undefined> = new Set(['price', 'latency', 'throughput'])

/** The same vendor, that is told what of `provider` is meant for it, by callers of every dialect. */
export function choosingVendors(vendor: Vendor): Vendor {
  return {
    ...vendor,
    choosesVendors: true,
    // oxlint-disable-next-line max-params -- the contract of Vendor
    request(call, target, access, stream) {
      const request = vendor.request(call, target, access, stream)
      const provider = theirs(call.body['provider'], target)
      if (!provider) return request
      return { ...request, body: setMember(request.body, 'provider', encoder.encode(JSON.stringify(provider))) }
    },
  }
}

/** Undefined where nothing is meant for it. */
function theirs(given: Json | undefined, target: Target): JsonObject | undefined {
  if (!isObject(given)) return undefined
  const provider = new Map(Object.entries(given))
  provider.delete('region')
  if (!sorts.has(provider.get('sort'))) provider.delete('sort')
  for (const name of lists) {
    const names = provider.get(name)
    const kept = isList(names) ? names.filter((each) => !isOurs(each, target)) : []
    if (kept.length > 0) provider.set(name, kept)
    else provider.delete(name)
  }
  return provider.size > 0 ? Object.fromEntries(provider) : undefined
}

/** The vendor as this gateway calls it, or one of its targets. */
function isOurs(name: Json, { vendor }: Target): boolean {
  return typeof name === 'string' && (name === vendor || name.startsWith(`${vendor}/`))
}
