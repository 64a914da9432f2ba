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

const renewed = openSeal('the secret of tomorrow', ['a secret of sixteen and more'])

test('what was sealed with an earlier secret opens, and is sealed with that of today', () => {
  const before = seal.seal('sk-1', 'a')
  const made = renewed.reseal(before, 'a')
  expect([renewed.open(before, 'a'), made.state]).toEqual(['sk-1', 'resealed'])
  const after = made.state === 'resealed' ? made.sealed : ''
  expect([openSeal('the secret of tomorrow').open(after, 'a'), seal.open(after, 'a')]).toEqual(['sk-1', undefined])
})

test('what was sealed with that of today stays as it is', () => {
  expect(renewed.reseal(renewed.seal('sk-1', 'a'), 'a')).toEqual({ state: 'current' })
})

test.each([
  ['with a secret that is not there', openSeal('another secret altogether').seal('sk-1', 'a')],
  ['for something else', seal.seal('sk-1', 'b')],
])('what was sealed %s is told, and stays as it is', (_, sealed) => {
  expect(renewed.reseal(sealed, 'a')).toEqual({ state: 'unreadable' })
})
