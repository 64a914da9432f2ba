import { added, type Decayed, decayed, meanOf, nothingYet } from '../core/decayed.ts'
import type { Random } from '../core/draw.ts'
import { inputTotal, outputTotal } from '../core/usage.ts'
import type { Counts } from '../core/price.ts'
import type { Clock, Log } from '../ports.ts'
import {
  type Circuit,
  type CircuitState,
  entered,
  errorRate,
  failed,
  heardClosed,
  heardOpen,
  isReady,
  newCircuit,
  probed,
  stateAt,
  succeeded,
  wasQuick,
  wasSlow,
} from './circuit.ts'
import type { Sighting } from './sightings.ts'

/** Targets whose figures are kept; beyond it those that were not asked for the longest time are forgotten. */
const targetLimit = 20_000
const halfLifeMs = 60_000
/** Users answer late and seldom. */
const feedbackHalfLifeMs = 6 * 3_600_000
const errorsKept = 5
/** What is slow, where nobody has said: so many times what is usual, and never under so much. */
const slowTimes = 10
const leastSlowMs = 10_000
/** First contents that it takes to know what is usual. */
const usualCalls = 20
/** Below so many milliseconds a speed is a matter of buffers. */
const leastSpeedMs = 20
/** With what weight a first opinion counts against users' answers. */
const feedbackDoubt = 5

/** One failure, as the page of health shows it. */
export interface SeenError {
  readonly atMs: number
  readonly code: string
  readonly status: number
}

interface Figures {
  circuit: Circuit
  firstContentMs: Decayed
  /** Milliseconds for one output token. */
  pace: Decayed
  /** Share of the prompt that the vendor had in its cache, by prompt tokens. */
  cached: Decayed
  feedback: Decayed
  inFlight: number
  calls: number
  errors: readonly SeenError[]
}

/** What is known of a target at this moment. */
export interface TargetHealth {
  readonly state: CircuitState
  readonly isReady: boolean
  /** Milliseconds until an open circuit may be tried; 0 for any other. */
  readonly retryInMs: number
  readonly errorRate: number
  readonly firstContentMs: number | undefined
  /** Milliseconds for one output token. */
  readonly tokenMs: number | undefined
  readonly cacheShare: Decayed
  /** From 0 to 1, where users have said anything. */
  readonly feedback: number | undefined
  readonly inFlight: number
  /** Since the process began. */
  readonly calls: number
  /** Newest first. */
  readonly errors: readonly SeenError[]
}

/** One call at a target, from its entry to its end. */
export interface Visit {
  readonly slowAfterMs: number | undefined
  slow(): void
  answered(): void
  failed(error: { readonly code: string; readonly status: number; readonly counts: boolean }): void
  ended(said: { readonly counts?: Counts | undefined; readonly paced: boolean }): void
  left(): void
}

export interface Health {
  of(target: string): TargetHealth
  /** Undefined where its circuit takes no call. */
  enter(target: string, how: { readonly isLastResort: boolean; readonly slowMs: number | undefined }): Visit | undefined
  /** What a user thinks of an answer, from 0 to 1. */
  rated(target: string, mark: number): void
  /** Takes what another replica has seen of a target for a hint. */
  heard(seen: TargetSighting): void
  /** What another replica should know of a target. */
  sightings(target: string): readonly Sighting[]
}

export type TargetSighting = Extract<Sighting, { readonly target: string }>

export interface HealthTools {
  readonly clock: Pick<Clock, 'now' | 'elapsed'>
  readonly random: Random
  readonly log: Log
  /** Hears of what other replicas should know. */
  readonly tell: (sighting: Sighting) => void
}

/** How the targets do, as this process sees it. */
export function openHealth(tools: HealthTools): Health {
  const known = new Map<string, Figures>()
  const figuresOf = (target: string): Figures => {
    const figures = known.get(target) ?? fresh()
    // Those that are asked for last stay longest.
    known.delete(target)
    known.set(target, figures)
    for (const [oldest, { inFlight }] of known) {
      if (known.size <= targetLimit) break
      if (inFlight === 0) known.delete(oldest)
    }
    return figures
  }
  return {
    of: (target) => shown(known.get(target) ?? fresh(), tools.clock.elapsed()),
    enter(target, { isLastResort, slowMs }) {
      const figures = figuresOf(target)
      const letIn = entered(figures.circuit, { nowMs: tools.clock.elapsed(), isLastResort })
      if (!letIn) return undefined
      figures.circuit = letIn.circuit
      return visit({ tools, target, figures, isProbe: letIn.isProbe, slowMs })
    },
    rated(target, score) {
      rate(tools, figuresOf(target), score)
      tools.tell({ kind: 'rated', target, score })
    },
    heard: (seen) => hear(tools, figuresOf(seen.target), seen),
    sightings(target) {
      const { circuit } = known.get(target) ?? fresh()
      const forMs = Math.ceil(circuit.retryAtMs - tools.clock.elapsed())
      return circuit.state === 'open' && forMs > 0 ? [{ kind: 'circuit_open', target, forMs }] : []
    },
  }
}

function rate({ clock }: HealthTools, figures: Figures, value: number): void {
  figures.feedback = added(figures.feedback, { value, nowMs: clock.elapsed(), halfLifeMs: feedbackHalfLifeMs })
}

function hear(tools: HealthTools, figures: Figures, seen: TargetSighting): void {
  if (seen.kind === 'rated') return rate(tools, figures, seen.score)
  const { clock, random, log } = tools
  const nowMs = clock.elapsed()
  const from = figures.circuit.state
  figures.circuit =
    seen.kind === 'circuit_open'
      ? heardOpen(figures.circuit, { nowMs, random, forMs: seen.forMs })
      : heardClosed(figures.circuit, nowMs)
  const { state: to } = figures.circuit
  if (to !== from) log('circuit', { target: seen.target, from, to, heard: true })
}

function fresh(): Figures {
  return {
    circuit: newCircuit,
    firstContentMs: nothingYet,
    pace: nothingYet,
    cached: nothingYet,
    feedback: nothingYet,
    inFlight: 0,
    calls: 0,
    errors: [],
  }
}

function shown(figures: Figures, nowMs: number): TargetHealth {
  const { circuit, firstContentMs, pace, cached, feedback, inFlight, calls, errors } = figures
  const state = stateAt(circuit, nowMs)
  const heard = decayed(feedback, nowMs, feedbackHalfLifeMs)
  return {
    state,
    isReady: isReady(circuit, nowMs),
    retryInMs: state === 'open' ? Math.ceil(circuit.retryAtMs - nowMs) : 0,
    errorRate: errorRate(circuit, nowMs),
    firstContentMs: meanOf(decayed(firstContentMs, nowMs, halfLifeMs)),
    tokenMs: meanOf(decayed(pace, nowMs, halfLifeMs)),
    cacheShare: decayed(cached, nowMs, halfLifeMs),
    feedback: heard.weight === 0 ? undefined : meanOf(heard, { mean: 1, weight: feedbackDoubt }),
    inFlight,
    calls,
    errors,
  }
}

interface Visiting {
  readonly tools: HealthTools
  readonly target: string
  readonly figures: Figures
  readonly isProbe: boolean
  readonly slowMs: number | undefined
}

function visit(visiting: Visiting): Visit {
  const { tools, figures, isProbe, slowMs } = visiting
  const { clock, random } = tools
  const startedAt = clock.elapsed()
  let contentAt: number | undefined
  let isSlow = false
  let isOver = false
  figures.inFlight++
  figures.calls++

  const change = (next: (circuit: Circuit) => Circuit): void => {
    const before = figures.circuit.state
    figures.circuit = next(figures.circuit)
    if (figures.circuit.state !== before) told(visiting, before)
  }
  const over = (): boolean => {
    if (isOver) return true
    isOver = true
    figures.inFlight--
    if (isProbe) change(probed)
    return false
  }
  return {
    slowAfterMs: slowMs ?? usualSlowMs(figures.firstContentMs, startedAt),
    slow() {
      if (isOver || isSlow || contentAt !== undefined) return
      isSlow = true
      change((circuit) => wasSlow(circuit, { nowMs: clock.elapsed(), random }))
    },
    answered() {
      if (isOver || contentAt !== undefined) return
      contentAt = clock.elapsed()
      const sample = { value: contentAt - startedAt, nowMs: contentAt, halfLifeMs }
      figures.firstContentMs = added(figures.firstContentMs, sample)
      if (!isSlow) change((circuit) => wasQuick(circuit, clock.elapsed()))
    },
    failed({ code, status, counts }) {
      if (over()) return
      figures.errors = [{ atMs: clock.now(), code, status }, ...figures.errors].slice(0, errorsKept)
      if (counts) change((circuit) => failed(circuit, { nowMs: clock.elapsed(), random }))
    },
    ended({ counts, paced }) {
      if (over()) return
      const nowMs = clock.elapsed()
      measure(figures, { counts, nowMs, spentMs: paced && contentAt !== undefined ? nowMs - contentAt : 0 })
      // A probe that was slow has said what there was to say.
      if (!(isProbe && isSlow)) change((circuit) => succeeded(circuit, nowMs))
    },
    left: () => void over(),
  }
}

/** A change of state is told once. */
function told({ tools, target, figures }: Visiting, from: CircuitState): void {
  const { state, pauseMs } = figures.circuit
  tools.log('circuit', { target, from, to: state, ...(state === 'open' && { pauseMs }) })
  if (state === 'open') tools.tell({ kind: 'circuit_open', target, forMs: pauseMs })
  if (state === 'closed') tools.tell({ kind: 'circuit_closed', target })
}

function usualSlowMs(firstContentMs: Decayed, nowMs: number): number | undefined {
  const now = decayed(firstContentMs, nowMs, halfLifeMs)
  return now.weight < usualCalls ? undefined : Math.max(leastSlowMs, (slowTimes * now.sum) / now.weight)
}

interface Measured {
  readonly counts: Counts | undefined
  readonly nowMs: number
  /** From the first content to the end; 0 where it says nothing. */
  readonly spentMs: number
}

function measure(figures: Figures, { counts, nowMs, spentMs }: Measured): void {
  if (!counts) return
  const output = outputTotal(counts)
  const prompt = inputTotal(counts)
  if (spentMs >= leastSpeedMs && output > 1)
    figures.pace = added(figures.pace, { value: spentMs / (output - 1), nowMs, halfLifeMs })
  if (prompt > 0) {
    const value = (counts.cached_input ?? 0) / prompt
    figures.cached = added(figures.cached, { value, weight: prompt, nowMs, halfLifeMs })
  }
}
