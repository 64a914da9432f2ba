/** A store above this is given back after use, so that one large event does not stay for the life of a stream. */
const maxKeptBytes = 64 * 1024

/** Bytes that are gathered from many parts. It grows by doubling: a megabyte that comes in single bytes stays linear. */
export class ByteStore {
  #bytes = new Uint8Array(0)
  size = 0

  append(part: Uint8Array): void {
    const size = this.size + part.length
    if (size > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#bytes.length, 256))
      larger.set(this.#bytes.subarray(0, this.size))
      this.#bytes = larger
    }
    this.#bytes.set(part, this.size)
    this.size = size
  }

  /** All that was appended, not copied: it is good until the next change. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.size)
  }

  /** Takes the first `count` bytes out. */
  drop(count: number): void {
    this.#bytes.copyWithin(0, count, this.size)
    this.size -= count
    if (this.size === 0 && this.#bytes.length > maxKeptBytes) this.#bytes = new Uint8Array(0)
  }

  /** A copy of all that was appended; the store is empty again. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.size)
    if (this.#bytes.length > maxKeptBytes) this.#bytes = new Uint8Array(0)
    this.size = 0
    return taken
  }
}
