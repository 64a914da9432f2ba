import { describe, expect, test } from 'vitest'
import type { Call } from '../../src/core/call.ts'
import type { KeepAliveRules } from '../../src/core/keep-alive.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { chat } from '../../src/fronts/chat.ts'
import type { Front } from '../../src/fronts/front.ts'
import { fronts } from '../../src/fronts/index.ts'
import { keptAlive } from '../../src/meter/kept-alive.ts'
import type { Client } from '../../src/ports.ts'
import { virtualClock } from '../vendors/virtual-clock.ts'
import { translating } from '../vendors/streams.ts'

const comment = ': keep-alive\n\n'
const sse = { 'content-type': 'text/event-stream; charset=utf-8' }
const error = new GatewayError('vendor_error', 'It broke.')
const encoder = new TextEncoder()
const decoder = new TextDecoder()

interface Scene {
  readonly rules: KeepAliveRules
  readonly call?: Partial<Call>
  readonly front?: Front
}

/** A call in virtual time, and what its caller is sent: statuses, texts, and how it ends. */
function scene({ rules, call: more, front = chat }: Scene) {
  const clock = virtualClock()
  const sent: (string | number)[] = []
  const heads: Readonly<Record<string, string>>[] = []
  const drained = new Set<() => void>()
  const state = { gone: false, keepsUp: true }
  const caller: Client = {
    header: () => undefined,
    body: () => Promise.resolve(new Uint8Array(0)),
    onGone() {},
    get gone() {
      return state.gone
    },
    open(status, headers) {
      sent.push(status)
      heads.push(headers)
    },
    write(bytes) {
      sent.push(decoder.decode(bytes))
      return state.keepsUp
    },
    onDrain: (run) => void drained.add(run),
    end: (bytes) => void sent.push(`${decoder.decode(bytes)}|`),
    destroy: () => void sent.push('broken'),
  }
  const call: Call = { ...translating.call, ...more }
  const kept = keptAlive(caller, { front, call, rules, clock })
  const write = (text: string) => kept.client.write(encoder.encode(text))
  const end = (text: string) => kept.client.end(encoder.encode(text))
  const drain = (): void => {
    state.keepsUp = true
    for (const run of drained) run()
  }
  return { ...kept, clock, sent, heads, state, write, end, drain }
}

const silenceMs = 1_000

describe('a stream that has begun', () => {
  test('is not silent for longer than it may be', async () => {
    const { clock, client, sent, write } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    write('a')
    await clock.advance(999)
    expect(sent).toEqual([200, 'a'])
    await clock.advance(1)
    await clock.advance(1_000)
    expect(sent).toEqual([200, 'a', comment, comment])
  })

  test('that moves is left alone', async () => {
    const { clock, client, sent, write } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    for (const word of ['a', 'b', 'c', 'd']) {
      write(word)
      await clock.advance(900)
    }
    expect(sent).toEqual([200, 'a', 'b', 'c', 'd'])
    await clock.advance(100)
    expect(sent).toEqual([200, 'a', 'b', 'c', 'd', comment])
  })

  test('says nothing more once it has ended', async () => {
    const { clock, client, sent, end } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    end('z')
    await clock.advance(10_000)
    expect(sent).toEqual([200, 'z|'])
  })

  test('says nothing more once it has been broken off', async () => {
    const { clock, client, sent } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    client.destroy()
    await clock.advance(10_000)
    expect(sent).toEqual([200, 'broken'])
  })

  test('says nothing more to a caller who has left', async () => {
    const { clock, client, sent, state } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    state.gone = true
    await clock.advance(10_000)
    expect(sent).toEqual([200])
  })

  test('says nothing more once its call is over', async () => {
    const { clock, client, sent, over } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    over()
    await clock.advance(10_000)
    expect(sent).toEqual([200])
  })

  test('does not pile up on a caller who has more to read than he takes', async () => {
    const { clock, client, sent, state, write, drain } = scene({ rules: { silenceMs } })
    client.open(200, sse)
    state.keepsUp = false
    expect(write('much')).toBe(false)
    await clock.advance(10_000)
    expect(sent).toEqual([200, 'much'])
    drain()
    await clock.advance(1_000)
    expect(sent).toEqual([200, 'much', comment])
  })

  test('is silent where nobody wants it otherwise', async () => {
    const { clock, client, sent } = scene({ rules: {} })
    client.open(200, sse)
    await clock.advance(1_000_000)
    expect(sent).toEqual([200])
  })

  test.each([
    ['bytes', { form: 'bytes' } as const, { 'content-type': 'audio/mpeg' }],
    ['an error', {}, { 'content-type': 'application/json' }],
  ])('has no place for anything else in %s', async (_, call, headers) => {
    const { clock, client, sent } = scene({ rules: { silenceMs }, call })
    client.open(headers['content-type'] === 'audio/mpeg' ? 200 : 500, headers)
    await clock.advance(10_000)
    expect(sent).toHaveLength(1)
  })

  test('has white space between the elements of an array', async () => {
    const { clock, client, sent, write, end } = scene({ rules: { silenceMs }, call: { form: 'array' } })
    client.open(200, { 'content-type': 'application/json; charset=utf-8' })
    write('[1')
    await clock.advance(2_000)
    end(',2]')
    expect(sent).toEqual([200, '[1', '\n', '\n', ',2]|'])
  })

  test('has what the clients of its dialect skip', async () => {
    const said = await Promise.all(
      fronts.map(async (front) => {
        const { clock, client, sent } = scene({ rules: { silenceMs }, front })
        client.open(200, sse)
        await clock.advance(silenceMs)
        return [front.dialect, sent[1]]
      }),
    )
    const others = fronts.map(({ dialect }) => [dialect, comment] as const)
    expect(Object.fromEntries(said)).toEqual({
      ...Object.fromEntries(others),
      messages: 'event: ping\ndata: {"type":"ping"}\n\n',
      generate: '\n',
    })
  })
})

describe('a status that goes out early', () => {
  const rules = { silenceMs, commitStreamMs: 500, commitBodyMs: 700 }

  test('goes out after its wait, with the name of the call, and says that it is heard', async () => {
    const { clock, client, sent, heads } = scene({ rules })
    await clock.advance(499)
    expect(sent).toEqual([])
    await clock.advance(1)
    expect([sent, client.isEarly?.()]).toEqual([[200, comment], true])
    expect(heads).toEqual([
      { ...sse, 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no', 'x-request-id': 'call-1' },
    ])
  })

  test('is broken silence from there on', async () => {
    const { clock, sent } = scene({ rules })
    await clock.advance(2_600)
    expect(sent).toEqual([200, comment, comment, comment])
  })

  test('goes out once: the answer goes on behind it', async () => {
    const { clock, client, sent, write, end } = scene({ rules })
    await clock.advance(500)
    client.open(200, { ...sse, 'x-tollgate-vendor': 'late' })
    write('a')
    end('z')
    expect(sent).toEqual([200, comment, 'a', 'z|'])
  })

  test('does not go out before an answer that is quicker', async () => {
    const { clock, client, sent, write } = scene({ rules: { commitStreamMs: 500 } })
    client.open(200, sse)
    write('a')
    await clock.advance(10_000)
    expect([sent, client.isEarly?.()]).toEqual([[200, 'a'], false])
  })

  test('leaves an error that comes before it to the status', async () => {
    const { clock, sent, fail, over } = scene({ rules })
    expect(fail(error)).toBe(false)
    over()
    await clock.advance(10_000)
    expect(sent).toEqual([])
  })

  test('has an error behind it told in the stream', async () => {
    const { clock, sent, fail } = scene({ rules })
    await clock.advance(500)
    expect(fail(error)).toBe(true)
    expect(sent).toEqual([200, comment, `${decoder.decode(chat.failureEvent(error, translating.call))}|`])
  })

  test('has an error behind it told in the array', async () => {
    const generate = fronts.find(({ dialect }) => dialect === 'generate')!
    const { clock, sent, fail } = scene({ rules, call: { form: 'array' }, front: generate })
    await clock.advance(500)
    fail(error)
    const [status, ...parts] = sent
    const [told] = JSON.parse(parts.join('').slice(0, -1)) as { error: { message: string } }[]
    expect([status, told?.error.message]).toEqual([200, 'It broke.'])
  })

  test('of one body is followed by white space until the body comes', async () => {
    const { clock, client, sent, heads, end } = scene({ rules, call: { stream: false } })
    await clock.advance(1_700)
    client.open(200, { 'content-length': '2' })
    end('{}')
    expect(sent).toEqual([200, '\n', '\n', '{}|'])
    expect(heads).toEqual([
      { 'content-type': 'application/json', 'cache-control': 'no-cache', 'x-request-id': 'call-1' },
    ])
  })

  test.each(['thrown', 'answered'])('of one body is broken off behind an error that is %s', async (way) => {
    const { clock, client, sent, end, fail } = scene({ rules, call: { stream: false } })
    await clock.advance(700)
    const body = JSON.stringify(chat.failure(error).body)
    if (way === 'thrown') fail(error)
    else {
      client.open(502, {})
      end(body)
    }
    await clock.advance(1_000)
    expect(sent).toEqual([200, '\n', body, 'broken'])
  })

  test('does not go out to a caller who has left', async () => {
    const { clock, state, sent } = scene({ rules })
    state.gone = true
    await clock.advance(10_000)
    expect(sent).toEqual([])
  })

  test('does not go out where the answer may turn out to be no conversation', async () => {
    const { clock, sent } = scene({
      rules,
      call: { measure: { prompt: { texts: [], fixedTokens: 0, upperBound: 0 }, most: {}, own: {} } },
    })
    await clock.advance(10_000)
    expect(sent).toEqual([])
  })
})
