import { describe, expect, test } from 'vitest'
import { boundsOf, countsTokens, withAccount } from '../../src/admit/limits.ts'
import { shed } from '../../src/admit/shedding.ts'
import type { Caller } from '../../src/core/call.ts'
import type { RateLimit } from '../../src/core/rate-limit.ts'
import type { SharedLimit } from '../../src/core/shared-limit.ts'

const requests: RateLimit = { of: 'requests', window: 'minute', algorithm: 'token_bucket', limit: 60 }
const tokens: RateLimit = { of: 'tokens', window: 'day', algorithm: 'sliding_window', limit: 1_000 }
const tiers = new Map([
  ['normal', { limits: [requests, tokens], concurrency: 5, priority: 0 }],
  ['vip', { limits: [], priority: 50 }],
])
const caller = (account?: Caller['account']): Caller => ({
  accountId: 7,
  currency: 'USD',
  discountPpm: 1_000_000,
  keyId: 1,
  publicId: 'p',
  kind: 'master',
  chain: [{ id: 1, version: 1, budgets: [] }],
  models: [],
  ...(account && { account }),
})

describe('the limits of an account', () => {
  test('are those of the tier "normal" where it names none', () =>
    expect(withAccount(caller(), tiers).chain.at(-1)).toEqual({
      id: -7,
      version: 1,
      budgets: [],
      limits: [requests, tokens],
      concurrency: 5,
    }))

  test('are its own where it has some of the same window', () => {
    const own: RateLimit = { ...requests, limit: 600, algorithm: 'leaky_bucket' }
    const account = { limits: [own], concurrency: 9, version: 4 }
    expect(withAccount(caller(account), tiers).chain.at(-1)).toEqual({
      id: -7,
      version: 4,
      budgets: [],
      limits: [own, tokens],
      concurrency: 9,
    })
  })

  test('are none where its tier has none: nothing is added to the chain', () => {
    const vip = caller({ tier: 'vip' })
    expect([withAccount(vip, tiers), withAccount(caller(), new Map())]).toEqual([vip, caller()])
  })

  test('of tokens need a prompt that was counted', () =>
    expect([
      countsTokens(withAccount(caller(), tiers), []),
      countsTokens(caller(), []),
      countsTokens(caller(), [{ id: 'global', whose: 'this gateway', limit: tokens }]),
    ]).toEqual([true, false, true]))
})

test('of limits over accounts the one that names a model stands in for the one that names none', () => {
  const shared: SharedLimit[] = [
    { scope: 'global', ...tokens },
    { scope: 'model', ...requests },
    { scope: 'model', name: 'large', ...requests, limit: 5 },
    { scope: 'endpoint', name: 'embeddings', ...requests },
  ]
  const bounds = (model: string) =>
    boundsOf(shared, { model, endpoint: 'chat' }).map(({ id, limit }) => [id, limit.limit])
  expect([bounds('large'), bounds('small')]).toEqual([
    [
      ['global//tokens/day', 1_000],
      ['model/large/requests/minute', 5],
    ],
    [
      ['global//tokens/day', 1_000],
      ['model/small/requests/minute', 60],
    ],
  ])
})

describe('a process with more to do than it can', () => {
  const rules = { eventLoopMs: 200, calls: 100 }
  const codeOf = (account: Caller['account'], load: { running: number; lagMs: number }): string => {
    try {
      shed(caller(account), load, { rules, tiers })
      return 'taken'
    } catch (error) {
      return error instanceof Error && 'code' in error ? String(error.code) : 'bug'
    }
  }
  const both = (load: { running: number; lagMs: number }) => [codeOf(undefined, load), codeOf({ tier: 'vip' }, load)]

  test('takes every call below its bounds', () => expect(both({ running: 99, lagMs: 199 })).toEqual(['taken', 'taken']))

  test('refuses the normal before the vip', () => {
    expect(both({ running: 100, lagMs: 0 })).toEqual(['overloaded', 'taken'])
    expect(both({ running: 0, lagMs: 299 })).toEqual(['overloaded', 'taken'])
  })

  test('refuses everybody when it is far beyond them', () =>
    expect(both({ running: 150, lagMs: 0 })).toEqual(['overloaded', 'overloaded']))
})
