import type { Client, Receiver, Send, Sending, Tokenizer } from '../../src/ports.ts'
import type { Owner, Random, World } from './world.ts'

/** One token of generated text; everything counts tokens by its first character. */
const token = '~abc'
export const countTokens = (text: string) => {
  let count = 0
  for (let at = text.indexOf('~'); at >= 0; at = text.indexOf('~', at + 1)) count++
  return count
}

export const tokenizer: Tokenizer = {
  name: 'tildes@1',
  count: (text) => Promise.resolve(countTokens(text)),
  close: () => Promise.resolve(),
}

/** What the truth about one call is, from outside of the system: written down as it happens. */
export interface Truth {
  readonly id: string
  readonly accountId: number
  readonly promptTokens: number
  readonly stream: boolean
  readonly maxTokens: number
  readonly startedAtMs: number
  /** Tokens that reached the caller's socket, and when. */
  delivered: number
  deliveries: { atMs: number; tokens: number }[]
  /** What the vendor's usage event said, if it was sent. */
  vendorUsage: { prompt: number; completion: number } | undefined
  status: number | undefined
  /** The caller saw the end of the answer: [DONE], or the whole body. */
  sawEnd: boolean
  sawError: boolean
  hungUpAtMs: number | undefined
  /** The process that served it was killed or paused meanwhile. */
  disturbed: boolean
  killedAtMs: number | undefined
  /** The process that it was sent to. */
  readonly servedBy: Owner
  refusal: string | undefined
  /** A vendor is at work for the call. */
  atVendor: boolean
}

export interface Plan {
  readonly tokens: number
  readonly tokensPerChunk: number
  readonly chunkMs: number
  readonly firstMs: number
  readonly usage: 'exact' | 'none' | 'more'
  readonly end: 'whole' | 'reset' | 'silent' | 'status-500' | 'status-429' | 'no-done' | 'error-event'
}

/** A vendor's mood for one call. */
export function planCall(random: Random, maxTokens: number): Plan {
  const ends: readonly Plan['end'][] = [
    'whole',
    'whole',
    'whole',
    'whole',
    'whole',
    'reset',
    'silent',
    'status-500',
    'status-429',
    'no-done',
    'error-event',
  ]
  return {
    tokens: random.whole(1, maxTokens),
    tokensPerChunk: random.whole(1, 12),
    chunkMs: random.whole(5, 400),
    firstMs: random.whole(1, 3_000),
    usage: random.pick(['exact', 'exact', 'exact', 'none', 'more'] as const),
    end: random.pick(ends),
  }
}

const encoder = new TextEncoder()
const base = { id: 'chatcmpl-sim', object: 'chat.completion.chunk', created: 1, model: 'sim' }
const chunk = (delta: object, finish: string | null = null) => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason: finish }],
})

/** Vendors of the simulation: each request's plan and truth are found by the call's number in its prompt. */
export function simSend(world: World, owner: Owner, callOf: (body: string) => { plan: Plan; truth: Truth }): Send {
  return (request, receiver) => {
    const body = new TextDecoder().decode(request.body)
    const { plan, truth } = callOf(body)
    truth.atVendor = true
    const streamed = body.includes('"stream":true')
    return play({ world, owner, receiver, plan, truth, streamed })
  }
}

interface Playing {
  readonly world: World
  readonly owner: Owner
  readonly receiver: Receiver
  readonly plan: Plan
  readonly truth: Truth
  readonly streamed: boolean
}

function play(playing: Playing): Sending {
  const { world, owner } = playing
  let isOver = false
  let isPaused = false
  const parked: (() => void)[] = []
  const over = (): void => {
    isOver = true
    playing.truth.atVendor = false
  }
  const steps = stepsOf(playing, over)
  const run = (at: number): void => {
    const step = steps[at]
    if (!step || isOver) return
    const go = () => {
      if (isOver) return
      step.run()
      run(at + 1)
    }
    world.after(step.ms, () => (isPaused ? void parked.push(go) : go()), owner)
  }
  run(0)
  return {
    pause() {
      isPaused = true
    },
    resume() {
      isPaused = false
      for (const go of parked.splice(0)) go()
    },
    abort: over,
  }
}

interface Step {
  readonly ms: number
  run(): void
}

/** What a vendor does, one thing after the other. */
function stepsOf({ receiver, plan, truth, streamed }: Playing, over: () => void): Step[] {
  const data = (payload: object | string) =>
    receiver.data(encoder.encode(`data: ${typeof payload === 'string' ? payload : JSON.stringify(payload)}\n\n`))
  const fail = { ms: 1, run: () => (over(), receiver.fail(new Error('reset'))) }
  if (plan.end === 'status-500' || plan.end === 'status-429') {
    const status = plan.end === 'status-500' ? 500 : 429
    return [
      { ms: plan.firstMs, run: () => receiver.head({ status, headers: { 'content-type': 'application/json' } }) },
      {
        ms: 0,
        run: () => (
          over(),
          receiver.data(encoder.encode('{"error":{"message":"busy","type":"x","code":null}}')),
          receiver.end()
        ),
      },
    ]
  }
  const completion = plan.usage === 'more' ? plan.tokens + 3 : plan.tokens
  const usage = {
    prompt_tokens: truth.promptTokens,
    completion_tokens: completion,
    total_tokens: truth.promptTokens + completion,
  }
  const noteUsage = () => {
    truth.vendorUsage = { prompt: truth.promptTokens, completion }
  }
  if (!streamed)
    return wholeSteps({ receiver, plan, usage: plan.usage === 'none' ? undefined : usage, noteUsage, over })
  const steps: Step[] = [
    { ms: plan.firstMs, run: () => receiver.head({ status: 200, headers: { 'content-type': 'text/event-stream' } }) },
  ]
  steps.push({ ms: 0, run: () => data(chunk({ role: 'assistant', content: '' })) })
  const sent = plan.end === 'whole' || plan.end === 'no-done' ? plan.tokens : Math.floor(plan.tokens / 2)
  for (let done = 0; done < sent; done += plan.tokensPerChunk) {
    const size = Math.min(plan.tokensPerChunk, sent - done)
    steps.push({ ms: plan.chunkMs, run: () => data(chunk({ content: token.repeat(size) })) })
  }
  if (plan.end === 'reset') return [...steps, fail]
  if (plan.end === 'silent') return steps
  if (plan.end === 'error-event')
    return [
      ...steps,
      { ms: 1, run: () => data({ error: { message: 'overloaded', type: 'server_error', code: null } }) },
    ]
  steps.push({ ms: 1, run: () => data(chunk({}, 'stop')) })
  if (plan.usage !== 'none') steps.push({ ms: 1, run: () => (noteUsage(), data({ ...base, choices: [], usage })) })
  const done = () => {
    truth.atVendor = false
    data('[DONE]')
  }
  if (plan.end !== 'no-done') steps.push({ ms: 1, run: done })
  return [...steps, { ms: 1, run: () => (over(), receiver.end()) }]
}

interface WholeOptions {
  readonly receiver: Receiver
  readonly plan: Plan
  readonly usage: object | undefined
  noteUsage(): void
  over(): void
}

function wholeSteps({ receiver, plan, usage, noteUsage, over }: WholeOptions): Step[] {
  const message = { role: 'assistant', content: token.repeat(plan.tokens) }
  const body = {
    ...base,
    object: 'chat.completion',
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    ...(usage && { usage }),
  }
  const head = {
    ms: plan.firstMs,
    run: () => receiver.head({ status: 200, headers: { 'content-type': 'application/json' } }),
  }
  if (plan.end !== 'whole' && plan.end !== 'no-done')
    return [head, { ms: plan.chunkMs, run: () => (over(), receiver.fail(new Error('reset'))) }]
  const send = () => {
    over()
    if (usage) noteUsage()
    receiver.data(encoder.encode(JSON.stringify(body)))
    receiver.end()
  }
  return [head, { ms: plan.chunkMs * Math.ceil(plan.tokens / plan.tokensPerChunk), run: send }]
}

export interface SimClient extends Client {
  hangUp(): void
}

/** A caller's connection: what is written to it while it stands has been delivered. */
export function simClient(
  world: World,
  owner: Owner,
  options: { readonly headers: Record<string, string>; readonly body: object; readonly truth: Truth },
): SimClient {
  const { truth, headers } = options
  const gone = new Set<() => void>()
  const drained = new Set<() => void>()
  let isGone = false
  let isOver = false

  function receive(bytes: Uint8Array): void {
    const text = new TextDecoder().decode(bytes)
    const tokens = countTokens(text)
    if (tokens > 0) truth.deliveries.push({ atMs: world.nowMs, tokens })
    truth.delivered += tokens
    if (text.includes('"error":{')) truth.sawError = true
    if (text.includes('data: [DONE]')) truth.sawEnd = true
  }

  return {
    header: (name) => headers[name],
    body: () => Promise.resolve(encoder.encode(JSON.stringify(options.body))),
    onGone: (run) => void gone.add(run),
    get gone() {
      return isGone
    },
    open(status) {
      truth.status = status
    },
    write(bytes) {
      if (isGone || !owner.isAlive) return true
      receive(bytes)
      if (!world.random.chance(0.02)) return true
      world.after(world.random.whole(1, 2_000), () => drained.forEach((run) => run()), owner)
      return false
    },
    onDrain: (run) => void drained.add(run),
    end(bytes) {
      if (isGone || !owner.isAlive) return
      isOver = true
      if (bytes) receive(bytes)
      if (!truth.stream && truth.status === 200) truth.sawEnd = true
    },
    destroy() {
      isOver = true
    },
    hangUp() {
      if (isOver || isGone) return
      isGone = true
      truth.hungUpAtMs = world.nowMs
      gone.forEach((run) => run())
    },
  }
}
