import type { Json, JsonObject } from '../core/call.ts'
import { isList, isObject, objectsOf } from '../core/wire.ts'
import { wrong } from './body.ts'

/*
 * Google's JSON takes every field in two spellings, `maxOutputTokens` and `max_output_tokens`. They are read as one;
 * both at once are refused, because nobody can tell which of them a vendor would take.
 */

/** The other spelling of a field. */
export function snake(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** The value of a field in either spelling; null is as good as absent. Throws `invalid_value` for both. */
export function field(object: JsonObject, camel: string): Json | undefined {
  const other = snake(camel)
  const value = object[camel] ?? undefined
  if (other === camel) return value
  const second = object[other] ?? undefined
  if (value !== undefined && second !== undefined)
    throw wrong(camel, `"${camel}" and "${other}" are one. Give it once.`)
  return value ?? second
}

/** A field that is an object; {} where there is none. */
export function objectField(object: JsonObject, camel: string): JsonObject {
  const value = field(object, camel)
  if (value === undefined) return {}
  if (!isObject(value)) throw wrong(camel, `"${camel}" must be an object.`)
  return value
}

/** A field that is a list of objects; one object stands for a list of it, as Google takes it too. */
export function listField(object: JsonObject, camel: string): readonly JsonObject[] {
  const value = field(object, camel)
  if (value === undefined) return []
  if (isObject(value)) return [value]
  if (!isList(value)) throw wrong(camel, `"${camel}" must be a list.`)
  const objects = objectsOf(value)
  if (objects.length < value.length) throw wrong(camel, `"${camel}" must be a list of objects.`)
  return objects
}

/** A whole number from 1 to `max`; undefined where there is none. */
export function wholeField(object: JsonObject, camel: string, max: number): number | undefined {
  const value = field(object, camel)
  if (value === undefined) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value
  throw wrong(camel, `"${camel}" must be a whole number from 1 to ${max}.`)
}

/** A number from 0 to `max`; undefined where there is none. */
export function numberField(object: JsonObject, camel: string, max: number): number | undefined {
  const value = field(object, camel)
  if (value === undefined) return undefined
  if (typeof value === 'number' && value >= 0 && value <= max) return value
  throw wrong(camel, `"${camel}" must be a number from 0 to ${max}.`)
}
