import { GatewayError } from '../core/errors.ts'
import { advanced, levelOf } from '../core/rate-limit.ts'
import type { Command } from '../ledger/engine/commands.ts'
import type { AccountRecord, HoldRecord, KeyRecord } from '../ledger/engine/records.ts'

/** What every store that runs the engine itself has in common. */

/** Records that nothing hangs on are dropped after this long and loaded again when they are needed. */
export const idleMs = 3_600_000

/** Keys whose records a command works on. */
export function keysOf(command: Command, hold: HoldRecord | undefined): readonly number[] {
  if (command.type === 'admit') return command.keys.map(({ id }) => id)
  if (command.type === 'load_key') return [command.key.id]
  return hold?.facts.keyIds ?? []
}

/** The books do not know that an account's records here are in doubt, and must not open it again. */
export function heeding<C extends Command>(command: C, { isBroken }: { isBroken: boolean }): C {
  return command.type === 'credit' && isBroken ? { ...command, status: 'stopped' } : command
}

/** An account after an assertion failed on it: stopped, whether or not there was a record of it. */
export function stopped(id: number, record: AccountRecord | undefined): AccountRecord {
  return { ...(record ?? { id, epoch: 0, purses: [] }), status: 'stopped' }
}

/**
 * A loan is known to the books by its total alone. How much of it is used stands only here, so a record that was
 * dropped would be lent the used part again.
 */
export function onLoan(account: AccountRecord): boolean {
  return account.purses.some((purse) => purse.held !== 0n || purse.available !== purse.lent)
}

/** Whether a meter of a key still counts something: a record that was dropped would begin it anew. */
export function isMetered({ meters = [] }: KeyRecord, nowMs: number): boolean {
  return meters.some((meter) => levelOf(advanced(meter, nowMs), nowMs) > 0)
}

/** What a caller hears of an account whose records are in doubt. */
export function notChargeable(cause: unknown): GatewayError {
  return new GatewayError('billing_unavailable', 'The account cannot be charged just now. Try again later.', { cause })
}
