import { type Places, placesIn, probeOf, type Shape, shapeOf } from '../core/shape.ts'
import type { ServerEvent } from '../core/sse.ts'
import type { Piece } from './vendor.ts'

/** Shapes of one stream: text and reasoning, and a few choices at once. */
const mostShapes = 4
/** An event from which nothing is learned costs more than one that is only read. */
const mostTrials = 6
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

type Read = (event: ServerEvent) => Piece

interface Known {
  readonly shape: Shape
  /** What every event of the shape says, but for its text. */
  readonly piece: Piece
}

/**
 * A reader that reads each shape of event once: an event that says nothing but text, and differs from one before in
 * that text and in members that nobody reads (`unread`), says the same with another text. `make` gives a new reader;
 * reading such an event again must not change what it remembers.
 */
export function steadyReader(make: () => Read, unread: readonly string[]): Read {
  const read = make()
  const known: Known[] = []
  let trials = 0
  return (event) => {
    for (const { shape, piece } of known) {
      const places = shape.name === event.name ? placesIn(shape, event.data) : undefined
      const text = places && textOf(shape, event.data, places)
      // One without text says less than the others.
      if (places && text) return { ...piece, text, like: { shape, data: event.data, places } }
    }
    const piece = read(event)
    if (trials < mostTrials && known.length < mostShapes && isPlain(piece)) {
      trials++
      const shape = learned(make, { event, piece, unread })
      if (shape) known.push({ shape, piece })
    }
    return piece
  }
}

function textOf({ textHole }: Shape, data: Uint8Array, places: Places): string {
  return decoder.decode(data.subarray(places[2 * textHole], places[2 * textHole + 1]))
}

/** Says text, and nothing that could happen but once. */
function isPlain({ text, usage, finish, usageOnly, whole, last, error, repaired, chunks }: Piece): boolean {
  const isMore = usage ?? finish ?? error ?? repaired ?? chunks
  return text !== undefined && text !== '' && isMore === undefined && !usageOnly && !whole && !last
}

interface Lesson {
  readonly event: ServerEvent
  readonly piece: Piece
  readonly unread: readonly string[]
}

/** The event's shape, if a reader that has seen nothing else finds in it what was found, and nothing in the places but text. */
function learned(make: () => Read, { event: { name, data }, piece, unread }: Lesson): Shape | undefined {
  const shape = shapeOf({ name, data, text: piece.text ?? '', unread })
  if (!shape) return undefined
  const probe = probeOf(shape)
  const own = make()({ name, data })
  const probed = make()({ name, data: probe.data })
  const isSame = said(own) === said(piece) && said({ ...probed, text: piece.text ?? '' }) === said(piece)
  return isSame && probed.text === probe.marks[shape.textHole] ? shape : undefined
}

function said(piece: Piece): string {
  return JSON.stringify(Object.entries(piece).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
