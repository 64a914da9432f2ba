import type { Hold, Ledger } from './hold.ts'

/** A stream's first checkpoint follows its first content by at most this. */
export const tickMs = 250

/**
 * Returns the work of one tick: stores what each running call has delivered, every `checkpointMs`, and soon after its
 * first content. Calls that deliver nothing are stored too, because that moves their deadline.
 */
export function openCheckpoints({ platform, live }: Ledger): () => Promise<void> {
  const stored = new WeakMap<Hold, { atMs: number; started: boolean }>()
  const { clock, settings, log } = platform

  return async () => {
    const now = clock.elapsed()
    const due = []
    for (const hold of live) {
      const last = stored.get(hold) ?? { atMs: now, started: false }
      stored.set(hold, last)
      const isFirst = hold.started && !last.started
      if (!isFirst && now - last.atMs < settings.checkpointMs) continue
      stored.set(hold, { atMs: now, started: hold.started })
      due.push(hold.checkpoint())
    }
    for (const result of await Promise.allSettled(due)) {
      if (result.status === 'rejected') log('checkpoint_failed', { error: String(result.reason) })
    }
  }
}
