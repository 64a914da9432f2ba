import type { Caller } from '../core/call.ts'
import { GatewayError, invalidKey } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { periodStart } from '../core/period.ts'
import { printTokens } from '../core/tokens.ts'
import type { Platform, Purse, Shared } from '../ports.ts'
import { type Bill, uncovered } from './bill.ts'
import type { AdmitReply, Need } from './engine/commands.ts'

/** The cached key is older than the engine's record: the caller must be authenticated anew, then admitted again. */
export class StaleKey extends GatewayError {
  constructor() {
    super('invalid_api_key', invalidKey().message)
  }
}

/** Money or a budget is short: a smaller hold might still be let in. */
export class NotFunded extends GatewayError {}

/** What was asked of the engine, and its answer. */
export interface Refused {
  readonly reply: Exclude<AdmitReply, { code: 'ok' | 'load' | 'epoch' }>
  readonly caller: Caller
  readonly bill: Bill
  readonly needs: readonly Need[]
  /** The account's purses as they were just read; none where its money is nowhere else. */
  readonly purses: readonly Purse[]
  /** Where it was asked. */
  readonly shared: Shared
}

/** Why a call is not let in, in the caller's words. */
export async function refusal(ledger: { readonly platform: Platform }, refused: Refused): Promise<GatewayError> {
  const { reply, caller } = refused
  switch (reply.code) {
    case 'funds':
      return fundsRefusal(reply, refused, await isOnlyHeld(ledger, refused, reply))
    case 'limit':
      return limitRefusal(reply, caller.currency, await isBudgetHeld(ledger, refused, reply))
    case 'denied':
      if (reply.what === 'account')
        return new GatewayError('billing_unavailable', 'This account is stopped. Ask its operator.', {
          retryAfterMs: 60_000,
        })
      return invalidKey()
    case 'key_changed':
      return new StaleKey()
    case 'duplicate':
      return new GatewayError('conflict', 'A call with this id exists already.')
  }
}

type Funds = Extract<AdmitReply, { code: 'funds' }>

/** Whether the call could be paid once calls in flight have ended, or loans of the account elsewhere have come back. */
async function isOnlyHeld({ platform }: { platform: Platform }, refused: Refused, reply: Funds): Promise<boolean> {
  const { bill, caller, needs, shared } = refused
  // Money that is not available here is lent to another spender, or held there.
  if (postedFor(refused) >= bill.money && bill.money > 0n) return true
  if (needs.every(({ asset }) => asset === undefined))
    return reply.held > 0n && reply.available + reply.held >= bill.money
  // The engine's answer sums money alone: what is held of packages stands in their records.
  const purses = (await shared.account(caller.accountId))?.purses ?? []
  const all = needs.flatMap(({ purse: id, asset }) => {
    const purse = purses.find((one) => one.id === id)
    if (!purse || (purse.expiresAtMs !== undefined && purse.expiresAtMs <= platform.clock.now())) return []
    const amount = purse.available + purse.held
    return amount > 0n ? [{ purse: id, lease: purse.lease, amount, held: purse.held, ...(asset && { asset }) }] : []
  })
  return all.some(({ held }) => held > 0n) && uncovered(bill, all).unpaid === 0n
}

/** What the books have in the purses of money that may pay. */
function postedFor({ needs, purses }: Refused): bigint {
  const mayPay = new Set(needs.flatMap(({ purse, asset }) => (asset === undefined ? [purse] : [])))
  return purses.reduce((sum, { id, posted }) => (mayPay.has(id) && posted > 0n ? sum + posted : sum), 0n)
}

function fundsRefusal(reply: Funds, { caller, bill, needs }: Refused, onlyHeld: boolean): GatewayError {
  const tokens = needs.some(({ asset }) => asset !== undefined) && bill.tokens !== undefined
  const needed = `${printMoney(bill.money)} ${caller.currency}${tokens ? `, or ${printTokens(bill.tokens)} tokens of a package` : ''}`
  const sums = `It needs ${needed}; ${printMoney(reply.available)} is available and ${printMoney(reply.held)} is held by calls in flight.`
  if (onlyHeld) {
    return new NotFunded('credit_held', `The credit for this call is held by calls in flight. ${sums}`, {
      retryAfterMs: 1_000,
    })
  }
  return new NotFunded(
    'insufficient_quota',
    `The account has not enough credit for this call. ${sums} Top up, or lower max_tokens.`,
  )
}

type Limit = Extract<AdmitReply, { code: 'limit' }>

/** Whether what was spent leaves room in the budget for the call: then calls in flight hold it, and may give it back. */
async function isBudgetHeld({ platform }: { platform: Platform }, refused: Refused, reply: Limit): Promise<boolean> {
  const { caller, bill, shared } = refused
  if (reply.what !== 'budget') return false
  const budgets = caller.chain.find(({ id }) => id === reply.keyId)?.budgets ?? []
  const key = await shared.key(caller.accountId, reply.keyId)
  const now = platform.clock.now()
  return budgets.every(({ limit, window }) => {
    const counted = key?.windows.find((one) => one.window === window)
    if (!counted) return false
    const spent = counted.period === periodStart(window, now) ? counted.spent : 0n
    return spent + bill.money <= limit
  })
}

function limitRefusal(reply: Limit, currency: string, isHeld: boolean): GatewayError {
  const limit = typeof reply.limit === 'bigint' ? `${printMoney(reply.limit)} ${currency}` : String(reply.limit)
  const of = reply.keyId < 0 ? 'account' : 'key'
  const text = `The ${of}'s limit of ${limit} ${limitName(reply)} is reached.`
  if (isHeld)
    return new NotFunded('credit_held', `${text} Calls in flight hold what is left of it.`, { retryAfterMs: 1_000 })
  // A budget that never starts anew is not a matter of waiting: SDKs would retry a 429 for nothing.
  if (reply.what === 'budget' && reply.retryMs === 0)
    return new NotFunded('insufficient_quota', `${text} Ask for a larger budget.`)
  const Refusal = reply.what === 'budget' ? NotFunded : GatewayError
  const { requests, tokens } = reply
  const left = { ...(requests && { requests }), ...(tokens && { tokens }) }
  return new Refusal('rate_limit_exceeded', text, { retryAfterMs: reply.retryMs, left })
}

function limitName({ what, window = 'minute' }: Limit): string {
  if (what === 'requests' || what === 'tokens') return `${what} per ${window}`
  return what === 'budget' ? 'budget' : 'calls at the same time'
}
