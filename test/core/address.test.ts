import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { callerAddress, isInRange, networkName, parseAddress, parseRange } from '../../src/core/address.ts'

const named = (text: string) => {
  const address = parseAddress(text)
  return address && networkName(address)
}

describe('an address', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::9', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff:ffff:ffff:ffff%eth0', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%25en0', 'fe80:0:0:0::/64'],
  ])('%s counts as %s', (text, name) => expect(named(text)).toBe(name))

  test.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.-4',
    '::1::',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '1.2.3.4::',
    'example.org',
    '9'.repeat(10_000),
  ])('is not %s', (text) => expect(parseAddress(text)).toBeUndefined())

  test('is read from any bytes that are written out', () =>
    fc.assert(
      fc.property(fc.ipV6(), fc.ipV4(), (six, four) => {
        expect([parseAddress(six) !== undefined, parseAddress(four)?.join('.')]).toEqual([true, four])
      }),
    ))
})

describe('a range', () => {
  const isIn = (text: string, range: string) => {
    const [address, parsed] = [parseAddress(text), parseRange(range)]
    return address && parsed && isInRange(address, parsed)
  }
  test.each([
    ['10.1.2.3', '10.0.0.0/8', true],
    ['11.1.2.3', '10.0.0.0/8', false],
    ['10.128.0.0', '10.0.0.0/9', false],
    ['10.127.255.255', '10.0.0.0/9', true],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.4', '10.1.2.3/32', false],
    ['9.9.9.9', '0.0.0.0/0', true],
    ['::ffff:10.1.2.3', '10.0.0.0/8', true],
    ['10.1.2.3', '::ffff:10.0.0.0/104', true],
    ['2001:db8::1', '2001:db8::/32', true],
    ['2001:db9::1', '2001:db8::/32', false],
    ['10.1.2.3', '::/0', false],
  ])('%s in %s: %s', (text, range, expected) => expect(isIn(text, range)).toBe(expected))

  test.each(['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0.0/', '::/129', '::ffff:10.0.0.0/8', 'all'])(
    'is not %s',
    (text) => expect(parseRange(text)).toBeUndefined(),
  )
})

describe('the address of a caller', () => {
  const trusted = ['10.0.0.0/8', '2001:db8::/32'].flatMap((text) => parseRange(text) ?? [])
  const seen = (peer: string | undefined, forwarded?: string) => {
    const address = callerAddress({ peer, forwarded, trusted })
    return address && networkName(address)
  }

  test.each([
    ['is that of the connection where nobody has forwarded it', '192.0.2.1', undefined, '192.0.2.1'],
    ['is that of the connection where it is no trusted proxy, whatever it says', '192.0.2.1', '8.8.8.8', '192.0.2.1'],
    ['is what a trusted proxy has seen', '10.0.0.1', '192.0.2.1', '192.0.2.1'],
    ['is what the last of several has seen', '10.0.0.1', '192.0.2.1, 10.0.0.2', '192.0.2.1'],
    ['is not what its sender has put in front', '10.0.0.1', '8.8.8.8, 192.0.2.1, 10.0.0.2', '192.0.2.1'],
    ['is read with its port', '10.0.0.1', '192.0.2.1:4711', '192.0.2.1'],
    ['is read in brackets', '10.0.0.1', '"[2001:db9::1]:4711"', '2001:db9:0:0::/64'],
    ['is that of the last proxy whose word is plain', '10.0.0.1', '192.0.2.1, unknown, 10.0.0.2', '10.0.0.2'],
    ['is the first where all are trusted', '2001:db8::1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['is unknown where the connection has none', undefined, '192.0.2.1', undefined],
  ])('%s', (_, peer, forwarded, expected) => expect(seen(peer, forwarded)).toBe(expected))

  test('is found among very many', () =>
    expect(seen('10.0.0.1', `192.0.2.1, ${Array(100_000).fill('10.0.0.2').join(', ')}`)).toBe('10.0.0.2'))
})
