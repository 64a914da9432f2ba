import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { openCrypto } from '../../src/platform/crypto.ts'

const secret = 'the secret'
const hmac = (text: string): string => createHmac('sha256', secret).update(text).digest('hex')

test('a key has the same hash whenever it comes', () => {
  const { keyHash } = openCrypto(secret)
  const texts = ['sk-one', 'sk-two', 'sk-one', 'ключ', '', 'x'.repeat(128), 'x'.repeat(129), 'x'.repeat(129)]
  expect(texts.map(keyHash)).toEqual(texts.map(hmac))
})

test('more keys than are remembered have the right hashes still', () => {
  const { keyHash } = openCrypto(secret)
  const texts = Array.from({ length: 5_000 }, (_, at) => `sk-${at}`)
  expect(texts.map(keyHash)).toEqual(texts.map(hmac))
  expect(keyHash('sk-0')).toBe(hmac('sk-0'))
})

test('ids are UUIDs of version 7 that tell their time, and no two are the same', () => {
  const { uuidv7 } = openCrypto(secret)
  const nowMs = 1_764_000_000_123
  const ids = Array.from({ length: 10_000 }, () => uuidv7(nowMs))
  expect(new Set(ids).size).toBe(ids.length)
  const form = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  for (const id of ids) {
    const [, high = '', low = ''] = form.exec(id) ?? []
    expect(Number.parseInt(high + low, 16)).toBe(nowMs)
  }
})
