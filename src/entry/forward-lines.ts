import type { Readable, Writable } from 'node:stream'

/** A line that is longer goes on in pieces. */
const mostLineBytes = 1024 * 1024
const newline = 0x0a

/**
 * Passes on what one of several processes prints, in whole lines, so that the lines of two never mix. A reader who is
 * slow holds up the process, as he would without us.
 */
export function forwardLines(from: Readable | null, to: Writable): void {
  let kept: Buffer = Buffer.alloc(0)
  const pass = (bytes: Buffer) => {
    if (bytes.length === 0 || to.write(bytes)) return
    from?.pause()
    to.once('drain', () => from?.resume())
  }
  from?.on('data', (chunk: Buffer) => {
    const end = chunk.lastIndexOf(newline) + 1
    if (end === 0 && kept.length + chunk.length < mostLineBytes) {
      kept = Buffer.concat([kept, chunk])
      return
    }
    const whole = end === 0 ? chunk : chunk.subarray(0, end)
    pass(kept.length === 0 ? whole : Buffer.concat([kept, whole]))
    kept = end === 0 ? Buffer.alloc(0) : Buffer.from(chunk.subarray(end))
  })
  from?.once('end', () => pass(kept))
}
