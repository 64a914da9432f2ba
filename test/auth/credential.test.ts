import { describe, expect, test } from 'vitest'
import { readCredential } from '../../src/auth/credential.ts'

const read = (headers: Readonly<Record<string, string>>, inAddress?: string) =>
  readCredential((name) => headers[name], inAddress)

describe('the key of a request', () => {
  test.each([
    [{ authorization: 'Bearer a-key' }],
    [{ authorization: 'bearer  a-key' }],
    [{ 'x-api-key': 'a-key' }],
    [{ 'x-goog-api-key': ' a-key ' }],
    [{ 'api-key': 'a-key' }],
    [{ authorization: 'Bearer a-key', 'x-api-key': 'a-key' }],
  ])('is read of %j', (headers) => {
    expect(read(headers)).toBe('a-key')
  })

  test('may stand in the address, beside the same in a header', () => {
    expect([read({}, ' a-key '), read({ 'x-goog-api-key': 'a-key' }, 'a-key')]).toEqual(['a-key', 'a-key'])
  })

  test.each([
    ['none', {}, undefined],
    ['an empty one', { 'x-api-key': ' ' }, ' '],
    ['two that differ', { 'x-api-key': 'a-key', 'api-key': 'b-key' }, undefined],
    ['another in the address', { 'x-api-key': 'a-key' }, 'b-key'],
    ['another scheme', { authorization: 'Basic YTpi', 'x-api-key': 'a-key' }, undefined],
    ['one of more than 512 bytes', {}, 'x'.repeat(513)],
    ['one with a space', {}, 'a key'],
  ])('is not %s', (_, headers, inAddress) => {
    expect(() => read(headers, inAddress)).toThrow('The API key is missing')
  })
})
