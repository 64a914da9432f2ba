import { expect, test } from 'vitest'
import type { Call } from '../../src/core/call.ts'
import type { Catalog, Model } from '../../src/core/catalog.ts'
import type { Wish } from '../../src/core/routing.ts'
import { type Asked, refusalOf } from '../../src/route/eligible.ts'
import { passing } from '../vendors/streams.ts'

const target = { vendor: 'router', model: 'theirs' }
const call: Call = passing.call
const wish: Wish = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }

function refusal(only: readonly string[], choosesVendors: boolean): string | undefined {
  const entry = { apiKeys: ['key'] }
  const vendors = new Map([
    ['router', entry],
    ['openai', entry],
  ]) as unknown as Catalog['vendors']
  const asked: Asked = {
    catalog: { models: new Map(), vendors },
    model: { name: 'm', targets: [target] } as unknown as Model,
    call,
    wish: { ...wish, only },
    prompt: () => ({ upperBound: 1 }),
    refuses: () => undefined,
    choosesVendors: () => choosesVendors,
  }
  return refusalOf(asked, target)
}

test.each([
  [['router'], false, undefined],
  [['router/theirs'], false, undefined],
  [['openai'], false, 'not_among_only'],
  [['xai'], false, 'not_among_only'],
  // A vendor with vendors of its own may have one of a name that nobody here has.
  [['xai'], true, undefined],
  [['openai'], true, 'not_among_only'],
])('for callers who want only %j of a target that chooses vendors: %s, it is %s', (only, chooses, wanted) => {
  expect(refusal(only, chooses)).toBe(wanted)
})
