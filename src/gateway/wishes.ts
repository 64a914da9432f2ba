import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { parseMoney } from '../core/money.ts'
import { strategies, type Strategy, type Wish } from '../core/routing.ts'
import { isObject } from '../core/wire.ts'

/** What a caller may say about who serves his call; see docs/routing.md. */

const maxNames = 32
const maxNameLength = 256
const maxFallbacks = 8
const maxPriceDigits = 20

/** `provider.sort` in the words that clients of other gateways say, beside our own strategies. */
const sorts: Readonly<Record<string, Strategy>> = { price: 'cost', latency: 'latency', throughput: 'latency' }

type Header = (name: string) => string | undefined

/** Headers that stand for fields of `provider`: lists with commas between their names, and single words. */
const listHeaders = {
  order: 'x-tollgate-order',
  only: 'x-tollgate-only',
  ignore: 'x-tollgate-ignore',
} as const
const wordHeaders = { region: 'x-tollgate-region', sort: 'x-tollgate-sort' } as const
const modelsHeader = 'x-tollgate-models'
const maxPriceHeader = 'x-tollgate-max-price'
const scenarioHeader = 'x-tollgate-scenario'
const decisive = [
  ...Object.values(listHeaders),
  ...Object.values(wordHeaders),
  modelsHeader,
  maxPriceHeader,
  scenarioHeader,
]

/** Of a request's headers those that decide who answers. */
export function routingHeaders(header: Header): readonly (readonly [name: string, value: string])[] {
  const given: (readonly [name: string, value: string])[] = []
  for (const name of decisive) {
    const value = header(name)
    if (value !== undefined) given.push([name, value])
  }
  return given
}

/**
 * Reads `models`, `provider`, `routing` and `session_id` of a body, and the headers that stand for them where a dialect
 * or an SDK has no room for fields; a field of the body comes before its header. Throws `invalid_value` that names what
 * is wrong.
 */
export function readWish(body: JsonObject, header: Header): Wish {
  const provider = { ...providerOf(header), ...objectAt(body, 'provider') }
  const routing: JsonObject = { scenario: header(scenarioHeader), ...objectAt(body, 'routing') }
  const session = nameAt(body['session_id'] ?? header('x-session-id'), 'session_id')
  const scenario = nameAt(routing['scenario'], 'routing.scenario')
  const region = nameAt(provider['region'], 'provider.region')
  const strategy = strategyOf(provider, routing)
  return {
    models: namesAt(body['models'] ?? listIn(header(modelsHeader)), 'models', maxFallbacks),
    order: namesAt(provider['order'], 'provider.order'),
    only: namesAt(provider['only'], 'provider.only'),
    ignore: namesAt(provider['ignore'], 'provider.ignore'),
    maxPrice: maxPriceOf(provider),
    explain: routing['explain'] === true || header('x-tollgate-route')?.trim().toLowerCase() === 'explain',
    ...(session !== undefined && { session }),
    ...(scenario !== undefined && { scenario }),
    ...(region !== undefined && { region }),
    ...(strategy !== undefined && { strategy }),
  }
}

/** What the headers say, as the fields that they stand for. */
function providerOf(header: Header): JsonObject {
  const maxPrice = header(maxPriceHeader)
  return {
    order: listIn(header(listHeaders.order)),
    only: listIn(header(listHeaders.only)),
    ignore: listIn(header(listHeaders.ignore)),
    region: header(wordHeaders.region)?.trim(),
    sort: header(wordHeaders.sort)?.trim(),
    max_price: maxPrice && pricesIn(maxPrice),
  }
}

/** Names with commas between them. */
function listIn(text: string | undefined): readonly string[] | undefined {
  return text === undefined || text.trim() === '' ? undefined : text.split(',').map((name) => name.trim())
}

/** `prompt=2.50, completion=10`, either of them or both. */
function pricesIn(text: string): JsonObject {
  const given = text.split(',').map((part) => /^\s*(prompt|completion)\s*=\s*(\S+)\s*$/.exec(part))
  if (!given.every((found) => found !== null))
    throw wrong('provider.max_price', `in the header ${maxPriceHeader} must be like "prompt=2.50, completion=10"`)
  return Object.fromEntries(given.map(([, name, price]) => [name, price]))
}

function objectAt(body: JsonObject, name: string): JsonObject {
  const value = body[name]
  if (value === undefined || value === null) return {}
  if (!isObject(value)) throw wrong(name, 'must be an object')
  return value
}

function nameAt(value: Json | undefined, name: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string' || value.length > maxNameLength)
    throw wrong(name, `must be a string of at most ${maxNameLength} characters`)
  return value
}

function namesAt(value: Json | undefined, name: string, most = maxNames): readonly string[] {
  if (value === undefined || value === null) return []
  const allowed = `must be a list of at most ${most} names`
  if (!Array.isArray(value) || value.length > most) throw wrong(name, allowed)
  return value.map((one: Json) => {
    if (typeof one !== 'string' || one === '' || one.length > maxNameLength) throw wrong(name, allowed)
    return one
  })
}

function strategyOf(provider: JsonObject, routing: JsonObject): Strategy | undefined {
  const named = routing['strategy'] ?? provider['sort']
  if (named === undefined || named === null) return undefined
  const param = routing['strategy'] === undefined ? 'provider.sort' : 'routing.strategy'
  const known = [...strategies, ...Object.keys(sorts)]
  if (typeof named !== 'string' || !known.includes(named)) throw wrong(param, `must be one of: ${known.join(', ')}`)
  return strategies.find((strategy) => strategy === named) ?? sorts[named]
}

function maxPriceOf(provider: JsonObject): Wish['maxPrice'] {
  const given = objectAt(provider, 'max_price')
  const [prompt, completion] = [priceAt(given, 'prompt'), priceAt(given, 'completion')]
  return { ...(prompt !== undefined && { prompt }), ...(completion !== undefined && { completion }) }
}

/** Money for a million tokens: a number or a decimal. */
function priceAt(given: JsonObject, name: string): bigint | undefined {
  const value = given[name]
  if (value === undefined || value === null) return undefined
  const text = typeof value === 'number' || typeof value === 'string' ? String(value) : ''
  const nanos = text.length <= maxPriceDigits ? parseMoney(text) : undefined
  if (nanos === undefined || nanos < 0n)
    throw wrong(`provider.max_price.${name}`, 'must be a price for a million tokens, such as "2.50"')
  return nanos
}

function wrong(param: string, what: string): GatewayError {
  return new GatewayError('invalid_value', `"${param}" ${what}.`, { param })
}
