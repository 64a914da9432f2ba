import { describe, expect, test } from 'vitest'
import { plainKey, type KeyClass, type VendorKey } from '../../src/core/routing.ts'
import { openVendorKeys } from '../../src/route/vendor-keys.ts'
import { remainingIn } from '../../src/route/rate-headers.ts'
import type { Sighting } from '../../src/route/sightings.ts'
import { virtualTime } from '../support/virtual-time.ts'

const limits = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 }
const target = { vendor: 'v', model: 'gpt-large' }
const normal: KeyClass = { priority: 'normal' }

function scene(...keys: readonly (Partial<VendorKey> & { readonly id: string })[]) {
  const time = virtualTime()
  const log: string[] = []
  const told: Sighting[] = []
  const pool = openVendorKeys({
    clock: time.clock,
    mark: (secret) => `mark of ${secret}`,
    tell: (sighting) => void told.push(sighting),
    log: (event, fields) =>
      void log.push(`${event} ${String(fields?.['key'])} ${String(fields?.['reason'] ?? '')}`.trim()),
  })
  const all = keys.map(({ id, ...more }): VendorKey => ({ ...plainKey(id, `secret of ${id}`), ...more }))
  const entry = { id: 'v', adapter: 'openai', baseUrl: '', apiKeys: all.map(({ secret }) => secret), keys: all, limits }
  const take = ({
    keyClass = normal,
    model = target.model,
    region = '',
    without = [] as string[],
    isLastResort = false,
  } = {}) =>
    pool.take(
      { entry, target: { vendor: 'v', model, ...(region !== '' && { region }) }, keyClass },
      { without: new Set(without), isLastResort },
    )
  const look = (keyClass = normal) => pool.look({ entry, target, keyClass })
  return { time, log, told, pool, entry, take, look }
}

const refused = { fault: 'account', about: 'key', code: 'no_target_available', status: 401 } as const

describe('a pool of keys', () => {
  test('gives the key that is least used', () => {
    const { take } = scene({ id: 'a' }, { id: 'b' })
    const first = take()
    const second = take()
    expect([first?.key.id, second?.key.id]).toEqual(['a', 'b'])
    first?.over()
    expect(take()?.key.id).toBe('a')
  })

  test('gives a call no key that has failed it', () => {
    const { take } = scene({ id: 'a' }, { id: 'b' })
    expect([take({ without: ['a'] })?.key.id, take({ without: ['a', 'b'] })]).toEqual(['b', undefined])
  })

  test('keeps keys to their models, scenarios and regions', () => {
    const { take } = scene(
      { id: 'family', models: ['claude-*'] },
      { id: 'batch', scenarios: ['batch'] },
      { id: 'eu', region: 'eu' },
    )
    expect(take({ model: 'claude-small', region: 'us' })?.key.id).toBe('family')
    expect(take({ region: 'us' })).toBeUndefined()
    expect(take({ region: 'us', keyClass: { priority: 'normal', scenario: 'batch' } })?.key.id).toBe('batch')
    expect(take({ region: 'eu' })?.key.id).toBe('eu')
  })

  test('keeps the keys of the privileged for them, who also have the others', () => {
    const { take } = scene({ id: 'n' }, { id: 'v', priority: 'vip' }, { id: 't', priority: 'test' })
    const order = (priority: KeyClass['priority']) => {
      const without: string[] = []
      for (let use = take({ keyClass: { priority } }); use; use = take({ keyClass: { priority }, without }))
        without.push(use.key.id)
      return without
    }
    expect([order('vip'), order('normal'), order('test')]).toEqual([['v', 'n'], ['n'], ['t', 'n']])
  })
})

describe('a key that is refused', () => {
  test('is parked with the reason, told once, and tried again after half a minute', async () => {
    const { take, look, log, time, pool, entry } = scene({ id: 'a' })
    for (const use of [take(), take()]) use?.failed(refused)
    expect([take(), look()]).toEqual([undefined, { isReady: false, why: 'keys_parked', retryInMs: 30_000, quota: 0 }])
    expect(log).toEqual(['vendor_key_parked a refused'])
    expect(pool.shown(entry)).toEqual([
      { id: 'a', priority: 'normal', inFlight: 2, parked: 'refused', retryInMs: 30_000, busy: [], quota: {} },
    ])
    await time.runUntil(30_000)
    take()?.worked()
    expect(log.at(-1)).toBe('vendor_key_works a')
  })

  test('is parked longer each time, told once, and used where nothing else is left', async () => {
    const { take, look, time, log, told } = scene({ id: 'a' })
    take()?.failed(refused)
    await time.runUntil(30_000)
    take()?.failed(refused)
    expect([look().retryInMs, log]).toEqual([60_000, ['vendor_key_parked a refused']])
    expect(told.map((seen) => seen.kind === 'key_parked' && [seen.forMs, seen.again])).toEqual([
      [30_000, false],
      [60_000, true],
    ])
    expect(take({ isLastResort: true })?.key.id).toBe('a')
  })

  test.each([402, 429])('for lack of credit (%s) is parked for that', (status) => {
    const { take, log } = scene({ id: 'a' })
    take()?.failed({ ...refused, status })
    expect(log).toEqual(['vendor_key_parked a out_of_credit'])
  })

  test.each([
    [403, 'key'],
    [404, 'model'],
  ] as const)('for a model alone (%s) still serves others', (status, about) => {
    const { take, log } = scene({ id: 'a' })
    take()?.failed({ ...refused, status, about })
    expect([take(), take({ model: 'other' })?.key.id, log]).toEqual([undefined, 'a', []])
  })
})

describe('a key that is at a limit', () => {
  test('waits as long as the vendor says, for that model', async () => {
    const { take, look, time } = scene({ id: 'a' })
    take()?.failed({ fault: 'busy', code: 'vendor_busy', status: 429, retryAfterMs: 7_000 })
    expect([look(), take({ model: 'other' })?.key.id]).toEqual([
      { isReady: false, why: 'keys_busy', retryInMs: 7_000, quota: 0 },
      'a',
    ])
    await time.runUntil(7_000)
    expect(take()?.key.id).toBe('a')
  })

  test('is learned from the headers of an answer that went well', () => {
    const { take, look } = scene({ id: 'a' })
    take()?.heard({ 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '1m30s' })
    expect(look()).toEqual({ isReady: false, why: 'keys_busy', retryInMs: 90_000, quota: 0 })
  })

  test('is told to others once, and again where it waits much longer', () => {
    const { take, told } = scene({ id: 'a' })
    const busy = (retryAfterMs: number) =>
      take({ isLastResort: true })?.failed({ fault: 'busy', code: 'vendor_busy', status: 429, retryAfterMs })
    for (const ms of [500, 5_000, 5_100, 9_000]) busy(ms)
    expect(told.map((seen) => seen.kind === 'key_busy' && seen.forMs)).toEqual([5_000, 9_000])
  })
})

describe('the share of a vendor’s limits that is left', () => {
  const said = (left: number, reset = '10s') => ({
    'x-ratelimit-limit-requests': '100',
    'x-ratelimit-remaining-requests': `${left}`,
    'x-ratelimit-reset-requests': reset,
    'x-ratelimit-limit-tokens': '1000',
    'x-ratelimit-remaining-tokens': '900',
    'x-ratelimit-reset-tokens': reset,
  })

  test('is that of the nearest limit, until it is whole again', async () => {
    const { take, look, time, pool, entry } = scene({ id: 'a' })
    take()?.heard(said(7))
    expect([look().quota, pool.shown(entry)[0]?.quota]).toEqual([0.07, { 'gpt-large': 0.07 }])
    await time.runUntil(10_000)
    expect([look().quota, pool.shown(entry)[0]?.quota]).toEqual([1, {}])
  })

  test('is that of the key which has most of it', () => {
    const { take, look } = scene({ id: 'a' }, { id: 'b' })
    take()?.heard(said(5))
    expect(look().quota).toBe(1)
    take()?.heard(said(50))
    expect(look().quota).toBe(0.5)
  })
})

describe('what another replica has seen', () => {
  const seen = { vendor: 'v', key: 'a', mark: 'mark of secret of a' }
  const parked = {
    kind: 'key_parked',
    ...seen,
    reason: 'out_of_credit',
    status: 402,
    forMs: 30_000,
    again: false,
  } as const

  test('parks our key for as long, and frees it', () => {
    const { pool, entry, look, log, told } = scene({ id: 'a' })
    pool.heard(entry, parked)
    expect(look()).toEqual({ isReady: false, why: 'keys_parked', retryInMs: 30_000, quota: 0 })
    pool.heard(entry, { kind: 'key_works', ...seen })
    expect([look().isReady, log, told]).toEqual([true, ['vendor_key_parked a out_of_credit', 'vendor_key_works a'], []])
  })

  test('holds our key back for a model at its limit', () => {
    const { pool, entry, look, take } = scene({ id: 'a' })
    pool.heard(entry, { kind: 'key_busy', ...seen, model: target.model, forMs: 4_000 })
    expect([look().why, look().retryInMs, take({ model: 'other' })?.key.id]).toEqual(['keys_busy', 4_000, 'a'])
  })

  test('says nothing of another secret under the name', () => {
    const { pool, entry, look } = scene({ id: 'a' })
    pool.heard(entry, { ...parked, mark: 'mark of another' })
    expect(look().isReady).toBe(true)
  })

  test('is not undone by a try from before it', () => {
    const { pool, entry, look, take, time } = scene({ id: 'a' })
    const use = take()
    return time.runUntil(1).then(() => {
      pool.heard(entry, parked)
      use?.worked()
      expect(look().why).toBe('keys_parked')
    })
  })

  test('is told anew to a replica that has just come', async () => {
    const { pool, entry, take, time } = scene({ id: 'a' }, { id: 'b' })
    take()?.failed({ ...refused, status: 402 })
    take()?.failed({ fault: 'busy', code: 'vendor_busy', status: 429, retryAfterMs: 7_000 })
    await time.runUntil(1_000)
    expect(pool.sightings(entry)).toEqual([
      { ...parked, forMs: 29_000, again: true },
      { kind: 'key_busy', vendor: 'v', key: 'b', mark: 'mark of secret of b', model: 'gpt-large', forMs: 6_000 },
    ])
  })
})

test.each([
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests', '20ms', 20],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens', '6m0s', 360_000],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens', '1.5s', 1_500],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens', '2', 2_000],
  ['acme-ratelimit-requests-remaining', 'acme-ratelimit-requests-reset', '1970-01-01T00:00:10Z', 9_000],
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests', 'soon', undefined],
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests', '99999h', undefined],
])('%s with %s: %s is told', (left, reset, value, resetMs) => {
  const of = left.includes('tokens') ? 'tokens' : 'requests'
  expect(remainingIn({ [left]: '0', [reset]: value }, 1_000)).toEqual([{ of, left: 0, limit: undefined, resetMs }])
})

test('headers that say nothing of limits are passed over', () => {
  expect(remainingIn({ 'content-type': 'x', 'x-ratelimit-remaining-requests': 'many' }, 0)).toEqual([])
})
