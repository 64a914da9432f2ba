import { describe, expect, test } from 'vitest'
import { cacheUse } from '../../src/call/cache-wish.ts'
import { defaultCaching } from '../../src/core/caching.ts'
import type { Json } from '../../src/core/call.ts'

const hour = defaultCaching.ttlMs
const use = (mode: 'off' | 'ask' | 'on', cache?: Json, header?: string) =>
  cacheUse({ ...defaultCaching, mode }, cache === undefined ? {} : { cache }, header)

const none = { reads: false, writes: false, ttlMs: 0 }
const both = { reads: true, writes: true, ttlMs: hour }

describe('what a call has of the cache', () => {
  test.each<[name: string, used: ReturnType<typeof use>, wanted: ReturnType<typeof use>]>([
    ['nothing, where the operator has it off', use('off', { ttl: 60 }), none],
    ['nothing, where nobody asks', use('ask'), none],
    ['nothing, where it is null', use('ask', null), none],
    ['both, where it asks', use('ask', {}), both],
    ['both, where it asks by a header', use('ask', undefined, 'on'), both],
    ['both, where the operator has it on', use('on'), both],
    ['a shorter time, where it wants one', use('ask', { ttl: 60 }), { ...both, ttlMs: 60_000 }],
    ['no longer time than the operator gives', use('ask', { ttl: 7200 }), both],
    ['nothing, where it gives no time', use('on', { ttl: 0 }), { ...none }],
    ['no reading, with no-cache', use('on', { 'no-cache': true }), { ...both, reads: false }],
    ['no writing, with no-store', use('on', { 'no-store': true }), { ...both, writes: false }],
    ['neither, with both', use('on', undefined, 'no-cache, no-store'), { ...both, reads: false, writes: false }],
    ['a time by a header', use('ask', undefined, 'TTL=5'), { ...both, ttlMs: 5_000 }],
    [
      'what the body says, where a header says something else',
      use('ask', { ttl: 1 }, 'ttl=5'),
      { ...both, ttlMs: 1_000 },
    ],
  ])('%s', (_, used, wanted) => {
    expect(used).toEqual(wanted)
  })

  test.each<[cache: Json | undefined, header?: string]>([
    ['yes'],
    [{ ttl: -1 }],
    [{ ttl: 1.5 }],
    [{ ttl: '60' }],
    [{ 'no-cache': 1 }],
    [{ max_age: 1 }],
    [undefined, 'max-age=5'],
    [undefined, 'ttl='],
  ])('is refused where it says %j %s', (cache, header) => {
    expect(() => use('ask', cache, header)).toThrow(expect.objectContaining({ code: 'invalid_value', param: 'cache' }))
  })
})
