import { fileURLToPath } from 'node:url'
import { nodeProgram } from '../../test/support/process.ts'
import type { Contestant, Name } from './contestants.ts'
import { countInstructions, cpuUs, residentMb, watchMemory } from './gauge.ts'
import { type Load, orderOf } from './loads.ts'
import type { Figures, Order, OrderDone } from './order.ts'
import { type Program, startProgram } from './programs.ts'
import { tokenPrice } from './tollgate.ts'

/** One that is called, and all that it was paid for so far by our own count. */
export interface Runner {
  readonly name: Name
  readonly contestant: Contestant
  /** Right after it started; undefined for the vendor. */
  readonly idleMb: number | undefined
  calls: number
  nanos: bigint
}

/** One measured run. */
export interface Sample {
  readonly name: Name
  readonly load: Load
  readonly round: number
  readonly figures: Figures
  /** Of the calls or events, whichever the load counts by; the books' own work is in it. */
  readonly cpuUs: number | undefined
  readonly instructions: number | undefined
  readonly beforeMb: number | undefined
  readonly peakMb: number | undefined
  /** By how much the event loop was late, of those that tell: the 99th percentile and the most, in ms. */
  readonly loopMs?: { readonly p99: number; readonly most: number } | undefined
}

/** A run whose figures are not to be used. */
export interface NoResult {
  readonly name: Name
  readonly load: Load
  readonly round: number
  readonly why: string
  /** Whether the books and our count differ. */
  readonly isDrift: boolean
}

/** The load generator, in a process of its own. */
export interface Generator {
  send(order: Omit<Order, 'id'>): Promise<Figures>
  stop(): Promise<void>
}

export function startGenerator(): Generator {
  const path = fileURLToPath(new URL('../load.ts', import.meta.url))
  const program: Program = startProgram({ command: nodeProgram, args: [path], isTold: true })
  const waiting = new Map<number, (figures: Figures) => void>()
  const { promise: broken, reject } = Promise.withResolvers<never>()
  // Whoever waits hears of it; nobody has to.
  broken.catch(() => {})
  let orders = 0
  program.child.on('message', ({ id, figures }: OrderDone) => {
    waiting.get(id)?.(figures)
    waiting.delete(id)
  })
  program.child.once('exit', () => reject(new Error(`the load generator ended: ${program.text()}`)))
  return {
    send(order) {
      const id = ++orders
      const done = new Promise<Figures>((resolve) => waiting.set(id, resolve))
      program.child.send({ ...order, id } satisfies Order)
      return Promise.race([done, broken])
    },
    stop: program.stop,
  }
}

/** Calls a contestant and notes what that has to cost. */
export async function call(generator: Generator, runner: Runner, order: ReturnType<typeof orderOf>): Promise<Figures> {
  const { port, headers } = runner.contestant
  const figures = await generator.send({ ...order, port, headers })
  runner.calls += figures.calls
  runner.nanos += BigInt(figures.inputTokens) * tokenPrice.input + BigInt(figures.outputTokens) * tokenPrice.output
  return figures
}

/** What the books say more or less than our count, in nano-units, when nothing is under way any more. */
export async function drift({ contestant, nanos }: Runner): Promise<bigint> {
  return contestant.books === undefined ? 0n : (await contestant.books.charged()) - nanos
}

/** By how much the event loop was late since this was last asked, in ms; undefined of those that do not tell. */
async function loopDelay({ contestant }: Pick<Runner, 'contestant'>): Promise<Sample['loopMs']> {
  const text = await contestant.metrics?.()
  const of = (quantile: string) =>
    Number(
      new RegExp(`^tollgate_event_loop_delay_seconds\\{quantile="${quantile}"\\} (\\S+)$`, 'm').exec(text ?? '')?.[1],
    )
  const [p99, most] = [of('0.99'), of('1')]
  return Number.isFinite(p99) && Number.isFinite(most) ? { p99: p99 * 1_000, most: most * 1_000 } : undefined
}

export interface RunParts {
  readonly generator: Generator
  readonly runner: Runner
  readonly load: Load
  readonly round: number
  readonly runMs: number
  /** 0 for none. */
  readonly warmUpMs: number
  readonly counts: boolean
}

/** One run, from its warm-up to the check of the books. */
export async function measure(parts: RunParts): Promise<Sample | NoResult> {
  const { generator, runner, load, round, runMs, warmUpMs, counts } = parts
  const { name } = runner
  const { pid } = runner.contestant
  try {
    if (warmUpMs > 0 && !load.isOnce) await call(generator, runner, orderOf(load, warmUpMs))
    await drift(runner)
    const beforeMb = pid === undefined ? undefined : residentMb(pid)
    const memory = pid === undefined ? undefined : watchMemory(pid)
    const perf = pid === undefined || !counts ? undefined : await countInstructions(pid)
    const from = pid === undefined ? 0 : cpuUs(pid)
    await loopDelay(runner)
    const figures = await call(generator, runner, orderOf(load, runMs))
    const loopMs = await loopDelay(runner)
    const off = await drift(runner)
    const used = pid === undefined ? undefined : cpuUs(pid) - from
    const instructions = await perf?.stop()
    const peakMb = memory?.stop()
    // From here on our count is the books', so that one run with drift does not spoil those after it.
    runner.nanos += off
    const told = { name, load, round }
    if (figures.failed > 0)
      return { ...told, why: `${figures.failed} calls failed: ${figures.faults[0] ?? ''}`, isDrift: false }
    if (figures.calls === 0) return { ...told, why: 'no call was made', isDrift: false }
    if (off !== 0n) return { ...told, why: `the books have ${off} nano-units more than was counted`, isDrift: true }
    const units = figures.calls * (load.unit === 'event' ? load.events : 1)
    const each = (sum: number | undefined) => (sum === undefined ? undefined : sum / units)
    return { ...told, figures, cpuUs: each(used), instructions: each(instructions), beforeMb, peakMb, loopMs }
  } catch (error) {
    return { name, load, round, why: error instanceof Error ? error.message : String(error), isDrift: false }
  }
}
