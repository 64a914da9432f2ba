import type { Budget, KeyFacts, Part, UsageRecord } from '../core/call.ts'
import { cellKeys } from '../core/cell.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { type RateLimit, type Reserved, tokensOf } from '../core/rate-limit.ts'
import { checkCommand } from '../ledger/engine/admit.ts'
import { assert } from '../ledger/engine/assert.ts'
import type {
  Admit,
  Assert,
  Checkpoint,
  Command,
  Credit,
  Extend,
  LoadKey,
  Need,
  Reap,
  Settle,
  Void,
} from '../ledger/engine/commands.ts'
import { checkHold, maxPurses } from '../ledger/engine/invariants.ts'
import { merge, sumMoney } from '../ledger/engine/purses.ts'
import type { KeyBudgets, Metered } from '../ledger/engine/records.ts'
import { printJson } from './bigint-json.ts'
import { letterOf, packNumbers } from './redis-records.ts'
import { limitCode } from './redis-meter-rules.ts'
import { mostNanos, windowCodes } from './redis-rules.ts'
import type { ScriptName } from './redis-scripts.ts'

/** What a script is given beside the mark, the epoch and the time. */
export interface ScriptCall {
  readonly script: ScriptName
  readonly keys: readonly string[]
  readonly numbers: Numbers
  readonly texts: readonly (string | Buffer)[]
}

type Numbers = readonly (number | bigint)[]
type Given = Pick<ScriptCall, 'numbers' | 'texts'>

/** What a script says: numbers as decimal text. */
export type Answer = readonly string[]

/** The largest facts or record that a hold may carry, in characters of JSON. */
const maxTextLength = 1_048_576
/** Different amounts among the needs of one command, each of them one unit that purses count in. */
const maxUnits = 16

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

const countsOf = ({ started, inputTokens, outputTokens }: Metered): Numbers => [
  started ? 1 : 0,
  whole(inputTokens),
  whole(outputTokens),
]

function labelsOf({ started: _, inputTokens: __, outputTokens: ___, ...labels }: Metered): string {
  // In one order, so that equal labels are equal text.
  const sorted = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return text(Object.fromEntries(sorted))
}

function needNumbers(needs: readonly Need[]): Numbers {
  assert(needs.length <= maxPurses, 'needs are bounded')
  assert(new Set(needs.map(({ purse }) => purse)).size === needs.length, 'a purse is needed once')
  if (new Set(needs.map(({ amount }) => amount)).size > maxUnits)
    throw new GatewayError('billing_unavailable', 'The purses of this account count in too many units.')
  return needs.flatMap(({ purse, amount, asset }) => [purse, exact(amount), asset === undefined ? 0 : 1])
}

function partNumbers(parts: readonly Part[]): Numbers {
  return parts.flatMap(({ purse, lease, amount, asset }) => [purse, lease, exact(amount), asset ? 1 : 0])
}

const budgetNumbers = ({ window, limit }: Budget): Numbers => [windowCodes[window], exact(limit)]

function keyNumbers(key: KeyFacts): Numbers {
  const { version, concurrency = -1, requestsPerMinute = -1 } = key
  assert(Number.isSafeInteger(requestsPerMinute * 60_000), 'a request limit is whole')
  assert(requestsPerMinute >= 0 || key.requestsPerMinute === undefined, 'a request limit is zero or more')
  assert(concurrency >= 0 || key.concurrency === undefined, 'a limit of calls at once is zero or more')
  const budgets = key.budgets.flatMap(budgetNumbers)
  return [whole(version), concurrency, requestsPerMinute, budgets.length, ...budgets]
}

/**
 * The chain as a hold keeps it: the ids of the keys, then their budgets, three numbers each, the key's place first, and
 * what tokens it reserved, in as many numbers.
 */
function chainOf(
  keyIds: readonly number[],
  budgets: readonly KeyBudgets[],
  reserved?: Reserved,
): { budgets: number; bytes: Buffer } {
  const placed = budgets.flatMap(({ keyId, budgets: ofKey }) =>
    ofKey.flatMap((budget) => [keyIds.indexOf(keyId) + 1, ...budgetNumbers(budget)]),
  )
  // Where a key's place would stand is 0.
  const all = reserved ? [...placed, 0, reserved.atMs, reserved.tokens] : placed
  return { budgets: all.length, bytes: packNumbers([...keyIds, ...all]) }
}

/** What the scripts know of a record: what its parts are worth in money, and which of them money stands on last. */
function recordNumbers(record: UsageRecord | undefined): { charged: number; took: Nanos; last: Numbers } {
  const parts = record?.parts ?? []
  const last = parts.findLast(({ asset }) => asset === undefined)
  const charged = parts.length === 0 ? 0 : last ? 1 : 2
  return { charged, took: exact(sumMoney(parts)), last: [last?.purse ?? 0, last?.lease ?? 0] }
}

function admit(command: Admit): Given {
  checkCommand(command)
  const { id, accountId, estimate, termMs, metered, facts, keys } = command
  const needs = needNumbers(command.needs)
  const chain = chainOf(
    facts.keyIds,
    keys.map((key) => ({ keyId: key.id, budgets: key.budgets })),
  )
  const sizes = [chain.budgets, needs.length]
  return {
    numbers: [
      accountId,
      exact(estimate),
      whole(termMs),
      ...countsOf(metered),
      ...sizes,
      ...needs,
      ...keys.flatMap(keyNumbers),
      ...limitNumbers(command),
    ],
    texts: [id, labelsOf(metered), text(facts), chain.bytes],
  }
}

/** Nothing where no key of the chain is limited by time. */
function limitNumbers({ keys, tokens = 0 }: Admit): Numbers {
  const limits = limitsIn(keys)
  return limits.length === 0
    ? []
    : [tokens, ...limits.flatMap(({ place, limit }) => [place, limitCode(limit), limit.limit])]
}

/** Every limit by time of a chain, leaf first, with its key's place in the chain. */
export function limitsIn(keys: readonly KeyFacts[]): readonly { readonly place: number; readonly limit: RateLimit }[] {
  return keys.flatMap(({ limits = [] }, index) => limits.map((limit) => ({ place: index + 1, limit })))
}

const extend = ({ accountId, estimate, needs }: Extend): Given => ({
  numbers: [accountId, exact(estimate), ...needNumbers(needs)],
  texts: [],
})

const checkpoint = ({ id, accountId, termMs, metered }: Checkpoint): Given => ({
  numbers: [accountId, whole(termMs), ...countsOf(metered)],
  texts: [id, labelsOf(metered)],
})

function end(command: Settle | Void | Reap): Given {
  const { id, accountId, claimMs, record } = command
  if (record) {
    assert(record.id === id, 'a record is about its own hold')
    assert(record.accountId === accountId, 'a record charges the account of its hold')
    assert(record.charge === sumMoney(record.parts), 'a charge is the sum of its money parts')
  }
  assert(command.type !== 'void' || (record?.charge ?? 0n) === 0n, 'a void charges nothing')
  const { charged, took, last } = recordNumbers(record)
  const state = ({ settle: 'settled', void: 'voided', reap: 'reaped' } as const)[command.type]
  const counts = command.type === 'reap' ? countsOf(command.metered) : [0, 0, 0]
  const paid = partNumbers(merge(record?.parts ?? [], []))
  const tokens = whole(tokensOf(record?.usage.counts ?? {}))
  return {
    numbers: [accountId, whole(claimMs), ...counts, took, charged, ...last, tokens, ...paid],
    texts: [
      id,
      letterOf(state),
      record ? text(record) : '',
      ...(command.type === 'reap' ? [labelsOf(command.metered)] : []),
    ],
  }
}

function credit({ status, purses }: Credit): Given {
  assert(new Set(purses.map(({ id }) => id)).size === purses.length, 'a purse is credited once')
  exact(purses.reduce((sum, { lent }) => sum + lent, 0n))
  const loans = purses.flatMap(({ id, lease, lent, expiresAtMs }) => [id, lease, exact(lent), expiresAtMs ?? -1])
  return { numbers: [status === 'open' ? 0 : 1, ...loans], texts: [] }
}

function loadKey({ key }: LoadKey): Given {
  assert(new Set(key.windows.map(({ window }) => window)).size === key.windows.length, 'a window is counted once')
  const { status, requestsLeft = -1, requestsAtMs = -1 } = key
  const windows = key.windows.flatMap(({ window, period, spent }) => [windowCodes[window], period, exact(spent)])
  return {
    numbers: [whole(key.version), status === 'active' ? 0 : 1, requestsLeft, requestsAtMs, ...windows],
    texts: [],
  }
}

function assertHold({ id, accountId, hold, termMs }: Assert): Given {
  const { own: _, ...asserted } = hold
  checkHold(asserted)
  assert(hold.id === id, 'a hold is asserted under its own id')
  assert(hold.facts.accountId === accountId, 'a command names the account of its hold')
  const { keyIds } = hold.facts
  const chain = chainOf(keyIds, hold.budgets ?? [], hold.reserved)
  const { charged, took, last } = recordNumbers(hold.record)
  const head = [accountId, whole(termMs), exact(hold.estimate), ...countsOf(hold.metered)]
  return {
    numbers: [...head, charged, took, ...last, keyIds.length, chain.budgets, ...partNumbers(hold.parts)],
    texts: [
      id,
      letterOf(hold.state),
      labelsOf(hold.metered),
      text(hold.facts),
      hold.record ? text(hold.record) : '',
      chain.bytes,
    ],
  }
}

/**
 * The script of a command and what it reads. Throws LedgerAssertion where a rule is broken that needs no record, and
 * GatewayError where an amount is too large for Redis.
 */
export function callOf(command: Command, cell: number): ScriptCall {
  const mark = cellKeys.mark(cell)
  const account = cellKeys.account(cell, command.accountId)
  const deadlines = cellKeys.deadlines(cell)
  const holdOf = (id: string) => cellKeys.hold(cell, id)
  switch (command.type) {
    case 'admit': {
      const chain = command.keys.map(({ id }) => cellKeys.key(cell, id))
      const keys = [mark, holdOf(command.id), account, ...chain, deadlines]
      return { script: 'admit', keys, ...admit(command) }
    }
    case 'extend':
      return { script: 'extend', keys: [mark, holdOf(command.id), account], ...extend(command) }
    case 'checkpoint':
      return { script: 'checkpoint', keys: [mark, holdOf(command.id), deadlines], ...checkpoint(command) }
    case 'settle':
    case 'void':
    case 'reap':
      return { script: 'end', keys: [mark, holdOf(command.id), account, deadlines], ...end(command) }
    case 'finalise': {
      const numbers = [command.accountId, exact(command.total > 0n ? command.total : 0n)]
      const keys = [mark, holdOf(command.id), account, deadlines]
      return { script: 'finalise', keys, numbers, texts: [command.id] }
    }
    case 'credit':
      return { script: 'credit', keys: [mark, account], ...credit(command) }
    case 'load_key':
      return { script: 'load_key', keys: [mark, cellKeys.key(cell, command.key.id)], ...loadKey(command) }
    case 'stop':
      return { script: 'stop', keys: [mark, account], numbers: [1], texts: [] }
    case 'assert':
      return { script: 'assert', keys: [mark, holdOf(command.id), deadlines], ...assertHold(command) }
  }
}
