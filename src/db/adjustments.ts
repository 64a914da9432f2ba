import { GatewayError } from '../core/errors.ts'
import { printMoney, type Nanos } from '../core/money.ts'
import type { Database, Session } from './database.ts'
import * as refunds from './refund-statements.ts'
import * as statements from './statements.ts'

export interface Adjustment {
  readonly accountId: number
  /** Nano-units of the account's currency, of either sign, never zero. */
  readonly amount: Nanos
  /** One reference is posted once, over all accounts. */
  readonly ref: string
  readonly reason: string
  /** Lets the wallet go below its credit limit. */
  readonly force: boolean
}

/** The books of what people correct by hand. */
export interface AdjustmentBooks {
  /**
   * Posts a correction to the wallet once; `applied` is false when it was there. GatewayError `not_found`; `conflict`
   * where the reference stands for something else, or where the wallet would end below its credit limit.
   */
  adjust(wanted: Adjustment): Promise<{ readonly applied: boolean }>
}

export function openAdjustments(database: Database): AdjustmentBooks {
  return {
    adjust: (wanted) => database.transaction(async (session) => ({ applied: await adjust(session, wanted) })),
  }
}

async function adjust(session: Session, wanted: Adjustment): Promise<boolean> {
  const { accountId, amount, ref, reason } = wanted
  const [wallet] = await session.query<{ id: bigint; asset: string }>(refunds.lockWallet, [accountId])
  if (!wallet) throw new GatewayError('not_found', `There is no account ${accountId}.`)
  const entry = `adjustment:${ref}`
  if (await isPosted(session, entry, wanted)) return false
  await checkFloor(session, wanted)
  await session.query(refunds.openWriteoff, [wallet.asset])
  const [made] = await session.query(refunds.adjustWallet, [wallet.id, amount, entry, reason])
  // Of two that come at once the second has waited for the first here, and sees it now.
  return made !== undefined || !(await isPosted(session, entry, wanted))
}

/** Whether this very adjustment is in the books. */
async function isPosted(session: Session, entry: string, { accountId, amount }: Adjustment): Promise<boolean> {
  const [before] = await session.query<{ account_id: bigint; amount: bigint }>(statements.recharged, [entry])
  if (!before) return false
  if (before.account_id === BigInt(accountId) && before.amount === amount) return true
  const what = `${printMoney(before.amount)} of account ${before.account_id}`
  throw new GatewayError('conflict', `The reference was already used to adjust ${what}. It is posted once.`, {
    param: 'reference',
  })
}

async function checkFloor(session: Session, { accountId, amount, force }: Adjustment): Promise<void> {
  if (force || amount >= 0n) return
  const [wallet] = await session.query<{ posted: bigint; credit_limit: bigint }>(statements.balance, [accountId])
  const [posted, limit] = [wallet?.posted ?? 0n, wallet?.credit_limit ?? 0n]
  if (posted + amount >= -limit) return
  throw new GatewayError(
    'conflict',
    `That would leave a balance of ${printMoney(posted + amount)}, and the least is ${printMoney(-limit)}. Send "force": true if it must be.`,
    { param: 'amount' },
  )
}
