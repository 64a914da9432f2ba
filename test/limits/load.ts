import { setTimeout as wait } from 'node:timers/promises'
import { capacityOf, type RateLimit, limitWindows } from '../../src/core/rate-limit.ts'
import { answerText, startVendor, type FakeVendor, type VendorCall } from '../support/vendor.ts'
import type { GatewayProcess } from '../support/process.ts'
import type { Asker, Limit } from './levels.ts'

/** Tokens that the vendor says each call has had; a little fewer than what is reserved for one. */
export const tokensOfCall = 16
const answer = answerText('Hello', { prompt_tokens: 10, completion_tokens: 6 })
const maxTokens = 10
/** Calls that callers have open at most; those above it are not sent. */
const mostOpen = 3_000
const holding = 'hold '

/** A vendor that answers at once, or keeps calls open that ask for it. */
export interface HoldingVendor extends FakeVendor {
  /** Calls of one name that are open now, and the most that ever were at once. */
  held(name: string): number
  most(name: string): number
  /** Answers what is open, of this name. */
  release(name: string): void
}

interface Open {
  readonly answers: Set<() => void>
  most: number
}

export async function startHoldingVendor(): Promise<HoldingVendor> {
  const open = new Map<string, Open>()
  const openOf = (name: string): Open => {
    const known = open.get(name) ?? { answers: new Set(), most: 0 }
    open.set(name, known)
    return known
  }
  const vendor = await startVendor((call, response) => {
    // Nobody reads the list, and it would grow.
    vendor.calls.length = 0
    const { name, finish } = { name: nameIn(call), finish: () => void answer(call, response) }
    if (name === undefined) return finish()
    const { answers } = openOf(name)
    answers.add(finish)
    openOf(name).most = Math.max(openOf(name).most, answers.size)
    response.once('close', () => answers.delete(finish))
  })
  return {
    ...vendor,
    held: (name) => openOf(name).answers.size,
    most: (name) => openOf(name).most,
    release(name) {
      for (const finish of openOf(name).answers) finish()
      openOf(name).answers.clear()
    },
  }
}

function nameIn({ body }: VendorCall): string | undefined {
  const [first] = (body['messages'] ?? []) as readonly { readonly content: string }[]
  return first?.content.startsWith(holding) ? first.content.slice(holding.length) : undefined
}

interface Sent {
  readonly gateway: GatewayProcess
  readonly text?: string
  readonly signal?: AbortSignal
}

/** The status of one call; 0 where the connection broke. */
export async function send(asker: Asker, { gateway, text = 'Hi', signal }: Sent): Promise<number> {
  try {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${asker.key}`,
        'content-type': 'application/json',
        'x-forwarded-for': asker.from,
      },
      body: JSON.stringify({
        model: asker.model,
        messages: [{ role: 'user', content: text }],
        max_tokens: maxTokens,
      }),
      ...(signal && { signal }),
    })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0
  }
}

export const holdingText = (name: string): string => holding + name

/** What came of one limit under more calls than it allows. */
export interface Overloaded {
  readonly asker: Asker
  readonly offered: number
  /** In what the limit counts, as is what is allowed. */
  readonly admitted: number
  readonly allowed: number
  /** By the moment of the last answer: a busy machine decides later than it is asked, and time goes on meanwhile. */
  readonly mostAllowed: number
  /** What one call counts: nothing is finer than that. */
  readonly grain: number
  /** Answers that are neither an admission nor a refusal by a limit. */
  readonly odd: readonly number[]
}

export interface Load {
  readonly gateways: readonly GatewayProcess[]
  readonly askers: readonly Asker[]
  /** Whose calls none of the limits but those of every call count. */
  readonly stranger: Asker
  readonly limits: readonly Limit[]
  /** Calls that each limit is to allow in one of its windows. */
  readonly calls: number
  /** How many times as many are sent. */
  readonly times: number
  readonly windows: number
  /** Forgets what limits over accounts have counted. */
  forget(): Promise<void>
}

/** Calls that each gateway has served before anything is counted, and for how long it is then left alone. */
const warmCalls = 12
const coolMs = 2_500

/** A process that has just started is slow enough to take its store for away, and would count alone meanwhile. */
async function warmUp({ gateways, stranger, forget }: Load): Promise<void> {
  for (let n = 0; n < warmCalls; n++) await Promise.all(gateways.map((gateway) => send(stranger, { gateway })))
  // What was lent for these calls goes back first.
  await wait(coolMs)
  await forget()
}

/** Sends calls of every asker at even distances, over all gateways in turn, from the beginning of a window to an end. */
export async function overload(load: Load): Promise<readonly Overloaded[]> {
  const { gateways, askers, limits, calls, times, windows } = load
  const rate = limits.find(isByTime)
  if (!rate) throw new Error('nothing is limited by time')
  const windowMs = limitWindows[rate.window]
  const gapMs = windowMs / calls / times
  const counts = askers.map(() => ({ offered: 0, passed: 0, odd: [] as number[] }))
  const open = new Set<Promise<void>>()
  await warmUp(load)
  // Where windows are no matter any moment is as good as another.
  if (rate.algorithm === 'sliding_window') await wait(windowMs - (Date.now() % windowMs) + edgeMs)
  const startMs = Date.now()
  const endMs = startMs + Math.floor(windows * windowMs) - 2 * edgeMs
  let [lastMs, firstAnswerMs, lastAnswerMs] = [startMs, 0, startMs]
  for (let n = 0; startMs + n * gapMs < endMs; n++) {
    const behindMs = Date.now() - (startMs + n * gapMs)
    if (behindMs < 0) await wait(-behindMs)
    if (open.size > mostOpen || Date.now() >= endMs) continue
    lastMs = Date.now()
    askers.forEach((asker, at) => {
      const count = counts[at]!
      count.offered += 1
      const one = send(asker, { gateway: gateways[(n + at) % gateways.length]! }).then((status) => {
        open.delete(one)
        lastAnswerMs = Date.now()
        firstAnswerMs ||= lastAnswerMs
        if (status === 200) count.passed += 1
        else if (status !== 429) count.odd.push(status)
      })
      open.add(one)
    })
  }
  await Promise.all(open)
  return askers.map((asker, at) => {
    const grain = asker.of === 'tokens' ? tokensOfCall : 1
    const limit = limits.filter(isByTime).find(({ of }) => of === asker.of)
    const { offered, passed, odd } = counts[at]!
    const [allowed = 0, mostAllowed = 0] = [lastMs - firstAnswerMs, lastAnswerMs - startMs].map((ms) =>
      limit ? allowedIn(limit, { windows, ms }) : 0,
    )
    return { asker, offered, admitted: passed * grain, allowed, mostAllowed, grain, odd }
  })
}

/** Calls that come just before a window ends may be counted in the next. */
const edgeMs = 30

function isByTime(limit: Limit): limit is RateLimit {
  return limit.of !== 'concurrency' && limit.window !== undefined && limit.algorithm !== undefined
}

function allowedIn(limit: RateLimit, { windows, ms }: { readonly windows: number; readonly ms: number }): number {
  if (limit.algorithm === 'sliding_window') return limit.limit * windows
  return Math.floor(capacityOf(limit) + (limit.limit * ms) / limitWindows[limit.window])
}
