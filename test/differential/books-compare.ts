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
      const model = modelSide(clock)
      const sides = [model, ...databases]
      const calls = Array.from({ length: callCount }, (_, at) => newId(noon + (at - 3) * 9 * hourMs))
      const history = { name: `${process.pid}.${++played}`, calls, clock }
      const plays = await Promise.all(sides.map((side) => openPlay(side, history)))
      const names = sides.map(({ name }) => name)
      const done: BooksStep[] = []
      try {
        for (const step of steps) {
          done.push(step)
          const kind = `${step.do} ${kindOf(await act({ plays, names, clock }, step))}`
          seen.set(kind, (seen.get(kind) ?? 0) + 1)
        }
        await compareStates(plays, names)
        deepStrictEqual(await model.faults(), [], 'the model finds its own books wrong')
        await Promise.all(sides.map((side) => side.rollup()))
        await compareStates(plays, names)
        if (played % checkEvery === 0) await check()
      } catch (error) {
        throw new Error(done.map((each) => inspect(each, { depth: 8, breakLength: 200 })).join('\n'), { cause: error })
      }
      return steps.length
    },
  }
}

interface Played {
  readonly plays: readonly Play[]
  readonly names: readonly string[]
  readonly clock: SideClock
}

/** Does a step on all sides and gives the reply of the first. */
async function act({ plays, names, clock }: Played, step: BooksStep): Promise<unknown> {
  if (step.do === 'pass') clock.nowMs += step.hours * hourMs
  const replies = await Promise.all(plays.map((play) => play.act(step)))
  for (const [at, reply] of replies.entries()) deepStrictEqual(reply, replies[0], `${names[at]} on ${step.do}`)
  return replies[0]
}

async function compareStates(plays: readonly Play[], names: readonly string[]): Promise<void> {
  const states = await Promise.all(plays.map((play) => play.state()))
  for (const [at, found] of states.entries()) deepStrictEqual(found, states[0], `the state of ${names[at]}`)
}

function kindOf(reply: unknown): string {
  if (typeof reply !== 'object' || reply === null) return 'ok'
  if ('refused' in reply) return String(reply.refused)
  return 'applied' in reply && reply.applied === false ? 'repeated' : 'ok'
}
