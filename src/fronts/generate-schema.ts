import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf } from '../core/wire.ts'
import { wrong } from './body.ts'
import { field } from './generate-fields.ts'

/** Requests are bounded to this depth when they are read, so that no schema goes deeper. */
const maxDepth = 64

/** Keywords that are the same in JSON Schema. Numbers may be written as texts, as Google writes long ones. */
const same = [
  'title',
  'description',
  'format',
  'pattern',
  'default',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'minProperties',
  'maxProperties',
  'minimum',
  'maximum',
] as const
const numeric = /^(min|max)/

/** A schema of Google's (OpenAPI's subset, types in capitals) as JSON Schema. Throws `invalid_value` beyond its depth. */
export function jsonSchema(schema: JsonObject, depth = 0): JsonObject {
  if (depth > maxDepth) throw wrong('parameters', `A schema nests deeper than ${maxDepth} levels.`)
  const out: Record<string, Json> = {}
  const type = typeOf(schema)
  if (type !== undefined) out['type'] = type
  for (const name of same) {
    const value = field(schema, name)
    if (value === undefined) continue
    out[name] = numeric.test(name) && typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  }
  const words = field(schema, 'enum')
  if (isList(words)) out['enum'] = field(schema, 'nullable') === true ? [...words, null] : words
  const required = field(schema, 'required')
  if (isList(required)) out['required'] = required
  const { properties, items } = schema
  if (isObject(properties)) out['properties'] = mapped(properties, depth)
  if (isObject(items)) out['items'] = jsonSchema(items, depth + 1)
  const variants = objectsOf(field(schema, 'anyOf'))
  if (variants.length > 0) out['anyOf'] = variants.map((variant) => jsonSchema(variant, depth + 1))
  return out
}

function typeOf(schema: JsonObject): Json | undefined {
  const { type } = schema
  if (typeof type !== 'string' || type === 'TYPE_UNSPECIFIED') return undefined
  const lower = type.toLowerCase()
  return field(schema, 'nullable') === true ? [lower, 'null'] : lower
}

function mapped(properties: JsonObject, depth: number): JsonObject {
  // Not by assignment: a property may be called "__proto__".
  return Object.fromEntries(
    Object.entries(properties).map(([name, property]) => [
      name,
      isObject(property) ? jsonSchema(property, depth + 1) : {},
    ]),
  )
}
