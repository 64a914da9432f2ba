/** A figure at a moment, in minutes. */
export interface Point {
  readonly minute: number
  readonly value: number
}

/** The slope of the line of least squares, a minute; 0 where there are not two moments. */
export function slopeOf(points: readonly Point[]): number {
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  if (points.length < 2) return 0
  const middle = { minute: mean(({ minute }) => minute), value: mean(({ value }) => value) }
  const spread = points.reduce((sum, { minute }) => sum + (minute - middle.minute) ** 2, 0)
  const product = points.reduce((sum, { minute, value }) => sum + (minute - middle.minute) * (value - middle.value), 0)
  return spread === 0 ? 0 : product / spread
}

/** The first part of a run is warm-up: caches fill and code is compiled. */
const warmUpShare = 0.25
/** Growth over the rest of the run that is no growth yet. */
const allowedShare = 0.1

export interface Trend {
  /** A minute. */
  readonly slope: number
  readonly isRising: boolean
}

/** Whether a figure grows by more than a tenth over what follows the warm-up, by the line through it. */
export function trendOf(points: readonly Point[]): Trend {
  const last = points.at(-1)?.minute ?? 0
  const after = points.filter(({ minute }) => minute >= last * warmUpShare)
  const slope = slopeOf(after)
  const from = after[0]
  const growth = from ? slope * (last - from.minute) : 0
  const mean = after.reduce((sum, { value }) => sum + value, 0) / Math.max(1, after.length)
  return { slope, isRising: growth > mean * allowedShare }
}
