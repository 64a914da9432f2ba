import { GatewayError } from './errors.ts'
import { stringEnd } from './json-string.ts'
import { onceFor } from './once-for.ts'

/*
 * Edits of a JSON object's text that leave every other byte as it was: numbers keep their spelling, unknown members
 * their order. Nothing is parsed but names. The text must be valid JSON, parsed by the caller before; what the scan
 * walks over and finds broken is a RangeError.
 */

/** One member of an object: offsets into its text. */
export interface Member {
  /** With its escapes resolved, so that "mod\u0065l" is "model". */
  readonly name: string
  /** The first byte after the brace or comma before the member; white space included. */
  readonly start: number
  /** The opening quote of the name. */
  readonly nameStart: number
  readonly valueStart: number
  /** The first byte after the value. */
  readonly valueEnd: number
  /** The comma or brace that ends the member; white space before it included. */
  readonly end: number
}

/** Members of one object; beyond it the text is refused. No API of a vendor we know has a hundred. */
const maxMembers = 10_000

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const backslash = 0x5c
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/**
 * All members of the object, duplicates included, in the order of the text. One pass.
 * Throws GatewayError `invalid_value` beyond 10,000 members.
 */
export function members(bytes: Uint8Array): readonly Member[] {
  return walked(bytes)
}

/** A request is looked at by several who know nothing of each other, and no text is changed once it is there. */
const walked = onceFor((bytes: Uint8Array): readonly Member[] => {
  const found: Member[] = []
  walk(bytes, (member) => {
    found.push(member)
    return true
  })
  return found
})

/**
 * The first member of that name. It stops there, so it neither sees duplicates (JSON.parse takes the last one) nor
 * whether the rest is well formed: for looking, not for deciding what a vendor will read.
 */
export function findMember(bytes: Uint8Array, name: string): Member | undefined {
  let found: Member | undefined
  walk(bytes, (member) => {
    if (member.name === name) found = member
    return found === undefined
  })
  return found
}

/** The text with another value for the member, and for each duplicate of it. Without the member it stays as it is. */
export function replaceValue(bytes: Uint8Array, name: string, value: Uint8Array): Uint8Array {
  const hits = members(bytes).filter((member) => member.name === name)
  return splice(
    bytes,
    hits.map((hit) => ({ start: hit.valueStart, end: hit.valueEnd, insert: value })),
  )
}

/** The text without the members of these names. */
export function removeMembers(bytes: Uint8Array, names: Iterable<string>): Uint8Array {
  const gone = new Set(names)
  const all = members(bytes)
  return splice(
    bytes,
    cutsOf(all, (member) => gone.has(member.name)),
  )
}

/** The text in which the member has this value: replaced where there is one, else added as the last. One is left. */
export function setMember(bytes: Uint8Array, name: string, value: Uint8Array): Uint8Array {
  const all = members(bytes)
  const hit = all.findLast((member) => member.name === name)
  if (!hit) return splice(bytes, [insertion(bytes, all.at(-1), { name, value })])
  // The duplicates come before the one that stays, and so do their cuts.
  const edits = cutsOf(all, (member) => member.name === name && member !== hit)
  return splice(bytes, [...edits, { start: hit.valueStart, end: hit.valueEnd, insert: value }])
}

/**
 * The text in which the member `inner` of the object member `outer` has this value. An `outer` that is missing or null
 * becomes an object with that member alone; one that is anything else but an object is a RangeError.
 */
export function setNested(
  bytes: Uint8Array,
  path: readonly [outer: string, inner: string],
  value: Uint8Array,
): Uint8Array {
  const [outer, inner] = path
  const hit = members(bytes).findLast((member) => member.name === outer)
  const old = hit ? bytes.subarray(hit.valueStart, hit.valueEnd) : empty
  const isNull = old.length === 4 && old[0] === 0x6e
  const object = setMember(hit && !isNull ? old : emptyObject, inner, value)
  return setMember(bytes, outer, object)
}

const empty = new Uint8Array(0)
const emptyObject = encoder.encode('{}')

interface Edit {
  readonly start: number
  readonly end: number
  readonly insert: Uint8Array
}

/** Cuts members out with one comma each: the one before, or the one after where nothing that stays comes before. */
function cutsOf(all: readonly Member[], isGone: (member: Member) => boolean): Edit[] {
  const edits: Edit[] = []
  let kept = 0
  for (const [index, member] of all.entries()) {
    if (!isGone(member)) kept++
    else if (kept > 0) edits.push({ start: member.start - 1, end: member.end, insert: empty })
    else edits.push({ start: member.start, end: index + 1 < all.length ? member.end + 1 : member.end, insert: empty })
  }
  return edits
}

function insertion(bytes: Uint8Array, last: Member | undefined, member: { name: string; value: Uint8Array }): Edit {
  const at = last ? last.valueEnd : skipSpace(bytes, afterMark(bytes)) + 1
  const head = encoder.encode(`${last ? ',' : ''}${JSON.stringify(member.name)}:`)
  const insert = new Uint8Array(head.length + member.value.length)
  insert.set(head)
  insert.set(member.value, head.length)
  return { start: at, end: at, insert }
}

/** Applies edits that are in order and do not overlap, in one copy. */
function splice(bytes: Uint8Array, edits: readonly Edit[]): Uint8Array {
  if (edits.length === 0) return bytes
  let size = bytes.length
  for (const edit of edits) size += edit.insert.length - (edit.end - edit.start)
  const edited = new Uint8Array(size)
  let from = 0
  let to = 0
  for (const edit of edits) {
    edited.set(bytes.subarray(from, edit.start), to)
    to += edit.start - from
    edited.set(edit.insert, to)
    to += edit.insert.length
    from = edit.end
  }
  edited.set(bytes.subarray(from), to)
  return edited
}

/** Tells each member until `take` has enough. */
function walk(bytes: Uint8Array, take: (member: Member) => boolean): void {
  let start = expect(bytes, skipSpace(bytes, afterMark(bytes)), openBrace)
  for (let seen = 0; ; seen++) {
    const nameStart = skipSpace(bytes, start)
    if (seen === 0 && bytes[nameStart] === closeBrace) return
    if (seen === maxMembers) {
      throw new GatewayError('invalid_value', `The object has more than ${maxMembers} members. Send fewer.`)
    }
    const nameEnd = endOfString(bytes, nameStart)
    const valueStart = skipSpace(bytes, expect(bytes, skipSpace(bytes, nameEnd), colon))
    const valueEnd = endOfValue(bytes, valueStart)
    const end = skipSpace(bytes, valueEnd)
    const name = readName(bytes, nameStart, nameEnd)
    if (!take({ name, start, nameStart, valueStart, valueEnd, end }) || bytes[end] === closeBrace) return
    start = expect(bytes, end, comma)
  }
}

/** The offset after the byte order mark that a decoder of the whole text drops. */
function afterMark(bytes: Uint8Array): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]) at++
  return at
}

/** The offset after the byte that must stand here. */
function expect(bytes: Uint8Array, at: number, byte: number): number {
  if (bytes[at] !== byte) throw malformed(at)
  return at + 1
}

/** The offset after the string that begins at the quote `start`. */
function endOfString(bytes: Uint8Array, start: number): number {
  expect(bytes, start, quote)
  const end = stringEnd(bytes, start)
  if (end === bytes.length) throw malformed(end)
  return end + 1
}

/** The offset after the value. Depth is a counter, not recursion, so that deep nesting costs nothing. */
function endOfValue(bytes: Uint8Array, start: number): number {
  const first = bytes[start]
  if (first === quote) return endOfString(bytes, start)
  if (first !== openBrace && first !== openBracket) return endOfScalar(bytes, start)
  let depth = 0
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === quote) at = endOfString(bytes, at) - 1
    else if (byte === openBrace || byte === openBracket) depth++
    else if ((byte === closeBrace || byte === closeBracket) && --depth === 0) return at + 1
  }
  throw malformed(bytes.length)
}

/** Numbers, true, false and null: letters, digits, signs and dots. */
function endOfScalar(bytes: Uint8Array, start: number): number {
  let at = start
  for (let byte = bytes[at]; byte !== undefined && isScalar(byte); byte = bytes[at]) at++
  if (at === start) throw malformed(at)
  return at
}

function isScalar(byte: number): boolean {
  return (
    byte > 0x20 && byte !== comma && byte !== closeBrace && byte !== closeBracket && byte !== quote && byte !== colon
  )
}

function readName(bytes: Uint8Array, start: number, end: number): string {
  return plainName(bytes, start + 1, end - 1) ?? decodedName(bytes, start, end)
}

const longestPlainName = 64

/** Nearly every name: short and of ASCII, where a decoder costs more than the letters. */
function plainName(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > longestPlainName) return undefined
  let name = ''
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    if (byte >= 0x80 || byte === backslash) return undefined
    name += String.fromCharCode(byte)
  }
  return name
}

function decodedName(bytes: Uint8Array, start: number, end: number): string {
  // The quotes are decoded too: at the very start the decoder would drop a U+FEFF that belongs to the name.
  const text = decoder.decode(bytes.subarray(start, end))
  if (!text.includes('\\')) return text.slice(1, -1)
  try {
    return String(JSON.parse(text))
  } catch (error) {
    throw malformed(start, error)
  }
}

function malformed(at: number, cause?: unknown): RangeError {
  return new RangeError(`the text is not a JSON object: byte ${at}`, cause === undefined ? undefined : { cause })
}
