import type { Attempt, Call, Target } from '../core/call.ts'
import { countTexts } from '../core/count-texts.ts'
import { charge, type Counts, priceOf, unitNames } from '../core/price.ts'
import { promptOf } from '../core/prompt.ts'
import { rateFor } from '../core/rates.ts'
import { inputTotal } from '../core/usage.ts'
import type { Platform } from '../ports.ts'

/** A try that gave no answer, and what its vendor may still ask for it. */
export interface Lost {
  readonly call: Call
  readonly target: Target
  /** As far as the vendor has told. */
  readonly counts: Counts | undefined
}

/** What we owe for a try that gave no answer, by what its vendor has counted; nothing where it has counted nothing. */
export function failedCost({ call, target, counts }: Lost): Pick<Attempt, 'cost' | 'costCurrency'> {
  const { costs, region } = target
  if (!costs || !counts) return {}
  const rate = rateFor(costs, { promptTokens: inputTotal(counts), startedAtMs: call.startedAtMs, region })
  const known = unitNames.flatMap((unit) =>
    counts[unit] === undefined || priceOf(rate, unit) === undefined ? [] : [[unit, counts[unit]] as const],
  )
  return { cost: charge(Object.fromEntries(known), rate), costCurrency: costs.currency }
}

/** The same for a try that we broke off while its vendor was at work: at least the prompt was read. */
export async function abandonedCost(
  platform: Pick<Platform, 'tokenizer'>,
  lost: Lost,
): Promise<Pick<Attempt, 'cost' | 'costCurrency'>> {
  if (!lost.target.costs || lost.counts) return failedCost(lost)
  const { texts, fixedTokens } = promptOf(lost.call)
  const input = fixedTokens + (await countTexts(platform.tokenizer, texts))
  return failedCost({ ...lost, counts: { input } })
}
