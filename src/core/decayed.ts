/** A weighted sum that forgets: what was added counts half after every half-life. */
export interface Decayed {
  readonly weight: number
  readonly sum: number
  readonly atMs: number
}

export const nothingYet: Decayed = Object.freeze({ weight: 0, sum: 0, atMs: 0 })

/** What is left of it at a later moment of a clock that never goes back. */
export function decayed({ weight, sum, atMs }: Decayed, nowMs: number, halfLifeMs: number): Decayed {
  if (weight === 0 || nowMs <= atMs) return { weight, sum, atMs: Math.max(atMs, nowMs) }
  const left = 2 ** ((atMs - nowMs) / halfLifeMs)
  return { weight: weight * left, sum: sum * left, atMs: nowMs }
}

export interface Sample {
  readonly value: number
  readonly weight?: number
  readonly nowMs: number
  readonly halfLifeMs: number
}

export function added(to: Decayed, { value, weight = 1, nowMs, halfLifeMs }: Sample): Decayed {
  const now = decayed(to, nowMs, halfLifeMs)
  return { weight: now.weight + weight, sum: now.sum + value * weight, atMs: now.atMs }
}

/** The mean, drawn towards what is expected with the weight that this has; undefined where there is neither. */
export function meanOf(
  { weight, sum }: Decayed,
  expected?: { readonly mean: number; readonly weight: number },
): number | undefined {
  const all = weight + (expected?.weight ?? 0)
  return all <= 1e-9 ? undefined : (sum + (expected ? expected.mean * expected.weight : 0)) / all
}
