import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createThinkSplitter } from '../../src/vendors/think-tags.ts'

function split(pieces: readonly string[]): { thought: string; text: string } {
  const splitter = createThinkSplitter()
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.end()]
  return { thought: parts.map(({ thought }) => thought).join(''), text: parts.map(({ text }) => text).join('') }
}

test.each([
  ['<think>I wonder.</think>\n\nYes.', { thought: 'I wonder.', text: 'Yes.' }],
  ['\n<think>\nI wonder.\n</think>Yes.', { thought: '\nI wonder.\n', text: 'Yes.' }],
  ['<think></think>Yes.', { thought: '', text: 'Yes.' }],
  ['<think>cut off', { thought: 'cut off', text: '' }],
  ['<think>a </thin b</think>c', { thought: 'a </thin b', text: 'c' }],
  ['Use <think> tags</think>.', { thought: '', text: 'Use <think> tags</think>.' }],
  ['<thinking>no tag</thinking>', { thought: '', text: '<thinking>no tag</thinking>' }],
  ['  <thi', { thought: '', text: '  <thi' }],
  ['', { thought: '', text: '' }],
])('%j is told apart however it is cut', (whole, expected) => {
  expect(split([whole])).toEqual(expected)
  expect(split(Array.from(whole))).toEqual(expected)
})

test('nothing is lost or made up, whatever comes', () => {
  const parts = fc.constantFrom('<think>', '</think>', '<', '/think>', 'a', ' ', '\n', '<thi', 'nk>')
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 12 }), (pieces) => {
      const { thought, text } = split(pieces)
      expect(split([pieces.join('')])).toEqual({ thought, text })
      const kept = (thought + text).replaceAll(/\s/g, '').length
      const tags = thought === '' && !/^\s*<think>/.test(pieces.join('')) ? 0 : 15
      expect(pieces.join('').replaceAll(/\s/g, '').length - kept).toBeLessThanOrEqual(tags)
    }),
  )
})
