import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { booked } from '../support/booked.ts'
import { startGateway, type TestAccount, type TestGateway } from '../support/gateway.ts'
import { answerText, type FakeVendor, json, startVendor } from '../support/vendor.ts'

/** Vendors that take no key as it is: their requests are signed, or carry a token that the key is exchanged for. */

const accessKey = 'AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY:c2Vzc2lvbi10b2tlbg=='
const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})

let aws: FakeVendor
let google: FakeVendor
let tokens: FakeVendor
let other: FakeVendor
let gateway: TestGateway
let account: TestAccount

const usageMetadata = { promptTokenCount: 10, candidatesTokenCount: 3, totalTokenCount: 13 }
const candidate = { content: { role: 'model', parts: [{ text: 'Hello' }] }, finishReason: 'STOP' }
const hello = { output: { message: { role: 'assistant', content: [{ text: 'Hello' }] } }, stopReason: 'end_turn' }

const model = (name: string, ...targets: readonly string[]) => `
  ${name}:
    targets: [${targets.join(', ')}]
    prices: { input: 1, output: 2 }
    policies: { unstreamed: whole }`

beforeAll(async () => {
  ;[aws, google, tokens, other] = await Promise.all([startVendor(), startVendor(), startVendor(), startVendor()])
  const credential = {
    type: 'service_account',
    project_id: 'shop',
    private_key_id: 'key-1',
    private_key: privateKey,
    client_email: 'gateway@shop.test',
    token_uri: `${tokens.url}/token`,
  }
  const gone = { ...credential, client_email: 'gone@shop.test', token_uri: `${tokens.url}/gone` }
  gateway = await startGateway({
    vendorUrl: other.url,
    env: {
      AWS_KEY: accessKey,
      SERVICE_ACCOUNT: JSON.stringify(credential, undefined, 2),
      GONE_ACCOUNT: JSON.stringify(gone),
      LOST_ACCOUNT: JSON.stringify({ ...gone, client_email: 'lost@shop.test' }),
    },
    vendors: `
  aws: { adapter: bedrock, base_url: ${aws.url}, api_keys: ['\${AWS_KEY}'] }
  google: { adapter: vertex, base_url: ${google.url}/v1/projects/shop/locations/eu, api_keys: ['\${SERVICE_ACCOUNT}'] }
  gone: { adapter: vertex, base_url: ${google.url}/v1/projects/shop/locations/eu, api_keys: ['\${GONE_ACCOUNT}'] }
  lost: { adapter: vertex, base_url: ${google.url}/v1/projects/shop/locations/eu, api_keys: ['\${LOST_ACCOUNT}'] }`,
    models: [
      model('signed', '{ vendor: aws, model: anthropic.claude, region: eu-central-1 }'),
      model('nowhere', '{ vendor: aws, model: anthropic.claude }', '{ vendor: fake, model: other }'),
      model('tokens', '{ vendor: google, model: gemini }'),
      model('refused', '{ vendor: gone, model: gemini }', '{ vendor: fake, model: other }'),
      model('only-refused', '{ vendor: lost, model: gemini }'),
    ].join(''),
  })
})
afterAll(async () => {
  await gateway.close()
  await Promise.all([aws, google, tokens, other].map((vendor) => vendor.close()))
})
beforeEach(async () => {
  for (const vendor of [aws, google, tokens, other]) vendor.calls.length = 0
  aws.behave((_, response) => json(response, 200, { ...hello, usage: { inputTokens: 10, outputTokens: 3 } }))
  google.behave((_, response) => json(response, 200, { candidates: [candidate], usageMetadata }))
  tokens.behave(({ path }, response) =>
    path === '/gone'
      ? json(response, 400, { error: 'invalid_grant' })
      : json(response, 200, { access_token: 'ya29.given', expires_in: 3599, token_type: 'Bearer' }),
  )
  other.behave(answerText('Hello', { prompt_tokens: 10, completion_tokens: 3 }))
  account = await gateway.account('1')
})

async function ask(name: string, key = account.key) {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: name, messages: [{ role: 'user', content: 'Hi' }] }),
  })
  const id = response.headers.get('x-request-id')
  return { status: response.status, id, body: (await response.json()) as Record<string, never> }
}

describe('an access key of AWS', () => {
  test('signs the request for the region of the target, and is not sent', async () => {
    const { status, id } = await ask('signed')
    const [call] = aws.calls
    const { authorization = '' } = call?.headers ?? {}
    const day = new Date().toISOString().slice(0, 10).replaceAll('-', '')
    expect([
      status,
      call?.headers['x-amz-security-token'],
      /^\d{8}T\d{6}Z$/.test(String(call?.headers['x-amz-date'])),
    ]).toEqual([200, 'c2Vzc2lvbi10b2tlbg==', true])
    expect(authorization.replace(/[0-9a-f]{64}$/, 'SIGNATURE').replace(/\/\d{8}\//, `/${day}/`)).toBe(
      `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/${day}/eu-central-1/bedrock/aws4_request, ` +
        'SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=SIGNATURE',
    )
    expect((await booked(gateway, account, id)).cost).toBe(16_000n)
  })

  test('without a region is our own fault: another target serves, and nothing was sent', async () => {
    const { status, id } = await ask('nowhere')
    expect([status, aws.calls.length, (await booked(gateway, account, id)).attempts]).toEqual([
      200,
      0,
      ['aws 0 no_target_available', 'fake 200'],
    ])
  })
})

describe('a service account', () => {
  test('is exchanged for a token once, and calls carry it', async () => {
    const answers = [await ask('tokens'), await ask('tokens')]
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(google.calls.map(({ headers }) => headers.authorization)).toEqual(['Bearer ya29.given', 'Bearer ya29.given'])
    expect(tokens.calls.length).toBeLessThanOrEqual(1)
  })

  test('that is refused parks its key, and another target serves without a delay', async () => {
    const first = await ask('refused')
    expect([first.status, (await booked(gateway, account, first.id)).attempts]).toEqual([
      200,
      ['gone 0 no_target_available', 'fake 200'],
    ])
    const second = await ask('refused')
    expect((await booked(gateway, account, second.id)).attempts).toEqual(['fake 200'])
    expect([tokens.calls.length, google.calls.length]).toEqual([1, 0])
  })

  test('that is refused is told to nobody, and costs nothing', async () => {
    const { status, body } = await ask('only-refused')
    expect([status, JSON.stringify(body).includes('shop')]).toEqual([503, false])
    expect(await gateway.get('/v1/credits', account.key)).toMatchObject({ balance: '1', held: '0' })
    const log = gateway.log.join('\n')
    expect([log.includes('vendor_token_refused'), log.includes('PRIVATE KEY')]).toEqual([true, false])
  })
})
