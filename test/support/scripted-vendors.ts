import type { UnitPrices } from '../../src/core/price.ts'
import type { Clock, Receiver, Send } from '../../src/ports.ts'

/** What a vendor does with a call that begins now. */
export type Condition = 'well' | 'refuses' | 'fails' | 'is silent' | 'is slow'

/** A vendor whose speed, prices and troubles are written down beforehand. */
export interface Script {
  readonly name: string
  readonly prices: UnitPrices
  readonly firstMs: number
  readonly tokenMs: number
  /** By the time since the beginning. */
  condition(elapsedMs: number): Condition
}

/** What a call says to the scripted vendors, in a field that the gateway passes on. */
export interface Play {
  /** Whose prompt it is: what was read before of it is cached. */
  readonly session: string
  readonly promptTokens: number
  readonly outputTokens: number
}

/** One request as its vendor saw it. */
export interface Seen {
  readonly vendor: string
  readonly atMs: number
  readonly play: Play
  readonly cachedTokens: number
}

const cacheMs = 300_000
const slowness = 30
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const frame = (payload: unknown): Uint8Array => encoder.encode(`data: ${JSON.stringify(payload)}\n\n`)

interface World {
  readonly clock: Clock
  /** From 0 up to 1. */
  readonly random: () => number
}

/** Plays vendors at `http://NAME.test` over the transport's port; every answer is a stream. */
export function scriptedVendors(scripts: readonly Script[], { clock, random }: World): { send: Send; seen: Seen[] } {
  const seen: Seen[] = []
  const caches = new Map<string, { readonly tokens: number; readonly untilMs: number }>()
  const cachedOf = (vendor: string, { session, promptTokens }: Play): number => {
    const name = `${vendor} ${session}`
    const known = caches.get(name)
    caches.set(name, { tokens: promptTokens, untilMs: clock.elapsed() + cacheMs })
    return known && known.untilMs > clock.elapsed() ? Math.min(known.tokens, promptTokens) : 0
  }
  const send: Send = (request, receiver) => {
    const script = scripts.find(({ name }) => new URL(request.url).host === `${name}.test`)
    if (!script) throw new Error(`there is no vendor at ${request.url}`)
    const { play } = JSON.parse(decoder.decode(request.body)) as { readonly play: Play }
    const condition = script.condition(clock.elapsed())
    const cachedTokens = condition === 'well' || condition === 'is slow' ? cachedOf(script.name, play) : 0
    seen.push({ vendor: script.name, atMs: clock.elapsed(), play, cachedTokens })
    return perform({ script, play, condition, cachedTokens, receiver, clock, random })
  }
  return { send, seen }
}

interface Performance extends World {
  readonly script: Script
  readonly play: Play
  readonly condition: Condition
  readonly cachedTokens: number
  readonly receiver: Receiver
}

function perform(performance: Performance): ReturnType<Send> {
  const { condition, receiver, clock } = performance
  const stops: (() => void)[] = []
  const later = (ms: number, run: () => void): void => void stops.push(clock.after(ms, run))
  if (condition === 'refuses') later(1, () => receiver.fail(new Error('ECONNREFUSED')))
  if (condition === 'fails')
    later(30, () => {
      receiver.head({ status: 500, headers: { 'content-type': 'application/json' } })
      receiver.data(encoder.encode('{"error":{"message":"No.","type":"server_error"}}'))
      receiver.end()
    })
  if (condition === 'well' || condition === 'is slow') answer(performance, later)
  return {
    pause() {},
    resume() {},
    abort() {
      for (const stop of stops) stop()
      receiver.fail(new Error('aborted'))
    },
  }
}

function answer(performance: Performance, later: (ms: number, run: () => void) => void): void {
  const { script, play, condition, cachedTokens, receiver, random } = performance
  const pace = condition === 'is slow' ? slowness : 1
  const firstMs = script.firstMs * pace * (0.7 + 0.6 * random())
  const choices = (delta: object, finish: string | null) => [{ index: 0, delta, finish_reason: finish }]
  later(firstMs, () => {
    receiver.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    receiver.data(frame({ choices: choices({ role: 'assistant', content: 'x' }, null) }))
  })
  later(firstMs + play.outputTokens * script.tokenMs * pace * (0.9 + 0.2 * random()), () => {
    const usage = {
      prompt_tokens: play.promptTokens,
      completion_tokens: play.outputTokens,
      total_tokens: play.promptTokens + play.outputTokens,
      prompt_tokens_details: { cached_tokens: cachedTokens },
    }
    receiver.data(frame({ choices: choices({}, 'stop') }))
    receiver.data(frame({ choices: [], usage }))
    receiver.data(encoder.encode('data: [DONE]\n\n'))
    receiver.end()
  })
}
