import { expect, test } from 'vitest'
import { openSeal } from '../../src/platform/seal.ts'

const seal = openSeal('a secret of sixteen and more')

test('what was sealed opens for what it was sealed for', () => {
  expect(seal.open(seal.seal('sk-1 ключ', 'vendor a'), 'vendor a')).toBe('sk-1 ключ')
})

test('the same text is never sealed alike, and does not show', () => {
  const [one, other] = [seal.seal('sk-secret', 'a'), seal.seal('sk-secret', 'a')]
  expect([one === other, one.includes('sk-secret'), one.startsWith('v1.')]).toEqual([false, false, true])
})

test.each([
  ['for something else', (sealed: string) => seal.open(sealed, 'b')],
  ['with another secret', (sealed: string) => openSeal('another secret altogether').open(sealed, 'a')],
  ['and was changed since', (sealed: string) => seal.open(`${sealed.slice(0, -4)}AAAA`, 'a')],
  ['and was cut', (sealed: string) => seal.open(sealed.slice(0, 20), 'a')],
  ['in no way', () => seal.open('plain text', 'a')],
])('what was sealed %s does not open', (_, open) => {
  expect(open(seal.seal('sk-secret', 'a'))).toBeUndefined()
})
