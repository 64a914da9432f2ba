import { charge } from '../../src/core/price.ts'
import { fullPricePpm } from '../../src/core/price-set.ts'
import { openTraffic, type Played, type Traffic } from './routed-traffic.ts'
import type { Condition, Script } from './scripted-vendors.ts'

/** A figure of the routing, and the bound that it must keep. */
export interface Figure {
  readonly what: string
  readonly value: string
  readonly bound: string
  readonly isKept: boolean
}

const perMillion = (dollars: number): bigint => BigInt(Math.round(dollars * 1e9))
const well = (): Condition => 'well'

interface Named extends Partial<Script> {
  readonly input: number
  readonly output: number
  readonly cached?: number
}

function script(name: string, { input, output, cached, ...more }: Named): Script {
  const prices = {
    input: perMillion(input),
    output: perMillion(output),
    ...(cached !== undefined && { cached_input: perMillion(cached) }),
  }
  return { name, prices, firstMs: 300, tokenMs: 10, condition: well, ...more }
}

/** Calls at random moments, so many a second on average. */
function pour(
  { time, random }: Traffic,
  { perSecond, untilMs }: { perSecond: number; untilMs: number },
  call: () => void,
): void {
  const next = (atMs: number): void => {
    if (atMs > untilMs) return
    time.at(atMs, () => {
      call()
      next(atMs + (-Math.log(1 - random()) / perSecond) * 1000)
    })
  }
  next(1)
}

const costOf = ({ prices }: Script, { play, cachedTokens }: Pick<Played, 'play' | 'cachedTokens'>): bigint =>
  charge(
    { input: play.promptTokens - cachedTokens, cached_input: cachedTokens, output: play.outputTokens },
    { nanos: prices, tokensPpm: [], lengthTier: undefined, conversion: undefined, discountPpm: fullPricePpm },
  )

/** Long prompts with short answers and the other way round, for targets of which none is the cheapest for both. */
export async function costFigures(calls: number, seed: number): Promise<readonly Figure[]> {
  const scripts = [
    script('reader', { input: 0.4, output: 4 }),
    script('writer', { input: 1.2, output: 2 }),
    script('both', { input: 0.8, output: 3.2 }),
    script('dear', { input: 3, output: 15 }),
  ]
  const traffic = openTraffic(scripts, { strategy: 'cost' }, seed)
  const { random, time } = traffic
  pour(traffic, { perSecond: 20, untilMs: (calls / 20) * 1000 }, () => {
    const isReading = random() < 0.5
    const around = (mean: number): number => Math.max(1, Math.round(mean * (0.5 + random())))
    const promptTokens = isReading ? around(4_000) : around(200)
    const outputTokens = isReading ? Math.min(64, around(40)) : Math.min(2_048, around(900))
    // Vendors count with tokenizers of their own: ours is a guess by the bytes.
    const text = 'word'.repeat(Math.round(promptTokens * (0.9 + 0.2 * random())))
    traffic.call({ session: String(random()), promptTokens, outputTokens }, { text, maxTokens: isReading ? 64 : 2_048 })
  })
  await time.runUntil((calls / 20) * 1000 + 120_000)
  const byName = new Map(scripts.map((each) => [each.name, each]))
  let [paid, least] = [0n, 0n]
  for (const call of traffic.calls) {
    const chosen = byName.get(call.vendor ?? '')
    paid += chosen ? costOf(chosen, call) : 0n
    least += scripts.map((each) => costOf(each, { ...call, cachedTokens: 0 })).reduce((a, b) => (a < b ? a : b))
  }
  // allowed -- a ratio that is printed
  const above = (Number((paid * 1_000_000n) / least) / 1_000_000 - 1) * 100
  return [
    { what: 'cost: vendors cost above the optimum', value: `${above.toFixed(2)} %`, bound: '2 %', isKept: above <= 2 },
    failed('cost: calls without an answer', traffic.calls, 0),
  ]
}

function failed(what: string, calls: readonly Played[], percent: number): Figure {
  const lost = calls.filter(({ vendor }) => vendor === undefined).length
  const share = (lost / calls.length) * 100
  return { what, value: `${share.toFixed(3)} % of ${calls.length}`, bound: `${percent} %`, isKept: share <= percent }
}

const diesAtMs = 120_000
const wakesAtMs = 240_000
const endMs = 420_000

/** The cheaper of two targets dies and comes back. */
export async function deathFigures(
  how: Condition,
  { seed, perSecond }: { seed: number; perSecond: number },
): Promise<readonly Figure[]> {
  const condition = (ms: number): Condition => (ms >= diesAtMs && ms < wakesAtMs ? how : 'well')
  const scripts = [script('cheap', { input: 1, output: 2, condition }), script('spare', { input: 2, output: 4 })]
  const traffic = openTraffic(scripts, { strategy: 'cost', hedgeMs: 900, slowMs: 800 }, seed)
  pour(traffic, { perSecond, untilMs: endMs }, () =>
    traffic.call({ session: String(traffic.random()), promptTokens: 50, outputTokens: 20 }),
  )
  await traffic.time.runUntil(endMs + 400_000)
  const dead = traffic.calls.filter(({ atMs }) => atMs >= diesAtMs && atMs < wakesAtMs)
  const gone = momentAfter(traffic, diesAtMs, (share) => share <= 0.05)
  const back = momentAfter(traffic, wakesAtMs, (share) => share >= 0.95)
  const name = `death (${how})`
  return [
    failed(`${name}: calls without an answer`, dead, 1),
    seconds(`${name}: traffic has moved after`, gone, 2),
    // The longest pause between two probes is a minute, and a fifth more by chance.
    seconds(`${name}: traffic is back after`, back, 72),
  ]
}

/** Milliseconds from a moment until the share of the first target holds for a second, of the tries made first. */
function momentAfter({ calls, seen }: Traffic, fromMs: number, holds: (share: number) => boolean): number | undefined {
  const firstTry = new Map<unknown, string>()
  for (const { play, vendor } of seen) if (!firstTry.has(play.session)) firstTry.set(play.session, vendor)
  const stepMs = 100
  for (let atMs = fromMs; atMs < endMs - 1_000; atMs += stepMs) {
    const within = calls.filter((call) => call.atMs >= atMs && call.atMs < atMs + 1_000)
    const first = within.filter(({ play }) => firstTry.get(play.session) === 'cheap').length
    if (within.length > 0 && holds(first / within.length)) return atMs - fromMs
  }
  return undefined
}

function seconds(what: string, ms: number | undefined, most: number): Figure {
  const isKept = ms !== undefined && ms < most * 1000
  return { what, value: ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`, bound: `${most} s`, isKept }
}

/** Conversations of ten turns with two targets that are as good as each other. */
export async function affinityFigures(sessions: number, seed: number): Promise<readonly Figure[]> {
  const scripts = ['one', 'other'].map((name) => script(name, { input: 1, output: 2, cached: 0.1 }))
  const rates = await Promise.all(
    [true, false].map(async (hasName) => {
      const traffic = openTraffic(scripts, { strategy: hasName ? 'score' : 'weighted' }, seed)
      for (let session = 0; session < sessions; session++) converse(traffic, { session, hasName })
      await traffic.time.runUntil(3_600_000)
      return hitRate(traffic)
    }),
  )
  const [kept = 0, scattered = 0] = rates
  const text = (rate: number) => `${(rate * 100).toFixed(1)} %`
  return [
    { what: 'affinity: cached of what could be', value: text(kept), bound: 'above 95 %', isKept: kept > 0.95 },
    { what: 'affinity: the same, scattered by chance', value: text(scattered), bound: 'for comparison', isKept: true },
  ]
}

const turns = 10

function converse(traffic: Traffic, { session, hasName }: { session: number; hasName: boolean }): void {
  const { time, random } = traffic
  const startMs = random() * 1_800_000
  for (let at = 0; at < turns; at++) {
    time.at(startMs + at * (20_000 + random() * 20_000), () =>
      traffic.call(
        { session: `s${session}`, promptTokens: 2_000 + at * 300, outputTokens: 150 },
        hasName ? { session: `s${session}` } : { text: 'short' },
      ),
    )
  }
}

/** Of the prompt tokens that a vendor had read in the same conversation, those that it was asked for again. */
function hitRate({ calls }: Traffic): number {
  let [cached, possible] = [0, 0]
  const before = new Map<string, number>()
  for (const { play, cachedTokens } of calls) {
    const known = before.get(play.session)
    if (known !== undefined) {
      possible += known
      cached += cachedTokens
    }
    before.set(play.session, play.promptTokens)
  }
  return cached / possible
}

/** Nobody answers for a minute: what is tried again must stay a fraction of what is asked. */
export async function stormFigures(seed: number): Promise<readonly Figure[]> {
  const fails = (): Condition => 'fails'
  const scripts = ['a', 'b', 'c'].map((name) => script(name, { input: 1, output: 2, condition: fails }))
  const traffic = openTraffic(scripts, { strategy: 'score', retries: 3 }, seed)
  pour(traffic, { perSecond: 200, untilMs: 60_000 }, () =>
    traffic.call({ session: String(traffic.random()), promptTokens: 50, outputTokens: 20 }),
  )
  await traffic.time.runUntil(600_000)
  const perCall = traffic.seen.length / traffic.calls.length
  return [{ what: 'storm: tries for each call', value: perCall.toFixed(2), bound: '1.3', isKept: perCall <= 1.3 }]
}
