import { describe, expect, test } from 'vitest'
import { cacheUse } from '../../src/call/cache-wish.ts'
import { defaultCaching } from '../../src/core/caching.ts'
import type { Json } from '../../src/core/call.ts'

const hour = defaultCaching.ttlMs
const use = (mode: 'off' | 'ask' | 'on', cache?: Json, header?: string) =>
  cacheUse({ ...defaultCaching, mode }, cache === undefined ? {} : { cache }, header)

const none = { reads: false, writes: false, ttlMs: 0, staleMs: 0, keepMs: 0 }
const both = { reads: true, writes: true, ttlMs: hour, staleMs: 0, keepMs: hour }
const minute = { ttlMs: 60_000, keepMs: 60_000 }

describe('what a call has of the cache', () => {
  test.each<[name: string, used: ReturnType<typeof use>, wanted: ReturnType<typeof use>]>([
    ['nothing, where the operator has it off', use('off', { ttl: 60 }), none],
    ['nothing, where nobody asks', use('ask'), none],
    ['nothing, where it is null', use('ask', null), none],
    ['both, where it asks', use('ask', {}), both],
    ['both, where it asks by a header', use('ask', undefined, 'on'), both],
    ['both, where the operator has it on', use('on'), both],
    ['a shorter time, where it wants one', use('ask', { ttl: 60 }), { ...both, ...minute }],
    ['no longer time than the operator gives', use('ask', { ttl: 7200 }), both],
    ['nothing, where it gives no time', use('on', { ttl: 0 }), { ...none }],
    ['no reading, with no-cache', use('on', { 'no-cache': true }), { ...both, reads: false }],
    ['no writing, with no-store', use('on', { 'no-store': true }), { ...both, writes: false }],
    ['neither, with both', use('on', undefined, 'no-cache, no-store'), { ...both, reads: false, writes: false }],
    ['a time by a header', use('ask', undefined, 'TTL=60'), { ...both, ...minute }],
    [
      'what the body says, where a header says something else',
      use('ask', { ttl: 60 }, 'ttl=5'),
      { ...both, ...minute },
    ],
  ])('%s', (_, used, wanted) => {
    expect(used).toEqual(wanted)
  })

  const day = 86_400_000
  const reserve = (mode: 'off' | 'ask' | 'on', cache?: Json, header?: string) =>
    cacheUse({ ...defaultCaching, mode, staleMs: day }, cache === undefined ? {} : { cache }, header)
  const held = { ...both, staleMs: day, keepMs: hour + day }

  test.each<[name: string, used: ReturnType<typeof use>, wanted: ReturnType<typeof use>]>([
    ['nothing in reserve, where the operator has it off', reserve('off', {}), none],
    ['a reserve alone, where nobody asks', reserve('ask'), { ...held, reads: false }],
    ['a reserve, where it asks', reserve('ask', {}), held],
    ['no reserve, where it wants none so old', reserve('on', { ttl: 60 }), { ...both, ...minute }],
    [
      'the reserve that it wants beside its time',
      reserve('on', { ttl: 60, stale: 30 }),
      { ...both, ttlMs: 60_000, staleMs: 30_000, keepMs: 90_000 },
    ],
    ['no more reserve than the operator gives', reserve('on', undefined, 'stale=864000'), held],
    ['no reserve, where it refuses it', reserve('on', { stale: 0 }), both],
    [
      'nothing of the reserve, with no-cache',
      reserve('on', { 'no-cache': true }),
      { ...held, reads: false, staleMs: 0 },
    ],
    ['no writing, with no-store', reserve('on', { 'no-store': true }), { ...held, writes: false }],
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
