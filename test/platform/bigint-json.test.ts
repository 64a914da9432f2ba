import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseJson, printJson } from '../../src/platform/bigint-json.ts'

/** What JSON.stringify makes of it with a function that looks for bigints. */
const plainly = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? { $bigint: `${each}` } : each))

const leaf = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
)
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constant('prices')), fc.option(tie('value'), { nil: undefined }), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
  ),
}))

test('it is the JSON that everybody else would print', () => {
  fc.assert(
    fc.property(value, (each) => {
      expect(printJson(each)).toBe(plainly(each))
    }),
  )
})

test('what was printed is read back', () => {
  const record = {
    amount: 9_007_199_254_740_993n,
    parts: [{ amount: -1n }],
    prices: { nanos: { input: 1n } },
    none: null,
  }
  expect(parseJson(printJson(record))).toEqual(record)
  expect(parseJson(printJson([record, record]))).toEqual([record, record])
})
