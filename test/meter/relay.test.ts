import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/core/errors.ts'
import { relay, type Cover, type Relay, type RelayEnding, type RelayStep, type Source } from '../../src/meter/relay.ts'
import { systemClock } from '../../src/platform/clock.ts'
import type { Clock, Tokenizer } from '../../src/ports.ts'

const encoder = new TextEncoder()

function said(text: string): RelayStep {
  return { event: { name: '', data: encoder.encode(JSON.stringify(text)) }, piece: { text, content: true } }
}
const finish: RelayStep = {
  event: { name: '', data: encoder.encode('"stop"') },
  piece: { finish: 'stop', content: true, whole: true },
}
const last: RelayStep = { event: { name: '', data: encoder.encode('[DONE]') }, piece: { whole: true, last: true } }

/** Counts one token a word, which is far below the estimate. */
const tokenizer: Tokenizer = {
  name: 'words',
  count: (text) => Promise.resolve(text.split(' ').filter((word) => word !== '').length),
  close: () => Promise.resolve(),
}

/** Money for so many tokens; what more is asked for is granted up to `most`. */
function coverOf(room: number, most: number): Cover & { readonly asked: number } {
  let covered = room
  let asked = 0
  return {
    started: false,
    covers: (tokens) => tokens <= covered,
    grow(tokens) {
      asked += 1
      if (tokens <= most) covered = tokens
      return Promise.resolve(tokens <= covered)
    },
    get asked() {
      return asked
    },
  }
}

interface Relayed {
  readonly written: readonly string[]
  readonly ending: RelayEnding
  readonly told: string
}

interface Caller {
  /** Events reach him as they come; otherwise they are gathered for one body. */
  readonly live?: boolean
  /** What he does once the source has given what it has. */
  readonly act?: (running: Relay) => void
  readonly clock?: Clock
}

/** Relays to a caller who reads at once. */
async function relayed(
  source: Source,
  cover: Cover,
  { live = true, act, clock = systemClock }: Caller = {},
): Promise<Relayed> {
  const written: string[] = []
  let told = ''
  let ending: RelayEnding | undefined
  const running = relay({
    source,
    cover,
    tokenizer,
    clock,
    wantsUsage: false,
    stallMs: 60_000,
    clientAbort: 'cancel',
    settle(how) {
      ending = how
      return Promise.resolve(0n)
    },
    outlet: {
      live,
      write(steps) {
        written.push(...steps.flatMap(({ piece }) => piece.text ?? []))
        return true
      },
      close: () => (told = 'close'),
      fail: () => (told = 'fail'),
      cut: () => (told = 'cut'),
      destroy: () => (told = 'destroy'),
    },
  })
  running.start()
  act?.(running)
  await running.done
  if (!ending) throw new Error('nothing was settled')
  return { written, ending, told }
}

/** Gives `steps` at once, and its end as soon as it is resumed, from within that very call. */
function endsOnResume(steps: readonly RelayStep[]): Source {
  let end = (): void => {}
  return {
    attach(listener) {
      end = () => listener.end()
      listener.steps(steps)
    },
    pause() {},
    resume: () => end(),
    abort() {},
  }
}

describe('a hold that has to grow', () => {
  test('loses nothing of a vendor that closes meanwhile', async () => {
    const words = ['one ', 'two ', 'three ', 'four ']
    const { written, ending, told } = await relayed(endsOnResume([...words.map(said), finish, last]), coverOf(2, 1_000))
    expect([written, ending.outcome, told]).toEqual([words, 'complete', 'close'])
  })

  test('says that the vendor broke off only after all that it gave', async () => {
    const words = ['one ', 'two ', 'three ', 'four ']
    const { written, ending, told } = await relayed(endsOnResume(words.map(said)), coverOf(2, 1_000))
    expect([written, ending.outcome, told]).toEqual([words, 'incomplete', 'fail'])
  })

  test('that cannot, is used up by exact count before the stream is cut', async () => {
    const words = Array.from({ length: 60 }, (_, at) => `word${at} `)
    const cover = coverOf(40, 40)
    const { written, ending, told } = await relayed(endsOnResume(words.map(said)), cover)
    const counted = await ending.counted()
    expect([ending.outcome, told, counted]).toEqual(['cut', 'cut', written.length])
    // The next word may have up to three tokens by its estimate.
    expect(counted).toBeGreaterThan(40 - 3)
    expect(counted).toBeLessThanOrEqual(40)
    expect(cover.asked).toBeLessThan(words.length)
  })
})

test('an error after the end of the answer changes nothing', async () => {
  const error = new GatewayError('vendor_error', 'Overloaded.')
  const late: RelayStep = { event: { name: 'error', data: encoder.encode('{}') }, piece: { error } }
  const steps = [said('one '), finish, late]
  const { ending, told } = await relayed(staysOpen(steps), coverOf(100, 100))
  expect([ending.outcome, ending.error, told]).toEqual(['complete', undefined, 'close'])
})

/** Gives `steps` at once, and neither more nor an end. */
function staysOpen(steps: readonly RelayStep[]): Source {
  return { attach: (listener) => listener.steps(steps), pause() {}, resume() {}, abort() {} }
}

const usage: RelayStep = {
  event: { name: '', data: encoder.encode('{"usage":{}}') },
  piece: { usage: { counts: { input: 1, output: 1 }, anomalies: [] }, usageOnly: true },
}
const leave = (running: Relay): void => running.gone()

describe('a caller who hangs up after the finish reason', () => {
  test('is served whole where the answer was streamed', async () => {
    const source = endsOnResume([said('one '), usage, finish])
    const { ending } = await relayed(source, coverOf(100, 100), { act: leave })
    expect([ending.outcome, ending.delivered]).toEqual(['complete', true])
  })

  test('got nothing where it was gathered', async () => {
    const source = staysOpen([said('one '), finish])
    const { ending } = await relayed(source, coverOf(100, 100), { live: false, act: leave })
    expect([ending.outcome, ending.delivered]).toEqual(['client_abort', false])
  })
})

test.each([
  ['before the text is old', [usage, said('one ')], false],
  ['after it is fresh', [said('one '), usage], true],
])('a usage that was told %s', async (_, steps, isFresh) => {
  const { ending } = await relayed(staysOpen(steps), coverOf(100, 100), { act: leave })
  expect(ending.isUsageFresh).toBe(isFresh)
})

/** A clock whose timers wait until they are run by hand. */
function heldClock(): Clock & { readonly waiting: Set<() => void> } {
  const waiting = new Set<() => void>()
  return {
    now: () => 0,
    elapsed: () => 0,
    after(_, run) {
      waiting.add(run)
      return () => waiting.delete(run)
    },
    waiting,
  }
}

describe('once the vendor has said all', () => {
  test('nothing waits for it that would keep the call in memory, where it closes', async () => {
    const clock = heldClock()
    const closes: Source = { ...staysOpen([]), attach: closeAfter([said('one '), finish, last]) }
    const { ending } = await relayed(closes, coverOf(100, 100), { clock })
    expect([ending.outcome, clock.waiting.size]).toEqual(['complete', 0])
  })

  test('its connection is broken off, where it does not', async () => {
    const clock = heldClock()
    let isAborted = false
    const stays: Source = { ...staysOpen([said('one '), finish, last]), abort: () => (isAborted = true) }
    await relayed(stays, coverOf(100, 100), { clock })
    expect(isAborted).toBe(false)
    for (const run of clock.waiting) run()
    expect(isAborted).toBe(true)
  })
})

function closeAfter(steps: readonly RelayStep[]): Source['attach'] {
  return (listener) => {
    listener.steps(steps)
    listener.end()
  }
}
