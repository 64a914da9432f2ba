import { asciiPerToken, countNonAscii, createCutter, roughTokens } from '../core/pieces.ts'
import type { Tokenizer } from '../ports.ts'


/** Counts the tokens of a text that goes by in deltas, and keeps none of it longer than it takes to count it. */
export interface Counter {
  /** Takes the next delta. Cheap and never waits. */
  add(text: string): void
  /** Tokens so far without waiting: counted pieces, and an estimate for what has not been counted yet. */
  estimate(): number
  /**
   * Tokens of everything added, as `Tokenizer.count` has them for the whole text. Never rejects: a piece that the
   * tokenizer fails on counts by its estimate. While more is added it is a count of what was there at some moment.
   */
  total(): Promise<number>
}

/** Pieces with the tokenizer at one time: enough to fill one message, few enough that other streams come in between. */
const maxInFlight = 32

/**
 * UTF-16 units that may wait for the tokenizer: more than an answer of 128,000 tokens has. What comes beyond it counts
 * by its estimate, so that a tokenizer that stands still cannot fill the memory.
 */
const maxWaitingUnits = 1024 * 1024

/** A counter for one text. */
export function openCounter(tokenizer: Tokenizer): Counter {
  return new PieceCounter(tokenizer)
}

class PieceCounter implements Counter {
  readonly #tokenizer: Tokenizer
  readonly #cutter = createCutter()
  #counted = 0
  /** Characters that no count covers yet: not cut, waiting, or with the tokenizer. */
  #ascii = 0
  #nonAscii = 0
  #waiting: string[] = []
  #waitingUnits = 0
  #inFlight = 0
  #onIdle: (() => void)[] = []

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  add(text: string): void {
    this.#track(text, 1)
    for (const piece of this.#cutter.push(text)) {
      if (this.#waitingUnits + piece.length > maxWaitingUnits) this.#finish(piece, roughTokens(piece))
      else {
        this.#waiting.push(piece)
        this.#waitingUnits += piece.length
      }
    }
    this.#send()
  }

  estimate(): number {
    return this.#counted + Math.ceil(this.#ascii / asciiPerToken) + this.#nonAscii
  }

  async total(): Promise<number> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
    const rest = this.#cutter.rest()
    // Read before the wait: what is cut meanwhile holds the rest, which must not count twice.
    const counted = this.#counted
    return rest === '' ? counted : counted + (await this.#count(rest))
  }

  /** Single pieces, not runs of them: a run would be cut anew by the tokenizer, and not always at the same places. */
  #send(): void {
    let sent = 0
    while (this.#inFlight < maxInFlight && sent < this.#waiting.length) {
      const piece = this.#waiting[sent++] ?? ''
      this.#waitingUnits -= piece.length
      this.#inFlight++
      void this.#countPiece(piece)
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent)
  }

  async #countPiece(piece: string): Promise<void> {
    const tokens = await this.#count(piece)
    this.#finish(piece, tokens)
    this.#inFlight--
    this.#send()
    if (this.#inFlight > 0) return
    for (const run of this.#onIdle.splice(0)) run()
  }

  async #count(piece: string): Promise<number> {
    try {
      return await this.#tokenizer.count(piece)
    } catch {
      // A count must not fail the call that it meters; the estimate is what the tokenizer itself falls back to.
      return roughTokens(piece)
    }
  }

  #finish(piece: string, tokens: number): void {
    this.#counted += tokens
    this.#track(piece, -1)
  }

  #track(text: string, sign: 1 | -1): void {
    const nonAscii = countNonAscii(text)
    this.#nonAscii += sign * nonAscii
    this.#ascii += sign * (text.length - nonAscii)
  }
}
