import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import type { Caller } from '../../src/core/call.ts'
import { charge, type Counts } from '../../src/core/price.ts'
import { rateFor } from '../../src/core/rates.ts'
import { inputTotal } from '../../src/core/usage.ts'
import { pinPrices } from '../../src/ledger/prices.ts'
import { root } from '../source.ts'

interface Case {
  readonly model: string
  readonly counts: Counts
  readonly started_at_ms: number
  readonly markup_percent: string
  readonly discount_percent: string
  readonly service_tier?: string
  readonly region?: string
  /** What a dollar is worth in the account's currency. */
  readonly exchange?: string
  readonly nanos: string
}

interface Golden {
  readonly prices: Readonly<Record<string, object>>
  readonly cases: readonly Case[]
}

const golden = JSON.parse(readFileSync(join(root, 'test/golden/prices.json'), 'utf8')) as Golden

/** All the way that a price goes: from the configuration file to the charge of one call. */
function charged({ model: name, counts, ...one }: Case): bigint {
  const prices = { ...golden.prices[name], markup_percent: one.markup_percent }
  const file = {
    vendors: { openai: { api_keys: ['k'] } },
    models: { m: { targets: [{ vendor: 'openai', model: 'v' }], prices } },
    accounts: { default: { discount_percent: one.discount_percent } },
    exchange_rates: [{ from: 'USD', to: 'CNY', rate: one.exchange ?? '1', version: 'golden' }],
  }
  const config = readConfig({ text: JSON.stringify(file), path: 'golden.yaml', env: {} })
  const caller: Caller = {
    accountId: 1,
    keyId: 1,
    publicId: 'k',
    kind: 'master',
    currency: one.exchange === undefined ? 'USD' : 'CNY',
    discountPpm: config.accounts.get('default')?.discountPpm ?? 0,
    chain: [],
    models: [],
  }
  const pinned = pinPrices(config.models.get('m')!, caller, config.exchange)
  const facts = {
    promptTokens: inputTotal(counts),
    startedAtMs: one.started_at_ms,
    serviceTier: one.service_tier,
    region: one.region,
  }
  return charge(counts, rateFor(pinned, facts))
}

describe('real prices', () => {
  test('are charged as decimals of any precision say, in every one of 200 and more calls', () => {
    expect(golden.cases.length).toBeGreaterThanOrEqual(200)
    expect(golden.cases.map((one) => [one.model, charged(one)])).toEqual(
      golden.cases.map(({ model, nanos }) => [model, BigInt(nanos)]),
    )
  })
})
