import { expect, test } from 'vitest'
import type { Command } from '../../../src/ledger/engine/commands.ts'
import type { HoldRecord } from '../../../src/ledger/engine/records.ts'
import {
  accountId,
  accountRecord,
  admitCommand,
  finaliseCommand,
  keyRecord,
  machine,
  type Machine,
  metered,
  reapCommand,
  settleCommand,
  voidCommand,
  wallet,
} from './sample.ts'

/** The replica that serves the call, the reaper and the batcher, each as often and in whatever order. */
const commands: readonly Command[] = [
  admitCommand(),
  {
    type: 'checkpoint',
    id: 'call',
    accountId,
    metered: { ...metered, started: true, outputTokens: 3 },
    termMs: 30_000,
  },
  reapCommand([wallet(20n)]),
  settleCommand([wallet(45n)]),
  voidCommand(),
  finaliseCommand(30n),
]

/** What this one hold has cost so far, by the words of the state table. */
interface Seen {
  readonly charged: bigint
  readonly hold: HoldRecord | undefined
}

function chargeOf(command: Command, { hold }: Seen): bigint {
  if (!hold) return 0n
  const took = hold.record?.charge ?? 0n
  if (command.type === 'finalise') return command.total > took ? command.total - took : 0n
  if (hold.state !== 'held') return 0n
  if (command.type === 'settle') return command.record.charge
  return command.type === 'reap' && hold.metered.outputTokens === 0 ? command.record.charge : 0n
}

function copyOf(self: Machine): Machine {
  const copy = machine(self.account, ...self.keys.values())
  for (const [id, hold] of self.holds) copy.holds.set(id, hold)
  return copy
}

/** Walks every history of up to `depth` more commands; returns how many there are. */
function walk(self: Machine, charged: bigint, depth: number): number {
  if (depth === 0) return 0
  let histories = 0
  for (const command of commands) {
    const next = copyOf(self)
    const hold = self.holds.get('call')
    next.run(command)
    const after = charged + chargeOf(command, { charged, hold })
    verify(next, after)
    histories += 1 + walk(next, after, depth - 1)
  }
  return histories
}

function verify(self: Machine, charged: bigint): void {
  const hold = self.holds.get('call')
  const held = hold?.state === 'held' ? 40n : 0n
  const purse = self.account?.purses[0]
  const key = self.keys.get(5)
  // Plain comparisons: an expect for each of the histories would take most of the time.
  const isRight =
    purse?.held === held &&
    purse.available === 100n - held - charged &&
    key?.inFlight === (held > 0n ? 1 : 0) &&
    key.held === held &&
    key.windows[0]?.spent === charged
  if (!isRight) expect({ purse, key, hold, charged }).toBe('in balance')
}

test('every history of six commands for one hold leaves the money and the slot in balance', () => {
  const self = machine(accountRecord(100n), keyRecord(5, { windows: [{ window: 'total', period: 0, spent: 0n }] }))
  expect(walk(self, 0n, 6)).toBe(6 + 6 ** 2 + 6 ** 3 + 6 ** 4 + 6 ** 5 + 6 ** 6)
})
