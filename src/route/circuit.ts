import { added, type Decayed, decayed, nothingYet } from '../core/decayed.ts'
import type { Random } from '../core/draw.ts'

export type CircuitState = 'closed' | 'open' | 'half_open'

/** Failures in a row that open it: enough to rule out chance, few enough that a dead target is left within a second. */
const tripInARow = 5
/** Slow calls in a row: one alone may only have a long prompt. */
const tripSlowInARow = 10
/** The share of calls that fail or are slow, over the last minute or so, and the calls that it takes to be sure. */
const tripShare = 0.5
const tripCalls = 10
/** Below this share of failures, over as many calls of our own, another replica's word alone opens nothing. */
const soundShare = 0.1
const halfLifeMs = 30_000
const firstPauseMs = 1_000
const longestPauseMs = 60_000
/** Replicas that have opened together must not come back together: pauses differ by up to this share. */
const pauseJitter = 0.2
/** Calls that must go well before all of them are let in again; one at a time. */
const probesToClose = 2
/** Calls that an open target takes at once where it is the only one left. */
const lastResortLimit = 10

/** What a target's circuit remembers. Times are of the clock that never goes back. */
export interface Circuit {
  readonly state: CircuitState
  /** Of failures (1) and successes (0), and of slow calls (1) and quick ones (0). */
  readonly errors: Decayed
  readonly slow: Decayed
  readonly failedInARow: number
  readonly wellInARow: number
  readonly slowInARow: number
  readonly probing: number
  readonly pauseMs: number
  /** While open: when a probe may be made. */
  readonly retryAtMs: number
}

export const newCircuit: Circuit = Object.freeze({
  state: 'closed',
  errors: nothingYet,
  slow: nothingYet,
  failedInARow: 0,
  wellInARow: 0,
  slowInARow: 0,
  probing: 0,
  pauseMs: 0,
  retryAtMs: 0,
})

/** Open circuits are half open once their pause is over. */
export function stateAt({ state, retryAtMs }: Circuit, nowMs: number): CircuitState {
  return state === 'open' && nowMs >= retryAtMs ? 'half_open' : state
}

/** Whether a call may be tried without need: all of them where it is closed, one at a time where it is half open. */
export function isReady(circuit: Circuit, nowMs: number): boolean {
  const state = stateAt(circuit, nowMs)
  return state === 'closed' || (state === 'half_open' && circuit.probing === 0)
}

/** Takes a call in, as a probe where it is not closed. Undefined where it takes none. */
export function entered(
  circuit: Circuit,
  { nowMs, isLastResort }: { readonly nowMs: number; readonly isLastResort: boolean },
): { readonly circuit: Circuit; readonly isProbe: boolean } | undefined {
  const state = stateAt(circuit, nowMs)
  if (state === 'closed') return { circuit, isProbe: false }
  if (!isReady(circuit, nowMs) && !(isLastResort && circuit.probing < lastResortLimit)) return undefined
  return { circuit: { ...circuit, state, probing: circuit.probing + 1 }, isProbe: true }
}

/** A probe is over, however it went. */
export function probed(circuit: Circuit): Circuit {
  return { ...circuit, probing: Math.max(0, circuit.probing - 1) }
}

export function succeeded(circuit: Circuit, nowMs: number): Circuit {
  const errors = added(circuit.errors, { value: 0, nowMs, halfLifeMs })
  const well = { ...circuit, errors, failedInARow: 0 }
  if (circuit.state === 'closed') return well
  // What it did before it was away says nothing about what it does now.
  if (circuit.wellInARow + 1 >= probesToClose) return { ...newCircuit, probing: circuit.probing }
  return { ...well, state: 'half_open', wellInARow: circuit.wellInARow + 1 }
}

export interface Fault {
  readonly nowMs: number
  readonly random: Random
}

export function failed(circuit: Circuit, fault: Fault): Circuit {
  const { nowMs } = fault
  const errors = added(circuit.errors, { value: 1, nowMs, halfLifeMs })
  const worse = { ...circuit, errors, failedInARow: circuit.failedInARow + 1, wellInARow: 0 }
  if (circuit.state !== 'closed') return opened(worse, fault)
  return worse.failedInARow >= tripInARow || isMost(errors, nowMs) ? opened(worse, fault) : worse
}

/** A first content that took too long; the call itself may yet go well. */
export function wasSlow(circuit: Circuit, fault: Fault): Circuit {
  const slow = added(circuit.slow, { value: 1, nowMs: fault.nowMs, halfLifeMs })
  const worse = { ...circuit, slow, slowInARow: circuit.slowInARow + 1 }
  const isTooMuch = worse.slowInARow >= tripSlowInARow || isMost(slow, fault.nowMs)
  return circuit.state !== 'closed' || isTooMuch ? opened(worse, fault) : worse
}

export function wasQuick(circuit: Circuit, nowMs: number): Circuit {
  return { ...circuit, slow: added(circuit.slow, { value: 0, nowMs, halfLifeMs }), slowInARow: 0 }
}

function isMost(share: Decayed, nowMs: number): boolean {
  const { weight, sum } = decayed(share, nowMs, halfLifeMs)
  return weight >= tripCalls && sum / weight >= tripShare
}

/** Each time that it opens anew without having closed, the pause is twice as long. */
function opened(circuit: Circuit, { nowMs, random }: Fault): Circuit {
  // Calls that were under way when it opened fail one after another: they are no news.
  if (circuit.state === 'open' && nowMs < circuit.retryAtMs) return circuit
  const pauseMs = Math.min(longestPauseMs, Math.max(firstPauseMs, circuit.pauseMs * 2))
  const retryAtMs = nowMs + jittered(pauseMs, random)
  return { ...circuit, state: 'open', pauseMs, retryAtMs, wellInARow: 0, slowInARow: 0, slow: nothingYet }
}

/**
 * Another replica has opened its circuit for so long. Whose own calls go well waits for one failure of his own; all
 * others take its word, and their probes say when it is over.
 */
export function heardOpen(circuit: Circuit, { nowMs, random, forMs }: Fault & { readonly forMs: number }): Circuit {
  if (circuit.state !== 'closed') return circuit
  const { weight, sum } = decayed(circuit.errors, nowMs, halfLifeMs)
  if (weight >= tripCalls && sum / weight < soundShare)
    return { ...circuit, failedInARow: Math.max(circuit.failedInARow, tripInARow - 1) }
  const pauseMs = Math.min(longestPauseMs, forMs)
  const retryAtMs = nowMs + jittered(pauseMs, random)
  return { ...circuit, state: 'open', pauseMs, retryAtMs, wellInARow: 0, slowInARow: 0, slow: nothingYet }
}

/** Another replica's probes have gone well: ours may be made at once. */
export function heardClosed(circuit: Circuit, nowMs: number): Circuit {
  return circuit.state === 'open' ? { ...circuit, retryAtMs: Math.min(circuit.retryAtMs, nowMs) } : circuit
}

function jittered(pauseMs: number, random: Random): number {
  return pauseMs * (1 + (random() - 0.5) * 2 * pauseJitter)
}

/** The share of failures, from 0 to 1, with the benefit of a doubt of two calls. */
export function errorRate({ errors }: Circuit, nowMs: number): number {
  const { weight, sum } = decayed(errors, nowMs, halfLifeMs)
  return sum / (weight + 2)
}
