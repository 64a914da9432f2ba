import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { members } from '../core/json-bytes.ts'
import { checkBounds } from '../core/json-bounds.ts'
import { isObject } from '../core/wire.ts'

/** A parameter that cannot be: `param` in the caller's words. */
export function wrong(param: string, message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param })
}

/** A request's bytes without a byte order mark, and the object that they are. Throws `invalid_json`. */
export function readBody(bytes: Uint8Array): { readonly raw: Uint8Array; readonly body: JsonObject } {
  const raw = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
  if (raw.length === 0) throw new GatewayError('invalid_json', 'The body is empty. Send a JSON object.')
  checkBounds(raw)
  const body = decode(raw)
  if (!isObject(body)) throw new GatewayError('invalid_json', 'The body must be a JSON object.')
  return { raw, body }
}

function decode(raw: Uint8Array): Json {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(raw)
  } catch (error) {
    throw new GatewayError('invalid_json', 'The body is not valid UTF-8.', { cause: error })
  }
  try {
    return JSON.parse(text) as Json
  } catch {
    // The parser's own message quotes the body, which is the caller's prompt: it must not reach a log.
    throw new GatewayError('invalid_json', 'The body is not valid JSON.')
  }
}

/**
 * Two members of one name, or names that differ in case only: parsers disagree on which of them counts, so a vendor
 * could serve another model than the one that is paid for. `names` (lower case) are those that decide what is called
 * and what it may cost; vendors must read the same of them as we do.
 */
export function refuseDoubles(raw: Uint8Array, names: readonly string[]): void {
  const seen = new Set<string>()
  for (const { name } of members(raw)) {
    // Through upper case, so that "ſ" and the Kelvin sign become the letters that such parsers take them for.
    const lower = name.toUpperCase().toLowerCase()
    if (!names.includes(lower)) continue
    if (seen.has(lower)) throw wrong(lower, `"${lower}" is given twice. Give it once.`)
    if (name !== lower) throw wrong(lower, `Write "${lower}" in lower case.`)
    seen.add(lower)
  }
}
