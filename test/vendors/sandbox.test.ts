import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/core/call.ts'
import { createSseParser } from '../../src/core/sse.ts'
import type { Receiver, Sending, VendorHead } from '../../src/ports.ts'
import { sandbox, sandboxSend } from '../../src/vendors/sandbox.ts'
import type { Piece } from '../../src/vendors/vendor.ts'
import { virtualClock, type VirtualClock } from './virtual-clock.ts'
import { passing } from './streams.ts'

/** A token is a word here. */
const countTokens = (text: string): Promise<number> => Promise.resolve(text.split(/\s+/).filter(Boolean).length)
const hello = [{ role: 'user', content: 'one two  three' }]

/** An answer as it came, with the milliseconds after which each part of it did. */
interface Heard {
  readonly sending: Sending
  readonly clock: VirtualClock
  head: VendorHead | undefined
  readonly data: { readonly atMs: number; readonly text: string }[]
  /** 'end', or why it failed. */
  ended: string | undefined
}

function ask(body: JsonObject, watch: (heard: Heard) => void = () => {}): Heard {
  const clock = virtualClock()
  const startMs = clock.now()
  const receiver: Receiver = {
    head: (head) => void (heard.head = head),
    data(chunk) {
      heard.data.push({ atMs: clock.now() - startMs, text: new TextDecoder().decode(chunk) })
      watch(heard)
    },
    end: () => void (heard.ended = 'end'),
    fail: (error) => void (heard.ended = error.message),
  }
  const request = {
    method: 'POST' as const,
    url: 'sandbox:/chat/completions',
    headers: {},
    body: new TextEncoder().encode(JSON.stringify({ messages: hello, ...body })),
    connectMs: 1,
  }
  const sending = sandboxSend({ clock, countTokens })(request, receiver)
  const heard: Heard = { sending, clock, head: undefined, data: [], ended: undefined }
  return heard
}

async function finished(body: JsonObject): Promise<Heard> {
  const heard = ask(body)
  await heard.clock.advance(3_600_000)
  return heard
}

function textOf({ data }: Heard): string {
  return data.map(({ text }) => text).join('')
}

function jsonOf(heard: Heard): Json {
  return JSON.parse(textOf(heard)) as Json
}

/** A stream as the adapter reads it. */
function piecesOf(heard: Heard): readonly Piece[] {
  const parser = createSseParser()
  const read = sandbox.reader(passing)
  return [...parser.push(new TextEncoder().encode(textOf(heard))), ...parser.end()].map((event) => read(event))
}

function wordsOf(heard: Heard): readonly string[] {
  return piecesOf(heard).flatMap(({ text }) => (text === undefined ? [] : [text]))
}

const usageAsked = { stream: true, stream_options: { include_usage: true } }

describe('the sandbox', () => {
  test('is never charged for', () => {
    expect([sandbox.id, sandbox.free]).toEqual(['sandbox', true])
  })

  test('echoes the last user message', async () => {
    const messages = [
      ...hello,
      { role: 'assistant', content: 'no' },
      { role: 'user', content: [{ type: 'text', text: 'a b' }] },
    ]
    const heard = await finished({ model: 'echo', messages })
    expect(jsonOf(heard)).toEqual({
      id: 'chatcmpl-sandbox',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'echo',
      choices: [{ index: 0, message: { role: 'assistant', content: 'a b' }, finish_reason: 'stop' }],
      // Three roles and six words, three for each message and three for the answer.
      usage: { prompt_tokens: 21, completion_tokens: 2, total_tokens: 23 },
    })
  })

  test('streams an echo word by word, with its spaces', async () => {
    const heard = await finished({ model: 'echo', stream: true })
    expect([heard.head, wordsOf(heard), heard.ended]).toEqual([
      { status: 200, headers: { 'content-type': 'text/event-stream' } },
      ['one', ' two', '  three'],
      'end',
    ])
  })

  test('sends the usage of a stream that asks for it', async () => {
    const pieces = piecesOf(await finished({ model: 'echo', ...usageAsked }))
    expect(pieces.slice(-3)).toEqual([
      { content: true, finish: 'stop', whole: true, servedModel: 'echo' },
      { usage: { counts: { input: 10, output: 3 }, anomalies: [] }, usageOnly: true, whole: true, servedModel: 'echo' },
      { whole: true, last: true },
    ])
  })

  test('sends no usage to a stream that does not ask', async () => {
    expect(textOf(await finished({ model: 'echo', stream: true }))).not.toContain('usage')
  })

  test('says the same each time', async () => {
    const [one, other] = await Promise.all([
      finished({ model: 'lorem', stream: true }),
      finished({ model: 'lorem', stream: true }),
    ])
    expect([wordsOf(one).length, textOf(one)]).toEqual([50, textOf(other)])
  })

  test.each([
    [{ max_tokens: 7 }, 7, 'length'],
    [{ max_completion_tokens: 7, max_tokens: 9 }, 7, 'length'],
    [{ max_tokens: 50 }, 50, 'stop'],
    [{ sandbox: { words: 3 } }, 3, 'stop'],
    [{ sandbox: { words: 0 } }, 0, 'stop'],
    [{ sandbox: { words: 100_000 } }, 100_000, 'stop'],
  ])('with %j says %i words and ends with %s', async (fields, words, finish) => {
    const pieces = piecesOf(await finished({ model: 'lorem', stream: true, ...fields }))
    expect([pieces.filter(({ text }) => text).length, pieces.find((piece) => piece.finish)?.finish]).toEqual([
      words,
      finish,
    ])
  })

  test('gives as many choices as are asked for', async () => {
    const heard = await finished({ model: 'echo', n: 2 })
    expect(sandbox.reply(jsonOf(heard) as JsonObject, passing)).toEqual({
      text: 'one two  threeone two  three',
      finish: 'stop',
      servedModel: 'echo',
      usage: { counts: { input: 10, output: 6 }, anomalies: [] },
    })
  })

  test('is slow where it shall be', async () => {
    const { data } = await finished({ model: 'slow', stream: true, sandbox: { words: 3 } })
    expect(data.map(({ atMs }) => atMs)).toEqual([2000, 2200, 2400, 2600, 2800, 3000])
  })

  test('takes its times from the request', async () => {
    const { data } = await finished({ model: 'slow', stream: true, sandbox: { words: 1, latency_ms: 5, event_ms: 7 } })
    expect(data.map(({ atMs }) => atMs)).toEqual([5, 12, 19, 26])
  })

  test('gives a whole body when the last word would have come', async () => {
    const { data } = await finished({ model: 'slow', sandbox: { words: 10 } })
    expect(data.map(({ atMs }) => atMs)).toEqual([4000])
  })

  test('never counts for no-usage', async () => {
    const texts = await Promise.all([finished({ model: 'no-usage', ...usageAsked }), finished({ model: 'no-usage' })])
    expect(texts.map((heard) => textOf(heard).includes('"usage"'))).toEqual([false, false])
  })

  test('gives the usage that it is told to give', async () => {
    const usage = { prompt_tokens: 5, completion_tokens: -1 }
    const pieces = piecesOf(await finished({ model: 'echo', ...usageAsked, sandbox: { usage } }))
    expect(pieces.find((piece) => piece.usage)?.usage).toEqual({
      counts: { input: 5 },
      anomalies: ['invalid_completion_tokens'],
    })
  })

  test('breaks a stream after a few words', async () => {
    const heard = await finished({ model: 'cut', stream: true })
    expect([wordsOf(heard), piecesOf(heard).some(({ whole }) => whole), heard.ended]).toEqual([
      ['lorem', ' ipsum', ' dolor'],
      false,
      'The connection was broken by the sandbox.',
    ])
  })

  test('breaks any stream where the request says so', async () => {
    const heard = await finished({ model: 'echo', stream: true, sandbox: { cut_after: 1 } })
    expect([wordsOf(heard), heard.ended]).toEqual([['one'], 'The connection was broken by the sandbox.'])
  })

  test('breaks a whole body in its middle', async () => {
    const heard = await finished({ model: 'cut' })
    expect(() => jsonOf(heard)).toThrow(SyntaxError)
    expect([heard.head?.status, heard.ended]).toEqual([200, 'The connection was broken by the sandbox.'])
  })

  test('answers the head and no more for hang', async () => {
    const { head, data, ended } = await finished({ model: 'hang', stream: true })
    expect([head?.status, data, ended]).toEqual([200, [], undefined])
  })

  test.each([
    ['error-400', 400, 'caller', 'vendor_refused'],
    ['error-401', 401, 'account', 'no_target_available'],
    ['error-429', 429, 'busy', 'vendor_busy'],
    ['error-500', 500, 'down', 'vendor_error'],
    ['error-503', 503, 'down', 'vendor_error'],
    ['nothing', 404, 'account', 'no_target_available'],
  ])('fails as %s', async (model, status, fault, code) => {
    const heard = await finished({ model, stream: true })
    const head = heard.head ?? { status: 0, headers: {} }
    const failure = sandbox.failure(head, new TextEncoder().encode(textOf(heard)))
    expect([head.status, failure.fault, failure.error.code, heard.ended]).toEqual([status, fault, code, 'end'])
  })

  test('says how long to wait when it is busy', async () => {
    expect((await finished({ model: 'error-429' })).head?.headers['retry-after']).toBe('1')
  })

  test.each([
    [{ latency_ms: 600_001 }, 'sandbox.latency_ms'],
    [{ event_ms: -1 }, 'sandbox.event_ms'],
    [{ words: 100_001 }, 'sandbox.words'],
    [{ words: '3' }, 'sandbox.words'],
    [{ cut_after: 1.5 }, 'sandbox.cut_after'],
    [{ usage: [] }, 'sandbox.usage'],
    [{ nonsense: 1 }, 'sandbox.nonsense'],
    [7, 'sandbox'],
  ])('refuses the options %j', async (options, param) => {
    const heard = await finished({ model: 'echo', sandbox: options })
    const { error } = sandbox.failure(heard.head ?? { status: 0, headers: {} }, new TextEncoder().encode(textOf(heard)))
    expect([error.status, error.code, error.param]).toEqual([400, 'vendor_refused', param])
  })
})

describe('a caller of the sandbox', () => {
  test('hears nothing before the call has returned', () => {
    expect(ask({ model: 'echo' }).head).toBeUndefined()
  })

  test('who aborts hears so at once, and nothing after it', async () => {
    const heard = ask({ model: 'lorem', stream: true, sandbox: { event_ms: 10 } })
    await heard.clock.advance(35)
    const before = heard.data.length
    heard.sending.abort()
    expect([before, heard.ended]).toEqual([4, 'The request was aborted.'])
    await heard.clock.advance(10_000)
    expect([heard.data.length, heard.ended]).toEqual([4, 'The request was aborted.'])
  })

  test('who aborts before the head never gets one', async () => {
    const heard = ask({ model: 'echo' })
    heard.sending.abort()
    await heard.clock.advance(1000)
    expect([heard.head, heard.ended]).toEqual([undefined, 'The request was aborted.'])
  })

  test('who aborts on the first event gets no second one', async () => {
    const heard = ask({ model: 'lorem', stream: true }, ({ sending }) => sending.abort())
    await heard.clock.advance(1000)
    expect([heard.data.length, heard.ended]).toEqual([1, 'The request was aborted.'])
  })

  test('who aborts after the end changes nothing', async () => {
    const heard = await finished({ model: 'echo' })
    heard.sending.abort()
    expect(heard.ended).toBe('end')
  })

  test('who pauses gets nothing until he resumes, and then the rest', async () => {
    const heard = ask({ model: 'echo', stream: true }, ({ data, sending }) => data.length === 2 && sending.pause())
    await heard.clock.advance(1000)
    const paused = [heard.data.length, heard.ended]
    heard.sending.resume()
    await heard.clock.advance(1000)
    expect([paused, heard.data.length, heard.ended]).toEqual([[2, undefined], 6, 'end'])
  })
})
