import { describe, expect, test } from 'vitest'
import type { Call } from '../../src/core/call.ts'
import { serviceAccount, tokenGrant } from '../../src/vendors/service-account.ts'
import { vertex } from '../../src/vendors/vertex.ts'
import { translating } from './streams.ts'

const parts = {
  type: 'service_account',
  project_id: 'shop',
  private_key_id: 'key-1',
  private_key: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
  client_email: 'gateway@shop.test',
  token_uri: 'https://oauth2.googleapis.com/token',
}
const account = {
  email: 'gateway@shop.test',
  project: 'shop',
  privateKey: parts.private_key,
  keyId: 'key-1',
  tokenUrl: 'https://oauth2.googleapis.com/token',
}

describe('the key of a service account', () => {
  test('is read from its JSON, however that is laid out', () => {
    const layouts = [JSON.stringify(parts), ` ${JSON.stringify(parts, undefined, 2)}\n`]
    expect(layouts.map(serviceAccount)).toEqual([account, account])
  })

  test.each([
    ['no JSON', '{"client_email":'],
    ['no map', '["client_email"]'],
    ['without an address for tokens', JSON.stringify({ ...parts, token_uri: undefined })],
    ['without a private key', JSON.stringify({ ...parts, private_key: '' })],
    ['whose tokens would come in the clear', JSON.stringify({ ...parts, token_uri: 'http://tokens.test/' })],
    ['whose address holds a password', JSON.stringify({ ...parts, token_uri: 'https://a:b@tokens.test/' })],
    ['an access token', 'ya29.token'],
  ])('is not: %s', (_, key) => {
    expect(serviceAccount(key)).toBeUndefined()
  })
})

describe('an answer of the server of tokens', () => {
  const { token } = tokenGrant(account)

  test.each([
    [
      { access_token: 'ya29.x', expires_in: 3599 },
      { text: 'ya29.x', lifeMs: 3_599_000 },
    ],
    [
      { access_token: 'ya29.x', expires_in: 1e9 },
      { text: 'ya29.x', lifeMs: 86_400_000 },
    ],
    [{ access_token: 'ya29.x' }, undefined],
    [{ access_token: 'ya29.x', expires_in: 0 }, undefined],
    [{ access_token: 'two words', expires_in: 3599 }, undefined],
    [{ access_token: 'a\r\nb', expires_in: 3599 }, undefined],
    [{ id_token: 'x', expires_in: 3599 }, undefined],
  ])('%j is the token %j', (body, expected) => {
    expect(token(body)).toEqual(expected)
  })
})

describe('Vertex with a service account', () => {
  const inner = { messages: [{ role: 'user', content: 'hi' }] }
  const call: Call = { ...translating.call, body: inner, inner }
  const target = { vendor: 'vertex', model: 'gemini-2.5-flash' }
  const key = JSON.stringify(parts)
  const sent = (baseUrl: string, apiKey = key) => vertex.request(call, target, { baseUrl, apiKey, connectMs: 1 }, false)
  const model = 'publishers/google/models/gemini-2.5-flash:generateContent'

  test.each([
    ['https://aiplatform.googleapis.com/v1', 'https://aiplatform.googleapis.com/v1/projects/shop/locations/global'],
    [
      'https://europe-west4-aiplatform.googleapis.com/v1',
      'https://europe-west4-aiplatform.googleapis.com/v1/projects/shop/locations/europe-west4',
    ],
    [
      'https://us-central1-aiplatform.googleapis.com/v1/projects/other/locations/us-central1',
      'https://us-central1-aiplatform.googleapis.com/v1/projects/other/locations/us-central1',
    ],
    ['https://proxy.test/v1', 'https://proxy.test/v1'],
  ])('at %s is asked at %s', (baseUrl, base) => {
    expect(sent(baseUrl).url).toBe(`${base}/${model}`)
  })

  test('sends no part of its key, and a token in its place, for embeddings and countings too', () => {
    const access = { baseUrl: 'https://proxy.test/v1', apiKey: key, connectMs: 1 }
    const embedding: Call = { ...call, dialect: 'embeddings', inner: { input: 'a' } }
    const requests = [
      sent(access.baseUrl),
      vertex.counting?.request(call, target, access),
      vertex.operations?.embeddings?.request(embedding, target, access, false),
    ]
    expect(requests.map((request) => [request?.proof?.kind, request?.headers['authorization']])).toEqual([
      ['token', undefined],
      ['token', undefined],
      ['token', undefined],
    ])
    expect(JSON.stringify(requests.map((request) => ({ ...request, proof: undefined })))).not.toContain('PRIVATE KEY')
  })

  test('with an access token or a key of express mode sends that, to where it was told', () => {
    const base = 'https://aiplatform.googleapis.com/v1'
    const [token, express] = ['ya29.token', 'AQ.key'].map((apiKey) => sent(base, apiKey))
    expect([token?.url, token?.headers['authorization'], token?.proof]).toEqual([
      `${base}/${model}`,
      'Bearer ya29.token',
      undefined,
    ])
    expect([express?.headers['x-goog-api-key'], express?.proof]).toEqual(['AQ.key', undefined])
  })
})
