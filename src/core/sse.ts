import { ByteStore } from './byte-store.ts'
import { GatewayError } from './errors.ts'
import { slabOf } from './slab.ts'

/** One server-sent event. `data` is the payload's bytes; several data lines are joined by a line feed. */
export interface ServerEvent {
  /** The value of its `event:` line, or ''. */
  readonly name: string
  readonly data: Uint8Array
}

/** Reads a stream of events in one framing, however its bytes are cut into chunks. */
export interface EventParser {
  /**
   * The events that this chunk completes. Where a payload lies whole in the chunk it is a view of it, else a copy.
   * Throws GatewayError `vendor_error` once an event is too large, after the events before it have been handed out.
   */
  push(chunk: Uint8Array): ServerEvent[]
  /** The last event, where the stream ended without the blank line after it. Throws like `push`. */
  end(): ServerEvent[]
}

/** 4 MiB: room for an image in base64 within one event; the largest event of text we have seen is below 100 KB. */
export const defaultMaxEventBytes = 4 * 1024 * 1024

const lf = 0x0a
const cr = 0x0d
const space = 0x20
const colon = 0x3a
const encoder = new TextEncoder()
// Only the stream's first bytes can be a byte order mark; in a name U+FEFF is a character.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const bom = Uint8Array.of(0xef, 0xbb, 0xbf)
const lineFeed = Uint8Array.of(lf)
const dataField = encoder.encode('data')
const nameField = encoder.encode('event')

/**
 * A parser for one stream. Comments, `id:`, `retry:` and unknown fields are dropped, and so are events without data.
 * An event whose data lines and the line being read exceed `maxEventBytes` is a fault of the vendor.
 */
export function createSseParser(maxEventBytes: number = defaultMaxEventBytes): EventParser {
  return new StreamParser(maxEventBytes)
}

/** The bytes of one event. A payload of several lines (LF, CR or CRLF) becomes several data lines. */
export function frame(data: Uint8Array, name = ''): Uint8Array {
  if (name.includes('\n') || name.includes('\r')) throw new RangeError('an event name cannot have a line break')
  const head = name === '' ? dataPrefix : encoder.encode(`event: ${name}\ndata: `)
  const payload = data.includes(lf) || data.includes(cr) ? withPrefixes(data) : data
  const framed = slabOf(head.length + payload.length + 2)
  framed.set(head)
  framed.set(payload, head.length)
  framed.fill(lf, head.length + payload.length)
  return framed
}

const dataPrefix = encoder.encode('data: ')
const nextDataPrefix = encoder.encode('\ndata: ')

/** The payload with every line break replaced by one that begins another data line. */
function withPrefixes(data: Uint8Array): Uint8Array {
  const lines = new ByteStore()
  let start = 0
  for (let at = 0; at < data.length; at++) {
    if (data[at] !== lf && data[at] !== cr) continue
    lines.append(data.subarray(start, at))
    lines.append(nextDataPrefix)
    if (data[at] === cr && data[at + 1] === lf) at++
    start = at + 1
  }
  lines.append(data.subarray(start))
  return lines.take()
}

/** True if the line at `start` begins with the field's name. What follows a line is a line break, so it cannot match. */
function begins(bytes: Uint8Array, start: number, field: Uint8Array): boolean {
  for (let at = 0; at < field.length; at++) if (bytes[start + at] !== field[at]) return false
  return true
}

class StreamParser implements EventParser {
  readonly #maxEventBytes: number
  /** The beginning of a line whose end has not come. */
  readonly #begun = new ByteStore()
  /** The data lines of the event, once there are two. */
  readonly #joined = new ByteStore()
  /** The event's first data line; a view of the chunk while `#borrowed`. */
  #data: Uint8Array | undefined
  #borrowed = false
  #dataLines = 0
  #dataBytes = 0
  #name = ''
  #firstLine = true
  /** The last chunk ended in CR: an LF at the start of the next one belongs to it. */
  #afterCr = false
  #events: ServerEvent[] = []
  #fault: GatewayError | undefined

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes
  }

  push(chunk: Uint8Array): ServerEvent[] {
    if (this.#fault) throw this.#fault
    if (chunk.length === 0) return []
    try {
      this.#scan(chunk)
    } catch (caught) {
      this.#fault = GatewayError.from(caught)
    }
    return this.#deliver()
  }

  end(): ServerEvent[] {
    if (this.#fault) throw this.#fault
    try {
      const line = this.#begun.take()
      if (line.length > 0) this.#readLine(line, 0, line.length)
      this.#finishEvent()
    } catch (caught) {
      this.#fault = GatewayError.from(caught)
    }
    return this.#deliver()
  }

  /** Events before a fault go out first, and the fault with the next call: the cuts must not decide who sees them. */
  #deliver(): ServerEvent[] {
    const events = this.#events
    if (this.#fault && events.length === 0) throw this.#fault
    this.#events = []
    return events
  }

  #scan(chunk: Uint8Array): void {
    let start = this.#afterCr && chunk[0] === lf ? 1 : 0
    this.#afterCr = chunk[chunk.length - 1] === cr
    // The next LF and the next CR are each searched once: asking for both at every line would be quadratic.
    let nextLf = chunk.indexOf(lf, start)
    let nextCr = chunk.indexOf(cr, start)
    while (nextLf >= 0 || nextCr >= 0) {
      const isCr = nextCr >= 0 && (nextLf < 0 || nextCr < nextLf)
      const end = isCr ? nextCr : nextLf
      this.#finishLine(chunk, start, end)
      start = isCr && nextLf === end + 1 ? end + 2 : end + 1
      if (nextLf >= 0 && nextLf < start) nextLf = chunk.indexOf(lf, start)
      if (nextCr >= 0 && nextCr < start) nextCr = chunk.indexOf(cr, start)
    }
    if (start < chunk.length) this.#beginLine(chunk.subarray(start))
    if (this.#borrowed && this.#data) this.#data = new Uint8Array(this.#data)
    this.#borrowed = false
  }

  #beginLine(part: Uint8Array): void {
    // The exact check comes with the line's end; here a byte order mark may still be in it.
    this.#check(this.#begun.size + part.length - bom.length)
    this.#begun.append(part)
  }

  #finishLine(chunk: Uint8Array, start: number, end: number): void {
    if (this.#begun.size === 0) return this.#readLine(chunk, start, end)
    this.#beginLine(chunk.subarray(start, end))
    const line = this.#begun.take()
    this.#readLine(line, 0, line.length)
    this.#borrowed = false
  }

  #readLine(bytes: Uint8Array, start: number, end: number): void {
    if (this.#firstLine && begins(bytes, start, bom)) start += bom.length
    this.#firstLine = false
    if (start >= end) return this.#finishEvent()
    this.#check(end - start)
    const field = begins(bytes, start, dataField) ? dataField : begins(bytes, start, nameField) ? nameField : undefined
    if (!field) return
    const nameEnd = start + field.length
    if (nameEnd < end && bytes[nameEnd] !== colon) return
    const valueStart = Math.min(end, bytes[nameEnd + 1] === space ? nameEnd + 2 : nameEnd + 1)
    const value = bytes.subarray(valueStart, end)
    if (field === dataField) this.#addData(value)
    else this.#name = decoder.decode(value)
  }

  #addData(value: Uint8Array): void {
    this.#dataLines++
    this.#dataBytes += value.length + 1
    if (this.#dataLines === 1) {
      this.#data = value
      this.#borrowed = true
      return
    }
    if (this.#data) this.#joined.append(this.#data)
    this.#data = undefined
    this.#joined.append(lineFeed)
    this.#joined.append(value)
  }

  #finishEvent(): void {
    const data = this.#dataLines > 1 ? this.#joined.take() : this.#data
    if (data && data.length > 0) this.#events.push({ name: this.#name, data })
    this.#data = undefined
    this.#borrowed = false
    this.#dataLines = 0
    this.#dataBytes = 0
    this.#name = ''
  }

  #check(lineBytes: number): void {
    if (this.#dataBytes + lineBytes <= this.#maxEventBytes) return
    throw new GatewayError('vendor_error', `The vendor sent an event of more than ${this.#maxEventBytes} bytes.`)
  }
}
