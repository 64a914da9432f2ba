import type { BudgetWindow } from '../core/call.ts'
import { periodEnd } from '../core/period.ts'
import { counted, type Meter, type TightestLimits } from '../core/rate-limit.ts'
import { concurrencyRetryMs } from '../ledger/engine/admit.ts'
import type { Admit, AdmitReply, Command, ReplyTo } from '../ledger/engine/commands.ts'
import { amountOf, refusedBy, tightest } from '../ledger/engine/limits.ts'
import { type Answer, limitsIn } from './redis-commands.ts'
import { stateOf, unpackParts } from './redis-records.ts'

/** What the scripts of `redis-scripts.ts` answer, as replies of the engine. */

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
