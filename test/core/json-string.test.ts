import fc from 'fast-check'
import { expect, test } from 'vitest'
import { stringEnd } from '../../src/core/json-string.ts'

const encoder = new TextEncoder()

test('a JSON string ends at its first quote that is not escaped, however long and full of escapes it is', () => {
  const piece = fc.constantFrom('a', '"', '\\', '\\"', 'é', 'x'.repeat(63), 'x'.repeat(130), '\\\\'.repeat(40))
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), fc.constantFrom('', '"', '",1]'), (content, after) => {
      const text = JSON.stringify(content.join(''))
      const bytes = encoder.encode(`[${text}${after}`)
      expect(stringEnd(bytes, 1)).toBe(encoder.encode(text).length)
    }),
    { numRuns: 2_000 },
  )
})

test.each(['"', '"abc', '"abc\\"', `"${'x'.repeat(200)}\\"`, `"${'\\\\'.repeat(70)}\\`])(
  'a string that does not end goes to the end of the text: %s',
  (text) => {
    const bytes = encoder.encode(text)
    expect(stringEnd(bytes, 0)).toBe(bytes.length)
  },
)
