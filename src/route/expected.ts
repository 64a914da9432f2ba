import { added, type Decayed, decayed, meanOf, nothingYet } from '../core/decayed.ts'
import type { Call, Target } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import { charge, type Counts, type ExchangeRate } from '../core/price.ts'
import { rateFor } from '../core/rates.ts'
import { outputTotal } from '../core/usage.ts'
import { serviceTierOf } from '../core/wire.ts'
import type { Clock } from '../ports.ts'

const halfLifeMs = 600_000
/** Kinds of calls whose answers' length is remembered; the oldest are forgotten first. */
const kindLimit = 20_000
/** Where nothing was seen: a few paragraphs. */
const usualOutput = 400
/** With what weight a guess counts against what was seen. */
const guessWeight = 1
/** Bytes of a prompt for one token, about. Wrong by the same factor for all targets, so it hardly changes their order. */
const bytesPerToken = 4

/** How long answers are, by model and by the order of magnitude of the bound that the caller sets. */
export interface Outputs {
  expect(call: Call, model: string): number
  seen(call: Call, model: string, counts: Counts): void
}

export function openOutputs(clock: Pick<Clock, 'elapsed'>): Outputs {
  const known = new Map<string, Decayed>()
  const nameOf = ({ maxOutput }: Call, model: string) =>
    `${maxOutput === undefined ? '' : Math.floor(Math.log2(Math.max(maxOutput, 1)))} ${model}`
  return {
    expect(call, model) {
      const seen = decayed(known.get(nameOf(call, model)) ?? nothingYet, clock.elapsed(), halfLifeMs)
      const mean = meanOf(seen, { mean: Math.min(usualOutput, call.maxOutput ?? usualOutput), weight: guessWeight })
      return Math.ceil(Math.min(mean ?? usualOutput, call.maxOutput ?? Infinity))
    },
    seen(call, model, counts) {
      const name = nameOf(call, model)
      const before = known.get(name) ?? nothingYet
      known.delete(name)
      known.set(name, added(before, { value: outputTotal(counts), nowMs: clock.elapsed(), halfLifeMs }))
      const [oldest = name] = known.keys()
      if (known.size > kindLimit) known.delete(oldest)
    },
  }
}

export interface Expectation {
  readonly call: Call
  /** Bytes and more of the prompt, see core/prompt.ts. */
  readonly promptBound: number
  readonly outputTokens: number
  /** Share of the prompt that the target is expected to have in its cache, from 0 to 1. */
  readonly cacheShare: number
  /** All costs are compared in this currency. */
  readonly currency: string
  readonly exchange: readonly ExchangeRate[]
}

/** What a call is expected to cost us at a target, in nano-units; undefined where nobody has told us its prices. */
export function expectedCost(target: Target, expectation: Expectation): Nanos | undefined {
  const { call, promptBound, outputTokens, cacheShare, currency, exchange } = expectation
  const { costs, region } = target
  if (!costs) return undefined
  const promptTokens = Math.ceil(promptBound / bytesPerToken)
  const cached = Math.min(promptTokens, Math.floor(promptTokens * cacheShare))
  const counts = { input: promptTokens - cached, cached_input: cached, output: outputTokens }
  const asked = { promptTokens, startedAtMs: call.startedAtMs, serviceTier: serviceTierOf(call.inner), region }
  const rate = rateFor(costs, asked)
  try {
    const cost = charge(rate.nanos.request === undefined ? counts : { ...counts, request: 1 }, rate)
    if (costs.currency === currency) return cost
    const change = exchange.find(({ from, to }) => from === costs.currency && to === currency)
    return change && (cost * change.num) / change.den
  } catch (error) {
    // Prices of the prompt alone, say: such a target is one whose costs nobody knows.
    if (error instanceof RangeError) return undefined
    throw error
  }
}
