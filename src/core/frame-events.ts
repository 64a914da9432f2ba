import { ByteStore } from './byte-store.ts'
import { GatewayError } from './errors.ts'
import { defaultMaxEventBytes, type EventParser, type ServerEvent } from './sse.ts'

/*
 * Binary event frames (application/vnd.amazon.eventstream), as described at
 * https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html: total length, length of the headers, checksum
 * of those eight bytes, headers, payload, checksum of all before it. Numbers are big-endian, checksums CRC-32.
 */

const preludeLength = 12
const checksumLength = 4
/** The event's name in `ServerEvent.name` begins with this where the frame is an exception and no event. */
export const exceptionMark = 'exception:'

/** How many bytes the value of a header has, by its type; for -1 the length stands before it. */
const valueLengths = [0, 0, 1, 2, 4, 8, -1, -1, 8, 16]
const stringType = 7
const decoder = new TextDecoder()
const encoder = new TextEncoder()
const checksums = checksumTable()

function checksumTable(): Uint32Array {
  const table = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
    table[byte] = value
  }
  return table
}

/** CRC-32 of these bytes. `core` may import nothing, so Node's own is out of reach. */
function checksum(bytes: Uint8Array): number {
  let value = 0xffffffff
  for (const byte of bytes) value = (value >>> 8) ^ (checksums[(value ^ byte) & 0xff] ?? 0)
  return (value ^ 0xffffffff) >>> 0
}

/**
 * A parser for one stream of binary frames. The payload is the event's data; its name is that of the event, or of the
 * exception behind `exceptionMark`. A frame that is damaged or larger than `maxEventBytes` is a fault of the vendor.
 */
export function createFrameParser(maxEventBytes: number = defaultMaxEventBytes): EventParser {
  const store = new ByteStore()
  let fault: GatewayError | undefined

  function deliver(): ServerEvent[] {
    const events: ServerEvent[] = []
    let at = 0
    try {
      for (let size = frameSize(store, at, maxEventBytes); size > 0; size = frameSize(store, at, maxEventBytes)) {
        events.push(readFrame(store.view().subarray(at, at + size)))
        at += size
      }
    } catch (caught) {
      fault = GatewayError.from(caught)
      // Events before a fault go out first, and the fault with the next call.
      if (events.length === 0) throw fault
    }
    if (at > 0) store.drop(at)
    return events
  }

  return {
    push(chunk) {
      if (fault) throw fault
      store.append(chunk)
      return deliver()
    },
    /** What is left is the beginning of a frame that never came. */
    end() {
      if (fault) throw fault
      return []
    },
  }
}

function damaged(): GatewayError {
  return new GatewayError('vendor_error', 'The vendor sent a damaged frame.')
}

/** The length of the frame that begins at `at`; 0 while it is not there as a whole. */
function frameSize(store: ByteStore, at: number, maxEventBytes: number): number {
  const bytes = store.view()
  if (bytes.length - at < preludeLength) return 0
  const view = viewOf(bytes.subarray(at))
  const total = view.getUint32(0)
  if (view.getUint32(8) !== checksum(bytes.subarray(at, at + 8))) throw damaged()
  if (total < preludeLength + checksumLength || view.getUint32(4) > total - preludeLength - checksumLength)
    throw damaged()
  if (total > maxEventBytes)
    throw new GatewayError('vendor_error', `The vendor sent an event of more than ${maxEventBytes} bytes.`)
  return bytes.length - at < total ? 0 : total
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function readFrame(frame: Uint8Array): ServerEvent {
  const view = viewOf(frame)
  const end = frame.length - checksumLength
  if (view.getUint32(end) !== checksum(frame.subarray(0, end))) throw damaged()
  const payloadAt = preludeLength + view.getUint32(4)
  const headers = readHeaders(frame.subarray(preludeLength, payloadAt))
  const payload = frame.slice(payloadAt, end)
  switch (headers.get(':message-type')) {
    case 'exception':
      return { name: exceptionMark + (headers.get(':exception-type') ?? ''), data: payload }
    case 'error':
      return {
        name: exceptionMark + (headers.get(':error-code') ?? ''),
        data: encoder.encode(JSON.stringify({ message: headers.get(':error-message') ?? '' })),
      }
    default:
      return { name: headers.get(':event-type') ?? '', data: payload }
  }
}

/** The headers whose values are strings; others are walked over. */
function readHeaders(bytes: Uint8Array): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  const view = viewOf(bytes)
  let at = 0
  while (at < bytes.length) {
    const nameLength = view.getUint8(at)
    const typeAt = at + 1 + nameLength
    if (typeAt >= bytes.length) throw damaged()
    const name = decoder.decode(bytes.subarray(at + 1, typeAt))
    const type = view.getUint8(typeAt)
    const fixed = valueLengths[type]
    if (fixed === undefined || (fixed < 0 && typeAt + 3 > bytes.length)) throw damaged()
    const valueAt = typeAt + (fixed < 0 ? 3 : 1)
    at = valueAt + (fixed < 0 ? view.getUint16(typeAt + 1) : fixed)
    if (at > bytes.length) throw damaged()
    if (type === stringType) headers.set(name, decoder.decode(bytes.subarray(valueAt, at)))
  }
  return headers
}
