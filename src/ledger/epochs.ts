import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { Books, Shared } from '../ports.ts'

/**
 * The epochs under which spenders spend. The books open them, the store that keeps the records says which one stands:
 * a store that was started anew has none, so that whatever it lost is lost with the loans it was written under.
 */
export interface Epochs {
  /** The epoch of a spender as last heard; 0 where none was. */
  known(spender: string): number
  /** Takes over the epoch that stands, and opens one where none does. Rejects when the books or the store are away. */
  enter(spender: string): Promise<void>
  /** Opens a later epoch, unless another than `unlessOther` is known by now. Without it nothing is known until then. */
  renew(spender: string, unlessOther?: number): Promise<void>
}

export interface EpochParts {
  readonly books: Pick<Books, 'openEpoch'>
  readonly shared: Pick<Shared, 'begin'>
  /** Another epoch than before is known for a spender. */
  onEpoch(spender: string): void
}

export function openEpochs({ books, shared, onEpoch }: EpochParts): Epochs {
  const epochs = new Map<string, number>()
  const entering = new Map<string, Promise<void>>()

  function adopt(spender: string, standing: number): void {
    if (epochs.get(spender) === standing) return
    epochs.set(spender, standing)
    onEpoch(spender)
  }
  async function open(spender: string): Promise<void> {
    const standing = await shared.begin(spender, await books.openEpoch(spender))
    if (standing === 0) throw new SharedUnavailable(new Error(`${spender} lost its epoch at once`))
    adopt(spender, standing)
  }
  /** One at a time for a spender: those who come meanwhile share it. */
  function once(spender: string, work: () => Promise<void>): Promise<void> {
    const running = entering.get(spender)
    if (running) return running
    const started = work().finally(() => entering.delete(spender))
    entering.set(spender, started)
    return started
  }
  return {
    known: (spender) => epochs.get(spender) ?? 0,
    enter: (spender) =>
      once(spender, async () => {
        const standing = await shared.begin(spender, 0)
        if (standing > 0 && standing >= (epochs.get(spender) ?? 0)) adopt(spender, standing)
        else await open(spender)
      }),
    async renew(spender, unlessOther) {
      if (unlessOther !== undefined && epochs.get(spender) !== unlessOther) return
      if (unlessOther === undefined) epochs.delete(spender)
      await entering.get(spender)?.catch(() => {})
      await once(spender, () => open(spender))
    },
  }
}
