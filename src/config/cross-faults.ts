import { isOperation, missingPrices } from '../core/measure.ts'
import { unitNames } from '../core/price.ts'
import { addresses, adapterOf } from '../vendors/addresses.ts'
import { checkCanary } from './build-routing.ts'
import { amountRule } from './fields.ts'
import { checkExchange, checkPrices } from './list-prices.ts'
import { tokenPrice } from './price-schema.ts'
import { printPath, type Fault, type Path, type Source } from './source.ts'

/** What no single field can know. Works on the raw values, so that it also finds its faults in a file with others. */
export function crossFaults(source: Source, raw: unknown): Fault[] {
  const vendors = mapAt(raw, 'vendors')
  const faults: Fault[] = []
  const fail = (path: Path, text: string): void => {
    if (!source.unresolved(path)) faults.push(source.fault(path, text))
  }
  checkHolds(mapAt(raw, 'holds'), fail)
  checkExchange(isMap(raw) ? raw['exchange_rates'] : undefined, fail)
  for (const [id, vendor] of Object.entries(vendors)) if (isMap(vendor)) checkVendor(id, vendor, fail)
  for (const [name, model] of Object.entries(mapAt(raw, 'models'))) {
    if (isMap(model)) checkModel(['models', name], model, { vendors: Object.keys(vendors), fail })
  }
  return faults
}

type Fail = (path: Path, text: string) => void
type RawMap = Readonly<Record<string, unknown>>

/** A replica stops forwarding when its checkpoints fail for most of a term: several must fit into one. */
function checkHolds({ term_seconds: term = 30, checkpoint_seconds: checkpoint = 2 }: RawMap, fail: Fail): void {
  if (Number(checkpoint) * 4 > Number(term))
    fail(['holds', 'checkpoint_seconds'], 'must be at most a quarter of term_seconds')
}

function checkVendor(id: string, vendor: RawMap, fail: Fail): void {
  const path = ['vendors', id]
  const { adapter, base_url: baseUrl } = vendor
  const address = addresses[adapterOf(id, typeof adapter === 'string' ? adapter : undefined)]
  if (address === undefined) return
  if (!address.local && vendor['api_keys'] === undefined && vendor['keys'] === undefined)
    fail([...path, 'api_keys'], 'is missing; it must be a list of keys')
  if (baseUrl === undefined && address.baseUrl === undefined) {
    fail([...path, 'base_url'], 'is missing; its adapter has no address of its own')
  } else if (baseUrl === undefined && adapter === undefined && !Object.hasOwn(addresses, id)) {
    // Never guessed: the default address would send this vendor's key to another company.
    fail([...path, 'base_url'], 'is missing; it must be given where no adapter has the name of the vendor')
  }
  if (typeof baseUrl !== 'string' || (address.local && baseUrl === address.baseUrl)) return
  if (address.local || !isAddress(baseUrl)) {
    const allowed = address.local
      ? `must be ${address.baseUrl}`
      : 'must be http:// or https:// with a host, without user, query and fragment'
    fail([...path, 'base_url'], allowed)
  }
}

function isAddress(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false
  return url.username === '' && url.password === '' && !text.includes('?') && !text.includes('#')
}

function checkModel(path: Path, model: RawMap, { vendors, fail }: { vendors: readonly string[]; fail: Fail }): void {
  const { prices, targets } = model
  if (model['free'] === true && prices !== undefined) fail([...path, 'prices'], 'must be left out where free is true')
  if (isMap(prices) && model['free'] !== true && isFree(prices)) {
    fail([...path, 'prices'], 'are all zero; a model that costs nothing must say free: true')
  }
  if (isMap(prices)) checkPrices([...path, 'prices'], prices, fail)
  if (isMap(prices)) checkCharge([...path, 'prices'], { prices, operation: model['operation'] }, fail)
  checkCanary(path, model, fail)
  const seen = new Set<string>()
  for (const [index, target] of (Array.isArray(targets) ? (targets as unknown[]) : []).entries()) {
    if (!isMap(target) || typeof target['vendor'] !== 'string') continue
    const at = [...path, 'targets', index]
    if (!vendors.includes(target['vendor'])) {
      fail(
        [...at, 'vendor'],
        `names no vendor of this file; those are: ${vendors.slice(0, 20).map(printName).join(', ') || 'none'}`,
      )
    }
    const identity = JSON.stringify([target['vendor'], target['model'], target['region']])
    if (seen.has(identity)) fail(at, 'is the same as a target above it')
    seen.add(identity)
  }
}

/** A count without a price cannot be charged: what a model does must have one. */
function checkCharge(path: Path, { prices, operation }: { prices: RawMap; operation: unknown }, fail: Fail): void {
  const given = Object.fromEntries(unitNames.flatMap((unit) => (prices[unit] === undefined ? [] : [[unit, 0n]])))
  const named = typeof operation === 'string' && isOperation(operation) ? operation : 'chat'
  const missing = missingPrices(named, given)
  if (named === 'chat') for (const unit of missing) fail([...path, unit], `is missing; it ${amountRule(tokenPrice)}`)
  else if (missing.length > 0) fail(path, `need one for ${missing.join(', ')}; ${named} cannot be charged without`)
}

const printName = (name: string): string => printPath([name])

function isFree(prices: RawMap): boolean {
  const given = unitNames.flatMap((unit) => (prices[unit] === undefined ? [] : [prices[unit]]))
  if (prices['tiers'] !== undefined || prices['service_tiers'] !== undefined || prices['off_peak'] !== undefined)
    return false
  return given.length > 0 && given.every((price) => /^-?0+(\.0*)?$/.test(String(price)))
}

export function isMap(value: unknown): value is RawMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function mapAt(raw: unknown, name: string): RawMap {
  const value = isMap(raw) ? raw[name] : undefined
  return isMap(value) ? value : {}
}
