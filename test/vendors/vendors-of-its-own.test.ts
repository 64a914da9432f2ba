import { expect, test } from 'vitest'
import type { Call, JsonObject } from '../../src/core/call.ts'
import { vendors } from '../../src/vendors/index.ts'
import { passing } from './streams.ts'

const access = { baseUrl: 'https://vendor.test/v1', apiKey: 'key', connectMs: 1 }
const target = { vendor: 'router', model: 'theirs' }

function sent(provider: JsonObject, dialect: Call['dialect']): JsonObject {
  const body = { model: 'a', provider, messages: [{ role: 'user', content: 'hi' }] }
  const call = { ...passing.call, dialect, body, inner: body, raw: new TextEncoder().encode(JSON.stringify(body)) }
  const request = vendors.get('openrouter')?.request(call, target, access, false)
  return JSON.parse(new TextDecoder().decode(request?.body)) as JsonObject
}

const kept = { only: ['xai'], data_collection: 'deny', sort: 'price', max_price: { prompt: 1 } }

test.each(['chat', 'responses', 'messages'] as const)('callers of %s choose among its own vendors', (dialect) => {
  expect(sent(kept, dialect)['provider']).toEqual(kept)
})

test.each([
  [{ order: ['router', 'xai', 'router/theirs'], region: 'eu', sort: 'cost' }, { order: ['xai'] }],
  [{ only: ['router'], ignore: [] }, undefined],
  [{ region: 'eu' }, undefined],
])('of %j it is told %j: the rest is ours', (provider, theirs) => {
  expect(sent(provider, 'chat')['provider']).toEqual(theirs)
})
