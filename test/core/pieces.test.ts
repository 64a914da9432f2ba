import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createCutter, pieces, roughTokens } from '../../src/core/pieces.ts'

const lengths = (text: string) => [...pieces(text)].map((piece) => piece.length)

test('the empty text has no pieces', () => {
  expect([...pieces('')]).toEqual([])
})

test('511 units are one piece', () => {
  expect(lengths('a'.repeat(511))).toEqual([511])
})

test('512 units without a place to cut are two pieces of 256', () => {
  expect(lengths('a'.repeat(512))).toEqual([256, 256])
})

test('a cut comes before the last space between letters, which begins the next piece', () => {
  const text = `${'ab '.repeat(170)}ab`
  expect([...pieces(text)]).toEqual([text.slice(0, 509), ' ab'])
})

test('a space at the last unit of the window is not known to stand between letters', () => {
  expect(lengths(`${'a'.repeat(511)} a`)).toEqual([256, 257])
})

test('a space before the last unit of the window is', () => {
  expect(lengths(`${'a'.repeat(510)} a`)).toEqual([510, 2])
})

test.each([['1 a'], ['a 1'], ['a  a'], ['a\na'], ['. a']])('%j is no place to cut', (place) => {
  expect(lengths(`${'1'.repeat(400)}${place}${'1'.repeat(200)}`)[0]).toBe(256)
})

test('letters of other scripts are letters', () => {
  expect(lengths(`${'1'.repeat(400)}é ж${'1'.repeat(200)}`)[0]).toBe(401)
})

test('a hard cut does not part a surrogate pair', () => {
  expect(lengths(`a${'😀'.repeat(300)}`)).toEqual([255, 346])
})

test('lone surrogates are cut like other units', () => {
  expect(lengths('\ud83d'.repeat(512))).toEqual([256, 256])
})

const character = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'bc', ' ', 'a b', '1', '\n', '.') },
  { weight: 2, arbitrary: fc.constantFrom('中', '文', 'é', '😀', '\ud83d', '\ude00', '<|endoftext|>') },
  fc.constantFrom(' '.repeat(300), 'a'.repeat(600), '中'.repeat(300), 'word '.repeat(150), '😀'.repeat(200)),
)
const anyText = fc.array(character, { maxLength: 60 }).map((parts) => parts.join(''))

test('joined, the pieces are the text', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      expect([...pieces(text)].join('')).toBe(text)
    }),
  )
})

test('every piece has 1 to 511 units', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      expect(lengths(text).filter((length) => length < 1 || length > 511)).toEqual([])
    }),
  )
})

test('any deltas of a text give the pieces of the whole', () => {
  fc.assert(
    fc.property(anyText, fc.array(fc.nat({ max: 700 }), { minLength: 1, maxLength: 20 }), (text, steps) => {
      const cutter = createCutter()
      const cut: string[] = []
      for (let at = 0, turn = 0; at < text.length; turn++) {
        const end = at + (steps[turn % steps.length] ?? 0) + (turn % steps.length === 0 ? 1 : 0)
        cut.push(...cutter.push(text.slice(at, end)))
        at = end
      }
      if (cutter.rest() !== '') cut.push(cutter.rest())
      expect(cut).toEqual([...pieces(text)])
    }),
    { numRuns: 500 },
  )
})

test('a piece of a text is one piece by itself', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      for (const piece of pieces(text)) expect([...pieces(piece)]).toEqual([piece])
    }),
  )
})

test('looking at the rest does not take it', () => {
  const cutter = createCutter()
  cutter.push('abc')
  expect([cutter.rest(), cutter.rest(), cutter.push('d'), cutter.rest()]).toEqual(['abc', 'abc', [], 'abcd'])
})

test.each([
  ['', 0],
  ['a', 1],
  ['abc', 1],
  ['abcd', 2],
  ['中', 1],
  ['中文a', 3],
  ['😀', 2],
])('%j has about %i tokens', (text, tokens) => {
  expect(roughTokens(text)).toBe(tokens)
})
