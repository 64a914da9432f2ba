import type { Nanos } from '../core/money.ts'
import { drawOf } from '../core/draw.ts'
import type { Strategy, Weights } from '../core/routing.ts'

/** A target as it is compared with the others of one call. */
export interface Standing {
  readonly name: string
  /** In the operator's list, from 0. */
  readonly position: number
  /** What this call is expected to cost us, in nano-units of one currency for all; undefined where nobody knows. */
  readonly cost: Nanos | undefined
  /** How long this call is expected to take; undefined: no call was seen. */
  readonly timeMs: number | undefined
  /** From 0 to 1: the operator's mark, the share of calls without an error, what users say. */
  readonly quality: number
  /** The operator's mark alone: what the target may come back to. */
  readonly bestQuality: number
  readonly inFlight: number
  readonly weight: number
  /** Of the vendor's limits, the share that is left, from 0 to 1; absent: nobody has said. */
  readonly quota?: number
}

export interface Scored {
  readonly standing: Standing
  /** From 0 to 1 for what is scored; for the other strategies only its order means something. */
  readonly score: number
}

/** Costs are compared in millionths: a score is no money. */
const million = 1_000_000n

/** What makes a score of the strategies that are one; undefined for those that put targets in order otherwise. */
export function weightsOf(strategy: Strategy, weights: Weights): Weights | undefined {
  switch (strategy) {
    case 'score':
      return weights
    case 'cost':
      return { cost: 1, performance: 0, quality: 0 }
    case 'latency':
      return { cost: 0, performance: 1, quality: 0 }
    case 'quality':
      return { cost: 0, performance: 0, quality: 1 }
    case 'priority':
    case 'weighted':
    case 'least-busy':
      return undefined
  }
}

export interface Ranking {
  readonly strategy: Strategy
  readonly weights: Weights
  /** From 0 up to 1: whatever is left to chance follows from it. */
  readonly draw: number
}

/**
 * Best first. The order of `standings` changes nothing, and a target that is nowhere better and somewhere worse than
 * another never comes before it where scores decide.
 */
export function rank(standings: readonly Standing[], { strategy, weights, draw }: Ranking): readonly Scored[] {
  const scoring = weightsOf(strategy, weights)
  const best = bestOf(standings)
  const score = scoring
    ? (standing: Standing) => scoreOf(standing, best, scoring)
    : (standing: Standing) => orderOf(standing, strategy, draw)
  return standings.map((standing) => ({ standing, score: score(standing) })).toSorted(better)
}

/** The best that any of the targets has in each respect: the others are measured by it. */
interface Best {
  readonly cost: Nanos | undefined
  readonly timeMs: number | undefined
  readonly quality: number
}

function bestOf(standings: readonly Standing[]): Best {
  const costs = standings.flatMap(({ cost }) => (cost === undefined ? [] : [cost]))
  const times = standings.flatMap(({ timeMs }) => (timeMs === undefined ? [] : [timeMs]))
  return {
    cost: costs.length === 0 ? undefined : costs.reduce((least, cost) => (cost < least ? cost : least)),
    timeMs: times.length === 0 ? undefined : Math.min(...times),
    quality: Math.max(0, ...standings.map(({ quality }) => quality)),
  }
}

/** Below this share of its vendor's limits a target counts as dearer, the more so the less is left. */
const scarceQuota = 0.1

/** From 0 to 1. Never falls where the target gets better in one respect and stays as it is in the others. */
function scoreOf({ cost, timeMs, quality, quota = 1 }: Standing, best: Best, weights: Weights): number {
  const cheap = costPart(cost, best.cost) * Math.min(1, quota / scarceQuota)
  // Nobody has seen it slow: it is tried, and then it is known.
  const fast = timeMs === undefined || timeMs <= 0 ? 1 : Math.min(1, (best.timeMs ?? timeMs) / timeMs)
  const good = best.quality === 0 ? 1 : Math.min(1, quality / best.quality)
  const all = weights.cost + weights.performance + weights.quality
  return (cheap * weights.cost + fast * weights.performance + good * weights.quality) / all
}

function costPart(cost: Nanos | undefined, cheapest: Nanos | undefined): number {
  if (cost === undefined || cheapest === undefined) return 0
  if (cost <= cheapest) return 1
  // allowed -- at most a million: a share, not money
  return Number((cheapest * million) / cost) / 1_000_000
}

/** Larger is better, as with scores. */
function orderOf({ name, position, inFlight, weight }: Standing, strategy: Strategy, draw: number): number {
  if (strategy === 'priority') return -position
  const chance = drawOf(`${draw}/${name}`)
  if (strategy === 'least-busy') return -(inFlight / Math.max(weight, 1)) + chance * 1e-6
  // Of these exponential draws each is the largest with the probability of its weight.
  return weight <= 0 ? Number.NEGATIVE_INFINITY : Math.log(Math.max(chance, 2 ** -33)) / weight
}

function better(a: Scored, b: Scored): number {
  if (a.score !== b.score) return b.score - a.score
  const [left, right] = [a.standing, b.standing]
  return (
    compareKnown(left.cost, right.cost) ||
    compareKnown(left.timeMs, right.timeMs) ||
    right.quality - left.quality ||
    (left.name < right.name ? -1 : left.name > right.name ? 1 : 0)
  )
}

/** Less first, and what is not known last. */
function compareKnown<Value extends bigint | number>(a: Value | undefined, b: Value | undefined): number {
  if (a === b) return 0
  if (a === undefined) return 1
  if (b === undefined) return -1
  return a < b ? -1 : 1
}

/**
 * How much worse a target may be scored and still be taken for as good: prices are exact and tell every percent apart,
 * times swing from call to call, and error-free rates lie between.
 */
export function tolerance({ cost, performance, quality }: Weights): number {
  return (cost * 0.01 + performance * 0.25 + quality * 0.05) / (cost + performance + quality)
}

export interface Settling {
  /** As wide as `tolerance` says. */
  readonly within: number
  /** Where the session was served before, or the model's last call. */
  readonly before: string | undefined
  /** Keeps calls together that have something in common; undefined: they have not. */
  readonly affinity: string | undefined
}

/**
 * Stays where the session was, as long as that is about as good as the best: a vendor's prompt cache is worth more
 * than a difference in the noise. New sessions are spread over what is as good as the best, the same way on every replica.
 */
export function settle(ranked: readonly Scored[], { within, before, affinity }: Settling): readonly Scored[] {
  const [best] = ranked
  if (!best) return ranked
  const near = ranked.filter(({ score }) => score >= best.score - within)
  const kept = near.find(({ standing }) => standing.name === before)
  if (kept) return first(kept, ranked)
  if (affinity === undefined) return ranked
  const chosen = near.reduce((most, one) =>
    drawOf(`${affinity}/${one.standing.name}`) > drawOf(`${affinity}/${most.standing.name}`) ? one : most,
  )
  return first(chosen, ranked)
}

function first(one: Scored, ranked: readonly Scored[]): readonly Scored[] {
  return [one, ...ranked.filter((other) => other !== one)]
}

/**
 * A target behind the first that could be as good as it, were it fast and without errors again: the only kind that is
 * worth a call to find out. Undefined where there is none.
 */
export function worthALook(ranked: readonly Scored[], weights: Weights, draw: number): Scored | undefined {
  const [chosen] = ranked
  if (!chosen) return undefined
  const best = bestOf(ranked.map(({ standing }) => standing))
  const hoped = ranked.slice(1).filter(({ standing }) => {
    const recovered = { ...standing, timeMs: undefined, quality: standing.bestQuality }
    return scoreOf(recovered, best, weights) >= chosen.score
  })
  return hoped[Math.floor(draw * hoped.length)]
}
