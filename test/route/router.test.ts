import { describe, expect, test } from 'vitest'
import type { Catalog, Model } from '../../src/core/catalog.ts'
import type { Counts } from '../../src/core/price.ts'
import { priceSet } from '../../src/core/price-set.ts'
import type { KeyRouting, Place, Strategy } from '../../src/core/routing.ts'
import { openRouter, type Router } from '../../src/route/router.ts'
import { virtualTime } from '../support/virtual-time.ts'

const limits = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 }
const policies = { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' } as const
const costs = (input: bigint) =>
  priceSet({
    currency: 'USD',
    nanos: { input, cached_input: input / 10n, output: 1n },
    discountPpm: 1_000_000,
  })
const cheap = { vendor: 'cheap', model: 'x', costs: costs(1_000_000_000n) }
const dear = { vendor: 'dear', model: 'x', costs: costs(2_000_000_000n) }
const wish = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }
const content = 'Tell me something. '.repeat(100)
const call = {
  id: 'c',
  dialect: 'chat',
  operation: 'chat',
  model: 'm',
  raw: new Uint8Array(),
  body: {},
  inner: { messages: [{ role: 'user', content }] },
  stream: false,
  choices: 1,
  startedAtMs: 0,
} as unknown as Parameters<Router['route']>[0]['call']

function scene(strategy: Strategy) {
  const time = virtualTime()
  // Half of what chance may do is never exploration.
  const router = openRouter({ clock: time.clock, random: () => 0.5, log: () => {} })
  const routing = {
    strategy,
    weights: { cost: 1, performance: 1, quality: 1 },
    explorePercent: 0,
    retries: 0,
    fallbacks: [],
  }
  const base = { name: 'm', targets: [cheap, dear], maxOutputTokens: 10, policies, createdAtMs: 0, provisioned: true }
  const model: Model = { ...base, routing }
  const vendor = (id: string) => [id, { id, adapter: 'openai', baseUrl: '', apiKeys: ['secret'], limits }] as const
  const catalog: Catalog = { models: new Map([['m', model]]), vendors: new Map([vendor('cheap'), vendor('dear')]) }
  const route = (preference?: KeyRouting, only?: string) =>
    router.route({
      catalog,
      model,
      call,
      wish: only === undefined ? wish : { ...wish, only: [only] },
      accountId: 1,
      keyClass: { priority: 'normal' },
      preference,
      refuses: () => undefined,
    })
  const order = (preference?: KeyRouting) => route(preference).candidates.map(({ target }) => target.vendor)
  /** A place at a vendor, as a call takes it. */
  const at = (name: string): Place => {
    const place = route(undefined, name).candidates[0]?.enter({ without: new Set(), isLastResort: false })
    if (!place) throw new Error(`${name} takes no call`)
    return place
  }
  const serve = (name: string, counts?: Counts) => {
    const place = at(name)
    place.answered()
    place.ended({ counts, paced: false })
  }
  return { router, order, at, serve }
}

describe('targets are put in order', () => {
  test('by their cost, blended with what they were seen to have in their caches', () => {
    const { order, serve } = scene('cost')
    expect(order()).toEqual(['cheap', 'dear'])
    for (let turn = 0; turn < 20; turn++) {
      serve('cheap', { input: 10_000, cached_input: 0, output: 1 })
      serve('dear', { input: 0, cached_input: 10_000, output: 1 })
    }
    expect(order()).toEqual(['dear', 'cheap'])
  })

  test('by their cost, those last that their vendors have almost nothing left for', () => {
    const { order, at } = scene('cost')
    const left = (remaining: number) =>
      at('cheap').heard({
        'x-ratelimit-limit-requests': '1000',
        'x-ratelimit-remaining-requests': String(remaining),
        'x-ratelimit-reset-requests': '1m',
      })
    left(100)
    expect(order()).toEqual(['cheap', 'dear'])
    left(20)
    expect(order()).toEqual(['dear', 'cheap'])
  })

  test('by what users think of their answers, among others', () => {
    const { order, router } = scene('quality')
    expect(order()).toEqual(['cheap', 'dear'])
    for (let at = 0; at < 5; at++) router.rated(cheap, 0)
    expect(order()).toEqual(['dear', 'cheap'])
    for (let at = 0; at < 10; at++) router.rated(dear, 0)
    expect(order()).toEqual(['cheap', 'dear'])
  })

  test('as the key says, over what the model says', () => {
    const { order, router } = scene('cost')
    for (let at = 0; at < 5; at++) router.rated(cheap, 0)
    expect([
      order(),
      order({ strategy: 'quality' }),
      order({ weights: { cost: 0, performance: 0, quality: 1 } }),
      order({ weights: { cost: 1, performance: 0, quality: 0 } }),
      order({ strategy: 'priority' }),
    ]).toEqual([
      ['cheap', 'dear'],
      ['dear', 'cheap'],
      ['dear', 'cheap'],
      ['cheap', 'dear'],
      ['cheap', 'dear'],
    ])
  })
})
