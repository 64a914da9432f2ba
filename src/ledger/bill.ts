import type { Part } from '../core/call.ts'
import { fitsAny } from '../core/glob.ts'
import { divideUp, type Nanos } from '../core/money.ts'
import { onceForLasting } from '../core/once-for.ts'
import { type PriceSet, type Unit, unitNames, units } from '../core/price.ts'
import { tokenAsset, type TokenAsset, type TokenWeights, weigh, weightOf } from '../core/tokens.ts'
import type { Purse } from '../ports.ts'
import type { Need } from './engine/commands.ts'
import { type Share, unpaidShare } from './engine/purses.ts'
import { type Expected, quote } from './size.ts'

/** What a call comes to in each asset: money pays all of it, or tokens do, or each of them a share. */
export interface Bill {
  /** Nano-units of the account's currency. */
  readonly money: Nanos
  /** Micro-tokens; absent where a package cannot pay for the call. */
  readonly tokens?: bigint
}

const wholeBill: Share = { unpaid: 1n, whole: 1n }
const paid: Share = { unpaid: 0n, whole: 1n }

/** What two calls come to together. */
export function sumOfBills(one: Bill, other: Bill): Bill {
  const tokens =
    one.tokens === undefined && other.tokens === undefined ? undefined : (one.tokens ?? 0n) + (other.tokens ?? 0n)
  return { money: one.money + other.money, ...(tokens !== undefined && { tokens }) }
}

/** What a purse that counts in this asset pays for all of a bill; undefined where it cannot. */
export function amountIn({ money, tokens }: Bill, asset: TokenAsset | undefined): bigint | undefined {
  return asset === undefined ? money : tokens
}

/** The pieces that a price set charges for: of them a package may have no count. */
const pricedPieces = onceForLasting(({ nanos, rates = [] }: PriceSet): readonly Unit[] => {
  const all = [nanos, ...rates.map((rate) => rate.nanos)]
  return unitNames.filter((unit) => units[unit].per === 'unit' && all.some((each) => (each[unit] ?? 0n) > 0n))
})

/** True where every price of the set is for something that a package can count. Tokens it always can. */
export function takesTokens(prices: PriceSet, weights: TokenWeights): boolean {
  return pricedPieces(prices).every((unit) => weightOf(unit, weights) !== undefined)
}

const promptUnits: readonly Unit[] = ['input', 'cached_input', 'cache_write_5m', 'cache_write_1h', 'image_input']
const answerUnits: readonly Unit[] = ['output', 'reasoning', 'image_output']

function heaviestOf(kinds: readonly Unit[], weights: TokenWeights): bigint {
  return kinds
    .map((unit) => weightOf(unit, weights) ?? 0n)
    .reduce((most, weight) => (weight > most ? weight : most), 0n)
}

const heaviest = onceForLasting((weights: TokenWeights) => ({
  input: heaviestOf(promptUnits, weights),
  output: heaviestOf(answerUnits, weights),
}))
const heaviestWithAudio = onceForLasting((weights: TokenWeights) => ({
  input: heaviestOf([...promptUnits, 'audio_input'], weights),
  output: heaviestOf([...answerUnits, 'audio_output'], weights),
}))

/** The most that so many tokens come to, of whatever kind they turn out to be. No weights: money alone can pay. */
export function quoteBill(expected: Expected, prices: PriceSet, weights: TokenWeights | undefined): Bill {
  const money = quote(expected, prices)
  if (weights === undefined || !takesTokens(prices, weights)) return { money }
  const { input, output } = (expected.audio ? heaviestWithAudio : heaviest)(weights)
  const request = prices.nanos.request === undefined ? 0n : (weightOf('request', weights) ?? 0n)
  const pieces = weigh(expected.pieces ?? {}, weights)
  return {
    money,
    tokens: BigInt(expected.inputTokens) * input + BigInt(expected.outputTokens) * output + request + pieces,
  }
}

/** The purses that may pay for a model, in burn order, each with the whole of a bill in its own asset. */
export function needsOf(purses: readonly Purse[], model: string, bill: Bill): readonly Need[] {
  if (bill.money === 0n) return []
  const needs: Need[] = []
  for (const { id, asset, models } of purses) {
    if (!fitsAny(models, model)) continue
    if (asset !== tokenAsset) needs.push({ purse: id, amount: bill.money })
    else if (bill.tokens !== undefined) needs.push({ purse: id, amount: bill.tokens, asset: tokenAsset })
  }
  return needs
}

/** Needs of the share of a bill that some parts do not cover. */
export function needsOfShare(needs: readonly Need[], share: Share): readonly Need[] {
  return needs.map((need) => ({ ...need, amount: divideUp(need.amount * share.unpaid, share.whole) }))
}

/** The share of a bill that its parts leave unpaid, as an exact fraction. */
export function uncovered(bill: Bill, parts: readonly Part[]): Share {
  let share = bill.money === 0n ? paid : wholeBill
  for (const part of parts) {
    const total = amountIn(bill, part.asset)
    if (share.unpaid > 0n && total !== undefined && total > 0n) share = unpaidShare(share, part.amount, total)
  }
  return share
}

/** The most output tokens, up to `most`, whose bill some parts cover; 0 where they do not cover the prompt either. */
export function coveredBy(parts: readonly Part[], most: number, billOf: (outputTokens: number) => Bill): number {
  const isCovered = (outputTokens: number) => uncovered(billOf(outputTokens), parts).unpaid === 0n
  if (isCovered(most)) return most
  // Bills grow with the answer, so what is covered ends at one place.
  let [covered, beyond] = [0, most]
  while (beyond - covered > 1) {
    const middle = covered + Math.floor((beyond - covered) / 2)
    if (isCovered(middle)) covered = middle
    else beyond = middle
  }
  return covered
}
