import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/core/call.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { readWish } from '../../src/gateway/wishes.ts'

const none = () => undefined
const empty = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }

function refusal(body: JsonObject): readonly unknown[] {
  try {
    readWish(body, none)
  } catch (error) {
    if (error instanceof GatewayError) return [error.code, error.param]
  }
  return []
}

describe('what a caller wants of the routing', () => {
  test('is nothing where he says nothing', () => {
    expect(readWish({ model: 'm' }, none)).toEqual(empty)
  })

  test('is read from the body', () => {
    const body = {
      models: ['a', 'b'],
      provider: {
        order: ['x'],
        only: ['x', 'y/z'],
        ignore: ['w'],
        region: 'eu',
        sort: 'price',
        max_price: { prompt: 2.5, completion: '10' },
      },
      routing: { explain: true, scenario: 'batch' },
      session_id: 's1',
    }
    expect(readWish(body, none)).toEqual({
      models: ['a', 'b'],
      order: ['x'],
      only: ['x', 'y/z'],
      ignore: ['w'],
      region: 'eu',
      strategy: 'cost',
      maxPrice: { prompt: 2_500_000_000n, completion: 10_000_000_000n },
      explain: true,
      scenario: 'batch',
      session: 's1',
    })
  })

  test('is read from headers, where a client has no fields for it', () => {
    const headers: Record<string, string> = { 'x-tollgate-route': 'Explain', 'x-session-id': 's2' }
    expect(readWish({}, (name) => headers[name])).toEqual({ ...empty, explain: true, session: 's2' })
  })

  test('is read from a header for every field, and the body comes before it', () => {
    const headers: Record<string, string> = {
      'x-tollgate-models': 'a, b',
      'x-tollgate-order': 'x',
      'x-tollgate-only': 'x,y/z',
      'x-tollgate-ignore': ' w ',
      'x-tollgate-region': 'EU',
      'x-tollgate-sort': 'throughput',
      'x-tollgate-max-price': 'completion=10, prompt = 2.5',
      'x-tollgate-scenario': 'batch',
    }
    const wish = {
      ...empty,
      models: ['a', 'b'],
      order: ['x'],
      only: ['x', 'y/z'],
      ignore: ['w'],
      region: 'EU',
      strategy: 'latency',
      maxPrice: { prompt: 2_500_000_000n, completion: 10_000_000_000n },
      scenario: 'batch',
    }
    expect(readWish({}, (name) => headers[name])).toEqual(wish)
    const body = { models: [], provider: { only: ['q'], max_price: { prompt: 1 } }, routing: { strategy: 'cost' } }
    expect(readWish(body, (name) => headers[name])).toEqual({
      ...wish,
      models: [],
      only: ['q'],
      maxPrice: { prompt: 1_000_000_000n },
      strategy: 'cost',
    })
  })

  test.each([
    ['x-tollgate-max-price', 'cheap', 'provider.max_price'],
    ['x-tollgate-max-price', 'prompt=cheap', 'provider.max_price.prompt'],
    ['x-tollgate-sort', 'beauty', 'provider.sort'],
    ['x-tollgate-only', 'a,,b', 'provider.only'],
    ['x-tollgate-models', 'a,b,c,d,e,f,g,h,i', 'models'],
  ])('is refused where the header %s says %s', (name, value, param) => {
    expect(() => readWish({}, (asked) => (asked === name ? value : undefined))).toThrow(
      expect.objectContaining({ code: 'invalid_value', param }),
    )
  })

  test('our own words for a strategy come before those of others', () => {
    const body = { routing: { strategy: 'least-busy' }, provider: { sort: 'price' } }
    expect(readWish(body, none).strategy).toBe('least-busy')
  })

  test.each([
    [{ models: 'a' }, 'models'],
    [{ models: Array.from({ length: 9 }, () => 'a') }, 'models'],
    [{ provider: [] }, 'provider'],
    [{ provider: { only: [''] } }, 'provider.only'],
    [{ provider: { sort: 'beauty' } }, 'provider.sort'],
    [{ provider: { max_price: { prompt: 'cheap' } } }, 'provider.max_price.prompt'],
    [{ provider: { max_price: { prompt: -1 } } }, 'provider.max_price.prompt'],
    [{ routing: { strategy: 7 } }, 'routing.strategy'],
    [{ session_id: 7 }, 'session_id'],
    [{ session_id: 'x'.repeat(257) }, 'session_id'],
  ] as const)('is refused by name: %j', (body, param) => {
    expect(refusal(body)).toEqual(['invalid_value', param])
  })
})
