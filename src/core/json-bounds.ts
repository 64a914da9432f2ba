import { GatewayError } from './errors.ts'
import { stringEnd } from './json-string.ts'

/*
 * Bounds of a JSON text, found by one pass over its bytes before anything parses it: a parser would build the whole
 * value first, and what walks that value later would run out of stack.
 */

/** No request we have seen nests deeper than 30, tool schemas included. */
export const maxDepth = 64
/** Members of all objects together; a conversation of ten thousand messages has some fifty thousand. */
export const maxMembers = 100_000
/** Items of all lists and members together. */
const maxItems = 1_000_000

const quote = 0x22
const comma = 0x2c
const colon = 0x3a

/** Bytes that are looked at in one turn where the text is looked at in turns: about a millisecond's worth. */
const scanBytes = 256 * 1024

interface Scan {
  at: number
  depth: number
  colons: number
  commas: number
}

interface Large {
  /** Lists and objects that are longer than this are noted. */
  readonly piece: number
  /** Where those that are open begin, by their depth. */
  readonly starts: Int32Array
  readonly ends: Map<number, number>
}

/** Throws `invalid_json` where the text nests too deep or holds too many values. It does not tell bad JSON from good. */
export function checkBounds(bytes: Uint8Array): void {
  const scan: Scan = { at: 0, depth: 0, colons: 0, commas: 0 }
  scanTo(bytes, scan, { to: bytes.length, large: undefined })
  refuseMany(scan)
}

/**
 * The same, in turns. Gives where each list and object that is longer than `piece` ends, by where it begins: of bad JSON
 * anything.
 */
export function* largeValues(bytes: Uint8Array, piece: number): Generator<void, ReadonlyMap<number, number>> {
  const scan: Scan = { at: 0, depth: 0, colons: 0, commas: 0 }
  const large: Large = { piece, starts: new Int32Array(maxDepth + 1), ends: new Map() }
  while (scan.at < bytes.length) {
    scanTo(bytes, scan, { to: Math.min(bytes.length, scan.at + scanBytes), large })
    yield
  }
  refuseMany(scan)
  return large.ends
}

/** Goes on from where the scan stands to `to`, or to the end of a string that crosses it. */
function scanTo(bytes: Uint8Array, scan: Scan, { to, large }: { to: number; large: Large | undefined }): void {
  let { at, depth, colons, commas } = scan
  for (; at < to; at++) {
    const byte = bytes[at]
    if (byte === quote) at = stringEnd(bytes, at)
    else if (byte === comma) commas++
    else if (byte === colon) colons++
    // "[" and "{", "]" and "}" differ in one bit.
    else if (byte !== undefined && (byte | 0x20) === 0x7b) {
      depth++
      if (depth > maxDepth) throw new GatewayError('invalid_json', `The body nests deeper than ${maxDepth} levels.`)
      if (large) large.starts[depth] = at
    } else if (byte !== undefined && (byte | 0x20) === 0x7d) {
      if (large) note(large, depth, at + 1)
      depth--
    }
  }
  Object.assign(scan, { at, depth, colons, commas })
}

function note({ piece, starts, ends }: Large, depth: number, end: number): void {
  const start = depth > 0 ? starts[depth] : undefined
  if (start !== undefined && end - start > piece) ends.set(start, end)
}

function refuseMany({ colons, commas }: Scan): void {
  if (colons > maxMembers) throw new GatewayError('invalid_json', `The body has more than ${maxMembers} members.`)
  if (commas > maxItems) throw new GatewayError('invalid_json', `The body has more than ${maxItems} items.`)
}
