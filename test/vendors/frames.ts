import { crc32 } from 'node:zlib'

function headerBytes(headers: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(headers).map(([name, value]) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(Buffer.byteLength(value))
      return Buffer.concat([
        Buffer.from([name.length]),
        Buffer.from(name),
        Buffer.from([7]),
        length,
        Buffer.from(value),
      ])
    }),
  )
}

/** One binary event frame, as its specification has it. */
export function binaryFrame(headers: Readonly<Record<string, string>>, payload: string): Uint8Array {
  const head = headerBytes(headers)
  const body = Buffer.from(payload)
  const frame = Buffer.alloc(12 + head.length + body.length + 4)
  frame.writeUInt32BE(frame.length, 0)
  frame.writeUInt32BE(head.length, 4)
  frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8)
  head.copy(frame, 12)
  body.copy(frame, 12 + head.length)
  frame.writeUInt32BE(crc32(frame.subarray(0, -4)), frame.length - 4)
  return new Uint8Array(frame)
}

export function eventFrame(type: string, payload: unknown): Uint8Array {
  const headers = { ':event-type': type, ':content-type': 'application/json', ':message-type': 'event' }
  return binaryFrame(headers, JSON.stringify(payload))
}

export function exceptionFrame(type: string, payload: unknown): Uint8Array {
  return binaryFrame({ ':exception-type': type, ':message-type': 'exception' }, JSON.stringify(payload))
}
