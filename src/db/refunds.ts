import type { Part } from '../core/call.ts'
import type { Nanos } from '../core/money.ts'
import { tokenAsset } from '../core/tokens.ts'
import type { Row, Session } from './database.ts'
import * as statements from './refund-statements.ts'
import { dayOf } from './usage-row.ts'

/*
 * The steps of a refund inside one transaction, in the order in which they stand here. What is given back to whom is
 * reckoned in ledger/refund.ts.
 */

/** One row of a call in the books. */
export interface CallRow {
  readonly seq: number
  readonly accountId: number
  readonly charge: Nanos
  readonly currency: string
  /** In burn order; of a refund below zero. */
  readonly parts: readonly Part[]
}

/** What a reference already stands for. */
export interface EarlierRefund {
  /** The row of the call; undefined where the reference is another call's. */
  readonly seq: number | undefined
}

export interface RefundRow {
  readonly id: string
  readonly seq: number
  /** More than zero where money is given back. */
  readonly amount: Nanos
  /** What each purse gets; each purse once. */
  readonly returned: readonly Part[]
  readonly ref: string
  readonly reason: string
  readonly nowMs: number
}

const entryOf = (ref: string): string => `refund:${ref}`

/** Keeps other refunds under this reference and of this call out until the transaction ends. */
export async function lockRefund(session: Session, ref: string, id: string): Promise<void> {
  await session.query(statements.lockReference, [ref])
  await session.query(statements.lockCall, [id])
}

export async function earlierRefund(session: Session, ref: string, id: string): Promise<EarlierRefund | undefined> {
  const found = await session.query<{ seq: number | null }>(statements.refundOf, [entryOf(ref), dayOf(id), id])
  return found[0] && { seq: found[0].seq ?? undefined }
}

/** All rows of a call, none where the books have none. No late settle changes what they charge from now on. */
export async function closedCall(session: Session, id: string): Promise<readonly CallRow[]> {
  await session.query(statements.closeReaped, [dayOf(id), id])
  return callRows(session, id)
}

interface StoredPart {
  readonly purse: number
  readonly lease: number
  readonly amount: string
  readonly asset: string | null
}

interface StoredRow extends Row {
  readonly seq: number
  readonly account_id: bigint
  readonly charge: bigint
  readonly currency: string
  readonly parts: readonly StoredPart[]
}

export async function callRows(session: Session, id: string): Promise<readonly CallRow[]> {
  const rows = await session.query<StoredRow>(statements.callRows, [dayOf(id), id])
  return rows.map(({ seq, account_id: accountId, charge, currency, parts }) => ({
    seq,
    accountId: Number(accountId),
    charge,
    currency,
    parts: parts.map(partOf),
  }))
}

function partOf({ purse, lease, amount, asset }: StoredPart): Part {
  return { purse, lease, amount: BigInt(amount), ...(asset === tokenAsset && { asset: tokenAsset }) }
}

/**
 * Stores a refund and posts it: each purse gets its own back at once, and what would go to a grant that has ended goes
 * to a new one of the same restrictions. Gives the ids of new grants.
 */
export async function storeRefund(session: Session, row: RefundRow): Promise<readonly number[]> {
  const { id, seq, amount, returned, ref, reason, nowMs } = row
  const parts = returned.map((part) => ({ purse: part.purse, amount: (-part.amount).toString() }))
  const parameters = [dayOf(id), id, seq, -amount, JSON.stringify(parts), entryOf(ref), reason]
  await session.query(statements.refund, parameters)
  const moment = new Date(nowMs)
  const purses = JSON.stringify(returned.map(({ purse }) => purse))
  const source = sourceOf(id, seq)
  const grants: number[] = []
  for (const { id: ended } of await session.query<{ id: bigint }>(statements.endedPurses, [purses, moment])) {
    const back = returned.find(({ purse }) => BigInt(purse) === ended)?.amount ?? 0n
    const again = [ended, back, source, `${source} on ${ended}`, moment]
    for (const made of await session.query<{ id: bigint }>(statements.grantAgain, again)) grants.push(Number(made.id))
  }
  return grants
}

/** The grants that a refund has made. */
export async function grantsOfRefund(
  session: Session,
  { accountId, id, seq }: { readonly accountId: number; readonly id: string; readonly seq: number },
): Promise<readonly number[]> {
  const made = await session.query<{ id: bigint }>(statements.grantsFrom, [accountId, sourceOf(id, seq)])
  return made.map((grant) => Number(grant.id))
}

const sourceOf = (id: string, seq: number): string => `refund ${id}/${seq}`
