import { attemptTargets } from '../../src/call/attempt.ts'
import { NoAnswer } from '../../src/call/no-answer.ts'
import type { Catalog, Model } from '../../src/core/catalog.ts'
import { defaultRouting, type RoutingPolicy, type Wish } from '../../src/core/routing.ts'
import { fullPricePpm, priceSet } from '../../src/core/price-set.ts'
import { chat } from '../../src/fronts/chat.ts'
import type { Platform } from '../../src/ports.ts'
import { policyOf } from '../../src/route/route.ts'
import { openRouter } from '../../src/route/router.ts'
import { randomFrom } from './random.ts'
import { type Play, type Script, scriptedVendors, type Seen } from './scripted-vendors.ts'
import { virtualTime, type VirtualTime } from './virtual-time.ts'

/** One call of the traffic and what became of it. */
export interface Played {
  readonly atMs: number
  readonly play: Play
  /** Who answered; undefined: nobody. */
  vendor: string | undefined
  cachedTokens: number
  tries: number
  doneAtMs: number
}

export interface Traffic {
  readonly time: VirtualTime
  readonly random: () => number
  /** Every call, by its start. */
  readonly calls: Played[]
  /** Every request that reached a vendor. */
  readonly seen: readonly Seen[]
  /** Sends one call now. */
  call(play: Play, more?: { readonly text?: string; readonly maxTokens?: number; readonly session?: string }): void
}

const noWish: Wish = { models: [], order: [], only: [], ignore: [], maxPrice: {}, explain: false }
const limits = { connectMs: 5_000, firstByteMs: 300_000, idleMs: 300_000, totalMs: 1_800_000 }
const encoder = new TextEncoder()

/** A model whose targets are these scripts, called through the gateway's own routing and attempts in virtual time. */
export function openTraffic(scripts: readonly Script[], routing: Partial<RoutingPolicy>, seed: number): Traffic {
  const time = virtualTime()
  const { clock } = time
  const random = randomFrom(seed)
  const { send, seen } = scriptedVendors(scripts, { clock, random: randomFrom(seed + 1) })
  const router = openRouter({ clock, random: randomFrom(seed + 2), log: () => {} })
  const catalog = catalogOf(scripts, { ...defaultRouting, ...routing })
  const tokenizer = {
    name: 'bytes',
    count: (text: string) => Promise.resolve(text.length),
    close: () => Promise.resolve(),
  }
  const platform = {
    clock,
    send,
    tokenizer,
    log: () => {},
    settings: { answerLimit: 1_000_000 },
    catalog: () => catalog,
  }
  const model = catalog.models.get('m')
  if (!model) throw new Error('there is no model')
  const calls: Played[] = []

  function call(play: Play, { text = play.session, maxTokens, session }: Parameters<Traffic['call']>[1] = {}): void {
    const played: Played = { atMs: clock.elapsed(), play, vendor: undefined, cachedTokens: 0, tries: 0, doneAtMs: 0 }
    calls.push(played)
    const body = {
      model: 'm',
      stream: true,
      messages: [{ role: 'user', content: text }],
      play,
      ...(maxTokens && { max_tokens: maxTokens }),
    }
    const parts = {
      id: String(calls.length),
      startedAtMs: clock.now(),
      path: '/',
      header: () => undefined,
      query: () => undefined,
    }
    const read = chat.read(encoder.encode(JSON.stringify(body)), parts)
    void answer(read, played, session === undefined ? noWish : { ...noWish, session })
  }

  async function answer(read: ReturnType<typeof chat.read>, played: Played, wish: Wish): Promise<void> {
    if (!model) return
    router.budget.called()
    const asked = { catalog, model, call: read, accountId: 1, wish, keyClass: { priority: 'normal' as const } }
    const { candidates } = router.route({ ...asked, refuses: () => undefined })
    const { retries, hedgeMs } = policyOf({ model, wish })
    const rules = { retries, hedgeMs, random, spend: router.budget.spend }
    try {
      // allowed -- of a platform the attempts use no more than this
      const answered = await attemptTargets(platform as unknown as Platform, {
        call: read,
        candidates,
        stream: true,
        signal: new AbortController().signal,
        rules,
      })
      played.tries = answered.attempts.length
      if (answered.answer.kind !== 'stream') throw new Error('a scripted vendor answers with a stream')
      const { counts, isWhole } = await heard(answered.answer)
      played.vendor = isWhole ? answered.target.vendor : undefined
      played.cachedTokens = counts
    } catch (caught) {
      if (!(caught instanceof NoAnswer)) throw caught
      played.tries = caught.attempts.length
    }
    played.doneAtMs = clock.elapsed()
  }

  return { time, random, calls, seen, call }
}

type Stream = Extract<Awaited<ReturnType<typeof attemptTargets>>['answer'], { kind: 'stream' }>

function heard(stream: Stream): Promise<{ readonly counts: number; readonly isWhole: boolean }> {
  return new Promise((resolve) => {
    let counts = 0
    stream.attach({
      steps(steps) {
        for (const { piece } of steps) counts = piece.usage?.counts.cached_input ?? counts
      },
      end: () => resolve({ counts, isWhole: true }),
      fail: () => resolve({ counts, isWhole: false }),
    })
  })
}

function catalogOf(scripts: readonly Script[], routing: RoutingPolicy): Catalog {
  const prices = (nanos: Script['prices']) => priceSet({ currency: 'USD', nanos, discountPpm: fullPricePpm })
  const model: Model = {
    name: 'm',
    targets: scripts.map(({ name, prices: nanos }) => ({ vendor: name, model: 'x', costs: prices(nanos) })),
    prices: prices({ input: 1n, output: 1n }),
    maxOutputTokens: 4_096,
    policies: { unstreamed: 'auto', clientAbort: 'cancel', abortBeforeContent: 'free' },
    routing,
    createdAtMs: 0,
    provisioned: true,
  }
  const vendors = scripts.map(({ name }) => ({
    id: name,
    adapter: 'openai',
    baseUrl: `http://${name}.test`,
    apiKeys: ['key'],
    limits,
  }))
  return { models: new Map([['m', model]]), vendors: new Map(vendors.map((vendor) => [vendor.id, vendor])) }
}
