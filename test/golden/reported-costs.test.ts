import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { pricedOnly } from '../../src/core/measure.ts'
import { divideUp } from '../../src/core/money.ts'
import { charge } from '../../src/core/price.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import { rateFor } from '../../src/core/rates.ts'
import { inputTotal, normalUsage, rawUsage } from '../../src/core/usage.ts'
import { scaled } from '../../src/price-lists/decimal.ts'
import { findListed, type PriceList, readList } from '../../src/price-lists/read-lists.ts'
import { recordedUsage } from '../../src/record/usage.ts'
import { root } from '../source.ts'

/**
 * What vendors themselves said that recorded calls cost, against what their list prices make of the same usage here.
 * Both lie beside the repository, where they are at hand at all.
 */
const folder = join(root, '../shared')
const isThere = existsSync(join(folder, 'fixtures')) && existsSync(join(folder, 'prices/litellm.json'))
if (!isThere) process.stdout.write('skipped: there are no recorded calls with prices beside this repository\n')

interface Recorded {
  readonly kind: string
  readonly model: string
  readonly usage?: JsonObject
  /** Dollars, as text. */
  readonly vendor_reported_cost_usd?: string
}

type Revive = (text: string, revive: (name: string, value: unknown, at: { source?: string }) => unknown) => unknown
const parseExact = JSON.parse as Revive

function recorded(vendor: string): readonly Recorded[] {
  const text = readFileSync(join(folder, 'fixtures', vendor, 'manifest.json'), 'utf8')
  const manifest = parseExact(text, (name, value, { source }) => (name === 'vendor_reported_cost_usd' ? source : value))
  return (manifest as { entries: readonly Recorded[] }).entries.filter(
    ({ kind, vendor_reported_cost_usd: cost }) => kind === 'chat' && cost !== undefined && Number(cost) > 0,
  )
}

/** In nano-dollars; undefined where the list has no price of the model. */
function charged(list: PriceList, names: readonly string[], usage: JsonObject): bigint | undefined {
  const listed = names.map((key) => findListed(list, { key, model: key })).find((one) => one !== undefined)
  const raw = rawUsage(usage)
  if (!listed || !raw) return undefined
  const { counts } = normalUsage(raw)
  const prices = priceSet({ currency: 'USD', nanos: listed.nanos, rates: listed.rates, discountPpm: fullPricePpm })
  const rate = rateFor(prices, { promptTokens: inputTotal(counts), startedAtMs: 0 })
  return charge(pricedOnly(recordedUsage({ counts, source: 'vendor' }, rate).counts, rate.nanos), rate)
}

/** Names of the list by those of the recordings. */
const aliases: Readonly<Record<string, string>> = { 'grok-4-fast': 'xai/grok-4-fast-reasoning' }

/** Vendors give a tenth of a nano-dollar; a charge is rounded up to a whole one. */
const reportedNanos = (cost: string): bigint => divideUp(scaled(cost, 10) ?? -10n, 10n)

describe.skipIf(!isThere)('the list price of a recorded call is what its vendor says that it cost', () => {
  const list = isThere ? readList(readFileSync(join(folder, 'prices/litellm.json'), 'utf8')) : undefined

  test.each([
    ['xai', 'xai', '', 11, 11],
    ['openrouter', 'openrouter', 'anthropic/', 19, 19],
    ['openrouter', 'openrouter', 'google/', 7, 7],
    ['openrouter', 'openrouter', 'openai/', 2, 2],
    // Routed to a vendor that is cheaper than the list.
    ['openrouter', 'openrouter', 'moonshotai/', 0, 2],
    ['vercel-gateway', 'vercel_ai_gateway', 'anthropic/', 6, 6],
    ['vercel-gateway', 'vercel_ai_gateway', 'google/', 2, 2],
    // A fee for each request, which the list does not have.
    ['perplexity', 'perplexity', '', 0, 2],
  ])('%s, %s/%s*: %i of %i', (vendor, prefix, family, explained, of) => {
    const calls = recorded(vendor).filter(({ model }) => model.startsWith(family))
    const compared = calls.flatMap(({ model, usage = {}, vendor_reported_cost_usd: cost = '' }) => {
      const names = [`${prefix}/${model}`, ...(aliases[model] === undefined ? [] : [aliases[model]])]
      const ours = charged(list!, names, usage)
      return ours === undefined ? [] : [ours === reportedNanos(cost)]
    })
    expect([compared.filter(Boolean).length, compared.length]).toEqual([explained, of])
  })
})
