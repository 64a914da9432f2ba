import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { columnsOf, rowsFrom } from '../../src/db/flush-rows.ts'
import { openPglite } from '../../src/platform/pglite.ts'

const types = {
  at: 'timestamptz',
  small: 'smallint',
  big: 'bigint',
  word: 'text',
  yes: 'boolean',
  counts: 'jsonb',
  words: 'text[]',
  numbers: 'bigint[]',
} as const

let database: Database
beforeAll(async () => {
  database = await openPglite()
})
afterAll(() => database?.close())

/** What the database reads out of the parameters, its lists as json. */
const read = (rows: Parameters<typeof columnsOf<keyof typeof types>>[1]) =>
  database.query(
    `SELECT at, small, big, word, yes, counts, to_jsonb(words) AS words, to_jsonb(numbers::text[]) AS numbers
     FROM ${rowsFrom(types, 'r', 1)}`,
    columnsOf(types, rows),
  )

const text = fc
  .oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('', 'NULL', 'null', '{}', '{,}', '"', '\\', '\\"', ' a ', "'"),
  )
  .map((any) => any.replaceAll('\0', '').toWellFormed())
const int8 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })

test('rows of any text, number, list and json come out of their columns as they went in', async () => {
  const row = fc.record({
    at: fc.option(fc.date({ min: new Date('1970-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })),
    small: fc.integer({ min: -32_768, max: 32_767 }),
    big: fc.option(int8),
    word: fc.option(text),
    yes: fc.boolean(),
    // V8 13.6 reads the name '"' as '\\' where it has seen others like it: names are plain here, as they are in the books.
    counts: fc
      .dictionary(fc.constantFrom('input', 'output', "it's", 'a,b', '{}'), text)
      .map((counts) => ({ ...counts })),
    words: fc.array(text, { maxLength: 4 }),
    numbers: fc.array(int8, { maxLength: 4 }),
  })
  const property = fc.asyncProperty(fc.array(row, { maxLength: 8 }), async (rows) => {
    const sent = rows.map(({ at, big, numbers, ...rest }) => ({
      ...rest,
      at: at?.toISOString() ?? null,
      big: big?.toString() ?? null,
      numbers: numbers.map(String),
    }))
    const expected = rows.map((one) => ({ ...one, numbers: one.numbers.map(String) }))
    expect(await read(sent)).toEqual(expected)
  })
  await fc.assert(property, { numRuns: 200 })
})

test('no rows are empty columns, and so no rows', async () => {
  expect([columnsOf(types, [])[0], await read([])]).toEqual(['{}', []])
})
