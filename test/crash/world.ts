import type { Conversation } from '../support/conversation.ts'
import type { Installation, Payer, Store } from '../support/installation.ts'
import type { Tale } from '../support/tales.ts'
import type { Fault, LivingClock } from './faults.ts'

/** Nano-units a token, and the time between two checkpoints, as the run configures its gateways. */
export const prices = { input: 1_000n, output: 2_000n }
export const checkpointMs = 2_000

export interface RunOptions {
  readonly store: Store
  /** More than one only on a Redis. */
  readonly gateways: number
  readonly seed: number
  readonly minutes: number
  /** PostgreSQL is not stopped. */
  readonly postgresStays?: boolean
  /** Faults come so many times as often as they do by themselves. */
  readonly rush?: number
  progress(line: string): void
}

/** A call as its caller saw it. */
export interface Seen {
  readonly name: string
  readonly gateway: number
  readonly account: number
  readonly tale: Tale
  readonly stream: boolean
  readonly conversation: Conversation
  readonly fromMs: number
  readonly toMs: number
}

/** An account and what it was given. */
export interface Funded extends Payer {
  readonly balance: bigint
}

export interface World {
  readonly options: RunOptions
  readonly installation: Installation
  readonly payers: readonly Funded[]
  readonly promptTokens: number
  readonly clocks: readonly LivingClock[]
}

export interface Played {
  readonly seen: readonly Seen[]
  readonly faults: readonly Fault[]
  /** What did not heal, in words. */
  readonly complaints: readonly string[]
  /** Calls that never came to an end. */
  readonly endless: number
}
