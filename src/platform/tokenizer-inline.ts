import { pieces } from '../core/pieces.ts'
import type { Tokenizer } from '../ports.ts'

/** The tokenizer that usage records name, on every platform; the version is that of the dependency. */
export const tokenizerName = 'tiktoken@1.0.22/o200k_base'

/** Pieces between two pauses: at most some 20 ms of the slowest text. */
const piecesPerTurn = 8

export interface Encoder {
  /** Name and version, as usage records carry it. */
  readonly name: string
  /** How many tokens one piece has. Special tokens are plain text to it. */
  encode(piece: string): number
}

/**
 * A tokenizer for platforms without threads. It lets other work in by `pause`, which must reach the event loop
 * (a timer, not a resolved promise). Rejects where the encoder throws.
 */
export function inlineTokenizer(encoder: Encoder, pause: () => Promise<void>): Tokenizer {
  return {
    name: encoder.name,
    async count(text) {
      let tokens = 0
      let done = 0
      for (const piece of pieces(text)) {
        tokens += encoder.encode(piece)
        done++
        if (done % piecesPerTurn === 0) await pause()
      }
      return tokens
    },
    close: () => Promise.resolve(),
  }
}
