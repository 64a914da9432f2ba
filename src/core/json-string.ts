const quote = 0x22
const backslash = 0x5c
/** A search by the machine costs as much as some fifty steps of ours: short strings, and those full of escapes, need none. */
const nearBytes = 64

/** The closing quote of the JSON string that begins with the quote at `start`, or the end of the text. */
export function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1
  while (at < bytes.length) {
    const near = Math.min(at + nearBytes, bytes.length)
    for (; at < near; at++) {
      const byte = bytes[at]
      if (byte === quote) return at
      // What follows it is escaped, whatever it is.
      if (byte === backslash) at++
    }
    const found = bytes.indexOf(quote, at)
    if (found < 0) break
    let slashes = 0
    while (found - 1 - slashes >= at && bytes[found - 1 - slashes] === backslash) slashes++
    // An odd number of backslashes escapes the quote; an even number is pairs of them.
    if (slashes % 2 === 0) return found
    at = found + 1
  }
  return bytes.length
}
