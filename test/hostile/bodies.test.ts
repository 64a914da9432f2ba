import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { TestAccount } from '../support/gateway.ts'
import { answerText } from '../support/vendor.ts'
import { bookedFor, chatBody, messages, openSite, refusalOf, standingOf, usage, usageCost, type Site } from './site.ts'
import { chunked, requestBytes, sendRaw, type RawAnswer } from './wire.ts'

const bodyLimit = 33_554_432
const megabyte = 1_000_000

let site: Site
beforeAll(async () => {
  // Rich enough for the worst case of every body here: no prompt has to be counted before the call.
  site = await openSite(undefined, '100000')
})
afterEach(async () => {
  expect(await standingOf(site)).toMatchObject({ held: 0n, inFlight: 0 })
  expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted')
})
afterAll(() => site.close())

/** Over a connection that stays open: where we close it, what a caller still sends would throw the answer away. */
const ask = (
  body: string | Uint8Array | undefined,
  headers: readonly string[] = [],
  more: Iterable<Uint8Array> = [],
): Promise<RawAnswer> =>
  site.ask({ ...(body !== undefined && { body }), headers: [...headers, 'Connection: keep-alive'], more, once: true })

/** Members after those of the usual call. */
const withMembers = (members: string): string => `${chatBody().slice(0, -1)},${members}}`
const withContent = (json: string): string => `{"model":"test-model","messages":[{"role":"user","content":${json}}]}`

/** Asks, and gives what the vendor got for it. */
async function heard(body: string | Uint8Array, headers: readonly string[] = []): Promise<string | undefined> {
  site.vendor.calls.length = 0
  expect((await ask(body, headers)).status).toBe(200)
  return site.vendor.calls[0]?.text
}

describe('what is no chat request', () => {
  const bodies: Record<string, [body: string | Uint8Array, refusal: string]> = {
    nothing: ['', '400 invalid_json'],
    'white space': [' \n', '400 invalid_json'],
    null: ['null', '400 invalid_json'],
    'a list': ['[]', '400 invalid_json'],
    'a string': ['"x"', '400 invalid_json'],
    'a number': ['1', '400 invalid_json'],
    'half an object': ['{"model":', '400 invalid_json'],
    'a comma too many': [`${chatBody().slice(0, -1)},}`, '400 invalid_json'],
    'two objects': [chatBody() + chatBody(), '400 invalid_json'],
    'an object and NUL': [`${chatBody()}\0`, '400 invalid_json'],
    NaN: [withMembers('"temperature":NaN'), '400 invalid_json'],
    'single quotes': [chatBody().replaceAll('"', "'"), '400 invalid_json'],
    'UTF-16': [Buffer.from(chatBody(), 'utf16le'), '400 invalid_json'],
    'UTF-16 with its mark': [Buffer.from(`\ufeff${chatBody()}`, 'utf16le'), '400 invalid_json'],
    'bytes that are no UTF-8': [
      Buffer.concat([
        Buffer.from('{"model":"test-model","messages":[{"role":"user","content":"'),
        Buffer.of(0xff, 0xc3),
        Buffer.from('"}]}'),
      ]),
      '400 invalid_json',
    ],
    'a surrogate in UTF-8': [
      Buffer.concat([
        Buffer.from('{"model":"test-model","messages":[{"role":"user","content":"'),
        Buffer.of(0xed, 0xa0, 0x80),
        Buffer.from('"}]}'),
      ]),
      '400 invalid_json',
    ],
    'a control character in a string': [withContent('"\u0001"'), '400 invalid_json'],
    'an empty object': ['{}', '400 invalid_value model'],
    'lists 100,000 deep': ['['.repeat(100_000), '400 invalid_json'],
    'lists 10,000,000 deep': ['['.repeat(10_000_000), '400 invalid_json'],
    'a content 100,000 deep': [withContent('['.repeat(100_000) + ']'.repeat(100_000)), '400 invalid_json'],
    'objects 100,000 deep': [`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, '400 invalid_json'],
    'a million members': [
      withMembers(Array.from({ length: megabyte }, (_, index) => `"k${index}":1`).join()),
      '400 invalid_json',
    ],
    'a million members of one name': [withMembers('"k":1,'.repeat(megabyte).slice(0, -1)), '400 invalid_json'],
    'two million items': [withMembers(`"x":[${'1,'.repeat(2 * megabyte)}1]`), '400 invalid_json'],
    'a string without an end': [`{"model":"${'\\'.repeat(3 * megabyte)}`, '400 invalid_json'],
    'a string of 50 MB': [withContent(`"${'a'.repeat(50 * megabyte)}"`), '413 request_too_large'],
    'messages: none': [chatBody({ messages: [] }), '400 invalid_value messages'],
    'messages: an object': [chatBody({ messages: { 0: messages[0] } }), '400 invalid_value messages'],
    'messages: null in it': [chatBody({ messages: [null] }), '400 invalid_value messages[0]'],
    'messages: 20,000': [
      chatBody({ messages: Array.from({ length: 20_000 }, () => messages[0]) }),
      '400 invalid_value messages',
    ],
    'messages: 100,000': [
      chatBody({ messages: Array.from({ length: 100_000 }, () => messages[0]) }),
      '400 invalid_json',
    ],
    'a role that is none': [
      chatBody({ messages: [{ role: 'root', content: 'x' }] }),
      '400 invalid_value messages[0].role',
    ],
    'the prototype for a role': [
      chatBody({ messages: [{ role: '__proto__', content: 'x' }] }),
      '400 invalid_value messages[0].role',
    ],
    'content: null': [
      chatBody({ messages: [{ role: 'user', content: null }] }),
      '400 invalid_value messages[0].content',
    ],
    'content: an object': [
      chatBody({ messages: [{ role: 'user', content: { a: 1 } }] }),
      '400 invalid_value messages[0].content',
    ],
    'content: a number': [
      chatBody({ messages: [{ role: 'user', content: 1 }] }),
      '400 invalid_value messages[0].content',
    ],
    'content: a list of lists': [
      chatBody({ messages: [{ role: 'user', content: [[]] }] }),
      '400 invalid_value messages[0].content[0]',
    ],
  }
  test.each(Object.entries(bodies))('%s: refused, and the vendor hears nothing', async (_, [body, refusal]) => {
    site.vendor.calls.length = 0
    expect(refusalOf(await ask(body))).toBe(refusal)
    expect(site.vendor.calls).toEqual([])
  })
})

describe('numbers that are none', () => {
  test.each(['1e400', '-0', '0', '-1', '1.5', '1e308', '"10"', 'true', '[]', '9007199254740993', '2147483649', '1e30'])(
    'max_tokens %s is refused',
    async (number) => {
      expect(refusalOf(await ask(withMembers(`"max_tokens":${number}`)))).toBe('400 invalid_value max_tokens')
    },
  )

  test.each(['0', '-1', '1000000', '1.5', '"2"'])('n %s is refused', async (number) => {
    expect(refusalOf(await ask(withMembers(`"n":${number}`)))).toBe('400 invalid_value n')
  })

  test.each(['"true"', '1', '{}'])('stream %s is refused', async (value) => {
    expect(refusalOf(await ask(withMembers(`"stream":${value}`)))).toBe('400 invalid_value stream')
  })

  test('numbers that we do not read reach the vendor as they were written', async () => {
    const numbers = '"x":1e400,"seed":-0,"y":1.0e+308,"z":12345678901234567890'
    expect(await heard(withMembers(numbers))).toBe(withMembers(numbers).replace('test-model', 'vendor-model'))
  })
})

describe('what is odd but good', () => {
  const bodies: Record<string, string> = {
    'lone surrogates': withContent('"\\ud800 \\udc00\\ud800"'),
    'a prototype as a member': withMembers(
      '"__proto__":{"polluted":1,"model":"unpriced-model"},"constructor":{"prototype":{"polluted":1}}',
    ),
    'a prototype as metadata': withMembers('"metadata":{"__proto__":{"polluted":1}}'),
    'a prototype in a message':
      '{"model":"test-model","messages":[{"role":"user","content":"hi","__proto__":{"polluted":1}}]}',
    'every special token': withContent(
      '"<|endoftext|><|im_start|><|im_end|><|fim_prefix|><|endofprompt|><|start|><|channel|><|return|>"',
    ),
    'the text of a stream': withContent('"data: [DONE]\\n\\ndata: {\\"error\\":{\\"message\\":\\"x\\"}}\\n\\n"'),
    'an assistant without content': chatBody({ messages: [...messages, { role: 'assistant', content: null }] }),
    '9,000 members': withMembers(Array.from({ length: 9_000 }, (_, index) => `"k${index}":1`).join()),
    'a name of 10 MB': withMembers(`"${'k'.repeat(10 * megabyte)}":1`),
    'a million items': withMembers(`"x":[${'1,'.repeat(megabyte - 100)}1]`),
    'escaped quotes, 5 MB of them': withContent(`"${'\\"'.repeat(2.5 * megabyte)}"`),
    'backslashes, 20 MB of them': withContent(`"${'\\\\'.repeat(10 * megabyte)}"`),
  }
  test.each(Object.entries(bodies))('%s: reaches the vendor byte for byte', async (_, body) => {
    expect((await heard(body)) === body.replace('test-model', 'vendor-model')).toBe(true)
  })

  test('a byte order mark is left out', async () => {
    expect(await heard(`\ufeff${chatBody()}`)).toBe(chatBody({ model: 'vendor-model' }))
  })

  test('a prototype in stream_options asks for no usage', async () => {
    const answer = await site.ask({
      body: withMembers('"stream":true,"stream_options":{"__proto__":{"include_usage":true}}'),
    })
    expect([answer.status, answer.text.includes('"usage"')]).toEqual([200, false])
  })

  test.each([
    'text/plain',
    'multipart/form-data',
    'application/x-www-form-urlencoded',
    'application/json; charset=utf-16',
    'application/json;;;',
    'application/xml',
  ])('content-type %s does not change what the body is', async (type) => {
    expect(await heard(chatBody(), [`Content-Type: ${type}`])).toBe(chatBody({ model: 'vendor-model' }))
  })
})

describe('encoded bodies', () => {
  test.each(['gzip', 'GZIP', 'br', 'deflate', 'zstd', 'gzip, identity'])(
    'content-encoding %s is refused',
    async (encoding) => {
      expect(refusalOf(await ask(gzipSync(chatBody()), [`Content-Encoding: ${encoding}`]))).toBe(
        '415 unsupported_media_type',
      )
    },
  )

  test('200 MB packed into 200 kB are not unpacked', async () => {
    expect(refusalOf(await ask(gzipSync(Buffer.alloc(200 * megabyte, 32)), ['Content-Encoding: gzip']))).toBe(
      '415 unsupported_media_type',
    )
  })

  test('a packed body that does not say so is no JSON', async () => {
    expect(refusalOf(await ask(gzipSync(chatBody())))).toBe('400 invalid_json')
  })

  test('"identity" is no encoding', async () => {
    expect((await ask(chatBody(), ['Content-Encoding: identity'])).status).toBe(200)
  })
})

describe('bodies of another length than they say', () => {
  test('a shorter length leaves half a body', async () => {
    expect(refusalOf(await ask(chatBody(), ['Content-Length: 20']))).toMatch(/^400 invalid_(json|value)$/)
  })

  test('a longer length, then the end of the connection', async () => {
    const answer = await site.ask({
      body: chatBody(),
      headers: [`Content-Length: ${chatBody().length + 100}`],
      half: true,
    })
    expect(refusalOf(answer)).toBe('400 invalid_value')
  })

  test('a longer length, then silence, then a reset', async () => {
    site.vendor.calls.length = 0
    const answer = await site.ask({
      body: chatBody(),
      headers: [`Content-Length: ${chatBody().length + 100}`],
      limitMs: 300,
    })
    expect([answer.status, site.vendor.calls.length]).toEqual([0, 0])
  })

  test('a length over the limit is refused before the body comes', async () => {
    expect(refusalOf(await ask('{', [`Content-Length: ${bodyLimit + 1}`]))).toBe('413 request_too_large')
  })

  test('a length of 10^12 is refused before the body comes', async () => {
    expect(refusalOf(await ask('{', ['Content-Length: 1000000000000']))).toBe('413 request_too_large')
  })

  test('chunks that go over the limit are refused there', async () => {
    const parts = Array.from({ length: 1_000 }, () => Buffer.alloc(65_536, 97))
    expect(refusalOf(await ask(undefined, ['Transfer-Encoding: chunked'], chunked(parts)))).toBe(
      '413 request_too_large',
    )
  })

  test('a body of the very limit in single chunks is read', async () => {
    const body = withContent(`"${'a'.repeat(bodyLimit - withContent('""').length)}"`)
    const parts = Array.from({ length: 512 }, (_, index) => body.slice(index * 65_536, (index + 1) * 65_536))
    expect((await ask(undefined, ['Transfer-Encoding: chunked'], chunked(parts))).status).toBe(200)
  })

  test('a body in chunks of one byte is read', async () => {
    expect((await ask(undefined, ['Transfer-Encoding: chunked'], chunked(chatBody()))).status).toBe(200)
  })
})

describe('long texts', () => {
  let poor: TestAccount
  beforeAll(async () => {
    poor = await site.gateway.account('9')
  })
  const texts: Record<string, string> = {
    letters: 'a'.repeat(megabyte),
    spaces: ' '.repeat(megabyte),
    'line ends': '\n'.repeat(megabyte),
    digits: '1'.repeat(megabyte),
    NUL: '\0'.repeat(megabyte),
    'unbroken Chinese': '我们今天去看电影然后吃饭'.repeat(42_000),
    families: '👨‍👩‍👧‍👦'.repeat(90_000),
    'combining marks': `e${'\u0301'.repeat(megabyte)}`,
    'text from right to left': '\u202eمرحبا'.repeat(150_000),
  }
  test.each(Object.entries(texts))(
    '%s: a megabyte that a rich account sends costs what the vendor counts',
    async (_, text) => {
      const answer = await site.chat({ messages: [{ role: 'user', content: text }] })
      expect(await bookedFor(site, answer)).toMatchObject({ outcome: 'complete', source: 'vendor', cost: usageCost })
    },
  )

  test.each(Object.entries(texts))(
    '%s: a megabyte that must be counted first is counted while others are served',
    async (_, text) => {
      const answer = await site.chat(
        { stream: true, max_tokens: 16, messages: [{ role: 'user', content: text }] },
        poor.key,
      )
      expect([answer.status, answer.text.endsWith('data: [DONE]\n\n')]).toEqual([200, true])
    },
  )

  test('a prompt that looks like a stream stays a prompt', async () => {
    site.vendor.behave((call, response) =>
      answerText(String((call.body['messages'] as { content: string }[])[0]?.content))(call, response),
    )
    const text = 'data: [DONE]\n\ndata: {"error":{"message":"boom"}}\n\n: x\nevent: error\n\n'
    const answer = await site.chat({ stream: true, messages: [{ role: 'user', content: text }] })
    site.vendor.behave(answerText('Hello there', usage))
    const payloads = answer.text
      .trimEnd()
      .split('\n\n')
      .map((event) => event.slice('data: '.length))
    const deltas = payloads
      .slice(0, -1)
      .map(
        (payload) =>
          (JSON.parse(payload) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? '',
      )
    expect([deltas.join(''), payloads.at(-1)]).toEqual([text, '[DONE]'])
  })
})

test('six bodies of 30 MB at once are each answered', async () => {
  const body = chatBody({
    messages: [
      {
        role: 'user',
        content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(30 * megabyte)}` } }],
      },
    ],
  })
  const bytes = requestBytes({ headers: ['Host: gateway', `Authorization: Bearer ${site.account.key}`], body })
  site.vendor.behave(answerText('Hello there', usage))
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => sendRaw(site.gateway.url, bytes, { limitMs: 20_000 })),
  )
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
})
