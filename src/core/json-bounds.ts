import { GatewayError } from './errors.ts'

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
const backslash = 0x5c

/** Throws `invalid_json` where the text nests too deep or holds too many values. It does not tell bad JSON from good. */
export function checkBounds(bytes: Uint8Array): void {
  let depth = 0
  let colons = 0
  let commas = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === quote) at = stringEnd(bytes, at)
    else if (byte === comma) commas++
    else if (byte === colon) colons++
    // "[" and "{", "]" and "}" differ in one bit.
    else if (byte !== undefined && (byte | 0x20) === 0x7b) depth++
    else if (byte !== undefined && (byte | 0x20) === 0x7d) depth--
    if (depth > maxDepth) throw new GatewayError('invalid_json', `The body nests deeper than ${maxDepth} levels.`)
  }
  if (colons > maxMembers) throw new GatewayError('invalid_json', `The body has more than ${maxMembers} members.`)
  if (commas > maxItems) throw new GatewayError('invalid_json', `The body has more than ${maxItems} items.`)
}

/** The closing quote of the string that begins at `start`, or the end of the text. */
function stringEnd(bytes: Uint8Array, start: number): number {
  for (let at = bytes.indexOf(quote, start + 1); at >= 0; at = bytes.indexOf(quote, at + 1)) {
    let slashes = 0
    while (bytes[at - 1 - slashes] === backslash) slashes++
    // An odd number of backslashes escapes the quote.
    if (slashes % 2 === 0) return at
  }
  return bytes.length
}
