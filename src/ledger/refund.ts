import type { Part } from '../core/call.ts'
import { GatewayError } from '../core/errors.ts'
import { printMoney, type Nanos } from '../core/money.ts'
import { printTokens } from '../core/tokens.ts'
import type { Database, Session } from '../db/database.ts'
import {
  callRows,
  closedCall,
  earlierRefund,
  grantsOfRefund,
  lockRefund,
  storeRefund,
  type CallRow,
} from '../db/refunds.ts'
import { lessParts, paidBy, unwindParts, type Return } from './purses.ts'

/** Rows that one call may have in the books: how it ended, a late settle, and its refunds. */
const rowLimit = 100

export interface RefundRequest {
  /** The call's: a UUIDv7. */
  readonly id: string
  /** Nano-units of its currency. */
  readonly amount?: Nanos | undefined
  /** Micro-tokens of packages. With neither of them all that is left is given back. */
  readonly tokens?: bigint | undefined
  readonly reason: string
  /** One reference is refunded once, over all calls. */
  readonly ref: string
}

export interface Refund {
  /** False where it was in the books already. */
  readonly applied: boolean
  readonly accountId: number
  readonly currency: string
  readonly given: Return
  /** What the call is charged now. */
  readonly charged: Return
  /** Grants that were made because one that had paid has ended. */
  readonly grants: readonly number[]
}

/**
 * Gives a charge back, all of it or a part: whatever paid last gets its own again first, and no more is ever given back
 * than was charged. Doing it again changes nothing. GatewayError `not_found` where no such call has ended, `conflict`
 * where less is left, or where the reference stands for something else.
 */
export function refund(database: Database, wanted: RefundRequest, nowMs: number): Promise<Refund> {
  return database.transaction(async (session) => {
    await lockRefund(session, wanted.ref, wanted.id)
    const earlier = await earlierRefund(session, wanted.ref, wanted.id)
    return earlier ? again(session, wanted, earlier.seq) : give(session, wanted, nowMs)
  })
}

async function give(session: Session, wanted: RefundRequest, nowMs: number): Promise<Refund> {
  const rows = await closedCall(session, wanted.id)
  const [first] = rows
  if (!first) throw new GatewayError('not_found', 'No call of this id has ended.', { param: 'usage_id' })
  if (rows.length >= rowLimit) throw new GatewayError('conflict', `A call has at most ${rowLimit} entries.`)
  const charged = chargedBy(rows)
  const given = wantedOf(wanted, charged)
  const returned = byPurse(unwindParts(unreturned(rows), given))
  const { accountId, currency } = first
  // Seq 1 is a late settle's.
  const seq = Math.max(1, ...rows.map((row) => row.seq)) + 1
  const { id, ref, reason } = wanted
  const grants = await storeRefund(session, { id, seq, amount: given.money, returned, ref, reason, nowMs })
  const left = { money: charged.money - given.money, tokens: charged.tokens - given.tokens }
  return { applied: true, accountId, currency, given, charged: left, grants }
}

async function again(session: Session, wanted: RefundRequest, seq: number | undefined): Promise<Refund> {
  const rows = await callRows(session, wanted.id)
  const row = rows.find((one) => one.seq === seq)
  const given = row && paidBy(row.parts.map((part) => ({ ...part, amount: -part.amount })))
  const { amount = given?.money, tokens = given?.tokens } = onlyGiven(wanted)
  if (!row || !given || amount !== given.money || tokens !== given.tokens)
    throw new GatewayError('conflict', 'The reference was already used for another refund. It is given once.', {
      param: 'reference',
    })
  const { accountId, currency } = row
  const grants = await grantsOfRefund(session, { accountId, id: wanted.id, seq: row.seq })
  return { applied: false, accountId, currency, given, charged: chargedBy(rows), grants }
}

/** Who names one of the two means nothing of the other. */
function onlyGiven({ amount, tokens }: RefundRequest): { readonly amount?: Nanos; readonly tokens?: bigint } {
  if (amount === undefined && tokens === undefined) return {}
  return { amount: amount ?? 0n, tokens: tokens ?? 0n }
}

/** What the rows charge together. */
function chargedBy(rows: readonly CallRow[]): Return {
  return paidBy(rows.flatMap(({ parts }) => parts))
}

/**
 * The parts that have paid, less what they got back. A late settle may have given money to a purse that had paid none;
 * then the sum of these is more than what the call is charged, which bounds what is given back.
 */
function unreturned(rows: readonly CallRow[]): readonly Part[] {
  const parts = rows.flatMap((row) => row.parts)
  const back = parts.filter(({ amount }) => amount < 0n).map((part) => ({ ...part, amount: -part.amount }))
  return lessParts(
    parts.filter(({ amount }) => amount > 0n),
    back,
  )
}

function wantedOf(wanted: RefundRequest, charged: Return): Return {
  const { amount = charged.money, tokens = charged.tokens } = onlyGiven(wanted)
  if (amount <= charged.money && tokens <= charged.tokens && (amount > 0n || tokens > 0n))
    return { money: amount, tokens }
  const left = [printMoney(charged.money), ...(charged.tokens > 0n ? [`${printTokens(charged.tokens)} tokens`] : [])]
  throw new GatewayError('conflict', `Of this call ${left.join(' and ')} can be given back.`, {
    param: tokens > charged.tokens ? 'tokens' : 'amount',
  })
}

/** A purse may have paid on two leases; what it gets back is free, so it gets it at once. */
function byPurse(parts: readonly Part[]): readonly Part[] {
  const joined = new Map<number, Part>()
  for (const part of parts) {
    const amount = part.amount + (joined.get(part.purse)?.amount ?? 0n)
    joined.set(part.purse, { ...part, lease: 0, amount })
  }
  return [...joined.values()]
}
