import { onceForLasting } from '../core/once-for.ts'

/**
 * JSON in which a bigint is `{"$bigint":"digits"}`. Nothing of ours has a field of that name. Values are plain: what
 * JSON has, bigints, and members that are undefined, which are left out.
 */
export function printJson(value: unknown): string {
  // By hand, because JSON.stringify asks its function about every member only to find the bigints.
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'bigint':
      return `{"$bigint":"${value}"}`
    case 'object':
      if (value === null) return 'null'
      return Array.isArray(value) ? printList(value) : printObject(value as Readonly<Record<string, unknown>>)
    case 'number':
      return Number.isFinite(value) ? `${value}` : 'null'
    default:
      return String(value)
  }
}

function printList(list: readonly unknown[]): string {
  let text = '['
  for (let at = 0; at < list.length; at++) text += at === 0 ? printJson(list[at]) : `,${printJson(list[at])}`
  return `${text}]`
}

function printObject(object: Readonly<Record<string, unknown>>): string {
  let text = ''
  for (const name in object) {
    const value = object[name]
    if (value === undefined) continue
    const printed = name === lasting && isObject(value) ? printLasting(value) : printJson(value)
    text += `${text === '' ? '{' : ','}${printName(name)}${printed}`
  }
  return text === '' ? '{}' : `${text}}`
}

/** Prices are a third of a record, are never changed once made, and come with many records. */
const lasting = 'prices'
const printLasting = onceForLasting(printObject)

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Our records have some hundred names in all; what comes from outside as a name must not fill the memory. */
const mostNames = 1_000
const names = new Map<string, string>()

function printName(name: string): string {
  const known = names.get(name)
  if (known !== undefined) return known
  const text = `${JSON.stringify(name)}:`
  if (names.size < mostNames) names.set(name, text)
  return text
}

/** Reads what `printJson` wrote. Throws SyntaxError for anything that is not JSON. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, revive)
}

function revive(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('$bigint' in value)) return value
  return typeof value.$bigint === 'string' ? BigInt(value.$bigint) : value
}
