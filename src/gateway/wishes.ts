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

/**
 * Reads `models`, `provider`, `routing` and `session_id` of a body, and the headers that stand for them where a dialect
 * or an SDK has no room for fields. Throws `invalid_value` that names what is wrong.
 */
export function readWish(body: JsonObject, header: Header): Wish {
  const provider = objectAt(body, 'provider')
  const routing = objectAt(body, 'routing')
  const session = nameAt(body['session_id'] ?? header('x-session-id'), 'session_id')
  const scenario = nameAt(routing['scenario'], 'routing.scenario')
  const region = nameAt(provider['region'], 'provider.region')
  const strategy = strategyOf(provider, routing)
  return {
    models: namesAt(body['models'], 'models', maxFallbacks),
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
