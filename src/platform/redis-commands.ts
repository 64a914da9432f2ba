import type { Budget, BudgetWindow, KeyFacts, Part, UsageRecord } from '../core/call.ts'
import { cellKeys } from '../core/cell.ts'
import { GatewayError } from '../core/errors.ts'
import type { Nanos } from '../core/money.ts'
import { periodEnd } from '../core/period.ts'
import {
  counted,
  type Meter,
  type RateLimit,
  type Reserved,
  type TightestLimits,
  tokensOf,
} from '../core/rate-limit.ts'
import { checkCommand, concurrencyRetryMs } from '../ledger/engine/admit.ts'
import { assert } from '../ledger/engine/assert.ts'
import type {
  Admit,
  AdmitReply,
  Assert,
  Checkpoint,
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
import { checkHold, maxPurses } from '../ledger/engine/invariants.ts'
import { amountOf, refusedBy, tightest } from '../ledger/engine/limits.ts'
import { merge, sumMoney } from '../ledger/engine/purses.ts'
import type { KeyBudgets, Metered } from '../ledger/engine/records.ts'
import { printJson } from './bigint-json.ts'
import { letterOf, packNumbers, stateOf, unpackParts } from './redis-records.ts'
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
  return limits.length === 0 ? [] : [tokens, ...limits.flatMap(({ place, limit }) => [place, limitCode(limit), limit.limit])]
}

/** Every limit by time of a chain, leaf first, with its key's place in the chain. */
function limitsIn(keys: readonly KeyFacts[]): readonly { readonly place: number; readonly limit: RateLimit }[] {
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
    const count = limitsIn(command.keys).length
    const rest = answer.slice(5).map(Number)
    // Meters come last, behind the time, and there are as many as limits.
    const parts = count === 0 ? rest : rest.slice(0, -1 - 3 * count)
    const [nowMs = 0, ...numbers] = rest.slice(parts.length)
    const left = leftIn(command, answer.slice(2, 5), { numbers, nowMs, isCounted: true })
    return { code: 'ok', parts: unpackParts(parts), ...left, available: BigInt(answer[1] ?? '0') }
  }
  if (command.type === 'settle' || command.type === 'void' || command.type === 'reap')
    return { code: 'ok', overflow: BigInt(answer[1] ?? '0') }
  return { code: 'ok' }
}

/** What the scripts say of meters: three numbers each, as they were before the call counted. */
interface Told {
  readonly numbers: readonly number[]
  readonly nowMs: number
  readonly isCounted: boolean
}

function metersIn(command: Admit, { numbers, isCounted }: Told): readonly Placed[] {
  return limitsIn(command.keys).map(({ place, limit }, index) => {
    const [used = 0, rest = 0, atMs = 0] = numbers.slice(3 * index, 3 * index + 3)
    const { of, window, algorithm } = limit
    const meter: Meter = { of, window, algorithm, limit: limit.limit, used, rest, atMs }
    return { place, meter: isCounted ? counted(meter, amountOf(limit, command)) : meter }
  })
}

interface Placed {
  readonly place: number
  readonly meter: Meter
}

/**
 * Of all limits the tightest. The script has found it among the buckets of requests per minute: which key of the chain
 * from 1 (0: none has one), what remains, and when its bucket is full.
 */
function leftIn(command: Admit, [place, remaining, resetMs]: Answer, told: Told): TightestLimits {
  const at = Number(place)
  const limit = command.keys[at - 1]?.requestsPerMinute
  const meters = metersIn(command, told)
  const before = meters.filter((each) => limit !== undefined && each.place < at).map(({ meter }) => meter)
  const after = meters.slice(before.length).map(({ meter }) => meter)
  const left = limit !== undefined && { limit, remaining: Number(remaining), resetMs: Number(resetMs) }
  return tightest([...before, ...(left ? [{ of: 'requests', left } as const] : []), ...after], told.nowMs)
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
  const [, what, place, part, retry, now, ...rest] = answer
  const key = command.keys[Number(place) - 1]
  const told: Told = { numbers: rest.slice(3).map(Number), nowMs: Number(now), isCounted: false }
  const left = leftIn(command, rest, told)
  if (what === 'rate') {
    const full = metersIn(command, told)[Number(part) - 1]
    if (!full) throw new RangeError('a script named a limit that was not sent')
    const keyId = command.keys[full.place - 1]?.id ?? 0
    return { code: 'limit', ...left, ...refusedBy(full.meter, { keyId, command, nowMs: told.nowMs }) }
  }
  const refused = { code: 'limit', keyId: key?.id ?? 0, ...left } as const
  if (what === 'concurrency') return { ...refused, what, limit: key?.concurrency ?? 0, retryMs: concurrencyRetryMs }
  if (what === 'requests') return { ...refused, what, limit: key?.requestsPerMinute ?? 0, retryMs: Number(retry) }
  const budget = key?.budgets[Number(part) - 1]
  const window: BudgetWindow = budget?.window ?? 'total'
  const retryMs = window === 'total' ? 0 : periodEnd(window, Number(now)) - Number(now)
  return { ...refused, what: 'budget', limit: budget?.limit ?? 0n, retryMs }
}
