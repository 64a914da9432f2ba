import { deepStrictEqual } from 'node:assert'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { cellCount, cellKeys, cellOf } from '../../src/core/cell.ts'
import { GatewayError } from '../../src/core/errors.ts'
import type { Command } from '../../src/ledger/engine/commands.ts'
import type { HoldRecord } from '../../src/ledger/engine/records.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openRedis, type RedisShared } from '../../src/platform/redis.ts'
import { textKey, unpackHold } from '../../src/platform/redis-records.ts'
import { accountId, noon } from '../ledger/engine/sample.ts'
import { createModel, type Model } from './model.ts'
import type { Step } from './steps.ts'

/** The engine and the scripts, side by side. */
export interface Comparison {
  /** Runs a history on both, from nothing; throws at the first difference. Returns how many commands it had. */
  play(steps: readonly Step[]): Promise<number>
  /** How often each command got each reply. */
  readonly seen: ReadonlyMap<string, number>
  close(): void
}

/** Another account in the cell of the first. */
export function neighbour(): number {
  for (let id = accountId + 1; id < accountId + 100 * cellCount; id++) if (cellOf(id) === cellOf(accountId)) return id
  throw new Error('no account shares the cell')
}

/** Opens a comparison against a Redis that is emptied for each history. */
export async function openComparison(url: string): Promise<Comparison> {
  const clock = { nowMs: noon }
  const seen = new Map<string, number>()
  const played: (Command | string)[] = []
  const raw = new Redis(url)
  const shared = await openRedis({
    address: { url },
    clock: systemClock,
    commandMs: 10_000,
    testClock: { now: () => clock.nowMs },
    log: (event, fields) => console.warn(event, fields),
    onAssertion() {},
  })
  const cell = cellOf(accountId)
  const other = neighbour()

  async function act(model: Model, step: Step): Promise<void> {
    clock.nowMs = model.nowMs
    if (step.do !== 'command') played.push(step.do === 'pass' ? `pass ${step.ms}` : step.do)
    if (step.do === 'pass') model.nowMs += step.ms
    else if (step.do === 'begin') {
      model.begin(model.epoch + 1)
      await shared.begin(shared.spenderOf(accountId), model.epoch)
    } else if (step.do === 'claim') {
      const sorted = (holds: readonly HoldRecord[]) => holds.toSorted((a, b) => (a.id < b.id ? -1 : 1))
      deepStrictEqual(sorted((await shared.claim(100, 10_000)).holds), sorted(model.claim(10_000)))
    } else {
      const command = step.make(model)
      if (!command) return
      played.push(command)
      const outcome = outcomeInModel(model, command)
      deepStrictEqual(await outcomeInRedis(shared, command), outcome, command.type)
      const name = `${command.type} ${'refused' in outcome ? outcome.refused : outcome.reply.code}`
      seen.set(name, (seen.get(name) ?? 0) + 1)
    }
  }
  async function compareStates(model: Model): Promise<void> {
    for (const id of [accountId, other]) deepStrictEqual(await shared.account(id), model.accounts.get(id))
    for (const id of [5, 6, 11, -accountId]) deepStrictEqual(await shared.key(accountId, id), model.keys.get(id))
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      const name = cellKeys.hold(cell, id)
      const [bytes, texts] = await raw.mgetBuffer(name, textKey(name))
      const hold = bytes && texts ? unpackHold(bytes, texts, id) : undefined
      deepStrictEqual(hold, model.holds.get(id) ?? model.old.get(id))
    }
  }
  return {
    seen,
    async play(steps) {
      await raw.flushall()
      const model = createModel(noon)
      await shared.begin(shared.spenderOf(accountId), 1)
      played.length = 0
      try {
        for (const step of steps) await act(model, step)
        await compareStates(model)
      } catch (error) {
        // What a step does hangs on those before it, so a failure names the commands that it came to.
        throw new Error(played.map((each) => inspect(each, { depth: 8, breakLength: 200 })).join('\n'), {
          cause: error,
        })
      }
      return played.filter((each) => typeof each === 'object').length
    },
    close() {
      shared.close()
      raw.disconnect()
    },
  }
}

type Outcome = { readonly reply: { readonly code: string } } | { readonly refused: string }

async function outcomeInRedis(shared: RedisShared, command: Command): Promise<Outcome> {
  try {
    return { reply: await shared.run(command) }
  } catch (error) {
    if (error instanceof GatewayError) return { refused: error.code }
    throw error
  }
}

function outcomeInModel(model: Model, command: Command): Outcome {
  try {
    return { reply: model.run(command) }
  } catch (error) {
    if (error instanceof GatewayError) return { refused: error.code }
    throw error
  }
}
