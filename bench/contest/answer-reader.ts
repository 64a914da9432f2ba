import { stampDigits, stampMark } from './wire.ts'

type State = 'head' | 'body' | 'size' | 'data' | 'data end' | 'trailer'

const headEnd = Buffer.from('\r\n\r\n')
const lineEnd = Buffer.from('\r\n')
const mark = Buffer.from(stampMark)
const mostHeadBytes = 32 * 1024
/** Enough for the usage and the mark of the end, which come last. */
const tailBytes = 1_024

const empty = Buffer.alloc(0)

/**
 * Reads answers of HTTP/1.1 by hand, one after another, at any cut: the load generator must cost less than what it
 * measures. Throws a RangeError for what is no answer.
 */
export class AnswerReader {
  status = 0
  /** Whether a byte of the body came, and the first stamp in the newest bytes: microseconds, 0 for none. */
  hasBody = false
  stampUs = 0
  #state: State = 'head'
  #left = 0
  #kept: Buffer = empty
  #older: Buffer = empty
  #newer: Buffer = empty

  /** Takes more bytes; true when the answer is whole. What follows it belongs to nobody, because we never pipeline. */
  feed(chunk: Buffer): boolean {
    this.stampUs = 0
    let rest = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.#kept = empty
    while (rest.length > 0) {
      const next = this.#step(rest)
      if (next === 'whole') return true
      if (next === undefined) {
        if (rest.length > mostHeadBytes) throw new RangeError('a line of the answer never ends')
        this.#kept = rest
        return false
      }
      rest = next
    }
    return false
  }

  /** The last bytes of the body as text. */
  tail(): string {
    const { length } = this.#older
    return this.#older.toString('latin1', Math.max(0, length - tailBytes)) + this.#newer.toString('latin1')
  }

  /** Ready for the next answer. */
  reset(): void {
    this.#state = 'head'
    this.hasBody = false
    this.#older = empty
    this.#newer = empty
    this.#kept = empty
  }

  /** What is left after a step; undefined where more bytes are needed for it. */
  #step(rest: Buffer): Buffer | 'whole' | undefined {
    switch (this.#state) {
      case 'head':
        return this.#head(rest)
      case 'size':
        return this.#size(rest)
      case 'body':
      case 'data':
        return this.#data(rest)
      case 'data end':
        if (rest.length < 2) return undefined
        this.#state = 'size'
        return rest.subarray(2)
      case 'trailer': {
        if (rest.length < 2) return undefined
        return 'whole'
      }
    }
  }

  #head(rest: Buffer): Buffer | 'whole' | undefined {
    const end = rest.indexOf(headEnd)
    if (end < 0) return undefined
    const head = rest.toString('latin1', 0, end)
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]
    if (status === undefined) throw new RangeError('this is no answer of HTTP/1.1')
    this.status = Number(status)
    const isChunked = /\r\ntransfer-encoding: *chunked/i.test(head)
    const length = /\r\ncontent-length: *(\d{1,10})/i.exec(head)?.[1]
    if (!isChunked && length === undefined) throw new RangeError('the answer does not say how long it is')
    this.#state = isChunked ? 'size' : 'body'
    this.#left = isChunked ? 0 : Number(length)
    return this.#state === 'body' && this.#left === 0 ? 'whole' : rest.subarray(end + headEnd.length)
  }

  #size(rest: Buffer): Buffer | undefined {
    const end = rest.indexOf(lineEnd)
    if (end < 0) return undefined
    const size = Number.parseInt(rest.toString('latin1', 0, end), 16)
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError('the answer has a piece without a length')
    this.#left = size
    this.#state = size === 0 ? 'trailer' : 'data'
    return rest.subarray(end + lineEnd.length)
  }

  #data(rest: Buffer): Buffer | 'whole' {
    const part = rest.length > this.#left ? rest.subarray(0, this.#left) : rest
    this.#left -= part.length
    this.#keep(part)
    if (this.#left > 0) return empty
    if (this.#state === 'body') return 'whole'
    this.#state = 'data end'
    return rest.subarray(part.length)
  }

  #keep(part: Buffer): void {
    this.hasBody = true
    if (this.stampUs === 0) {
      const at = part.indexOf(mark)
      const from = at + mark.length
      if (at >= 0 && from + stampDigits <= part.length)
        this.stampUs = Number(part.toString('latin1', from, from + stampDigits))
    }
    if (part.length >= tailBytes || this.#newer.length >= tailBytes) {
      this.#older = part.length >= tailBytes ? empty : this.#newer
      this.#newer = part.length > tailBytes ? part.subarray(part.length - tailBytes) : part
    } else this.#newer = this.#newer.length === 0 ? part : Buffer.concat([this.#newer, part])
  }
}
