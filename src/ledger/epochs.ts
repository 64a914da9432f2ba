import { SharedUnavailable } from '../core/shared-unavailable.ts'
import type { Books, Clock, Shared } from '../ports.ts'

/** Another replica that has opened an epoch has begun it by then. */
const beginMs = 50
/** Looks at which epoch stands; more than these and replicas hinder each other. */
const enterRounds = 8

/**
 * The epochs under which spenders spend. The books open them, the store that keeps the records says which one stands:
 * a store that was started anew has none, so that whatever it lost is lost with the loans it was written under.
 */
export interface Epochs {
  /** The epoch of a spender as last heard; 0 where none was. */
  known(spender: string): number
  /** Takes over the epoch that stands, and opens one where none does. Rejects when the books or the store are away. */
  enter(spender: string): Promise<void>
  /**
   * Takes over an epoch later than `unlessOther`, or opens one, unless another is known by now. Without it a later one is
   * opened, and nothing is known until then.
   */
  renew(spender: string, unlessOther?: number): Promise<void>
}

export interface EpochParts {
  readonly books: Pick<Books, 'openEpoch' | 'epochOf'>
  readonly clock: Pick<Clock, 'after'>
  readonly shared: Pick<Shared, 'begin'>
  /** Another epoch than before is known for a spender. */
  onEpoch(spender: string): void
}

export function openEpochs({ books, clock, shared, onEpoch }: EpochParts): Epochs {
  const epochs = new Map<string, number>()
  const entering = new Map<string, Promise<void>>()

  function adopt(spender: string, standing: number): void {
    if (epochs.get(spender) === standing) return
    epochs.set(spender, standing)
    onEpoch(spender)
  }
  async function begin(spender: string, epoch: number): Promise<void> {
    const standing = await shared.begin(spender, epoch)
    if (standing === 0) throw new SharedUnavailable(new Error(`${spender} lost its epoch at once`))
    adopt(spender, standing)
  }
  /**
   * Every replica finds at once that none stands: after a start of the store, and when a spender is new. Were each to
   * open one, each would freeze the money of the one before, and drop what is counted of its keys. So one opens, and
   * only when nobody else has just done so; the others wait for it to begin.
   */
  async function enter(spender: string, least: number): Promise<void> {
    let seen = 0
    for (let round = 0; round < enterRounds; round++) {
      const standing = await shared.begin(spender, 0)
      if (standing > 0 && standing >= least) return adopt(spender, standing)
      const latest = await books.epochOf(spender)
      const opened = latest === seen ? await books.openEpoch(spender, latest) : 0
      if (opened > 0) return begin(spender, opened)
      seen = latest
      await new Promise<void>((resolve) => void clock.after(beginMs, resolve))
    }
    throw new SharedUnavailable(new Error(`replicas kept opening epochs of ${spender}`))
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
    enter: (spender) => once(spender, () => enter(spender, epochs.get(spender) ?? 0)),
    async renew(spender, unlessOther) {
      if (unlessOther !== undefined && epochs.get(spender) !== unlessOther) return
      if (unlessOther === undefined) epochs.delete(spender)
      await entering.get(spender)?.catch(() => {})
      if (unlessOther !== undefined) return once(spender, () => enter(spender, unlessOther + 1))
      await once(spender, async () => begin(spender, await books.openEpoch(spender)))
    },
  }
}
