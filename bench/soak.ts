import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { nodeProgram } from '../test/support/process.ts'
import { table } from '../test/support/table.ts'
import type { Contestant } from './contest/contestants.ts'
import { residentMb } from './contest/gauge.ts'
import { type Program, startProgram } from './contest/programs.ts'
import { startTollgate } from './contest/tollgate.ts'
import { bodyOf } from './contest/wire.ts'
import { machine } from './options.ts'
import type { SoakOrder, SoakReport } from './soak/callers.ts'
import { soakModels } from './soak/mix.ts'
import { type SoakPlan, soakPlanOf } from './soak/plan.ts'
import { type Point, trendOf } from './soak/slope.ts'

/** The soak: one gateway under a steady load of everything that goes well and goes wrong, for as long as one likes. */

const startMs = 20_000
const askMs = 10_000
/** The share of what the machine sustains that it is loaded with, and how that is found. */
const loadShare = 0.7
const warmUpMs = 10_000
const findMs = 15_000
const findConnections = 160
const connections = 512
const memoryMs = 5_000
/** Answers and records that are still under way when the load is over. */
const restMs = 10_000
const overMs = 90_000
const msPerMinute = 60_000
const bytesPerMb = 1_024 * 1_024

interface Callers {
  order(order: SoakOrder): void
  /** What they said last. */
  readonly last: SoakReport
  stop(): Promise<void>
}

const nothing: SoakReport = {
  begun: 0,
  ended: 0,
  late: 0,
  tally: { whole: 0, partial: 0, refused: 0, broken: 0 },
  nanos: '0',
  faults: [],
  isOver: false,
}

function startCallers(): Callers {
  const path = fileURLToPath(new URL('soak/callers.ts', import.meta.url))
  const program: Program = startProgram({ command: nodeProgram, args: [path], isTold: true })
  const state = { last: nothing }
  program.child.on('message', (report: SoakReport) => {
    state.last = report
  })
  program.child.once('exit', () => process.stderr.write(`the callers ended: ${program.text()}\n`))
  return {
    order: (order) => void program.child.send(order),
    get last() {
      return state.last
    },
    stop: program.stop,
  }
}

/** Tokens that the gateway counts for the prompt of a call that no vendor has counted, by the receipt of one. */
async function countedPrompt({ port, headers, books }: Contestant): Promise<number> {
  const url = `http://127.0.0.1:${port}`
  const [authorization = ''] = headers
  const auth = { authorization: authorization.replace(/^authorization: /, '') }
  const stop = new AbortController()
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...auth, 'content-type': 'application/json' },
    body: bodyOf({ model: 'stall-8', promptBytes: 1_024, events: 8 }),
    signal: stop.signal,
  })
  const id = answer.headers.get('x-request-id') ?? ''
  await answer.body?.getReader().read()
  await wait(500)
  stop.abort()
  await wait(500)
  await books?.charged()
  const receipt = await fetch(`${url}/v1/generation?id=${id}`, { headers: auth, signal: AbortSignal.timeout(askMs) })
  const { usage } = (await receipt.json()) as { usage?: { prompt_tokens?: number } }
  if (usage?.prompt_tokens === undefined) throw new Error('there is no receipt of a call that was hung up on')
  return usage.prompt_tokens
}

/** A figure of `/metrics`, with its labels if it has any. */
function figure(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? Number.NaN)
}

interface Minute {
  readonly minute: number
  readonly calls: number
  readonly residentMb: number
  readonly heapMb: number
  readonly handles: number
  readonly holds: number
  readonly delayP99Ms: number
  readonly delayMostMs: number
}

async function look(contestant: Contestant, minute: number, calls: number): Promise<Minute> {
  const text = (await contestant.metrics?.()) ?? ''
  const of = (name: string) => figure(text, name)
  return {
    minute,
    calls,
    residentMb: of('tollgate_resident_bytes') / bytesPerMb,
    heapMb: of('tollgate_heap_bytes') / bytesPerMb,
    handles: of('tollgate_resources'),
    holds: of('tollgate_holds_live'),
    delayP99Ms: of('tollgate_event_loop_delay_seconds{quantile="0.99"}') * 1_000,
    delayMostMs: of('tollgate_event_loop_delay_seconds{quantile="1"}') * 1_000,
  }
}

const columns = ['minute', 'calls', 'calls/s', 'RSS MB', 'heap MB', 'handles', 'holds', 'loop p99 ms', 'longest ms']

function cells(now: Minute, before: Minute | undefined): readonly string[] {
  const { minute, calls, residentMb: rss, heapMb, handles, holds, delayP99Ms, delayMostMs } = now
  const perSecond = (calls - (before?.calls ?? 0)) / Math.max(0.001, (minute - (before?.minute ?? 0)) * 60)
  const rounded = [rss, heapMb, handles, holds].map((value) => value.toFixed(0))
  return [
    minute.toFixed(1),
    String(calls),
    perSecond.toFixed(0),
    ...rounded,
    delayP99Ms.toFixed(1),
    delayMostMs.toFixed(1),
  ]
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Calls a second at 70 % of what is answered when every caller calls as soon as he can. */
async function findRate(callers: Callers, order: Omit<SoakOrder, 'rate'>): Promise<number> {
  callers.order({ ...order, connections: findConnections, rate: 0 })
  await wait(warmUpMs)
  const from = callers.last.ended
  const fromMs = performance.now()
  await wait(findMs)
  const perSecond = ((callers.last.ended - from) * 1_000) / (performance.now() - fromMs)
  callers.order({ ...order, rate: undefined })
  await until(() => callers.last.isOver, overMs)
  return Math.max(1, perSecond * loadShare)
}

async function until(isSo: () => boolean, withinMs: number): Promise<void> {
  for (const end = performance.now() + withinMs; !isSo(); await wait(100))
    if (performance.now() > end) throw new Error(`calls were still under way after ${withinMs / 1_000} s`)
}

interface Soaked {
  readonly minutes: readonly Minute[]
  readonly memory: readonly Point[]
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(signal))

/** The load itself; a line for each minute. */
async function soak(plan: SoakPlan, { contestant, callers, order }: Soaking): Promise<Soaked> {
  const fromMs = performance.now()
  const minute = () => (performance.now() - fromMs) / msPerMinute
  const minutes: Minute[] = []
  const memory: Point[] = []
  const before = callers.last.ended
  await contestant.metrics?.()
  callers.order(order)
  say(columns.join('  '))
  while (minute() < plan.minutes && callers.last.begun < order.calls && !stop.signal.aborted) {
    await wait(Math.min(memoryMs, Math.max(1, (plan.minutes - minute()) * msPerMinute)))
    if (contestant.pid !== undefined) memory.push({ minute: minute(), value: residentMb(contestant.pid) })
    if (minute() < minutes.length + 1 && minute() < plan.minutes) continue
    const now = await look(contestant, minute(), callers.last.ended - before)
    say(cells(now, minutes.at(-1)).join('  '))
    minutes.push(now)
  }
  callers.order({ ...order, rate: undefined })
  await until(() => callers.last.isOver, overMs)
  return { minutes, memory }
}

interface Soaking {
  readonly contestant: Contestant
  readonly callers: Callers
  readonly order: SoakOrder
}

/** Whether the books agree, nothing broke and nothing grows. */
async function judge(plan: SoakPlan, { contestant, callers, order }: Soaking, soaked: Soaked): Promise<boolean> {
  const { minutes, memory } = soaked
  await wait(restMs)
  const { last } = callers
  const { minute = 0, calls = 0 } = minutes.at(-1) ?? {}
  const rested = await look(contestant, minute, calls)
  const charged = (await contestant.books?.charged()) ?? 0n
  const drift = charged - BigInt(last.nanos)
  const found = await contestant.books?.read()
  const rss = trendOf(memory)
  const handles = trendOf(minutes.map(({ minute, handles: value }) => ({ minute, value })))
  say(
    `\n${table(columns, [...minutes.map((now, at) => cells(now, minutes[at - 1])), ['after', ...cells(rested, undefined).slice(1)]])}`,
  )
  const { whole, partial, refused, broken } = last.tally
  say(
    `${last.ended} calls: ${whole} whole, ${partial} in part, ${refused} refused, ${broken} broken; ${last.late} were due ` +
      `while all ${order.connections} connections were busy`,
  )
  say(
    `RSS ${rss.slope.toFixed(2)} MB a minute, handles ${handles.slope.toFixed(2)} a minute, ${rested.holds} holds left`,
  )
  say(
    `drift ${drift} nano-units of ${charged}; ${found?.calls ?? 0n} calls in the books, ${found?.violations ?? 0} violations`,
  )
  for (const fault of last.faults) say(`BROKEN: ${fault}`)
  if (rss.isRising) say('RISING: resident memory')
  const isWell = drift === 0n && broken === 0 && rested.holds === 0 && found?.violations === 0 && !rss.isRising
  if (plan.json)
    say(
      JSON.stringify({
        machine: machine(),
        store: plan.store,
        rate: order.rate,
        ended: last.ended,
        late: last.late,
        tally: last.tally,
        drift: String(drift),
        charged: String(charged),
        rss_slope_mb: rss.slope,
        handles_slope: handles.slope,
        minutes,
        is_well: isWell,
      }),
    )
  return isWell
}

async function run(plan: SoakPlan): Promise<boolean> {
  const path = fileURLToPath(new URL('vendor.ts', import.meta.url))
  const vendor = startProgram({ command: nodeProgram, args: [path] })
  const [, vendorPort] = await vendor.says(/listening (\d+)/, startMs)
  const setting = { vendorUrl: `http://127.0.0.1:${vendorPort}`, cores: '', fetchMs: 0, models: soakModels }
  const contestant = await startTollgate(plan.store, setting)
  const callers = startCallers()
  try {
    const promptTokens = await countedPrompt(contestant)
    const before = (await contestant.books?.charged()) ?? 0n
    const { port, headers } = contestant
    const order = { port, headers, connections, calls: plan.calls, promptTokens }
    const rate = plan.rate ?? (await findRate(callers, order))
    say(
      `${machine()}; Tollgate on ${plan.store} at ${rate.toFixed(0)} calls a second; prompts of ${promptTokens} tokens`,
    )
    const soaking = { contestant: since(contestant, before), callers, order: { ...order, rate } }
    return await judge(plan, soaking, await soak(plan, soaking))
  } finally {
    await Promise.all([callers.stop(), contestant.stop(), vendor.stop()])
  }
}

/** The same gateway, whose books begin when the callers do. */
function since(contestant: Contestant, before: bigint): Contestant {
  const { books } = contestant
  return books
    ? { ...contestant, books: { ...books, charged: async () => (await books.charged()) - before } }
    : contestant
}

const plan = soakPlanOf(process.argv.slice(2))
if ('text' in plan) {
  ;(plan.code === 0 ? process.stdout : process.stderr).write(plan.text)
  process.exitCode = plan.code
} else process.exitCode = (await run(plan)) ? 0 : 1
