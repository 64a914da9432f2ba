import type { Budget, BudgetWindow, KeyFacts, Part, UsageRecord } from '../core/call.ts'
import { cellKeys } from '../core/cell.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { periodEnd } from '../core/period.ts'
import { checkCommand, concurrencyRetryMs } from '../ledger/engine/admit.ts'
import { assert } from '../ledger/engine/assert.ts'
import type {
  Admit,
  AdmitReply,
  Assert,
  Command,
  Credit,
  Extend,
  LoadKey,
  Need,
  Reap,
  ReplyTo,
  Settle,
  Void,
} from '../ledger/engine/commands.ts'
import { maxPurses } from '../ledger/engine/invariants.ts'
import { merge, sumMoney } from '../ledger/engine/purses.ts'
import type { Metered } from '../ledger/engine/records.ts'
import { printJson } from './bigint-json.ts'
import { letterOf, stateOf, unpackParts } from './redis-records.ts'
import { mostNanos, windowCodes } from './redis-rules.ts'
import type { ScriptName } from './redis-scripts.ts'

/** What a script is given beside the run id, the epoch and the time. */
export interface ScriptCall {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly args: readonly (string | number | bigint)[]
}

/** What a script says: numbers as decimal text. */
export type Answer = readonly string[]

/** The largest facts or record that a hold may carry, in characters of JSON. */
const maxTextLength = 1_048_576
/** Different amounts among the needs of one command, each of them one unit that purses count in. */
const maxUnits = 16

type Args = readonly (string | number | bigint)[]
const list = (values: Args): Args => [values.length, ...values]

/** An amount that doubles hold exactly. Throws LedgerAssertion below zero, GatewayError above. */
function exact(amount: Nanos): Nanos {
  assert(amount >= 0n, 'an amount sent cannot be negative')
  if (amount > mostNanos)
    throw new GatewayError('billing_unavailable', 'An amount is too large to be billed here. Ask for less at once.')
  return amount
}

function whole(value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number sent is whole, zero or more')
  return value
}

function text(value: unknown): string {
  const json = printJson(value)
  if (json.length > maxTextLength) throw new GatewayError('billing_unavailable', 'A call is too large to be billed.')
  return json
}

function meteredArgs({ started, inputTokens, outputTokens, ...labels }: Metered): Args {
  // In one order, so that equal labels are equal text.
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return [started ? 1 : 0, whole(inputTokens), whole(outputTokens), text(Object.fromEntries(sorted))]
}

function needArgs(needs: readonly Need[]): Args {
  assert(needs.length <= maxPurses, 'needs are bounded')
  assert(new Set(needs.map(({ purse }) => purse)).size === needs.length, 'a purse is needed once')
  if (new Set(needs.map(({ amount }) => amount)).size > maxUnits)
    throw new GatewayError('billing_unavailable', 'The purses of this account count in too many units.')
  return list(needs.flatMap(({ purse, amount, asset }) => [purse, exact(amount), asset === undefined ? 0 : 1]))
}

function partArgs(parts: readonly Part[]): Args {
  return list(parts.flatMap(({ purse, lease, amount, asset }) => [purse, lease, exact(amount), asset ? 1 : 0]))
}

const budgetArgs = ({ window, limit }: Budget): Args => [windowCodes[window], exact(limit)]

function keyArgs(key: KeyFacts): Args {
  const { requestsPerMinute } = key
  assert(
    requestsPerMinute === undefined || Number.isSafeInteger(requestsPerMinute * 60_000),
    'a request limit is whole',
  )
  return [
    key.id,
    whole(key.version),
    key.concurrency ?? '',
    requestsPerMinute === undefined ? '' : whole(requestsPerMinute),
    ...list(key.budgets.flatMap(budgetArgs)),
  ]
}

/** What the scripts know of a record: what its parts are worth in money, and which of them money stands on last. */
function recordArgs(record: UsageRecord | undefined): Args {
  const parts = record?.parts ?? []
  const last = parts.findLast(({ asset }) => asset === undefined)
  const charged = parts.length === 0 ? 0 : last ? 1 : 2
  return [charged, exact(sumMoney(parts)), last?.purse ?? 0, last?.lease ?? 0, record ? text(record) : '']
}

const admit = (command: Admit): Args => {
  checkCommand(command)
  return [
    command.id,
    command.accountId,
    exact(command.estimate),
    whole(command.termMs),
    ...meteredArgs(command.metered),
    text(command.facts),
    ...needArgs(command.needs),
    ...command.keys.flatMap(keyArgs),
  ]
}

const extend = (command: Extend): Args => [command.accountId, exact(command.estimate), ...needArgs(command.needs)]

const none: Metered = { started: false, inputTokens: 0, outputTokens: 0, vendor: '', vendorModel: '' }

function end(command: Settle | Void | Reap): Args {
  const { id, accountId, record } = command
  if (record) {
    assert(record.id === id, 'a record is about its own hold')
    assert(record.accountId === accountId, 'a record charges the account of its hold')
    assert(record.charge === sumMoney(record.parts), 'a charge is the sum of its money parts')
  }
  assert(command.type !== 'void' || (record?.charge ?? 0n) === 0n, 'a void charges nothing')
  const [charged = 0, total = 0n, ...rest] = recordArgs(record)
  return [
    id,
    accountId,
    letterOf(({ settle: 'settled', void: 'voided', reap: 'reaped' } as const)[command.type]),
    whole(command.claimMs),
    ...meteredArgs(command.type === 'reap' ? command.metered : none),
    ...partArgs(merge(record?.parts ?? [], [])),
    total,
    charged,
    ...rest,
  ]
}

function credit({ status, purses }: Credit): Args {
  assert(new Set(purses.map(({ id }) => id)).size === purses.length, 'a purse is credited once')
  exact(purses.reduce((sum, { lent }) => sum + lent, 0n))
  const loans = purses.flatMap(({ id, lease, lent, expiresAtMs }) => [id, lease, exact(lent), expiresAtMs ?? -1])
  return [status === 'open' ? 0 : 1, ...list(loans)]
}

function loadKey({ key }: LoadKey): Args {
  assert(new Set(key.windows.map(({ window }) => window)).size === key.windows.length, 'a window is counted once')
  return [
    whole(key.version),
    key.status === 'active' ? 0 : 1,
    key.requestsLeft ?? '',
    key.requestsAtMs ?? '',
    ...list(key.windows.flatMap(({ window, period, spent }) => [windowCodes[window], period, exact(spent)])),
  ]
}

function assertHold({ id, accountId, hold, termMs }: Assert): Args {
  assert(hold.id === id, 'a hold is asserted under its own id')
  assert(hold.facts.accountId === accountId, 'a command names the account of its hold')
  const { keyIds } = hold.facts
  const budgets = (hold.budgets ?? []).flatMap(({ keyId, budgets: ofKey }) =>
    ofKey.flatMap((budget) => [keyIds.indexOf(keyId) + 1, ...budgetArgs(budget)]),
  )
  return [
    id,
    letterOf(hold.state),
    whole(termMs),
    accountId,
    exact(hold.estimate),
    ...list(keyIds),
    ...partArgs(hold.parts),
    ...list(budgets),
    ...meteredArgs(hold.metered),
    text(hold.facts),
    ...recordArgs(hold.record),
  ]
}

/**
 * The script of a command and what it reads. Throws LedgerAssertion where a rule is broken that needs no record, and
 * GatewayError where an amount is too large for Redis.
 */
export function callOf(command: Command, cell: number): ScriptCall {
  const { accountId } = command
  const cellNames = [cellKeys.mark(cell), cellKeys.deadlines(cell)]
  const ofAccount = [...cellNames, cellKeys.account(cell, accountId)]
  const ofHold = (id: string) => [...ofAccount, cellKeys.hold(cell, id)]
  switch (command.type) {
    case 'admit': {
      const chain = command.keys.map(({ id }) => cellKeys.key(cell, id))
      return { script: 'admit', keys: [...ofHold(command.id), ...chain], args: admit(command) }
    }
    case 'extend':
      return { script: 'extend', keys: ofHold(command.id), args: extend(command) }
    case 'checkpoint': {
      const args = [command.id, accountId, whole(command.termMs), ...meteredArgs(command.metered)]
      return { script: 'checkpoint', keys: ofHold(command.id), args }
    }
    case 'settle':
    case 'void':
    case 'reap':
      return { script: 'end', keys: ofHold(command.id), args: end(command) }
    case 'finalise': {
      const total = exact(command.total > 0n ? command.total : 0n)
      return { script: 'finalise', keys: ofHold(command.id), args: [command.id, accountId, total] }
    }
    case 'credit':
      return { script: 'credit', keys: ofAccount, args: credit(command) }
    case 'load_key':
      return { script: 'load_key', keys: [...cellNames, cellKeys.key(cell, command.key.id)], args: loadKey(command) }
    case 'stop':
      return { script: 'stop', keys: ofAccount, args: [1] }
    case 'assert':
      return { script: 'assert', keys: ofHold(command.id), args: assertHold(command) }
  }
}

/** The reply that a script's answer stands for. */
export function replyOf<C extends Command>(command: C, answer: Answer): ReplyTo<C> {
  // TypeScript cannot see that the answer to a command of this type reads as the reply to it.
  return reply(command, answer) as ReplyTo<C>
}

function reply(command: Command, answer: Answer): ReplyTo<Command> {
  const [code, first = '', second = ''] = answer
  switch (code) {
    case 'duplicate':
    case 'fenced':
      return { code, state: stateOf(first) }
    case 'gone':
    case 'moved':
      return { code }
    case 'funds':
      if (command.type === 'extend') return { code, available: BigInt(first) }
      return { code, available: BigInt(first), held: BigInt(second) }
    case 'ok':
      return ok(command, answer)
    default:
      if (command.type === 'admit') return refusal(command, answer)
      if (code === 'limit') return { code, what: 'budget', keyId: Number(first) }
      throw new RangeError(`a script answered ${command.type} with ${code}`)
  }
}

function ok(command: Command, answer: Answer): ReplyTo<Command> {
  if (command.type === 'extend') return { code: 'ok', parts: unpackParts(answer.slice(1).map(Number)) }
  if (command.type === 'admit') {
    const parts = unpackParts(answer.slice(5).map(Number))
    return { code: 'ok', parts, ...requests(command, answer.slice(2, 5)), available: BigInt(answer[1] ?? '0') }
  }
  if (command.type === 'settle' || command.type === 'void' || command.type === 'reap')
    return { code: 'ok', overflow: BigInt(answer[1] ?? '0') }
  return { code: 'ok' }
}

/** Which key of the chain from 1 (0: none has a limit), what remains, and when its bucket is full. */
function requests(command: Admit, [place, remaining, resetMs]: Answer) {
  const limit = command.keys[Number(place) - 1]?.requestsPerMinute
  return limit === undefined ? {} : { requests: { limit, remaining: Number(remaining), resetMs: Number(resetMs) } }
}

function refusal(command: Admit, answer: Answer): AdmitReply {
  const [code, first, ...places] = answer
  const idAt = (place: string | undefined) => command.keys[Number(place) - 1]?.id ?? 0
  if (code === 'load') return { code, account: first === '1', keys: places.map(idAt) }
  if (code === 'key_changed') return { code, keyId: idAt(first) }
  if (code === 'denied') return { code, what: first === 'key' ? 'key' : 'account' }
  if (code === 'limit') return limitOf(command, answer)
  throw new RangeError(`a script answered an admission with ${code}`)
}

function limitOf(command: Admit, answer: Answer): AdmitReply {
  const [, what, place, budgetPlace, retry, now, ...rest] = answer
  const key = command.keys[Number(place) - 1]
  const refused = { code: 'limit', keyId: key?.id ?? 0, ...requests(command, rest) } as const
  if (what === 'concurrency') return { ...refused, what, limit: key?.concurrency ?? 0, retryMs: concurrencyRetryMs }
  if (what === 'requests') return { ...refused, what, limit: key?.requestsPerMinute ?? 0, retryMs: Number(retry) }
  const budget = key?.budgets[Number(budgetPlace) - 1]
  const window: BudgetWindow = budget?.window ?? 'total'
  const retryMs = window === 'total' ? 0 : periodEnd(window, Number(now)) - Number(now)
  return { ...refused, what: 'budget', limit: budget?.limit ?? 0n, retryMs }
}
