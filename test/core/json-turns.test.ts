import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { checkBounds, maxDepth } from '../../src/core/json-bounds.ts'
import { parseInTurns } from '../../src/core/json-turns.ts'

const encoder = new TextEncoder()

/** What becomes of a text: the value, or that it is refused. */
function inTurns(text: string, piece: number): { readonly value: unknown; readonly turns: number } | 'refused' {
  const parsing = parseInTurns(encoder.encode(text), piece)
  try {
    for (let turns = 0; ; turns++) {
      const step = parsing.next()
      if (step.done) return { value: step.value, turns }
    }
  } catch (error) {
    if (error instanceof SyntaxError) return 'refused'
    throw error
  }
}

function atOnce(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return 'refused'
  }
}

function valueOf(text: string, piece: number): unknown {
  const found = inTurns(text, piece)
  return found === 'refused' ? found : found.value
}

const pieces = fc.integer({ min: 1, max: 40 })

describe('JSON that is parsed in turns', () => {
  test('is what it is when it is parsed at once, whatever the pieces', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), pieces, fc.constantFrom('', ' ', '\n\t'), (json, piece, space) => {
        const text = space === '' ? json : JSON.stringify(JSON.parse(json), null, space)
        const expected = atOnce(text)
        const found = valueOf(text, piece)
        expect(found).toEqual(expected)
        // The order of the names too.
        expect(JSON.stringify(found)).toBe(JSON.stringify(expected))
      }),
      { numRuns: 1_000 },
    )
  })

  test('is refused where it would be refused at once, and nowhere else', () => {
    const damage = fc.record({
      at: fc.nat(400),
      gone: fc.nat(2),
      put: fc.constantFrom('', ',', ':', '[', ']', '{', '}', '"', '\\', ' ', '1', 'a', ',,', '":', '{}', '[]'),
    })
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), damage, pieces, (json, { at, gone, put }, piece) => {
        const place = at % (json.length + 1)
        const text = json.slice(0, place) + put + json.slice(place + gone)
        expect(valueOf(text, piece)).toEqual(atOnce(text))
      }),
      { numRuns: 5_000 },
    )
  })

  test.each([
    ['[', 'refused'],
    ['[1,]', 'refused'],
    ['[,1]', 'refused'],
    ['[[1,2,3,4],]', 'refused'],
    ['[,[1,2,3,4]]', 'refused'],
    ['[[1,2,3,4] [1,2,3,4]]', 'refused'],
    ['[[1,2,3,4}]', 'refused'],
    ['{"a":[1,2,3,4],}', 'refused'],
    ['{[1,2,3,4]:1}', 'refused'],
    ['{1:[1,2,3,4]}', 'refused'],
    ['{"a" "b":[1,2,3,4]}', 'refused'],
    ['{"a":[1,2,3,4]}{}', 'refused'],
    ['{"a":[1,2,3,4]}\u00a0', 'refused'],
    ['\ufeff[1,2,3,4]', 'refused'],
    ['[1,\ufeff2,3,4]', 'refused'],
    ['', 'refused'],
    ['   ', 'refused'],
    [' [ ] ', []],
    ['{ "a" : [1,2,3,4] , "a" : { } , "b" : 2 }', { a: {}, b: 2 }],
    ['"[1,2,3"', '[1,2,3'],
  ])('%s', (text, expected) => {
    for (const piece of [1, 3, 6, 100]) expect(valueOf(text, piece)).toEqual(expected)
  })

  test('has names that mean something in JavaScript like any other', () => {
    const text = '{"__proto__":[1,2,3,4,5],"b":{"__proto__":{"x":1}},"constructor":[1,2,3]}'
    const found = valueOf(text, 4)
    expect(Object.getPrototypeOf(found)).toBe(Object.prototype)
    expect(JSON.stringify(found)).toBe(text)
  })

  test('takes many turns where it is long', () => {
    const text = JSON.stringify({
      messages: Array.from({ length: 1_000 }, (_, at) => ({ role: 'user', content: `${at}` })),
    })
    const found = inTurns(text, 1_000)
    expect(found).toMatchObject({ value: JSON.parse(text) as unknown })
    expect(found === 'refused' ? 0 : found.turns).toBeGreaterThan(text.length / 1_000 / 2)
  })

  test('that is no UTF-8 is a TypeError, wherever the fault is', () => {
    const whole = encoder.encode('{"a":["bb","cc","dd"],"e":"ff"}')
    for (const at of [7, 12, 28]) {
      const bytes = whole.with(at, 0xff)
      expect(() => [...parseInTurns(bytes, 5)]).toThrow(TypeError)
    }
  })

  test('is refused beyond the bounds by the same words as without turns', () => {
    const deep = encoder.encode('['.repeat(maxDepth + 1) + ']'.repeat(maxDepth + 1))
    const many = encoder.encode(`[${'{"a":1},'.repeat(100_001)}1]`)
    for (const bytes of [deep, many]) {
      const words = (run: () => unknown) => {
        try {
          run()
        } catch (error) {
          return error instanceof GatewayError ? error.message : error
        }
      }
      expect(words(() => [...parseInTurns(bytes)])).toBe(words(() => checkBounds(bytes)))
      expect(words(() => checkBounds(bytes))).toMatch(/^The body /)
    }
  })
})
