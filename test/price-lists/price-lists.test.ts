import { describe, expect, test } from 'vitest'
import { scaled } from '../../src/price-lists/decimal.ts'
import type { Listed } from '../../src/price-lists/listed.ts'
import { judge, toFile } from '../../src/price-lists/propose.ts'
import { findListed, readList } from '../../src/price-lists/read-lists.ts'

describe('a decimal', () => {
  test.each([
    ['2.9e-8', 15, 29_000_000n],
    ['3.625e-09', 15, 3_625_000n],
    ['1E-15', 15, 1n],
    ['1e-16', 15, undefined],
    ['0.0000025', 15, 2_500_000_000n],
    ['0', 15, 0n],
    ['0.0', 9, 0n],
    ['1.1000', 6, 1_100_000n],
    ['0.1000000000000000055511151231257827', 9, undefined],
    ['-1', 9, undefined],
    ['1e1000', 9, undefined],
    ['abc', 9, undefined],
    ['', 9, undefined],
  ])('%s times ten to the %i is %s', (text, power, whole) => {
    expect(scaled(text, power)).toBe(whole)
  })
})

const litellm = (entry: object): Listed => {
  const list = readList(JSON.stringify({ 'p/m': { litellm_provider: 'p', ...entry } }))
  return findListed(list, { model: 'm', litellm: 'p' })!
}
const modelsDev = (entry: object): Listed => {
  const list = readList(JSON.stringify({ p: { id: 'p', models: { m: entry } } }))
  return findListed(list, { model: 'm', modelsDev: 'p' })!
}

describe('an entry of LiteLLM', () => {
  test('is read in our units, with length tiers, service tiers and their combinations', () => {
    const entry = {
      input_cost_per_token: 5e-6,
      output_cost_per_token: 3e-5,
      cache_read_input_token_cost: 5e-7,
      input_cost_per_token_above_272k_tokens: 1e-5,
      output_cost_per_token_above_272k_tokens: 4.5e-5,
      input_cost_per_token_above_272k_tokens_priority: 2e-5,
      output_cost_per_token_above_272k_tokens_priority: 9e-5,
      input_cost_per_token_batches: 2.5e-6,
      output_cost_per_token_batches: 1.5e-5,
      cache_creation_input_token_cost_above_1hr: 1e-5,
      regional_processing_uplift_multiplier_eu: 1.1,
      max_input_tokens: 1,
      supports_vision: true,
    }
    expect(litellm(entry)).toEqual({
      list: 'litellm',
      name: 'p/m',
      nanos: {
        input: 5_000_000_000n,
        output: 30_000_000_000n,
        cached_input: 500_000_000n,
        cache_write_1h: 10_000_000_000n,
      },
      rates: [
        { when: { fromTokens: 272_001 }, nanos: { input: 10_000_000_000n, output: 45_000_000_000n } },
        {
          when: { fromTokens: 272_001, service: 'priority' },
          nanos: { input: 20_000_000_000n, output: 90_000_000_000n },
        },
        { when: { service: 'batch' }, nanos: { input: 2_500_000_000n, output: 15_000_000_000n } },
        { when: { region: 'eu' }, nanos: {}, tokensPpm: 1_100_000 },
      ],
      notes: [],
    })
  })

  test('of a vendor whose tiers begin at their border begins there', () => {
    const entry = {
      litellm_provider: 'xai',
      input_cost_per_token_above_128k_tokens: 6e-6,
      output_cost_per_token_above_128k_tokens: 3e-5,
    }
    const list = readList(JSON.stringify({ 'xai/g': entry }))
    expect(findListed(list, { key: 'xai/g', model: 'g' })?.rates.map(({ when }) => when)).toEqual([
      { fromTokens: 128_000 },
    ])
  })

  test('with a list of tiers has its first as the plain price', () => {
    const tiered_pricing = [
      { range: [0, 32000.0], input_cost_per_token: 1.2e-6, output_cost_per_token: 6e-6 },
      { range: [32000.0, 128000.0], input_cost_per_token: 2.4e-6, output_cost_per_token: 1.2e-5 },
    ]
    expect(litellm({ tiered_pricing })).toMatchObject({
      nanos: { input: 1_200_000_000n, output: 6_000_000_000n },
      rates: [{ when: { fromTokens: 32_001 }, nanos: { input: 2_400_000_000n, output: 12_000_000_000n } }],
    })
  })

  test('leaves out, and says so: what has no unit, is no whole number, is zero, or is half a rate', () => {
    const entry = {
      input_cost_per_token: 1e-6,
      output_cost_per_token: 1e-6,
      cache_read_input_token_cost: 1e-17,
      cache_creation_input_token_cost: 0.0,
      input_cost_per_token_priority: 2.5e-6,
      file_search_cost_per_1k_calls: 2.5,
      search_context_cost_per_query: { search_context_size_low: 0.01, search_context_size_high: 0.02 },
    }
    expect(litellm(entry)).toMatchObject({
      nanos: { input: 1_000_000_000n, output: 1_000_000_000n },
      rates: [],
      notes: [
        'cached_input: 1e-17 is no whole number of nano-units',
        'cache_write_5m: zero',
        'file_search_cost_per_1k_calls: no unit of ours',
        'search_context_cost_per_query: several prices',
        'service=priority: not for prompt and answer both',
      ],
    })
  })

  test('takes the older name of a cached price only where the newer one is missing', () => {
    const both = { cache_read_input_token_cost: 1e-9, input_cost_per_token_cache_hit: 2e-9 }
    expect([litellm(both).nanos, litellm({ input_cost_per_token_cache_hit: 2e-9 }).nanos]).toEqual([
      { cached_input: 1_000_000n },
      { cached_input: 2_000_000n },
    ])
  })

  test('counts a second of audio once', () => {
    expect(litellm({ input_cost_per_second: 0.0001, output_cost_per_second: 0.0001 }).nanos).toEqual({
      second: 100_000n,
    })
  })

  test('is not found under the bare name of another vendor', () => {
    const list = readList(JSON.stringify({ m: { litellm_provider: 'other', input_cost_per_token: 1 } }))
    expect(findListed(list, { model: 'm', litellm: 'p' })).toBeUndefined()
  })
})

describe('a model of models.dev', () => {
  test('is read in our units, with its tiers and the modes that are service tiers', () => {
    const entry = {
      cost: {
        input: 5.0,
        output: 30,
        cache_read: 0.5,
        tiers: [{ tier: { size: 272000, type: 'context' }, input: 10, output: 45 }],
        citation: 2,
      },
      experimental: {
        modes: { fast: { cost: { input: 12.5, output: 75 }, provider: { body: { service_tier: 'priority' } } } },
      },
    }
    expect(modelsDev(entry)).toEqual({
      list: 'models.dev',
      name: 'p/m',
      nanos: { input: 5_000_000_000n, output: 30_000_000_000n, cached_input: 500_000_000n },
      rates: [
        { when: { fromTokens: 272_001 }, nanos: { input: 10_000_000_000n, output: 45_000_000_000n } },
        { when: { service: 'priority' }, nanos: { input: 12_500_000_000n, output: 75_000_000_000n } },
      ],
      notes: ['cost.citation: no unit of ours'],
    })
  })
})

test.each(['[]', '{}', '{"a":{"b":1}}', '7'])('%s is no price list', (text) => {
  expect(() => readList(text)).toThrow()
})

describe('of several lists', () => {
  const one = (over: Partial<Listed> = {}): Listed => ({
    list: 'litellm',
    name: 'a',
    nanos: { input: 1_000n, output: 2_000n },
    rates: [],
    notes: [],
    ...over,
  })
  const other = (over: Partial<Listed> = {}) => one({ list: 'models.dev', name: 'b', ...over })
  const plain = { prefer: undefined, isFree: false }

  test('the first is taken where they differ by one per cent or less', () => {
    expect(judge([one(), other({ nanos: { input: 1_010n, output: 2_000n } })], plain)).toEqual({
      listed: one(),
      faults: [],
    })
  })

  test('none is taken where they differ by more, unless one is preferred', () => {
    const differs = other({ nanos: { input: 1_011n, output: 2_000n } })
    const faults = ['input: 0.000001 in litellm, 0.000001011 in models.dev']
    expect([judge([one(), differs], plain), judge([one(), differs], { ...plain, prefer: 'litellm' })]).toEqual([
      { listed: undefined, faults },
      { listed: one(), faults },
    ])
  })

  test('a price that only one of them names is compared with what would stand in for it', () => {
    const thinks = other({ nanos: { input: 1_000n, output: 2_000n, reasoning: 8_000n } })
    expect(judge([one(), thinks], plain).faults).toEqual(['reasoning: 0.000002 in litellm, 0.000008 in models.dev'])
  })

  test('rates of one condition are compared too', () => {
    const at = (input: bigint) => ({ rates: [{ when: { fromTokens: 9 }, nanos: { input, output: 1n } }] })
    expect(judge([one(at(5_000n)), other(at(6_000n))], plain).faults).toEqual([
      'input prompt>=9: 0.000005 in litellm, 0.000006 in models.dev',
    ])
  })

  test('a price of zero, or none, is refused unless it is confirmed', () => {
    const free = one({ nanos: { input: 0n } })
    expect([judge([free], plain), judge([free], { ...plain, isFree: true })]).toEqual([
      {
        listed: undefined,
        faults: ['input costs nothing and output has no price in litellm: confirm that it is free, or leave it'],
      },
      { listed: { ...free, nanos: { input: 0n, output: 0n } }, faults: [] },
    ])
  })

  test('a model that none has is told', () => {
    expect(judge([], plain)).toEqual({ listed: undefined, faults: ['is in none of the lists'] })
  })
})

test('a listing becomes prices of the configuration, and what they cannot say is told', () => {
  const nanos = { input: 1_000_000_000n, output: 2_500_000_000n }
  const listed: Listed = {
    list: 'litellm',
    name: 'a',
    nanos,
    rates: [
      { when: { fromTokens: 32_001 }, nanos },
      { when: { fromTokens: 32_001, service: 'flex' }, nanos },
      { when: { service: 'priority' }, nanos },
      { when: { region: 'eu' }, nanos: {}, tokensPpm: 1_100_000 },
      { when: { speed: 'fast' }, nanos: {}, tokensPpm: 6_000_000 },
      { when: { region: 'eu', speed: 'fast' }, nanos: {}, tokensPpm: 7_000_000 },
    ],
    notes: [],
  }
  const prices = { input: '1', output: '2.5' }
  expect(toFile(listed, '5')).toEqual({
    prices: {
      ...prices,
      tiers: [{ above: 32_000, ...prices, service_tiers: { flex: prices } }],
      service_tiers: { priority: prices },
      regions: { eu: '1.1' },
      speeds: { fast: '6' },
      markup_percent: '5',
    },
    left: ['region=eu speed=fast: no field'],
  })
})
