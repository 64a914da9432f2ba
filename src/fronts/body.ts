import type { Json, JsonObject } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { members } from '../core/json-bytes.ts'
import { checkBounds } from '../core/json-bounds.ts'
import { parseInTurns } from '../core/json-turns.ts'
import { isObject } from '../core/wire.ts'

/** A parameter that cannot be: `param` in the caller's words. */
export function wrong(param: string, message: string): GatewayError {
  return new GatewayError('invalid_value', message, { param })
}

/** A body up to this length is read at once: that takes a few milliseconds at most, and turns take time too. */
export const longBytes = 256 * 1024

interface Body {
  /** The request's bytes without a byte order mark. */
  readonly raw: Uint8Array
  readonly body: JsonObject
}

/** Long bodies that were read in turns, by their bytes, until somebody asks for them. */
const readAhead = new WeakMap<Uint8Array, Body>()

/**
 * Reads a long body ahead, in turns between which others may go on, so that `readBody` finds it done. Short ones are
 * left to it. Throws `invalid_json`.
 */
export async function readBodyAhead(bytes: Uint8Array, turn: () => Promise<void>): Promise<void> {
  if (bytes.length <= longBytes) return
  const raw = withoutMark(bytes)
  const parsing = parseInTurns(raw)
  for (;;) {
    const step = decode(() => parsing.next())
    if (step.done) {
      readAhead.set(bytes, { raw, body: asObject(step.value) })
      // The rest of the reading comes next, and it has a turn of its own.
      return turn()
    }
    await turn()
  }
}

/** A request's bytes without a byte order mark, and the object that they are. Throws `invalid_json`. */
export function readBody(bytes: Uint8Array): Body {
  const ahead = readAhead.get(bytes)
  if (ahead) return ahead
  const raw = withoutMark(bytes)
  checkBounds(raw)
  return { raw, body: asObject(decode(() => JSON.parse(decoder.decode(raw)) as Json)) }
}

const decoder = new TextDecoder('utf-8', { fatal: true })

function withoutMark(bytes: Uint8Array): Uint8Array {
  const raw = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
  if (raw.length === 0) throw new GatewayError('invalid_json', 'The body is empty. Send a JSON object.')
  return raw
}

function asObject(body: Json): JsonObject {
  if (!isObject(body)) throw new GatewayError('invalid_json', 'The body must be a JSON object.')
  return body
}

function decode<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof GatewayError) throw error
    if (error instanceof TypeError)
      throw new GatewayError('invalid_json', 'The body is not valid UTF-8.', { cause: error })
    // The parser's own message quotes the body, which is the caller's prompt: it must not reach a log.
    throw new GatewayError('invalid_json', 'The body is not valid JSON.')
  }
}

/** Nearly all names that requests have. */
const lowerCase = /^[a-z_]+$/

/**
 * Two members of one name, or names that differ in case only: parsers disagree on which of them counts, so a vendor
 * could serve another model than the one that is paid for. `names` (lower case) are those that decide what is called
 * and what it may cost; vendors must read the same of them as we do.
 */
export function refuseDoubles(raw: Uint8Array, names: readonly string[]): void {
  const seen = new Set<string>()
  for (const { name } of members(raw)) {
    // Through upper case, so that "ſ" and the Kelvin sign become the letters that such parsers take them for.
    const lower = lowerCase.test(name) ? name : name.toUpperCase().toLowerCase()
    if (!names.includes(lower)) continue
    if (seen.has(lower)) throw wrong(lower, `"${lower}" is given twice. Give it once.`)
    if (name !== lower) throw wrong(lower, `Write "${lower}" in lower case.`)
    seen.add(lower)
  }
}
