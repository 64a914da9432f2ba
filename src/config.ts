import type { z } from 'zod'
import { buildKeys, buildRouting } from './config/build-routing.ts'
import {
  buildCaching,
  buildIdempotency,
  buildStores,
  type CacheStores,
  type IdempotencyConfig,
} from './config/cache-schema.ts'
import { buildTarget } from './config/build-target.ts'
import { buildSealing } from './config/sealing-schema.ts'
import { type AlertConfig, buildAlerts } from './config/alerts-schema.ts'
import { readEnvironment, type Environment, type EnvironmentValues } from './config/environment.ts'
import { crossFaults, isMap } from './config/cross-faults.ts'
import { exchangeRates, listPrices } from './config/list-prices.ts'
import { fileSchema, type File } from './config/schema.ts'
import { readSource, type Fault, type Path, type Source } from './config/source.ts'
import type { AddressRange } from './core/address.ts'
import type { CachePolicy } from './core/caching.ts'
import type { Model, Policies, VendorEntry } from './core/catalog.ts'
import type { KeepAliveRules } from './core/keep-alive.ts'
import type { KeySealing } from './core/key-sealing.ts'
import type { Nanos } from './core/money.ts'
import { freeNanos, fullPricePpm, priceSet } from './core/price-set.ts'
import { unitNames, type ExchangeRate, type PriceSet } from './core/price.ts'
import type { RoutingPolicy } from './core/routing.ts'
import type { SharedLimit, TierLimits } from './core/shared-limit.ts'
import { addresses, adapterOf } from './vendors/addresses.ts'

/** An account that exists from the first start on. */
export interface AccountSeed {
  readonly currency: string
  readonly startingBalance: Nanos
  /** 1_000_000 pays the full price. */
  readonly discountPpm: number
}

/** Limits of tiers and over accounts, and when a process has more to do than it can. */
export interface LimitConfig {
  readonly tiers: ReadonlyMap<string, TierLimits>
  readonly shared: readonly SharedLimit[]
  readonly shedding: { readonly eventLoopMs: number; readonly calls: number }
}

export interface HoldLimits {
  /** Output tokens that a call's first hold covers. */
  readonly firstOutputTokens: number
  /** The most that one hold may set aside at first; absent: no cap. */
  readonly cap: Nanos | undefined
  /** From a checkpoint until the reaper may take the hold. */
  readonly termMs: number
  readonly checkpointMs: number
}

/** Everything that an operator decides before the start, frozen. */
export interface Config extends Readonly<EnvironmentValues['rest']> {
  readonly server: {
    readonly host: string
    /** 0 takes any free port. */
    readonly port: number
    readonly bodyLimitBytes: number
    readonly shutdownGraceMs: number
    /** Whose word is believed about the address of a caller. */
    readonly trustedProxies: readonly AddressRange[]
  }
  /** Those that are off are here too, with no keys. */
  readonly vendors: ReadonlyMap<string, VendorEntry>
  readonly models: ReadonlyMap<string, Model>
  readonly accounts: ReadonlyMap<string, AccountSeed>
  readonly limits: LimitConfig
  /** For accounts in another currency than the prices. */
  readonly exchange: readonly ExchangeRate[]
  /** Those of every model that has none of its own. */
  readonly policies: Policies
  /** Likewise; absent: nothing is said about it. */
  readonly routing?: RoutingPolicy
  /** Likewise. */
  readonly caching?: CachePolicy
  readonly cache: CacheStores
  readonly idempotency: IdempotencyConfig
  readonly keepAlive: KeepAliveRules
  /** Where alerts are sent; absent: nowhere. */
  readonly alerts?: AlertConfig
  /** How what vendors' keys are encrypted with is unwrapped at the start; absent: it is given in the environment. */
  readonly keySealing?: KeySealing
  /** Between two rounds of probes; absent: there are none. */
  readonly probeMs?: number
  readonly holds: HoldLimits
}

export interface ConfigInput {
  readonly text: string
  /** Where the text came from, for the faults. */
  readonly path: string
  readonly env: Environment
}

/** Every fault of a configuration at once, one per line. No line holds a value of the file or of the environment. */
export class ConfigError extends Error {
  readonly faults: readonly string[]

  constructor(path: string, faults: readonly string[]) {
    super(`${path} cannot be used:\n${faults.join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

export { defaultLimits } from './config/schema.ts'

/** Beyond this a list of faults helps nobody. */
const maxFaults = 100
const defaultPolicies: Policies = { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' }
/** A local vendor needs no key, but a vendor without one is off. */
const localKey = 'local'

/** Where the configuration file is. */
export function configPath(env: Environment): string {
  return env['TOLLGATE_CONFIG'] || 'config/tollgate.yaml'
}

/** Reads the file's text and the environment into one frozen Config, or throws ConfigError with all that is wrong. */
export function readConfig({ text, path, env }: ConfigInput): Config {
  const source = readSource(text, env)
  const environment = readEnvironment(env)
  const raw = withoutEmptySections(source.raw)
  const parsed = fileSchema.safeParse(raw)
  const faults = [
    ...source.faults,
    ...(parsed.success ? [] : parsed.error.issues.flatMap((issue) => schemaFaults(source, issue))),
    ...crossFaults(source, raw),
  ]
  if (faults.length + environment.faults.length > 0 || !parsed.success) {
    throw new ConfigError(path, printFaults(path, faults, environment.faults))
  }
  return freeze(build(parsed.data, environment.values))
}

/** Prices alone, read by the rules of the file. Throws ConfigError with all that is wrong. */
export function readPrices(prices: object): PriceSet {
  const model = { targets: [{ vendor: 'sandbox', model: 'echo' }], prices }
  const text = JSON.stringify({ vendors: { sandbox: {} }, models: { prices: model } })
  const read = readConfig({ text, path: 'prices', env: {} }).models.get('prices')?.prices
  if (read === undefined) throw new ConfigError('prices', ['prices: are missing'])
  return read
}

function printFaults(path: string, faults: readonly Fault[], environment: readonly string[]): string[] {
  const ordered = faults.toSorted((a, b) => a.line - b.line || a.column - b.column)
  const lines = ordered.map(({ line, column, field, text }) => `${path}:${line}:${column} ${field || 'file'}: ${text}`)
  const all = [...new Set([...lines, ...environment])]
  return all.length <= maxFaults ? all : [...all.slice(0, maxFaults), `and ${all.length - maxFaults} more`]
}

/** `accounts:` with every line below it commented out is null in YAML, and meant as nothing. */
function withoutEmptySections(raw: unknown): unknown {
  if (!isMap(raw)) return raw
  return Object.fromEntries(Object.entries(raw).filter(([, value]) => value !== null))
}

function schemaFaults(source: Source, issue: z.core.$ZodIssue): Fault[] {
  if (source.unresolved(issue.path)) return []
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => source.fault([...issue.path, key], issue.message, 'key'))
  }
  if (issue.code === 'invalid_key') {
    return [source.fault(issue.path, issue.issues[0]?.message ?? 'is not a usable name', 'key')]
  }
  const missing = valueAt(source.raw, issue.path) === undefined
  return [source.fault(issue.path, missing ? `is missing; it ${issue.message}` : issue.message)]
}

function build(file: File, { host, port, rest }: EnvironmentValues): Config {
  const { server, holds } = file
  const policies = buildPolicies(file.defaults.policies, defaultPolicies)
  const routing = buildRouting(file.defaults.routing, undefined)
  const caching = buildCaching(file.defaults.cache, undefined)
  return {
    server: {
      host: host ?? server.host,
      port: port ?? server.port,
      bodyLimitBytes: server.body_limit_bytes,
      shutdownGraceMs: server.shutdown_grace_seconds * 1_000,
      trustedProxies: server.trusted_proxies,
    },
    vendors: mapValues(file.vendors, buildVendor),
    models: mapValues(file.models, (name, model) => buildModel(name, model, { policies, routing, caching })),
    accounts: mapValues(file.accounts, (_name, account) => ({
      currency: account.currency,
      startingBalance: account.starting_balance,
      discountPpm: fullPricePpm - account.discount_percent,
    })),
    limits: buildLimits(file.limits),
    exchange: exchangeRates(file.exchange_rates),
    policies,
    ...(routing && { routing }),
    ...(file.probes.every_seconds !== undefined && { probeMs: file.probes.every_seconds * 1_000 }),
    ...(caching && { caching }),
    cache: buildStores(file.cache),
    idempotency: buildIdempotency(file.idempotency),
    ...buildAlerts(file.alerts),
    ...buildSealing(file.vendor_keys),
    keepAlive: buildKeepAlive(file.keep_alive),
    holds: {
      firstOutputTokens: holds.first_output_tokens,
      cap: holds.cap,
      termMs: holds.term_seconds * 1_000,
      checkpointMs: holds.checkpoint_seconds * 1_000,
    },
    ...rest,
  }
}

function buildKeepAlive({ silence_ms, commit_stream_ms, commit_body_ms }: File['keep_alive']): KeepAliveRules {
  return {
    ...(silence_ms > 0 && { silenceMs: silence_ms }),
    ...(commit_stream_ms !== undefined && { commitStreamMs: commit_stream_ms }),
    ...(commit_body_ms !== undefined && { commitBodyMs: commit_body_ms }),
  }
}

function buildLimits({ tiers, shared, shedding }: File['limits']): LimitConfig {
  return {
    tiers: mapValues(tiers, (_name, { limits, concurrency, budgets, priority }) => ({
      limits,
      priority,
      ...(budgets.length > 0 && { budgets }),
      ...(concurrency !== undefined && { concurrency }),
    })),
    shared,
    shedding: { eventLoopMs: shedding.event_loop_ms, calls: shedding.calls },
  }
}

function buildVendor(id: string, vendor: File['vendors'][string]): VendorEntry {
  const adapter = adapterOf(id, vendor.adapter)
  const address = addresses[adapter]
  const plain = [...new Set(vendor.api_keys?.filter((key) => key !== ''))]
  const keys = address?.local ? undefined : buildKeys(plain, vendor.keys ?? [])
  return {
    id,
    adapter,
    baseUrl: (vendor.base_url ?? address?.baseUrl ?? '').replace(/\/+$/, ''),
    apiKeys: address?.local ? [localKey] : (keys?.map(({ secret }) => secret) ?? plain),
    ...(keys && { keys }),
    limits: {
      connectMs: vendor.timeouts.connect_ms,
      firstByteMs: vendor.timeouts.first_byte_ms,
      idleMs: vendor.timeouts.idle_ms,
      totalMs: vendor.timeouts.total_ms,
    },
  }
}

interface ModelDefaults {
  readonly policies: Policies
  readonly routing: RoutingPolicy | undefined
  readonly caching: CachePolicy | undefined
}

function buildModel(name: string, model: File['models'][string], defaults: ModelDefaults): Model {
  const routing = buildRouting(model.routing, defaults.routing)
  const caching = buildCaching(model.cache, defaults.caching)
  const prices = model.free ? freePrices() : model.prices && listPrices(model.prices)
  return {
    name,
    targets: model.targets.map(({ vendor, model: vendorModel, region, ...more }) => ({
      vendor,
      model: vendorModel,
      ...(region === undefined ? {} : { region }),
      ...buildTarget(more),
    })),
    ...(model.operation && { operation: model.operation }),
    ...(prices === undefined ? {} : { prices }),
    ...(routing && { routing }),
    ...weightsOf(model.token_weights),
    maxOutputTokens: model.max_output_tokens,
    ...(caching && { caching }),
    policies: buildPolicies(model.policies, defaults.policies),
    // A file does not say when a model came; the database does, where there is one.
    createdAtMs: 0,
    provisioned: true,
  }
}

function weightsOf(given: File['models'][string]['token_weights'] = {}): Pick<Model, 'tokenWeights'> {
  const known = unitNames.flatMap((unit) => (given[unit] === undefined ? [] : [[unit, given[unit]] as const]))
  return known.length === 0 ? {} : { tokenWeights: Object.fromEntries(known) }
}

function buildPolicies(given: File['defaults']['policies'], defaults: Policies): Policies {
  return {
    unstreamed: given.unstreamed ?? defaults.unstreamed,
    clientAbort: given.client_abort ?? defaults.clientAbort,
    abortBeforeContent: given.abort_before_content ?? defaults.abortBeforeContent,
  }
}

/** Every unit costs nothing: whatever a vendor counts can be charged. */
function freePrices(): PriceSet {
  return priceSet({ currency: 'USD', nanos: freeNanos, discountPpm: fullPricePpm })
}

function mapValues<From, To>(
  values: Readonly<Record<string, From>>,
  build: (name: string, value: From) => To,
): ReadonlyMap<string, To> {
  return new Map(Object.entries(values).map(([name, value]) => [name, build(name, value)]))
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined
    value = (value as Record<PropertyKey, unknown>)[segment]
  }
  return value
}

/** Freezes a value and all that it holds. Maps stay maps: their type does not let anyone write. */
function freeze<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
