/** What the load generator is told to do. */
export interface Order {
  readonly id: number
  readonly port: number
  /** Lines of the head beside the usual ones. */
  readonly headers: readonly string[]
  readonly body: string
  readonly isStream: boolean
  readonly connections: number
  /** Calls a second; 0 for one call after another on each connection. */
  readonly rate: number
  readonly durationMs: number
  /** Each connection makes no more, and one at least. */
  readonly callsEach: number
  /** Between the first calls of two connections. */
  readonly staggerMs: number
}

/** Microseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

export interface Figures {
  /** Calls with a whole answer, and the tokens that those answers reported. */
  readonly calls: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly failed: number
  /** What was wrong with some that failed. */
  readonly faults: readonly string[]
  readonly tookMs: number
  /** Of whole answers, of their first bytes, and from the vendor's write of an event to its arrival. */
  readonly latencyUs: Percentiles | undefined
  readonly firstUs: Percentiles | undefined
  readonly delayUs: Percentiles | undefined
}

export interface OrderDone {
  readonly id: number
  readonly figures: Figures
}

/** Undefined where there are no samples. */
export function percentiles(samples: readonly number[]): Percentiles | undefined {
  if (samples.length === 0) return undefined
  const sorted = Float64Array.from(samples).sort()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { p50: at(0.5), p99: at(0.99) }
}

/** The middle one, or the mean of the two in the middle; undefined of none. */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]
  return upper === undefined || lower === undefined ? undefined : (upper + lower) / 2
}
