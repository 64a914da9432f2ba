import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { createToolDeltas } from '../../src/vendors/tool-deltas.ts'

function repaired(...pieces: readonly JsonObject[]): unknown[] {
  const deltas = createToolDeltas('call_x_')
  return pieces.map((piece) => deltas.repair([piece])?.[0] ?? 'as it was')
}

const begin = (index: number, id: string, name: string, given = ''): JsonObject => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: given },
})
const go = (index: number, given: string): JsonObject => ({ index, function: { arguments: given } })

describe('pieces of tool calls', () => {
  test('that are sound pass as they are', () => {
    expect(repaired(begin(0, 'a', 'f'), go(0, '{}'), begin(1, 'b', 'g'), go(1, '{}'), go(0, ' '))).toEqual(
      Array(5).fill('as it was'),
    )
  })

  test('without an index get one', () => {
    expect(
      repaired({ id: 'a', function: { name: 'f', arguments: '{}' } }, { id: 'b', function: { name: 'g' } }),
    ).toEqual([begin(0, 'a', 'f', '{}'), begin(1, 'b', 'g')])
  })

  test('without index and id belong to the last call until that is whole', () => {
    const pieces = [{ function: { name: 'f', arguments: '{"a"' } }, { function: { arguments: ':1}' } }]
    expect(repaired(...pieces, { function: { name: 'f', arguments: '{}' } })).toEqual([
      begin(0, 'call_x_0', 'f', '{"a"'),
      go(0, ':1}'),
      begin(1, 'call_x_1', 'f', '{}'),
    ])
  })

  test('that all have the index 0 are told apart by new ids with names', () => {
    expect(repaired(begin(0, 'a', 'f'), go(0, '1'), begin(0, 'b', 'g'), go(0, '2'))).toEqual([
      'as it was',
      'as it was',
      begin(1, 'b', 'g'),
      go(1, '2'),
    ])
  })

  test.each([
    ['an empty id', { index: 0, id: '', type: 'function', function: { arguments: '1' } }],
    ['a null name', { index: 0, id: null, type: null, function: { name: null, arguments: '1' } }],
    ['its name again', { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '1' } }],
    ['an id made up for each piece', { index: 0, id: 'other', function: { arguments: '1' } }],
  ])('that go on with %s say only what goes on', (_, piece) => {
    expect(repaired(begin(0, 'a', 'f'), piece)).toEqual(['as it was', go(0, '1')])
  })

  test('with arguments as an object say them as text', () => {
    expect(repaired({ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: { a: 1 } } })).toEqual([
      begin(0, 'a', 'f', '{"a":1}'),
    ])
  })

  test('whose indexes do not begin at 0 are counted anew', () => {
    expect(repaired(begin(1, 'a', 'f'), go(1, '{}'))).toEqual([begin(0, 'a', 'f'), go(0, '{}')])
  })

  test('of custom tools pass as they are', () => {
    expect(repaired({ index: 0, id: 'a', type: 'custom', custom: { name: 'f', input: 'x' } })).toEqual(['as it was'])
  })
})
