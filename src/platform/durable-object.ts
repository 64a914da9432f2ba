import { DurableObject } from 'cloudflare:workers'
import type { Share, ShareAsk } from '../core/shared-limit.ts'
import type { SlotAsk, SlotShare } from '../core/shared-slots.ts'
import type { ClaimReply, Command } from '../ledger/engine/commands.ts'
import type { AccountRecord, KeyRecord } from '../ledger/engine/records.ts'
import { systemClock } from './clock.ts'
import { type Answer, type Ask, type Cell, type CellStorage, openCell, type Taking } from './durable-cell.ts'

/** What is used of a Durable Object's context. */
export interface CellContext {
  readonly storage: CellStorage & {
    getAlarm(): Promise<number | null>
    setAlarm(atMs: number): Promise<void>
  }
  /** Entrypoints of the worker that the object belongs to, by name. */
  readonly exports: { readonly LedgerSweeper?: Sweeper }
  blockConcurrencyWhile<T>(run: () => Promise<T>): Promise<T>
}

/** Whoever ends the holds of a cell that are due. */
interface Sweeper {
  sweep(spender: string): Promise<void>
}

/** After a sweep the next one comes no sooner than this, and after one that failed no sooner than that. */
const pauseMs = 1_000
const failedPauseMs = 10_000

/**
 * One cell of accounts as a Durable Object. What a command has changed is in the storage before its answer leaves: the
 * platform keeps answers back until it is. The object sweeps itself: its alarm calls the worker when a hold is due.
 */
export class LedgerCell extends DurableObject<CellContext> {
  readonly #cell: Cell
  /** When the alarm goes off, ms since 1970. */
  #armedMs: number | undefined

  constructor(context: CellContext, bindings: unknown) {
    super(context, bindings)
    this.#cell = openCell({ storage: context.storage, clock: systemClock })
    void context.blockConcurrencyWhile(async () => {
      this.#armedMs = (await context.storage.getAlarm()) ?? undefined
    })
  }

  async run<C extends Command>(ask: Ask<C>): Promise<Answer<C>> {
    const answer = this.#cell.run(ask)
    // The alarm knows no clock but the real one.
    if (ask.nowMs === undefined) await this.#arm(0)
    return answer
  }

  async claim(taking: Taking): Promise<ClaimReply> {
    return this.#cell.claim(taking)
  }

  async begin(spender: string, epoch: number): Promise<number> {
    return this.#cell.begin(spender, epoch)
  }

  async account(accountId: number): Promise<AccountRecord | undefined> {
    return this.#cell.account(accountId)
  }

  async key(keyId: number): Promise<KeyRecord | undefined> {
    return this.#cell.key(keyId)
  }

  async lend(ask: ShareAsk, nowMs?: number): Promise<Share> {
    return this.#cell.lend(ask, nowMs)
  }

  async lendSlots(ask: SlotAsk, nowMs?: number): Promise<SlotShare> {
    return this.#cell.lendSlots(ask, nowMs)
  }

  async alarm(): Promise<void> {
    this.#armedMs = undefined
    const isDone = await this.#sweep()
    await this.#arm(systemClock.now() + (isDone ? pauseMs : failedPauseMs))
  }

  /** The platform gives an alarm up that fails some times, so it must not fail. */
  async #sweep(): Promise<boolean> {
    const spender = this.#cell.spender()
    const due = this.#cell.nextDue()
    if (spender === undefined || due === undefined || due > systemClock.now()) return true
    try {
      const sweeper = this.ctx.exports.LedgerSweeper
      if (!sweeper) throw new Error('The worker exports no LedgerSweeper')
      await sweeper.sweep(spender)
      return true
    } catch (error) {
      console.error(error)
      return false
    }
  }

  /** Sets the alarm to the next deadline, unless it goes off before. One that goes off too early finds nothing due. */
  async #arm(earliestMs: number): Promise<void> {
    const due = this.#cell.nextDue()
    if (due === undefined) return
    const atMs = Math.max(due, earliestMs)
    if (this.#armedMs !== undefined && this.#armedMs <= atMs) return
    this.#armedMs = atMs
    await this.ctx.storage.setAlarm(atMs)
  }
}
