import { concat } from './concat.ts'
import { members } from './json-bytes.ts'

/*
 * Events of a stream that differ in a few strings only. Nearly all of a long answer are events that are alike byte for
 * byte but for the text in them, an id or a stamp. What such an event says, and what is made of it, is worked out once
 * in full; the next ones are recognised by their bytes, which costs a small part of parsing them.
 *
 * Why that is safe: the places that may differ lie inside JSON strings, between their quotes. Bytes there that are no
 * quote, no backslash and no control character cannot end the string, so that all around them means what it meant.
 */

const quote = 0x22
const backslash = 0x5c
const firstPrintable = 0x20
/** The text, and what vendors put beside it. */
const mostHoles = 6
/** An event is compared whole; a longer one is read in full. */
const mostBytes = 4_096
const encoder = new TextEncoder()

/** The bytes around the places that may differ: one more than there are places. */
export interface Shape {
  /** Of the event, beside its data. */
  readonly name: string
  readonly literals: readonly Uint8Array[]
  /** Which place is the text. */
  readonly textHole: number
}

/** Where an event of a shape differs: start and end of each place in turn, in bytes of its data. */
export type Places = readonly number[]

/** How an event is like those of a shape. */
export interface Likeness {
  readonly shape: Shape
  /** The data that was looked at: a reader may have been given other bytes than those of the event. */
  readonly data: Uint8Array
  readonly places: Places
}

interface Sample {
  readonly name: string
  readonly data: Uint8Array
  /** What the event says, which must stand in it as it is. */
  readonly text: string
  /** Members at the top whose strings nobody reads. */
  readonly unread: readonly string[]
}

/** The shape of an event; undefined where its text is not written plainly in it. */
export function shapeOf({ name, data, text, unread }: Sample): Shape | undefined {
  if (text === '' || data.length > mostBytes || data.includes(backslash)) return undefined
  const start = placeOf(data, text)
  if (start === undefined) return undefined
  const holes = unreadPlaces(data, unread).filter((hole) => hole.end <= start - 1 || hole.start > start)
  const own = { start, end: start + encoder.encode(text).length }
  const all = [...holes, own].toSorted((a, b) => a.start - b.start)
  if (all.length > mostHoles) return undefined
  const literals: Uint8Array[] = []
  let at = 0
  for (const hole of all) {
    literals.push(data.slice(at, hole.start))
    at = hole.end
  }
  literals.push(data.slice(at))
  return { name, literals, textHole: all.indexOf(own) }
}

/** Where the text stands as a whole string; undefined where it stands nowhere or more than once. */
function placeOf(data: Uint8Array, text: string): number | undefined {
  const wanted = encoder.encode(`"${text}"`)
  let found: number | undefined
  for (let at = data.indexOf(quote); at >= 0; at = data.indexOf(quote, at + 1)) {
    if (!standsAt(data, at, wanted)) continue
    if (found !== undefined) return undefined
    found = at + 1
  }
  return found
}

function unreadPlaces(data: Uint8Array, unread: readonly string[]): { start: number; end: number }[] {
  return members(data).flatMap(({ name, valueStart, valueEnd }) =>
    unread.includes(name) && data[valueStart] === quote ? [{ start: valueStart + 1, end: valueEnd - 1 }] : [],
  )
}

function standsAt(data: Uint8Array, at: number, part: Uint8Array): boolean {
  if (at + part.length > data.length) return false
  for (let index = 0; index < part.length; index++) if (data[at + index] !== part[index]) return false
  return true
}

/** Where an event differs from the shape; undefined where it is another one. */
export function placesIn({ literals }: Shape, data: Uint8Array): Places | undefined {
  const places: number[] = []
  let at = 0
  for (let index = 0; ; index++) {
    const literal = literals[index]
    if (!literal || !standsAt(data, at, literal)) return undefined
    at += literal.length
    if (index === literals.length - 1) return at === data.length ? places : undefined
    const end = endOfPlain(data, at)
    if (end === undefined) return undefined
    places.push(at, end)
    at = end
  }
}

/** The quote that ends a string in which nothing is escaped. */
function endOfPlain(data: Uint8Array, from: number): number | undefined {
  for (let at = from; at < data.length; at++) {
    const byte = data[at] ?? 0
    if (byte === quote) return at
    if (byte === backslash || byte < firstPrintable) return undefined
  }
  return undefined
}

/** An event of the shape with a text of our own in each place, by which what is made of it can be recognised. */
export function probeOf({ literals }: Shape): { readonly data: Uint8Array; readonly marks: readonly string[] } {
  const marks = literals.slice(1).map((_, index) => `~${index}\u007f${index}~`)
  const parts = literals.flatMap((literal, index) => [literal, encoder.encode(marks[index] ?? '')])
  return { data: concat(parts), marks }
}

/** What is made of an event of a shape: the same bytes for all of them around the same places. */
export interface Mould {
  readonly literals: readonly Uint8Array[]
  /** Of the shape's places, those that come in it, in their order there. */
  readonly holes: readonly number[]
  /** Of the literals together. */
  readonly bytes: number
}

/** The mould behind what was made of a probe; undefined where a mark is in it twice, or is out of order. */
export function mouldOf(made: Uint8Array, marks: readonly string[]): Mould | undefined {
  const literals: Uint8Array[] = []
  const holes: number[] = []
  let rest = made
  for (const [hole, mark] of marks.entries()) {
    const wanted = encoder.encode(mark)
    const at = indexOf(rest, wanted)
    if (at < 0) continue
    literals.push(rest.slice(0, at))
    holes.push(hole)
    rest = rest.slice(at + wanted.length)
    if (indexOf(rest, wanted) >= 0) return undefined
  }
  literals.push(rest)
  if (marks.some((mark) => literals.some((literal) => indexOf(literal, encoder.encode(mark)) >= 0))) return undefined
  return { literals, holes, bytes: literals.reduce((sum, { length }) => sum + length, 0) }
}

function indexOf(bytes: Uint8Array, part: Uint8Array): number {
  const first = part[0] ?? 0
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1))
    if (standsAt(bytes, at, part)) return at
  return -1
}

/** How long what comes of an event is. */
export function filledBytes({ holes, bytes }: Mould, places: Places): number {
  let size = bytes
  for (const hole of holes) size += (places[2 * hole + 1] ?? 0) - (places[2 * hole] ?? 0)
  return size
}

export interface Filling {
  readonly mould: Mould
  readonly data: Uint8Array
  readonly places: Places
}

/** Fills a mould with what an event has in its places, from `at` on; returns where it ends. */
export function fill(to: Uint8Array, at: number, { mould, data, places }: Filling): number {
  const { literals, holes } = mould
  let next = at
  for (let index = 0; index < literals.length; index++) {
    const literal = literals[index]
    if (literal) {
      to.set(literal, next)
      next += literal.length
    }
    const hole = holes[index]
    if (hole !== undefined) next = copy(to, next, data, places[2 * hole] ?? 0, places[2 * hole + 1] ?? 0)
  }
  return next
}

/** Longer parts are copied in one go; for shorter ones the view that this takes costs more than the copy. */
const shortBytes = 32

// oxlint-disable-next-line max-params -- a copy has two ends
function copy(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  if (end - start > shortBytes) to.set(from.subarray(start, end), at)
  else for (let index = start; index < end; index++) to[at + index - start] = from[index] ?? 0
  return at + end - start
}
