import type { Call, Caller, Target } from '../core/call.ts'
import type { Catalog, Model } from '../core/catalog.ts'
import { members } from '../core/json-bytes.ts'

/*
 * What makes two requests the same. Names are made of everything that an answer depends on, so that no other account,
 * model or parameter can have the same one; they are hashed before anybody sees them.
 */

/** Raised when what is kept under a name changes its form or its meaning. */
const nameVersion = 1
/** They say nothing about the answer. Who answers may depend on the other fields of our own, so those count. */
const unread: ReadonlySet<string> = new Set(['cache', 'tags', 'session_id', 'stream'])
/** Every byte is a letter of its own, so that no two bodies become one text. */
const decoder = new TextDecoder('windows-1252')

/** Whose request it is, and what it is for. */
export interface Request {
  readonly caller: Caller
  readonly call: Call
  readonly model: Model
}

/**
 * The text that names a request among all that the gateway could answer alike. `wishes` are headers of our own that
 * decide who answers.
 */
export function requestText(
  { caller, call, model }: Request,
  catalog: Catalog,
  wishes: readonly (readonly [name: string, value: string])[] = [],
): string {
  const { dialect, operation, headers = {} } = call
  const passed = [...Object.entries(headers), ...wishes].toSorted(byName)
  const scope = [nameVersion, caller.accountId, dialect, operation, call.model, passed, versionOf(model, catalog)]
  return `${JSON.stringify(scope)}\n${bodyText(call.raw)}`
}

/** The text that names one request of an account, byte for byte and with the address that it came to. */
export function exactText({ caller, call, model }: Request, path: string): string {
  const { dialect, headers = {}, stream, form = 'sse' } = call
  const passed = Object.entries(headers).toSorted(byName)
  const scope = [nameVersion, caller.accountId, dialect, path, model.name, passed, stream, form]
  // A form's boundary is drawn anew for each try.
  const parts = call.parts?.map(({ bytes, ...part }) => [part.name, part.fileName, part.type, decoder.decode(bytes)])
  return `${JSON.stringify(scope)}\n${parts ? JSON.stringify(parts) : decoder.decode(call.raw)}`
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/**
 * A body in one form: its members by name, without white space, and without those that say nothing about the answer.
 * Values keep their spelling and their own order, because models read a schema's properties in the order they come in,
 * and a number that a double cannot hold is another one for a vendor. A name that is given twice counts twice.
 */
function bodyText(raw: Uint8Array): string {
  const kept = members(raw).flatMap(({ name, valueStart, valueEnd }) => {
    if (unread.has(name)) return []
    const value = withoutSpace(raw.subarray(valueStart, valueEnd))
    if (name === 'stream_options' && saysUsageAlone(value)) return []
    return [[name, value] as const]
  })
  return kept
    .toSorted(byName)
    .map(([name, value]) => `${JSON.stringify(name)}:${value}`)
    .join(',\n')
}

/** Usage is hidden from those who do not want it when the answer is told. */
function saysUsageAlone(value: string): boolean {
  return value === 'null' || /^\{(?:"include_usage":(?:true|false|null))?\}$/.test(value)
}

const quote = 0x22
const backslash = 0x5c

/** JSON without white space between its tokens. */
function withoutSpace(bytes: Uint8Array): string {
  const kept = new Uint8Array(bytes.length)
  let size = 0
  let isText = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (!isText && (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d))) continue
    kept[size++] = byte
    if (isText && byte === backslash) kept[size++] = bytes[++at] ?? 0
    else if (byte === quote) isText = !isText
  }
  return decoder.decode(kept.subarray(0, size))
}

/** Of a model as it is offered now: who serves it, and where. */
const versions = new WeakMap<Catalog, WeakMap<Model, string>>()

function versionOf(model: Model, catalog: Catalog): string {
  const known = versions.get(catalog) ?? new WeakMap<Model, string>()
  versions.set(catalog, known)
  const version = known.get(model) ?? JSON.stringify([model.name, model.maxOutputTokens, model.targets.map(placeOf)])
  known.set(model, version)
  return version

  function placeOf({ vendor, model: vendorModel, region = '' }: Target): readonly string[] {
    const { adapter = '', baseUrl = '' } = catalog.vendors.get(vendor) ?? {}
    return [vendor, vendorModel, region, adapter, baseUrl]
  }
}
