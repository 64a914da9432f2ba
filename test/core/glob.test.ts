import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { fitsAny } from '../../src/core/glob.ts'

describe('patterns of model names', () => {
  test.each([
    [[], 'anything', true],
    [['gpt-4o'], 'gpt-4o', true],
    [['gpt-4o'], 'gpt-4o-mini', false],
    [['gpt-*'], 'gpt-', true],
    [['gpt-*'], 'my-gpt-4', false],
    [['*-mini'], 'gpt-4o-mini', true],
    [['*'], 'any/thing', true],
    [['a*b'], 'ab', true],
    [['ab*ba'], 'aba', false],
    [['ab*ba'], 'abba', true],
    [['a*c*e'], 'abcde', true],
    [['a*c*e'], 'abde', false],
    [['a*bc*cd'], 'abcd', false],
    [['gpt.4'], 'gptx4', false],
    [['[a]?+'], '[a]?+', true],
    [['A'], 'a', false],
    [['x', 'y*'], 'yes', true],
  ])('%j fits %s: %s', (globs, name, fits) => {
    expect(fitsAny(globs, name)).toBe(fits)
  })

  test('are what the same regular expression says', () => {
    const piece = fc.constantFrom('a', 'b', '*', '.', 'ab')
    const property = fc.property(
      fc.array(piece, { maxLength: 8 }),
      fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 12 }),
      (glob, name) => {
        const source = glob
          .join('')
          .split('*')
          .map((part) => part.replaceAll('.', '\\.'))
          .join('.*')
        expect(fitsAny([glob.join('')], name.join(''))).toBe(new RegExp(`^${source}$`).test(name.join('')))
      },
    )
    fc.assert(property, { numRuns: 1_000 })
  })

  test('take no long over a name made to be slow', () => {
    expect(fitsAny([`${'a*'.repeat(100)}b`], 'a'.repeat(200))).toBe(false)
  })
})
