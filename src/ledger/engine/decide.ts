import { admit } from './admit.ts'
import type { Command, Decision } from './commands.ts'
import { finalise, reap, settle, voidHold } from './end.ts'
import { checkAccount, checkHold, checkKey } from './invariants.ts'
import { assertHold, checkpoint, credit, extend, loadKey, stop } from './live.ts'
import type { Records } from './records.ts'

type Rules = {
  readonly [Type in Command['type']]: (
    records: Records,
    command: Extract<Command, { type: Type }>,
    nowMs: number,
  ) => Decision<Extract<Command, { type: Type }>>
}

const rules: Rules = {
  admit,
  extend,
  checkpoint,
  settle,
  void: voidHold,
  reap,
  finalise,
  credit,
  load_key: loadKey,
  assert: assertHold,
  stop,
}

/**
 * The rules of the ledger: what one command does to the records that it names. Reads nothing but its arguments, and
 * changes none of them: store every record of the decision, or none. Throws LedgerAssertion where a rule is broken;
 * then nothing may be stored, and the account must be stopped.
 */
export function decide<C extends Command>(records: Records, command: C, nowMs: number): Decision<C> {
  // TypeScript cannot see that the rule found by a command's type is the rule for that command.
  const rule = rules[command.type] as unknown as (records: Records, command: C, nowMs: number) => Decision<C>
  const decision = rule(records, command, nowMs)
  if (decision.account) checkAccount(decision.account)
  decision.keys?.forEach(checkKey)
  if (decision.hold) checkHold(decision.hold)
  return decision
}
