import { createHash, createHmac, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { provingSend } from '../../src/call/proving-send.ts'
import { CredentialRefused } from '../../src/core/credential-refused.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { systemProving } from '../../src/platform/proving.ts'
import { openUndici } from '../../src/platform/undici.ts'
import type { Clock, Proof, Send, VendorRequest } from '../../src/ports.ts'
import { awsSignature } from '../../src/vendors/aws-signature.ts'
import { serviceAccount, tokenGrant } from '../../src/vendors/service-account.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})

interface Heard {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** One server is both, the vendor and who gives out tokens. */
let server: Server
let url = ''
let vendorHeard: Heard[] = []
let tokensAsked: string[] = []
let vendorAnswer: () => Answer
let tokenAnswer: () => Answer | undefined
const { send: plainSend, close } = openUndici()

beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const isToken = request.url === '/token'
      if (isToken) tokensAsked.push(body)
      else vendorHeard.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      const answer = isToken ? tokenAnswer() : vendorAnswer()
      if (!answer) return response.destroy()
      response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  await close()
  await new Promise((resolve) => server.close(resolve))
})

beforeEach(() => {
  vendorHeard = []
  tokensAsked = []
  vendorAnswer = () => ({ status: 200, body: { ok: true } })
  let given = 0
  tokenAnswer = () => ({ status: 200, body: { access_token: `token-${++given}`, expires_in: 3600 } })
})

function credential(changes: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({
    type: 'service_account',
    project_id: 'shop',
    private_key_id: 'key-1',
    private_key: privateKey,
    client_email: 'gateway@shop.test',
    token_uri: `${url}/token`,
    ...changes,
  })
}

function grant(changes: Readonly<Record<string, unknown>> = {}): Proof {
  const account = serviceAccount(credential(changes))
  if (!account) throw new Error('the credential cannot be read')
  return tokenGrant(account)
}

function open(clock: Clock = systemClock): Send {
  return provingSend({ send: plainSend, clock, log: () => {}, proving: systemProving })
}

function request(proof?: Proof, path = '/v1/models/m:generateContent'): VendorRequest {
  const body = new TextEncoder().encode('{"contents":[]}')
  const headers = { 'content-type': 'application/json' }
  return { method: 'POST', url: `${url}${path}`, headers, body, connectMs: 1_000, ...(proof && { proof }) }
}

function ask(send: Send, asked: VendorRequest): Promise<number> {
  return new Promise((resolve, reject) => {
    let status = 0
    send(asked, {
      head(head) {
        status = head.status
      },
      data() {},
      end: () => resolve(status),
      fail: reject,
    })
  })
}

/** A clock that stands until it is moved; its timers are real. */
function movable(): { clock: Clock; move(ms: number): void } {
  let moved = 0
  const clock: Clock = {
    ...systemClock,
    elapsed: () => systemClock.elapsed() + moved,
    now: () => systemClock.now() + moved,
  }
  return {
    clock,
    move(ms) {
      moved += ms
    },
  }
}

const bearers = (): unknown[] => vendorHeard.map(({ headers }) => headers.authorization)

describe('a request that needs no proof', () => {
  test('goes as it is', async () => {
    await ask(open(), request())
    expect([bearers(), tokensAsked]).toEqual([[undefined], []])
  })
})

describe('a request that is signed', () => {
  const key = {
    id: 'AKIDEXAMPLE1234567',
    secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
    sessionToken: 'a/session+token==',
  }

  /** What the service makes of a request as it came over the wire, in its own words: no code of ours is asked. */
  function expected({ method, url: path, headers, body }: Heard): string {
    const hmac = (secret: string | Buffer, text: string): Buffer => createHmac('sha256', secret).update(text).digest()
    const hash = (text: string): string => createHash('sha256').update(text).digest('hex')
    const [, scope = '', names = ''] =
      /Credential=[^/]+\/([^,]+), SignedHeaders=([^,]+)/.exec(headers.authorization ?? '') ?? []
    const lines = names.split(';').map((name) => `${name}:${String(headers[name])}\n`)
    const canonicalPath = path.split('/').map(encodeURIComponent).join('/')
    const canonical = [method, canonicalPath, '', lines.join(''), names, hash(body)].join('\n')
    const [day = '', region = '', service = ''] = scope.split('/')
    const signing = hmac(hmac(hmac(hmac(`AWS4${key.secret}`, day), region), service), 'aws4_request')
    const text = ['AWS4-HMAC-SHA256', String(headers['x-amz-date']), scope, hash(canonical)].join('\n')
    return hmac(signing, text).toString('hex')
  }

  test('carries a signature that the vendor finds right, over what came through the socket', async () => {
    const proof = awsSignature(key, { region: 'eu-west-1', service: 'bedrock' })
    await ask(open(), request(proof, '/model/anthropic.claude-3%3A0/converse'))
    const [heard] = vendorHeard
    if (!heard) throw new Error('nothing was heard')
    expect(heard.headers['authorization']?.split('Signature=')[1]).toBe(expected(heard))
    expect(heard.headers['x-amz-security-token']).toBe('a/session+token==')
    expect(/SignedHeaders=([^,]+)/.exec(heard.headers['authorization'] ?? '')?.[1]).toBe(
      'content-type;host;x-amz-date;x-amz-security-token',
    )
  })

  test('is not sent where there is no region to sign for', async () => {
    const proof = awsSignature(key, { region: undefined, service: 'bedrock' })
    await expect(ask(open(), request(proof))).rejects.toBeInstanceOf(CredentialRefused)
    expect(vendorHeard).toEqual([])
  })
})

describe('a service account', () => {
  test('asks for a token with an assertion that its key has signed', async () => {
    await ask(open(), request(grant()))
    const form = new URLSearchParams(tokensAsked[0])
    const [header = '', claims = '', signature = ''] = form.get('assertion')?.split('.') ?? []
    const read = (part: string): Record<string, number> =>
      JSON.parse(Buffer.from(part, 'base64url').toString()) as never
    const { iat = 0, exp = 0, ...who } = read(claims)
    expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
    expect(read(header)).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'key-1' })
    expect(who).toEqual({
      iss: 'gateway@shop.test',
      sub: 'gateway@shop.test',
      scope: 'https://www.googleapis.com/auth/cloud-platform',
      aud: `${url}/token`,
    })
    expect([exp - iat, Math.abs(iat * 1_000 - Date.now()) < 60_000]).toEqual([3_600, true])
    const bytes = Buffer.from(signature, 'base64url')
    expect(verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), createPublicKey(publicKey), bytes)).toBe(true)
    expect(bearers()).toEqual(['Bearer token-1'])
  })

  test('asks once for calls that begin at once, and for those that come later', async () => {
    const send = open()
    await Promise.all(Array.from({ length: 20 }, () => ask(send, request(grant()))))
    await ask(send, request(grant()))
    expect([tokensAsked.length, vendorHeard.length, new Set(bearers())]).toEqual([1, 21, new Set(['Bearer token-1'])])
  })

  test('has a token of its own for each key', async () => {
    const send = open()
    await ask(send, request(grant()))
    await ask(send, request(grant({ client_email: 'other@shop.test' })))
    expect(bearers()).toEqual(['Bearer token-1', 'Bearer token-2'])
  })

  test.each([
    [3_539, 'Bearer token-1'],
    [3_541, 'Bearer token-2'],
  ])('after %i s of an hour calls carry %s', async (seconds, bearer) => {
    const { clock, move } = movable()
    const send = open(clock)
    await ask(send, request(grant()))
    move(seconds * 1_000)
    await ask(send, request(grant()))
    expect(bearers()[1]).toBe(bearer)
  })

  test('gets another token where the vendor has taken one back', async () => {
    const send = open()
    vendorAnswer = () => ({ status: vendorHeard.length === 1 ? 401 : 200, body: {} })
    const statuses = [await ask(send, request(grant())), await ask(send, request(grant()))]
    expect([statuses, bearers()]).toEqual([
      [401, 200],
      ['Bearer token-1', 'Bearer token-2'],
    ])
  })

  test('whose token is refused is at fault itself, and is not asked for again with every call', async () => {
    tokenAnswer = () => ({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'gateway@shop.test is gone' },
    })
    const send = open()
    const errors = [
      await ask(send, request(grant())).catch((error: unknown) => error),
      await ask(send, request(grant())).catch((error: unknown) => error),
    ]
    const refused = new CredentialRefused('the credential was refused a token with status 400, invalid_grant')
    expect([errors, tokensAsked.length, vendorHeard]).toEqual([[refused, refused], 1, []])
  })

  test('is asked for again some seconds after it was refused', async () => {
    const { clock, move } = movable()
    const send = open(clock)
    const give = tokenAnswer
    tokenAnswer = () => ({ status: 401, body: { error: 'invalid_client' } })
    await expect(ask(send, request(grant()))).rejects.toBeInstanceOf(CredentialRefused)
    tokenAnswer = give
    move(10_001)
    await ask(send, request(grant()))
    expect(bearers()).toEqual(['Bearer token-1'])
  })

  test.each([
    ['breaks the connection', () => undefined],
    ['fails', () => ({ status: 503, body: {} })],
    ['is asked too often', () => ({ status: 429, body: {} })],
    ['answers without a token', () => ({ status: 200, body: { access_token: 7, expires_in: 3600 } })],
    ['answers with more than any token needs', () => ({ status: 200, body: { access_token: 'x'.repeat(100_000) } })],
  ])('is not at fault where the server of tokens %s', async (_, answer) => {
    tokenAnswer = answer
    const error = await ask(open(), request(grant())).catch((caught: unknown) => caught)
    expect([error instanceof Error, error instanceof CredentialRefused, vendorHeard]).toEqual([true, false, []])
  })

  test('with a private key that is none is at fault, and nobody is asked', async () => {
    const send = open()
    const error = await ask(send, request(grant({ private_key: 'none' }))).catch((caught: unknown) => caught)
    expect([error instanceof CredentialRefused, tokensAsked]).toEqual([true, []])
  })

  test('given up before its token is there sends nothing', async () => {
    const send = open()
    const sending = send(request(grant()), { head() {}, data() {}, end() {}, fail() {} })
    sending.abort()
    await ask(send, request(grant()))
    expect(vendorHeard.length).toBe(1)
  })
})
