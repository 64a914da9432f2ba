import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { attemptRows, dayOf, priceSetRow, usageRow } from '../../src/db/usage-row.ts'
import { attempt, newId, noon, record } from './records.ts'

describe('the day of an id', () => {
  test('is the UTC day of the time inside it', () => {
    const midnight = Date.UTC(2026, 2, 3)
    expect([dayOf(newId(midnight - 1)), dayOf(newId(midnight))]).toEqual(['2026-03-02', '2026-03-03'])
  })

  test('is the same however the id is written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_102_444_800_000 }), (ms) => {
        const id = newId(ms)
        expect(dayOf(id.toUpperCase())).toBe(new Date(ms).toISOString().slice(0, 10))
      }),
    )
  })

  test.each([
    ['of another version', '0195d2f0-0000-4000-8000-000000000001'],
    ['of no version', 'chatcmpl-123'],
    ['with a time beyond all calendars', 'ffffffff-ffff-7000-8000-000000000001'],
  ])('is refused for an id %s', (_what, id) => {
    expect(() => dayOf(id)).toThrow(RangeError)
  })
})

test('tokens in and out are summed over their units, and pieces are not tokens', () => {
  const counts = {
    input: 1,
    cached_input: 2,
    cache_write_5m: 4,
    cache_write_1h: 8,
    audio_input: 16,
    output: 32,
    reasoning: 64,
    audio_output: 128,
    image: 9,
    request: 1,
  }
  const row = usageRow(record({ accountId: 1, keyId: 2, usage: { counts, source: 'vendor' } }))
  expect([row.input_tokens, row.output_tokens, row.counts]).toEqual(['31', '224', counts])
})

test('counts beyond exact numbers stay out of the sums', () => {
  const counts = { input: 2 ** 53, cached_input: 5, output: 2 ** 53 - 1, reasoning: 1 }
  const row = usageRow(record({ accountId: 1, keyId: 2, usage: { counts, source: 'vendor' } }))
  expect([row.input_tokens, row.output_tokens]).toEqual(['5', '9007199254740992'])
})

test('money and the ids of purses are written as decimals, exactly', () => {
  const row = usageRow(
    record({ accountId: 1, keyId: 2, parts: [{ purse: 3, lease: 4, amount: 9_007_199_254_740_993n }] }),
  )
  expect([row.charge, row.priced, row.amount, row.purse, row.lease]).toEqual([
    '9007199254740993',
    '9007199254740993',
    ['9007199254740993'],
    ['3'],
    ['4'],
  ])
})

test('text from outside is cut, and mended where the database would refuse it', () => {
  const row = usageRow(
    record({
      accountId: 1,
      keyId: 2,
      servedModel: 'm'.repeat(600),
      finish: 'a\0b',
      error: '\udc00',
      firstByteMs: Number.NaN,
    }),
  )
  expect([row.served_model, row.finish, row.error, row.first_byte_ms]).toEqual([
    'm'.repeat(512),
    'a\u{fffd}b',
    '\u{fffd}',
    0,
  ])
})

test('any text becomes json that a database takes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
      const { error } = usageRow(record({ accountId: 1, keyId: 2, error: text }))
      expect(error?.isWellFormed() && !error.includes('\0') && error.length <= 512).toBe(true)
    }),
  )
})

test('attempts are numbered in their order and bounded', () => {
  const rows = attemptRows(
    record({
      accountId: 1,
      keyId: 2,
      attempts: Array.from({ length: 101 }, (_, n) => attempt({ cost: BigInt(n), status: n })),
    }),
  )
  expect([rows.length, rows[0]?.n, rows[99]?.n, rows[99]?.cost]).toEqual([100, 0, 99, '99'])
})

test('an attempt without a cost has none, which is not zero', () => {
  const [row] = attemptRows(record({ accountId: 1, keyId: 2, id: newId(noon), attempts: [attempt()] }))
  expect([row?.cost, row?.cost_currency, row?.reported_cost]).toEqual([null, null, null])
})

test('a price set keeps its prices as decimals', () => {
  const prices = {
    id: 'x',
    currency: 'USD',
    nanos: { input: 9_007_199_254_740_993n, output: 0n },
    discountPpm: 900_000,
  }
  expect(priceSetRow(record({ accountId: 1, keyId: 2, prices }))).toEqual({
    id: 'x',
    currency: 'USD',
    nanos: { input: '9007199254740993', output: '0' },
    rates: [],
    conversion: null,
    discount_ppm: 900_000,
  })
})

test('a price set keeps its rates with their conditions, and its rate of exchange', () => {
  const prices = {
    id: 'x',
    currency: 'CNY',
    nanos: { input: 1n },
    rates: [
      { when: { region: 'eu' }, nanos: {}, tokensPpm: 1_100_000 },
      { when: { fromTokens: 272_001, service: 'flex' }, nanos: { input: 2n } },
    ],
    conversion: { from: 'USD', num: 29n, den: 4n, version: '2026-07-24' },
    discountPpm: 1_000_000,
  }
  const { rates, conversion } = priceSetRow(record({ accountId: 1, keyId: 2, prices }))
  expect([rates, conversion]).toEqual([
    [
      { when: 'region=eu', nanos: {}, tokens_ppm: 1_100_000 },
      { when: 'prompt>=272001 service=flex', nanos: { input: '2' } },
    ],
    { from: 'USD', num: '29', den: '4', version: '2026-07-24' },
  ])
})
