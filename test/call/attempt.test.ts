import { describe, expect, test } from 'vitest'
import { attemptTargets } from '../../src/call/attempt.ts'
import { CallerGone, NoAnswer } from '../../src/call/no-answer.ts'
import { GatewayError } from '../../src/core/errors.ts'
import { chat } from '../../src/fronts/chat.ts'
import { systemClock } from '../../src/platform/clock.ts'
import type { Platform, Receiver, Send } from '../../src/ports.ts'
import { candidate } from './candidate.ts'

const limits = { connectMs: 1_000, firstByteMs: 1_000, idleMs: 1_000, totalMs: 1_000 }
const targets = ['one', 'two'].map((vendor) => ({ vendor, model: 'vendor-model' }))
const raw = new TextEncoder().encode('{"model":"m","messages":[{"role":"user","content":"hi"}]}')
const call = chat.read(raw, { id: 'id', startedAtMs: 0, path: '/', header: () => undefined, query: () => undefined })

/** What the attempts need of a platform: two vendors behind a `send` that the test plays. */
function platformWith(send: Send): Platform {
  const vendors = new Map(
    targets.map(({ vendor }) => [
      vendor,
      { id: vendor, adapter: 'openai', baseUrl: `http://${vendor}.test`, apiKeys: ['key'], limits },
    ]),
  )
  const settings = { answerLimit: 1_000_000 }
  return {
    clock: systemClock,
    log: () => {},
    send,
    settings,
    catalog: () => ({ vendors, models: new Map() }),
  } as unknown as Platform
}

/** Vendors that answer in turn, each as its function says; and the hosts that were called. */
function vendors(...answers: readonly ((receiver: Receiver) => void)[]): {
  readonly send: Send
  readonly called: string[]
} {
  const called: string[] = []
  const send: Send = (request, receiver) => {
    const answer = answers[called.length]
    called.push(new URL(request.url).host)
    queueMicrotask(() => answer?.(receiver))
    return { pause() {}, resume() {}, abort() {} }
  }
  return { send, called }
}

const bytes = (status: number, text: string) => (receiver: Receiver) => {
  receiver.head({ status, headers: { 'content-type': 'application/json' } })
  receiver.data(new TextEncoder().encode(text))
  receiver.end()
}
const answer = '{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'

const attempt = (send: Send, { signal } = new AbortController()) =>
  attemptTargets(platformWith(send), {
    call,
    candidates: targets.map((target) => candidate(target)),
    stream: false,
    signal,
    rules: { retries: 0, random: () => 0, spend: () => true },
  })

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('a caller', () => {
  test('who left before the first try calls no vendor', async () => {
    const { send, called } = vendors(bytes(200, answer))
    const caller = new AbortController()
    caller.abort()
    const error = await failure(attempt(send, caller))
    expect(error).toBeInstanceOf(CallerGone)
    expect([(error as CallerGone).attempts, (error as CallerGone).begun, called]).toEqual([[], false, []])
  })

  test('who leaves during a try ends it, and no other target is called', async () => {
    const caller = new AbortController()
    const { send, called } = vendors(() => caller.abort())
    const error = await failure(attempt(send, caller))
    expect(error).toBeInstanceOf(CallerGone)
    expect([(error as CallerGone).attempts.length, (error as CallerGone).begun, called]).toEqual([
      1,
      false,
      ['one.test'],
    ])
  })
})

test('a process that stops during a try ends it with its own error, and no other target is called', async () => {
  const stopping = new GatewayError('shutting_down', 'The gateway is stopping.')
  const waiting = new AbortController()
  const { send, called } = vendors(() => waiting.abort(stopping))
  const error = (await failure(attempt(send, waiting))) as NoAnswer
  expect([error.error, error.attempts.map((tried) => tried.error), called]).toEqual([
    stopping,
    ['shutting_down'],
    ['one.test'],
  ])
})

describe('a body with a good status', () => {
  test.each([
    ['an error', '{"error":{"message":"Overloaded.","type":"server_error"}}'],
    ['null', 'null'],
    ['a page of HTML', '<html></html>'],
    ['nothing', ''],
    ['JSON that is no answer', '{"ok":true}'],
  ])('that holds %s fails the try, and the next target is called', async (_, text) => {
    const { send, called } = vendors(bytes(200, text), bytes(200, answer))
    const { target, attempts } = await attempt(send)
    expect(called).toEqual(['one.test', 'two.test'])
    expect(target).toEqual(targets[1])
    expect(attempts.map(({ vendor, status, error }) => [vendor, status, error])).toEqual([
      ['one', 200, 'vendor_error'],
      ['two', 200, undefined],
    ])
  })
})

test('a stream that opens with much and no content is passed on, so that it need not be kept', async () => {
  const roles = `data: {"choices":[{"index":0,"delta":{"role":"assistant"}}],"padding":"${'x'.repeat(1024 * 1024)}"}\n\n`
  const { send } = vendors((receiver) => {
    receiver.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    for (let sent = 0; sent < 4; sent++) receiver.data(new TextEncoder().encode(roles))
  })
  const { answer: answered } = await attempt(send)
  expect(answered.kind).toBe('stream')
})

test('a request that the transport does not take fails the try, and the next target is called', async () => {
  const { send } = vendors(bytes(200, answer))
  const picky: Send = (request, receiver) => {
    if (request.url.startsWith('http://one.')) throw new TypeError('Invalid URL')
    return send(request, receiver)
  }
  const { attempts } = await attempt(picky)
  expect(attempts.map(({ vendor, status, error }) => [vendor, status, error])).toEqual([
    ['one', 0, 'vendor_error'],
    ['two', 200, undefined],
  ])
})

test("a fault of the caller's own request ends the search", async () => {
  const { send, called } = vendors(bytes(400, '{"error":{"message":"No."}}'), bytes(200, answer))
  const error = await failure(attempt(send))
  expect(error).toBeInstanceOf(NoAnswer)
  expect((error as NoAnswer).error.code).toBe('vendor_refused')
  expect(called).toEqual(['one.test'])
})
