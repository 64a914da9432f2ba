import type { Part, UsageRecord } from '../../core/call.ts'
import type { Nanos } from '../../core/money.ts'
import { tokensOf } from '../../core/rate-limit.ts'
import { assert } from './assert.ts'
import type { Decision, EndReply, Finalise, Reap, Settle, Void } from './commands.ts'
import { release, spend } from './keys.ts'
import { withTokens } from './limits.ts'
import { ownParts } from './own.ts'
import { merge, overflow, payOut, sumMoney } from './purses.ts'
import type { AccountRecord, HoldRecord, HoldState, KeyRecord, Metered, Records } from './records.ts'

/** Charges what was used and gives the rest back. Only from `held`; whoever comes second hears how the hold ended. */
export function settle(records: Records, command: Settle, nowMs: number): Decision<Settle> {
  const { hold } = records
  const ended = alreadyEnded(hold)
  if (ended || !hold) return { reply: ended ?? { code: 'gone' } }
  checkRecord(hold, command)
  return end(records, { hold, state: 'settled', record: command.record, dueMs: nowMs + command.claimMs, nowMs })
}

/** Gives everything back: nothing was delivered. */
export function voidHold(records: Records, command: Void, nowMs: number): Decision<Void> {
  const { hold } = records
  const ended = alreadyEnded(hold)
  if (ended || !hold) return { reply: ended ?? { code: 'gone' } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  if (command.record) checkRecord(hold, { ...command, record: command.record })
  assert(!command.record || command.record.charge === 0n, 'a void charges nothing')
  return end(records, { hold, state: 'voided', record: command.record, dueMs: nowMs + command.claimMs, nowMs })
}

/** Ends a hold whose gateway died, at what it had checkpointed; not if it lives and has checkpointed more by now. */
export function reap(records: Records, command: Reap, nowMs: number): Decision<Reap> {
  const { hold } = records
  const ended = alreadyEnded(hold)
  if (ended || !hold) return { reply: ended ?? { code: 'gone' } }
  if (!sameMetered(hold.metered, command.metered)) return { reply: { code: 'moved' } }
  checkRecord(hold, command)
  return end(records, { hold, state: 'reaped', record: command.record, dueMs: nowMs + command.claimMs, nowMs })
}

/**
 * Drops a hold that the books have. Where they charged more than the record took (a settle that came after a reap),
 * the difference comes off here too. Where they charged less, nothing is given back: what they returned went to the
 * wallet, and it must not be lent twice. A hold that still runs here but has ended there ends now, at their total.
 */
export function finalise(records: Records, command: Finalise, nowMs: number): Decision<Finalise> {
  const { hold } = records
  if (!hold) return { reply: { code: 'gone' } }
  assert(hold.facts.accountId === command.accountId, 'a command names the account of its hold')
  const { state } = hold
  const total = command.total > 0n ? command.total : 0n
  if (state === 'held') {
    const paid = spread(hold.parts, total, lastPurse(records, hold))
    return { ...changes(records, hold, { paid, charge: total, nowMs }), reply: { code: 'ok' }, dropHold: true }
  }
  assert(state === 'voided' || hold.record !== undefined, 'a charged hold keeps its record')
  const took = state === 'voided' ? 0n : sumMoney(hold.record?.parts ?? [])
  if (total <= took) return { reply: { code: 'ok' }, dropHold: true }
  const paid = spread([], total - took, lastPurse(records, hold))
  const { keyIds } = hold.facts
  const touched = takeMore(records, { paid, charge: total - took, nowMs, aside: [], keyIds })
  return { ...touched, reply: { code: 'ok' }, dropHold: true }
}

function alreadyEnded(hold: HoldRecord | undefined): Exclude<EndReply, { code: 'ok' }> | undefined {
  if (!hold) return { code: 'gone' }
  return hold.state === 'held' ? undefined : { code: 'duplicate', state: hold.state }
}

function checkRecord(
  hold: HoldRecord,
  { id, accountId, record }: { id: string; accountId: number; record: UsageRecord },
): void {
  assert(hold.facts.accountId === accountId, 'a command names the account of its hold')
  assert(record.id === id && hold.id === id, 'a record is about its own hold')
  assert(record.accountId === accountId, 'a record charges the account of its hold')
  // A part in tokens is what a package pays: it is no money, and so it is no part of the charge.
  assert(record.charge === sumMoney(record.parts), 'a charge is the sum of its parts')
}

interface Ended {
  readonly hold: HoldRecord
  readonly state: Exclude<HoldState, 'held'>
  readonly record: UsageRecord | undefined
  readonly dueMs: number
  readonly nowMs: number
}

function end(records: Records, { hold, state, record, dueMs, nowMs }: Ended) {
  assert(hold.state === 'held', 'a hold ends once')
  const paid = record?.parts ?? []
  const charge = record?.charge ?? 0n
  assert(state !== 'voided' || charge === 0n, 'a void charges nothing')
  const tokens = tokensOf(record?.usage.counts ?? {})
  return {
    ...changes(records, hold, { paid, charge, nowMs, tokens }),
    reply: { code: 'ok', overflow: overflow(hold.parts, paid) },
    hold: { ...hold, state, dueMs, ...(record && { record }) },
  } as const
}

interface Payment {
  readonly paid: readonly Part[]
  readonly charge: Nanos
  readonly nowMs: number
  /** How many the call had; absent where the books told of its end: then what was reserved stays counted. */
  readonly tokens?: number
}

/** The account and keys after a live hold has ended: what is set aside here is back, what is paid is gone. */
function changes(records: Records, hold: HoldRecord, payment: Payment): Touched {
  assert(hold.state === 'held', 'a hold gives back once')
  const aside = ownParts(hold)
  if (hold.recovered) return takeMore(records, { ...payment, aside, keyIds: hold.facts.keyIds })
  const { account, keys } = records
  const { charge, nowMs, tokens } = payment
  assert(account !== undefined, 'the account of a live hold is loaded')
  return {
    account: payOut(account, aside, payment.paid),
    keys: hold.facts.keyIds.map((id) => {
      const key = keys.get(id)
      assert(key !== undefined, 'the keys of a live hold are loaded')
      const released = spend(release(key, hold.estimate), charge, nowMs)
      return tokens === undefined ? released : withTokens(released, hold, { tokens, nowMs })
    }),
  }
}

interface Taking extends Payment {
  readonly aside: readonly Part[]
  readonly keyIds: readonly number[]
}

/** Takes a charge that no key here counts as held. What is not loaded is rebuilt from the books when it is. */
function takeMore({ account, keys }: Records, { aside, keyIds, paid, charge, nowMs }: Taking): Touched {
  assert(charge >= sumMoney(paid), 'no more is paid than is charged')
  assert(account !== undefined || aside.length === 0, 'the account of what is set aside is loaded')
  const counted = keyIds.flatMap((id) => keys.get(id) ?? [])
  return {
    ...(account && { account: payOut(account, aside, paid) }),
    keys: counted.map((key) => spend(key, charge, nowMs)),
  }
}

interface Touched {
  readonly account?: AccountRecord
  readonly keys: readonly KeyRecord[]
}

/**
 * Lets the parts pay a total of money in burn order; what is above all of them is the last purse's. How many tokens
 * the books took is not known here, so a part in tokens counts as used up: too little may be lent, never too much.
 */
function spread(parts: readonly Part[], total: Nanos, last: Part | undefined): readonly Part[] {
  assert(total >= 0n, 'a charge cannot be negative')
  let unpaid = total
  const paid: Part[] = []
  for (const part of parts) {
    if (part.asset !== undefined) {
      paid.push(part)
      continue
    }
    const amount = part.amount < unpaid ? part.amount : unpaid
    if (amount > 0n) paid.push({ ...part, amount })
    unpaid -= amount
  }
  assert(unpaid >= 0n, 'the parts pay no more than the total')
  return unpaid > 0n && last ? merge(paid, [{ ...last, amount: unpaid }]) : paid
}

/**
 * The purse that carries what nothing was set aside for: the last of money that the hold stands on, else the account's
 * last. A call that tokens alone paid has none here: the books have charged the wallet directly.
 */
function lastPurse({ account }: Records, hold: HoldRecord): Part | undefined {
  const parts = [...hold.parts, ...(hold.record?.parts ?? [])]
  const part = parts.findLast(({ asset }) => asset === undefined)
  if (part || parts.length > 0) return part
  const purse = account?.purses.at(-1)
  return purse && { purse: purse.id, lease: purse.lease, amount: 0n }
}

function sameMetered(a: Metered, b: Metered): boolean {
  return (
    a.started === b.started &&
    a.inputTokens === b.inputTokens &&
    a.outputTokens === b.outputTokens &&
    a.vendor === b.vendor &&
    a.vendorModel === b.vendorModel &&
    a.tokenizer === b.tokenizer &&
    a.serviceTier === b.serviceTier
  )
}
