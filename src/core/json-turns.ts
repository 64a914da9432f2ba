import type { Json } from './call.ts'
import { largeValues } from './json-bounds.ts'
import { stringEnd } from './json-string.ts'

/*
 * JSON.parse stops everything else for as long as it takes: some 8 ms for a megabyte of small values, 50 ms for one of
 * ninety thousand names. Here a long text is parsed in pieces, between which others may have their turn. The result,
 * and what is refused, is the same.
 */

/** About what is parsed in one turn: some 2 ms of what is slowest. */
const pieceBytes = 32 * 1024

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

/** UTF-8 is decoded by pieces, which begin and end between values: a mark at the beginning of one is no mark. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * What JSON.parse makes of a text, to be driven piece by piece. Throws `invalid_json` beyond the bounds of
 * `checkBounds`, a TypeError for what is no UTF-8, and a SyntaxError for what is no JSON.
 */
export function* parseInTurns(bytes: Uint8Array, piece = pieceBytes): Generator<void, Json> {
  const ends = yield* largeValues(bytes, piece)
  const start = skipSpace(bytes, 0)
  const end = ends.get(start)
  if (end === undefined) return parse(bytes.subarray(start))
  if (skipSpace(bytes, end) !== bytes.length) throw malformed()
  return yield* readLarge({ bytes, piece, ends }, start, end)
}

interface Text {
  readonly bytes: Uint8Array
  readonly piece: number
  /** Where each list and object that is larger than a piece ends, by where it begins. */
  readonly ends: ReadonlyMap<number, number>
}

function readLarge(text: Text, start: number, end: number): Generator<void, Json> {
  return text.bytes[start] === openBrace ? readObject(text, start, end) : readList(text, start, end)
}

function* readList(text: Text, start: number, end: number): Generator<void, Json> {
  const { bytes } = text
  const list: Json[] = []
  const inner = end - 1
  if (bytes[inner] !== closeBracket) throw malformed()
  for (const run of runs(text, start + 1, inner)) {
    if (run.kind === 'small') for (const item of parseList(bytes.subarray(run.start, run.end))) list.push(item)
    else {
      if (skipSpace(bytes, run.itemStart) !== run.start) throw malformed()
      list.push(yield* readLarge(text, run.start, run.end))
    }
    yield
  }
  return list
}

function* readObject(text: Text, start: number, end: number): Generator<void, Json> {
  const { bytes } = text
  const object: Record<string, Json> = {}
  const inner = end - 1
  if (bytes[inner] !== closeBrace) throw malformed()
  for (const run of runs(text, start + 1, inner)) {
    if (run.kind === 'small') {
      const part = parseObject(bytes.subarray(run.start, run.end))
      for (const name of Object.keys(part)) define(object, name, part[name])
    } else {
      const name = readName(bytes.subarray(run.itemStart, run.start))
      define(object, name, yield* readLarge(text, run.start, run.end))
    }
    yield
  }
  return object
}

/** A name that an assignment would take for something else is a name like any other in JSON. */
function define(object: Record<string, Json>, name: string, value: Json | undefined): void {
  if (value === undefined) return
  if (name !== '__proto__') object[name] = value
  else Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
}

type Run =
  /** Items between commas, about a piece of them. */
  | { readonly kind: 'small'; readonly start: number; readonly end: number }
  /** One item whose value is larger than a piece. It begins at `itemStart`, with its name in an object. */
  | { readonly kind: 'large'; readonly itemStart: number; readonly start: number; readonly end: number }

/** The items of a list or the members of an object, those that are small together. An empty one has no run. */
function* runs({ bytes, piece, ends }: Text, from: number, to: number): Generator<Run, void> {
  if (skipSpace(bytes, from) === to) return
  let runStart = from
  let itemStart = from
  while (itemStart <= to) {
    const { at, large } = endOfItem({ bytes, ends }, itemStart, to)
    const isLast = at === to
    if (large !== undefined) {
      if (itemStart > runStart) yield { kind: 'small', start: runStart, end: itemStart - 1 }
      yield { kind: 'large', itemStart, ...large }
      runStart = at + 1
    } else if (isLast || at - runStart > piece) {
      yield { kind: 'small', start: runStart, end: at }
      runStart = at + 1
    }
    if (isLast) return
    itemStart = at + 1
  }
  throw malformed()
}

interface ItemEnd {
  /** Of the comma behind the item, or the end of all items. */
  readonly at: number
  /** The value, where it is larger than a piece. */
  readonly large: { readonly start: number; readonly end: number } | undefined
}

function endOfItem({ bytes, ends }: Pick<Text, 'bytes' | 'ends'>, from: number, to: number): ItemEnd {
  let depth = 0
  for (let at = from; at < to; at++) {
    const byte = bytes[at]
    if (byte === quote) at = endOfString(bytes, at) - 1
    else if (byte === comma && depth === 0) return { at, large: undefined }
    else if (byte === openBrace || byte === openBracket) {
      const end = depth === 0 ? ends.get(at) : undefined
      if (end !== undefined) return behindLarge(bytes, { start: at, end }, to)
      depth++
    } else if (byte === closeBrace || byte === closeBracket) depth--
  }
  return { at: to, large: undefined }
}

/** Behind a large value there may be nothing but space before the comma. */
function behindLarge(bytes: Uint8Array, large: { start: number; end: number }, to: number): ItemEnd {
  const at = skipSpace(bytes, large.end)
  if (at !== to && bytes[at] !== comma) throw malformed()
  return { at, large }
}

function parse(bytes: Uint8Array): Json {
  return JSON.parse(decoder.decode(bytes)) as Json
}

/** At least one item: between two commas there must be something. */
function parseList(items: Uint8Array): readonly Json[] {
  const list = JSON.parse(`[${decoder.decode(items)}]`) as readonly Json[]
  if (list.length === 0) throw malformed()
  return list
}

function parseObject(items: Uint8Array): Readonly<Record<string, Json>> {
  const object = JSON.parse(`{${decoder.decode(items)}}`) as Readonly<Record<string, Json>>
  for (const _ in object) return object
  throw malformed()
}

/** The name before a value: a string and a colon. */
function readName(bytes: Uint8Array): string {
  const last = bytes.findLastIndex((byte) => byte > 0x20)
  const name = bytes[last] === colon ? parse(bytes.subarray(0, last)) : undefined
  if (typeof name !== 'string') throw malformed()
  return name
}

/** The offset after the string that begins at the quote `start`. */
function endOfString(bytes: Uint8Array, start: number): number {
  const end = stringEnd(bytes, start)
  if (end === bytes.length) throw malformed()
  return end + 1
}

function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from
  for (let byte = bytes[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]) at++
  return at
}

function malformed(): SyntaxError {
  return new SyntaxError('this is not JSON')
}
