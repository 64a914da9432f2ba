import { describe, expect, test } from 'vitest'
import { ConfigError, readConfig } from '../../src/config.ts'

const read = (text: string) => readConfig({ text, path: 'x.yaml', env: {} })
const sharedOf = (line: string) => read(`limits:\n  shared:\n    - ${line}\n`).limits.shared

function faults(text: string): readonly string[] {
  try {
    read(text)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

describe('a limit over accounts', () => {
  test.each([
    [
      '{ scope: vendor, name: openai, of: tokens, window: minute, limit: 9 }',
      { scope: 'vendor', name: 'openai', of: 'tokens', window: 'minute', algorithm: 'token_bucket', limit: 9 },
    ],
    [
      '{ scope: vendor_key, name: openai/key-1, of: concurrency, limit: 9 }',
      { scope: 'vendor_key', name: 'openai/key-1', of: 'concurrency', limit: 9 },
    ],
    [
      "{ scope: ip, name: '2001:DB8::7', of: requests, window: day, limit: 9, algorithm: leaky_bucket }",
      { scope: 'ip', name: '2001:db8:0:0::/64', of: 'requests', window: 'day', algorithm: 'leaky_bucket', limit: 9 },
    ],
  ])('is read from %s', (line, expected) => expect(sharedOf(line)).toEqual([expected]))

  test.each([
    ['{ scope: model, of: concurrency, window: minute, limit: 9 }', 'must have a window, unless it is of concurrency'],
    ['{ scope: model, of: requests, limit: 9 }', 'must have a window, unless it is of concurrency'],
    ['{ scope: model, of: concurrency, limit: 9, algorithm: leaky_bucket }', 'must have no algorithm'],
    ['{ scope: ip, name: nowhere, of: concurrency, limit: 9 }', 'must name an address'],
    ['{ scope: planet, of: concurrency, limit: 9 }', 'must be one of: global, ip, model, endpoint, vendor, vendor_key'],
  ])('is not %s', (line, why) =>
    expect(faults(`limits:\n  shared:\n    - ${line}\n`)).toEqual([expect.stringContaining(why)]),
  )

  test('is given once for each thing and window', () => {
    const line = '    - { scope: ip, of: requests, window: day, limit: 9 }\n'
    expect(faults(`limits:\n  shared:\n${line}${line}`)).toEqual([
      expect.stringContaining('must hold at most one limit of the same thing for each window'),
    ])
  })
})

test('a tier has budgets, each for a period of its own', () => {
  const { tiers } = read('limits: { tiers: { small: { budgets: [{ limit: 0.5, window: day }] } } }').limits
  expect(tiers.get('small')?.budgets).toEqual([{ limit: 500_000_000n, window: 'day' }])
  const twice = '[{ limit: 1, window: day }, { limit: 2, window: day }]'
  expect(faults(`limits: { tiers: { small: { budgets: ${twice} } } }`)).toEqual([
    expect.stringContaining('must hold at most one budget for each window'),
  ])
})

describe('trusted proxies', () => {
  test('are addresses and ranges', () =>
    expect(read("server: { trusted_proxies: [10.0.0.0/8, '::1'] }").server.trustedProxies).toEqual([
      { address: [10, 0, 0, 0], bits: 8 },
      { address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], bits: 128 },
    ]))

  test('are nothing else', () =>
    expect(faults('server: { trusted_proxies: [proxy.example] }')).toEqual([
      expect.stringContaining('must be an address, or a range such as "10.0.0.0/8"'),
    ]))
})
