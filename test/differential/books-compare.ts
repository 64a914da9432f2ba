import { deepStrictEqual } from 'node:assert'
import { inspect } from 'node:util'
import { newId, noon } from '../db/records.ts'
import { modelSide } from './books-model.ts'
import { openPlay, type Play } from './books-play.ts'
import type { Side, SideClock } from './books-side.ts'
import { callCount, type BooksStep } from './books-steps.ts'

const hourMs = 3_600_000
/** Histories between two looks for what the databases find wrong with themselves: it reads all that they have. */
const checkEvery = 500

/** The model and the SQL on one or more databases, side by side. */
export interface BooksComparison {
  /** Runs a history on all, with accounts of its own; throws at the first difference. Returns how many steps it had. */
  play(steps: readonly BooksStep[]): Promise<number>
  /** How often each step got each kind of reply. */
  readonly seen: ReadonlyMap<string, number>
  /** Throws where a database says that its books are wrong. */
  check(): Promise<void>
}

export function compareBooks(databases: readonly Side[], clock: SideClock): BooksComparison {
  const seen = new Map<string, number>()
  let played = 0
  async function check(): Promise<void> {
    for (const side of databases) deepStrictEqual(await side.faults(), [], `${side.name} finds its own books wrong`)
  }
  return {
    seen,
    check,
    async play(steps) {
      clock.nowMs = noon
      const name = `${process.pid}.${++played}`
      const model = modelSide(clock)
      const all = [model, ...databases]
      const calls = Array.from({ length: callCount }, (_, at) => newId(noon + (at - 3) * 9 * hourMs))
      const plays = await Promise.all(all.map((side) => openPlay(side, { name, calls, clock })))
      const done: unknown[] = []
      try {
        for (const step of steps) {
          done.push(step)
          if (step.do === 'pass') clock.nowMs += step.hours * hourMs
          const [reply, ...others] = await Promise.all(plays.map((play) => play.act(step)))
          for (const [at, other] of others.entries())
            deepStrictEqual(other, reply, `${databases[at]?.name} on ${step.do}`)
          const kind = `${step.do} ${kindOf(reply)}`
          seen.set(kind, (seen.get(kind) ?? 0) + 1)
        }
        await compareStates(plays, databases)
        deepStrictEqual(await model.faults(), [], 'the model finds its own books wrong')
        await Promise.all(all.map((side) => side.rollup()))
        await compareStates(plays, databases)
        if (played % checkEvery === 0) await check()
      } catch (error) {
        throw new Error(done.map((each) => inspect(each, { depth: 8, breakLength: 200 })).join('\n'), { cause: error })
      }
      return steps.length
    },
  }
}

function kindOf(reply: unknown): string {
  if (typeof reply !== 'object' || reply === null) return 'ok'
  if ('refused' in reply) return String(reply.refused)
  return 'applied' in reply && reply.applied === false ? 'repeated' : 'ok'
}

async function compareStates(plays: readonly Play[], databases: readonly Side[]): Promise<void> {
  const [state, ...others] = await Promise.all(plays.map((play) => play.state()))
  for (const [at, other] of others.entries()) deepStrictEqual(other, state, `the state of ${databases[at]?.name}`)
}
