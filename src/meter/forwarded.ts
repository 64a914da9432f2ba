import { roughTokens } from '../core/pieces.ts'
import type { Tokenizer } from '../ports.ts'
import { openCounter } from './counter.ts'

/** Text that waits to be counted: most streams end with the vendor's count and never need ours. */
const pendingLimit = 8_192

/** The forwarded text, as far as it must be known: sizes at once, tokens when somebody asks. */
export function openForwarded(tokenizer: Tokenizer) {
  const counter = openCounter(tokenizer)
  let pending = ''
  let pendingTokens = 0
  /** All of it by estimate, and the same at the last exact count, which says what it really was. */
  let roughly = 0
  let counted = { roughly: 0, exactly: 0 }

  function hand(): void {
    if (pending === '') return
    counter.add(pending)
    pending = ''
    pendingTokens = 0
  }

  return {
    add(piece: string): void {
      const tokens = roughTokens(piece)
      pending += piece
      pendingTokens += tokens
      roughly += tokens
      if (pending.length > pendingLimit) hand()
    },
    /** Tokens if this piece is forwarded too: counted where counted, estimated where not. */
    estimateWith(piece: string): number {
      const sinceCounted = counted.exactly + roughly - counted.roughly
      return Math.min(counter.estimate() + pendingTokens, sinceCounted) + roughTokens(piece)
    },
    async counted(): Promise<number> {
      hand()
      const before = roughly
      const exactly = await counter.total()
      counted = { roughly: before, exactly }
      return exactly
    },
  }
}
