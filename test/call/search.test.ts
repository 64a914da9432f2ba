import { describe, expect, test } from 'vitest'
import { type Answered, attemptTargets, type AttemptRules } from '../../src/call/attempt.ts'
import { NoAnswer } from '../../src/call/no-answer.ts'
import { pauseBefore } from '../../src/call/retry.ts'
import type { Target } from '../../src/core/call.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import { chat } from '../../src/fronts/chat.ts'
import type { Platform, Receiver, Send } from '../../src/ports.ts'
import { virtualTime } from '../support/virtual-time.ts'
import { candidate, type CandidateOptions } from './candidate.ts'

const limits = { connectMs: 60_000, firstByteMs: 60_000, idleMs: 60_000, totalMs: 600_000 }
const raw = new TextEncoder().encode('{"model":"m","messages":[{"role":"user","content":"hi"}]}')
const none = () => undefined
const call = chat.read(raw, { id: 'id', startedAtMs: 0, path: '/', header: none, query: none })
const good = '{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
const costs = priceSet({
  currency: 'USD',
  nanos: { input: 1_000_000_000n, output: 2_000_000_000n },
  discountPpm: fullPricePpm,
})

/** What a vendor sends, and after how long. */
interface Reply {
  readonly afterMs?: number
  readonly status?: number
  readonly text?: string
  readonly headers?: Record<string, string>
}

/** Vendors by name, each with its replies in turn; the last one stays. */
function scene(vendors: Readonly<Record<string, readonly Reply[]>>) {
  const time = virtualTime()
  const called: string[] = []
  const turns = new Map<string, number>()
  const send: Send = (request, receiver) => {
    const [name = ''] = new URL(request.url).host.split('.')
    called.push(`${name} ${request.headers['authorization'] ?? ''}`.replace('Bearer ', '').replace('-secret', ''))
    const turn = turns.get(name) ?? 0
    turns.set(name, turn + 1)
    const replies = vendors[name] ?? []
    return play(receiver, replies[Math.min(turn, replies.length - 1)] ?? {})
  }
  const play = (
    receiver: Receiver,
    { afterMs = 1, status = 200, text = good, headers = {} }: Reply,
  ): ReturnType<Send> => {
    const stop = time.clock.after(afterMs, () => {
      receiver.head({ status, headers: { 'content-type': 'application/json', ...headers } })
      receiver.data(new TextEncoder().encode(text))
      receiver.end()
    })
    return {
      pause: none,
      resume: none,
      abort() {
        stop()
        receiver.fail(new Error('aborted'))
      },
    }
  }
  const entries = Object.keys(vendors).map((id) => ({
    id,
    adapter: 'openai',
    baseUrl: `http://${id}.test`,
    apiKeys: ['key'],
    limits,
  }))
  const catalog = { vendors: new Map(entries.map((entry) => [entry.id, entry])), models: new Map() }
  const tokenizer = {
    name: 'letters',
    count: (text: string) => Promise.resolve(text.length),
    close: () => Promise.resolve(),
  }
  const platform = {
    clock: time.clock,
    send,
    tokenizer,
    log: none,
    settings: { answerLimit: 1_000_000 },
    catalog: () => catalog,
  }

  async function seek(candidates: readonly ReturnType<typeof candidate>[], rules: Partial<AttemptRules> = {}) {
    const options = { call, candidates, stream: false, signal: new AbortController().signal }
    const searching = attemptTargets(platform as unknown as Platform, {
      ...options,
      rules: { retries: 0, random: () => 0.5, spend: () => true, ...rules },
    }).catch((error: unknown) => error as NoAnswer)
    await time.runUntil(time.clock.elapsed() + 300_000)
    return searching
  }
  return { time, called, seek }
}

const target = (vendor: string, more: Partial<Target> = {}): Target => ({ vendor, model: 'x', ...more })
const at = (vendor: string, options: CandidateOptions = {}) => candidate(target(vendor), options)
const tries = ({ attempts }: Answered | NoAnswer): readonly string[] =>
  attempts.map(({ vendor, status, error }) => [vendor, status, error].filter((part) => part !== undefined).join(' '))

describe('a further round', () => {
  test('comes after a pause, and only as often as the rules say', async () => {
    const { seek, time, called } = scene({ a: [{ status: 500 }] })
    const result = await seek([at('a')], { retries: 2 })
    expect(tries(result)).toEqual(['a 500 vendor_error', 'a 500 vendor_error', 'a 500 vendor_error'])
    // Half of 250 ms and half of 500 ms between three tries of a millisecond.
    expect([result.attempts.at(-1)?.startedAtMs, called.length]).toEqual([
      time.clock.now() - 300_000 + 125 + 250 + 2,
      3,
    ])
  })

  test('waits as long as a busy vendor asks', async () => {
    const { seek } = scene({ a: [{ status: 429, headers: { 'retry-after': '2' } }, {}] })
    const result = await seek([at('a')], { retries: 1 })
    const [first, second] = result.attempts
    expect([tries(result), (second?.startedAtMs ?? 0) - (first?.endedAtMs ?? 0)]).toEqual([
      ['a 429 vendor_busy', 'a 200'],
      2_125,
    ])
  })

  test('is not made where the vendor asks for more patience than a caller has', async () => {
    const { seek } = scene({ a: [{ status: 429, headers: { 'retry-after': '60' } }] })
    expect(tries(await seek([at('a')], { retries: 3 }))).toEqual(['a 429 vendor_busy'])
  })

  test('is not made for an account that is refused', async () => {
    const { seek } = scene({ a: [{ status: 401 }] })
    expect(tries(await seek([at('a')], { retries: 3 }))).toEqual(['a 401 no_target_available'])
  })

  test('is not made where all calls together were tried again too often', async () => {
    const { seek, called } = scene({ a: [{ status: 500 }], b: [{}] })
    const result = await seek([at('a'), at('b')], { retries: 3, spend: () => false })
    expect([tries(result), called.length]).toEqual([['a 500 vendor_error'], 1])
  })
})

describe('a second key', () => {
  test.each([401, 402, 429])('is taken where the first is answered %s', async (status) => {
    const { seek, called } = scene({ a: [{ status }, {}], b: [{}] })
    const result = await seek([at('a', { keys: ['one', 'two'] }), at('b')])
    expect([called, tries(result).at(-1)]).toEqual([['a one', 'a two'], 'a 200'])
  })

  test('is not taken where the vendor itself has failed', async () => {
    const { seek, called } = scene({ a: [{ status: 500 }], b: [{}] })
    await seek([at('a', { keys: ['one', 'two'] }), at('b')])
    expect(called).toEqual(['a one', 'b key'])
  })
})

describe('a target that takes no call', () => {
  test('is passed over while another answers', async () => {
    const { seek, called } = scene({ a: [{}], b: [{}] })
    expect([tries(await seek([at('a', { isUnready: true }), at('b')])), called]).toEqual([['b 200'], ['b key']])
  })

  test('is tried where all others have failed, and where it is the only one', async () => {
    const { seek } = scene({ a: [{}], b: [{ status: 500 }] })
    expect(tries(await seek([at('a', { isUnready: true }), at('b')]))).toEqual(['b 500 vendor_error', 'a 200'])
    expect(tries(await seek([at('a', { isUnready: true })]))).toEqual(['a 200'])
  })

  test('in no way leaves the call without a target', async () => {
    const { seek } = scene({ a: [{}] })
    const result = await seek([at('a', { isShut: true })])
    expect(result instanceof NoAnswer && [result.error.code, result.attempts]).toEqual(['no_target_available', []])
  })
})

describe('a hedge', () => {
  const slow = (vendor: string) => candidate(target(vendor, { costs }))

  test('asks a second target where the first is late; the loser is on record with what it may cost', async () => {
    const { seek, time } = scene({ a: [{ afterMs: 20_000 }], b: [{ afterMs: 100 }] })
    const [first, second] = [slow('a'), slow('b')]
    const result = await seek([first, second], { hedgeMs: 500 })
    expect(tries(result)).toEqual(['a 0 outrun', 'b 200'])
    const [lost, won] = result.attempts
    // "user", "hi" and the six tokens around them, at a thousand nanos each.
    expect([lost?.cost, lost?.costCurrency, won?.cost]).toEqual([12_000n, 'USD', undefined])
    expect([(won?.startedAtMs ?? 0) - (lost?.startedAtMs ?? 0), first.said, second.said]).toEqual([
      500,
      ['left'],
      ['answered', 'ended {}'],
    ])
    expect(time.clock.elapsed()).toBe(300_000)
  })

  test('is not made where the first answers in time', async () => {
    const { seek, called } = scene({ a: [{ afterMs: 400 }], b: [{}] })
    await seek([slow('a'), slow('b')], { hedgeMs: 500 })
    expect(called).toEqual(['a key'])
  })

  test('leaves the first to answer where the second fails', async () => {
    const { seek } = scene({ a: [{ afterMs: 2_000 }], b: [{ status: 500 }] })
    expect(tries(await seek([slow('a'), slow('b')], { hedgeMs: 500 }))).toEqual(['b 500 vendor_error', 'a 200'])
  })

  test('asks two at once and never three', async () => {
    const { seek, called } = scene({ a: [{ afterMs: 9_000 }], b: [{ afterMs: 9_000 }], c: [{}] })
    await seek([slow('a'), slow('b'), slow('c')], { hedgeMs: 100 })
    expect(called).toEqual(['a key', 'b key'])
  })
})

test('a first content that is late is told while it is still awaited', async () => {
  const { seek } = scene({ a: [{ afterMs: 2_000 }] })
  const only = at('a', { slowAfterMs: 1_000 })
  await seek([only])
  expect(only.said).toEqual(['slow', 'answered', 'ended {}'])
})

test('a prompt that is too long for one target is sent to a roomier one, and to no other', async () => {
  const long = { status: 400, text: '{"error":{"message":"Too long.","code":"context_length_exceeded"}}' }
  const { seek } = scene({ a: [long], b: [{}], c: [{}] })
  const room = (vendor: string, contextTokens: number) => candidate(target(vendor, { contextTokens }))
  expect(tries(await seek([room('a', 8_000), room('b', 4_000), room('c', 100_000)]))).toEqual([
    'a 400 context_length_exceeded',
    'c 200',
  ])
  expect(tries(await seek([room('a', 8_000), room('b', 4_000)]))).toEqual(['a 400 context_length_exceeded'])
})

describe('the pause before a round', () => {
  const down = { fault: 'down', code: '', status: 500 } as const

  test('doubles, and is drawn from all of it', () => {
    const pauses = [1, 2, 3, 9].map((round) => pauseBefore({ round, failures: [down], draw: 1 }))
    expect([...pauses, pauseBefore({ round: 3, failures: [down], draw: 0 })]).toEqual([250, 500, 1_000, 5_000, 0])
  })

  test('is the shortest that was asked for, where every vendor asks for one', () => {
    const busy = (retryAfterMs: number) => ({ fault: 'busy', code: '', status: 429, retryAfterMs }) as const
    expect(pauseBefore({ round: 1, failures: [busy(3_000), busy(1_000)], draw: 0 })).toBe(1_000)
    expect(pauseBefore({ round: 1, failures: [busy(3_000), down], draw: 1 })).toBe(250)
  })
})
