/*
 * Byte-pair encoders take quadratic time on a long run without a boundary (50,000 times the letter "a": seconds), so no
 * encoder of ours ever sees more than one piece. The cuts depend on the text alone, never on the deltas it came in:
 * a piece is cut only when the whole window that decides about it is there.
 */

/** UTF-16 units that decide about one cut; every piece is shorter. */
const windowUnits = 512
/** Length of a piece where the window has no place to cut without a loss. */
const hardCutUnits = 256

/** Cuts a text that comes in deltas. */
export interface Cutter {
  /** The pieces that are whole now. */
  push(text: string): string[]
  /** What has not been cut yet: the last piece, if nothing more comes. Shorter than 512 units, often ''. */
  rest(): string
}

/** A cutter for one text. */
export function createCutter(): Cutter {
  let pending = ''
  return {
    push(text) {
      pending += text
      if (pending.length < windowUnits) return []
      const whole: string[] = []
      let start = 0
      for (let end = cutAfter(pending, start); end > start; end = cutAfter(pending, start)) {
        whole.push(pending.slice(start, end))
        start = end
      }
      pending = pending.slice(start)
      return whole
    },
    rest: () => pending,
  }
}

/** The pieces of a whole text, in order; joined they are the text. The empty text has none. */
export function* pieces(text: string): Generator<string, void> {
  let start = 0
  for (let end = cutAfter(text, start); end > start; end = cutAfter(text, start)) {
    yield text.slice(start, end)
    start = end
  }
  if (start < text.length) yield text.slice(start)
}

/**
 * About how many tokens a text has, without encoding it; rounded up. A token per 3 ASCII characters and one per other
 * UTF-16 unit: too many for plain prose, about right for Chinese and for code.
 */
export function roughTokens(text: string): number {
  const other = countNonAscii(text)
  return Math.ceil((text.length - other) / asciiPerToken) + other
}

/** ASCII characters that an estimate takes for one token: English has 4 to 5, code and JSON about 3. */
export const asciiPerToken = 3

/** UTF-16 units that are not ASCII; a character outside the basic plane has two, and two tokens or more. */
export function countNonAscii(text: string): number {
  let count = 0
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) count++
  return count
}

/** Where the piece that begins at `start` ends; `start` itself while fewer units than the window are there. */
function cutAfter(text: string, start: number): number {
  if (text.length - start < windowUnits) return start
  // Between a letter and a space before a letter every pre-tokenizer we know splits, so that this cut costs nothing.
  for (let at = start + windowUnits - 2; at > start; at--) {
    if (text.charCodeAt(at) === 0x20 && isLetter(text.charCodeAt(at - 1)) && isLetter(text.charCodeAt(at + 1)))
      return at
  }
  const end = start + hardCutUnits
  const splitsPair = isHighSurrogate(text.charCodeAt(end - 1)) && isLowSurrogate(text.charCodeAt(end))
  return splitsPair ? end - 1 : end
}

const letter = /\p{L}/u

function isLetter(unit: number): boolean {
  if (unit < 0x80) return (unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a
  return letter.test(String.fromCharCode(unit))
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit < 0xdc00
}

function isLowSurrogate(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000
}
