import { expect, test } from 'vitest'
import type { Call } from '../../src/core/call.ts'
import { azure, azureResponses } from '../../src/vendors/azure.ts'
import { vendors } from '../../src/vendors/index.ts'
import { openaiCompatible } from '../../src/vendors/openai.ts'
import { translating } from './streams.ts'

const vendor = openaiCompatible(azure)
const call: Call = { ...translating.call, raw: new TextEncoder().encode('{"model":"public","messages":[]}') }

function sent(baseUrl: string, apiKey = 'key', model = 'my gpt') {
  const { url, headers, body } = vendor.request(
    call,
    { vendor: 'azure', model },
    { baseUrl, apiKey, connectMs: 1 },
    false,
  )
  return { url, headers, body: new TextDecoder().decode(body) }
}

test.each([
  ['https://r.openai.azure.com/openai/v1', 'https://r.openai.azure.com/openai/v1/chat/completions'],
  [
    'https://r.openai.azure.com/openai/deployments',
    'https://r.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21',
  ],
  [
    'https://r.openai.azure.com/openai/deployments/2024-12-01-preview',
    'https://r.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-12-01-preview',
  ],
  [
    'https://r.services.ai.azure.com/models',
    'https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview',
  ],
  ['https://r.openai.azure.com', 'https://r.openai.azure.com/openai/v1/chat/completions'],
  ['https://r.openai.azure.com/openai', 'https://r.openai.azure.com/openai/v1/chat/completions'],
  ['https://r.services.ai.azure.com', 'https://r.services.ai.azure.com/openai/v1/chat/completions'],
  ['https://r.openai.azure.us/openai/v1', 'https://r.openai.azure.us/openai/v1/chat/completions'],
  ['https://gateway.test/llm', 'https://gateway.test/llm/chat/completions'],
  [
    'https://r.cognitiveservices.azure.com/openai/deployments/own-gpt',
    'https://r.cognitiveservices.azure.com/openai/deployments/own-gpt/chat/completions?api-version=2024-10-21',
  ],
  [
    'https://r.openai.azure.com/openai/deployments/own-gpt/2025-01-01-preview',
    'https://r.openai.azure.com/openai/deployments/own-gpt/chat/completions?api-version=2025-01-01-preview',
  ],
  [
    'https://r.openai.azure.com/openai/deployments/own-gpt/chat/completions',
    'https://r.openai.azure.com/openai/deployments/own-gpt/chat/completions?api-version=2024-10-21',
  ],
])('a deployment under %s is called at %s', (baseUrl, url) => {
  expect(sent(baseUrl)).toMatchObject({ url, body: '{"model":"my gpt","messages":[]}' })
})

test.each([
  ['https://r.openai.azure.com', 'https://r.openai.azure.com/openai/v1/responses'],
  ['https://r.openai.azure.com/openai/v1', 'https://r.openai.azure.com/openai/v1/responses'],
  [
    'https://r.openai.azure.com/openai/deployments/2025-01-01-preview',
    'https://r.openai.azure.com/openai/v1/responses',
  ],
  ['https://r.openai.azure.com/openai/deployments/own-gpt', 'https://r.openai.azure.com/openai/v1/responses'],
  ['https://r.services.ai.azure.com/models', 'https://r.services.ai.azure.com/openai/v1/responses'],
  ['https://gateway.test/llm', 'https://gateway.test/llm/responses'],
])('responses under %s are asked for at %s', (baseUrl, url) => {
  expect(azureResponses({ baseUrl })).toBe(url)
})

test('other operations of a deployment are asked beside its chat completions', () => {
  const embed: Call = { ...call, dialect: 'embeddings', inner: { input: 'a' } }
  const access = { baseUrl: 'https://r.openai.azure.com/openai/deployments', apiKey: 'key', connectMs: 1 }
  const own = vendors.get('azure')?.operations?.embeddings
  expect(own?.request(embed, { vendor: 'azure', model: 'ada' }, access, false).url).toBe(
    'https://r.openai.azure.com/openai/deployments/ada/embeddings?api-version=2024-10-21',
  )
})

test('a name of a deployment cannot leave its place in the path', () => {
  expect(sent('https://r/openai/deployments', 'key', '../../x?y').url).toBe(
    'https://r/openai/deployments/..%2F..%2Fx%3Fy/chat/completions?api-version=2024-10-21',
  )
})

test('a key goes in a header of its own, a token of Entra ID as a bearer', () => {
  const [key, token] = ['abc123', 'eyJhbGciOi.x.y'].map((apiKey) => sent('https://r/openai/v1', apiKey).headers)
  expect([key?.['api-key'], key?.['authorization']]).toEqual(['abc123', undefined])
  expect([token?.['api-key'], token?.['authorization']]).toEqual([undefined, 'Bearer eyJhbGciOi.x.y'])
})

test.each([
  [400, { error: { code: 'content_filter', message: 'Filtered.', param: 'prompt' } }, 'caller', 'content_policy'],
  [404, { error: { code: 'DeploymentNotFound', message: 'No.' } }, 'account', 'no_target_available'],
  [429, { error: { code: 'RateLimitReached', message: 'Wait.' } }, 'busy', 'vendor_busy'],
  [401, { error: { code: '401', message: 'Access denied' } }, 'account', 'no_target_available'],
])('status %i with %j is the fault of: %s', (status, body, fault, code) => {
  const failure = vendor.failure({ status, headers: {} }, new TextEncoder().encode(JSON.stringify(body)))
  expect({ fault: failure.fault, code: failure.error.code }).toEqual({ fault, code })
})

test('a pause is taken to the millisecond', () => {
  const headers = { 'retry-after': '2', 'retry-after-ms': '1250' }
  expect(vendor.failure({ status: 429, headers }, new Uint8Array(0)).retryAfterMs).toBe(1250)
})
