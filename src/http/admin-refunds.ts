import { Hono } from 'hono'
import { z } from 'zod'
import { GatewayError } from '../core/errors.ts'
import { printMoney } from '../core/money.ts'
import { parseTokens, printTokens } from '../core/tokens.ts'
import type { DurableBooks } from '../db/books.ts'
import { refund, type Refund } from '../ledger/refund.ts'
import { requireManagement, type AdminDeps } from './admin-keys.ts'
import { callId, fields, line, money, readBody, refuseOthers } from './input.ts'

export interface RefundDeps extends Pick<AdminDeps, 'database' | 'auth' | 'clock' | 'recharged'> {
  readonly books: Pick<DurableBooks, 'adjust' | 'balance'>
  /** Waits a bounded time for what was just charged to reach the books. */
  fresh(): Promise<unknown>
}

const refundsPath = '/admin/v1/refunds'
const adjustmentsPath = '/admin/v1/accounts/:id/adjustments'

const tokensRule = 'must be a decimal string of tokens, more than zero, with at most six decimals, such as "1000"'

const newRefund = fields({
  usage_id: callId,
  amount: money({ least: '0.000000001', most: '1000000000' }).optional(),
  tokens: z
    .string({ error: tokensRule })
    .refine((text) => (parseTokens(text) ?? 0n) > 0n, { error: tokensRule })
    .transform((text) => parseTokens(text) ?? 0n)
    .optional(),
  reason: line(1, 1_000),
  reference: line(1, 200),
})

const newAdjustment = fields({
  amount: money({ least: '-1000000000', most: '1000000000' }).refine((nanos) => nanos !== 0n, {
    error: 'must not be zero',
  }),
  reason: line(1, 1_000),
  reference: line(1, 200),
  force: z.boolean({ error: 'must be true or false' }).default(false),
})

/** Money back: refunds of calls, and corrections by hand. For management keys alone. */
export function adminRefunds(deps: RefundDeps): Hono {
  const app = new Hono()
  const { database, books, clock } = deps

  app.post(refundsPath, async (c) => {
    await requireManagement(deps, c.req.raw, 'Refunds are')
    const { usage_id: id, amount, tokens, reason, reference } = await readBody(c.req.raw, newRefund)
    await deps.fresh()
    const given = await refund(database, { id, amount, tokens, reason, ref: reference }, clock.now())
    deps.recharged(given.accountId)
    return c.json({ ...refundJson(given), usage_id: id, reference }, given.applied ? 201 : 200)
  })

  app.post(adjustmentsPath, async (c) => {
    await requireManagement(deps, c.req.raw, 'Accounts are')
    const { reference, ...wanted } = await readBody(c.req.raw, newAdjustment)
    const accountId = accountOf(c.req.param('id'))
    const { applied } = await books.adjust({ accountId, ref: reference, ...wanted })
    deps.recharged(accountId)
    const balance = await books.balance(accountId)
    if (!balance) throw unknownAccount()
    const answer = {
      object: 'adjustment',
      account: accountId,
      reference,
      amount: printMoney(wanted.amount),
      currency: balance.currency,
      applied,
      balance: {
        posted: printMoney(balance.posted),
        free: printMoney(balance.free),
        leased: printMoney(balance.leased),
        credit_limit: printMoney(balance.creditLimit),
      },
    }
    return c.json(answer, applied ? 201 : 200)
  })

  refuseOthers(app, refundsPath, 'POST')
  refuseOthers(app, adjustmentsPath, 'POST')
  return app
}

const unknownAccount = (): GatewayError => new GatewayError('not_found', 'There is no account of this id.')

function accountOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw unknownAccount()
  return Number(text)
}

/** Tokens are told only where a package had paid. */
function refundJson({ applied, accountId, currency, given, charged, grants }: Refund) {
  const hasTokens = given.tokens > 0n || charged.tokens > 0n
  return {
    object: 'refund',
    account: accountId,
    amount: printMoney(given.money),
    ...(hasTokens && { tokens: printTokens(given.tokens) }),
    currency,
    applied,
    // What the call is charged after it.
    charged: printMoney(charged.money),
    ...(hasTokens && { charged_tokens: printTokens(charged.tokens) }),
    grants,
  }
}
