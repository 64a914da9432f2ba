import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import type { ServerResponse } from 'node:http'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  completion,
  eventsOf,
  json,
  openStream,
  startVendor,
  type Behaviour,
  type FakeVendor,
} from '../support/vendor.ts'
import type { TestGatewayOptions } from '../support/gateway.ts'
import { bookedFor, openSite, refusalOf, standingOf, usage, vendorKey, type Site } from './site.ts'
import type { RawAnswer } from './wire.ts'

/** The same vendor with little patience, for what would else take minutes. */
const hasty = (vendorUrl: string): Partial<TestGatewayOptions> => ({
  timeouts: `
  hasty:
    adapter: openai
    base_url: ${vendorUrl}
    api_keys: [${vendorKey}]
    timeouts: { connect_ms: 1000, first_byte_ms: 400, idle_ms: 400, total_ms: 900 }`,
  yaml: `
  hasty-model:
    targets: [{ vendor: hasty, model: vendor-model }]
    prices: { input: 1, output: 2 }`,
})

let site: Site
/** Where a redirect would lead: nobody may ever come. */
let elsewhere: FakeVendor
beforeAll(async () => {
  elsewhere = await startVendor()
  site = await openSite(hasty)
})
afterEach(async () => {
  expect(await standingOf(site)).toMatchObject({ held: 0n, inFlight: 0 })
  expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted')
  expect(elsewhere.calls).toEqual([])
})
afterAll(async () => {
  await site.close()
  await elsewhere.close()
})

const text = 'one two three'
const events = eventsOf(text, usage)
const sse = (payloads: readonly string[]): string => payloads.map((payload) => `data: ${payload}\n\n`).join('')
const done = 'data: [DONE]\n\n'
const stream = sse(events) + done
/** The role, and two words. */
const begun = sse(events.slice(0, 3))
const body = JSON.stringify(completion(text, usage))
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n'
const bodyHead = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

/** Writes these bytes to the bare connection and closes it. */
function bare(...parts: (string | Uint8Array)[]): Behaviour {
  return (_, response) => {
    for (const part of parts) response.socket?.write(part)
    response.socket?.end()
  }
}
const streamed = (...parts: (string | Uint8Array)[]): Behaviour => bare(streamHead, '\r\n', ...parts)
const unstreamed = (...parts: (string | Uint8Array)[]): Behaviour => bare(bodyHead, '\r\n', ...parts)
const asStream = (payloads: readonly string[]): Behaviour => streamed(sse(payloads), done)
const withUsage = (told: unknown): Behaviour =>
  asStream([
    ...eventsOf(text),
    JSON.stringify({ object: 'chat.completion.chunk', model: 'vendor-model-2026', choices: [], usage: told }),
  ])

/** Sends the start of an answer and resets the connection. */
function resetAfter(start: string, type = 'text/event-stream'): Behaviour {
  return async (_, response) => {
    response.writeHead(200, { 'content-type': type })
    response.write(start)
    await wait(20)
    response.socket?.resetAndDestroy()
  }
}

/** Writes the part again and again until nobody listens any more, at the pace of who reads. */
function endlessly(part: string, start = '', type = 'text/event-stream'): Behaviour {
  return async (_, response) => {
    response.writeHead(200, { 'content-type': type })
    response.write(start)
    while (!response.destroyed) {
      if (!response.write(part)) await drained(response)
      await wait(1)
    }
  }
}

/** A byte now and then, for as long as somebody listens. */
async function dribble(response: ServerResponse): Promise<void> {
  for (const byte of stream) {
    if (response.destroyed) return
    response.write(byte)
    await wait(300)
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}

type Verdict = readonly [told: string, outcome: string, source: string, cost: bigint]
const whole: Verdict = ['whole', 'complete', 'vendor', 9_000n]
const counted: Verdict = ['whole', 'complete', 'counted', 14_000n]
const failed: Verdict = ['502 vendor_error', 'vendor_failed', 'fixed', 0n]
const late: Verdict = ['504 vendor_timeout', 'vendor_failed', 'fixed', 0n]
/** Two words were sent before it. */
const broken: Verdict = ['broken vendor_error', 'incomplete', 'counted', 14_000n]
const brokenLate: Verdict = ['broken vendor_timeout', 'incomplete', 'counted', 14_000n]

/** How the caller was told of the end. */
function toldBy(answer: RawAnswer): string {
  if (answer.status !== 200) return refusalOf(answer)
  if (answer.headers['content-type'] === 'application/json')
    return (JSON.parse(answer.text) as { choices?: unknown }).choices ? 'whole' : 'no answer'
  const last = answer.text.trimEnd().split('\n\n').at(-1)?.slice('data: '.length) ?? ''
  if (last === '[DONE]') return 'whole'
  const error = (JSON.parse(last) as { error?: { code: string } }).error
  return error ? `broken ${error.code}` : 'open'
}

async function verdictOf(answer: RawAnswer): Promise<Verdict> {
  const { outcome, source, cost } = await bookedFor(site, answer)
  return [toldBy(answer), String(outcome), String(source), cost]
}

/** A misbehaviour, and what becomes of a call that streams and of one that does not. */
type Case = readonly [behaviour: Behaviour, streaming: Verdict, gathered?: Verdict]

function both(cases: Readonly<Record<string, Case>>, model = 'test-model'): void {
  for (const [name, [behaviour, streaming, gathered = streaming]] of Object.entries(cases)) {
    test.each([
      ['streamed', true, streaming],
      ['unstreamed', false, gathered],
    ] as const)(`${name}, %s`, async (_, isStream, expected) => {
      site.vendor.behave(behaviour)
      expect(await verdictOf(await site.chat({ model, stream: isStream }))).toEqual(expected)
    })
  }
}

describe('what is no answer', () => {
  both({
    'random bytes': [bare(randomBytes(100_000)), failed],
    'random bytes for a stream': [streamed(randomBytes(500_000)), failed],
    'random bytes for a body': [unstreamed(randomBytes(500_000)), failed],
    HTML: [bare('HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>hello</html>'), failed],
    null: [unstreamed('null'), failed],
    nothing: [bare(bodyHead, 'content-length: 0\r\n\r\n'), failed],
    'status 204': [bare('HTTP/1.1 204 No Content\r\n\r\n'), failed],
    'status 999': [bare('HTTP/1.1 999 Odd\r\n\r\n', body), failed],
    'status 000': [bare('HTTP/1.1 000 Odd\r\n\r\n', body), failed],
    'another protocol': [
      bare('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n', 'xxxx'),
      failed,
    ],
    'a body as a stream': [streamed(body), failed],
    'a packed stream': [bare(streamHead, 'content-encoding: gzip\r\n\r\n', gzipSync(stream)), failed],
    'a packed body': [bare(bodyHead, 'content-encoding: gzip\r\n\r\n', gzipSync(body)), failed],
    'a body 100,000 deep that ends early': [unstreamed('{"choices":'.repeat(100_000)), failed],
    'an argument 100,000 deep': [
      streamed(
        `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":${'['.repeat(100_000)}${']'.repeat(100_000)}}}]}}]}\n\n`,
        stream,
      ),
      failed,
    ],
    'an argument 100,000 deep in a body': [
      unstreamed(
        `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":${'['.repeat(100_000)}${']'.repeat(100_000)}}}]}}]}`,
      ),
      failed,
    ],
  })
})

describe('too much of it', () => {
  both({
    'headers without end': [
      async (_, response) => {
        response.socket?.write('HTTP/1.1 200 OK\r\n')
        for (let index = 0; index < 20_000 && response.socket?.writable; index++) {
          response.socket.write(`x-${index}: ${'v'.repeat(200)}\r\n`)
          if (index % 100 === 0) await wait(1)
        }
      },
      failed,
    ],
    'a comment without end': [endlessly('c'.repeat(65_536), ':'), failed],
    'an event without end': [endlessly('x'.repeat(65_536), 'data: '), failed],
    'an event without end, after two words': [endlessly('x'.repeat(65_536), `${begun}data: `), broken, failed],
    'a body without end': [endlessly(' '.repeat(1_000_000), '', 'application/json'), failed],
    'a million empty lines first': [streamed('\n'.repeat(1_000_000), stream), whole],
    '10,000 tiny events at once': [
      asStream([
        ...Array.from({ length: 10_000 }, () => '{"choices":[{"index":0,"delta":{"content":"x"}}]}'),
        ...events.slice(-2),
      ]),
      whole,
    ],
    '100,000 events without content': [
      asStream([...Array.from({ length: 100_000 }, () => '{"choices":[]}'), ...events]),
      whole,
    ],
  })

  test('an error body without end is read no further than it tells', async () => {
    site.vendor.behave(async (_, response) => {
      response.writeHead(500)
      while (!response.destroyed) if (!response.write('x'.repeat(65_536))) await drained(response)
    })
    expect(await verdictOf(await site.chat())).toEqual(failed)
  })
})

describe('too deep or too wide to be passed on', () => {
  const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  const wide = Array.from({ length: 20_000 }, (_, index) => `"k${index}":1`).join()

  test('a body 100,000 deep becomes no stream', async () => {
    site.vendor.behave(unstreamed(`{"x":${deep},${body.slice(1)}`))
    expect(await verdictOf(await site.chat({ stream: true }))).toEqual(failed)
  })

  test('an event 100,000 deep becomes no body', async () => {
    site.vendor.behave(streamed(`data: {"choices":[{"index":0,"delta":{"content":"x"},"x":${deep}}]}\n\n`, stream))
    expect(await verdictOf(await site.chat())).toEqual(failed)
  })

  test('an event of 20,000 members is no event', async () => {
    site.vendor.behave(
      streamed(`data: {${wide},"model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n`, stream),
    )
    const answer = await site.chat({ stream: true })
    expect(await verdictOf(answer)).toEqual(failed)
  })

  test('an event of 20,000 members after good ones breaks the stream', async () => {
    site.vendor.behave(async (_, response) => {
      openStream(response)
      response.write(begun)
      await wait(30)
      response.end(`data: {${wide},"model":"m","choices":[]}\n\n${stream}`)
    })
    expect(await verdictOf(await site.chat({ stream: true }))).toEqual([
      'broken vendor_error',
      'incomplete',
      'vendor_partial',
      9_000n,
    ])
  })

  test('a closing event of 20,000 members does not pass for a good end', async () => {
    site.vendor.behave(
      asStream([
        ...eventsOf(text),
        `{${wide},"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}`,
      ]),
    )
    const answer = await site.chat({ stream: true, stream_options: { include_usage: true } })
    expect([answer.text.includes('[DONE]'), (await bookedFor(site, answer)).cost]).toEqual([false, 9_000n])
  })

  both({
    "a body of 20,000 members, which is nobody's fault but the vendor's": [
      unstreamed(`{${wide},${body.slice(1)}`),
      failed,
    ],
  })
})

describe('the frame of the answer', () => {
  both({
    'early hints, then a stream': [
      bare('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n', streamHead, '\r\n', stream),
      whole,
    ],
    'early hints, then a body': [bare('HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n', bodyHead, '\r\n', body), whole],
    'a type in capitals': [bare('HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream\r\n\r\n', stream), whole],
    'a longer length, after the end': [
      bare(streamHead, `content-length: ${stream.length + 50}\r\n\r\n`, stream),
      whole,
    ],
    'a longer length, in the middle': [
      bare(streamHead, `content-length: ${stream.length}\r\n\r\n`, begun),
      broken,
      failed,
    ],
    'a shorter length': [bare(streamHead, `content-length: ${begun.length + 5}\r\n\r\n`, stream), broken, failed],
    'a longer length of a body': [bare(bodyHead, `content-length: ${body.length + 50}\r\n\r\n`, body), failed],
    'a shorter length of a body': [bare(bodyHead, `content-length: ${body.length - 5}\r\n\r\n`, body), failed],
    'a negative length': [bare(bodyHead, 'content-length: -5\r\n\r\n', body), failed],
    'a length and chunks': [
      bare(
        bodyHead,
        `content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      ),
      failed,
    ],
    'a chunk that is none': [
      bare(streamHead, `transfer-encoding: chunked\r\n\r\n${begun.length.toString(16)}\r\n${begun}\r\nzzz\r\n`),
      broken,
      failed,
    ],
  })
})

describe('a connection that is reset', () => {
  both({
    'before the status': [(_, response) => void response.socket?.resetAndDestroy(), failed],
    'closed before the status': [bare(''), failed],
    'in the status': [bare('HTTP/1.1 20'), failed],
    'after the status': [resetAfter(''), failed],
    'in the first event': [resetAfter(`${sse(events.slice(0, 1))}data: {"id":"ch`), failed],
    'in the middle of an event': [resetAfter(`${begun}data: {"id":"ch`), broken, failed],
    'after the finish reason': [resetAfter(sse(eventsOf(text))), counted],
    'after the usage': [resetAfter(sse(events)), whole],
    'after the last event': [resetAfter(stream), whole],
    'in a body': [resetAfter(body.slice(0, -10), 'application/json'), failed],
  })
})

describe('after the end', () => {
  both({
    'more content': [
      streamed(stream, 'data: {"choices":[{"index":0,"delta":{"content":"EXTRA"}}]}\n\n', stream),
      whole,
    ],
    garbage: [streamed(stream, 'data: \0garbage', randomBytes(1_000)), whole],
    'an error': [streamed(stream, 'data: {"error":{"message":"boom"}}\n\n'), whole],
    'nothing, but open': [
      (_, response) => {
        openStream(response)
        response.write(stream)
      },
      whole,
    ],
    'more without end': [endlessly(sse(events), stream), whole],
  })

  test('nothing of it reaches the caller', async () => {
    site.vendor.behave(streamed(stream, 'data: {"choices":[{"index":0,"delta":{"content":"EXTRA"}}]}\n\n', stream))
    const answer = await site.chat({ stream: true })
    expect([answer.text.includes('EXTRA'), answer.text.split('[DONE]').length]).toEqual([false, 2])
  })
})

describe('usage', () => {
  both({
    negative: [withUsage({ prompt_tokens: -5, completion_tokens: -1_000_000 }), counted],
    'beyond a double': [withUsage({ prompt_tokens: 1e300, completion_tokens: 1e18 }), counted],
    'a million million': [withUsage({ prompt_tokens: 1e12, completion_tokens: 1e12 }), counted],
    'in halves': [withUsage({ prompt_tokens: 5.5, completion_tokens: 2.2 }), counted],
    'in strings': [withUsage({ prompt_tokens: '5', completion_tokens: '2' }), counted],
    null: [withUsage({ prompt_tokens: null, completion_tokens: null }), counted],
    'a list': [withUsage([5, 2]), counted],
    objects: [withUsage({ prompt_tokens: { a: 1 }, completion_tokens: [2] }), counted],
    'of the prompt alone': [withUsage({ prompt_tokens: 5 }), ['whole', 'complete', 'vendor_partial', 11_000n]],
    'of the answer alone': [withUsage({ completion_tokens: 2 }), ['whole', 'complete', 'vendor_partial', 12_000n]],
    'in the prototype': [
      asStream([
        ...eventsOf(text),
        '{"choices":[],"usage":{"__proto__":{"prompt_tokens":999999},"prompt_tokens":5,"completion_tokens":2},"__proto__":{"polluted":1}}',
      ]),
      whole,
    ],
    'on every event, never summed': [
      asStream(events.map((event) => JSON.stringify({ ...(JSON.parse(event) as object), usage }))),
      whole,
    ],
  })

  test('a count that will not do is named with the call', async () => {
    site.vendor.behave(withUsage({ prompt_tokens: -5, completion_tokens: '2' }))
    const answer = await site.chat()
    const receipt = await site.gateway.get(`/v1/generation?id=${answer.headers['x-request-id']}`, site.account.key)
    expect(receipt['anomalies']).toEqual(['invalid_prompt_tokens', 'invalid_completion_tokens'])
  })
})

describe('slow, silent or talkative without content', () => {
  both(
    {
      'a header that comes slowly': [
        async (_, response) => {
          response.socket?.write('HTTP/1.1 200 OK\r\nx: ')
          for (; response.socket?.writable; await wait(100)) response.socket.write('a')
        },
        late,
      ],
      'early hints without end': [
        async (_, response) => {
          for (; response.socket?.writable; await wait(10))
            response.socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(10))
        },
        late,
      ],
      'comments without end': [endlessly(`: ${'c'.repeat(60)}\n`.repeat(1_000)), late],
      'pings without end': [endlessly(': ping\n\n'), late],
      'nothing at all': [() => {}, late],
      'a status and nothing': [(_, response) => void response.socket?.write(`${streamHead}\r\n`), late],
      'a stream without content': [
        async (_, response) => {
          openStream(response)
          for (; !response.destroyed; await wait(100))
            response.write('data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n')
        },
        late,
      ],
      'two words, then nothing': [
        (_, response) => {
          openStream(response)
          response.write(begun)
        },
        brokenLate,
        late,
      ],
      'a byte now and then': [
        async (_, response) => {
          openStream(response)
          await dribble(response)
        },
        late,
      ],
      'a byte now and then after two words': [
        async (_, response) => {
          openStream(response)
          response.write(begun)
          await dribble(response)
        },
        brokenLate,
        late,
      ],
      'an error that comes slowly': [
        async (_, response) => {
          response.writeHead(500)
          for (; !response.destroyed; await wait(100)) response.write('x')
        },
        late,
      ],
    },
    'hasty-model',
  )
})

describe('what leads elsewhere or tells too much', () => {
  test.each([301, 302, 303, 307, 308])(
    'a redirect with %d is not followed: our key would go with it',
    async (status) => {
      site.vendor.behave((_, response) => {
        response.writeHead(status, { location: `${elsewhere.url}/v1/chat/completions` })
        response.end(body)
      })
      expect(await verdictOf(await site.chat())).toEqual(failed)
    },
  )

  test("none of the vendor's headers reach the caller", async () => {
    site.vendor.behave((_, response) =>
      json(response, 200, completion(text, usage), {
        'set-cookie': 'v=1',
        'x-evil': '1',
        'x-request-id': 'theirs',
        'access-control-allow-origin': '*',
        server: 'theirs',
      }),
    )
    const { headers } = await site.chat()
    expect(Object.keys(headers).toSorted()).toEqual([
      'connection',
      'content-length',
      'content-type',
      'date',
      'x-request-id',
      'x-tollgate-attempts',
      'x-tollgate-cache',
      'x-tollgate-cost',
      'x-tollgate-model',
      'x-tollgate-vendor',
    ])
  })

  test('a vendor that quotes our key in an error is not quoted', async () => {
    site.vendor.behave((call, response) =>
      json(response, 400, {
        error: {
          message: `${call.headers.authorization} and ${vendorKey} are bad`,
          param: vendorKey,
          code: vendorKey,
          type: vendorKey,
        },
      }),
    )
    const { error } = JSON.parse((await site.chat()).text) as { error: Record<string, unknown> }
    expect([error['message'], error['param'], error['code']]).toEqual([
      '[redacted] and [redacted] are bad',
      '[redacted]',
      '[redacted]',
    ])
  })

  test('a vendor that quotes our key in the middle of a stream is not quoted', async () => {
    site.vendor.behave(streamed(begun, `data: {"error":{"message":"your ${vendorKey} is bad","code":400}}\n\n`))
    expect((await site.chat({ stream: true })).text).toContain('"your [redacted] is bad"')
  })

  test('a vendor that quotes our key in a good body is not quoted', async () => {
    site.vendor.behave((_, response) =>
      json(response, 200, { error: { message: `your ${vendorKey} is bad`, code: 400 } }),
    )
    expect((await site.chat()).text).toContain('"your [redacted] is bad"')
  })

  test('names with line ends stay names', async () => {
    site.vendor.behave(
      unstreamed(body.replace('vendor-model-2026', 'm\\r\\nx-evil: 1\\u0000').replace('"stop"', '"st\\u0000op\\r\\n"')),
    )
    const answer = await site.chat()
    expect([answer.headers['x-evil'], await verdictOf(answer)]).toEqual([undefined, whole])
  })

  test('an event name and an id of the vendor stay with him', async () => {
    site.vendor.behave(streamed('event: message\r\nid: 7\r\nretry: 1\r\n', stream))
    expect((await site.chat({ stream: true })).text).not.toMatch(/^(event|id|retry):/m)
  })

  test('no line of the log holds our key', () => {
    expect(site.gateway.log.filter((line) => line.includes(vendorKey))).toEqual([])
  })
})

/** Bytes of a stream after some damage to them. */
const damaged = fc
  .array(
    fc.record({
      at: fc.nat(stream.length - 1),
      with: fc.constantFrom('', '\0', '\n', '\r', '"', '{', '}', '\\', ':', 'data: ', '\n\n', '\xff', '-1', 'null'),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((edits) => {
    let bytes = stream
    for (const edit of edits) bytes = bytes.slice(0, edit.at) + edit.with + bytes.slice(edit.at + 1)
    return Buffer.from(bytes, 'latin1')
  })

test.each([true, false])(
  'a stream that is damaged anywhere ends whole or says that it did not (streamed: %s)',
  async (isStream) => {
    await fc.assert(
      fc.asyncProperty(damaged, fc.boolean(), async (bytes, resets) => {
        site.vendor.behave(resets ? resetAfter(bytes.toString('latin1')) : streamed(bytes))
        expect(toldBy(await site.chat({ stream: isStream }))).toMatch(/^(whole|broken \w+|[45]\d\d \w+( \w+)?)$/)
      }),
      { numRuns: 120 },
    )
  },
)
