import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { subKey } from '../support/booked.ts'
import { managementKey, type TestAccount } from '../support/gateway.ts'
import { answerText, eventsOf, openStream } from '../support/vendor.ts'
import { chatBody, openSite, refusalOf, standingOf, usage, type Site } from './site.ts'
import { chunked, connectTo, requestBytes, type RawAnswer } from './wire.ts'

let site: Site
let key: string
const body = chatBody()

beforeAll(async () => {
  site = await openSite()
  key = site.account.key
})
afterAll(async () => {
  expect(await standingOf(site)).toMatchObject({ held: 0n, inFlight: 0 })
  await site.close()
})

/** The request with these headers alone; what they say of the key is all that is said. */
function withHeaders(...headers: string[]): Promise<RawAnswer> {
  return site.raw(requestBytes({ headers: ['Host: gateway', ...headers], body }))
}

describe('a key that is none', () => {
  let refused: RawAnswer
  beforeAll(async () => {
    refused = await withHeaders()
  })

  test('a request without a key is refused', () => {
    expect(refusalOf(refused)).toBe('401 invalid_api_key')
  })

  const wrong: Record<string, () => string[]> = {
    '"Bearer" alone': () => ['Authorization: Bearer'],
    '"Bearer" and spaces': () => ['Authorization: Bearer    '],
    'SQL for a key': () => ["Authorization: Bearer ' OR '1'='1"],
    'Basic credentials': () => [`Authorization: Basic ${Buffer.from(`x:${key}`).toString('base64')}`],
    'the bare key without a scheme': () => [`Authorization: ${key}`],
    'two keys in one Authorization': () => [`Authorization: Bearer ${key}, Bearer ${key}`],
    'two Authorization headers, the good one first': () => [
      `Authorization: Bearer ${key}`,
      'Authorization: Bearer other',
    ],
    'two Authorization headers, the good one last': () => [
      'Authorization: Bearer other',
      `Authorization: Bearer ${key}`,
    ],
    'a key of 20 kB': () => [`Authorization: Bearer ${'a'.repeat(20_000)}`],
    'a key with UTF-8 after it': () => [`Authorization: Bearer ${key}é`],
    'a key with %00 after it': () => [`Authorization: Bearer ${key}%00`],
    'a key in capitals': () => [`Authorization: Bearer ${key.toUpperCase()}`],
    'the beginning of a key': () => [`Authorization: Bearer ${key.slice(0, -1)}`],
    'a key with more after it': () => [`Authorization: Bearer ${key}a`],
    'x-api-key that is not the Authorization': () => [`Authorization: Bearer ${key}`, 'x-api-key: other'],
    'two x-api-key headers': () => [`x-api-key: ${key}`, 'x-api-key: other'],
    'the key in a cookie': () => [`Cookie: key=${key}`],
    'the key in Proxy-Authorization': () => [`Proxy-Authorization: Bearer ${key}`],
    'a token of no algorithm': () => [`Authorization: Bearer ${jwt({ alg: 'none' })}`],
    'a token whose key is a file': () => [`Authorization: Bearer ${jwt({ alg: 'HS256', kid: '../../dev/null' })}`],
  }
  test.each(Object.entries(wrong))('%s is refused as no key is, byte for byte but for the id', async (_, headers) => {
    expect(withoutId(await withHeaders(...headers()))).toEqual(withoutId(refused))
  })

  test('a key in the query is none', async () => {
    const answer = await site.raw(
      requestBytes({ target: `/v1/chat/completions?key=${key}&api-key=${key}`, headers: ['Host: gateway'], body }),
    )
    expect(withoutId(answer)).toEqual(withoutId(refused))
  })

  test('a key in a trailer is none', async () => {
    const headers = ['Host: gateway', 'Transfer-Encoding: chunked', 'Trailer: Authorization']
    const bytes = `${body.length.toString(16)}\r\n${body}\r\n0\r\nAuthorization: Bearer ${key}\r\n\r\n`
    expect(withoutId(await site.raw(Buffer.concat([requestBytes({ headers }), Buffer.from(bytes)])))).toEqual(
      withoutId(refused),
    )
  })

  test('an expired, a revoked and an unknown key are refused alike', async () => {
    const account = await site.gateway.account('1')
    const short = await subKey(site.gateway, account, { expires_at: new Date(Date.now() + 400).toISOString() })
    const revoked = await subKey(site.gateway, account)
    await site.gateway.admin('DELETE', `/admin/v1/keys/${revoked.id}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
    const answers = await Promise.all([short.key, revoked.key, `${revoked.key}x`].map((one) => site.chat({}, one)))
    expect(answers.map(withoutId)).toEqual(answers.map(() => withoutId(refused)))
  })

  test.each([
    '/v1/models',
    '/v1/models/test-model',
    '/v1/key',
    '/v1/credits',
    '/v1/generation?id=1',
    '/admin/v1/keys',
    '/admin/v1/accounts',
  ])('GET %s without a key is refused alike', async (target) => {
    const answer = await site.raw(requestBytes({ method: 'GET', target, headers: ['Host: gateway'] }))
    expect([answer.status, answer.text]).toEqual([refused.status, refused.text])
  })
})

function jwt(header: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part({ sub: 'admin', exp: 9_999_999_999 })}.`
}

/** What may differ between two answers is their name and their time. */
function withoutId({ status, headers, text }: RawAnswer): unknown {
  const { 'x-request-id': _, date: __, ...rest } = headers
  return { status, headers: rest, text }
}

describe('a key that is good', () => {
  test('spaces after it do not matter', async () => {
    expect((await withHeaders(`Authorization: Bearer ${key}  `)).status).toBe(200)
  })

  test('the same key in two places is one key', async () => {
    expect((await withHeaders(`Authorization: Bearer ${key}`, `x-api-key: ${key}`)).status).toBe(200)
  })

  test('a management key calls no model', async () => {
    expect(refusalOf(await site.chat({}, managementKey))).toBe('403 permission_denied')
  })

  test("another account's call is not to be seen", async () => {
    const mine = await site.chat()
    const other = await site.gateway.account('1')
    const answer = await site.ask({
      key: other.key,
      method: 'GET',
      target: `/v1/generation?id=${mine.headers['x-request-id']}`,
    })
    expect(refusalOf(answer)).toBe('404 not_found id')
  })

  test("another account's keys are not to be seen or changed", async () => {
    const other = await site.gateway.account('1')
    const { id } = await site.gateway.get('/v1/key', key)
    const answers = [
      await site.ask({ key: other.key, method: 'GET', target: `/admin/v1/keys/${String(id)}` }),
      await site.ask({ key: other.key, method: 'DELETE', target: `/admin/v1/keys/${String(id)}` }),
      await site.ask({
        key: other.key,
        method: 'PATCH',
        target: `/admin/v1/keys/${String(id)}`,
        body: '{"name":"mine"}',
      }),
    ]
    expect(answers.map((answer) => answer.status)).toEqual([404, 404, 404])
  })
})

describe('header lines that are none', () => {
  test.each(['\0', '\nX-Evil: 1', '\rX-Evil: 1', '\r\n X-Evil: 1'])('a key followed by %j is no HTTP', async (tail) => {
    expect(refusalOf(await withHeaders(`Authorization: Bearer ${key}${tail}`))).toBe('400 invalid_value')
  })

  test('a key of 1 MB is too large', async () => {
    expect(refusalOf(await withHeaders(`Authorization: Bearer ${'a'.repeat(1_000_000)}`))).toBe('431 request_too_large')
  })

  test('100 kB of headers are too large', async () => {
    const many = Array.from({ length: 100 }, (_, index) => `x-${index}: ${'v'.repeat(1_000)}`)
    expect(refusalOf(await withHeaders(`Authorization: Bearer ${key}`, ...many))).toBe('431 request_too_large')
  })

  test('ten thousand small headers are too large', async () => {
    const many = Array.from({ length: 10_000 }, () => 'a: b')
    expect(refusalOf(await withHeaders(`Authorization: Bearer ${key}`, ...many))).toBe('431 request_too_large')
  })

  test('a hop-by-hop Authorization still counts', async () => {
    expect((await site.ask({ headers: ['Connection: authorization, close'], body })).status).toBe(200)
  })

  test('an expectation that nobody knows is refused', async () => {
    expect(refusalOf(await site.ask({ headers: ['Expect: magic'], body }))).toBe('417 invalid_value')
  })

  test('an upgrade is not made', async () => {
    const answer = await site.ask({
      headers: ['Connection: upgrade, close', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
      body,
    })
    expect(answer.status).toBe(200)
  })
})

describe('Host', () => {
  const hosts = [
    'a/#@b',
    'a:4000/#@x',
    '',
    'a\\b',
    'a b',
    'a@b',
    '../..',
    'gateway?x',
    'gateway:99999',
    'é',
    'a,b',
    '[::1',
    'a%2fb',
    "' or 1=1",
  ]

  test.each(hosts)('%j is refused', async (host) => {
    expect(refusalOf(await site.ask({ headers: [`Host: ${host}`], body }))).toBe('400 invalid_value')
  })

  test.each(hosts)('%j opens no admin route', async (host) => {
    const answer = await site.ask({
      method: 'GET',
      target: '/admin/v1/accounts',
      headers: [`Host: ${host}`],
      key: managementKey,
    })
    expect(refusalOf(answer)).toBe('400 invalid_value')
  })

  test('none is refused', async () => {
    expect(refusalOf(await site.raw(requestBytes({ headers: [`Authorization: Bearer ${key}`], body })))).toBe(
      '400 invalid_value',
    )
  })

  test('two are refused', async () => {
    expect(refusalOf(await site.ask({ headers: ['Host: a', 'Host: b'], body }))).toBe('400 invalid_value')
  })

  test.each(['gateway', 'GATEWAY:8787', '127.0.0.1:1', '[::1]', '[::1]:8787', 'my_host.internal'])(
    '%s is a host',
    async (host) => {
      expect((await site.ask({ headers: [`Host: ${host}`], body })).status).toBe(200)
    },
  )
})

describe('targets', () => {
  test.each([
    '/v1/../admin/v1/keys',
    '/v1/%2e%2e/admin/v1/keys',
    '/v1/.%2E/admin/v1/keys',
    '/%61dmin/v1/keys',
    '/v1/./chat/completions',
    '/v1/%63hat/completions',
    '/v1\\chat\\completions',
    '/v1/chat/completions#/admin',
    'http://gateway/v1/../admin/v1/keys',
    'ftp://gateway/v1/chat/completions',
    '*',
    'v1/chat/completions',
  ])('%s is refused before any route sees it', async (target) => {
    expect(refusalOf(await site.ask({ target, body }))).toBe('400 invalid_value')
  })

  test.each([
    '//admin/v1/keys',
    '/ADMIN/v1/keys',
    '/V1/chat/completions',
    '/v1/chat/completions/',
    '/v1//chat/completions',
    '/v1/chat/completions;x=1',
    '/v1/chat%2fcompletions',
    '/v1/chat/%2563ompletions',
    '/v1/chat/completions%00',
    '/v1/chat/completions%0d%0aX-Evil:%201',
    '/%',
    '/%ff%fe',
    '/__proto__',
    '/constructor',
    `/${'a'.repeat(20_000)}`,
  ])('%s leads nowhere', async (target) => {
    expect(refusalOf(await site.ask({ target, body }))).toBe('404 not_found')
  })

  test.each(['%ff', '%', '__proto__', 'constructor', 'unpriced-model', '%00'])(
    'GET /v1/models/%s is no model',
    async (name) => {
      expect(refusalOf(await site.ask({ method: 'GET', target: `/v1/models/${name}` }))).toBe(
        '404 model_not_found model',
      )
    },
  )

  test('a full address goes by its path, whatever host it names', async () => {
    expect((await site.ask({ target: 'http://elsewhere.example/v1/chat/completions', body })).status).toBe(200)
  })

  test('a full address opens no admin route', async () => {
    expect(refusalOf(await site.ask({ target: 'http://elsewhere.example/admin/v1/accounts', body: '{}' }))).toBe(
      '403 permission_denied',
    )
  })

  test('CONNECT is refused', async () => {
    expect(refusalOf(await site.ask({ method: 'CONNECT', target: 'elsewhere.example:443' }))).toBe(
      '405 method_not_allowed',
    )
  })

  test.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'])(
    '%s is not the way to call a model',
    async (method) => {
      expect(refusalOf(await site.ask({ method }))).toBe('405 method_not_allowed')
    },
  )

  test.each(['post', 'FOO', 'PRI'])('%s is no method', async (method) => {
    expect(refusalOf(await site.ask({ method, body }))).toBe('400 invalid_value')
  })

  test('a method in a header changes nothing', async () => {
    expect(refusalOf(await site.ask({ method: 'GET', headers: ['X-HTTP-Method-Override: POST'] }))).toBe(
      '405 method_not_allowed',
    )
  })
})

describe('where a body ends', () => {
  const refused: Record<string, string[]> = {
    'a length and chunks': ['Content-Length: 4', 'Transfer-Encoding: chunked'],
    'two lengths': ['Content-Length: 10', 'Content-Length: 20'],
    'a negative length': ['Content-Length: -1'],
    'a length with a sign': ['Content-Length: +10'],
    'a length in hex': ['Content-Length: 0x10'],
    'a length beyond counting': ['Content-Length: 99999999999999999999'],
    'a coding that is none': ['Transfer-Encoding: xchunked'],
    'chunked, but not last': ['Transfer-Encoding: chunked, identity'],
    'a space before the colon': ['Transfer-Encoding : chunked'],
  }
  test.each(Object.entries(refused))('%s: refused', async (_, headers) => {
    const bytes = Buffer.concat([
      requestBytes({ headers: ['Host: gateway', `Authorization: Bearer ${key}`, ...headers] }),
      ...chunked([body]),
    ])
    expect(refusalOf(await site.raw(bytes))).toBe('400 invalid_value')
  })

  const framed = (bytes: string): Promise<RawAnswer> =>
    site.raw(
      Buffer.concat([
        requestBytes({ headers: ['Host: gateway', `Authorization: Bearer ${key}`, 'Transfer-Encoding: chunked'] }),
        Buffer.from(bytes),
      ]),
    )

  test('a chunk whose size is no number is refused', async () => {
    expect(refusalOf(await framed('zz\r\nhello\r\n'))).toBe('400 invalid_value')
  })

  test('a chunk extension is passed over', async () => {
    expect((await framed(`${body.length.toString(16)};a=b\r\n${body}\r\n0\r\n\r\n`)).status).toBe(200)
  })

  test('100 kB of chunk extension are too large', async () => {
    expect(refusalOf(await framed(`${body.length.toString(16)};${'a'.repeat(100_000)}\r\n${body}\r\n0\r\n\r\n`))).toBe(
      '413 request_too_large',
    )
  })

  test('a second request hidden in the first one is never served', async () => {
    const hidden = requestBytes({
      method: 'GET',
      target: '/v1/credits',
      headers: ['Host: gateway', `Authorization: Bearer ${key}`],
    })
    const headers = [
      'Host: gateway',
      `Authorization: Bearer ${key}`,
      'Content-Length: 4',
      'Transfer-Encoding: chunked',
      'Connection: keep-alive',
    ]
    const answer = await site.raw(Buffer.concat([requestBytes({ headers }), Buffer.from('0\r\n\r\n'), hidden]))
    expect([answer.status, answer.answers]).toEqual([400, 1])
  })

  test.each([
    'hello\r\n\r\n',
    'GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00',
  ])('%j is no request', async (bytes) => {
    expect(refusalOf(await site.raw(bytes))).toBe('400 invalid_value')
  })

  test('garbage behind a request whose answer has begun gets no answer of its own', async () => {
    site.vendor.behave((_, response) => {
      openStream(response)
      response.write(
        eventsOf('Hello there')
          .slice(0, 2)
          .map((event) => `data: ${event}\n\n`)
          .join(''),
      )
    })
    const socket = await connectTo(site.gateway.url)
    socket.write(
      requestBytes({
        headers: ['Host: gateway', `Authorization: Bearer ${key}`, 'Connection: keep-alive'],
        body: chatBody({ stream: true }),
      }),
    )
    let text = ''
    socket.on('data', (bytes: Buffer) => {
      if (text === '') socket.write('\0garbage\r\n\r\n')
      text += bytes.toString()
    })
    await new Promise((resolve) => socket.once('close', resolve))
    site.vendor.behave(answerText('Hello there', usage))
    expect([text.split('HTTP/1.1').length, text.includes('error')]).toEqual([2, false])
  })
})

describe('what is passed on', () => {
  const mine = [
    'Cookie: session=caller-cookie',
    'X-Forwarded-For: 1.2.3.4, [::1], fe80::1%eth0',
    'X-Real-IP: 1.2.3.4',
    'CF-Connecting-IP: 1.2.3.4',
    'Forwarded: for=1.2.3.4',
    'OpenAI-Organization: org-caller',
    'X-Tollgate-Vendor: sandbox',
    'X-Tollgate-Cost: 0',
    'X-Request-Id: caller-id',
    'X-Evil: 1',
    'User-Agent: caller-agent',
    'Proxy-Authorization: Basic x',
    'Referer: http://caller.example',
  ]

  test("none of the caller's headers reach the vendor", async () => {
    site.vendor.calls.length = 0
    await site.ask({ headers: mine, body })
    const [call] = site.vendor.calls
    expect(call?.headers).toEqual({
      host: new URL(site.vendor.url).host,
      connection: 'keep-alive',
      'content-type': 'application/json',
      accept: 'application/json',
      'accept-encoding': 'identity',
      authorization: 'Bearer vendor-secret',
      'content-length': String(call?.text.length),
    })
  })

  test('headers in the name of the gateway change nothing', async () => {
    const { headers } = await site.ask({ headers: mine, body })
    expect([headers['x-tollgate-vendor'], headers['x-tollgate-cost'], headers['x-request-id'] === 'caller-id']).toEqual(
      ['fake', '0.000009', false],
    )
  })

  test.each(['caller-id\tx', 'a'.repeat(200), 'é', '"}\\u000a{"event":"forged"'])(
    "a caller's own id %j stands in no log line",
    async (id) => {
      const before = site.gateway.log.length
      expect((await site.ask({ headers: [`X-Request-Id: ${id}`], body })).status).toBe(200)
      expect(linesSince(before).filter((line) => line.includes('caller-id') || line.includes('forged'))).toEqual([])
    },
  )

  test.each(['test-model\r\nX-Evil: 1', '\u0000', '{"event":"forged"}\n{"event":"forged"}', '\u2028forged'])(
    'the model %j comes back as JSON and as nothing else',
    async (model) => {
      const before = site.gateway.log.length
      const answer = await site.chat({ model })
      expect(refusalOf(answer)).toBe('404 model_not_found model')
      expect(Object.keys(answer.headers)).not.toContain('x-evil')
      expect(linesSince(before).filter((line) => line.includes('forged'))).toEqual([])
    },
  )

  test('every line of the log is one JSON object without a key in it', () => {
    const lines = linesSince(0).filter((line) => line.startsWith('{'))
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ event: expect.any(String) as string })
    expect(
      lines.filter((line) => [key, managementKey, 'vendor-secret'].some((secret) => line.includes(secret))),
    ).toEqual([])
  })

  function linesSince(before: number): string[] {
    return site.gateway.log.slice(before).flatMap((text) => text.split('\n'))
  }
})

describe('models that a key may not use', () => {
  let account: TestAccount
  let narrow: { id: string; key: string }
  beforeAll(async () => {
    account = await site.gateway.account('5')
    narrow = await subKey(site.gateway, account, { models: ['sandbox/echo'] })
  })

  const bypasses: Record<string, [target: string, body: string, refusal: string]> = {
    'by its name': ['', chatBody(), '403 permission_denied model'],
    'by its target': ['', chatBody({ model: 'fake/vendor-model' }), '403 permission_denied model'],
    'by the query': ['?model=test-model', chatBody({ model: 'test-model' }), '403 permission_denied model'],
    'given twice': [
      '',
      '{"model":"sandbox/echo","messages":[{"role":"user","content":"hi"}],"model":"test-model"}',
      '400 invalid_value model',
    ],
    'given twice, escaped': [
      '',
      '{"model":"sandbox/echo","messages":[{"role":"user","content":"hi"}],"mod\\u0065l":"test-model"}',
      '400 invalid_value model',
    ],
    'given twice, in capitals': [
      '',
      '{"model":"sandbox/echo","messages":[{"role":"user","content":"hi"}],"MODEL":"test-model"}',
      '400 invalid_value model',
    ],
    'given twice, with a long s': [
      '',
      '{"model":"sandbox/echo","messages":[],"meſsages":[{"role":"user","content":"hi"}]}',
      '400 invalid_value messages',
    ],
    'with a space after it': ['', chatBody({ model: 'test-model ' }), '404 model_not_found model'],
    'in capitals': ['', chatBody({ model: 'TEST-MODEL' }), '404 model_not_found model'],
    'in look-alikes': ['', chatBody({ model: 'tеst-model' }), '404 model_not_found model'],
    'by a pattern': ['', chatBody({ model: '*' }), '404 model_not_found model'],
    'by a path': ['', chatBody({ model: 'sandbox/../fake/vendor-model' }), '404 model_not_found model'],
    'by an address': ['', chatBody({ model: 'huggingface/https://evil.example' }), '404 model_not_found model'],
    'by a list': ['', chatBody({ model: 'sandbox/echo,test-model' }), '404 model_not_found model'],
    'as a list': ['', chatBody({ model: ['test-model'] }), '400 invalid_value model'],
    'as the prototype': ['', chatBody({ model: '__proto__' }), '404 model_not_found model'],
    'as a name of 1 MB': ['', chatBody({ model: 'm'.repeat(1_000_000) }), '400 invalid_value model'],
  }
  test.each(Object.entries(bypasses))(
    '%s: refused, and the vendor hears nothing',
    async (_, [query, text, refusal]) => {
      site.vendor.calls.length = 0
      expect(refusalOf(await site.ask({ key: narrow.key, target: `/v1/chat/completions${query}`, body: text }))).toBe(
        refusal,
      )
      expect(site.vendor.calls).toEqual([])
    },
  )

  test.each([
    'models',
    'fallbacks',
    'extra_body',
    'route',
    'provider',
    'base_url',
    'api_base',
    'api_key',
    'custom_host',
    'proxy',
    'headers',
  ])('no field %s leads to another model or vendor', async (name) => {
    site.vendor.calls.length = 0
    const value = { model: 'test-model', order: ['fake'], base_url: 'http://evil.example' }
    const answer = await site.ask({
      key: narrow.key,
      body: chatBody({ model: 'sandbox/echo', [name]: name === 'models' ? ['test-model'] : value }),
    })
    const heard = [answer.status, answer.headers['x-tollgate-vendor'], site.vendor.calls.length]
    // A list of models to fall back to is held to the key's scope as the model itself is.
    expect(heard).toEqual(name === 'models' ? [403, undefined, 0] : [200, 'sandbox', 0])
  })

  test('a query names no other model', async () => {
    const answer = await site.ask({
      key: narrow.key,
      target: '/v1/chat/completions?model=test-model&models=test-model',
      body: chatBody({ model: 'sandbox/echo' }),
    })
    expect([answer.status, answer.headers['x-tollgate-vendor']]).toEqual([200, 'sandbox'])
  })

  test('a key below it has no more models than it has', async () => {
    const below = await subKey(site.gateway, account, { parent: narrow.id })
    expect(refusalOf(await site.chat({}, below.key))).toBe('403 permission_denied model')
  })

  test('a list of its own cannot go beyond that of the key above', async () => {
    const wider = site.ask({
      key: narrow.key,
      target: '/admin/v1/keys',
      body: JSON.stringify({ kind: 'sub', models: ['test-model'] }),
    })
    expect(refusalOf(await wider)).toMatch(/^400 invalid_value models/)
  })

  test('a key narrowed later narrows those below it at once', async () => {
    const above = await subKey(site.gateway, account)
    const below = await subKey(site.gateway, account, { parent: above.id })
    expect((await site.chat({}, below.key)).status).toBe(200)
    await site.gateway.admin('PATCH', `/admin/v1/keys/${above.id}`, { models: ['sandbox/echo'] })
    expect(refusalOf(await site.chat({}, below.key))).toBe('403 permission_denied model')
  })
})

describe("a sub-key and its parent's limits", () => {
  const beyond: Record<string, [Record<string, unknown>, Record<string, unknown>]> = {
    'a larger budget': [{ budgets: [{ limit: '1', window: 'total' }] }, { budgets: [{ limit: '2', window: 'total' }] }],
    'more requests': [{ requests_per_minute: 2 }, { requests_per_minute: 3 }],
    'more calls at once': [{ concurrency: 1 }, { concurrency: 2 }],
    'a later end': [{ expires_at: '2090-01-01T00:00:00Z' }, { expires_at: '2091-01-01T00:00:00Z' }],
  }
  test.each(Object.entries(beyond))('%s cannot be asked for', async (_, [above, wanted]) => {
    const account = await site.gateway.account('5')
    const parent = await subKey(site.gateway, account, above)
    const answer = await site.ask({
      key: parent.key,
      target: '/admin/v1/keys',
      body: JSON.stringify({ kind: 'sub', ...wanted }),
    })
    expect(refusalOf(answer)).toMatch(/^400 invalid_value /)
  })

  test.each(['master', 'management'])('a sub-key cannot make a %s key', async (kind) => {
    const account = await site.gateway.account('5')
    const parent = await subKey(site.gateway, account)
    const answer = await site.ask({
      key: parent.key,
      target: '/admin/v1/keys',
      body: JSON.stringify({ kind, account: account.id }),
    })
    expect([answer.status === 400 || answer.status === 403, answer.text.includes('sk-tg-')]).toEqual([true, false])
  })

  test('a sub-key cannot widen, free or move itself', async () => {
    const account = await site.gateway.account('5')
    const own = await subKey(site.gateway, account, { requests_per_minute: 2 })
    const change = (body: object): Promise<RawAnswer> =>
      site.ask({ key: own.key, method: 'PATCH', target: `/admin/v1/keys/${own.id}`, body: JSON.stringify(body) })
    const answers = [
      await change({ requests_per_minute: null }),
      await change({ requests_per_minute: 9 }),
      await change({ parent: null }),
    ]
    expect(answers.map(({ status }) => status >= 400)).toEqual([true, true, true])
  })

  test('many keys below one share its requests', async () => {
    const account = await site.gateway.account('5')
    const parent = await subKey(site.gateway, account, { requests_per_minute: 3 })
    const below = await Promise.all(
      Array.from({ length: 5 }, () => subKey(site.gateway, account, { parent: parent.id })),
    )
    const answers = await Promise.all(below.map((one) => site.chat({}, one.key)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(2)
  })

  test('a parent whose budget is spent leaves its keys without', async () => {
    const account = await site.gateway.account('5')
    const parent = await subKey(site.gateway, account, { budgets: [{ limit: '0', window: 'total' }] })
    const below = await subKey(site.gateway, account, { parent: parent.id })
    site.vendor.calls.length = 0
    const answer = await site.chat({}, below.key)
    expect([refusalOf(answer), site.vendor.calls.length]).toEqual(['402 insufficient_quota', 0])
  })
})
