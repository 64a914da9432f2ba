import { describe, expect, test } from 'vitest'
import type { Caller } from '../../src/core/call.ts'
import type { Model } from '../../src/core/catalog.ts'
import type { ExchangeRate, PriceSet } from '../../src/core/price.ts'
import { freeNanos } from '../../src/core/price-set.ts'
import { pinPrices } from '../../src/ledger/prices.ts'
import { setOf } from '../support/prices.ts'

const model = (prices?: PriceSet): Model => ({
  name: 'm',
  targets: [],
  ...(prices && { prices }),
  maxOutputTokens: 1,
  policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
  createdAtMs: 0,
  provisioned: true,
})

const caller = (currency: string, discountPpm: number): Caller => ({
  accountId: 1,
  keyId: 1,
  publicId: 'k',
  kind: 'master',
  currency,
  discountPpm,
  chain: [],
  models: [],
})

const list = setOf({ input: 1n, output: 2n }, [{ when: { fromTokens: 9 }, nanos: { input: 3n } }])
const exchange: readonly ExchangeRate[] = [{ from: 'USD', to: 'CNY', num: 29n, den: 4n, version: '2026-07-24' }]

describe('the prices that are pinned', () => {
  test('are the list where the account pays it as it is', () => {
    expect(pinPrices(model(list), caller('USD', 1_000_000))).toBe(list)
  })

  test('have the discount of the account, every rate of the list, and an id of their own', () => {
    const { id, ...pinned } = pinPrices(model(list), caller('USD', 900_000))
    expect([pinned, id]).toEqual([
      { currency: 'USD', nanos: list.nanos, rates: list.rates, discountPpm: 900_000 },
      list.id.replace('d=1000000', 'd=900000'),
    ])
  })

  test('are one object for equal accounts', () => {
    expect(pinPrices(model(list), caller('CNY', 5), exchange)).toBe(pinPrices(model(list), caller('CNY', 5), exchange))
  })

  test('have the rate of exchange where the account has another currency, and that is part of their id', () => {
    const { currency, conversion, id } = pinPrices(model(list), caller('CNY', 1_000_000), exchange)
    expect([currency, conversion, id.includes(';x=USD*29/4@2026-07-24;')]).toEqual([
      'CNY',
      { from: 'USD', num: 29n, den: 4n, version: '2026-07-24' },
      true,
    ])
  })

  test('are refused in a currency without a rate', () => {
    expect(() => pinPrices(model(list), caller('EUR', 1_000_000), exchange)).toThrow('no price in EUR')
  })

  test('of a free model are free in every currency', () => {
    const { currency, nanos } = pinPrices(model(setOf(freeNanos)), caller('EUR', 1_000_000))
    expect([currency, nanos]).toEqual(['EUR', freeNanos])
  })

  test.each([
    ['none', undefined],
    ['none for the answer', setOf({ input: 1n })],
    ['none for the prompt', setOf({ output: 1n })],
  ])('are refused where there are %s', (_, prices) => {
    expect(() => pinPrices(model(prices), caller('USD', 1_000_000))).toThrow('has no price yet')
  })
})
