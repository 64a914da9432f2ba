import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { isList, isObject, objectsOf, stringOf } from '../core/wire.ts'

/*
 * Gemini takes a subset of OpenAPI's schemas and answers 400 to every keyword beyond it, so only what it knows is
 * copied (https://ai.google.dev/api/caching#Schema). The rest is said with what it knows, or left out: a looser schema
 * still describes every answer that the stricter one did.
 */

/** Deeper than any recorded schema; what lies below is left open. */
const maxDepth = 32
/** References may multiply a schema; the largest recorded one has some 400 nodes. */
const maxNodes = 5_000

/** Keywords that keep their name and their value, by the type that the value must have. */
const copied: Readonly<Record<string, 'number' | 'string'>> = {
  title: 'string',
  pattern: 'string',
  minItems: 'number',
  maxItems: 'number',
  minLength: 'number',
  maxLength: 'number',
  minProperties: 'number',
  maxProperties: 'number',
  minimum: 'number',
  maximum: 'number',
}

const types: Readonly<Record<string, string>> = {
  string: 'STRING',
  number: 'NUMBER',
  integer: 'INTEGER',
  boolean: 'BOOLEAN',
  array: 'ARRAY',
  object: 'OBJECT',
}

/** Any other format is answered with 400. */
const formats: Readonly<Record<string, readonly string[]>> = {
  STRING: ['date-time', 'enum'],
  NUMBER: ['float', 'double'],
  INTEGER: ['int32', 'int64'],
}

interface Walk {
  readonly root: Json
  /** The parameter that the schema came in, for the caller. */
  readonly param: string
  nodes: number
}

interface Place {
  readonly depth: number
  /** References that led here; one that comes again describes itself. */
  readonly refs: readonly string[]
}

/** A JSON Schema in Gemini's subset. Throws `invalid_value` that names `param` for one that cannot be read. */
export function geminiSchema(schema: Json, param: string): JsonObject {
  return convert({ root: schema, param, nodes: 0 }, schema, { depth: 0, refs: [] })
}

function fault({ param }: Walk, what: string): GatewayError {
  return new GatewayError('invalid_value', `The schema in "${param}" ${what}.`, { param })
}

function convert(walk: Walk, given: Json | undefined, place: Place): JsonObject {
  if (++walk.nodes > maxNodes) throw fault(walk, `has more than ${maxNodes} parts, its references resolved`)
  // Every schema must have a type; where any value may stand, a text can say all others.
  if (!isObject(given) || place.depth > maxDepth) return { type: 'STRING' }
  const opened = unfolded(walk, given, place)
  if (!opened) return { type: 'OBJECT' }
  const { schema, refs } = opened
  const inside = { depth: place.depth + 1, refs }
  const variants = variantsOf(schema)
  if (variants) return choice(walk, { schema, ...variants }, inside)
  return single(walk, schema, inside)
}

interface Unfolded {
  readonly schema: JsonObject
  readonly refs: readonly string[]
}

/** The schema with its reference and its `allOf` put in their places; undefined for one that contains itself. */
function unfolded(walk: Walk, given: JsonObject, place: Place): Unfolded | undefined {
  const { $ref: ref, allOf, ...own } = given
  let schema: JsonObject = own
  let refs = place.refs
  if (typeof ref === 'string') {
    if (refs.includes(ref) || refs.length >= maxDepth) return undefined
    const target = unfolded(walk, resolve(walk, ref), { ...place, refs: [...refs, ref] })
    if (!target) return undefined
    schema = merged(target.schema, schema)
    refs = target.refs
  }
  for (const part of objectsOf(allOf)) {
    if (++walk.nodes > maxNodes) throw fault(walk, `has more than ${maxNodes} parts, its references resolved`)
    const opened = place.depth > maxDepth ? undefined : unfolded(walk, part, { depth: place.depth + 1, refs })
    if (opened) schema = merged(schema, opened.schema)
  }
  return { schema, refs }
}

function resolve(walk: Walk, ref: string): JsonObject {
  let at: Json | undefined = walk.root
  const path = ref.startsWith('#') ? ref.slice(1).split('/').slice(1) : ['']
  for (const step of path) {
    const name = unescaped(step)
    at = isList(at)
      ? at[/^\d{1,6}$/.test(name) ? Number(name) : -1]
      : isObject(at) && Object.hasOwn(at, name)
        ? at[name]
        : undefined
  }
  if (!isObject(at)) throw fault(walk, `has a "$ref" to "${ref.slice(0, 100)}", which is not in it`)
  return at
}

/** A step of a JSON pointer in a URL fragment. */
function unescaped(step: string): string {
  let plain = step
  try {
    plain = decodeURIComponent(step)
  } catch {
    // A lone percent sign is one.
  }
  return plain.replaceAll('~1', '/').replaceAll('~0', '~')
}

/** Two schemas that both hold: properties and what is required come together, of the rest the second one stands. */
function merged(a: JsonObject, b: JsonObject): JsonObject {
  const both: Record<string, Json | undefined> = { ...a, ...b }
  if (isObject(a['properties']) && isObject(b['properties'])) {
    both['properties'] = Object.fromEntries([...Object.entries(a['properties']), ...Object.entries(b['properties'])])
  }
  if (isList(a['required']) && isList(b['required'])) both['required'] = [...a['required'], ...b['required']]
  return both
}

interface Variants {
  readonly variants: readonly JsonObject[]
  readonly isNullable: boolean
}

/** What `anyOf`, `oneOf` or a list of types offers, null apart; undefined where there is no choice to make. */
function variantsOf(schema: JsonObject): Variants | undefined {
  const { anyOf, oneOf, type } = schema
  const offered = isList(anyOf) ? anyOf : isList(oneOf) ? oneOf : undefined
  if (offered) {
    const all = objectsOf(offered)
    const variants = all.filter((variant) => !isNull(variant))
    // Variants such as `{required: [...]}` narrow what stands beside them, which cannot be said.
    if (variants.length > 0 && variants.every(isSchema)) return { variants, isNullable: variants.length < all.length }
  }
  if (!isList(type)) return undefined
  const names = type.filter((name) => typeof name === 'string')
  const variants = names.filter((name) => name !== 'null').map((name) => ({ ...schema, type: name }))
  return variants.length === 0 ? undefined : { variants, isNullable: names.includes('null') }
}

function isNull({ type, const: constant, enum: words }: JsonObject): boolean {
  return type === 'null' || constant === null || (isList(words) && words.length === 1 && words[0] === null)
}

const describing = ['type', '$ref', 'properties', 'items', 'enum', 'const', 'anyOf', 'oneOf', 'allOf']

function isSchema(variant: JsonObject): boolean {
  return describing.some((name) => variant[name] !== undefined)
}

/** Beside `anyOf` nothing else may stand, so each variant carries what was said of all of them. */
function choice(
  walk: Walk,
  { schema, variants, isNullable }: Variants & { schema: JsonObject },
  place: Place,
): JsonObject {
  const { anyOf: _, oneOf: __, type, title, ...rest } = schema
  const lone = variants.length === 1
  const said = { ...rest, ...(lone && { title }), ...(type !== undefined && { type }) }
  // Variants out of a list of types have it all already.
  const shared = isList(type) ? {} : said
  const converted = variants.map((variant) => nullable(convert(walk, merged(shared, variant), place), isNullable))
  const [first] = converted
  if (lone && first) return first
  const words = converted.map(({ enum: list }) => list)
  if (first && words.every(isList) && converted.every((one) => one['type'] === 'STRING')) {
    return { ...first, enum: [...new Set(words.flat())] }
  }
  return { anyOf: converted }
}

function nullable(schema: JsonObject, isNullable: boolean): JsonObject {
  if (!isNullable) return schema
  const { anyOf } = schema
  if (isList(anyOf)) return { anyOf: objectsOf(anyOf).map((variant) => nullable(variant, true)) }
  return { ...schema, nullable: true }
}

/** A schema of one type. */
function single(walk: Walk, schema: JsonObject, place: Place): JsonObject {
  const type = typeOf(schema)
  const out: Record<string, Json | undefined> = { type }
  for (const [name, kind] of Object.entries(copied)) {
    const value = schema[name]
    if (typeof value === kind) out[name] = value
  }
  const format = stringOf(schema['format'])
  if (formats[type]?.includes(format)) out['format'] = format
  if (schema['nullable'] === true) out['nullable'] = true
  const { words, hint } = wordsOf(schema, type)
  if (words) out['enum'] = words
  const description = [stringOf(schema['description']), hint].filter((text) => text !== '').join(' ')
  if (description !== '') out['description'] = description
  bound(out, schema, type)
  if (type === 'OBJECT') Object.assign(out, members(walk, schema, place))
  if (type === 'ARRAY') out['items'] = convert(walk, itemOf(schema), place)
  return out
}

function typeOf({ type, properties, items, prefixItems, enum: words, const: constant }: JsonObject): string {
  const named = types[stringOf(type).toLowerCase()]
  if (named) return named
  if (isObject(properties)) return 'OBJECT'
  if (items !== undefined || prefixItems !== undefined) return 'ARRAY'
  const [first] = isList(words) ? words : [constant]
  if (typeof first === 'number') return Number.isInteger(first) ? 'INTEGER' : 'NUMBER'
  return typeof first === 'boolean' ? 'BOOLEAN' : 'STRING'
}

/** Only texts may be listed; of anything else the model is told in words. */
function wordsOf(
  { enum: listed, const: constant }: JsonObject,
  type: string,
): { words?: readonly Json[]; hint: string } {
  const all = isList(listed) ? listed : constant === undefined ? [] : [constant]
  const some = all.filter((value) => value !== null && typeof value !== 'object')
  if (some.length === 0) return { hint: '' }
  if (type === 'STRING') {
    const words = some.filter((value) => typeof value === 'string' && value !== '')
    return words.length > 0 ? { words, hint: '' } : { hint: '' }
  }
  return { hint: `One of: ${some.join(', ')}.` }
}

/** Borders that are not reached, as those that are, where the numbers are whole. */
function bound(out: Record<string, Json | undefined>, schema: JsonObject, type: string): void {
  const { exclusiveMinimum: above, exclusiveMaximum: below } = schema
  const step = type === 'INTEGER' ? 1 : 0
  if (typeof above === 'number') out['minimum'] ??= above + step
  if (typeof below === 'number') out['maximum'] ??= below - step
}

function members(walk: Walk, { properties, required }: JsonObject, place: Place): JsonObject {
  if (!isObject(properties)) return {}
  // Not by assignment: a property may be called "__proto__".
  const converted = Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [name, convert(walk, property, place)]),
  )
  const names = Object.keys(converted)
  if (names.length === 0) return {}
  const needed = isList(required) ? [...new Set(required)].filter((name) => names.includes(stringOf(name))) : []
  return { properties: converted, ...(needed.length > 0 && { required: needed }), propertyOrdering: names }
}

/** The schema of an array's items; a tuple's items are any of its places. */
function itemOf({ items, prefixItems }: JsonObject): Json | undefined {
  const places = isList(prefixItems) ? prefixItems : isList(items) ? items : undefined
  if (!places) return items
  return places.length > 1 ? { anyOf: places } : places[0]
}
