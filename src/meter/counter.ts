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

interface Piece {
  readonly number: number
  readonly text: string
}

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
  #waiting: Piece[] = []
  #waitingUnits = 0
  #inFlight = 0
  /** Pieces so far, and the numbers of those without a count, in order. */
  #cut = 0
  readonly #open = new Set<number>()
  /** Who waits until the pieces before a number have their counts. */
  #waiters: { readonly before: number; readonly run: () => void }[] = []

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer
  }

  add(text: string): void {
    this.#track(text, 1)
    for (const cut of this.#cutter.push(text)) {
      const piece = { number: this.#cut++, text: cut }
      this.#open.add(piece.number)
      if (this.#waitingUnits + cut.length > maxWaitingUnits) this.#finish(piece, roughTokens(cut))
      else {
        this.#waiting.push(piece)
        this.#waitingUnits += cut.length
      }
    }
    this.#send()
  }

  estimate(): number {
    return this.#counted + Math.ceil(this.#ascii / asciiPerToken) + this.#nonAscii
  }

  async total(): Promise<number> {
    const before = this.#cut
    // Not for what is added meanwhile: of a stream that never pauses nobody would ever hear.
    if (this.#oldest() < before) await new Promise<void>((run) => this.#waiters.push({ before, run }))
    const rest = this.#cutter.rest()
    // Read before the wait: what is cut meanwhile holds the rest, which must not count twice.
    const counted = this.#counted
    return rest === '' ? counted : counted + (await this.#count(rest))
  }

  /** Single pieces, not runs of them: a run would be cut anew by the tokenizer, and not always at the same places. */
  #send(): void {
    let sent = 0
    for (const piece of this.#waiting) {
      if (this.#inFlight === maxInFlight) break
      sent++
      this.#waitingUnits -= piece.text.length
      this.#inFlight++
      void this.#countPiece(piece)
    }
    if (sent > 0) this.#waiting = this.#waiting.slice(sent)
  }

  async #countPiece(piece: Piece): Promise<void> {
    const tokens = await this.#count(piece.text)
    this.#finish(piece, tokens)
    this.#inFlight--
    this.#send()
  }

  /** The number of the oldest piece without a count. */
  #oldest(): number {
    const [oldest = this.#cut] = this.#open
    return oldest
  }

  async #count(text: string): Promise<number> {
    try {
      return await this.#tokenizer.count(text)
    } catch {
      // A count must not fail the call that it meters; the estimate is what the tokenizer itself falls back to.
      return roughTokens(text)
    }
  }

  #finish({ number, text }: Piece, tokens: number): void {
    this.#counted += tokens
    this.#track(text, -1)
    this.#open.delete(number)
    const oldest = this.#oldest()
    const due = this.#waiters.filter(({ before }) => before <= oldest)
    if (due.length === 0) return
    this.#waiters = this.#waiters.filter(({ before }) => before > oldest)
    for (const { run } of due) run()
  }

  #track(text: string, sign: 1 | -1): void {
    const nonAscii = countNonAscii(text)
    this.#nonAscii += sign * nonAscii
    this.#ascii += sign * (text.length - nonAscii)
  }
}
